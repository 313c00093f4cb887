# amaranth: UnusedElaboratable=no
"""Activity files: what Verilator counts on the same gates, other tools' files, and files that do not match."""

import re
import subprocess
from dataclasses import replace

import numpy as np
import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tetrit.errors import InvalidValueError
from tetrit.hardware import ShiftArray
from tetrit.rtl import build, read_saif, read_vcd, simulate, synthesize
from tetrit.rtl.activity import Clocks
from tetrit.verify.building import call, verilate
from tetrit.verify.tools import find

N_CYCLES, N_WARMUP = 60, 5
MAIN = r"""
#include <fstream>
#include <string>
#include "Vtop.h"
#include "verilated_saif_c.h"
int main(int, char** argv) {
    VerilatedContext context;
    context.traceEverOn(true);
    Vtop top{&context};
    VerilatedSaifC trace;
    top.trace(&trace, 99);
    std::ifstream file(argv[1]);
    std::string row;
    const int warmup = std::stoi(argv[3]);
    uint64_t time = 0;
    top.clk = 0;
    top.eval();
    for (int cycle = 0; file >> row; ++cycle) {
        for (size_t i = 0; i < row.size(); ++i)
            top.next[i / 32] = (top.next[i / 32] & ~(1u << (i % 32))) | (uint32_t(row[i] - '0') << (i % 32));
        top.clk = 1;
        top.eval();
        if (cycle >= warmup) trace.dump(++time);
        top.clk = 0;
        top.eval();
        if (cycle == warmup - 1) trace.open(argv[2]);
        if (cycle >= warmup - 1) trace.dump(++time);
    }
    trace.close();
}
"""
FLAGS = (
    "-std=c++17",
    "-O0",
    "-w",
    "-DVERILATOR=1",
    "-DVM_TRACE=1",
    "-DVM_TRACE_SAIF=1",
    *(f"-DVM_{name}=0" for name in ("COVERAGE", "SC", "TIMING", "TRACE_FST", "TRACE_VCD")),
)


@pytest.fixture(scope="module")
def array():
    """Return a small array in gates, and random inputs for it with a reset at the start."""
    machine = ShiftArray(rows=2, cols=2, act_format="int8", weight_format="szt", acc_bits=20)
    result = synthesize(build("ShiftPEArray", machine))
    rng = np.random.default_rng(3)
    ports = result.structure.modules[-1].ports
    inputs = {
        port.name: rng.integers(0, 2, (N_CYCLES, len(port.nets)))
        for port in ports
        if port.direction == "input" and port.name != "clk"
    }
    inputs["rst"][:, 0] = np.arange(N_CYCLES) < 2
    return result, inputs


@pytest.fixture(scope="module")
def by_verilator(array, tmp_path_factory):
    """Simulate the gates in Verilator: a bench changes the inputs at the clock edge, as registers would."""
    result, inputs = array
    folder = tmp_path_factory.mktemp("saif")
    bound, width = [], 0
    for name, bits in inputs.items():
        bound.append(f".{name}(now[{width + bits.shape[1] - 1}:{width}])")
        width += bits.shape[1]
    bench = (
        f"module bench(input clk, input [{width - 1}:0] next);\n  reg [{width - 1}:0] now;\n"
        f"  always @(posedge clk) now <= next;\n  {result.name} dut(.clk(clk), {', '.join(bound)});\nendmodule\n"
    )
    toolchain = find()
    made = verilate(bench + result.netlist + result.models, "bench", ["--trace-saif"], toolchain, folder)
    (folder / "main.cpp").write_text(MAIN)
    unit = folder / "unit.cpp"  # one unit, so that the headers are read once
    sources = [*made.library, *made.hot, *made.cold, folder / "main.cpp"]
    unit.write_text("".join(f'#include "{source}"\n' for source in sources))
    paths = (f"-I{made.include}", f"-I{made.include / 'vltstd'}", f"-I{folder / 'work'}")
    program = folder / "program"
    command = [toolchain.compiler, *FLAGS, *paths, str(unit), "-o", str(program), "-pthread"]
    call("the C++ compiler", command, toolchain.environment)
    rows = np.concatenate(list(inputs.values()), axis=1)
    (folder / "inputs.txt").write_text("\n".join("".join(map(str, row)) for row in rows) + "\n")
    subprocess.run([program, folder / "inputs.txt", folder / "verilator.saif", str(N_WARMUP)], check=True)
    return folder / "verilator.saif"


