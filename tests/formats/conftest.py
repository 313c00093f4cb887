"""Slow references for the formats, from their definitions, in rational arithmetic; no code shared with the package."""

import re
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest

from tetrit import formats

MINIFLOATS = {  # name: exponent bits, fraction bits, bias, largest finite code of the positive half, what lies beyond
    "fp4_e2m1": (2, 1, 1, 0b0111, None),
    "fp4_e3m0": (3, 0, 3, 0b0111, None),
    "fp8_e4m3": (4, 3, 7, 0b0111_1110, "nan"),
    "fp8_e5m2": (5, 2, 15, 0b0111_1011, "inf"),
    "bf16": (8, 7, 127, 0x7F7F, "inf"),
}
POWERS = {  # name: bits, zero, square of the base, square of the least magnitude
    "pot2": (2, False, 4, 1),
    "pot3": (3, False, 4, 1),
    "pot4": (4, False, 4, 1),
    "pot3z": (3, True, 4, 1),
    "pot4z": (4, True, 4, 1),
    "post4": (4, True, 2, Fraction(1, 64)),
}


def minifloat_value(name: str, code: int) -> float:
    exponent_bits, fraction_bits, bias, last, beyond = MINIFLOATS[name]
    half = 1 << (exponent_bits + fraction_bits)
    sign, magnitude = (-1.0, code - half) if code >= half else (1.0, code)
    if magnitude > last:
        return sign * np.inf if beyond == "inf" and magnitude == last + 1 else np.nan
    field, fraction = divmod(magnitude, 1 << fraction_bits)
    if field == 0:
        number = Fraction(fraction, 1 << fraction_bits) * Fraction(2) ** (1 - bias)
    else:
        number = (1 + Fraction(fraction, 1 << fraction_bits)) * Fraction(2) ** (field - bias)
    return sign * float(number)


def minifloat_code(name: str, x: float) -> int:
    exponent_bits, fraction_bits, bias, last, beyond = MINIFLOATS[name]
    sign = (1 << (exponent_bits + fraction_bits)) if np.signbit(x) else 0
    past_last = last if beyond is None else last + 1
    if np.isnan(x):
        # the quiet NaN: only the top fraction bit
        return sign + (last + 1 if beyond == "nan" else last + 1 + (1 << fraction_bits >> 1))
    if np.isinf(x):
        return sign + past_last
    magnitude = abs(Fraction(x))
    exponent = 1 - bias
    while magnitude >= Fraction(2) ** (exponent + 1):
        exponent += 1
    if fraction_bits == 0 and magnitude < Fraction(2) ** (1 - bias):
        # no subnormals: halfway between zero and the least number
        return sign + (magnitude > Fraction(2) ** -bias)
    steps = round(magnitude / Fraction(2) ** (exponent - fraction_bits))  # to nearest, ties to even
    if fraction_bits == 0:  # the fraction's parity does not tell the code's
        mantissa = magnitude / Fraction(2) ** exponent
        up = mantissa > Fraction(3, 2) or (mantissa == Fraction(3, 2) and (exponent + bias) % 2 == 1)
        steps = 1
        exponent += up
    code = ((exponent + bias - 1) << fraction_bits) + steps
    return sign + (code if code <= last else past_last)


def posit_bits(x: Fraction, es: int, length: int) -> tuple[int, bool]:
    """Return the first `length` bits of the endless posit pattern of x > 0, and whether any later bit is set."""
    exponent = 0
    while Fraction(2) ** (exponent + 1) <= x:
        exponent += 1
    while Fraction(2) ** exponent > x:
        exponent -= 1
    regime, rest = divmod(exponent, 1 << es)
    bits = [1] * (regime + 1) + [0] if regime >= 0 else [0] * -regime + [1]
    bits += [rest >> i & 1 for i in reversed(range(es))]
    fraction = x / Fraction(2) ** exponent - 1
    while len(bits) < length:
        fraction *= 2
        bits.append(int(fraction >= 1))
        fraction -= bits[-1]
    return int("".join(map(str, bits[:length])), 2), fraction > 0 or any(bits[length:])


def posit_code(bits: int, es: int, x: float) -> int:
    if not np.isfinite(x):
        return 1 << (bits - 1)
    if x == 0:
        return 0
    pattern, sticky = posit_bits(abs(Fraction(x)), es, bits)  # bits - 1 to keep, one to round by
    kept, guard = pattern >> 1, pattern & 1
    kept += guard and (sticky or kept & 1)
    kept = min(max(kept, 1), (1 << (bits - 1)) - 1)
    return kept if x > 0 else (1 << bits) - kept


def posit_value(bits: int, es: int, code: int) -> float:
    if code == 0:
        return 0.0
    if code == 1 << (bits - 1):
        return np.nan
    if code > 1 << (bits - 1):
        return -posit_value(bits, es, (1 << bits) - code)
    text = format(code, f"0{bits - 1}b")
    run = len(text) - len(text.lstrip(text[0]))
    regime = run - 1 if text[0] == "1" else -run
    rest = text[run + 1 :]
    exponent = int(rest[:es].ljust(es, "0") or "0", 2)
    fraction = Fraction(int(rest[es:] or "0", 2), 1 << len(rest[es:]))
    return float(Fraction(2) ** (regime * (1 << es) + exponent) * (1 + fraction))


