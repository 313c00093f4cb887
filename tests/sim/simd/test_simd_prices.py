"""Energy of the SIMD engine's runs: events times the committed table's prices."""

import dataclasses
import itertools

import pytest

from tetrit.errors import InvalidValueError
from tetrit.hardware import SimdEngine
from tetrit.hardware.simd_engine import SIMD_FORMATS
from tetrit.sim.cost import SimdPrices
from tetrit.sim.simd import SimdSimulator

MACHINE = SimdEngine(rows=2, cols=3)


def run(machine, prices=None, k=8):
    engine = SimdSimulator(machine, prices).load([[1, 2]] * k, weight_format="fp4_e2m1")
    return engine.matmul([[1] * k] * 3, act_format="fp4_e2m1", out_format="posit8_0")


def test_the_breakdown_is_events_times_prices():
    prices = SimdPrices(
        element_step_pj=1.0, element_idle_pj=1e-3, readout_pj=1e6, readout_idle_pj=1e3, source="mine", edge_pj=7.0
    )
    found = run(MACHINE, prices)
    steps, idle = found.events["element_step"], found.events["element_gated"]
    assert steps == 3 * 2 * 2
    assert steps + idle == found.cycles * 6
    assert found.breakdown["elements"] == pytest.approx(steps + idle * 1e-3, rel=1e-12)
    assert found.breakdown["read-outs"] == pytest.approx(6e6 + (found.cycles * 3 - 6) * 1e3, rel=1e-12)
    assert found.breakdown["skew and control"] == 7.0 * found.cycles
    assert found.energy_pj == sum(found.breakdown.values())


def test_every_pair_of_formats_has_prices_and_gating_saves_energy_in_each():
    for pair in itertools.product(SIMD_FORMATS, repeat=2):
        with_, without = (SimdPrices.modelled(MACHINE.replace(gating=gating), *pair) for gating in (True, False))
        assert 0 < with_.element_idle_pj < with_.element_step_pj < without.element_step_pj
        assert with_.element_idle_pj < without.element_idle_pj < without.element_step_pj
        assert 0 < with_.readout_idle_pj < with_.readout_pj
        assert with_.source.startswith("tetrit characterise --machine simd: ")


def test_fewer_bits_cost_less_and_4_bits_with_gating_half_of_those_without():
    steps = [SimdPrices.modelled(MACHINE, name, name).element_step_pj for name in SIMD_FORMATS]
    assert steps == sorted(steps)
    plain = SimdPrices.modelled(MACHINE.replace(gating=False), "fp4_e2m1", "fp4_e2m1").element_step_pj
    assert steps[0] <= 0.5 * plain


def test_a_run_is_priced_by_its_formats_and_by_gating():
    assert run(MACHINE).energy_pj < run(MACHINE.replace(gating=False)).energy_pj
    assert run(MACHINE, k=64).energy_pj > run(MACHINE).energy_pj > 0


def test_what_is_no_price_or_no_format_of_the_machine_is_refused():
    prices = SimdPrices.modelled(MACHINE, "fp4_e2m1", "posit8_0")
    with pytest.raises(InvalidValueError, match=r"^`readout_pj` must be a number at least 0, got -1.0$|`readout_pj`"):
        dataclasses.replace(prices, readout_pj=-1.0)
    with pytest.raises(TypeError, match=r"^`prices` of a SimdEngine must be SimdPrices, got 3$"):
        SimdSimulator(MACHINE, 3)
    with pytest.raises(InvalidValueError, match=r"^`act_format` must be one of fp4_e2m1, got 'posit8_0'$"):
        SimdPrices.modelled(MACHINE.replace(formats=("fp4_e2m1",)), "posit8_0", "fp4_e2m1")
