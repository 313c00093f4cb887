# amaranth: UnusedElaboratable=no
"""The Verilog of components: deterministic, one module per component, equal to what Amaranth itself lowers to."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from amaranth.back import rtlil
from amaranth.hdl import EnableInserter, Module, ResetInserter
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tetrit.errors import InvalidValueError, ToolError
from tetrit.rtl import to_verilog, yosys
from tetrit.rtl.hierarchy import lower


def modules(text):
    return re.findall(r"^module (\S+)\(", text, re.MULTILINE)


def prove_equal(ours, reference, top, n_steps=8):
    """Prove with Yosys' SAT solver that our lowering equals Amaranth's own for every input in the first steps.

    A step is a free choice of all inputs, clock included, so registers tick at most every second step.
    """
    load = "proc\nflatten\nmemory -nomap\nmemory_map\nopt_clean\n"
    script = f"""
read_rtlil ours.il
{load}
rename {top} gold
design -stash ours
read_rtlil reference.il
{load}
rename {top} gate
design -stash reference
design -copy-from ours -as gold gold
design -copy-from reference -as gate gate
miter -equiv -flatten -make_assert gold gate miter
hierarchy -top miter
clk2fflogic
opt_clean
sat -verify -prove-asserts -set-init-zero -seq {n_steps} miter
"""
    yosys.run(script, {"ours.il": ours, "reference.il": reference})


COMPONENTS = {
    "adder": lambda d: d.Adder(5),
    "counter": lambda d: d.Counter(),
    "grid": lambda d: d.Grid(2, 2),
    "memory": lambda d: d.Table(),
    "wires": lambda d: d.Wires(),
    "nested wires": lambda d: d.Enclosing(d.Wires()),
    "nested grid": lambda d: d.Enclosing(d.Grid(2, 1)),
    "child with an outer enable": lambda d: d.Enclosing(
        d.Counter(), lambda child, own: EnableInserter(own.gate)(child)
    ),
    "child with an outer reset": lambda d: d.Enclosing(d.Counter(), lambda child, own: ResetInserter(own.gate)(child)),
    "own clock domain": lambda d: d.Enclosing(d.OwnDomain()),
}


@pytest.mark.parametrize("name", COMPONENTS)
def test_lowering_equals_amaranths_own(designs, name):
    make = COMPONENTS[name]
    prove_equal(lower(make(designs), "top").rtlil, rtlil.convert(make(designs), name="top", emit_src=False), "top")


def test_the_equivalence_proof_can_fail(designs):
    with pytest.raises(ToolError, match=r"^Yosys failed: "):
        prove_equal(
            lower(designs.Adder(5), "top").rtlil.replace("cell $add", "cell $sub"),
            rtlil.convert(designs.Adder(5), name="top", emit_src=False),
            "top",
        )


def test_equal_components_are_one_module(designs):
    text = to_verilog(designs.Grid(3, 4), "grid")
    assert modules(text) == ["Element", "grid"]
    assert len(re.findall(r"^  Element element_\d_\d \($", text, re.MULTILINE)) == 12
    assert len(text) < len(to_verilog(designs.Grid(1, 1), "grid")) * 4


def test_different_parameters_are_different_modules(designs):
    class Two(wiring.Component):
        a: In(8)
        y: Out(9)
        z: Out(5)

        def elaborate(self, platform):
            m = Module()
            m.submodules.wide, m.submodules.narrow = wide, narrow = designs.Adder(8), designs.Adder(4)
            m.d.comb += [wide.a.eq(self.a), self.y.eq(wide.y), narrow.a.eq(self.a), self.z.eq(narrow.y)]
            return m

    assert modules(to_verilog(Two(), "two")) == ["Adder", "Adder_2", "two"]


def test_a_child_named_like_the_top_gets_another_name(designs):
    assert modules(to_verilog(designs.Grid(1, 1), "Element")) == ["Element_2", "Element"]


def test_ports_stand_in_the_order_of_the_signature(designs):
    text = to_verilog(designs.Element(), "element")
    assert text.startswith("module element(enable, code, a, total, a_out, total_out, clk, rst);\n")


def test_ports_of_the_surroundings_follow_the_signature(designs):
    text = to_verilog(designs.Enclosing(designs.Counter(), lambda child, own: EnableInserter(own.gate)(child)), "top")
    assert "module Counter(enable, count, clk, rst, gate);" in text


def test_registers_keep_initial_value_reset_and_enable(designs):
    text = to_verilog(designs.Counter(4), "counter")
    assert "reg [3:0] count = 4'h0;" in text
    assert re.search(r"if \(rst\) count <= 4'h0;\n\s+else if \(enable\) count <= ", text)


def test_text_is_plain(designs):
    text = to_verilog(designs.Grid(2, 2), "grid")
    assert "Yosys" not in text and "Amaranth" not in text and "/*" not in text and "(*" not in text
    assert "conftest" not in text and str(Path.cwd()) not in text
    assert "$" not in re.sub(r"\$signed", "", text)


def test_same_text_in_every_process_and_for_every_hash_seed(designs, tmp_path):
    program = (
        "import importlib.util, sys\n"
        "spec = importlib.util.spec_from_file_location('conftest', sys.argv[1])\n"
        "module = importlib.util.module_from_spec(spec); spec.loader.exec_module(module)\n"
        "from tetrit.rtl import to_verilog\n"
        "sys.stdout.write(to_verilog(module.Grid(2, 3), 'grid'))\n"
    )
    here = str(Path(__file__).parent / "conftest.py")
    texts = {
        subprocess.run(
            [sys.executable, "-c", program, here],
            env={**os.environ, "PYTHONHASHSEED": seed},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "4711")
    }
    assert texts == {to_verilog(designs.Grid(2, 3), "grid")}


def test_lowering_leaves_signal_names_alone(designs):
    grid = designs.Grid(2, 2)
    assert to_verilog(grid, "grid") == to_verilog(grid, "grid")
    assert grid.totals.name == "totals"


def test_nothing_is_printed(designs, capfd):
    to_verilog(designs.Counter(), "counter")
    assert capfd.readouterr() == ("", "")


class NoPorts(wiring.Component):
    def __init__(self):
        super().__init__({})

    def elaborate(self, platform):
        return Module()


def test_errors(designs):
    with pytest.raises(TypeError, match=r"^`component` must be an Amaranth component, got 3$"):
        to_verilog(3, "x")
    with pytest.raises(TypeError, match=r"^`name` must be a string, got 3$"):
        to_verilog(designs.Counter(), 3)
    with pytest.raises(InvalidValueError, match=r"^`name` must be a Verilog identifier, got '3x'$"):
        to_verilog(designs.Counter(), "3x")
    with pytest.raises(InvalidValueError, match=r"^`component` NoPorts has no ports$"):
        to_verilog(NoPorts(), "x")


def test_yosys_errors_are_one_line():
    with pytest.raises(
        ToolError, match=r"^Yosys failed: No such command: nonsense \(type 'help' for a command overview\)$"
    ):
        yosys.run("nonsense")
    with pytest.raises(ToolError, match=r"^Yosys failed: it wrote no 'out\.v'$"):
        yosys.run("help", outputs=("out.v",))
    pins = 'pin (A) { direction : input; } pin (Y) { direction : output; function : "!A"; }'
    library = f"library (x) {{ cell (INV) {{ area : 1; {pins} }} }}"
    with pytest.raises(ToolError, match=r"^Yosys failed: ABC: Library with only 1 cell classes cannot be used\.$"):
        yosys.run(
            "read_verilog a.v\ntechmap\nabc -liberty a.lib",
            {"a.v": "module a(input a, b, output y); assign y = a & b; endmodule", "a.lib": library},
        )


def test_missing_yosys_is_told(monkeypatch):
    monkeypatch.setattr(yosys, "find_spec", lambda name: None)
    with pytest.raises(
        ToolError, match=r"^Yosys is missing: install the extra 'tetrit\[rtl\]', which brings the 'pyosys' wheel$"
    ):
        yosys.run("help")
