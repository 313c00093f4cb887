"""What the commands print and write, and how they refuse wrong input."""

import json
import math
import re

import pytest

from tetrit import formats, hardware, rtl, verify


def write(path, text):
    path.write_text(text)
    return path


# --- formats ---


def test_formats_lists_every_format(tetrit):
    lines = tetrit("formats").out.splitlines()
    assert [line.split()[0] for line in lines] == ["format", *formats.names()]


def test_formats_prints_the_code_table(tetrit):
    assert tetrit("formats", "szt").out == (
        "code  bits  value\n0x0     00    0.0\n0x1     01    1.0\n0x2     10   -0.0\n0x3     11   -1.0\n"
    )


@pytest.mark.parametrize("name", formats.names())
def test_every_code_table_holds_every_value(tetrit, name):
    chosen = formats.get(name)
    rows = [line.split() for line in tetrit("formats", name).out.splitlines()[1:]]
    assert (
        [int(code, 16) for code, _, _ in rows] == [int(bits, 2) for _, bits, _ in rows] == list(range(2**chosen.bits))
    )
    for (_, _, text), value in zip(rows, chosen.values.tolist(), strict=True):
        printed = type(value)(text)
        assert printed == value or (isinstance(value, float) and math.isnan(printed) and math.isnan(value))


# --- machines ---


def test_machines_lists_the_presets(tetrit):
    assert tuple(tetrit("machines").out.split()) == hardware.presets()


@pytest.mark.parametrize("name", hardware.presets())
def test_a_printed_machine_loads_back_equal(tetrit, tmp_path, name):
    copy = write(tmp_path / "copy.toml", tetrit("machines", name).out)
    assert hardware.load(copy) == hardware.load(name)
    assert tetrit("machines", copy).out == copy.read_text()


# --- rtl ---


def test_rtl_lists_the_components(tetrit):
    assert tuple(tetrit("rtl", "--list").out.split()) == rtl.components()


def test_rtl_writes_what_it_prints(tetrit, tmp_path):
    path = tmp_path / "decoder.v"
    printed = tetrit("rtl", "SZTDecoder", "--name", "decoder")
    assert printed.code == 0
    assert re.search(r"^module decoder\b", printed.out, re.M)
    assert tetrit("rtl", "SZTDecoder", "--name", "decoder", "-o", path).out == ""
    assert path.read_text() == printed.out
    assert list(tmp_path.iterdir()) == [path]


def test_rtl_follows_the_machine(tetrit, tmp_path):
    text = hardware.to_toml(hardware.load("shift_8x8").replace(rows=2, cols=3))
    machine = write(tmp_path / "small.toml", text)
    assert tetrit("rtl", "ShiftPEArray", "--machine", machine).out != tetrit("rtl", "ShiftPEArray").out


# --- synth ---


def test_synth_prints_and_writes_the_same_figures(tetrit, tmp_path):
    path = tmp_path / "figures.json"
    printed = tetrit("synth", "ShiftPE", "--machine", "shift_8x8", "--json", path).out
    figures = json.loads(path.read_text())
    total = re.match(r"ShiftPE: (\S+) um2, (\S+) ns, (\d+) cells\n", printed)
    assert total is not None
    assert float(total[1]) == pytest.approx(figures["area_um2"], abs=0.05)
    assert float(total[2]) == pytest.approx(figures["delay_ns"], abs=0.0005)
    assert int(total[3]) == sum(figures["cells"].values())
    areas = dict(re.findall(r"^(sg13g2_\w+) +\d+ +(\S+)$", printed, re.M))
    assert areas.keys() == figures["cells"].keys()
    assert sum(map(float, areas.values())) == pytest.approx(figures["area_um2"], abs=0.05 * len(areas))
    last = figures["critical_path"][-1]
    assert re.search(rf"^{last['net']} +{last['cell_type']} +{last['arrival_ns']:.3f}$", printed, re.M)
    assert "wire load" in printed
    assert all(f"- {line}\n" in printed for line in figures["assumptions"])


