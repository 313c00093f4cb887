# amaranth: UnusedElaboratable=no
"""Activity and energy: hand-computed circuits, and gate-level netlists against Amaranth's simulator."""

import numpy as np
import pytest

from tetrit.errors import InvalidValueError, UnknownNameError
from tetrit.hardware import ShiftArray
from tetrit.hardware.technology import Technology
from tetrit.rtl import build
from tetrit.rtl.activity import simulate
from tetrit.rtl.flat import flatten
from tetrit.rtl.netlist import Instance, Module, Netlist, Port
from tetrit.rtl.synthesis import synthesize

SG13G2 = Technology.load("sg13g2")
WIRE = SG13G2.wire_cap_ff_per_fanout
SQUARE = SG13G2.voltage_v**2


def toggle_fj(cell, load_ff):
    """Energy of one toggle of a cell's output: inside, and C V^2 / 2 of the load."""
    return SG13G2.cell(cell).outputs[0].energy_fj + load_ff * SQUARE / 2


def cap(cell, pin):
    return SG13G2.cell(cell).cap_ff(pin) + WIRE


@pytest.mark.parametrize("gated", [True, False])
@pytest.mark.parametrize("hierarchical", [True, False])
@pytest.mark.parametrize("name", ["adder", "counter", "element", "grid", "shift register", "memory"])
def test_netlist_equals_amaranths_simulator(designs, name, gated, hierarchical):
    make = {
        "adder": lambda: designs.Adder(8),
        "counter": lambda: designs.Counter(5),
        "element": lambda: designs.Element(),
        "grid": lambda: designs.Grid(3, 2),
        "shift register": lambda: designs.ShiftRegister(9),
        "memory": lambda: designs.Table(),
    }[name]
    compare(designs, make, gate_clocks=gated, hierarchical=hierarchical)


def compare(designs, make, n_cycles=200, **options):
    """Assert that the netlist of a component gives Amaranth's outputs in every cycle."""
    component = make()
    result = synthesize(make(), **options)
    rst = "rst" in flatten(result.structure).inputs
    inputs = designs.stimulus(component, np.random.default_rng(20), n_cycles, rst=rst)
    found = simulate(result.structure, inputs)
    expected = designs.golden(component, inputs, list(found.outputs))
    for port in found.outputs:
        assert np.array_equal(found.value(port), expected[port]), port


@pytest.mark.parametrize("dataflow", ["weight_stationary", "output_stationary"])
@pytest.mark.parametrize("weight_format", ["szt", "pot3"])
@pytest.mark.parametrize("name", ["ShiftPE", "ShiftPEArray", "SZTDecoder", "SZTEncoder", "WeightDecoder"])
def test_netlists_of_the_machines_components_equal_amaranths_simulator(designs, name, weight_format, dataflow):
    machine = ShiftArray(rows=3, cols=2, act_format="int8", weight_format=weight_format, acc_bits=20, dataflow=dataflow)
    compare(designs, lambda: build(name, machine))


def test_a_broken_netlist_differs(designs):
    result = synthesize(designs.Element())
    module = result.structure.modules[0]
    cells = list(module.cells)
    broken = next(i for i, cell in enumerate(cells) if cell.type == "sg13g2_nor2_1")
    cells[broken] = Instance(name="broken", type="sg13g2_nand2_1", pins=cells[broken].pins)
    inputs = designs.stimulus(designs.Element(), np.random.default_rng(20), 200)
    changed = Netlist(
        top="Element",
        modules=(
            Module(name="Element", ports=module.ports, cells=tuple(cells), children=(), net_names=module.net_names),
        ),
        technology=SG13G2,
    )
    good, bad = simulate(result.structure, inputs), simulate(changed, inputs)
    assert any(not np.array_equal(good.outputs[port], bad.outputs[port]) for port in good.outputs)


def inverter_chain(length):
    module = Module(
        name="top",
        ports=(Port(name="a", direction="input", nets=(2,)), Port(name="y", direction="output", nets=(2 + length,))),
        cells=tuple(
            Instance(name=f"u{i}", type="sg13g2_inv_1", pins=(("A", (2 + i,)), ("Y", (3 + i,)))) for i in range(length)
        ),
        children=(),
        net_names=("0", "1", *(f"n{i}" for i in range(length + 1))),
    )
    return Netlist(top="top", modules=(module,), technology=SG13G2)


