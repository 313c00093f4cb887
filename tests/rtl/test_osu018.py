# amaranth: UnusedElaboratable=no
"""A real library with full tables, OSU's 0.18 um cells: read, mapped to, and its tables against their reduction.

``tools/osu018.sh`` fetches it when the tests are set up; where it cannot be had, the tests check what is said of that.
"""

import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tetrit.hardware import ShiftArray
from tetrit.rtl import build, simulate, synthesize, yosys
from tetrit.rtl.energy import cell_energies_fj
from tetrit.rtl.flat import flatten
from tetrit.rtl.hierarchy import lower
from tetrit.rtl.liberty import read
from tetrit.rtl.liberty_syntax import LibertyError
from tetrit.rtl.netlist import Netlist
from tetrit.rtl.timing import analyse

LIBRARY = Path(sys.prefix) / "osu018" / "osu018_stdcells.lib"
PERIOD_NS = 10.0
BOUND = 0.2
"""How far the reduction's energies may be from the full tables'."""


def present():
    """Tell whether the library is there; if not, check what a user without it is told."""
    if LIBRARY.is_file():
        return True
    with pytest.raises(LibertyError, match=rf"^liberty file '{re.escape(str(LIBRARY))}' cannot be read: No such file"):
        read(LIBRARY)
    return False


def machine(**changes):
    return ShiftArray(rows=2, cols=2, act_format="int8", weight_format="szt", acc_bits=20).replace(**changes)


@pytest.fixture(scope="module")
def mapped():
    """Return designs mapped to the library, with activity of random data behind a reset; none without the library."""
    found = {}
    for name in ("SZTDecoder", "ShiftPE", "ShiftPEArray") if present() else ():
        result = synthesize(build(name, machine()), liberty=LIBRARY)
        rng = np.random.default_rng(4)
        n_cycles = 300
        flat = flatten(result.structure)
        inputs = {
            port: rng.integers(0, 2, (n_cycles, len(nets))) for port, nets in flat.inputs.items() if port != "clk"
        }
        if "rst" in inputs:
            inputs["rst"][:, 0] = np.arange(n_cycles) < 2
        found[name] = result, simulate(result.structure, inputs, n_warmup=10)
    return found


def test_figures_are_the_files_own():
    if not present():
        return
    library = read(LIBRARY)
    assert (library.name, library.voltage_v, library.temperature_c) == ("osu018_stdcells", 1.8, 25.0)
    # of 32 cells two are three-state, and the latch has no area
    assert len(library.cells) == len(library.tables) == 29 and library.unpriced == ()
    inverter = library.cell("INVX1")
    assert (inverter.area_um2, inverter.leakage_nw) == (16.0, 0.0221741)
    assert inverter.cap_ff("A") == pytest.approx(9.32456)
    tables = dict(zip((cell.name for cell in library.cells), library.tables, strict=True))
    (arc,) = tables["INVX1"].timing
    assert arc.delay_rise.x == pytest.approx((5, 12.5, 25, 75, 150))
    assert arc.delay_rise.y == pytest.approx((60, 180, 420, 600, 1200))
    assert arc.delay_rise.values[2][1] == pytest.approx(112.622)
    assert arc.slew_fall.values[4][0] == pytest.approx(288.0)
    (power,) = tables["INVX1"].power
    assert power.fall.values[0][4] == pytest.approx(54.083)
    flop = tables["DFFPOSX1"]
    assert {arc.pin for arc in flop.power if not arc.related} == {"CLK", "D"}
    assert {arc.pin for arc in tables["DFFSR"].timing} == {"CLK"}
    assert library.cell("DFFSR").clear == "(!R)" and library.cell("DFFSR").preset == "(!S)"


@pytest.mark.parametrize("name", ["element", "grid", "own domain", "memory", "shift array"])
def test_netlists_equal_amaranths_simulator(designs, name):
    if not present():
        return
    make = {
        "element": designs.Element,
        "grid": designs.Grid,
        "own domain": lambda: designs.Enclosing(designs.OwnDomain()),
        "memory": designs.Table,
        "shift array": lambda: build("ShiftPEArray", machine(weight_format="pot3")),
    }[name]
    component = make()
    result = synthesize(make(), liberty=LIBRARY)
    assert not any(
        cell.role == "clock_gate" for cell in result.technology.cells
    )  # it has none: enables by multiplexers
    inputs = designs.stimulus(component, np.random.default_rng(21), 150, rst="rst" in flatten(result.structure).inputs)
    found = simulate(result.structure, inputs)
    expected = designs.golden(component, inputs, list(found.outputs))
    for port in found.outputs:
        assert np.array_equal(found.value(port), expected[port]), port
    assert found.energy(PERIOD_NS).total_pj > 0
    assert ("DFFSR" in result.cells) == (name == "own domain")  # the only one with an asynchronous reset


