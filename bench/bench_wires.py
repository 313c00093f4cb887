"""Effective conductances of arrays with wire resistance, beside a sparse solution of the nodal equations.

Run it as ``python bench/bench_wires.py``. The yardstick is SciPy's `splu` of the nodal matrix with one right-hand side
for each row; it is left out where it would take minutes. CrossSim's figure is the one stated for its nodal solution in
docs/benchmarks.md, and was not measured here. Peak memory is the process's own, in a fresh process for each size.
Writes build/bench/wires.json.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from _common import write

from tetrit.sim.crossbar import effective_conductance

OHMS = (1.0, 1.0, 100.0, 50.0)
CROSSSIM_VECTORS_PER_S = 41.0  # 256 x 256, nodal IR drop, batch 256
BATCH = 256


def nodal_matrix(g):
    """Return the nodal matrix and its right-hand sides, one for each row, with every node vectorised."""
    from scipy import sparse

    r_row, r_col, r_driver, r_sense = OHMS
    rows, cols = g.shape
    row = np.arange(g.size).reshape(g.shape)
    col = g.size + row
    pairs = [(row[:, :-1], row[:, 1:], 1 / r_row), (col[:-1], col[1:], 1 / r_col), (row, col, g)]
    a, b = (np.concatenate([pair[k].ravel() for pair in pairs]) for k in (0, 1))
    w = np.concatenate([np.broadcast_to(pair[2], pair[0].shape).ravel() for pair in pairs])
    ends = np.concatenate((row[:, 0], col[-1]))
    to_ends = np.repeat((1 / (r_row + r_driver), 1 / (r_col + r_sense)), (rows, cols))
    i, j = np.concatenate((a, b, a, b, ends)), np.concatenate((a, b, b, a, ends))
    matrix = sparse.csc_array((np.concatenate((w, w, -w, -w, to_ends)), (i, j)), shape=(2 * g.size, 2 * g.size))
    right = np.zeros((2 * g.size, rows))
    right[row[:, 0], np.arange(rows)] = to_ends[0]
    return matrix, right


def sparse_solution(g):
    from scipy.sparse.linalg import splu

    matrix, right = nodal_matrix(g)
    options = {"SymmetricMode": True}
    factors = splu(matrix, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options=options)
    cols = g.shape[1]
    result = np.empty(g.shape)
    for i in range(len(g)):  # one at a time: all together would take rows x 2 x cells numbers
        result[i] = factors.solve(right[:, i])[-cols:] / (OHMS[1] + OHMS[3])
    return result


def measure(n, what, repeats):
    """Return seconds, peak megabytes and the answer of one solver in this process."""
    g = np.random.default_rng(0).uniform(1e-7, 25e-6, (n, n))
    solve = {"tetrit": lambda g: effective_conductance(g, *OHMS), "splu": sparse_solution}[what]
    solve(g[:40, :40])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds, cpu = [], []
    for _ in range(repeats):
        start, used = time.perf_counter(), time.process_time()
        answer = solve(g)
        seconds.append(time.perf_counter() - start)
        cpu.append(time.process_time() - used)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    figures = {"seconds": statistics.median(seconds), "cpu_seconds": statistics.median(cpu)}
    return figures | {"peak_mb": peak / 1024, "more_mb": (peak - before) / 1024}, answer


def elsewhere(n, what, repeats, path):
    """Measure in a fresh process, and return the figures and the answer."""
    command = [sys.executable, __file__, "--one", str(n), what, str(repeats), path]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    with np.load(path) as kept:
        answer = kept["answer"]
    Path(path).unlink()
    return json.loads(done.stdout), answer


def vectors_per_s(n, repeats=5):
    """Return input vectors a second for a batch, effective conductances solved anew for it, and once they are known."""
    rng = np.random.default_rng(0)
    g, v = rng.uniform(1e-7, 25e-6, (n, n)), rng.uniform(-0.2, 0.2, (BATCH, n))
    known = effective_conductance(g, *OHMS)
    tasks = {"solved_anew": lambda: v @ effective_conductance(g, *OHMS), "known": lambda: v @ known}
    figures = {}
    for name, task in tasks.items():
        task()
        times = []
        for _ in range(repeats):
            start = time.perf_counter()
            task()
            times.append(time.perf_counter() - start)
        figures[name] = BATCH / statistics.median(times)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 128, 256, 512, 1024])
    parser.add_argument("--splu-up-to", type=int, default=256, help="largest size for which splu is run")
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        n, what, repeats, path = arguments.one
        figures, answer = measure(int(n), what, int(repeats))
        np.savez(path, answer=answer)
        print(json.dumps(figures))
        return
    rows = []
    path = f"/tmp/bench_wires_{os.getpid()}.npz"
    print(f"{'cells':>11} {'s':>8} {'CPU s':>8} {'MB':>6} {'splu s':>8} {'MB':>6} {'largest difference':>19}")
    for n in arguments.sizes:
        ours, answer = elsewhere(n, "tetrit", 5 if n < 512 else 1, path)
        row = {"rows": n, "cols": n, "tetrit": ours}
        line = f"{n:>5} x {n:>3} {ours['seconds']:8.3f} {ours['cpu_seconds']:8.3f} {ours['more_mb']:6.0f}"
        if n <= arguments.splu_up_to:
            row["splu"], other = elsewhere(n, "splu", 1, path)
            row["largest_relative_difference"] = float(np.abs(answer / other - 1).max())
            line += f" {row['splu']['seconds']:8.2f} {row['splu']['more_mb']:6.0f}"
            line += f" {row['largest_relative_difference']:19.1e}"
        rows.append(row)
        print(line)
    speed = vectors_per_s(256)
    print(f"256 x 256, batch of {BATCH}, vectors a second: {speed['solved_anew']:,.0f} solved anew for the batch,")
    print(f"  {speed['known']:,.0f} once solved; CrossSim, as stated: {CROSSSIM_VECTORS_PER_S:g}")
    figures = {"batch": BATCH, **speed, "crosssim_stated": CROSSSIM_VECTORS_PER_S}
    write("wires", {"ohm": OHMS, "solutions": rows, "vectors_per_s_256": figures})


if __name__ == "__main__":
    main()
