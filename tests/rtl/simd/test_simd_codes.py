"""The shared decoder and encoder on Amaranth's simulator: every code of every format, in every lane."""

import numpy as np
import pytest

from tetrit import formats
from tetrit.hardware.simd_engine import SIMD_FORMATS
from tetrit.rtl.simd.decoders import OperandDecoder
from tetrit.rtl.simd.encoder import FRACTION_BITS, ResultEncoder
from tetrit.rtl.simd.modes import FORMAT_CODES
from tetrit.verify.suites.simd_broken import HalfUpEncoder, UncutDecoder

SLOTS = {1: (0,), 2: (0, 2), 4: (0, 1, 2, 3)}


def lane_row(name, lanes, word):
    flags = {"one": lanes == 1, "two": lanes == 2, "four": lanes == 4}
    return {"format": FORMAT_CODES[name], "lanes": flags, "word": int(word)}


def slot_value(operand, slot, lanes, bits):
    """Return what a slot of `Decoded` stands for, in units of its format: an exact fraction as a float."""
    scale = (operand.scale_0, operand.scale_1, operand.scale_2, operand.scale_3)[slot]
    if lanes == 4:
        return ((operand.significand >> {2: 11, 3: 7, 0: 4, 1: 0}[slot]) & 3) << scale
    if lanes == 2:
        size = ((operand.significand >> (7 if slot == 2 else 0)) & 63) * 2.0 ** (scale - 5)
    else:
        size = operand.significand * 2.0 ** (scale - 12)
    return 2 * size if bits == 4 else size


def decoded(bench, decoder, name, lanes, words):
    """Return sign, size, nonzero and NaR of each code of each word, and the codes."""
    fmt = formats.get(name)
    rows = [lane_row(name, lanes, word) for word in words]
    width = 16 // lanes
    found, codes = [], []
    for word, operand in zip(words, bench.settle(decoder, rows, lambda c, d: c.get(d.operand)), strict=True):
        for lane, slot in enumerate(SLOTS[lanes]):
            codes.append((int(word) >> (width * lane)) & ((1 << fmt.bits) - 1))
            size = slot_value(operand, slot, lanes, fmt.bits)
            bit = [(value >> slot) & 1 for value in (operand.sign, operand.nonzero, operand.nar)]
            found.append((*bit, size))
        idle = [slot for slot in range(4) if slot not in SLOTS[lanes]]
        assert not any((operand.nonzero | operand.nar) >> slot & 1 for slot in idle)
    return np.array(found), np.array(codes)


def wrong(found, codes, name):
    """Count codes whose fields are not those of the format's integer."""
    fmt = formats.get(name)
    integers, nar = fmt.integers[codes], np.isnan(fmt.values[codes])
    sign, nonzero, is_nar, size = found.T
    right = (is_nar == nar) & (nonzero == (integers != 0) & ~nar)
    right &= nar | (size == np.abs(integers.astype(float)))
    right &= nar | (integers == 0) | (sign == (integers < 0))
    return int((~right).sum())


def words_of(name, lanes, rng):
    """Return words in which every code of a format occurs in every lane, beside random others."""
    bits = formats.get(name).bits
    if bits == 16:
        return np.arange(0, 65536, 41)
    words = rng.integers(0, 65536, 1 << bits if lanes == 1 or bits == 8 else 64)
    for lane in range(lanes):
        shift = lane * 16 // lanes
        code = rng.permutation(np.resize(np.arange(1 << bits), len(words)))
        words = words & ~(((1 << bits) - 1) << shift) | (code << shift)
    return words


MODES = [(name, lanes) for name in SIMD_FORMATS for lanes in (1, 2, 4) if formats.get(name).bits * lanes <= 16]


@pytest.mark.parametrize("gating", [True, False])
@pytest.mark.parametrize(("name", "lanes"), MODES)
def test_every_code_in_every_lane_decodes_to_its_integer(bench, name, lanes, gating):
    words = words_of(name, lanes, np.random.default_rng(5))
    found, codes = decoded(bench, OperandDecoder(gating=gating), name, lanes, words)
    assert name == "posit16_1" or set(codes.tolist()) == set(range(1 << formats.get(name).bits))
    assert wrong(found, codes, name) == 0


@pytest.mark.parametrize(("name", "lanes"), [("fp4_e2m1", 4), ("posit8_0", 2)])
def test_a_decoder_of_one_format_decodes_it(bench, name, lanes):
    words = words_of(name, lanes, np.random.default_rng(6))[::3]
    found, codes = decoded(bench, OperandDecoder([name], gating=False), name, lanes, words)
    assert wrong(found, codes, name) == 0


