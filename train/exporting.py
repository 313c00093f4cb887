"""Export: what of a trained PyTorch network goes into a checkpoint, and how its scales for hardware are found."""

__all__ = ["export"]

import math
from os import PathLike
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.parallel import DataParallel, DistributedDataParallel

import tetrit
from tetrit import formats
from tetrit.errors import InvalidValueError
from tetrit.hls.checkpoint import Checkpoint, StoredLayer, StoredWeight, write_checkpoint
from tetrit.train.qat.attention import LowBitMultiheadAttention
from tetrit.train.qat.layers import LOW_BIT, LowBitLayer
from tetrit.train.qat.preparing import call, evaluating
from tetrit.train.qat.sequence import Link, links
from tetrit.train.quantizers import Quantizer

_LOGIT_HEADROOM = 2.0
"""The int16 outputs reach this many times the largest output of the example, to leave room for the unseen."""

_KINDS = {**LOW_BIT, nn.MultiheadAttention: LowBitMultiheadAttention}

_OPTIONS = {
    "conv": ("stride", "padding", "dilation", "groups", "padding_mode"),
    "conv_transpose": ("stride", "padding", "output_padding", "dilation", "groups"),
    "embedding": ("padding_idx",),
    "attention": ("num_heads", "batch_first"),
}


def export(model: nn.Module, path: str | PathLike[str], *, example: Any = None) -> Checkpoint:
    """Write a prepared network to one file: codes, scales, formats and shapes, for readers that need no torch.

    Weights are the codes of the estimators as they are now (`Quantizer.codes`). What follows what is found by
    `torch.fx`, or, where that fails, of a network that is an ``nn.Sequential``. A module with forward hooks follows
    nothing and is followed by nothing.

    Parameters
    ----------
    model : nn.Module
        Prepared; may be wrapped by DistributedDataParallel or `torch.compile`.
    path : path
        See `tetrit.hls.checkpoint` for the layout. Written atomically.
    example : tensor, tuple or mapping, optional
        Inputs, best the training data, from whose largest output the unit of the int16 results is taken (with a factor
        of 2 for the unseen); without it the checkpoint has none, and `Checkpoint.linear_network` refuses it.

    Returns
    -------
    Checkpoint
        What was written.

    Raises
    ------
    InvalidValueError
        If `model` has not been prepared; a weight, a bias or a result of the `example` is not finite; an activation
        estimator has no fixed scale; a parameter or buffer is of a dtype that numpy lacks; or the file cannot be
        written.

    Examples
    --------
    >>> import tempfile, torch
    >>> from pathlib import Path
    >>> from torch import nn
    >>> from tetrit.hls.checkpoint import read_checkpoint
    >>> from tetrit.train.exporting import export
    >>> from tetrit.train.qat import Plan, Rule, prepare
    >>> x = torch.rand(8, 4)
    >>> rule = Rule(match="*", weight="szt", activation={"name": "lsq", "format": "int8"})
    >>> model = prepare(nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)), Plan(rules=(rule,)), example=x)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = export(model, Path(folder) / "net.safetensors", example=x)
    ...     layers = read_checkpoint(Path(folder) / "net.safetensors").linear_network()
    >>> [(layer.name, layer.weight.shape, layer.weight_format, layer.relu) for layer in layers]
    [('0', (4, 3), 'szt', True), ('2', (3, 2), 'szt', False)]
    """
    model = _unwrapped(model)
    if not any(isinstance(module, LowBitLayer) for module in model.modules()):
        raise InvalidValueError("`model` must have been prepared, got no quantised layer")
    if isinstance(model, LowBitLayer):
        model = nn.Sequential(model)  # a chain of one, whose layer has a name
    found = links(model)
    kinds = {module: kind for module in model.modules() if (kind := _kind(module)) is not None}
    names: dict[nn.Module | None, str] = {m: name for name, m in model.named_modules() if m in kinds}
    out_scale = None if example is None else _out_scale(model, example)
    stored = _Arrays()
    layers = []
    for module, low_bit in kinds.items():
        layers.append(_layer(names[module], module, low_bit, found, names, out_scale, stored))
    other = {
        name: _array(name, value)
        for name, value in model.state_dict().items()
        if isinstance(value, Tensor) and not _is_stored(model, name)
    }
    checkpoint = Checkpoint(layers=tuple(layers), other=other, tetrit=tetrit.__version__)
    write_checkpoint(checkpoint, path)
    return checkpoint


def _kind(module: nn.Module) -> type[LowBitLayer] | None:
    """Return the class that a layer has once it is prepared, None for what is no layer with weights."""
    return type(module) if isinstance(module, LowBitLayer) else _KINDS.get(type(module))


class _Arrays:
    """What became of each parameter, so that tied ones become one array."""

    def __init__(self) -> None:
        self._made: dict[int, StoredWeight | NDArray[Any]] = {}

    def weight(self, name: str, latent: Tensor, quantizer: Quantizer | None) -> StoredWeight | NDArray[Any]:
        if id(latent) not in self._made:
            if quantizer is None:
                self._made[id(latent)] = _array(name, latent)
            else:
                try:
                    q = quantizer.codes(latent)
                except InvalidValueError as error:
                    raise InvalidValueError(f"layer '{name}': {error}") from None
                self._made[id(latent)] = StoredWeight(codes=q.codes, scale=q.scale, format=q.format)
        return self._made[id(latent)]


