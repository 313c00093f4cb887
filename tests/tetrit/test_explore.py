"""Explorations: figures against the engines, the front, one transaction a point, what is refused, what is written."""

import dataclasses
import re
import sqlite3
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tests.tetrit.explorations import SMALL, plain
from tetrit import explore, hardware
from tetrit.errors import Interrupted, InvalidValueError
from tetrit.explore import area, front, products, run, tables
from tetrit.explore.figures import Figures, Result, versions
from tetrit.explore.running import begin, fingerprint
from tetrit.explore.store import FILE, Store
from tetrit.explore.workload import Gemm, GemmWorkload
from tetrit.explore.writing import write
from tetrit.hardware import ShiftArray, SimdEngine
from tetrit.sim import CrossbarEngine, ShiftEngine, Workload
from tetrit.sim.cost import Prices
from tetrit.sim.cost.crossbar_area import crossbar_area
from tetrit.sim.cost.memory import sram_um2
from tetrit.sim.simd import SimdSimulator

# ---- figures


@pytest.mark.parametrize("dataflow", hardware.DATAFLOWS)
@pytest.mark.parametrize("shape", [(5, 9, 7), (1, 1, 1), (33, 16, 8), (8, 40, 17)])
def test_events_of_shift_arrays_are_the_engines(dataflow, shape):
    machine = ShiftArray(rows=4, cols=8, dataflow=dataflow, weight_format="pot3z")
    work = Workload(m=shape[0], k=shape[1], n=shape[2])
    codes = np.random.default_rng(0).integers(0, 8, shape[1:])
    codes[np.isnan(machine.weights.values[codes])] = 0
    zeros = float((machine.weights.values[codes] == 0).mean())
    wanted = ShiftEngine(machine).load(codes).matmul(np.ones((work.m, work.k), int)).events
    assert products.shift_events(work, machine, zeros) == dict(wanted)


@pytest.mark.parametrize("gating", [True, False])
@pytest.mark.parametrize("pair", [("fp4_e2m1", "fp4_e2m1"), ("posit8_0", "posit4_1"), ("posit16_1", "posit16_1")])
def test_events_of_simd_engines_are_the_engines(gating, pair):
    machine = SimdEngine(rows=2, cols=4, gating=gating)
    work = Workload(m=5, k=9, n=6)
    engine = SimdSimulator(machine).load(np.ones((work.k, work.n), int), weight_format=pair[1])
    wanted = engine.matmul(np.ones((work.m, work.k), int), act_format=pair[0], out_format=pair[0])
    found = products.simd_events(work, machine, *pair)
    assert found.items() <= dict(wanted.events).items()
    assert {"cycles", "element_step", "readout"} <= found.keys()


def test_figures_of_a_list_are_sums_of_engines():
    machine = hardware.load("shift_8x8")
    gemms = (
        Gemm(name="a", workload=Workload(m=7, k=12, n=9), count=3),
        Gemm(name="b", workload=Workload(m=2, k=5, n=6)),
    )
    found = products.shift(GemmWorkload(name="w", gemms=gemms), machine, area_mode="table")
    cycles, energy = 0, 0.0
    for gemm in gemms:
        work = gemm.workload
        one = (
            ShiftEngine(machine, Prices.modelled(machine))
            .load(np.ones((work.k, work.n), int))
            .matmul(np.ones((work.m, work.k), int))
        )
        cycles += gemm.count * one.cycles
        energy += gemm.count * one.energy_pj * 1e-6
    assert found.cycles == cycles
    assert found.latency_us == cycles / 100
    assert sum(found.energy_uj.values()) == pytest.approx(energy, rel=1e-12)
    assert found.utilization == pytest.approx((3 * 7 * 12 * 9 + 2 * 5 * 6) / (64 * cycles))


def test_figures_of_crossbars_are_the_engines():
    machine = hardware.load("crossbar_256_pcm").replace(rows=16, cols=32)
    work = Workload(m=6, k=40, n=21)
    found = products.crossbar(GemmWorkload(name="w", gemms=(Gemm(name="a", workload=work, count=2),)), machine, seed=0)
    rng = np.random.default_rng(1)
    engine = CrossbarEngine(machine).load(rng.integers(0, 256, (work.k, work.n)))
    x = rng.integers(-128, 128, (work.m, work.k))
    one = engine.calibrate(x).matmul(x)
    assert found.cycles == 2 * one.cycles
    for name in ("DAC", "ADC", "drivers", "shift and add"):
        assert found.energy_uj[name] == pytest.approx(2e-6 * one.breakdown[name])
    assert found.energy_uj["cells"] == pytest.approx(2e-6 * one.breakdown["cells"], rel=0.2)  # other random codes
    assert found.utilization == pytest.approx(one.utilization)
    arrays_there = 2 * engine.layout.row_arrays * engine.layout.col_arrays
    area = crossbar_area(machine, arrays=arrays_there, node_nm=32)
    assert found.area_mm2 == pytest.approx({name: figure.value for name, figure in area.items()})
    assert found.sources["area_mm2: cells"] == f"published: {area['cells'].source}"


