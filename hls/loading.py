"""Checkpoints as networks: the authority for how stored layers meet the graph that says how they are connected."""

__all__ = ["load"]

import os
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tetrit import formats
from tetrit.errors import InvalidValueError
from tetrit.hls.checkpoint import Checkpoint, StoredLayer, StoredWeight, read_checkpoint
from tetrit.hls.graph import Graph
from tetrit.hls.integer import IntegerGraph, IntegerTensor, Product, quantize
from tetrit.hls.integer.lowering import Given, Stated
from tetrit.sim.requantize import dyadic

_KINDS = ("linear", "conv1d", "conv2d")
_WITH_PARAMETERS = ("Conv", "Gemm", "MatMul", "BatchNormalization")
_COUNTERS = "num_batches_tracked"


def load(
    path: str | os.PathLike[str],
    *,
    graph: Graph | None = None,
    calibration: Any = None,
    acc_bits: int = 32,
    multiplier_bits: int = 16,
    **options: Any,
) -> IntegerGraph:
    """Make an integer network of a checkpoint that training left.

    A checkpoint has layers, and says which follows which only in a chain of linear layers with nothing but ReLU between
    them: such a one needs no `graph`. For all others, `graph` says how the layers are connected: that of the float
    module before it was prepared, ``hls.from_torch(module, example)``, with batch normalisation folded as it was for
    the training. Its layers are found by name: layer ``features.0`` has the constants ``features.0.weight`` and
    ``features.0.bias``. All its constants get the values of the checkpoint; codes and scales of quantised weights stay
    as they are, and so do the formats and scales of quantised inputs.

    Parameters
    ----------
    path : path
        What `tetrit.train.export` wrote.
    graph : Graph, optional
        Of the same network in float.
    calibration : array_like of float, or mapping of str to array_like, optional
        Inputs, as for `quantize`, for the scales that the checkpoint leaves open, such as those of sums.
    acc_bits, multiplier_bits : int
        See `IntegerGraph`.
    **options
        Others of `quantize`; only with a `graph`.

    Returns
    -------
    IntegerGraph
        Without `graph`: exactly what `compile_network` makes of `Checkpoint.linear_network`.

    Raises
    ------
    TypeError, InvalidValueError
        If the file is not valid, the network is no chain of linear layers and no `graph` is given, or checkpoint and
        graph do not have the same layers; the message names the layer.

    Examples
    --------
    >>> import tempfile, numpy as np
    >>> from pathlib import Path
    >>> from tetrit.hls import Checkpoint, StoredLayer, StoredWeight, load, write_checkpoint
    >>> weight = StoredWeight(codes=np.array([[1, 3, 0]], np.uint8), scale=np.array(0.5), format="szt")
    >>> layer = StoredLayer(
    ...     name="fc", kind="linear", weights={"weight": weight}, in_format="int8", in_scale=0.5, first=True,
    ...     relu=False, out_scale=0.25,
    ... )
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_checkpoint(Checkpoint(layers=(layer,)), Path(folder) / "net.safetensors")
    ...     net = load(Path(folder) / "net.safetensors")
    >>> net.run([[4, 1, 7]])  # (4 - 1) * 0.5 * 0.5 / 0.25
    {'fc': array([[3]])}
    """
    checkpoint = read_checkpoint(path)
    if graph is None:
        if options or calibration is not None:
            odd = next(iter(options), "calibration")
            raise InvalidValueError(f"`{odd}` needs a `graph`")
        try:
            return _chain(checkpoint, acc_bits, multiplier_bits)
        except InvalidValueError as error:
            raise InvalidValueError(
                f"checkpoint '{os.fspath(path)}' is no chain of linear layers, give its `graph`: {error}"
            ) from None
    if not isinstance(graph, Graph):
        raise TypeError(f"`graph` must be a Graph, got {graph!r}")
    filled, stated, given = _paired(checkpoint, graph)
    return quantize(
        filled,
        calibration,
        stated=stated,
        given=given,
        acc_bits=acc_bits,
        multiplier_bits=multiplier_bits,
        **options,
    )


def _chain(checkpoint: Checkpoint, acc_bits: int, multiplier_bits: int) -> IntegerGraph:
    layers = checkpoint.linear_network()
    first = layers[0]
    source = "input" if all(layer.name != "input" for layer in layers) else "input/0"
    tensors = [IntegerTensor(name=source, shape=(first.weight.shape[0],), format=first.in_format, scale=first.in_scale)]
    nodes = []
    for layer in layers:
        out = IntegerTensor(
            name=layer.name, shape=(layer.weight.shape[1],), format=layer.out_format, scale=layer.out_scale
        )
        unit = layer.in_scale * layer.weight_scale * 2.0 ** formats.get(layer.weight_format).lsb_exponent
        multiplier, shift = dyadic(unit / layer.out_scale, multiplier_bits=multiplier_bits, acc_bits=acc_bits)
        nodes.append(
            Product(
                name=layer.name,
                input=tensors[-1].name,
                output=layer.name,
                weight=layer.weight,
                weight_format=layer.weight_format,
                bias=np.rint(layer.bias / unit).astype(np.int64),
                multiplier=multiplier,
                shift=shift,
                relu=layer.relu,
            )
        )
        tensors.append(out)
    return IntegerGraph(
        name="checkpoint",
        inputs=(source,),
        outputs=(layers[-1].name,),
        nodes=tuple(nodes),
        tensors={tensor.name: tensor for tensor in tensors},
        acc_bits=acc_bits,
        multiplier_bits=multiplier_bits,
    )


