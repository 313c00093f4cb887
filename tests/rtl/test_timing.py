# amaranth: UnusedElaboratable=no
"""Static timing: chains that can be computed by hand, and an independent longest-path search on random logic."""

import re
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from tetrit.errors import InvalidValueError
from tetrit.hardware.technology import Technology
from tetrit.rtl.flat import flatten
from tetrit.rtl.netlist import Instance, Module, Netlist, Port
from tetrit.rtl.synthesis import synthesize
from tetrit.rtl.timing import analyse

SG13G2 = Technology.load("sg13g2")
WIRE = SG13G2.wire_cap_ff_per_fanout
INV = SG13G2.cell("sg13g2_inv_1")
FLOP = SG13G2.cell("sg13g2_dfrbpq_1")


def netlist(ports, cells, n_nets, children=()):
    """Build a one-module netlist; ports are (name, direction, nets), cells (type, pins)."""
    module = Module(
        name="top",
        ports=tuple(Port(name=name, direction=direction, nets=nets) for name, direction, nets in ports),
        cells=tuple(
            Instance(name=f"u{i}", type=kind, pins=tuple((pin, (net,)) for pin, net in pins.items()))
            for i, (kind, pins) in enumerate(cells)
        ),
        children=children,
        net_names=("0", "1", *(f"n{i}" for i in range(2, n_nets))),
    )
    return Netlist(top="top", modules=(module,), technology=SG13G2)


def chain(length):
    cells = [("sg13g2_inv_1", {"A": 2 + i, "Y": 3 + i}) for i in range(length)]
    return netlist([("a", "input", (2,)), ("y", "output", (2 + length,))], cells, 3 + length)


@pytest.mark.parametrize("length", [1, 2, 7])
def test_inverter_chain_by_hand(length):
    timing = analyse(flatten(chain(length)))
    output = INV.outputs[0]
    inner = output.delay_worst_ps + output.delay_ps_per_ff * (INV.cap_ff("A") + WIRE)
    last = output.delay_worst_ps + output.delay_ps_per_ff * WIRE
    assert timing.delay_ns == pytest.approx(((length - 1) * inner + last) / 1000, rel=1e-12)
    assert [step.net for step in timing.path] == ["a", *(f"n{3 + i}" for i in range(length))]
    assert [step.cell for step in timing.path] == ["", *(f"u{i}" for i in range(length))]
    assert timing.end == "y"


def test_register_to_register_by_hand():
    # q -> inverter -> d of the same register
    cells = [
        ("sg13g2_dfrbpq_1", {"CLK": 2, "D": 4, "RESET_B": 1, "Q": 3}),
        ("sg13g2_inv_1", {"A": 3, "Y": 4}),
    ]
    timing = analyse(flatten(netlist([("clk", "input", (2,)), ("q", "output", (3,))], cells, 5)))
    q, y = FLOP.outputs[0], INV.outputs[0]
    launch = q.delay_worst_ps + q.delay_ps_per_ff * (INV.cap_ff("A") + 2 * WIRE)
    logic = y.delay_worst_ps + y.delay_ps_per_ff * (FLOP.cap_ff("D") + WIRE)
    assert timing.delay_ns == pytest.approx((launch + logic + SG13G2.setup_ps) / 1000, rel=1e-12)
    assert timing.end == "u0.D"
    assert [step.cell_type for step in timing.path] == ["sg13g2_dfrbpq_1", "sg13g2_inv_1"]


def test_clock_gate_is_an_end():
    cells = [
        ("sg13g2_inv_1", {"A": 3, "Y": 4}),
        ("sg13g2_lgcp_1", {"CLK": 2, "GATE": 4, "GCLK": 5}),
        ("sg13g2_dfrbpq_1", {"CLK": 5, "D": 6, "RESET_B": 1, "Q": 7}),
    ]
    ports = [("clk", "input", (2,)), ("e", "input", (3,)), ("d", "input", (6,)), ("q", "output", (7,))]
    timing = analyse(flatten(netlist(ports, cells, 8)))
    y = INV.outputs[0]
    gate = y.delay_worst_ps + y.delay_ps_per_ff * (2.298 + WIRE) + SG13G2.setup_ps
    launch = FLOP.outputs[0].delay_worst_ps + FLOP.outputs[0].delay_ps_per_ff * WIRE
    assert timing.delay_ns == pytest.approx(max(gate, launch) / 1000, rel=1e-12)