def test_cells_of_a_device_without_figures_have_the_pitch_of_the_wires():
    machine = hardware.Crossbar(rows=16, cols=32, adc_bits=6)
    found = area.crossbar(machine, 2)
    assert machine.cell.name == "ideal"
    assert found.um2["cells"] == pytest.approx(2 * 16 * 32 * 0.25)
    assert found.sources["cells"] == (
        "assumed: cells 0.5 um apart, as the presets' wires; device 'ideal' has no figure of its own; F = 32 nm"
    )


def test_area_table_is_near_the_array_itself():
    """An array of another size, dataflow and widths than those that the table was made from."""
    machine = ShiftArray(
        rows=3, cols=5, act_format="int6", acc_bits=20, weight_format="pot3z", dataflow="output_stationary"
    )
    table, made = (area.shift(machine, mode) for mode in ("table", "synthesised"))
    ours = table.um2["processing elements"] + table.um2["skew, decoders and gearboxes"]
    assert ours == pytest.approx(made.um2["array"], rel=0.1)
    assert table.um2["requantisers"] == pytest.approx(made.um2["requantisers"], rel=0.1)
    assert table.um2["activation memory"] == made.um2["activation memory"]
    assert made.sources["array"].startswith("synthesised: ")
    assert table.sources["processing elements"].startswith("modelled: ")


