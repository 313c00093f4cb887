"""Energy of the SIMD element by part and kind: it adds up, and the section says what the rows say."""

import dataclasses

import pytest

from tetrit.flow.simd_breakdown import KINDS, PARTS, Breakdown, energy_by_part, to_section
from tetrit.flow.simd_energy import step_activity, step_energy
from tetrit.hardware import SimdEngine
from tetrit.rtl import SimdMac, synthesize

MACHINE = SimdEngine(rows=1, cols=1)
FOUR_BITS = ("fp4_e2m1", "posit4_1")


@pytest.fixture(scope="module")
def element():
    return synthesize(SimdMac(MACHINE))


@pytest.fixture(scope="module")
def plain():
    return synthesize(SimdMac(MACHINE.replace(gating=False)))


@pytest.mark.parametrize("mode", FOUR_BITS)
def test_parts_and_kinds_add_up_to_the_energy_of_a_step(element, mode):
    activity = step_activity(element, MACHINE, mode, mode)
    found = energy_by_part(activity, MACHINE)
    assert set(found) == {(part, kind) for part in PARTS for kind in KINDS}
    assert min(found.values()) >= 0
    assert sum(found.values()) == pytest.approx(step_energy(element, MACHINE, mode, mode))
    whole = activity.energy(1000.0 / MACHINE.clock_mhz).by_kind
    for kind in KINDS[:-1]:
        assert sum(found[part, kind] for part in PARTS) == pytest.approx(whole[kind])


def test_with_gating_what_4_bits_do_not_need_is_still(element):
    for mode in FOUR_BITS:
        found = energy_by_part(step_activity(element, MACHINE, mode, mode), MACHINE)
        for part in ("decoders, posits of 8 and 16 bits", "alignment, one or two lanes"):
            assert found[part, "logic"] == 0
        assert (found["multiplier", "logic"] == 0) == (mode == "posit4_1")


def test_operands_that_reach_less_cost_less(element):
    small, large = (step_energy(element, MACHINE, "posit4_1", "posit4_1", spread=spread) for spread in (0.25, 1.0))
    assert 0 < small < 0.9 * large


def made(borders, with_, without):
    spreads = (0.25, 0.5, 1.0, 2.0, 4.0)
    wide = {(mode, 1.0): (20.0, 25.0) for mode in ("posit8_0", "posit16_1")}
    energies = {(part, kind): with_ / len(PARTS) / len(KINDS) for part in PARTS for kind in KINDS}
    return Breakdown(
        borders=borders,
        area_um2=1234.0,
        delay_ns=8.5,
        parts={(mode, gating): energies for mode in FOUR_BITS for gating in (True, False)},
        steps={(mode, spread): (with_ * spread, without) for mode in FOUR_BITS for spread in spreads} | wide,
    )


def test_the_section_tells_parts_borders_and_spreads():
    section = to_section([made((6, 10), 3.6, 9.0), made((8,), 4.5, 9.0), made((9,), 5.4, 9.0)])
    assert "| quires | clock | 0.10 | 0.10 | 0.10 | 0.10 |" in section
    assert "| all | leakage and inputs | 0.90 | 0.90 | 0.90 | 0.90 |" in section
    assert "| all | all | 3.60 | 3.60 | 3.60 | 3.60 |" in section
    assert "| 6, 10, built | 1,234 | 8.50 | 3.60 | 0.400 | 3.60 | 0.400 | 20.00 | 20.00 |" in section
    assert "| 9 | 1,234 | 8.50 | 5.40 | 0.600 | 5.40 | 0.600 | 20.00 | 20.00 |" in section
    assert "| 2 | 0.800 | 1.000 | 0.800 | 1.000 |" in section
    assert section.endswith("|\n")


def test_parts_that_take_nothing_are_left_out():
    row = made((6, 10), 3.6, 9.0)
    still = {key: 0.0 if key[0] == "multiplier" else pj for key, pj in row.parts["fp4_e2m1", True].items()}
    bare = dataclasses.replace(row, parts=dict.fromkeys(row.parts, still))
    assert "| multiplier |" in to_section([row, row])
    assert "| multiplier |" not in to_section([bare, bare])


@pytest.mark.parametrize("mode", FOUR_BITS)
def test_gating_halves_the_energy_of_a_4_bit_mode(element, plain, mode):
    """The bound that the engine was set, mapped by component."""
    without = step_energy(plain, MACHINE.replace(gating=False), mode, mode)
    assert step_energy(element, MACHINE, mode, mode) <= 0.5 * without
