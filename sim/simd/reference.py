"""Slow reference of the engine's values: rational arithmetic in Python loops, written from the formats' definitions.

It shares no code with the package, and is the readable specification; tests hold the fast product to it code by code.
Posits: Standard for Posit Arithmetic (2022), generalised to any `es`. Floats: OCP E2M1, E4M3, E5M2, and bfloat16.
"""

__all__ = ["code_of", "quire_matmul", "value_of"]

import re
from collections.abc import Sequence
from fractions import Fraction

# name: bits of exponent and fraction, bias, largest finite magnitude's code, code beyond it (None: saturates), NaN
_FLOATS: dict[str, tuple[int, int, int, int, int | None, int | None]] = {
    "fp4_e2m1": (2, 1, 1, 0b0111, None, None),
    "fp8_e4m3": (4, 3, 7, 0x7E, 0x7F, 0x7F),
    "fp8_e5m2": (5, 2, 15, 0x7B, 0x7C, 0x7E),
    "bf16": (8, 7, 127, 0x7F7F, 0x7F80, 0x7FC0),
}


def _posit(name: str) -> tuple[int, int] | None:
    match = re.fullmatch(r"posit(\d+)_(\d)", name)
    return (int(match[1]), int(match[2])) if match else None


def value_of(code: int, name: str) -> Fraction | None:
    """Return what a code of a posit or of E2M1 stands for; None for NaR."""
    posit = _posit(name)
    if posit is None:
        exponent_bits, fraction_bits, bias, *_ = _FLOATS[name]
        half = 1 << (exponent_bits + fraction_bits)
        field, fraction = divmod(code % half, 1 << fraction_bits)
        magnitude = (fraction + ((1 << fraction_bits) if field else 0)) * Fraction(2) ** (
            max(field, 1) - bias - fraction_bits
        )
        return -magnitude if code >= half else magnitude
    bits, es = posit
    if code == 0:
        return Fraction(0)
    if code == 1 << (bits - 1):
        return None
    if code > 1 << (bits - 1):
        below = value_of((1 << bits) - code, name)
        assert below is not None
        return -below
    text = format(code, f"0{bits - 1}b")
    run = len(text) - len(text.lstrip(text[0]))
    regime = run - 1 if text[0] == "1" else -run
    rest = text[run + 1 :]
    exponent = int(rest[:es].ljust(es, "0") or "0", 2)
    tail = rest[es:]
    significand = 1 + Fraction(int(tail or "0", 2), 1 << len(tail))
    return Fraction(2) ** (regime * (1 << es) + exponent) * significand


def _floor_log2(x: Fraction) -> int:
    exponent = x.numerator.bit_length() - x.denominator.bit_length()
    while Fraction(2) ** exponent > x:
        exponent -= 1
    while Fraction(2) ** (exponent + 1) <= x:
        exponent += 1
    return exponent


def _posit_code(x: Fraction, bits: int, es: int) -> int:
    """Cut the endless pattern of |x| after `bits` bits, and round by the last of them and by what follows."""
    if x == 0:
        return 0
    exponent = _floor_log2(abs(x))
    regime, power = divmod(exponent, 1 << es)
    text = "1" * (regime + 1) + "0" if regime >= 0 else "0" * -regime + "1"
    text += format(power, f"0{es}b") if es else ""
    fraction = abs(x) / Fraction(2) ** exponent - 1
    while len(text) < bits:
        fraction *= 2
        text += "1" if fraction >= 1 else "0"
        fraction -= fraction >= 1
    kept, guard = int(text[: bits - 1], 2), text[bits - 1] == "1"
    beyond = fraction > 0 or "1" in text[bits:]
    kept += guard and (beyond or kept % 2 == 1)
    kept = min(max(kept, 1), (1 << (bits - 1)) - 1)
    return kept if x > 0 else (1 << bits) - kept


def _float_code(x: Fraction, name: str) -> int:
    exponent_bits, fraction_bits, bias, last, beyond, _ = _FLOATS[name]
    sign = 1 << (exponent_bits + fraction_bits) if x < 0 else 0
    if x == 0:
        return 0
    exponent = max(_floor_log2(abs(x)), 1 - bias)
    steps = round(abs(x) / Fraction(2) ** (exponent - fraction_bits))  # Python's round: to nearest, ties to even
    code = ((exponent + bias - 1) << fraction_bits) + steps
    if code > last:
        code = last if beyond is None else beyond
    return sign + code


def code_of(x: Fraction | None, name: str) -> int | None:
    """Return the code that x is rounded to; x None is NaR, and the result None if the format has no code for it."""
    posit = _posit(name)
    if posit is not None:
        return 1 << (posit[0] - 1) if x is None else _posit_code(x, *posit)
    if name in _FLOATS:
        return _FLOATS[name][-1] if x is None else _float_code(x, name)
    match = re.fullmatch(r"(u?)int(\d+)", name)
    if match is None:
        raise ValueError(f"no reference for {name}")
    if x is None:
        return None
    bits = int(match[2])
    low, high = (0, (1 << bits) - 1) if match[1] else (-(1 << (bits - 1)), (1 << (bits - 1)) - 1)
    return min(max(round(x), low), high) % (1 << bits)


def quire_matmul(
    a_codes: Sequence[Sequence[int]],
    b_codes: Sequence[Sequence[int]],
    a_format: str,
    b_format: str,
    out_format: str,
    *,
    bias: Sequence[int] | None = None,
    relu: bool = False,
    shift: int = 0,
) -> list[list[int | None]]:
    """Multiply as `tetrit.sim.simd.quire_matmul` does; results without a code are None."""
    # the unit of the quire: the square of the least positive value, or that of both
    unit = _least(a_format) * _least(b_format)
    result: list[list[int | None]] = []
    for row in a_codes:
        codes: list[int | None] = []
        for column in range(len(b_codes[0])):
            total: Fraction | None = Fraction(0) if bias is None else int(bias[column]) * unit
            for k, code in enumerate(row):
                one, other = value_of(int(code), a_format), value_of(int(b_codes[k][column]), b_format)
                if one is None or other is None:
                    total = None
                    break
                assert total is not None
                total += one * other
            if total is not None:
                total = max(total, Fraction(0)) if relu else total
                total *= Fraction(2) ** shift
            codes.append(code_of(total, out_format))
        result.append(codes)
    return result


def _least(name: str) -> Fraction:
    """Return the least positive value, of which all values of these formats are multiples."""
    least = value_of(1, name)
    assert least is not None
    return least
