"""From trained layers to a SIMD engine's program: scales become shifts, biases integers of the quire."""

__all__ = ["compile_simd"]

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from tetrit import formats
from tetrit.errors import InvalidValueError
from tetrit.hardware import LaneMode, SimdEngine
from tetrit.sim import CompiledSimdLayer, QuantizedLinear, SimdProgram
from tetrit.sim.simd.quire import SHIFTS, bias_integers, check_terms


def compile_simd(layers: Sequence[QuantizedLinear], machine: SimdEngine) -> SimdProgram:
    """Compile layers that fit each other for a SIMD engine.

    The engine scales by powers of two only, and rounds once: a column's shift is the exponent of
    ``in_scale * weight_scale / out_scale``. Biases are rounded, half to even, to units of the quire, which are those of
    the products; this is the only rounding that the engine does not do itself.

    Parameters
    ----------
    layers : sequence of QuantizedLinear
        All formats are among the machine's, but the last `out_format`, which is one of `SIMD_FORMATS`; all scales are
        powers of two.
    machine : SimdEngine
        Target.

    Returns
    -------
    SimdProgram

    Raises
    ------
    InvalidValueError
        A format that the machine lacks, a scale that is no power of two, a shift out of range, too many terms for the
        quire, or a bias beyond it; the message names the layer.
    """
    compiled = []
    for layer in layers:
        try:
            compiled.append(_compiled(layer, machine))
        except InvalidValueError as error:
            raise InvalidValueError(f"layer '{layer.name}': {error}") from None
    return SimdProgram(machine=machine, layers=tuple(compiled))


def _compiled(layer: QuantizedLinear, machine: SimdEngine) -> CompiledSimdLayer:
    for field, name in (
        ("in_format", layer.in_format),
        ("weight_format", layer.weight_format),
        ("out_format", layer.out_format),
    ):
        if name not in machine.formats:
            raise InvalidValueError(f"`{field}` is {name}, the machine takes {', '.join(machine.formats)}")
    if np.isnan(formats.get(layer.weight_format).values[layer.weight]).any():
        raise InvalidValueError("`weight` has NaR among its codes")
    mode = machine.mode(layer.in_format, layer.weight_format)
    check_terms(layer.weight.shape[0], mode)
    shift = _exponent("in_scale", layer.in_scale) - _exponent("out_scale", layer.out_scale)
    shifts = shift + np.array(
        [_exponent("weight_scale", float(scale), output) for output, scale in enumerate(layer.weight_scale)]
    )
    for output, value in enumerate(shifts.tolist()):
        if not SHIFTS[0] <= value <= SHIFTS[1]:
            raise InvalidValueError(
                f"output {output} needs a shift of {value} from its scales, the machine has {SHIFTS[0]} to {SHIFTS[1]}"
            )
    return CompiledSimdLayer(
        name=layer.name,
        weight=layer.weight,
        act_format=layer.in_format,
        weight_format=layer.weight_format,
        out_format=layer.out_format,
        act_scale=layer.in_scale,
        out_scale=layer.out_scale,
        bias=_bias(layer, mode),
        shift=shifts.astype(np.int64),
        relu=layer.relu,
    )


def _bias(layer: QuantizedLinear, mode: LaneMode) -> npt.NDArray[np.object_]:
    entries = []
    for output, (value, scale) in enumerate(zip(layer.bias.tolist(), layer.weight_scale.tolist(), strict=True)):
        exponent = _exponent("in_scale", layer.in_scale) + _exponent("weight_scale", scale, output) + mode.lsb_exponent
        entries.append(round(Fraction(value) / Fraction(2) ** exponent))
    bias = np.array(entries, dtype=object)
    bias_integers(bias, len(entries), mode)
    return bias


def _exponent(name: str, scale: float, output: int | None = None) -> int:
    """Return the exponent of a scale that is a power of two."""
    fraction, exponent = np.frexp(scale)
    if fraction != 0.5:
        where = "" if output is None else f" at output {output}"
        raise InvalidValueError(f"`{name}` must be a power of two on a SimdEngine, got {scale:g}{where}")
    return int(exponent) - 1