def test_synth_for_an_fpga(tetrit, tmp_path):
    path = tmp_path / "figures.json"
    printed = tetrit("synth", "SZTDecoder", "--fpga", "xilinx", "--json", path).out
    figures = json.loads(path.read_text())
    assert printed.startswith("SZTDecoder on 7 series: 2 LUTs, 0 flip-flops, 0 block RAMs, 0 DSPs\n")
    assert (figures["luts"], figures["fmax_mhz"], figures["family"]) == (2, None, "xilinx")
    assert all(re.search(rf"^{kind} +{count}$", printed, re.M) for kind, count in figures["cells"].items())


# --- verify ---


@pytest.fixture
def result():
    def make(**changes):
        fields = {"name": "SZTDecoder", "component": "SZTDecoder", "level": "rtl", "vectors": 4, "mismatches": 0}
        fields |= {"cycles_rtl": None, "cycles_model": None, "cases": 0, "passed": True, "message": ""}
        return verify.BenchResult(**fields | changes)

    return make


def test_verify_runs_a_bench(tetrit, build_dir):
    outcome = tetrit("verify", "SZTDecoder", "--keep", build_dir, "--seed", "3")
    assert (outcome.code, outcome.err) == (0, "")
    lines = outcome.out.splitlines()
    assert lines[0].split() == ["bench", "level", "vectors", "mismatches", "cycles", "RTL", "cycles", "model", "result"]
    assert all(line.split()[-1] == "passed" for line in lines[1:-1])
    assert re.fullmatch(r"(\d+) benches: \1 passed, 0 failed \(seed 3\)", lines[-1])
    assert any(build_dir.iterdir())


def test_verify_runs_the_network_of_a_configuration(tetrit, tmp_path, build_dir):
    config = write(
        tmp_path / "small.toml",
        "[network]\nhidden = [12]\n[train]\nepochs = 2\nquantized_epochs = 2\n"
        '[machine]\npreset = "shift_8x8"\n[verify]\nimages = 5\n',
    )
    outcome = tetrit("verify", config, "--keep", build_dir)
    assert (outcome.code, outcome.err) == (0, "")
    lines = outcome.out.splitlines()[1:-1]
    assert sum("ShiftPEArray" in line for line in lines) == 2  # one for each layer
    assert all(line.endswith("passed") for line in lines)


def test_verify_shows_a_failure_and_leaves_with_code_1(tetrit, monkeypatch, result):
    wrong = result(
        name="ShiftPE pot3", mismatches=2, cycles_rtl=30, cycles_model=31, passed=False, message="row 3: 5, not 4"
    )
    monkeypatch.setattr(verify, "run", lambda targets, **_: [result(), wrong], raising=False)
    outcome = tetrit("verify")
    assert (outcome.code, outcome.err) == (1, "")
    assert outcome.out == (
        "bench         level  vectors  mismatches  cycles RTL  cycles model  result\n"
        "SZTDecoder    rtl          4           0                            passed\n"
        "ShiftPE pot3  rtl          4           2          30            31  FAILED: row 3: 5, not 4\n"
        "2 benches: 1 passed, 1 failed (seed 0)\n"
    )


@pytest.mark.parametrize(
    ("variable", "body", "message"),
    [
        ("CXX", "echo 'error: no C++17 here' >&2; exit 1", r"the C\+\+ compiler '.*/fake' cannot compile C\+\+17 .+"),
        ("VERILATOR", "echo 'Verilator 5.020 2024-01-01'", r"'.*/fake' is Verilator 5\.020, which is too old .+"),
        ("VERILATOR", "echo nonsense", r"'.*/fake' is no working Verilator: .+'nonsense'"),
    ],
)
def test_wrong_tools_are_one_line(tetrit, tmp_path, monkeypatch, variable, body, message):
    fake = tmp_path / "fake"
    fake.write_text(f"#!/bin/sh\n{body}\n")
    fake.chmod(0o755)
    monkeypatch.setenv(variable, str(fake))
    outcome = tetrit("verify", "SZTDecoder", "--keep", tmp_path / "keep")
    assert (outcome.code, outcome.out) == (2, "")
    assert re.fullmatch(f"tetrit: error: {message}\n", outcome.err)


# --- wrong input: one line, exit code 2, nothing written ---

