"""Coefficients from netlists: how they are made, and that they hold for operands that they were not made from."""

import dataclasses
import tomllib

import numpy as np
import pytest

from tetrit import rtl
from tetrit.errors import InvalidValueError
from tetrit.flow import characterise, simd_energy
from tetrit.flow.simd_array import measure_array
from tetrit.flow.stimuli import Stimulus, netlist_of, weighted_fit
from tetrit.hardware import DATAFLOWS, ShiftArray, SimdEngine
from tetrit.rtl import SimdMac, synthesize
from tetrit.rtl.simd.array import SimdArray
from tetrit.sim import Workload
from tetrit.sim.cost import Prices, SimdPrices
from tetrit.sim.cost.coefficients import Coefficients
from tetrit.sim.cost.simd_switching import sampled
from tetrit.sim.shift import best_mapping, cycles, events
from tetrit.sim.shift.tiles import tile_list

UNSEEN = (
    Stimulus(name="signed", act_zeros=0.1, signed=True, spread=0.4, weight_zeros=0.4),
    Stimulus(name="sparse", act_zeros=0.85, weight_zeros=0.6, normal_weights=True),
)


@pytest.fixture(scope="module", params=DATAFLOWS)
def mapped(request):
    machine = ShiftArray(rows=4, cols=3, dataflow=request.param, weight_format="pot3z", act_format="int6", acc_bits=20)
    return machine, synthesize(rtl.build("ShiftPEArray", machine))


def test_committed_coefficients_hold_for_another_size_width_and_other_operands(mapped):
    machine, array = mapped
    for place, stimulus in enumerate(UNSEEN):
        rng = np.random.default_rng([77, place])
        x = stimulus.acts(machine.activations, 12, 14, rng)
        weight = stimulus.weights(machine.weights, 14, 7, rng).astype(np.uint8)
        bias = rng.integers(-50, 50, 7)
        workload = Workload(m=12, k=14, n=7)
        mapping = best_mapping(workload, machine)
        measured = characterise.measure(machine, array, x, weight, bias, mapping).total_pj
        tiles = tile_list(workload, mapping)
        active = 12 * int(np.count_nonzero(machine.weights.integers[weight]))
        happened = events.of_tiles(workload, tiles, machine, active=active, n_cycles=cycles.count_tiles(tiles, machine))
        own = Prices.of_operands(x, weight, bias, mapping, machine).breakdown(happened, machine)["array"]
        assert own == pytest.approx(measured, rel=0.10)
        if stimulus.signed:  # operands matter to the model
            still = Prices.of_operands(np.zeros_like(x), weight, bias, mapping, machine)
            assert still.breakdown(happened, machine)["array"] < 0.8 * measured


def test_a_fit_explains_what_it_was_made_from(mapped):
    machine, array = mapped
    chosen = (*characterise.STIMULI[:6], *characterise.STIMULI[-2:])
    measured = [characterise.measure(machine, array, *characterise.operands(machine, one, 3)) for one in chosen]
    pj, worst = characterise.fit(measured)
    assert worst < 0.05
    assert min(pj.values()) >= 0.0
    doubled = [dataclasses.replace(one, elements_pj=2 * one.elements_pj, edge_pj=2 * one.edge_pj) for one in measured]
    twice, same = characterise.fit(doubled)
    assert same == pytest.approx(worst)
    assert twice == pytest.approx({name: 2 * value for name, value in pj.items()}, rel=1e-6, abs=1e-9)


def test_the_table_is_the_same_each_time_and_reads_back(monkeypatch):
    monkeypatch.setattr(characterise, "REFERENCES", (ShiftArray(rows=2, cols=2),))
    monkeypatch.setattr(characterise, "DATAFLOWS", ("weight_stationary",))
    monkeypatch.setattr(characterise, "WEIGHT_FORMATS", ("szt", "pot2"))
    told = []
    one, other = (characterise.to_toml(seed=1, step=told.append) for _ in range(2))
    assert one == other
    assert told == ["weight_stationary, szt", "weight_stationary, pot2"] * 2
    table = tomllib.loads(one)
    assert table["source"].startswith("tetrit characterise: fitted to 2 x 2 arrays mapped to sg13g2")
    assert table["provenance"]["seed"] == 1
    assert table["provenance"]["library"] == "sg13g2, 1.2 V, 25 C"
    assert table["provenance"]["stimuli"] == [stimulus.name for stimulus in characterise.STIMULI]
    netlists = {row["netlist"] for row in table["coefficients"]}
    assert len(netlists) == 2
    assert all(name.startswith("ShiftPEArray:") for name in netlists)
    found = Coefficients.from_dict(table, {"dataflow": "weight_stationary", "weight_format": "pot2"})
    assert found.worst_fit < 0.1
    assert Prices.modelled(ShiftArray(rows=2, cols=2, weight_format="pot2"), coefficients=found).pe_active_pj > 0