def test_the_reduction_agrees_with_the_full_tables(mapped):
    assert bool(mapped) == present()
    for name, (result, activity) in mapped.items():
        lines = replace(result.structure, technology=result.technology.replace(tables=()))
        reduced = replace(activity, flat=flatten(lines))
        full_pj, small_pj = activity.energy(PERIOD_NS), reduced.energy(PERIOD_NS)
        assert small_pj.total_pj == pytest.approx(full_pj.total_pj, rel=0.05), name
        assert small_pj.total_pj != full_pj.total_pj
        for module, energy in full_pj.by_module.items():
            assert small_pj.by_module[module] == pytest.approx(energy, rel=BOUND), module
        counts = (activity.toggles, activity.ticks, activity.clock_of)
        cells = [sum(cell_energies_fj(each.flat, *counts)) for each in (activity, reduced)]
        used = cells[0] > 0
        ratios = cells[1][used] / cells[0][used]
        assert np.mean(np.abs(ratios - 1) <= BOUND) >= 0.95, name
        assert 0.5 < ratios.min() < ratios.max() < 1.5, name
        # straight lines do not see slow transitions, and the library's setup times are longer than the assumption
        assert 0.75 < analyse(reduced.flat).delay_ns / analyse(activity.flat).delay_ns < 1.1, name


def test_totals_are_the_sums_of_modules_and_of_kinds(mapped):
    for _, activity in mapped.values():
        energy = activity.energy(PERIOD_NS)
        assert sum(energy.by_kind.values()) == pytest.approx(energy.total_pj)
        assert sum(energy.by_module.values()) == pytest.approx(energy.total_pj)
        switched, clocked = cell_energies_fj(activity.flat, activity.toggles, activity.ticks, activity.clock_of)
        rest = energy.by_kind["inputs"] + energy.by_kind["leakage"]
        assert (switched.sum() + clocked.sum()) / activity.n_cycles / 1000 + rest == pytest.approx(energy.total_pj)


@pytest.mark.parametrize("bits", [4, 16])
def test_critical_paths_are_those_of_abc(designs, bits, monkeypatch):
    """ABC's own timing of what it has mapped, without wires, for inputs that change at once."""
    if not present():
        return
    design = lower(designs.Adder(bits), "top")
    script = (
        "read_rtlil in.il\nsynth -top top -noabc -flatten\n"
        "tee -o abc.log abc -liberty cells.lib -script +strash;dc2;&get,-n;&dch,-f;&nf;&put;buffer;upsize;dnsize;"
        "stime,-p\n"
        "opt_clean -purge\nwrite_json out.json"
    )
    files = {"in.il": design.rtlil, "cells.lib": LIBRARY.read_text()}
    made = yosys.run(script, files, ("out.json", "abc.log"))
    library = read(LIBRARY).replace(wire_cap_ff_per_fanout=0.0)
    monkeypatch.setattr("tetrit.rtl.tables.INPUT_SLEW_PS", 0.0)
    timing = analyse(flatten(Netlist.from_json(json.loads(made["out.json"]), "top", library)))
    stated = re.search(r"Delay = *([\d.]+) ps", made["abc.log"])
    assert stated is not None
    assert timing.delay_ns * 1000 == pytest.approx(
        float(stated[1]), rel=0.01
    )  # it takes the mean load of a cell's pins
    path = re.findall(r"Path +\d+ -- .* (\w+) +A =", made["abc.log"])
    assert [step.cell_type or "pi" for step in timing.path] == path


def test_a_cut_file_is_refused(tmp_path):
    if not present():
        return
    text = LIBRARY.read_text()
    path = tmp_path / "cut.lib"
    path.write_text(text[: len(text) // 2])
    with pytest.raises(LibertyError, match=rf"^{re.escape(str(path))}:\d+: "):
        read(path)
