"""`tetrit cost`: sums against the mapping, areas and scaling that it is made of; what it prints, writes, refuses."""

import csv
import io
import json
import re
from importlib import resources
from pathlib import Path

import pytest

from tetrit import hardware, hls
from tetrit.errors import InvalidValueError
from tetrit.explore import area as explored
from tetrit.flow import costing
from tetrit.flow.costing import Target, cost, rows
from tetrit.hardware import Memory, ShiftArray
from tetrit.hls.mapping import OFF_CHIP
from tetrit.sim import Workload
from tetrit.sim.cost import Figure, Prices
from tetrit.sim.cost.crossbar_area import crossbar_area
from tetrit.sim.cost.memory import NOT_PRICED, sram
from tetrit.sim.cost.offchip import OffChip, kinds
from tetrit.sim.cost.scaling import NodeTable, scale

EXAMPLE = Path("examples/digits/digits.toml")
PRODUCTS = [
    ("conv", Workload(m=196, k=144, n=32), 1),
    ("depthwise", Workload(m=49, k=9, n=1), 16),
    ("heads", Workload(m=8, k=300, n=200), 3),
    ("fc", Workload(m=1, k=512, n=100), 1),
]
SCALED = (90, 65, 45, 32, 28, 20, 16, 7)
NODES = (resources.files("tetrit.sim.cost") / "nodes.toml").read_text()


@pytest.fixture(scope="module")
def shift():
    machine = hardware.load("shift_16x16")
    return cost(machine, PRODUCTS, target=Target(node_nm=28), off_chip=OffChip.of("lpddr4"), nonzero=0.5)


@pytest.fixture(scope="module")
def crossbar():
    machine = hardware.load("crossbar_256_pcm")
    return cost(machine, PRODUCTS, target=Target(node_nm=45), off_chip=OffChip.of("hbm2"))


def row(found, quantity, component):
    return next(each for each in found.of(quantity) if each.component == component)


def same(figure, other):
    """Compare figures whose values went through different sums."""
    for name in ("value", "low", "high"):
        one, two = getattr(figure, name), getattr(other, name)
        assert (one is None) == (two is None)
        assert one is None or one == pytest.approx(two, rel=1e-12)
    assert (figure.unit, figure.origin, figure.source) == (other.unit, other.origin, other.source)


def test_energies_add_up_to_those_of_the_mapping(shift):
    machine = hardware.load("shift_16x16")
    off_chip = OffChip.of("lpddr4").memory(machine.clock_mhz)
    mapped = hls.map_network(PRODUCTS, machine, off_chip=off_chip, nonzero=0.5)
    assert shift.network.cycles == mapped.cycles
    assert shift.total("energy").own.value == pytest.approx(mapped.energy_pj * 1e-6, rel=4e-3)  # whole words move
    assert row(shift, "energy", "array").own.value == mapped.breakdown["array"] * 1e-6
    moved = mapped.traffic["weight memory"]
    wanted = 8e-6 * (moved.read_bytes + moved.write_bytes) * machine.weight_memory.read_pj_per_bit
    assert row(shift, "energy", "weight memory").own.value == pytest.approx(wanted)
    moved = mapped.traffic["off-chip memory"]
    own = row(shift, "energy", "off-chip memory")
    assert own.own.value == pytest.approx(8e-6 * 13 * (moved.read_bytes + moved.write_bytes))
    assert own.own == own.scaled


def test_areas_are_those_of_explorations_with_bounds_beside_them(shift):
    wanted = explored.shift(hardware.load("shift_16x16"))
    assert {each.component: each.own.value for each in shift.of("area")} == pytest.approx(
        {name: um2 * 1e-6 for name, um2 in wanted.um2.items()}
    )
    for each in shift.of("area"):
        assert f"{each.own.origin}: {each.own.source}" == wanted.sources[each.component]
        assert each.own.low <= each.own.value <= each.own.high
        assert each.scaled.low <= each.scaled.value <= each.scaled.high


def test_scaled_figures_are_scaled_gates_and_modelled_memories(shift):
    elements = row(shift, "area", "processing elements")
    same(elements.scaled, scale(elements.own, 130, 28, from_voltage_v=1.2))
    active = row(shift, "event", "an element, nonzero weight")
    assert active.own.value == Prices.modelled(hardware.load("shift_16x16")).pe_active_pj
    same(active.scaled, scale(active.own, 130, 28, from_voltage_v=1.2))
    model = sram(8192, 32, node_nm=28)
    same(row(shift, "area", "weight memory").scaled, rows.converted(model.area, "mm2"))
    assert row(shift, "time", "weight memory, access").scaled == model.access
    read = row(shift, "event", "weight memory, 32 bits read")
    assert read.own.value == pytest.approx(32 * 0.803)
    assert (read.own.origin, read.scaled.origin) == ("assumed", "assumed")
    same(read.scaled, scale(read.own, 130, 28, from_voltage_v=1.2))
    assert all(each.scaled is None for each in shift.of("leakage"))