def test_inverter_by_hand():
    found = simulate(inverter_chain(1), {"a": [0, 1, 1, 0, 1, 0, 0, 1]})
    assert found.value("y").tolist() == [1, 0, 0, 1, 0, 1, 1, 0]
    assert found.n_cycles == 7
    n_toggles = 5
    energy = found.energy(period_ns=10.0)
    leak_pj = SG13G2.cell("sg13g2_inv_1").leakage_nw * 10.0 * 1e-6
    assert energy.by_kind["logic"] == pytest.approx(n_toggles * toggle_fj("sg13g2_inv_1", WIRE) / 7 / 1000)
    assert energy.by_kind["inputs"] == pytest.approx(n_toggles * cap("sg13g2_inv_1", "A") * SQUARE / 2 / 7 / 1000)
    assert energy.by_kind["leakage"] == pytest.approx(leak_pj)
    assert energy.by_kind["clock"] == energy.by_kind["registers"] == 0
    assert energy.total_pj == pytest.approx(sum(energy.by_kind.values()))
    assert sum(energy.by_module.values()) == pytest.approx(energy.total_pj)


def test_inverter_chain_by_hand():
    found = simulate(inverter_chain(5), {"a": [0, 1, 0, 1, 0]})
    assert found.value("y").tolist() == [1, 0, 1, 0, 1]
    assert sorted(found.toggles.tolist())[-6:] == [4] * 6
    inner, last = toggle_fj("sg13g2_inv_1", cap("sg13g2_inv_1", "A")), toggle_fj("sg13g2_inv_1", WIRE)
    assert found.energy(1.0).by_kind["logic"] == pytest.approx((4 * inner + last) / 1000)


def test_shift_register_by_hand(designs):
    """A single 1 passes through: each stage toggles twice, and no more."""
    length, n_cycles = 6, 20
    result = synthesize(designs.ShiftRegister(length))
    assert dict(result.cells) == {"sg13g2_dfrbpq_1": length, "sg13g2_tiehi": 1}
    d = np.zeros(n_cycles, dtype=int)
    d[3] = 1
    found = simulate(result.structure, {"d": d})
    assert found.outputs["q"].sum(axis=0).tolist() == [1] * length
    energy = found.energy(5.0)
    flop = "sg13g2_dfrbpq_1"
    stage, last = toggle_fj(flop, cap(flop, "D") + WIRE), toggle_fj(flop, WIRE)
    assert energy.by_kind["registers"] == pytest.approx(2 * ((length - 1) * stage + last) / (n_cycles - 1) / 1000)
    assert energy.by_kind["clock"] == pytest.approx(length * cap(flop, "CLK") * SQUARE / 1000)
    assert energy.by_kind["logic"] == 0
    assert energy.by_kind["inputs"] == pytest.approx(2 * cap(flop, "D") * SQUARE / 2 / (n_cycles - 1) / 1000)


def test_counter_toggles_by_hand(designs):
    """Bit k of a counter toggles every 2**k cycles."""
    result = synthesize(designs.Counter(4))
    found = simulate(result.structure, {"enable": np.ones(33, dtype=int)})
    assert found.value("count").tolist() == [i % 16 for i in range(33)]
    nets = found.flat.outputs["count"]
    assert found.toggles[nets].tolist() == [32, 16, 8, 4]


