"""Explorations under hardship: killed, interrupted, over processes and a cluster that loses a worker; with networks."""

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time

import pytest

from tests.tetrit.explorations import SMALL, plain
from tetrit import explore
from tetrit.errors import ToolError
from tetrit.explore import load_space, run
from tetrit.explore.store import FILE

SLOW = SMALL.replace("rows = [2, 4, 8, 0]", "rows = { from = 4, to = 23, step = 1 }").replace(
    "cols = [4, 8]\n", "cols = [4, 8, 12, 16, 20]\n"
)  # 200 points, some milliseconds each


def _started(tmp_path, *more):
    script = "import sys; from tetrit import cli; sys.exit(cli.main())"
    path = tmp_path / "slow.toml"
    path.write_text(SLOW)
    out = tmp_path / "out"
    command = [sys.executable, "-c", script, "explore", str(path), "--out", str(out), *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True), out


def _finished(out):
    with contextlib.closing(sqlite3.connect(out / FILE, timeout=60)) as db:
        return dict(db.execute("SELECT number, finished FROM points WHERE state <> 'waiting'").fetchall())


def _wait_for(out, wanted, process, seconds=120.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert process.poll() is None, process.communicate()
        with contextlib.suppress(sqlite3.Error):  # not made yet
            if (out / FILE).exists() and len(_finished(out)) >= wanted:
                return
        time.sleep(0.01)
    raise AssertionError(f"{wanted} points not reached")


def test_kills_lose_and_repeat_nothing(tmp_path):
    """Killed in the middle of its own work, then with two processes at work, then finished."""
    kept = {}
    for jobs in ("1", "2"):
        process, out = _started(tmp_path, "--jobs", jobs)
        try:
            _wait_for(out, len(kept) + 3, process)
        finally:
            process.kill()
            process.communicate()
        time.sleep(0.3)  # the processes of a killed one end their point
        found = _finished(out)
        assert len(kept) + 3 <= len(found) < 200
        assert {number: found[number] for number in kept} == kept
        kept = found
    again, _ = _started(tmp_path, "--jobs", "1")
    told, errors = again.communicate(timeout=240)
    assert again.returncode == 0, errors
    assert told.startswith("200 of 200 points: 200 evaluated, 0 failed; ")
    found = _finished(out)
    assert len(found) == 200
    assert {number: found[number] for number in kept} == kept
    chosen = load_space(tmp_path / "slow.toml")
    with explore.Store(out / FILE) as killed, run(chosen, tmp_path / "whole", jobs=1) as whole:
        assert plain(killed) == plain(whole)
    assert sorted(path.name for path in out.iterdir()) == [
        "effects.png", "effects.svg", "front.md", "pareto.png", "pareto.svg", "points.csv", "points.sqlite",
    ]  # fmt: skip


def test_ctrl_c_keeps_everything(tmp_path):
    process, out = _started(tmp_path, "--jobs", "1")
    _wait_for(out, 3, process)
    process.send_signal(signal.SIGINT)
    told, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    n = len(_finished(out))
    assert 3 <= n < 200
    assert errors == f"tetrit: interrupted with {n} of 200 points evaluated; the same command goes on from there\n"
    assert told == ""


DIGITS = """
objectives = ["accuracy", "energy_uj"]
[workload]
kind = "digits"
hidden = [12]
epochs = 12
quantized_epochs = 6
[[machine]]
name = "crossbar"
preset = "crossbar_256_pcm"
changes = { rows = 64, cols = 32 }
[machine.parameters]
adc_bits = [2, 8]
weight_format = ["int8", "szt", "int9"]
"""


def test_accuracy_is_measured_on_the_machine(space, tmp_path):
    found = space(DIGITS.replace('"int9"', '"posit4_1"'))
    with run(found, tmp_path / "out", jobs=1) as store:
        rows = store.rows()
    assert {row["state"] for row in rows} == {"done"}
    accuracy = {(row["parameters"]["adc_bits"], row["parameters"]["weight_format"]): row["accuracy"] for row in rows}
    assert accuracy[8, "int8"] > 0.85
    assert accuracy[2, "int8"] < accuracy[8, "int8"] - 0.1
    assert sorted(path.name for path in (tmp_path / "out" / "networks").iterdir()) == [
        "int8.npz",
        "posit4_1.npz",
        "szt.npz",
    ]
    assert rows[0]["sources"]["accuracy"] == "449 held-out images, mean of 1 chips"


@pytest.mark.parametrize(
    ("machine", "parameters"),
    [
        ("shift_8x8", 'weight_format = ["szt", "pot3z"]\nrows = [4]'),
        ("simd_4x4", 'weight_format = ["fp4_e2m1", "posit8_0"]\nact_format = ["posit8_0"]'),
    ],
)
def test_accuracy_on_digital_machines_does_not_depend_on_their_size(space, tmp_path, machine, parameters):
    text = (
        DIGITS[: DIGITS.index("[[machine]]")]
        + f'[[machine]]\npreset = "{machine}"\n[machine.parameters]\n{parameters}\n'
    )
    with run(space(text + "cols = [2, 4]"), tmp_path / "out", jobs=1) as store:
        rows = store.rows()
    assert {row["state"] for row in rows} == {"done"}
    by_format = {}
    for row in rows:
        by_format.setdefault(row["parameters"]["weight_format"], set()).add(row["accuracy"])
    assert all(len(found) == 1 and max(found) > 0.6 for found in by_format.values())
    assert len({row["latency_us"] for row in rows}) >= 2


# ---- a cluster


def test_a_cluster_finds_the_same_though_a_worker_is_killed(space, tmp_path, monkeypatch):
    import distributed

    found = space(SMALL.replace("rows = [2, 4, 8, 0]", "rows = [1, 2, 3, 4, 5, 6, 7, 8]"))
    with run(found, tmp_path / "one", jobs=1) as one:
        wanted = plain(one)
    with _cluster(distributed) as cluster:
        victims = [worker.pid for worker in cluster.workers.values()]
        seen = []
        recorded = explore.running._recorded

        def killing(store, update, result):
            if not seen:
                os.kill(victims[0], signal.SIGKILL)
            seen.append(result.number)
            recorded(store, update, result)

        monkeypatch.setattr("tetrit.explore.running._recorded", killing)
        with run(found, tmp_path / "two", dask=cluster.scheduler_address) as two:
            assert plain(two) == wanted
        assert sorted(seen) == list(range(32))


def _cluster(distributed):
    return distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50
    )


def test_a_missing_scheduler_is_one_line(space, tmp_path, monkeypatch):
    monkeypatch.setattr("tetrit.explore.cluster._CONNECT_S", 1)
    with pytest.raises(ToolError, match=r"^cannot reach a Dask scheduler at 'tcp://127.0.0.1:1': "):
        run(space(), tmp_path / "out", dask="tcp://127.0.0.1:1")


def test_json_of_a_space_is_plain(space):
    assert json.loads(json.dumps(space(DIGITS).table()))["workload"]["kind"] == "digits"