def test_a_faster_clock_does_not_hurry_off_chip_memory():
    narrow = OFF_CHIP.replace(width_bits=32)
    shift = cost(hardware.load("shift_16x16"), PRODUCTS, target=Target(node_nm=28), off_chip=narrow)
    mapped, clock = shift.network, row(shift, "time", "clock period")
    factor = clock.scaled.value / clock.own.value
    assert clock.own.value == 10.0
    wanted = sum(max(layer.array_cycles * factor, layer.off_chip_cycles) for layer in mapped.layers) / 100.0
    latency = row(shift, "latency", "network")
    assert latency.own.value == mapped.latency_us
    assert latency.scaled.value == pytest.approx(wanted)
    assert 1.2 * factor < latency.scaled.value / latency.own.value < 1.0
    own, scaled = shift.efficiency("own"), shift.efficiency("scaled")
    assert own.tops.value == pytest.approx(2 * mapped.macs / mapped.latency_us * 1e-6)
    assert own.tops_per_watt.value == pytest.approx(2 * mapped.macs / (shift.total("energy").own.value * 1e6))
    assert scaled.tops.value == pytest.approx(own.tops.value * latency.own.value / latency.scaled.value)
    busy = mapped.utilization * factor * latency.own.value / latency.scaled.value
    assert scaled.definition.endswith(f"utilisation {100 * busy:.3g} %")
    assert "8-bit activations x 2-bit weights, 24-bit sums, exact" in own.definition


def test_totals_are_of_the_least_certain_origin_and_split_by_it(shift):
    total = shift.total("energy")
    assert total.own.origin == "assumed"
    parts = rows.by_origin([each.own for each in shift.of("energy")])
    assert set(parts) == {"modelled", "published", "assumed"}
    assert sum(parts.values()) == pytest.approx(total.own.value)
    assert total.own.low == pytest.approx(
        sum(each.own.value if each.own.low is None else each.own.low for each in shift.of("energy"))
    )
    one = Figure(value=1.0, unit="uJ", origin="synthesised", source="a")
    two = Figure(value=2.0, unit="uJ", origin="published", source="b", low=1.5, high=4.0)
    both = rows.added([one, two])
    assert (both.value, both.low, both.high, both.origin) == (3.0, 2.5, 5.0, "published")


def test_memories_of_the_model_take_the_place_of_the_machines():
    machine = hardware.load("shift_16x16")
    found = cost(machine, PRODUCTS, target=Target(node_nm=45), memories="model")
    model, there = sram(32768, 128), sram(32768, 128, node_nm=45)
    for verb, text in (("read", "read"), ("write", "written")):
        word = row(found, "event", f"activation memory, 128 bits {text}")
        assert (word.own, word.scaled) == (getattr(model, verb), getattr(there, verb))
    moved = found.network.traffic["activation memory"]
    wanted = 8e-6 / 128 * (moved.read_bytes * there.read.value + moved.write_bytes * there.write.value)
    assert row(found, "energy", "activation memory").scaled.value == pytest.approx(wanted)
    assert found.machine.act_memory.energy_source == model.read.source
    assert not found.of("off-chip")
    default = cost(machine, PRODUCTS, off_chip=costing.off_chip_of(None))
    assert row(default, "off-chip", "a bit").own.value == OFF_CHIP.read_pj_per_bit
    assert costing.off_chip_of("none") is None


def test_memories_that_nobody_priced_are_priced_and_nothing_is_zero():
    bare = ShiftArray(rows=8, cols=8, weight_memory=Memory(size_bytes=4096))
    assert bare.weight_memory.energy_source == NOT_PRICED
    found = cost(bare, PRODUCTS)
    assert all(each.own.value > 0 for each in found.rows)
    assert row(found, "event", "weight memory, 16 bits read").own == sram(4096, 16).read
    assert not found.of("off-chip")
    assert all(each.scaled is None for each in found.rows)


def test_what_has_no_price_and_what_does_not_fit_is_said():
    found = cost(ShiftArray(rows=4, cols=4, weight_format="pot2", clock_mhz=400.0), target=Target(node_nm=45))
    assert "event `pe_zero`: pot2 has no zero" in found.missing
    assert "leakage at another node than the library's: no factor is known" in found.missing
    assert "an element, zero weight" not in [each.component for each in found.of("event")]
    slow = cost(hardware.load("shift_16x16").replace(clock_mhz=400.0)).warnings
    assert slow[0] == ("weight memory: an access takes 5.31 ns at 130 nm, longer than its latency of 2.5 ns at 400 MHz")
    assert found.efficiency() is None
    assert not found.of("energy")


