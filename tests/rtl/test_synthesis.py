# amaranth: UnusedElaboratable=no
"""Synthesis: the mapped netlist is proved equal to the design, and every figure is what the cell table says."""

import re
from collections import Counter as Counted

import numpy as np
import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tetrit.errors import InvalidValueError, ToolError, UnknownNameError
from tetrit.hardware.technology import Technology, technologies
from tetrit.rtl import yosys
from tetrit.rtl.activity import simulate
from tetrit.rtl.buffering import MAX_LOAD_FF, insert_buffers
from tetrit.rtl.flat import flatten
from tetrit.rtl.hierarchy import lower
from tetrit.rtl.liberty_text import cell_models, to_liberty
from tetrit.rtl.netlist import Instance, Netlist, Port
from tetrit.rtl.netlist import Module as Mapped
from tetrit.rtl.synthesis import synthesize

SG13G2 = Technology.load("sg13g2")


def prove_netlist(design, netlist, models, n_steps=10):
    """Prove that the netlist's Verilog with the cells' models equals the design in every step after a reset.

    The clock is free and the reset is held for the first four steps; registers of both start anywhere.
    """
    clocked = "input clk" in netlist
    script = f"""
read_rtlil in.il
proc
flatten
memory
setattr -unset init w:*
rename {design.top} gold
design -stash design
read_verilog netlist.v models.v
hierarchy -top {design.top}
proc
flatten
opt_clean
rename {design.top} gate
design -stash netlist
design -copy-from design -as gold gold
design -copy-from netlist -as gate gate
miter -equiv -flatten -make_outputs gold gate miter
hierarchy -top miter
clk2fflogic
opt_clean
"""
    if clocked:
        reset = "".join(f" -set-at {step} in_rst 1 -set-at {step} in_clk {step % 2}" for step in range(1, 5))
        script += f"sat -verify -prove trigger 0 -seq {n_steps}{reset} -prove-skip 4 miter\n"
    else:
        script += "sat -verify -prove trigger 0 miter\n"
    yosys.run(script, {"in.il": design.rtlil, "netlist.v": netlist, "models.v": models})


SMALL = {
    "adder": lambda d: d.Adder(6),
    "counter": lambda d: d.Counter(5),
    "element": lambda d: d.Element(4, 6),
}


@pytest.mark.parametrize("gated", [True, False])
@pytest.mark.parametrize("name", SMALL)
def test_netlist_text_is_proved_equal_to_the_design(designs, name, gated):
    result = synthesize(SMALL[name](designs), name="top", gate_clocks=gated)
    prove_netlist(lower(SMALL[name](designs), "top"), result.netlist, result.models)


@pytest.mark.parametrize("name", ["adder", "counter"])
def test_the_proof_can_fail(designs, name):
    result = synthesize(SMALL[name](designs), name="top")
    broken = re.sub(
        r"sg13g2_(xnor2|xor2)_1",
        lambda m: f"sg13g2_{'xor2' if m[1] == 'xnor2' else 'xnor2'}_1",
        result.netlist,
        count=1,
    )
    assert broken != result.netlist
    with pytest.raises(ToolError, match=r"^Yosys failed: "):
        prove_netlist(lower(SMALL[name](designs), "top"), broken, result.models)


def test_hierarchical_grid_keeps_its_modules_and_sums_their_areas(designs):
    result = synthesize(designs.Grid(3, 2), name="top")
    assert list(result.modules) == ["Element", "top"]
    element, top = result.modules["Element"], result.modules["top"]
    assert (element.instances, top.instances) == (6, 1)
    assert top.total_area_um2 == pytest.approx(top.own_area_um2 + 6 * element.total_area_um2, rel=1e-12)
    assert result.area_um2 == pytest.approx(top.total_area_um2, rel=1e-12)
    total = Counted(top.cells)
    for cell, count in element.cells.items():
        total[cell] += 6 * count
    assert result.cells == dict(sorted(total.items()))
    assert result.area_um2 == pytest.approx(sum(SG13G2.cell(c).area_um2 * n for c, n in total.items()), rel=1e-12)
    assert result.leakage_nw == pytest.approx(sum(SG13G2.cell(c).leakage_nw * n for c, n in total.items()), rel=1e-12)


