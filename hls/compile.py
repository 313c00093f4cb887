"""From trained, quantised layers to a program: integer biases, dyadic requantisation, a mapping for each layer."""

__all__ = ["check_machine", "compile_network"]

from collections.abc import Sequence
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from tetrit import checks
from tetrit.errors import InvalidValueError
from tetrit.hardware import Crossbar, Machine, ShiftArray, SimdEngine
from tetrit.hls.simd import compile_simd
from tetrit.sim import CompiledLayer, Program, QuantizedLinear, SimdProgram, Workload
from tetrit.sim.requantize import dyadic
from tetrit.sim.shift import best_mapping

MULTIPLIER_BITS = 16
"""Of the requantiser behind a crossbar, as of a `ShiftArray` by default (assumption of ours)."""
ACC_BITS = 37
"""Of the accumulator behind a crossbar (ours): its products with a multiplier are integers that float64 holds."""


def check_machine(machine: Machine) -> None:
    """Raise InvalidValueError if no network can be compiled for a machine, whatever its layers."""
    if isinstance(machine, Crossbar) and machine.ramp is not None:
        raise InvalidValueError(
            "a network cannot be compiled for a crossbar with a `ramp`: its results are values of a function, not sums "
            "to be requantised; `tetrit.sim.build` runs such a machine layer by layer"
        )


@overload
def compile_network(layers: Sequence[QuantizedLinear], machine: ShiftArray | Crossbar, *, batch: int) -> Program: ...


@overload
def compile_network(layers: Sequence[QuantizedLinear], machine: SimdEngine, *, batch: int) -> SimdProgram: ...


def compile_network(layers: Sequence[QuantizedLinear], machine: Any, *, batch: int) -> Program | SimdProgram:
    """Compile fully connected layers for a machine.

    The unit of a layer's accumulators is ``in_scale * weight_scale * 2**lsb_exponent``; biases are rounded to it,
    half to even. Requantisation multiplies by that unit over `out_scale`, as a dyadic number. On a crossbar both are
    digital and follow the conversion, in registers of `ACC_BITS` and `MULTIPLIER_BITS`.

    A SIMD engine rounds to `out_format` itself and scales by powers of two only, which all scales must be; its biases
    are in units of the quire. See `tetrit.hls.simd`.

    Parameters
    ----------
    layers : sequence of QuantizedLinear
        In order; each layer's outputs are the next one's inputs.
    machine : ShiftArray, Crossbar or SimdEngine
        Target; its formats must be the layers', or, of a SIMD engine, have them among its own.
    batch : int
        Activation vectors per run, for the choice of tiles.

    Returns
    -------
    Program, or SimdProgram for a SimdEngine

    Raises
    ------
    InvalidValueError
        No layers, a format that the machine lacks, or layers that do not fit each other; the message names the layer.
        A crossbar with a `ramp`. On a SIMD engine a scale that is no power of two, or what its quire cannot hold.

    Notes
    -----
    Dyadic requantisation: Yao et al., HAWQ-V3, arXiv 2011.10680.
    """
    if not isinstance(machine, Machine):
        raise TypeError(f"`machine` must be a ShiftArray, a Crossbar or a SimdEngine, got {machine!r}")
    check_machine(machine)
    batch = checks.integer("batch", batch)
    if not layers:
        raise InvalidValueError("a network needs at least one layer")
    for layer, following in zip(layers, [*layers[1:], None], strict=True):
        if not isinstance(machine, SimdEngine):
            _check_formats(layer, machine)
        _check_following(layer, following)
    return compile_simd(layers, machine) if isinstance(machine, SimdEngine) else _integers(layers, machine, batch)


def _integers(layers: Sequence[QuantizedLinear], machine: ShiftArray | Crossbar, batch: int) -> Program:
    """Return the program of a machine whose sums are integers that are requantised."""
    compiled = []
    for layer in layers:
        unit = layer.in_scale * layer.weight_scale * 2.0**machine.weights.lsb_exponent
        bias = np.rint(layer.bias / unit)
        acc_bits, multiplier_bits = _widths(layer, bias, machine)
        multiplier, shift = dyadic(unit / layer.out_scale, multiplier_bits=multiplier_bits, acc_bits=acc_bits)
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
                mapping=best_mapping(Workload(m=batch, k=n_in, n=n_out), machine)
                if isinstance(machine, ShiftArray)
                else None,
            )
        )
    return Program(machine=machine, layers=tuple(compiled), batch=batch)


def _widths(layer: QuantizedLinear, bias: npt.NDArray[np.float64], machine: ShiftArray | Crossbar) -> tuple[int, int]:
    """Return the bits of a layer's accumulator and of its requantiser's multiplier."""
    acc_bits = machine.acc_bits if isinstance(machine, ShiftArray) else ACC_BITS
    reach = float(np.abs(bias).max())
    if reach >= 2.0 ** (acc_bits - 1):
        raise InvalidValueError(
            f"layer '{layer.name}': the largest bias is {reach:.3g} accumulator units, too many for "
            f"`acc_bits` = {acc_bits}"
        )
    return acc_bits, machine.multiplier_bits if isinstance(machine, ShiftArray) else MULTIPLIER_BITS


def _check_formats(layer: QuantizedLinear, machine: ShiftArray | Crossbar) -> None:
    for field, has, wants in (
        ("weight_format", layer.weight_format, machine.weight_format),
        ("in_format", layer.in_format, machine.act_format),
    ):
        if has != wants:
            raise InvalidValueError(f"layer '{layer.name}': `{field}` is {has}, the machine takes {wants}")


def _check_following(layer: QuantizedLinear, following: QuantizedLinear | None) -> None:
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