def test_toggles_are_verilators_net_by_net(array, by_verilator):
    result, inputs = array
    ours = simulate(result.structure, inputs, n_warmup=N_WARMUP)
    theirs = read_saif(by_verilator, result.structure, scope="TOP/bench/dut")
    # Verilator takes a net's first value for a change where it is 1
    before = simulate(result.structure, inputs, n_warmup=N_WARMUP - 1)
    first = np.rint(before.high * before.n_cycles - ours.high * ours.n_cycles).astype(np.int64)
    first[[0, 1, *Clocks(ours.flat).number_of_net]] = 0
    assert set(first.tolist()) == {0, 1}
    assert np.array_equal(theirs.toggles, ours.toggles + first)
    assert ours.toggles.sum() > 9_000 and np.count_nonzero(ours.toggles) > 700
    # its window begins one clock edge earlier than ours, and so ends one earlier
    edges = simulate(result.structure, {name: bits[:-1] for name, bits in inputs.items()}, n_warmup=N_WARMUP - 1)
    assert np.array_equal(theirs.ticks, edges.ticks)
    assert theirs.n_cycles == ours.n_cycles == N_CYCLES - N_WARMUP
    assert len(set(theirs.ticks.tolist())) > 3  # the gates do differ


def test_a_wrong_netlist_gives_other_toggles_than_verilator(array, by_verilator):
    result, inputs = array
    modules = list(result.structure.modules)
    place = next(i for i, module in enumerate(modules) if any(c.type == "sg13g2_nor2_1" for c in module.cells))
    cells = list(modules[place].cells)
    wrong = next(i for i, cell in enumerate(cells) if cell.type == "sg13g2_nor2_1")
    cells[wrong] = replace(cells[wrong], type="sg13g2_nand2_1")
    modules[place] = replace(modules[place], cells=tuple(cells))
    broken = simulate(replace(result.structure, modules=tuple(modules)), inputs, n_warmup=N_WARMUP)
    theirs = read_saif(by_verilator, result.structure, scope="TOP/bench/dut")
    assert np.abs(broken.toggles - theirs.toggles).max() > 1


def test_energy_of_a_file_is_that_of_what_was_written(array, tmp_path):
    result, inputs = array
    ours = simulate(result.structure, inputs, n_warmup=N_WARMUP)
    ours.write_saif(tmp_path / "deep" / "ours.saif", period_ns=7.0)
    again = read_saif(tmp_path / "deep" / "ours.saif", result.structure)
    assert np.array_equal(again.toggles, ours.toggles) and np.array_equal(again.ticks, ours.ticks)
    assert again.high[2:] == pytest.approx(ours.high[2:], abs=1e-5)
    assert again.energy(7.0) == ours.energy(7.0)
    assert dict(again.outputs) == {}
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["ours.saif"]
    again.write_saif(tmp_path / "again.saif", period_ns=7.0)
    assert (tmp_path / "again.saif").read_text() == (tmp_path / "deep" / "ours.saif").read_text()
    assert "(DURATION 385000)\n" in (tmp_path / "again.saif").read_text()  # 55 cycles of 7 ns, in ps


def test_writing_where_nothing_can_be_written(array, tmp_path):
    result, inputs = array
    (tmp_path / "file").write_text("")
    found = simulate(result.structure, inputs)
    with pytest.raises(InvalidValueError, match=r"^cannot write activity file '.*/file/x.saif': (Not a dir|File ex)"):
        found.write_saif(tmp_path / "file" / "x.saif")
    with pytest.raises(InvalidValueError, match=r"^`period_ns` must be above 0, got 0$"):
        found.write_saif(tmp_path / "x.saif", period_ns=0)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


# --- a counter of two bits, whose files can be written by hand ---

COUNTER = """// by hand
(SAIFILE
 (SAIFVERSION "2.0") (DIRECTION "backward") (DESIGN ) (DATE "today (now)")
 (TIMESCALE 10 ns)
 (DURATION 16)
 (INSTANCE bench
  (NET (x (T0 1) (T1 2) (TX 0) (TC 9)))
  (INSTANCE "library" Counter
   (PORT (enable (T0 0) (T1 16) (TX 0) (TC 0) (IG 0)))
   (NET
     @NETS@
   )
   (INSTANCE @CELL@ (NET (A (T0 1) (T1 1) (TX 0) (TC 1))))
  )
 )
)
"""


