"""Forward values and gradients of every golden estimator on 16 M float32 weights, against passes over memory.

The yardstick of a deterministic estimator is memory: ``np.multiply(a, b, out=c)`` moves three float32 arrays (two read,
one written), so a third of its time is the time of one array; an estimator must at least read the weights and write
the values, then read weights and gradient and write the gradient: five arrays, or two where the gradient passes as it
is. Values and gradient are those of `vjp`, which computes once what they share. The yardstick of a stochastic estimator
is ``Generator.random`` or ``standard_normal``, filling an array of that size with random numbers. numpy runs on one
thread, the estimators on all; the memory limit is a copy by all threads.
"""

import statistics
import sys
import threading
import time
from itertools import pairwise

import numba
import numpy as np
from _common import write

from tetrit import estimators

N = 16 * 1024 * 1024
REPEATS = 7
SHAPE = (4096, N // 4096)
SKIPPED = {"qkr"}  # products of matrices: its work is not of the order of its size
SPECIAL = {"lsq": {"step": 0.5}, "szt, per channel": {"axis": 0}, "ste, per channel": {"axis": 0}}
NORMAL = {"gauss_ws"}


def copy_by_threads(source, target, n_threads):
    cuts = np.linspace(0, len(source), n_threads + 1).astype(int)
    threads = [threading.Thread(target=np.copyto, args=(target[a:b], source[a:b])) for a, b in pairwise(cuts)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def job(label, w, g, out):
    """Return the estimator, and what computes its values and its gradient at `w`."""
    e = estimators.get(label.split(",")[0], **SPECIAL.get(label, {}))
    if label in ("denseshift", "fairy", "codebook", "nupes", "asq"):
        e, w = e.start(w[: SHAPE[0] // (4 if label == "denseshift" else 1)])  # four references a weight
    values = np.empty(e.value_shape(w.shape), np.float32)
    grad = g[: values.size // SHAPE[1]].reshape(values.shape)
    back = out[: w.size // SHAPE[1]].reshape(w.shape)

    def drawing():
        e.forward(w, out=values)
        if not e.straight_through:
            e.backward(w, grad, out=back)

    def run():
        _, gradients = e.vjp(w, out=values)
        if not e.straight_through:
            gradients(grad, back, True)

    return e, drawing if e.draws else run


def main():
    rng = np.random.default_rng(0)
    w, g = (rng.standard_normal(SHAPE, dtype=np.float32) for _ in range(2))
    out = np.empty_like(w)
    n_threads = numba.config.NUMBA_NUM_THREADS
    labels = sys.argv[1:] or sorted({*estimators.names(), *SPECIAL} - SKIPPED)
    yardsticks = {
        "multiply": lambda: np.multiply(w, g, out=out),
        "copy": lambda: copy_by_threads(w.reshape(-1), out.reshape(-1), n_threads),
        "random": lambda: rng.random(N),
        "normal": lambda: rng.standard_normal(N),
    }
    rows = {}
    for label in labels:
        e, run = job(label, w, g, out)
        jobs = {"self": run, **yardsticks}
        times = {name: [] for name in jobs}
        for turn in range(REPEATS + 1):
            for name, task in jobs.items():
                start = time.perf_counter()
                task()
                if turn:
                    times[name].append(1e3 * (time.perf_counter() - start))
        ms = {name: statistics.median(values) for name, values in times.items()}
        arrays = 2 if e.straight_through else 5
        filled = e.draws and label not in ("adapt", "lotion")  # by default these two draw nothing
        draws = None if not filled else "normal" if label in NORMAL else "random"
        rows[label] = {
            "ms": ms["self"],
            "arrays": arrays,
            "over_multiply_per_array": ms["self"] / (arrays * ms["multiply"] / 3),
            "over_copy_per_array": ms["self"] / (arrays * ms["copy"] / 2),
            "over_random_fill": ms["self"] / ms[draws] if draws else None,
        }
        row = rows[label]
        fill = f"{row['over_random_fill']:10.2f}" if draws else " " * 10
        print(
            f"{label:22}{row['ms']:9.1f} ms{arrays:4}{row['over_multiply_per_array']:10.2f}"
            f"{row['over_copy_per_array']:10.2f}{fill}",
            flush=True,
        )
    print("columns: time, arrays moved, over np.multiply per array, over a threaded copy per array, over a random fill")
    write("estimators", {"threads": n_threads, "numpy": np.__version__, "n": N, "repeats": REPEATS, "results": rows})


if __name__ == "__main__":
    main()
