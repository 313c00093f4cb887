"""Formats layer by layer for the plain-numpy network: scales, losses, post-training quantisation, export to codes."""

__all__ = [
    "PER_OUTPUT",
    "FormatPair",
    "activation_rules",
    "export_codes",
    "format_losses",
    "post_training",
    "rounded_biases",
    "weight_rules",
]

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tetrit import estimators, formats
from tetrit.errors import InvalidValueError
from tetrit.sim.program import QuantizedLinear
from tetrit.train.digits import Dataset
from tetrit.train.integers import layer_shapes
from tetrit.train.mlp import Trained
from tetrit.train.network import Float, Layer, Network, one_thread

PER_OUTPUT = ("fp4_e2m1",)
"""Formats of weights that get a scale for each output; posits, whose steps grow with the value, do with one a layer."""


@dataclass(frozen=True, kw_only=True)
class FormatPair:
    """The formats of a layer.

    Attributes
    ----------
    act, weight : str
        Formats of its input and of its weights.
    """

    act: str
    weight: str

    @property
    def bits(self) -> int:
        """Bits of a SIMD engine's lane that works on the pair: those of the wider format."""
        return max(formats.get(self.act).bits, formats.get(self.weight).bits)

    def __str__(self) -> str:
        """Return one name where both are equal, else both."""
        return self.act if self.act == self.weight else f"{self.act} x {self.weight}"


def weight_rules(pairs: Sequence[FormatPair]) -> list[estimators.FormatSTE]:
    """Return the estimators of the weights: powers of two, one for each output where the format is of `PER_OUTPUT`."""
    return [estimators.FormatSTE(format=p.weight, axis=1 if p.weight in PER_OUTPUT else None) for p in pairs]


def activation_rules(start: Trained, x: Float, pairs: Sequence[FormatPair]) -> list[estimators.FormatSTE]:
    """Return the estimators of the inputs: one power of two each, the best for the inputs that `x` gives in float.

    Parameters
    ----------
    start : Trained
        A float network.
    x : ndarray of float32, shape (n, n_in)
        Real inputs.
    pairs : sequence of FormatPair
        One for each layer.
    """
    rules = []
    with one_thread():
        for layer, pair in zip(start.network.layers, pairs, strict=True):
            rules.append(estimators.FormatSTE(format=pair.act).start(x)[0])
            x = Network(layers=[layer]).forward(x)
    return rules


def post_training(start: Trained, x: Float, pairs: Sequence[FormatPair | None]) -> Network:
    """Return a float network with its weights and inputs rounded as they are, without training.

    Parameters
    ----------
    start : Trained
        A float network; it stays as it is.
    x : ndarray of float32, shape (n, n_in)
        Real inputs, for the scales of the activations.
    pairs : sequence of FormatPair or None
        One for each layer; None leaves it in float.

    Raises
    ------
    InvalidValueError
        There are not as many pairs as layers.
    """
    layers = start.network.layers
    if len(pairs) != len(layers):
        raise InvalidValueError(f"`pairs` must have one for each of {len(layers)} layers, got {len(pairs)}")
    stand_in = FormatPair(act="posit16_1", weight="posit16_1")
    given = activation_rules(start, x, [pair or stand_in for pair in pairs])
    acts = [rule if pair is not None else None for rule, pair in zip(given, pairs, strict=True)]
    made: list[Layer] = []
    for layer, pair, output in zip(layers, pairs, [*acts[1:], None], strict=True):
        weight = None if pair is None else weight_rules([pair])[0].start(layer.latent)[0]
        made.append(replace(layer, estimator=weight, output=output))
    return Network(layers=made, input=acts[0])


def format_losses(start: Trained, x: Float, candidates: Sequence[FormatPair]) -> NDArray[np.float64]:
    """Measure what each pair of formats does to the network, one layer at a time.

    Parameters
    ----------
    start : Trained
        A float network.
    x : ndarray of float32, shape (n, n_in)
        Real inputs; no labels are needed.
    candidates : sequence of FormatPair

    Returns
    -------
    ndarray of float64, shape (layers, candidates)
        Mean Kullback-Leibler divergence, in nat, of the network with this one layer in these formats from the float
        network.
    """
    n_layers = len(start.network.layers)
    losses = np.empty((n_layers, len(candidates)))
    with one_thread():
        wanted = _log_softmax(start.network.forward(x))
        for place in range(n_layers):
            for number, pair in enumerate(candidates):
                pairs = [pair if layer == place else None for layer in range(n_layers)]
                found = _log_softmax(post_training(start, x, pairs).forward(x))
                divergence = (np.exp(wanted) * (wanted - found)).sum(axis=1).mean()
                losses[place, number] = max(0.0, float(divergence))
    start.network.tapes = []
    return losses