def test_a_broken_decoder_is_found(bench):
    words = words_of("posit8_0", 2, np.random.default_rng(7))
    found, codes = decoded(bench, UncutDecoder(), "posit8_0", 2, words)
    assert 0 < wrong(found, codes, "posit8_0") < len(codes)


def encoded(bench, encoder, name, numbers):
    """Return the codes of numbers (negative, scale, fraction, sticky)."""
    rows = [
        {"format": FORMAT_CODES[name], "negative": s, "scale": int(e), "fraction": int(f), "sticky": t}
        for s, e, f, t in numbers
    ]
    return np.array(bench.settle(encoder, rows, lambda c, d: c.get(d.code)))


def golden(name, numbers):
    """Return the codes that the format gives; what is sticky is a quarter of the last place."""
    values = [(-1) ** s * np.ldexp(1.0 + (f + 0.25 * t) / (1 << FRACTION_BITS), int(e)) for s, e, f, t in numbers]
    return formats.get(name).encode(np.array(values)).astype(int)


def numbers_around(name, rng, n_random):
    """Return every border between codes, with what is just above and below it, and random numbers."""
    numbers = []
    bits = {"fp4_e2m1": 3, "posit4_1": 3, "posit8_0": 7, "posit16_1": 8}[name]
    step = 1 << (FRACTION_BITS - bits)
    for scale in range(-34, 35):
        if name != "posit16_1" and abs(scale) > 10:
            continue
        for fraction in range(0, 1 << FRACTION_BITS, step):
            for near in (-1, 0, 1):
                place = fraction + near
                if 0 <= place < 1 << FRACTION_BITS:
                    numbers.append((int(rng.integers(2)), scale, place, int(near == 0 and rng.integers(2))))
    for scale in (-512, -65, -30, -29, -28, -27, 27, 28, 29, 30, 64, 300, 511):
        numbers += [(s, scale, f, t) for s in (0, 1) for f in (0, 1 << (FRACTION_BITS - 1)) for t in (0, 1)]
    for _ in range(n_random):
        numbers.append(
            (
                int(rng.integers(2)),
                int(rng.integers(-33, 34)),
                int(rng.integers(1 << FRACTION_BITS)),
                int(rng.integers(2)),
            )
        )
    return numbers


@pytest.mark.parametrize("name", SIMD_FORMATS)
def test_numbers_at_and_beside_every_border_are_rounded_as_the_format_says(bench, name):
    numbers = numbers_around(name, np.random.default_rng(8), 1000)
    if len(numbers) > 6000:
        numbers = [numbers[i] for i in np.random.default_rng(9).permutation(len(numbers))[:6000]]
    np.testing.assert_array_equal(encoded(bench, ResultEncoder(), name, numbers), golden(name, numbers))


def split(value):
    """Return a nonzero value as (negative, scale, fraction, sticky); its fraction has no more than 13 bits."""
    mantissa, exponent = np.frexp(abs(value))
    fraction = (2 * mantissa - 1) * (1 << FRACTION_BITS)
    assert fraction == int(fraction)
    return int(value < 0), exponent - 1, int(fraction), 0


@pytest.mark.parametrize("name", SIMD_FORMATS)
def test_every_value_encodes_to_its_code(bench, name):
    values = formats.get(name).values
    codes = np.flatnonzero(~np.isnan(values) & (values != 0))
    if len(codes) > 20000:
        codes = codes[::13]
    found = encoded(bench, ResultEncoder(), name, [split(values[code]) for code in codes])
    np.testing.assert_array_equal(found, codes)


@pytest.mark.parametrize("name", SIMD_FORMATS)
def test_zero_and_nar(bench, name):
    fmt = formats.get(name)
    row = {"format": FORMAT_CODES[name], "fraction": 77, "scale": 2}
    rows = [row | {"zero": z, "nar": n, "negative": s} for z, n in ((1, 0), (0, 1), (1, 1)) for s in (0, 1)]
    codes = bench.settle(ResultEncoder(), rows, lambda c, d: c.get(d.code))
    nar = 0b1111 if name == "fp4_e2m1" else int(fmt.encode(np.array([np.nan]))[0])
    assert codes == [0, 0, nar, nar, nar, nar]


def test_a_broken_encoder_is_found(bench):
    numbers = numbers_around("posit8_0", np.random.default_rng(10), 100)
    differ = encoded(bench, HalfUpEncoder(), "posit8_0", numbers) != golden("posit8_0", numbers)
    assert 0 < differ.sum() < len(numbers)