class Counter(wiring.Component):
    enable: In(1)
    count: Out(2)

    def elaborate(self, platform):
        m = Module()
        with m.If(self.enable):
            m.d.sync += self.count.eq(self.count + 1)
        return m


@pytest.fixture(scope="module")
def counter():
    """Return a counter, its nets by name with the toggles of 8 counted cycles, a cell's name, and the activity."""
    result = synthesize(Counter(), gate_clocks=False)
    found = simulate(result.structure, {"enable": np.ones(9, dtype=int)})
    (placed,) = found.flat.instances
    names = placed.module.net_names[2:]
    toggles = {name: int(found.toggles[net]) for name, net in zip(names, placed.nets[2 : 2 + len(names)], strict=True)}
    assert (toggles["count[0]"], toggles["count[1]"], toggles["enable"]) == (8, 4, 0)
    toggles["clk"] = 16
    return result.structure, toggles, placed.module.cells[0].name, found


def saif(toggles, cell):
    nets = "".join(
        "({} (T0 8) (T1 8)\n (TX 0) (TC {}) (IG 0))".format(re.sub(r"([\[\]])", r"\\\1", name), count)
        for name, count in toggles.items()
        if name != "enable"
    )
    return COUNTER.replace("@NETS@", nets).replace("@CELL@", cell)


def test_a_file_by_hand(counter, tmp_path):
    netlist, toggles, cell, ours = counter
    path = tmp_path / "hand.saif"
    path.write_text(saif(toggles, cell))
    found = read_saif(path, netlist)
    assert found.n_cycles == 8
    assert np.array_equal(found.toggles, ours.toggles)
    assert found.energy(3.0) == ours.energy(3.0)
    assert found.high[found.flat.inputs["enable"]].tolist() == [1.0]
    assert found.n_unknown == 0
    assert read_saif(path, netlist, scope="bench.Counter").n_cycles == 8


def test_files_that_do_not_match(counter, tmp_path):
    netlist, toggles, cell, _ = counter
    path = tmp_path / "bad.saif"
    path.write_text(saif({k: v for k, v in toggles.items() if k not in ("rst", "count[1]")}, cell))
    expected = (
        f"'{path}' does not match the netlist of 'Counter': 2 of {len(toggles)} nets are missing in the file "
        "(count[1], rst)"
    )
    with pytest.raises(InvalidValueError, match=f"^{re.escape(expected)}$"):
        read_saif(path, netlist)
    others = dict.fromkeys(("p", "q[3]", "r", "s"), 1)
    path.write_text(saif(toggles | others, "u_other"))
    expected = (
        f"'{path}' does not match the netlist of 'Counter': 5 names in the file are none of the netlist "
        "(p, q[3], r, ...)"
    )
    with pytest.raises(InvalidValueError, match=f"^{re.escape(expected)}$"):
        read_saif(path, netlist)
    path.write_text(saif(toggles, cell).replace("Counter", "Other"))
    expected = (
        f"'{path}' has no instance 'Counter'; it has bench, bench/Other, bench/Other/{cell}: `scope` says which one is "
        "'Counter'"
    )
    with pytest.raises(InvalidValueError, match=f"^{re.escape(expected)}$"):
        read_saif(path, netlist)
    assert read_saif(path, netlist, scope="bench/Other").n_cycles == 8
    with pytest.raises(InvalidValueError, match=r"has no instance 'Other'; it has bench, bench/Other, "):
        read_saif(path, netlist, scope="Other")
    with pytest.raises(TypeError, match=r"^`scope` must be a string, got 3$"):
        read_saif(path, netlist, scope=3)
    path.write_text(saif(toggles | {"clk": 0}, cell))
    with pytest.raises(InvalidValueError, match=rf"^'{re.escape(str(path))}': the clock of 'Counter' does not tick$"):
        read_saif(path, netlist)