def test_random_logic_against_a_recursive_search():
    rng = np.random.default_rng(11)
    kinds = [cell for cell in SG13G2.of_role("logic") if cell.inputs]
    for _ in range(20):
        n_inputs, n_cells = 5, 40
        cells = []
        for i in range(n_cells):
            cell = kinds[rng.integers(len(kinds))]
            nets = {pin: int(rng.integers(2, 2 + n_inputs + i)) for pin in cell.pins}
            cells.append((cell.name, {**nets, cell.outputs[0].pin: 2 + n_inputs + i}))
        ends = tuple(range(2 + n_inputs, 2 + n_inputs + n_cells))
        design = netlist(
            [("a", "input", tuple(range(2, 2 + n_inputs))), ("y", "output", ends)], cells, 2 + n_inputs + n_cells
        )
        load = dict.fromkeys(range(2 + n_inputs + n_cells), 0.0)
        for name, pins in cells:
            for pin, cap in SG13G2.cell(name).inputs:
                load[pins[pin]] += cap + WIRE
        for net in ends:
            load[net] += WIRE

        @cache
        def arrival(net, cells=cells, load=load, first=2 + n_inputs):
            if net < first:
                return 0.0
            name, pins = cells[net - first]
            cell = SG13G2.cell(name)
            output = cell.outputs[0]
            return (
                max(arrival(pins[pin]) for pin in cell.pins)
                + output.delay_worst_ps
                + output.delay_ps_per_ff * load[net]
            )

        timing = analyse(flatten(design))
        assert timing.delay_ns == pytest.approx(max(map(arrival, ends)) / 1000, rel=1e-12)
        steps = [step.arrival_ns for step in timing.path]
        assert steps == sorted(steps) and steps[-1] == pytest.approx(timing.delay_ns)


def test_more_wire_is_slower(designs):
    structure = synthesize(designs.Adder(8)).structure
    heavy = replace(structure, technology=SG13G2.replace(wire_cap_ff_per_fanout=2 * WIRE))
    assert analyse(flatten(heavy)).delay_ns > analyse(flatten(structure)).delay_ns


def test_paths_cross_modules(designs):
    result = synthesize(designs.Grid(3, 3), name="top")
    assert result.critical_end.startswith("element_")
    assert {step.cell.split(".")[0] for step in result.critical_path if step.cell} >= {
        result.critical_end.split(".")[0]
    }
    assert result.delay_ns == pytest.approx(result.critical_path[-1].arrival_ns + SG13G2.setup_ps / 1000)


def test_a_module_that_joins_two_of_its_ports_joins_the_nets_outside():
    through = Module(
        name="through",
        ports=(Port(name="a", direction="input", nets=(2,)), Port(name="y", direction="output", nets=(2,))),
        cells=(),
        children=(),
        net_names=("0", "1", "a"),
    )
    top = netlist(
        [("a", "input", (2,)), ("y", "output", (4,))],
        [("sg13g2_inv_1", {"A": 3, "Y": 4})],
        5,
        children=(Instance(name="t", type="through", pins=(("a", (2,)), ("y", (3,)))),),
    )
    flat = flatten(replace(top, modules=(through, *top.modules)))
    assert flat.in_nets[0] == flat.inputs["a"][0]
    assert flat.out_nets[0] == flat.outputs["y"][0]
    assert analyse(flat).delay_ns == pytest.approx(analyse(flatten(chain(1))).delay_ns)


def test_loops_and_latches_are_refused():
    loop = [("sg13g2_inv_1", {"A": 2, "Y": 3}), ("sg13g2_inv_1", {"A": 3, "Y": 2})]
    with pytest.raises(InvalidValueError, match=r"^the netlist has a combinational loop through cell 'u0'$"):
        analyse(flatten(netlist([("y", "output", (3,))], loop, 4)))
    latch = [("sg13g2_dlhq_1", {"D": 2, "GATE": 3, "Q": 4})]
    ports = [("d", "input", (2,)), ("g", "input", (3,)), ("q", "output", (4,))]
    message = "the netlist holds latches: only flip-flops and clock gates are supported"
    with pytest.raises(InvalidValueError, match=f"^{re.escape(message)}$"):
        analyse(flatten(netlist(ports, latch, 5)))