def _paired(checkpoint: Checkpoint, graph: Graph) -> tuple[Graph, dict[str, Stated], dict[str, Given]]:
    """Return the graph with the checkpoint's constants, the codes behind them, and the quantisations it states."""
    constants, nodes = dict(graph.constants), list(graph.nodes)
    stated: dict[str, Stated] = {}
    given: dict[str, Given] = {}
    filled: set[str] = set()
    for layer in checkpoint.layers:
        try:
            _fill(layer, constants, nodes, stated, given, filled)
        except InvalidValueError as error:
            raise InvalidValueError(f"layer '{layer.name}': {error}") from None
        if layer.out_scale is not None and len(graph.outputs) == 1:
            given[graph.outputs[0]] = Given(scale=layer.out_scale, format="int16", low=-(2**15), high=2**15 - 1)
    for name, array in checkpoint.other.items():
        if name in constants:
            _replace(name, array, constants, filled)
        elif not name.endswith(_COUNTERS):
            raise InvalidValueError(f"the checkpoint has '{name}', which the graph lacks: is it of the same network?")
    parameters = {name for node in nodes if node.op in _WITH_PARAMETERS for name in node.inputs if name in constants}
    missing = sorted(parameters - filled)
    if missing:
        raise InvalidValueError(f"the graph has '{missing[0]}', which the checkpoint lacks: is it of the same network?")
    return replace(graph, constants=constants, nodes=tuple(nodes)), stated, given


def _fill(
    layer: StoredLayer,
    constants: dict[str, NDArray[Any]],
    nodes: list[Any],
    stated: dict[str, Stated],
    given: dict[str, Given],
    filled: set[str],
) -> None:
    if layer.kind not in _KINDS:
        raise InvalidValueError(f"a layer of kind {layer.kind} has no integer form; known are {', '.join(_KINDS)}")
    weight = layer.weights["weight"]
    name = f"{layer.name}.weight"
    turned = f"{name}.T" in constants and name not in constants
    if turned:  # a linear layer over more than two axes
        name = f"{name}.T"
    if name not in constants:
        raise InvalidValueError(f"the graph lacks its constant '{name}'")
    if isinstance(weight, StoredWeight):
        scale = np.broadcast_to(weight.scale, weight.codes.shape)
        stated[name] = (weight.codes.T, scale.T, weight.format) if turned else (weight.codes, scale, weight.format)
        values = weight.values
    else:
        values = np.asarray(weight)
    _replace(name, values.T if turned else values, constants, filled)
    places = [place for place, node in enumerate(nodes) if name in node.inputs]
    if len(places) != 1:
        raise InvalidValueError(f"the constant '{name}' must belong to one node, got {len(places)}")
    node = nodes[places[0]]
    _fill_bias(layer, node, places[0], constants, nodes, filled)
    if layer.in_format is not None and layer.in_scale is not None:
        given[node.input(0)] = _given(layer.in_format, layer.in_scale)


def _fill_bias(
    layer: StoredLayer,
    node: Any,
    place: int,
    constants: dict[str, NDArray[Any]],
    nodes: list[Any],
    filled: set[str],
) -> None:
    name = f"{layer.name}.bias"
    if name in constants:
        bias = np.zeros(constants[name].shape) if layer.bias is None else layer.bias
        _replace(name, bias, constants, filled)
    elif layer.bias is not None:
        if node.op not in ("Conv", "Gemm") or node.input(2):
            raise InvalidValueError("it has a bias, which the graph has no place for")
        constants[name] = layer.bias.astype(np.float32)
        filled.add(name)
        nodes[place] = replace(node, inputs=(*node.inputs[:2], name))


def _replace(name: str, values: NDArray[Any], constants: dict[str, NDArray[Any]], filled: set[str]) -> None:
    old = constants[name]
    if old.shape != values.shape:
        raise InvalidValueError(f"'{name}' has shape {values.shape}, the graph has {old.shape}")
    constants[name] = values.astype(old.dtype)
    filled.add(name)


def _given(name: str, scale: float) -> Given:
    found = formats.get(name)
    if not isinstance(found, formats.Integer):
        raise InvalidValueError(f"its inputs are {name}, an integer network takes integers only")
    low, high = found.integer_range
    bits = max((-low - 1).bit_length() if low < 0 else 0, high.bit_length()) + 1
    return Given(scale=scale, format=f"int{bits}", low=low, high=high)
