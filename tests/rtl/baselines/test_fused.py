# amaranth: UnusedElaboratable=no
"""Floating-point multiply-add in Verilator: every pair of FP8 codes, and many addends, against exact arithmetic."""

import numpy as np
import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tetrit import formats
from tetrit.errors import InvalidValueError, UnknownNameError
from tetrit.rtl import to_verilog
from tetrit.rtl.baselines import ACCUMULATORS, FloatFormat, FloatMultiplyAdd
from tetrit.verify import tools
from tetrit.verify.batch import BatchModel, build_library

DESIGNS = [
    ("fp8_e4m3", "fp16", "fast"),
    ("fp8_e4m3", "fp32", "fast"),
    ("fp8_e5m2", "fp16", "fast"),
    ("fp8_e5m2", "fp32", "fast"),
    ("fp8_e4m3", "fp16", "compact"),
    ("fp8_e5m2", "fp32", "compact"),
]
NUMPY = {"fp16": (np.float16, np.uint16), "fp32": (np.float32, np.uint32)}


class NotSticky(FloatMultiplyAdd):
    """Forgets what falls off while the terms are aligned."""

    def _aligned(self, m, value, distance):
        return super()._aligned(m, value, distance) & ~1


def name(operands, accumulator, adders):
    return f"{operands}_{accumulator}_{adders}"


class Together(wiring.Component):
    """All of them, fed with the same operands."""

    def __init__(self):
        self.units = {name(*design): FloatMultiplyAdd(*design[:2], adders=design[2]) for design in DESIGNS}
        self.units[name("fp8_e5m2", "fp16", "broken")] = NotSticky("fp8_e5m2", "fp16")
        ports = {"a": In(8), "b": In(8), "c_fp16": In(16), "c_fp32": In(32)}
        super().__init__(ports | {name: Out(len(unit.y)) for name, unit in self.units.items()})

    def elaborate(self, platform):
        m = Module()
        for name, unit in self.units.items():
            m.submodules[f"unit_{name}"] = unit
            c = self.c_fp16 if "_fp16_" in name else self.c_fp32
            m.d.comb += [unit.a.eq(self.a), unit.b.eq(self.b), unit.c.eq(c), getattr(self, name).eq(unit.y)]
        return m


@pytest.fixture(scope="module")
def model(build_dir):
    verilog = to_verilog(Together(), "together")
    return BatchModel(build_library(verilog, "together", toolchain=tools.find(), directory=build_dir))


def run(model, output, a, b, c):
    rows = {"a": a, "b": b, "c_fp16": np.zeros_like(a), "c_fp32": np.zeros_like(a)}
    rows["c_fp16" if "_fp16_" in output else "c_fp32"] = c
    return model.run(rows, outputs=[output])[output]


def cases(operands, accumulator, rng, n):
    """Codes that make addends meet products: any at all, near the product, its rounded negative, and special ones."""
    fmt = ACCUMULATORS[accumulator]
    a, b = rng.integers(0, 256, (2, n))
    values = formats.get(operands).values
    kind, codes = NUMPY[accumulator]
    with np.errstate(all="ignore"):
        products = (values[a] * values[b]).astype(kind)
    near = products.view(codes).astype(np.int64) ^ (rng.integers(0, 2, n) << (fmt.bits - 1))
    near ^= rng.integers(0, 1 << 6, n)
    far = (near + (rng.integers(-26, 26, n) << fmt.fraction_bits)) % (1 << fmt.bits)
    special = rng.choice([0, 1 << (fmt.bits - 1), 1, fmt.infinity, fmt.nan, fmt.infinity - 1, fmt.infinity | 1], n)
    anything = rng.integers(0, 1 << fmt.bits, n)
    c = np.choose(rng.integers(0, 8, n), [near, near, near, far, far, far, anything, special])
    return a, b, c


@pytest.mark.parametrize(("operands", "accumulator", "adders"), DESIGNS)
def test_every_product_rounds_as_numpy_rounds_it(model, operands, accumulator, adders):
    codes = np.arange(1 << 16)
    a, b = codes & 255, codes >> 8
    values = formats.get(operands).values
    kind, _ = NUMPY[accumulator]
    with np.errstate(all="ignore"):  # the product of two FP8 numbers is exact in float64
        wanted = (values[a] * values[b] + 0.0).astype(kind)
    found = run(model, name(operands, accumulator, adders), a, b, np.zeros_like(a)).view(kind)
    np.testing.assert_array_equal(found, wanted)
    np.testing.assert_array_equal(np.signbit(found)[~np.isnan(wanted)], np.signbit(wanted)[~np.isnan(wanted)])


@pytest.mark.parametrize(("operands", "accumulator", "adders"), DESIGNS)
def test_sums_are_exact_and_rounded_once(model, bench, operands, accumulator, adders):
    a, b, c = cases(operands, accumulator, np.random.default_rng(7), 3000)
    values, fmt = formats.get(operands).values, ACCUMULATORS[accumulator]
    wanted = [
        bench.multiply_add(values[i], values[j], k, fmt)
        for i, j, k in zip(a.tolist(), b.tolist(), c.tolist(), strict=True)
    ]
    found = run(model, name(operands, accumulator, adders), a, b, c)
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("operands", ["fp8_e4m3", "fp8_e5m2"])
def test_half_precision_sums_are_those_of_float64_rounded_once(model, operands):
    rng = np.random.default_rng(8)
    a, b, c = (rng.integers(0, high, 200_000) for high in (256, 256, 1 << 16))
    values = formats.get(operands).values
    with np.errstate(all="ignore"):  # exact in float64 wherever the sum does not overflow FP16
        wanted = (values[a] * values[b] + c.astype(np.uint16).view(np.float16).astype(np.float64)).astype(np.float16)
    found = run(model, name(operands, "fp16", "fast"), a, b, c).view(np.float16)
    np.testing.assert_array_equal(found, wanted)


def test_a_unit_without_its_sticky_bit_is_found_out(model, bench):
    a, b, c = cases("fp8_e5m2", "fp16", np.random.default_rng(7), 3000)
    values, fmt = formats.get("fp8_e5m2").values, ACCUMULATORS["fp16"]
    wanted = [
        bench.multiply_add(values[i], values[j], k, fmt)
        for i, j, k in zip(a.tolist(), b.tolist(), c.tolist(), strict=True)
    ]
    assert (run(model, name("fp8_e5m2", "fp16", "broken"), a, b, c) != wanted).any()


def test_formats_are_ieees():
    assert [(f.bits, f.bias, f.infinity, f.nan) for f in ACCUMULATORS.values()] == [
        (16, 15, 0x7C00, 0x7E00),
        (32, 127, 0x7F800000, 0x7FC00000),
    ]


def test_other_formats_are_refused():
    with pytest.raises(
        InvalidValueError, match=r"^`operands` must be a floating-point format of at most 8 bits, got int8$"
    ):
        FloatMultiplyAdd("int8", "fp16")
    with pytest.raises(
        InvalidValueError, match=r"^`operands` must be a floating-point format of at most 8 bits, got bf16$"
    ):
        FloatMultiplyAdd("bf16", "fp16")
    with pytest.raises(UnknownNameError, match=r"fp16"):
        FloatMultiplyAdd("fp8_e4m3", "fp61")
    with pytest.raises(UnknownNameError, match=r"compact"):
        FloatMultiplyAdd("fp8_e4m3", "fp16", adders="compcat")
    with pytest.raises(
        InvalidValueError, match=r"^`exponent_bits` must be an integer of at least 2, got 1$|exponent_bits"
    ):
        FloatFormat(exponent_bits=1, fraction_bits=3)