def _log_softmax(logits: Float) -> NDArray[np.float64]:
    wide = logits.astype(np.float64)
    shifted = wide - wide.max(axis=1, keepdims=True)
    result: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return result


def export_codes(network: Network, data: Dataset, out_format: str) -> list[QuantizedLinear]:
    """Return the layers of a network as codes and powers of two, for a SIMD engine.

    Parameters
    ----------
    network : Network
        With `FormatSTE` estimators of fixed scales, of `post_training` or `tetrit.train.mlp.train_layers`.
    data : Dataset
        Whose training images give the scale of the results.
    out_format : str
        Format of the results.

    Raises
    ------
    InvalidValueError
        A layer or an input is in float.

    Examples
    --------
    >>> from tetrit.train import digits, mlp
    >>> data = digits.load()
    >>> start = mlp.train_float(data, seed=0, config=mlp.Config(hidden=(16,), epochs=5))
    >>> pairs = [FormatPair(act="posit8_0", weight="fp4_e2m1")] * 2
    >>> network = post_training(start, data.train_x * data.in_scale, pairs)
    >>> [(layer.weight_format, layer.out_format) for layer in export_codes(network, data, "posit16_1")]
    [('fp4_e2m1', 'posit8_0'), ('fp4_e2m1', 'posit16_1')]
    """
    widths = (data.train_x.shape[1], *(layer.bias.size for layer in network.layers))
    with one_thread():
        logits = network.forward(data.train_x * np.float32(data.in_scale))
    results = estimators.FormatSTE(format=out_format).start(logits)[0]
    found = [network.input, *(layer.output for layer in network.layers[:-1]), results]
    exported = []
    for place, ((name, *_), layer) in enumerate(zip(layer_shapes(widths), network.layers, strict=True)):
        before, after = (
            _fixed(f"input of layer '{name}'", found[place]),
            _fixed(f"output of layer '{name}'", found[place + 1]),
        )
        if layer.estimator is None:
            raise InvalidValueError(f"layer '{name}' has float weights: give it an estimator")
        q = layer.estimator(layer.latent)
        exported.append(
            QuantizedLinear(
                name=name,
                weight=q.codes,
                weight_format=q.format,
                weight_scale=np.broadcast_to(q.scale.reshape(-1), layer.bias.shape).astype(np.float64),
                bias=layer.bias.astype(np.float64),
                in_format=before[0],
                in_scale=before[1],
                out_format=after[0],
                out_scale=after[1],
                relu=layer.relu,
            )
        )
    return exported


def rounded_biases(network: Network) -> Network:
    """Return a network whose biases are rounded as a SIMD engine has them: to the unit of each output's products.

    Parameters
    ----------
    network : Network
        With estimators of all layers and inputs, as `export_codes` takes it; it stays as it is.
    """
    rules = [network.input, *(layer.output for layer in network.layers[:-1])]
    layers = []
    for place, (layer, rule) in enumerate(zip(network.layers, rules, strict=True), 1):
        act, scale = _fixed(f"input of layer {place}", rule)
        if layer.estimator is None:
            raise InvalidValueError(f"layer {place} has float weights: give it an estimator")
        q = layer.estimator(layer.latent)
        exponent = formats.get(act).lsb_exponent + formats.get(q.format).lsb_exponent
        unit = np.ldexp(scale * q.scale.reshape(-1), exponent)
        layers.append(replace(layer, bias=(np.rint(layer.bias / unit) * unit).astype(np.float32)))
    return Network(layers=layers, input=network.input)


def _fixed(where: str, rule: estimators.Estimator | None) -> tuple[str, float]:
    """Return format and scale of the estimator of an activation."""
    if not isinstance(rule, estimators.FormatSTE) or not isinstance(rule.scale, float):
        raise InvalidValueError(f"{where} has no FormatSTE estimator with one fixed scale")
    return rule.format, rule.scale