def integer_code(name: str, x: float) -> int:
    unsigned, bits, symmetric = re.fullmatch(r"(u?)int(\d+)(_symmetric)?", name).groups()
    bits = int(bits)
    low, high = (0, (1 << bits) - 1) if unsigned else (-(1 << (bits - 1)) + bool(symmetric), (1 << (bits - 1)) - 1)
    rounded = round(Fraction(x)) if np.isfinite(x) else (high if x > 0 else low)
    return min(max(rounded, low), high) % (1 << bits)


def power_values(name: str) -> list[float]:
    bits, zero, base_squared, least_squared = POWERS[name]
    magnitudes = [
        float(np.sqrt(float(least_squared * Fraction(base_squared) ** m))) for m in range((1 << (bits - 1)) - zero)
    ]
    positive = [0.0] * zero + magnitudes
    return positive + [0.0 if v == 0 else -v for v in positive]


def nearest_code(values: list[float], x: float, zero_has_sign: bool = True) -> int:
    """Nearest finite value; of equally near ones the even code, then the one of a zero's sign, then the lowest."""
    by_sign = zero_has_sign and x == 0
    if np.isinf(x):
        return min((c for c, v in enumerate(values) if np.isfinite(v)), key=lambda c: (-values[c] * np.sign(x), c))
    return min(
        (c for c, v in enumerate(values) if np.isfinite(v)),
        key=lambda c: (
            abs(Fraction(values[c]) - Fraction(x)),
            c & 1,
            by_sign and np.signbit(values[c]) != np.signbit(x),
            c,
        ),
    )


def reference_value(name: str, code: int) -> float:
    if name in MINIFLOATS:
        return minifloat_value(name, code)
    if name in POWERS:
        return power_values(name)[code]
    if name == "szt":
        return (0.0, 1.0, -0.0, -1.0)[code]
    if posit := re.fullmatch(r"posit(\d+)_(\d)", name):
        return posit_value(int(posit[1]), int(posit[2]), code)
    unsigned, bits, symmetric = re.fullmatch(r"(u?)int(\d+)(_symmetric)?", name).groups()
    half = 1 << (int(bits) - 1)
    if unsigned or code < half:
        return float(code)
    return np.nan if symmetric and code == half else float(code - 2 * half)


def reference_code(name: str, x: float) -> int:
    if name in MINIFLOATS:
        return minifloat_code(name, x)
    if name == "szt":
        return (2 if np.signbit(x) else 0) + (abs(x) > 0.5)
    if name in ("pot3z", "pot4z", "post4"):
        values = power_values(name)
        values[len(values) // 2] = np.nan  # reserved: never encoded
        return nearest_code(values, x)
    if name in POWERS:
        return nearest_code(power_values(name), x)
    if posit := re.fullmatch(r"posit(\d+)_(\d)", name):
        return posit_code(int(posit[1]), int(posit[2]), x)
    return integer_code(name, x)


@pytest.fixture(scope="session")
def reference() -> Callable[[str, float], int]:
    """The code of one double, by the format's definition."""
    return reference_code


@pytest.fixture(scope="session")
def value_of() -> Callable[[str, int], float]:
    """The value of one code, by the format's definition."""
    return reference_value


@pytest.fixture(scope="session")
def nearest() -> Callable[[list[float], float], int]:
    """The code of the nearest of some values."""
    return nearest_code


@pytest.fixture(scope="session")
def delicate() -> Callable[..., np.ndarray]:
    """Numbers where rounding can go wrong: see `delicate_numbers`."""
    return delicate_numbers


def delicate_numbers(fmt: formats.Format, limit: int | None = None) -> np.ndarray:
    """Return doubles at, and one and two steps beside, all places where a value could give way to the next.

    These are the values, the arithmetic and the geometric middle of neighbours, and powers of two; then zeros,
    subnormals, the ends of single and double precision, and the infinities. With `limit`, a random part (and all the
    last ones).
    """
    finite = np.unique(fmt.values[np.isfinite(fmt.values)])
    low, high = finite[:-1], finite[1:]
    same_sign = low * high > 0
    geometric = np.sign(low) * np.sqrt(np.abs(low)) * np.sqrt(np.abs(high))
    powers = np.exp2(np.arange(-140.0, 130.0))
    beyond = finite[[0, -1]] * 1.5
    centres = np.concatenate((finite, low / 2 + high / 2, geometric[same_sign], powers, -powers, beyond))
    if limit is not None and len(centres) > limit:
        centres = np.random.default_rng(20261120).choice(centres, limit, replace=False)
    up, down = np.nextafter(centres, np.inf), np.nextafter(centres, -np.inf)
    with np.errstate(over="ignore", under="ignore"):
        single = centres.astype(np.float32)
    single_up, single_down = np.nextafter(single, np.float32(np.inf)), np.nextafter(single, np.float32(-np.inf))
    singles = np.concatenate((single, single_up, single_down)).astype(np.float64)
    tiny = [0.0, 5e-324, 2.0**-1074 * 3, 2.0**-1022, 2.0**-149, 2.0**-126, 2.0**-24, 2.0**-14, 2.0**-133, 2.0**-134]
    ends = np.array([*tiny, 1e300, np.finfo(np.float32).max, np.finfo(np.float64).max, 2.0**63, np.inf])
    twice = np.nextafter(up, np.inf), np.nextafter(down, -np.inf)
    return np.concatenate((centres, up, down, *twice, singles, ends, -ends))