def test_crossbars_are_costed_by_their_own_tables(crossbar):
    mapped = crossbar.network
    arrays = sum(layer.mapping.arrays * layer.runs for layer in mapped.layers)
    assert mapped.layers[2].runs == 3
    assert arrays == 1 + 1 + 3 * 4 + 2
    machine = hardware.load("crossbar_256_pcm")
    for node, end in ((32, "own"), (45, "scaled")):
        wanted = crossbar_area(machine, arrays=arrays, node_nm=node)
        assert [getattr(each, end) for each in crossbar.of("area")] == list(wanted.values())
    assert crossbar.own_nm == 32
    cells = row(crossbar, "energy", "cells")
    assert cells.own.value == pytest.approx(sum(layer.breakdown["cells"] for layer in mapped.layers) * 1e-6)
    assert cells.scaled.value == cells.own.value
    conversions = sum(
        layer.runs * layer.workload.m * layer.mapping.row_arrays * layer.workload.n * layer.packed
        for layer in mapped.layers
    )
    converted = row(crossbar, "energy", "ADC")
    price = row(crossbar, "event", "adc conversion")
    assert converted.own.value / price.own.value == pytest.approx(converted.scaled.value / price.scaled.value)
    assert converted.own.value == pytest.approx(conversions * price.own.value * 1e-6)
    assert row(crossbar, "latency", "network").scaled is None
    assert any("latency at another node" in text for text in crossbar.missing)
    for target in (Target(node_nm=45, process="lp"), Target(node_nm=45, voltage_v=1.0)):
        with pytest.raises(InvalidValueError, match=r"^what surrounds a crossbar is scaled by the committed table at"):
            cost(machine, target=target)


def test_the_command_prints_and_writes_the_same_figures(tetrit, tmp_path):
    arguments = ("cost", "--machine", "shift_8x8", "--network", "alexnet", "--node", "45", "--offchip", "ddr4")
    outcome = tetrit(*arguments, "--json", tmp_path / "a" / "one.json", "--out", tmp_path / "b")
    assert (outcome.code, outcome.err) == (0, "")
    lines = outcome.out.splitlines()
    assert lines[0] == "shift_8x8 at 130 nm, 100 MHz; scaled to 45 nm, 1 V, hp"
    assert lines[1].startswith("alexnet: 8 layers, ")
    titles = [line for line in lines if re.search(r"130 nm +unit +bounds +origin +45 nm +bounds +source$", line)]
    assert [re.split(r" {2,}", title)[0] for title in titles] == [
        *("area", "energy of an event", "times", "leakage", "latency", "energy of the network", "off-chip memory")
    ]
    assert [line.split()[0] for line in lines if line.startswith("total ")] == ["total", "total"]
    assert sum(line.startswith("of it: ") for line in lines) == 2
    for title in ("sources:", "not priced:", "assumptions:"):
        assert title in lines
    assert lines[-1] == f"results in {tmp_path / 'b'}"

    text = (tmp_path / "b" / "cost.json").read_text()
    assert (tmp_path / "a" / "one.json").read_text() == text
    found = json.loads(text)
    assert found["schema"] == costing.SCHEMA
    assert (found["node_nm"], found["scaled_to"]["node_nm"], found["scaled_to"]["voltage_v"]) == (130, 45, 1.0)
    assert hardware.from_dict(found["machine"]) == hardware.load("shift_8x8")
    for total in found["totals"]:
        parts = [each for each in found["rows"] if each["quantity"] == total["quantity"]]
        assert sum(part["own"]["value"] for part in parts) == pytest.approx(total["own"]["value"])
        assert sum(part["scaled"]["value"] for part in parts) == pytest.approx(total["scaled"]["value"])
        assert sum(total["by_origin"].values()) == pytest.approx(total["own"]["value"])
    numbered = [line for line in lines if re.match(r"\[\d+\] ", line)]
    assert len(numbered) == len({part["own"]["source"] for part in found["rows"]})
    assert set(found["efficiency"]) == {"definition", "own", "scaled"}

    table = list(csv.DictReader(io.StringIO((tmp_path / "b" / "cost.csv").read_text())))
    assert [line["component"] for line in table] == [each["component"] for each in found["rows"]]
    assert [float(line["value"]) for line in table] == [each["own"]["value"] for each in found["rows"]]
    assert [line["scaled_value"] == "" for line in table] == [each["scaled"] is None for each in found["rows"]]


def test_a_machine_alone_is_costed_at_its_own_node(tetrit):
    outcome = tetrit("cost")
    assert (outcome.code, outcome.err) == (0, "")
    lines = outcome.out.splitlines()
    assert lines[0] == "shift_16x16 at 130 nm, 100 MHz"
    assert re.split(r" {2,}", lines[2]) == ["area", "130 nm", "unit", "bounds", "origin", "source"]
    assert not any(line.startswith(("latency", "energy of the network", "scaling")) for line in lines)


