"""From trained, quantised layers to a program: integer biases, dyadic requantisation, a mapping for each layer."""

__all__ = ["compile_network"]

from collections.abc import Sequence

import numpy as np

from tetrit import checks
from tetrit.errors import InvalidValueError
from tetrit.hardware import ShiftArray
from tetrit.sim import CompiledLayer, Program, QuantizedLinear, Workload
from tetrit.sim.requantize import dyadic
from tetrit.sim.shift import best_mapping


def compile_network(layers: Sequence[QuantizedLinear], machine: ShiftArray, *, batch: int) -> Program:
    """Compile fully connected layers for a shift array.

    The unit of a layer's accumulators is ``in_scale * weight_scale * 2**lsb_exponent``; biases are rounded to it,
    half to
    even. Requantisation multiplies by that unit over `out_scale`, as a dyadic number.

    Parameters
    ----------
    layers : sequence of QuantizedLinear
        In order; each layer's outputs are the next one's inputs.
    machine : ShiftArray
        Target; its formats must be the layers'.
    batch : int
        Activation vectors per run, for the choice of tiles.

    Returns
    -------
    Program

    Raises
    ------
    InvalidValueError
        No layers, a format that the machine lacks, or layers that do not fit each other; the message names the layer.

    Notes
    -----
    Dyadic requantisation: Yao et al., HAWQ-V3, arXiv 2011.10680.
    """
    batch = checks.integer("batch", batch)
    if not layers:
        raise InvalidValueError("a network needs at least one layer")
    compiled = []
    for layer, following in zip(layers, [*layers[1:], None], strict=True):
        _check(layer, following, machine)
        unit = layer.in_scale * layer.weight_scale * 2.0**machine.weights.lsb_exponent
        bias = np.rint(layer.bias / unit)
        if np.abs(bias).max() >= 2.0 ** (machine.acc_bits - 1):
            raise InvalidValueError(
                f"layer '{layer.name}': the largest bias is {np.abs(bias).max():.3g} accumulator units, too many for "
                f"`acc_bits` = {machine.acc_bits}"
            )
        multiplier, shift = dyadic(
            unit / layer.out_scale, multiplier_bits=machine.multiplier_bits, acc_bits=machine.acc_bits
        )
        n_in, n_out = layer.weight.shape
        compiled.append(
            CompiledLayer(
                name=layer.name,
                weight=layer.weight,
                bias=bias.astype(np.int64),
                multiplier=multiplier,
                shift=shift,
                relu=layer.relu,
                out_format=layer.out_format,
                mapping=best_mapping(Workload(m=batch, k=n_in, n=n_out), machine),
            )
        )
    return Program(machine=machine, layers=tuple(compiled), batch=batch)


def _check(layer: QuantizedLinear, following: QuantizedLinear | None, machine: ShiftArray) -> None:
    for field, has, wants in (
        ("weight_format", layer.weight_format, machine.weight_format),
        ("in_format", layer.in_format, machine.act_format),
    ):
        if has != wants:
            raise InvalidValueError(f"layer '{layer.name}': `{field}` is {has}, the machine takes {wants}")
    if following is None:
        return
    if following.weight.shape[0] != layer.weight.shape[1]:
        raise InvalidValueError(
            f"layer '{following.name}' takes {following.weight.shape[0]} inputs, "
            f"layer '{layer.name}' gives {layer.weight.shape[1]}"
        )
    if (layer.out_format, layer.out_scale) != (following.in_format, following.in_scale):
        raise InvalidValueError(
            f"layer '{following.name}' takes {following.in_format} in units of {following.in_scale:g}, "
            f"layer '{layer.name}' gives {layer.out_format} in units of {layer.out_scale:g}"
        )