@pytest.mark.parametrize(
    ("words", "bits", "um2"),
    [
        (64, 64, 50_489),
        (256, 16, 28_127),
        (256, 32, 49_488),
        (512, 64, 150_102),
        (1024, 32, 140_183),
        (2048, 64, 491_634),
    ],
)
def test_memories_have_the_area_of_ihps_macros(words, bits, um2):
    memory = hardware.Memory(size_bytes=words * bits // 8, width_bits=bits)
    assert sram_um2(memory, bits) == pytest.approx(um2, rel=0.02)


def test_large_memories_are_several_macros():
    one, wide, deep = (
        sram_um2(hardware.Memory(size_bytes=size), bits) for size, bits in ((16384, 64), (32768, 128), (32768, 64))
    )
    assert wide == deep == pytest.approx(2 * one)


# ---- the front


@given(arrays(np.float64, st.tuples(st.integers(0, 40), st.integers(1, 4)), elements=st.integers(0, 5).map(float)))
def test_front_is_the_non_dominated_set(costs):
    wanted = [
        not any((other <= row).all() and (other < row).any() for other in costs) for row in costs
    ]  # fmt: skip
    assert front(costs).tolist() == wanted


def test_front_refuses():
    with pytest.raises(InvalidValueError, match=r"^`costs` must be finite, got nan at index \(1, 0\)$"):
        front([[1.0], [np.nan]])
    with pytest.raises(InvalidValueError, match=r"^`costs` must be a matrix \(points, objectives\), got shape \(3,\)$"):
        front([1, 2, 3])


# ---- runs


def test_a_run_evaluates_every_point_once_and_marks_the_front(space, tmp_path):
    found = space()
    with run(found, tmp_path / "out", jobs=1) as store:
        rows = store.rows()
    assert len(rows) == 16
    failed = [row for row in rows if row["state"] == "failed"]
    assert [row["parameters"]["rows"] for row in failed] == [0] * 4
    assert {row["error"] for row in failed} == {"machine: `rows` must be an integer from 1 to 4096, got 0"}
    assert {row["feasible"] for row in failed} == {None}
    done = [row for row in rows if row["state"] == "done"]
    for row in done:
        assert row["feasible"] == (row["area_mm2"] <= 3.6)
        assert row["energy_uj"] == pytest.approx(sum(row["energy"].values()))
        assert row["area_mm2"] == pytest.approx(sum(row["area"].values()))
        assert set(row["versions"]) == {"tetrit", "python", "numpy"}
        assert {name.partition(":")[0] for name in row["sources"]} == {"latency_us", "energy_uj", "area_mm2"}
    good = [row for row in done if row["feasible"]]
    assert 0 < sum(row["front"] for row in done) < len(good) < len(done)
    names = found.objectives
    for row in done:
        beaten = any(all(o[n] <= row[n] for n in names) and any(o[n] < row[n] for n in names) for o in good)
        assert row["front"] == (row["feasible"] and not beaten)


def test_the_file_can_be_queried(space, tmp_path):
    run(space(), tmp_path / "out", jobs=1).close()
    with sqlite3.connect(tmp_path / "out" / FILE) as db:
        [(n, least)] = db.execute(
            "SELECT COUNT(*), MIN(latency_us) FROM points JOIN parameters ON point = number "
            "WHERE name = 'cols' AND value = 8 AND state = 'done'"
        ).fetchall()
        [(schema,)] = db.execute("SELECT value FROM meta WHERE key = 'schema'").fetchall()
        [(energy,)] = db.execute("SELECT json_extract(energy, '$.array') FROM points WHERE number = 0").fetchall()
    db.close()
    assert (n, schema) == (6, "tetrit-explore/1")
    assert least > 0
    assert energy > 0


def test_going_on_evaluates_only_what_is_missing(space, tmp_path, monkeypatch):
    found = space()
    with run(found, tmp_path / "whole", jobs=1) as whole:
        wanted = plain(whole)
    seen = []
    evaluate = explore.running.evaluate

    def interrupted(task, stopped=None):
        if len(seen) == 5:
            raise KeyboardInterrupt
        seen.append(task.number)
        return evaluate(task, stopped)

    monkeypatch.setattr("tetrit.explore.running.evaluate", interrupted)
    text = "interrupted with 5 of 16 points evaluated; the same command goes on from there"
    with pytest.raises(Interrupted, match=f"^{text}$"):
        run(found, tmp_path / "out", jobs=1)
    monkeypatch.setattr(
        "tetrit.explore.running.evaluate", lambda task, stopped=None: seen.append(task.number) or evaluate(task)
    )
    with run(found, tmp_path / "out", jobs=1) as store:
        assert plain(store) == wanted
    assert seen == list(range(16))
    with run(found, tmp_path / "out", jobs=1):
        assert len(seen) == 16


def test_successive_rounds_go_on_to_the_same(space, tmp_path, monkeypatch):
    text = SMALL.replace("[workload]", '[sampling]\nmethod = "successive"\npoints = 10\nrounds = 4\n[workload]', 1)
    found = space(text)
    with run(found, tmp_path / "whole", jobs=1) as whole:
        wanted = plain(whole)
        assert {row["round"] for row in wanted} == {0, 1, 2, 3}
    evaluate, seen = explore.running.evaluate, []

    def twice(task, stopped=None):
        if len(seen) in (2, 6):
            seen.append(None)
            raise KeyboardInterrupt
        seen.append(task.number)
        return evaluate(task, stopped)

    monkeypatch.setattr("tetrit.explore.running.evaluate", twice)
    for _ in range(2):
        with pytest.raises(Interrupted):
            run(found, tmp_path / "out", jobs=1)
    with run(found, tmp_path / "out", jobs=1) as store:
        assert plain(store) == wanted
    assert len([number for number in seen if number is not None]) == 10


def test_a_result_is_written_once():
    point = explore.space.Point(number=3, machine="m", parameters={"rows": 2})
    figures = Figures(
        cycles=5,
        latency_us=1.0,
        utilization=0.5,
        energy_uj={"a": 1.0},
        area_mm2={"b": 2.0},
        sources={"latency_us": "s"},
    )
    first = Result(number=3, figures=figures, versions=versions())
    with Store(Path(":memory:")) as store:
        store.begin({"space": "x", "tetrit": "1"})
        store.add_round(0, [point])
        assert store.waiting() == [3]
        assert store.record(first)
        assert not store.record(dataclasses.replace(first, figures=None, error="late"))
        [row] = store.rows()
    assert (row["state"], row["latency_us"], row["error"]) == ("done", 1.0, None)
    assert row["sources"] == {"latency_us": "s"}


def test_another_space_is_refused(space, tmp_path):
    out = tmp_path / "out"
    run(space(), out, jobs=1).close()
    other = space(SMALL.replace("rows = [2, 4, 8, 0]", "rows = [2, 4, 8]"))
    with pytest.raises(
        InvalidValueError, match=f"^'{re.escape(str(out / FILE))}' is of another space: choose another folder$"
    ):
        run(other, out, jobs=1)
    again = space(SMALL.replace("<= 3.6", "<= 3.4").replace('"small"', '"limits are judged anew"'))
    assert fingerprint(again) == fingerprint(space())
    again = space(SMALL.replace("<= 3.6", "<= 3.4"))
    with run(again, out, jobs=1) as store:
        assert all(row["feasible"] == (row["area_mm2"] <= 3.4) for row in store.rows() if row["state"] == "done")


def test_another_version_and_other_files_are_refused(space, tmp_path, monkeypatch):
    out = tmp_path / "out"
    out.mkdir()
    begin(space(), out).close()
    text = f"'{out / FILE}' was begun by tetrit {versions()['tetrit']}, this is 9.9: choose another folder"
    monkeypatch.setattr("tetrit.__version__", "9.9")
    with pytest.raises(InvalidValueError, match=f"^{re.escape(text)}$"):
        begin(space(), out)
    for content, name in ((b"no database at all, but long enough to be one" * 40, "text"), (b"", "empty")):
        folder = tmp_path / name
        folder.mkdir()
        (folder / FILE).write_bytes(content)
        if content:
            with pytest.raises(InvalidValueError, match=r"is not what tetrit has written there$"):
                begin(space(), folder)
        else:
            begin(space(), folder).close()
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    with sqlite3.connect(foreign / FILE) as db:
        db.execute("CREATE TABLE mine (x)")
    db.close()
    with pytest.raises(InvalidValueError, match=r"is not what tetrit has written there$"):
        begin(space(), foreign)


def test_bad_input_is_one_line_and_exit_code_2(tmp_path):
    path = tmp_path / "bad.toml"
    path.write_text(SMALL.replace("rows =", "rowz ="))
    script = "import sys; from tetrit import cli; sys.exit(cli.main())"
    done = subprocess.run(
        [sys.executable, "-c", script, "explore", str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == f"tetrit: error: {path}: [[machine]] 1: unknown parameter 'rowz'; did you mean 'rows'?\n"


# ---- what is written


def test_csv_summary_and_figures(space, tmp_path):
    found = space()
    with run(found, tmp_path / "out", jobs=1) as store:
        rows = store.rows()
    write(found, rows, tmp_path / "out")
    lines = (tmp_path / "out" / "points.csv").read_text().splitlines()
    assert lines[0] == (
        "point,machine,rows,cols,dataflow,state,latency_us,energy_uj,area_mm2,accuracy,cycles,utilization,feasible,front,error"
    )
    assert len(lines) == 17
    assert lines[-1].startswith('15,shift_8x8,0,8,output_stationary,failed,,,,,,,,,"machine: `rows` must be')
    counts, header, table, notes = tables.summary(found, rows)
    n_front = sum(bool(row["front"]) for row in rows)
    n_good = sum(bool(row["feasible"]) for row in rows)
    assert counts == (f"16 of 16 points: 12 evaluated, 4 failed; {n_good} meet area_mm2 <= 3.6; {n_front} in the front")
    assert header == ["point", "rows", "cols", "dataflow", "latency, us", "energy, uJ", "area, mm2"]
    assert len(table) == n_front
    latencies = [float(line[4].replace(",", "")) for line in table]
    assert latencies == sorted(latencies)
    assert any(note.startswith("source of area, mm2 (weight memory, activation memory") for note in notes)
    assert notes[-1] == "failed: 4 x machine: `rows` must be an integer from 1 to 4096, got 0 (such as point 12)"
    page = (tmp_path / "out" / "front.md").read_text()
    assert "## Sources" in page
    assert "## Failed points" in page
    for name in ("pareto", "effects"):
        assert (tmp_path / "out" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        drawn = (tmp_path / "out" / f"{name}.svg").read_bytes()
        assert ET.fromstring(drawn).tag.endswith("svg")


def test_nothing_feasible_is_said(space, tmp_path):
    found = space(SMALL.replace("<= 3.6", "<= 0.1"))
    with run(found, tmp_path / "out", jobs=1) as store:
        rows = store.rows()
    assert "nothing meets the constraints" in tables.summary(found, rows)[3]
    assert "Nothing meets the constraints." in tables.markdown(found, rows)


def test_nothing_at_all_works(space, tmp_path):
    found = space(SMALL.replace("rows = [2, 4, 8, 0]", "rows = [0]"))
    with run(found, tmp_path / "out", jobs=1) as store:
        rows = store.rows()
    write(found, rows, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["front.md", "points.csv", "points.sqlite"]
