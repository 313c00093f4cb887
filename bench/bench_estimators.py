"""Forward and backward of the estimators on 16 M float32 weights, against a plain numpy pass over as many arrays.

The yardstick is ``np.multiply(a, b, out=c)``: it moves three float32 arrays (two read, one written), so a third of its
time is the time of one array. An estimator is charged with what it really reads and writes: for `szt` the weights twice
in each direction (the threshold is a mean over all of them), the uint8 codes once (a quarter of a float32 array), the
gradient once in and once out. The memory limit is what all threads together reach in a plain copy.
"""

import statistics
import threading
import time
from itertools import pairwise

import numba
import numpy as np
from _common import write

from tetrit import estimators

N = 16 * 1024 * 1024
REPEATS = 15
CASES = {
    # float32 arrays read and written, forward + backward; code arrays count a quarter
    "szt": ("szt", {}, (2 + 0.25) + (2 + 1 + 1)),
    "szt, per channel": ("szt", {"axis": 0}, (2 + 0.25) + (2 + 1 + 1)),
    "ste": ("ste", {}, (2 + 0.25) + (1 + 1)),
    "ste_clipped": ("ste_clipped", {}, (2 + 0.25) + (2 + 1 + 1)),
    "pot": ("pot", {}, (2 + 0.25) + (1 + 1)),
}


def copy_by_threads(source, target, n_threads):
    cuts = np.linspace(0, len(source), n_threads + 1).astype(int)
    threads = [threading.Thread(target=np.copyto, args=(target[a:b], source[a:b])) for a, b in pairwise(cuts)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def main():
    rng = np.random.default_rng(0)
    w = rng.standard_normal(N, dtype=np.float32)
    g = rng.standard_normal(N, dtype=np.float32)
    c = np.empty_like(w)
    n_threads = numba.config.NUMBA_NUM_THREADS

    def estimate(name, params):
        e = estimators.get(name, **params)
        shape = (4096, -1) if "axis" in params else (-1,)
        w_, g_, c_ = w.reshape(shape), g.reshape(shape), c.reshape(shape)
        e(w_)
        e.backward(w_, g_, out=c_)
        return lambda: (e(w_), e.backward(w_, g_, out=c_))

    jobs = {"np.multiply": lambda: np.multiply(w, g, out=c), "copy": lambda: copy_by_threads(w, c, n_threads)}
    jobs |= {label: estimate(name, params) for label, (name, params, _) in CASES.items()}
    wall = {label: [] for label in jobs}
    cpu = {label: [] for label in jobs}
    for _ in range(REPEATS):
        for label, job in jobs.items():
            start, start_cpu = time.perf_counter(), time.process_time()
            job()
            cpu[label].append(time.process_time() - start_cpu)
            wall[label].append(time.perf_counter() - start)
    ms = {label: 1e3 * statistics.median(times) for label, times in wall.items()}
    cpu_ms = {label: 1e3 * statistics.median(times) for label, times in cpu.items()}
    per_array, per_array_cpu, limit = ms["np.multiply"] / 3, cpu_ms["np.multiply"] / 3, ms["copy"] / 2

    print(f"{N / 1e6:.1f} M float32 weights, {n_threads} threads, medians of {REPEATS} interleaved repeats")
    print(f"np.multiply (1 thread) {ms['np.multiply']:.2f} ms = {per_array:.2f} ms per array;")
    print(f"copy ({n_threads} threads) {limit:.2f} ms per array = {N * 4 / limit / 1e6:.1f} GB/s\n")
    print(
        f"{'estimator':18}{'ms':>8}{'arrays':>8}{'per array / np.multiply':>25}{'CPU time':>10}{'/ memory limit':>16}"
    )
    results = {}
    for label, (_, _, arrays) in CASES.items():
        results[label] = {
            "ms": ms[label],
            "cpu_ms": cpu_ms[label],
            "float32_arrays": arrays,
            "per_array_over_multiply": ms[label] / arrays / per_array,
            "cpu_per_array_over_multiply": cpu_ms[label] / arrays / per_array_cpu,
            "over_memory_limit": ms[label] / arrays / limit,
        }
        row = results[label]
        print(
            f"{label:18}{ms[label]:8.2f}{arrays:8.2f}{row['per_array_over_multiply']:25.2f}"
            f"{row['cpu_per_array_over_multiply']:10.2f}{row['over_memory_limit']:16.2f}"
        )
    write(
        "estimators",
        {
            "threads": n_threads,
            "numpy": np.__version__,
            "numba": numba.__version__,
            "n": N,
            "repeats": REPEATS,
            "multiply_ms": ms["np.multiply"],
            "copy_ms": ms["copy"],
            "results": results,
        },
    )


if __name__ == "__main__":
    main()
