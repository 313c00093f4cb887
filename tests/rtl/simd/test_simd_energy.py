"""Energy of the SIMD engine's netlists: what they are fed, and the table and the page that come of it."""

import dataclasses

import numpy as np
import pytest

from tetrit import formats
from tetrit.flow import simd_energy
from tetrit.flow.simd_synthesis import Figures, to_markdown
from tetrit.hardware import SimdEngine
from tetrit.hardware.simd_engine import SIMD_FORMATS
from tetrit.rtl import synthesize
from tetrit.rtl.simd import single_format

MACHINE = SimdEngine(rows=1, cols=1)


@pytest.mark.parametrize(("act", "weight", "lanes"), [("fp4_e2m1", "posit4_1", 4), ("posit8_0", "fp4_e2m1", 2)])
def test_operands_are_normal_and_packed_into_lanes(act, weight, lanes):
    trace = simd_energy.element_trace(MACHINE, act, weight)
    assert {len(column) for column in trace.values()} == {2000}
    assert np.flatnonzero(trace["last_in"]).tolist() == list(range(63, 2000, 64))
    for name, words in ((act, trace["act_in"]), (weight, trace["weight_in"])):
        fmt, width = formats.get(name), 16 // lanes
        codes = (words[:, np.newaxis] >> (np.arange(lanes) * width)) & ((1 << width) - 1)
        assert codes.max() < 1 << fmt.bits
        values = fmt.values[codes]
        assert not np.isnan(values).any()
        assert abs(values.mean()) < 0.1
        assert values.std() == pytest.approx(1.5 if name == "fp4_e2m1" else 1.0, rel=0.15)


def test_operands_depend_on_the_seed_alone():
    one, again, other = (simd_energy.element_trace(MACHINE, "posit8_0", "posit8_0", seed=s) for s in (1, 1, 2))
    assert all(np.array_equal(one[name], again[name]) for name in one)
    assert not np.array_equal(one["act_in"], other["act_in"])


def test_a_step_costs_more_than_an_idle_cycle():
    element = single_format("fp4_e2m1", 64)
    netlist = synthesize(element, hierarchical=False)
    idle = simd_energy.idle_energy(netlist, element.machine)
    assert 0 < 4 * idle < simd_energy.step_energy(netlist, element.machine, "fp4_e2m1", "fp4_e2m1")


def made(name, area, energy, *, gating=True, flat=False, modes=SIMD_FORMATS):
    lanes = {"fp4_e2m1": 4, "posit4_1": 4, "posit8_0": 2, "posit16_1": 1}
    return Figures(
        name=name,
        gating=gating,
        flat=flat,
        area_um2=area,
        delay_ns=8.5,
        energy_pj={mode: energy * 4 / lanes[mode] for mode in modes},
        lanes={mode: lanes[mode] for mode in modes},
        assumptions=("cells: of a test",),
        library="test",
    )


ROWS = [
    *(
        made(name, area * (1 if gating else 0.9), 4.0 if gating else 10.0, gating=gating, flat=flat)
        for name, area in (("shared datapath", 1000.0), ("naive union", 2000.0))
        for flat in (False, True)
        for gating in (True, False)
    ),
    *(
        made(f"single format, {mode}", 500.0 if gating else 400.0, 1.0, gating=gating, flat=True, modes=(mode,))
        for mode in SIMD_FORMATS
        for gating in (True, False)
    ),
    dataclasses.replace(made("read-out", 800.0, 0.0, modes=()), gating=None),
    dataclasses.replace(made("shift element, output stationary", 150.0, 0.0, modes=()), gating=None),
]


def test_the_page_says_what_is_met_and_what_is_missed():
    page = to_markdown(ROWS, "some command")
    assert "Written by `some command`; do not edit." in page
    assert "| shared datapath | yes | by component | 1,000 | 8.50 | 1.00 | 1.00 | 4.00 | 16.00 |" in page
    assert "| read-out |  | by component | 800 | 8.50 |  |  |  |  |" in page
    assert (
        "- area over that of the four single-format elements together, with gating: 0.50, aimed at 0.6 at most: met"
        in page
    )
    assert "elements together, these without: 0.62, aimed at 0.6 at most: missed" in page
    assert "- FP4, energy with gating over without, mapped alike: 0.40, aimed at 0.5 at most: met" in page
    assert "of a SIMD lane of 8 bits: 0.30, aimed at 0.25 at most: missed" in page
    assert "- cells: of a test\n" in page


def test_published_figures_stand_apart():
    page = to_markdown(ROWS, "some command")
    ours, published = page.split("## Published, for comparison only")
    assert "28 nm" not in ours
    assert "28 nm" in published
    assert "shared datapath" not in published