def test_counter_energy_by_hand(designs):
    """Registers pay for 32, 16, 8 and 4 toggles, each with the pins and the port that its bit feeds."""
    result = synthesize(designs.Counter(4), gate_clocks=False)
    found = simulate(result.structure, {"enable": np.ones(33, dtype=int)})
    (module,) = result.structure.modules
    count = next(port for port in module.ports if port.name == "count")
    by_hand = 0.0
    for bit, toggles in zip(count.nets, (32, 16, 8, 4), strict=True):
        fed = [
            cap(cell.type, pin)
            for cell in module.cells
            for pin, nets in cell.pins
            if nets == (bit,) and pin in SG13G2.cell(cell.type).pins
        ]
        by_hand += toggles * toggle_fj("sg13g2_dfrbpq_1", WIRE + sum(fed))
    energy = found.energy(10.0)
    assert energy.by_kind["registers"] == pytest.approx(by_hand / 32 / 1000)
    assert energy.by_kind["clock"] == pytest.approx(4 * cap("sg13g2_dfrbpq_1", "CLK") * SQUARE / 1000)
    assert energy.by_kind["inputs"] == 0
    assert energy.by_kind["leakage"] == pytest.approx(result.leakage_nw * 1e-5)
    assert (
        energy.total_pj == pytest.approx(sum(energy.by_kind.values())) == pytest.approx(sum(energy.by_module.values()))
    )


def test_a_gated_block_costs_less_the_less_it_is_used(designs):
    """The clock of a gated element costs in proportion to its enabled cycles; ungated, it costs the same always."""
    gated, plain = (synthesize(designs.Element(), gate_clocks=gating) for gating in (True, False))
    still = {name: np.zeros(101, dtype=int) for name in ("a", "code", "total")}
    clocks: dict[bool, list[float]] = {True: [], False: []}
    for every in (1, 2, 4, 0):
        enable = np.zeros(101, dtype=int)
        if every:
            enable[1::every] = 1
        for result in (gated, plain):
            energy = simulate(result.structure, {"enable": enable, **still}).energy(10.0)
            clocks[result is gated].append(energy.by_kind["clock"])
            assert energy.total_pj == pytest.approx(sum(energy.by_kind.values()))
    n_flops, flop, gate = 24, "sg13g2_dfrbpq_1", "sg13g2_lgcp_1"
    behind = n_flops * cap(flop, "CLK") * SQUARE + 2 * SG13G2.cell(gate).outputs[0].energy_fj
    own = cap(gate, "CLK") * SQUARE
    assert clocks[True] == pytest.approx([(own + share * behind) / 1000 for share in (1.0, 0.5, 0.25, 0.0)])
    assert clocks[False] == pytest.approx([n_flops * cap(flop, "CLK") * SQUARE / 1000] * 4)


def test_zero_activity_costs_clock_and_leakage_only(designs):
    result = synthesize(designs.Element(), gate_clocks=False)
    idle = {"enable": np.zeros(50, dtype=int), "a": np.full(50, 7), "code": np.full(50, 3), "total": np.full(50, 99)}
    energy = simulate(result.structure, idle).energy(4.0)
    assert energy.by_kind["logic"] == energy.by_kind["registers"] == energy.by_kind["inputs"] == 0
    n_flops = result.cells["sg13g2_dfrbpq_1"]
    assert energy.by_kind["clock"] == pytest.approx(n_flops * cap("sg13g2_dfrbpq_1", "CLK") * SQUARE / 1000)
    assert energy.by_kind["leakage"] == pytest.approx(result.leakage_nw * 4.0 * 1e-6)


def test_a_closed_clock_gate_leaves_only_its_own_clock_pin(designs):
    result = synthesize(designs.Element())
    n_flops = result.cells["sg13g2_dfrbpq_1"]
    gate = "sg13g2_lgcp_1"

    def run(enable):
        hold = {"a": np.zeros(11, dtype=int), "code": np.zeros(11, dtype=int), "total": np.zeros(11, dtype=int)}
        return simulate(result.structure, {"enable": np.full(11, enable), **hold})

    closed, opened = run(0), run(1)
    assert closed.ticks.tolist() == [10, 0] and opened.ticks.tolist() == [10, 10]
    own = cap(gate, "CLK") * SQUARE
    behind = n_flops * cap("sg13g2_dfrbpq_1", "CLK") * SQUARE + 2 * SG13G2.cell(gate).outputs[0].energy_fj
    assert closed.energy(1.0).by_kind["clock"] == pytest.approx(own / 1000)
    assert opened.energy(1.0).by_kind["clock"] == pytest.approx((own + behind) / 1000)