SMALL = 'kind = "shift_array"\nrows = 2\ncols = 2\n'


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["formats", "szd"], "unknown format 'szd'; did you mean 'szt'?"),
        (["machines", "shift_16x61"], "unknown machine 'shift_16x61'; did you mean 'shift_16x16'?"),
        (["rtl", "SZTDecodr"], "unknown component 'SZTDecodr'; did you mean 'SZTDecoder'?"),
        (["rtl", "SZTDecoder", "--machine", "shift"], "unknown machine 'shift'; did you mean 'shift_8x8'?"),
        (["synth", "ShiftPe"], "unknown component 'ShiftPe'; did you mean 'ShiftPE'?"),
        (["synth", "SZTDecoder", "--library", "sg13g3"], "unknown library 'sg13g3'; did you mean 'sg13g2'?"),
        (
            ["synth", "SZTDecoder", "--liberty", "missing.lib"],
            "liberty file 'missing.lib' cannot be read: No such file or directory",
        ),
        (["synth", "SZTDecoder", "--fpga", "xylinx"], "unknown family 'xylinx'; did you mean 'xilinx'?"),
        (
            ["synth", "SZTDecoder", "--fpga", "ecp5", "--liberty", "key.toml"],
            "`--fpga` and `--liberty` exclude each other: an FPGA has no cell library",
        ),
        (
            ["synth", "SZTDecoder", "--liberty", "key.toml"],
            "key.toml:1: not a liberty file: it must begin with 'library', got 'kind'",
        ),
        (["verify", "SZTDecodr"], "unknown component 'SZTDecodr'; did you mean 'SZTDecoder'?"),
        (["verify", "none.toml"], "none.toml: [verify]: `images` is 0, so there is nothing to verify"),
        (["verify", "--cases", "0"], "Invalid value for '--cases': 0 is not in the range x>=1."),
        (["machines", "missing.toml"], "cannot read machine file 'missing.toml': No such file or directory"),
        (["machines", "syntax.toml"], "syntax.toml: not valid TOML: Invalid value (at line 2, column 8)"),
        (["machines", "key.toml"], "key.toml: unknown key 'row'; did you mean 'rows'?"),
        (["machines", "memory.toml"], "memory.toml: [act_memory]: unknown key 'width'; did you mean 'width_bits'?"),
        (["machines", "kind.toml"], "kind.toml: unknown kind 'shift_aray'; did you mean 'shift_array'?"),
        (["machines", "negative.toml"], "negative.toml: `rows` must be an integer from 1 to 4096, got -3"),
        (["machines", "fraction.toml"], "fraction.toml: `cols` must be an integer, got 1.5"),
        (["machines", "format.toml"], "format.toml: unknown weight_format 'sst'; did you mean 'szt'?"),
        (
            ["run", "missing.toml", "--out", "out"],
            "cannot read configuration 'missing.toml': No such file or directory",
        ),
        (["run", "syntax.toml", "--out", "out"], "syntax.toml: not valid TOML: Invalid value (at line 2, column 8)"),
        (["run", "none.toml", "--out", "key.toml/out"], "cannot write '{folder}/key.toml': Not a directory"),
        (["rtl", "SZTDecoder", "-o", "key.toml/x.v"], "cannot write 'key.toml/x.v': Not a directory"),
        (["rtl", "SZTDecoder", "-o", "folder"], "cannot write 'folder': Is a directory"),
        (["rtl", "SZTDecoder", "--name", "1x"], "`name` must be a Verilog identifier, got '1x'"),
    ],
)
def test_wrong_input_is_one_line(tetrit, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    files = {
        "syntax.toml": 'kind = "shift_array"\nrows = = 3\n',
        "key.toml": SMALL + "row = 3\n",
        "memory.toml": SMALL + "[act_memory]\nwidth = 3\n",
        "kind.toml": 'kind = "shift_aray"\n',
        "negative.toml": SMALL.replace("rows = 2", "rows = -3"),
        "fraction.toml": SMALL.replace("cols = 2", "cols = 1.5"),
        "format.toml": SMALL + 'weight_format = "sst"\n',
        "none.toml": '[machine]\npreset = "shift_8x8"\n[verify]\nimages = 0\n',
    }
    for name, text in files.items():
        write(tmp_path / name, text)
    (tmp_path / "folder").mkdir()
    outcome = tetrit(*arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == f"tetrit: error: {message.replace('{folder}', str(tmp_path))}\n"
    assert {path.name for path in tmp_path.rglob("*")} == {*files, "folder"}