def _layer(
    name: str,
    module: nn.Module,
    low_bit: type[LowBitLayer],
    found: dict[nn.Module | None, Link],
    names: dict[nn.Module | None, str],
    out_scale: float | None,
    stored: _Arrays,
) -> StoredLayer:
    quantised = module if isinstance(module, LowBitLayer) else None
    weights = {}
    for key in low_bit.weights:
        latent = getattr(module, key)
        if latent is not None:
            weights[key] = stored.weight(name, latent, None if quantised is None else quantised.quantizer_of(key))
    bias = getattr(module, "in_proj_bias" if low_bit.kind == "attention" else "bias", None)
    offset = None if bias is None else _array(f"{name}.bias", bias).astype(np.float64)
    if quantised is not None:
        offset = _with_dead(quantised, offset)
    in_format, in_scale = (None, None) if quantised is None else _input(name, quantised.input_quantizer)
    link = found.get(module)
    uses = [user for user in found.values() if user.source is module]
    gives = found[None].source is module if None in found else False
    return StoredLayer(
        name=name,
        kind=low_bit.kind,
        weights=weights,
        bias=offset,
        in_format=in_format,
        in_scale=in_scale,
        first=link is not None and link.source is None and not link.relu,
        follows=None if link is None else names.get(link.source),
        relu=uses[0].relu if len(uses) == 1 else None,
        out_scale=out_scale if gives else None,
        options=_options(module, low_bit.kind),
    )


def _with_dead(layer: LowBitLayer, bias: NDArray[np.float64] | None) -> NDArray[np.float64] | None:
    """Return the bias with what the dead weights of its estimators add."""
    parts = []
    for name, latent, quantizer in layer.latents():
        if name in layer.dead_strengths:
            parts.append(quantizer.estimator.bias(_array(name, latent)))  # type: ignore[attr-defined]
    if not parts:
        return bias
    total: NDArray[np.float64] = np.concatenate(parts)
    return total if bias is None else bias + total


def _input(name: str, quantizer: Quantizer | None) -> tuple[str | None, float | None]:
    """Return format and unit of a layer's quantised input."""
    if quantizer is None:
        return None, None
    e = quantizer.estimator
    fixed = getattr(e, "axis", None) is None
    if fixed:
        small, large = e(np.zeros(1)), e(np.full(1, 1e3))
        fixed = small.format == large.format and small.scale == large.scale
    if not fixed:
        raise InvalidValueError(
            f"layer '{name}': the activation estimator '{e.name}' has no fixed scale, which hardware needs; use one "
            "scale that is learned ('lsq') or given ('ste_clipped' with `limit`)"
        )
    return small.format, float(small.scale)


@torch.no_grad()
def _out_scale(model: nn.Module, example: Any) -> float:
    with evaluating(model):
        result = call(model, example)
    if not isinstance(result, Tensor):
        raise InvalidValueError(f"`model` must give one tensor, to be calibrated, got {type(result).__name__}")
    largest = float(result.abs().max()) if result.numel() else 0.0
    if not math.isfinite(largest * _LOGIT_HEADROOM):
        raise InvalidValueError(f"`model` must give finite results for the `example`, got a magnitude of {largest}")
    return max(largest, 1e-6) * _LOGIT_HEADROOM / formats.get("int16").max_value


def _options(module: nn.Module, kind: str) -> dict[str, Any]:
    names = _OPTIONS.get(kind[:-2] if kind.startswith("conv") else kind, ())
    options = {name: getattr(module, name) for name in names}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in options.items()}


def _is_stored(model: nn.Module, name: str) -> bool:
    """Return whether an entry of the state dict belongs to a layer or a quantiser, which are stored as such."""
    try:
        owner = model.get_submodule(name.rpartition(".")[0])
    except AttributeError:  # an entry that a hook has added
        return False
    return isinstance(owner, LowBitLayer | Quantizer) or type(owner) in _KINDS


def _array(name: str, value: Tensor) -> NDArray[Any]:
    """Return the values of a tensor; bfloat16, which numpy lacks, as float32."""
    try:
        plain = value.detach().cpu()
        array = np.array((plain.float() if plain.dtype == torch.bfloat16 else plain).numpy())
    except (TypeError, RuntimeError):
        array = None
    if array is None or array.dtype.kind not in "biuf":
        raise InvalidValueError(
            f"'{name}' cannot be stored: it must be a dense tensor of a real dtype that numpy has, got {value.dtype}"
        )
    return array


def _unwrapped(model: nn.Module) -> nn.Module:
    while True:
        if isinstance(model, DistributedDataParallel | DataParallel):
            model = model.module
        elif isinstance(inner := getattr(model, "_orig_mod", None), nn.Module):
            model = inner
        else:
            return model