def test_energy_against_a_slow_count(designs):
    """Recompute the switching energy cell by cell from the outputs of a probe on every net."""
    result = synthesize(designs.Grid(2, 2), name="top")
    inputs = designs.stimulus(designs.Grid(2, 2), np.random.default_rng(8), 60)
    found = simulate(result.structure, inputs, n_warmup=10)
    flat = found.flat
    load = np.zeros(flat.n_nets)
    for index in range(flat.n_cells):
        for pin, net in enumerate(flat.in_nets[flat.in_start[index] : flat.in_start[index + 1]]):
            load[net] += flat.cell(index).inputs[pin][1] + WIRE
    for nets in flat.outputs.values():
        for net in nets:
            load[net] += WIRE
    totals = {"logic": 0.0, "registers": 0.0}
    by_module = dict.fromkeys(flat.module_names, 0.0)
    for index in range(flat.n_cells):
        cell = flat.cell(index)
        net = flat.out_nets[flat.out_start[index]]
        fj = found.toggles[net] * (cell.outputs[0].energy_fj + load[net] * SQUARE / 2)
        totals["registers" if cell.role == "flop" else "logic"] += fj
        by_module[flat.module_names[flat.owner[index]]] += fj
    energy = found.energy(3.0)
    for kind, fj in totals.items():
        assert energy.by_kind[kind] == pytest.approx(fj / 50 / 1000)
    assert by_module["Element"] > 0
    assert sum(energy.by_module.values()) == pytest.approx(energy.total_pj)


def test_wide_ports_take_bits_or_integers(designs):
    result = synthesize(designs.Grid(9, 1), name="top")
    rng = np.random.default_rng(9)
    bits = rng.integers(0, 2, (40, 72))
    integers = [sum(int(b) << i for i, b in enumerate(row)) for row in bits]
    rest = {"enable": np.ones(40, dtype=int), "code": np.full(40, 1)}
    first = simulate(result.structure, {"a": bits, **rest})
    second = simulate(result.structure, {"a": np.array(integers, dtype=object), **rest})
    assert np.array_equal(first.outputs["totals"], second.outputs["totals"])
    assert first.outputs["totals"].any()


def test_errors(designs):
    structure = synthesize(designs.Element()).structure
    with pytest.raises(UnknownNameError, match=r"^unknown input 'enabel'; did you mean 'enable'\?$"):
        simulate(structure, {"enabel": [0, 1]})
    with pytest.raises(UnknownNameError, match=r"^unknown output 'sum'; "):
        simulate(structure, {"enable": [0, 1]}).value("sum")
    with pytest.raises(InvalidValueError, match=r"^input 'clk' is a clock: it ticks by itself$"):
        simulate(structure, {"clk": [0, 1]})
    with pytest.raises(InvalidValueError, match=r"^input 'code' must fit 2 bits, got 4$"):
        simulate(structure, {"code": [0, 4]})
    with pytest.raises(InvalidValueError, match=r"^input 'code' must fit 2 bits, got -3$"):
        simulate(structure, {"code": [0, -3]})
    with pytest.raises(TypeError, match=r"^input 'code' must hold integers, got float64$"):
        simulate(structure, {"code": [0.0, 1.0]})
    with pytest.raises(
        InvalidValueError, match=r"^input 'code' must have bits of shape \(cycles, 2\), got shape \(2, 3\)$"
    ):
        simulate(structure, {"code": np.zeros((2, 3), dtype=int)})
    with pytest.raises(InvalidValueError, match=r"^`inputs` must all have the same number of cycles, got code 2, a 3$"):
        simulate(structure, {"code": [0, 1], "a": [0, 1, 2]})
    with pytest.raises(
        InvalidValueError, match=r"^`inputs` must name at least one input, to tell the number of cycles$"
    ):
        simulate(structure, {})
    with pytest.raises(InvalidValueError, match=r"^`inputs` must have more than `n_warmup` = 5 cycles, got 2$"):
        simulate(structure, {"code": [0, 1]}, n_warmup=5)
    with pytest.raises(InvalidValueError, match=r"^`period_ns` must be above 0, got 0$"):
        simulate(structure, {"code": [0, 1]}).energy(0)