def test_a_run_configuration_brings_its_machine_and_sizes(tetrit, tmp_path):
    outcome = tetrit("cost", "--network", EXAMPLE, "--offchip", "none", "--json", tmp_path / "x.json")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.splitlines()[0] == "machine of digits at 130 nm, 100 MHz"
    found = json.loads((tmp_path / "x.json").read_text())
    assert found["network"]["macs"] == 64 * 128 + 128 * 64 + 64 * 10
    assert hardware.from_dict(found["machine"]) == hardware.load("shift_16x16")
    assert not [each for each in found["rows"] if each["quantity"] == "off-chip"]
    assert tetrit("cost", "--network", EXAMPLE, "--machine", "shift_8x8").out.startswith("shift_8x8 at 130 nm")


def test_the_manual_has_the_tables_as_they_are():
    manual = Path("docs/cost.md").read_text()
    for kind in kinds():
        found = OffChip.of(kind)
        energy = found.energy
        row_ = f"| {kind} | {energy.value:g} | {energy.low:g}..{energy.high:g} | {found.bandwidth.value:.3g} |"
        assert row_ in manual
    table = NodeTable.modelled()
    for quantity in ("area", "delay", "energy"):
        factors = [table.factor(quantity, 130, node, from_voltage_v=1.2).value for node in SCALED]
        text = " | ".join(f"{factor:#.3g}" for factor in factors)
        assert f"| {quantity} | {text} |" in manual
    bounds = [table.factor("area", 130, node) for node in SCALED]
    assert f"| bounds | {' | '.join(f'{found.low:.3g}..{found.high:.3g}' for found in bounds)} |" in manual


def test_a_users_table_of_nodes_is_used(tetrit, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(NODES.replace("area = 17\n", "area = 55\n").replace('Integration 58 (2017) 74-81"', 'mine"'))
    outcome = tetrit("cost", "--node", "45", "--nodes", path, "--json", tmp_path / "x.json")
    assert outcome.code == 0
    assert "scaling: A. Stillmaker and B. Baas, mine; bounds in brackets" in outcome.out
    found = json.loads((tmp_path / "x.json").read_text())["rows"][0]
    assert found["scaled"]["value"] == pytest.approx(found["own"]["value"] / 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--machine", "shift_9x9"), r"unknown machine 'shift_9x9'.*"),
        (("--network", "resnet5"), r"unknown network 'resnet5'; did you mean 'resnet50'\?"),
        (("--network", "missing.onnx"), r"cannot read network 'missing\.onnx': no such file"),
        (("--network", "missing.toml"), r"cannot read configuration 'missing\.toml': No such file or directory"),
        (("--network", "examples/cnn/cnn.toml"), r"examples/cnn/cnn\.toml: the layers of a convolutional config.*"),
        (("--node", "5"), r"`node_nm` must be from 7 to 180 nm, where the table of nodes ends, got 5"),
        (("--node", "200"), r"`node_nm` must be from 7 to 180 nm, where the table of nodes ends, got 200"),
        (("--node", "nan"), r"`node_nm` must be finite, got nan"),
        (("--node", "28", "--voltage", "2"), r"`voltage_v` must be from 0\.72 to 0\.99 V at 28 nm \(hp\), got 2"),
        (("--voltage", "1"), r"`--voltage` is about another node: give `--node` too"),
        (("--nodes", "mine.toml"), r"`--nodes` is about another node: give `--node` too"),
        (("--node", "45", "--nodes", "mine.toml"), r"cannot read node table 'mine\.toml': No such file or directory"),
        (("--offchip", "lpdr4"), r"unknown off-chip memory 'lpdr4'; did you mean 'lpddr4'\?"),
        (("--process", "ulp"), r".*'ulp' is not one of.*"),
        (("--formats", "int8"), r".*'int8' is no pair of formats.*"),
        (("--network", "alexnet", "--nonzero", "2"), r"`nonzero` must be at most 1, got 2"),
        (
            ("--machine", "crossbar_256_pcm", "--node", "45", "--process", "lp"),
            r"what surrounds a crossbar is scaled by the committed table at nominal supplies \(hp\): give the node.*",
        ),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(tetrit, tmp_path, arguments, message):
    out = tmp_path / "out"
    outcome = tetrit("cost", *arguments, "--out", out, "--json", tmp_path / "x.json")
    assert (outcome.code, outcome.out) == (2, "")
    assert re.fullmatch(f"tetrit: error: {message}\n", outcome.err)
    assert not out.exists()
    assert not (tmp_path / "x.json").exists()