BROKEN = {
    "empty": ("", 1, "the file ends early: a ')' is missing"),
    "other": ("$date today $end", 1, "not a SAIF file: it must begin with '(SAIFILE'"),
    "cut": ("(SAIFILE\n(INSTANCE x\n(NET", 3, "the file ends early: a ')' is missing"),
    "no group": ("(SAIFILE\nword)", 2, "a '(' is missing before 'word'"),
    "no name": ("(SAIFILE\n(INSTANCE (NET))", 2, "an instance has no name"),
    "no count": ("(SAIFILE\n(INSTANCE Counter\n(NET (clk (T0 1)))))", 3, "net 'clk' has no 'TC'"),
    "no number": (
        "(SAIFILE (INSTANCE Counter\n(NET (clk (TC many)))))",
        2,
        "a number of at least 0 must stand here, got 'many'",
    ),
    "negative": (
        "(SAIFILE (INSTANCE Counter\n(NET (clk (TC -1)))))",
        2,
        "a number of at least 0 must stand here, got '-1'",
    ),
    "unit": ("(SAIFILE\n(TIMESCALE 1 h))", 2, "'TIMESCALE' must be a number and a unit of time, got '1h'"),
    "net": ("(SAIFILE (INSTANCE Counter\n(NET clk)))", 2, "a '(' is missing before 'clk'"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files_are_told_with_their_line(name, counter, tmp_path):
    text, line, message = BROKEN[name]
    path = tmp_path / "broken.saif"
    path.write_text(text)
    with pytest.raises(InvalidValueError, match=f"^{re.escape(f'{path}:{line}: {message}')}$"):
        read_saif(path, counter[0])


def test_no_cut_of_a_file_is_accepted(counter, tmp_path):
    netlist, toggles, cell, _ = counter
    text = saif(toggles, cell).rstrip()
    path = tmp_path / "cut.saif"
    for length in range(0, len(text), 23):
        path.write_text(text[:length])
        with pytest.raises(InvalidValueError, match=r"^.*cut\.saif:\d+: |a number of at least 0"):
            read_saif(path, netlist)


def test_files_that_cannot_be_read(counter, tmp_path):
    with pytest.raises(InvalidValueError, match=r"^activity file '.*/no' cannot be read: No such file or directory$"):
        read_saif(tmp_path / "no", counter[0])
    (tmp_path / "zip").write_bytes(b"PK\x03\x04\xff\xfe" * 10)
    with pytest.raises(InvalidValueError, match=r"^activity file '.*/zip' is no text: only SAIF and VCD are read$"):
        read_vcd(tmp_path / "zip", counter[0])


# --- VCD ---


def vcd(toggles, cell):
    """Write the counter's waves: its output as a vector, other nets by themselves; a bench around it, a cell in it."""
    scalars = {name: f"<{i}" for i, name in enumerate(toggles) if not name.startswith("count[")}
    lines = ["$date today $end", "$timescale 1 ns $end", "$scope module bench $end", "$var wire 1 ! clk $end"]
    lines += ["$var parameter 32 % width $end", "$scope module Counter $end", "$var wire 2 & count [1:0] $end"]
    lines += [f"$var wire 1 {code} {name} $end" for name, code in scalars.items()]
    lines += [f"$scope module {cell} $end", "$var wire 1 * A $end", "$upscope $end", "$upscope $end", "$upscope $end"]
    values = {code: int(name == "enable") for name, code in scalars.items()}
    lines += ["$enddefinitions $end", "$comment 0! $end", "#100", "$dumpvars", "bx &", "r0.5 %"]
    lines += [f"x{code}\n{value}{code}" for code, value in values.items()] + ["$end"]
    clock = scalars["clk"]
    for cycle in range(9):  # each net changes once a cycle, until it has done so as often as it is to
        lines += [f"#{100 + 10 * cycle}", f"b{cycle % 4:b} &"]
        for name, code in scalars.items():
            if name != "clk" and 1 <= cycle <= toggles[name]:
                values[code] ^= 1
                lines += [f"x{code}", f"{values[code]}{code}"]
        lines += [f"#{105 + 10 * cycle}", "1!", f"1{clock}", f"#{109 + 10 * cycle}", f"0{clock}"] if cycle < 8 else []
    return "\n".join(lines) + "\n"


def test_a_vcd_file_by_hand(counter, tmp_path):
    netlist, toggles, cell, ours = counter
    path = tmp_path / "hand.vcd"
    path.write_text(vcd(toggles, cell))
    found = read_vcd(path, netlist)
    assert found.toggles.tolist() == ours.toggles.tolist()
    assert (found.n_cycles, found.ticks.tolist()) == (8, [8])
    assert found.high[found.flat.outputs["count"]] == pytest.approx([0.5, 0.5])
    assert found.high[found.flat.inputs["clk"]] == pytest.approx([8 * 4 / 80])
    assert found.energy(3.0) == ours.energy(3.0)
    assert found.n_unknown == 0  # what is unknown for no time does not count


def test_nets_that_are_unknown_are_counted(counter, tmp_path):
    netlist, toggles, cell, _ = counter
    path = tmp_path / "x.vcd"
    path.write_text(vcd(toggles, cell).replace("#120\n", "#113\nbx1 &\n#120\n"))
    found = read_vcd(path, netlist)
    assert found.n_unknown == 1
    path.write_text(vcd(toggles, cell).replace("#180\n", "#180\nbx &\n").replace("#180\nbx &\nb0 &", "#180\nbx &"))
    assert read_vcd(path, netlist).n_unknown == 2
    path = tmp_path / "x.saif"
    path.write_text(saif(toggles, cell).replace("(TX 0) (TC 4)", "(TX 1) (TC 4)", 1))
    assert read_saif(path, netlist).n_unknown == 1


VCD_HEAD = "$timescale 1ns $end\n$scope module Counter $end\n$var wire 2 & count [1:0] $end\n$upscope $end\n"
BROKEN_VCD = {
    "empty": ("", 1, "the file ends early: '$enddefinitions' is missing"),
    "other": ("(SAIFILE)", 1, "not a VCD file: a declaration must begin with '$', got '(SAIFILE)'"),
    "cut": (VCD_HEAD + "$scope module", 5, "the file ends early: '$end' is missing"),
    "scope": ("$scope Counter $end", 1, "'$scope' must have a kind and a name"),
    "unit": ("\n$timescale 1 day $end", 2, "'$timescale' must be a number and a unit of time, got '1day'"),
    "var": (
        "$scope module Counter $end\n$var wire x & a $end",
        2,
        "'$var' must have a kind, a width, an identifier and a name",
    ),
    "change": (VCD_HEAD + "$enddefinitions $end\nhello\n", 6, "a value change must stand here, got 'hello'"),
    "time": (VCD_HEAD + "$enddefinitions $end\n#one\n", 6, "a time must follow '#', got '#one'"),
}


@pytest.mark.parametrize("name", BROKEN_VCD)
def test_broken_vcd_files_are_told_with_their_line(name, counter, tmp_path):
    text, line, message = BROKEN_VCD[name]
    path = tmp_path / "broken.vcd"
    path.write_text(text)
    with pytest.raises(InvalidValueError, match=f"^{re.escape(f'{path}:{line}: {message}')}$"):
        read_vcd(path, counter[0])


def test_a_vcd_file_of_another_design(counter, tmp_path):
    path = tmp_path / "other.vcd"
    path.write_text(VCD_HEAD.replace("count", "sum") + "$enddefinitions $end\n#0\n")
    n_nets = len(counter[1])
    expected = (
        f"'{path}' does not match the netlist of 'Counter': {n_nets} of {n_nets} nets are missing in the file "
        "(enable, count[0], count[1], ...); 2 names in the file are none of the netlist (sum[0], sum[1])"
    )
    with pytest.raises(InvalidValueError, match=f"^{re.escape(expected)}$"):
        read_vcd(path, counter[0])


def test_a_design_without_a_clock_needs_a_period(designs, tmp_path):
    result = synthesize(designs.Inverter())
    found = simulate(result.structure, {"a": [0, 1, 0, 0, 1]})
    path = tmp_path / "comb.saif"
    found.write_saif(path, period_ns=5.0)
    again = read_saif(path, result.structure, period_ns=5.0)
    assert (again.n_cycles, again.toggles.tolist()) == (4, found.toggles.tolist())
    assert again.energy(5.0) == found.energy(5.0)
    message = f"'Inverter' has no clock: `period_ns` must say how long a cycle of '{path}' is"
    with pytest.raises(InvalidValueError, match=f"^{re.escape(message)}$"):
        read_saif(path, result.structure)
    message = f"'{path}' covers 20 ns, less than a cycle of 50 ns"
    with pytest.raises(InvalidValueError, match=f"^{re.escape(message)}$"):
        read_saif(path, result.structure, period_ns=50.0)
