"""Netlists, and the committed answers of ngspice to them (`make spice`): an oracle that shares no code with tetrit."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from tetrit.errors import InvalidValueError, ToolError
from tetrit.sim.crossbar import effective_conductance, spice
from tetrit.sim.crossbar.nonlinear import nonlinear_currents

FOLDER = Path(__file__).parent / "spice"
CASES = sorted(path.stem for path in FOLDER.glob("*.json"))
OHMS = ("r_row_ohm", "r_col_ohm", "r_driver_ohm", "r_sense_ohm")


def case(name):
    given = json.loads((FOLDER / f"{name}.json").read_text())
    return given, np.array(given.pop("currents_ampere"))


def test_all_cases_are_there():
    assert len(CASES) == 10
    assert sorted(path.stem for path in FOLDER.glob("*.cir")) == CASES
    kinds = [case(name)[0] for name in CASES]
    assert {given["drive"] for given in kinds} == {"one_sided", "two_sided"}
    assert {given["sinh_volt"] is None for given in kinds} == {True, False}


@pytest.mark.parametrize("name", CASES)
def test_the_netlist_is_still_the_one_that_was_solved(name):
    given, _ = case(name)
    assert spice.netlist(**given, title=name) == (FOLDER / f"{name}.cir").read_text()


@pytest.mark.parametrize("name", CASES)
def test_agrees_with_ngspice(name):
    """Every current, the sneak currents of open cells too, which are a millionth of the others.

    With sinh cells, what should be no current may be rounding.
    """
    given, answers = case(name)
    rounding = 0 if given["sinh_volt"] is None else 1e-16 * np.abs(answers).max()
    g, v, ohms = np.array(given["g_siemens"]), np.array(given["v_rows"]), [given[key] for key in OHMS]
    if given["sinh_volt"] is None:
        found = v @ effective_conductance(g, *ohms, drive=given["drive"])
    else:
        found = nonlinear_currents(g, v, given["sinh_volt"], *ohms, drive=given["drive"])
    assert answers.shape == (len(v), g.shape[1])
    assert np.count_nonzero(answers) > 0.7 * answers.size
    np.testing.assert_allclose(found, answers, rtol=1e-6, atol=rounding)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("changed", [*OHMS, "drive", "sinh_volt"])
def test_ngspice_would_notice_another_network(name, changed):
    """The comparison fails if tetrit solves an array that differs by 5 % and an ohm, or in its cells or drive."""
    given, answers = case(name)
    v0 = given["sinh_volt"]
    if changed == "drive":
        given["drive"] = {"one_sided": "two_sided", "two_sided": "one_sided"}[given["drive"]]
    elif changed == "sinh_volt":
        v0 = 0.5 if v0 is None else 1.01 * v0
    else:
        given[changed] = 1.05 * given[changed] + 1.0
    g, v, ohms = np.array(given["g_siemens"]), np.array(given["v_rows"]), [given[key] for key in OHMS]
    if v0 is None:
        found = v @ effective_conductance(g, *ohms, drive=given["drive"])
    else:
        found = nonlinear_currents(g, v, v0, *ohms, drive=given["drive"])
    assert not np.allclose(found, answers, rtol=1e-6, atol=0)


def resistors(text):
    """Name -> (node, node, ohm) of every resistor."""
    return {m[1]: (m[2], m[3], float(m[4])) for m in re.finditer(r"^(r\S+) (\S+) (\S+) (\S+)$", text, re.MULTILINE)}


def test_wires_of_a_netlist():
    text = spice.netlist([[1e-3, 0.0], [2e-3, 4e-3]], [[0.1, -0.2]], 1, 2, 3, 4, drive="two_sided")
    assert resistors(text) == {
        "rd0": ("in0", "d0", 3), "rr0_0": ("d0", "r0_0", 1), "rr0_1": ("r0_0", "r0_1", 1),
        "rd0z": ("in0", "d0z", 3), "rr0_2": ("d0z", "r0_1", 1),
        "rd1": ("in1", "d1", 3), "rr1_0": ("d1", "r1_0", 1), "rr1_1": ("r1_0", "r1_1", 1),
        "rd1z": ("in1", "d1z", 3), "rr1_2": ("d1z", "r1_1", 1),
        "rg0_0": ("r0_0", "c0_0", 1000), "rg1_0": ("r1_0", "c1_0", 500), "rg1_1": ("r1_1", "c1_1", 250),
        "rc0_0": ("c0_0", "c1_0", 2), "rc1_0": ("c1_0", "c0", 2), "rs0": ("c0", "out0", 4),
        "rc0_1": ("c0_1", "c1_1", 2), "rc1_1": ("c1_1", "c1", 2), "rs1": ("c1", "out1", 4),
    }  # fmt: skip
    assert "vd0 in0 0 0.1\nvd1 in1 0 -0.2\n" in text
    assert re.findall(r"^vs.*$", text, re.MULTILINE) == ["vs0 out0 0 0", "vs1 out1 0 0"]


def test_perfect_wires_make_no_resistor():
    text = spice.netlist([[1e-3, 2e-3]], [[0.1], [0.3]], sinh_volt=0.25)
    assert resistors(text) == {}
    assert "bg0_1 in0 out1 i=0.0005*sinh(v(in0,out1)/0.25)\n" in text
    assert text.count("\nop\n") == 2
    assert "alter vd0 = 0.3\nop\nprint i(vs0)\nprint i(vs1)\nquit\n" in text


def test_a_failed_run_is_no_answer():
    with pytest.raises(ToolError) as caught:
        spice.read_currents("i(vs0) = 1.5e-3\ndoAnalyses: iteration limit reached\n\n", 1, 2)
    assert str(caught.value) == "ngspice printed 1 of 2 currents; its last line: doAnalyses: iteration limit reached"
    with pytest.raises(ToolError, match=r"^ngspice printed 0 of 1 currents; its last line: none$"):
        spice.read_currents("", 1, 1)
    assert spice.read_currents("x\ni(vs0) = 1.5e-3\ni(vs1) = -2\n", 1, 2).tolist() == [[0.0015, -2.0]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"title": "a\nb"}, "`title` must be one line, got 'a\\nb'"),
        ({"title": ""}, "`title` must be one line, got ''"),
        ({"v_rows": [[1.0, 2.0]]}, "`v_rows` must have 1 columns, one for each row of cells, got shape (1, 2)"),
        ({"sinh_volt": 0.0}, "`sinh_volt` must be above 0, got 0"),
        ({"r_sense_ohm": -2}, "`r_sense_ohm` must be at least 0, got -2"),
        ({"drive": "none"}, "unknown drive 'none'; known: one_sided, two_sided"),
    ],
)
def test_wrong_values(options, message):
    with pytest.raises(InvalidValueError) as caught:
        spice.netlist(**({"g_siemens": [[1.0]], "v_rows": [[1.0]]} | options))
    assert str(caught.value) == message