@pytest.mark.parametrize("pair", [("fp4_e2m1", "posit4_1"), ("posit16_1", "posit8_0")])
def test_committed_coefficients_of_the_simd_engine_hold_for_other_operands(element, pair):
    machine = SimdEngine(rows=4, cols=4)
    for stimulus in (simd_energy.STIMULI[0], simd_energy.STIMULI[4], simd_energy.STIMULI[8]):
        x, weight = stimulus.operands(*pair, 991)
        words = sampled(x, weight, machine.mode(*pair), machine)
        measured = simd_energy.measure_element(element, machine, words) / len(words.last)
        assert SimdPrices.of_operands(x, weight, machine, *pair).element_step_pj == pytest.approx(measured, rel=0.10)


@pytest.fixture(scope="module")
def element():
    return synthesize(SimdMac(SimdEngine(rows=1, cols=1)))


def test_an_idle_element_costs_what_the_table_says(element):
    machine = SimdEngine(rows=1, cols=1)
    prices = SimdPrices.modelled(machine, "fp4_e2m1", "fp4_e2m1")
    assert prices.element_idle_pj == pytest.approx(simd_energy.idle_energy(element, machine), rel=1e-4)


def test_a_netlist_is_known_by_its_cells_and_how_they_are_joined(element):
    again = synthesize(SimdMac(SimdEngine(rows=1, cols=1, formats=("fp4_e2m1",))))
    assert netlist_of(element) == netlist_of(element)
    assert netlist_of(element) != netlist_of(again)
    variant = {"gating": True, "act_format": "fp4_e2m1", "weight_format": "fp4_e2m1"}
    committed = Coefficients.committed("simd_sg13g2.toml", variant).netlist.split()[0]
    assert netlist_of(element) == committed, (
        "the RTL or the mapper has changed: run `tetrit characterise --machine simd`"
    )


def test_the_fit_finds_the_prices_that_energies_were_made_of():
    rng = np.random.default_rng(4)
    prices = {"a": 0.25, "b": 3.0, "c": 0.0}
    counts = [{name: float(rng.integers(1, 1000)) for name in prices} for _ in range(12)]
    energies = [sum(prices[name] * count[name] for name in prices) for count in counts]
    assert weighted_fit(list(prices), counts, energies) == pytest.approx(prices, abs=1e-9)


def test_operands_have_the_shares_that_are_asked_for():
    machine = ShiftArray(rows=8, cols=8, weight_format="pot4z", acc_bits=40)
    rng = np.random.default_rng(5)
    stimulus = Stimulus(name="x", act_zeros=0.7, weight_zeros=0.4, correlation=0.0)
    acts = stimulus.acts(machine.activations, 100, 100, rng)
    assert (acts == 0).mean() == pytest.approx(0.7, abs=0.03)
    assert acts.min() == 0
    codes = stimulus.weights(machine.weights, 100, 100, rng)
    assert (machine.weights.integers[codes] == 0).mean() == pytest.approx(0.4, abs=0.03)
    slow = Stimulus(name="y", act_zeros=0.0, correlation=0.95, signed=True).acts(machine.activations, 200, 50, rng)
    assert np.corrcoef(slow[1:].ravel(), slow[:-1].ravel())[0, 1] > 0.85
    positive = Stimulus(name="z", positive_weights=True).weights(machine.weights, 50, 50, rng)
    assert machine.weights.integers[positive].min() == 0


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (("--liberty", "none.lib"), "none.lib"),
        (("--library", "nangate"), "nangate"),
        (("--machine", "crossbar"), "crossbar"),
        (("--seed", "-1"), "-1"),
        (("-o", "file/table.toml"), "file"),
    ],
)
def test_what_cannot_be_done_is_said_before_the_work_begins(tetrit, tmp_path, monkeypatch, given, text):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("a file, no directory")
    found = tetrit("characterise", *given)
    assert found.code == 2
    assert found.out == ""
    assert text in found.err.splitlines()[-1]
    assert "Traceback" not in found.err
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_the_netlist_of_a_whole_simd_array_is_fed_and_read_right_and_has_an_edge():
    machine = SimdEngine(rows=2, cols=3, formats=("fp4_e2m1",), quire_bits=64)
    array = synthesize(SimdArray(machine))
    acts, weight = simd_energy.STIMULI[0].operands("fp4_e2m1", "fp4_e2m1", 5)
    run = measure_array(array, machine, acts[:5, :11], weight[:11, :7], "fp4_e2m1", "fp4_e2m1")
    assert run.mismatches == 0
    assert 0.05 * run.total_pj < run.edge_pj < 0.5 * run.total_pj
    prices = SimdPrices.of_operands(acts[:5, :11], weight[:11, :7], machine, "fp4_e2m1", "fp4_e2m1")
    assert prices.edge_pj * run.cycles == pytest.approx(run.edge_pj, rel=0.3)
    with pytest.raises(InvalidValueError, match=r"^vectors must take one word each$"):
        narrow = machine.replace(act_memory=machine.act_memory.replace(width_bits=16))
        measure_array(array, narrow, acts[:5, :11], weight[:11, :7], "fp4_e2m1", "fp4_e2m1")