def test_counts_match_the_netlist_text(designs):
    result = synthesize(designs.Element())
    written = Counted(re.findall(r"^  (sg13g2_\w+) ", result.netlist, re.MULTILINE))
    assert dict(written) == dict(result.cells)


def test_flat_synthesis_has_one_module_and_is_smaller_where_constants_cross_borders(designs):
    flat, nested = (synthesize(designs.Grid(2, 2), name="top", hierarchical=h) for h in (False, True))
    assert list(flat.modules) == ["top"]
    assert flat.area_um2 < nested.area_um2


def test_registers_with_an_enable_are_behind_one_clock_gate(designs):
    gated = synthesize(designs.Element())
    plain = synthesize(designs.Element(), gate_clocks=False)
    assert gated.cells["sg13g2_lgcp_1"] == 1
    assert "sg13g2_lgcp_1" not in plain.cells
    assert gated.cells["sg13g2_dfrbpq_1"] == plain.cells["sg13g2_dfrbpq_1"] == 24
    assert gated.area_um2 < plain.area_um2


def test_few_bits_are_not_gated(designs):
    assert "sg13g2_lgcp_1" not in synthesize(designs.Counter(4), min_gated_bits=5).cells
    assert synthesize(designs.Counter(4), min_gated_bits=4).cells["sg13g2_lgcp_1"] == 1


def test_asynchronous_reset_uses_the_flip_flops_own(designs):
    result = synthesize(designs.OwnDomain())
    assert result.cells["sg13g2_dfrbpq_1"] == 3
    assert "sg13g2_tiehi" not in result.cells
    rng = np.random.default_rng(3)
    tick, clear = rng.integers(0, 2, 200), (rng.random(200) < 0.1).astype(int)
    count, expected = 0, []
    for t, c in zip(tick, clear, strict=True):
        count = 0 if c else count
        expected.append(count)
        count = 0 if c else (count + t) % 8
    assert simulate(result.structure, {"tick": tick, "clear": clear}).value("count").tolist() == expected


def test_memory_becomes_registers(designs):
    result = synthesize(designs.Table())
    assert result.cells["sg13g2_dfrbpq_1"] == 8 * 4 + 4


def test_wires_need_no_logic(designs):
    result = synthesize(designs.Wires())
    assert set(result.cells) <= {"sg13g2_tiehi", "sg13g2_tielo"}
    assert simulate(result.structure, {"a": [0, 1, 8]}).value("y").tolist() == [0, 8, 1]
    assert simulate(result.structure, {"a": [0, 1, 8]}).value("z").tolist() == [5, 5, 5]


def test_same_result_always(designs):
    first, second = synthesize(designs.Grid(2, 2)), synthesize(designs.Grid(2, 2))
    assert first.netlist == second.netlist
    assert (first.area_um2, first.delay_ns, first.critical_path) == (
        second.area_um2,
        second.delay_ns,
        second.critical_path,
    )


def test_assumptions_are_stated(designs):
    text = "\n".join(synthesize(designs.Counter()).assumptions)
    for part in (
        "4 fF per fan-out (our assumption)",
        "100 ps (our assumption)",
        "Apache-2.0",
        "no clock tree",
        "1.2 V, 25 C",
    ):
        assert part in text


class Words(wiring.Component):
    """Ports that are words of Verilog."""

    def __init__(self):
        super().__init__({"module": In(2), "output": Out(2), "reg": In(1)})

    def elaborate(self, platform):
        m = Module()
        m.d.comb += getattr(self, "output").eq(getattr(self, "module") & getattr(self, "reg").replicate(2))  # noqa: B009
        return m


def test_ports_named_like_words_of_verilog():
    result = synthesize(Words(), name="top")
    prove_netlist(lower(Words(), "top"), result.netlist, result.models)


class Broadcast(wiring.Component):
    """One input that feeds 300 gates in children and as many at the top."""

    a: In(1)
    b: In(300)
    y: Out(300)

    def elaborate(self, platform):
        m = Module()
        m.d.comb += self.y.eq(self.b & self.a.replicate(300))
        return m


