"""The read-out on Amaranth's simulator: engines of few formats and of quires of any width, sums of either sign."""

import numpy as np
import pytest

from tetrit import formats
from tetrit.hardware.simd_engine import SimdEngine
from tetrit.rtl.simd import SimdReadout
from tetrit.rtl.simd.modes import FORMAT_CODES
from tetrit.verify.suites.simd_broken import HalfUpReadout

ENGINES = [
    (("fp4_e2m1",), 40),
    (("posit8_0",), 56),
    (("fp4_e2m1", "posit16_1"), 128),
    (("posit16_1",), 1024),
    (("fp4_e2m1", "posit4_1", "posit8_0", "posit16_1"), 256),
]


def cases(machine, n, rng):
    """Return rows of inputs, one a result, and what each is: an integer, an exponent, and a format."""
    rows, wanted = [], []
    for _ in range(n):
        act, weight = (str(rng.choice(machine.formats)) for _ in range(2))
        mode = machine.mode(act, weight)
        width = mode.lane_quire_bits
        sizes = [int(rng.integers(0, width - 1)) for _ in range(mode.lanes)]
        lanes = [int(rng.integers(-2, 2)) * (1 << size) + int(rng.integers(-9, 10)) for size in sizes]
        lanes = [min(max(lane, -1 << (width - 1)), (1 << (width - 1)) - 1) for lane in lanes]
        bias = int(rng.integers(-9, 10)) << int(rng.integers(0, machine.quire_bits - 5))
        told = {
            "operands": {"act_format": FORMAT_CODES[act], "weight_format": FORMAT_CODES[weight]},
            "out_format": int(rng.integers(4)),
            "relu": int(rng.random() < 0.2),
            "shift": int(rng.integers(-64, 64)),
        }
        quires = sum((lane % (1 << width)) << (index * width) for index, lane in enumerate(lanes))
        rows.append({"enable": 1, "mode": told, "quires": quires, "bias": bias})
        total = sum(lanes) + bias
        total = 0 if told["relu"] and total < 0 else total
        wanted.append((total, mode.lsb_exponent + told["shift"], told["out_format"]))
    return rows, wanted


def codes(bench, readout, machine, rows):
    late = machine.readout_latency
    return bench.clocked(readout, rows + rows[-1:] * late, lambda c, d: c.get(d.code))[late:]


def golden(bench, wanted):
    names = {code: name for name, code in FORMAT_CODES.items()}
    return [bench.code_of(total, exponent, names[code]) for total, exponent, code in wanted]


@pytest.mark.parametrize(("names", "quire_bits"), ENGINES)
def test_sums_of_lanes_and_bias_are_scaled_and_rounded_once(bench, names, quire_bits):
    machine = SimdEngine(rows=1, cols=1, formats=names, quire_bits=quire_bits)
    rows, wanted = cases(machine, 120 if quire_bits <= 256 else 40, np.random.default_rng(quire_bits))
    assert codes(bench, SimdReadout(machine), machine, rows) == golden(bench, wanted)


def test_every_place_of_the_leading_one_is_found(bench):
    machine = SimdEngine(rows=1, cols=1)
    shift = -formats.get("posit16_1").lsb_exponent
    rows, wanted = [], []
    for place in range(127):
        for sign in (1, -1):
            quire = sign * (1 << place)
            mode = {"operands": {"act_format": 3, "weight_format": 3}, "out_format": 3, "shift": shift}
            rows.append({"enable": 1, "mode": mode, "quires": quire % (1 << 128), "bias": 0})
            wanted.append((quire, -shift, 3))
    assert codes(bench, SimdReadout(machine), machine, rows) == golden(bench, wanted)


@pytest.mark.parametrize(("readout", "right"), [(SimdReadout, True), (HalfUpReadout, False)])
def test_ties_go_to_the_even_code_and_a_broken_read_out_is_found(bench, readout, right):
    machine = SimdEngine(rows=1, cols=1)
    mode = {"operands": {"act_format": 0, "weight_format": 0}, "out_format": 0, "shift": 0}
    rows = [{"enable": 1, "mode": mode, "quires": 0, "bias": bias} for bias in range(-30, 31)]
    wanted = [(row["bias"], -2, 0) for row in rows]  # quarters: halves of FP4's smallest steps
    found = codes(bench, readout(machine), machine, rows)
    differ = sum(one != other for one, other in zip(found, golden(bench, wanted), strict=True))
    assert (differ == 0) == right
    assert differ < len(rows) / 2
