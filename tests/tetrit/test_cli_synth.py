"""`tetrit synth` with activity: gates written, files of activity priced, and what does not fit refused."""

import json
import re

import numpy as np
import pytest

from tetrit import hardware, rtl


@pytest.fixture(scope="module")
def element():
    """Return the default element in gates, and its activity under random data."""
    result = rtl.synthesize(rtl.build("ShiftPE", hardware.load("shift_16x16")))
    rng = np.random.default_rng(6)
    ports = result.structure.modules[-1].ports
    inputs = {
        port.name: rng.integers(0, 2, (50, len(port.nets)))
        for port in ports
        if port.direction == "input" and port.name != "clk"
    }
    return result, rtl.simulate(result.structure, inputs)


def test_energy_of_an_activity_file(tetrit, element, tmp_path):
    result, activity = element
    activity.write_saif(tmp_path / "run.saif")
    arguments = ["synth", "ShiftPE", "--activity", tmp_path / "run.saif"]
    outcome = tetrit(*arguments, "--json", tmp_path / "a.json", "--netlist", tmp_path / "b" / "gates.v")
    assert (outcome.code, outcome.err) == (0, "")
    energy = activity.energy(10.0)
    told = f"energy: {energy.total_pj:.4f} pJ a cycle at 100 MHz (synthesised), by 49 cycles of run.saif\n"
    assert told in outcome.out
    for name, pj in (*energy.by_kind.items(), *energy.by_module.items()):
        assert re.search(rf"^{name} +{pj:.4f} +{pj / energy.total_pj:.1%}$", outcome.out, re.M)
    figures = json.loads((tmp_path / "a.json").read_text())["energy"]
    assert figures["total_pj"] == energy.total_pj
    assert figures["by_kind"] == dict(energy.by_kind) and figures["by_module"] == dict(energy.by_module)
    assert (figures["cycles"], figures["period_ns"], figures["origin"]) == (49, 10.0, "synthesised")
    assert (tmp_path / "b" / "gates.v").read_text() == f"{result.netlist}\n{result.models}"
    scoped = (tmp_path / "run.saif").read_text().replace("(INSTANCE ShiftPE\n", "(INSTANCE it\n")
    (tmp_path / "other.saif").write_text(scoped)
    assert told.replace("run", "other") in tetrit(*arguments[:3], tmp_path / "other.saif", "--scope", "it").out


def test_what_does_not_fit_is_one_line(tetrit, element, tmp_path):
    _, activity = element
    path = tmp_path / "run.saif"
    activity.write_saif(path)
    for arguments, message in (
        (["SZTDecoder", "--activity", path], f"'{path}' has no instance 'SZTDecoder'; it has ShiftPE"),
        (["SZTDecoder", "--activity", path, "--scope", "ShiftPE"], f"'{path}' does not match the netlist of"),
        (["SZTDecoder", "--activity", tmp_path / "no"], f"activity file '{tmp_path / 'no'}' cannot be read: No such"),
        (["SZTDecoder", "--scope", "a"], "`--scope` is an instance in the file of `--activity`, which is missing"),
        (
            ["SZTDecoder", "--fpga", "xilinx", "--activity", path],
            "`--fpga` and `--activity` exclude each other",
        ),
        (["SZTDecoder", "--fpga", "xilinx", "--netlist", path], "`--fpga` and `--netlist` exclude each other"),
    ):
        outcome = tetrit("synth", *arguments, "--json", tmp_path / "a.json")
        assert (outcome.code, outcome.out) == (2, "")
        assert message in outcome.err and outcome.err.count("\n") == 1
        assert not (tmp_path / "a.json").exists()