def test_no_net_is_overloaded(designs):
    result = synthesize(Broadcast())
    flat = flatten(result.structure)
    # a buffered net may exceed the limit by no more than the wire that the splitting leaves
    assert flat.load_ff.max() <= MAX_LOAD_FF
    rng = np.random.default_rng(5)
    a, b = rng.integers(0, 2, 20), rng.integers(0, 2, (20, 300))
    assert np.array_equal(simulate(result.structure, {"a": a, "b": b}).outputs["y"], a[:, None] & b)


def test_buffers_stay_out_of_the_clock():
    cells = tuple(
        Instance(
            name=f"f{i}", type="sg13g2_dfrbpq_1", pins=(("CLK", (2,)), ("D", (3,)), ("RESET_B", (1,)), ("Q", (4 + i,)))
        )
        for i in range(100)
    )
    module = Mapped(
        name="top",
        ports=(
            Port(name="clk", direction="input", nets=(2,)),
            Port(name="d", direction="input", nets=(3,)),
            Port(name="q", direction="output", nets=tuple(range(4, 104))),
        ),
        cells=cells,
        children=(),
        net_names=("0", "1", "clk", "d", *(f"q[{i}]" for i in range(100))),
    )
    buffered = insert_buffers(Netlist(top="top", modules=(module,), technology=SG13G2))
    sinks = Counted(dict(cell.pins).get("CLK") for cell in buffered["top"].cells)
    assert sinks[(2,)] == 100
    assert flatten(buffered).load_ff[flatten(buffered).inputs["d"]] <= MAX_LOAD_FF
    d = np.arange(20) % 3 % 2
    assert np.array_equal(simulate(buffered, {"d": d}).outputs["q"][1:, 57], d[:-1])


def test_cells_of_the_embedded_library_are_the_tables():
    assert technologies() == ("sg13g2",)
    assert len(SG13G2.cells) == 43
    flop = SG13G2.cell("sg13g2_dfrbpq_1")
    assert (flop.role, flop.clock, flop.data, flop.clear) == ("flop", "CLK", "D", "!RESET_B")
    assert flop.area_um2 == 48.9888
    assert flop.leakage_nw == pytest.approx(0.510517)
    assert dict(flop.inputs) == {"CLK": 2.770, "D": 1.420, "RESET_B": 5.087}
    assert {cell.role for cell in SG13G2.cells} == {"logic", "flop", "latch", "clock_gate"}


def test_models_are_proved_equal_to_the_liberty_functions():
    logic = [cell.name for cell in SG13G2.cells if cell.role == "logic" and cell.inputs]
    assert len(logic) == 37
    script = "read_verilog models.v\nproc\ndesign -stash models\n"
    script += "read_liberty -ignore_miss_func cells.lib\ndesign -stash cells\n"
    for name in logic:
        script += (
            f"design -copy-from models -as gold_{name} {name}\ndesign -copy-from cells -as gate_{name} {name}\n"
            f"miter -equiv -flatten gold_{name} gate_{name} miter_{name}\n"
            f"sat -verify -prove trigger 0 miter_{name}\n"
        )
    yosys.run(script, {"models.v": cell_models(SG13G2), "cells.lib": to_liberty(SG13G2)})


def test_errors(designs):
    with pytest.raises(UnknownNameError, match=r"^unknown library 'sg13g'; did you mean 'sg13g2'\?$"):
        synthesize(designs.Counter(), "sg13g")
    with pytest.raises(UnknownNameError, match=r"^unknown cell 'sg13g2_nand2_3'; did you mean 'sg13g2_nand2_2'\?$"):
        SG13G2.cell("sg13g2_nand2_3")
    with pytest.raises(TypeError, match=r"^`component` must be an Amaranth component, got 'x'$"):
        synthesize("x")
    with pytest.raises(InvalidValueError, match=r"^`min_gated_bits` must be a positive integer, got 0$"):
        synthesize(designs.Counter(), min_gated_bits=0)
    with pytest.raises(InvalidValueError, match=r"^`voltage_v` must be above 0, got 0$"):
        SG13G2.replace(voltage_v=0.0)
