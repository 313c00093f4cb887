"""What a layer costs on a machine: cycles and energy of its own simulator, bits of weights, bit operations."""

__all__ = ["COSTS", "layer_costs", "price_source"]

from typing import Any

import numpy as np
import numpy.typing as npt

from tetrit import checks, formats, sim
from tetrit.errors import InvalidValueError
from tetrit.hardware import Crossbar, ShiftArray, SimdEngine
from tetrit.sim import Run
from tetrit.sim.cost import AnalogPrices
from tetrit.sim.cost.prices import shift_coefficients
from tetrit.sim.cost.simd import simd_coefficients

COSTS = ("size_bits", "bops", "cycles", "energy_pj")
"""The resources that a layer takes."""


def layer_costs(
    machine: ShiftArray | SimdEngine | Crossbar,
    weight: npt.ArrayLike,
    x: npt.ArrayLike,
    *,
    weight_format: str | None = None,
    act_format: str | None = None,
) -> dict[str, float]:
    """Return what a layer takes on a machine: the run of its products on the machine's simulator, and two plain counts.

    Contract: ``cycles`` and ``energy_pj`` are those of ``sim.build(machine).load(weight).matmul(x)``, added up over
    groups; there is no other price here. ``size_bits`` is weights times the bits of their format, ``bops``
    multiply-accumulates times the bits of both formats, as HAWQ-V3 counts bit operations.

    Parameters
    ----------
    machine : ShiftArray, SimdEngine or Crossbar
        With the layer's formats, where it has them as fields.
    weight : array_like of int, shape (n_in, n_out) or (groups, n_in, n_out)
        Codes.
    x : array_like of int, shape (vectors, n_in) or (groups, vectors, n_in)
        Activations, as the machine's `matmul` takes them: integers, or codes of `act_format` for a SimdEngine. Energy
        depends on them: on the bits that change from one to the next, or on the voltages of a Crossbar's cells.
    weight_format, act_format : str, optional
        For a SimdEngine, which needs them; results are read out in the activations' format.

    Returns
    -------
    dict of str to float
        By name, as in `COSTS`, for all vectors together.

    Raises
    ------
    TypeError
        If the machine is none of these.
    InvalidValueError
        If shapes do not fit, formats are given to a machine that has its own, or what the machine's simulator raises.

    Notes
    -----
    Where the energy comes from is the machine's affair: netlists of ours at 130 nm for ShiftArray and SimdEngine,
    cited figures at 32 nm for converters of a Crossbar (see `tetrit.sim.cost`). Energies of two kinds of machine are
    not comparable.

    Examples
    --------
    >>> import numpy as np
    >>> from tetrit.hardware import ShiftArray
    >>> from tetrit.hls import layer_costs
    >>> machine = ShiftArray(rows=4, cols=4, weight_format="szt")
    >>> costs = layer_costs(machine, np.ones((8, 4), int), np.zeros((2, 8), int))
    >>> costs["size_bits"], costs["bops"], costs["cycles"]
    (64.0, 1024.0, 25.0)
    """
    codes, acts = _grouped("weight", weight), _grouped("x", x)
    if len(codes) != len(acts) or codes.shape[1] != acts.shape[2]:
        raise InvalidValueError(
            f"`weight` and `x` must have the same groups and inputs, got shapes {codes.shape} and {acts.shape}"
        )
    if isinstance(machine, SimdEngine):
        if weight_format is None or act_format is None:
            raise InvalidValueError("`weight_format` and `act_format` must be given for a SimdEngine")
        for name, given in (("weight_format", weight_format), ("act_format", act_format)):
            checks.choice(name, given, machine.formats)
    elif isinstance(machine, ShiftArray | Crossbar):
        if weight_format is not None or act_format is not None:
            raise InvalidValueError(f"a {type(machine).__name__} has its own formats: `replace` these in the machine")
        weight_format, act_format = machine.weight_format, machine.act_format
    else:
        raise TypeError(f"`machine` must be a ShiftArray, a SimdEngine or a Crossbar, got {machine!r}")
    runs = [_run(machine, w, a, weight_format, act_format) for w, a in zip(codes, acts, strict=True)]
    bits, act_bits = formats.get(weight_format).bits, formats.get(act_format).bits
    return {
        "size_bits": float(codes.size * bits),
        "bops": float(codes.size * acts.shape[1] * bits * act_bits),
        "cycles": float(sum(run.cycles for run in runs)),
        "energy_pj": sum(run.energy_pj for run in runs),
    }


def price_source(machine: ShiftArray | SimdEngine | Crossbar) -> str:
    """Return where the energy of a machine's simulator comes from."""
    if isinstance(machine, Crossbar):
        prices = AnalogPrices.modelled()
        return f"modelled from cited figures: {prices.source if machine.ramp is None else prices.ramp_source}"
    if isinstance(machine, SimdEngine):
        source = simd_coefficients(machine, machine.formats[0], machine.formats[0]).source
        memories = (machine.weight_memory, machine.act_memory, machine.result_memory)
    else:
        source = shift_coefficients(machine).source
        memories = (machine.weight_memory, machine.act_memory, machine.acc_memory)
    words = sorted({memory.energy_source for memory in memories if memory.energy_source})
    made = f"modelled from synthesised parts, for the operands of each product: {source}"
    return f"{made}; memories: {' | '.join(words) or 'not priced'}"


def _run(
    machine: ShiftArray | SimdEngine | Crossbar,
    codes: npt.NDArray[Any],
    acts: npt.NDArray[Any],
    weight_format: str,
    act_format: str,
) -> Run:
    if isinstance(machine, SimdEngine):
        engine = sim.build(machine).load(codes, weight_format=weight_format)
        return engine.matmul(acts, act_format=act_format, out_format=act_format)
    if isinstance(machine, ShiftArray):
        return sim.build(machine).load(codes).matmul(acts)
    crossbar = sim.build(machine).load(codes)
    if machine.adc_bits is not None and machine.adc.range.startswith("calibrated"):
        crossbar.calibrate(acts)
    return crossbar.matmul(acts)


def _grouped(name: str, given: npt.ArrayLike) -> npt.NDArray[Any]:
    array = np.asarray(given)
    if array.ndim not in (2, 3) or array.size == 0:
        raise InvalidValueError(f"`{name}` must be a matrix, or a stack of one for each group, got shape {array.shape}")
    return array if array.ndim == 3 else array[np.newaxis]
