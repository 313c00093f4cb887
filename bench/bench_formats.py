"""Encoding and decoding of ten million float32, beside ml_dtypes casts and softposit called from Python.

Run it as ``python bench/bench_formats.py``; ``--threads`` and ``--size`` change the set-up. Times are medians of
repeats in which ours and the peer's alternate. "new" allocates its output, as the peers must; "out" writes to an array
that exists. The limit is the time in which the same threads copy as many bytes as are read and written, between arrays
that exist. Writes build/bench/formats.json.
"""

import argparse
import os
from collections.abc import Callable
from typing import Any

import numpy as np
from _common import interleaved, write

FLOATS = {"fp4_e2m1": "float4_e2m1fn", "fp8_e4m3": "float8_e4m3fn", "fp8_e5m2": "float8_e5m2", "bf16": "bfloat16"}
POSITS = {"posit8_0": 8, "posit16_1": 16}
OTHERS = ("szt", "int8", "int16", "pot4", "post4")
TARGETS = {"fp4_e2m1": 4.0, "fp8_e4m3": 4.0, "fp8_e5m2": 4.0, "posit8_0": 500.0, "posit16_1": 500.0}
SOFTPOSIT_SIZE = 50_000


def copy_task(n_bytes: int) -> Callable[[], None]:
    """Return a task that reads and writes `n_bytes` in all, by the threads that our kernels use."""
    from tetrit.parallel import run_blocks

    n = n_bytes // 8
    source, target = np.ones(n, dtype=np.float32), np.ones(n, dtype=np.float32)
    return lambda: run_blocks(lambda a, b: np.copyto(target[a:b], source[a:b]), n)


def softposit_tasks(name: str, x: np.ndarray, codes: np.ndarray) -> dict[str, Callable[[], object]]:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import softposit
    numbers, patterns = x[:SOFTPOSIT_SIZE].tolist(), codes[:SOFTPOSIT_SIZE].tolist()
    make, encode, decode = {
        8: (softposit.posit8, softposit.convertDoubleToP8, softposit.convertP8ToDouble),
        16: (softposit.posit16, softposit.convertDoubleToP16, softposit.convertP16ToDouble),
    }[POSITS[name]]
    return {
        "encode peer": lambda: [encode(number).v for number in numbers],
        "decode peer": lambda: [decode(make(bits=pattern).v) for pattern in patterns],
    }


def bench(name: str, x: np.ndarray, repeats: int) -> list[dict[str, Any]]:
    from tetrit import formats

    fmt = formats.get(name)
    codes = fmt.encode(x)
    values = np.empty(x.shape, dtype=np.float32)
    reused = np.empty_like(codes)
    tasks: dict[str, Callable[[], object]] = {
        "encode new": lambda: fmt.encode(x),
        "encode out": lambda: fmt.encode(x, out=reused),
        "decode new": lambda: fmt.decode(codes, dtype=np.float32),
        "decode out": lambda: fmt.decode(codes, out=values),
        "limit": copy_task(x.nbytes + codes.nbytes),
    }
    peer, share = "", 1.0
    if name in FLOATS:
        import ml_dtypes

        peer = "ml_dtypes"
        theirs = getattr(ml_dtypes, FLOATS[name])
        assert np.array_equal(x.astype(theirs).view(codes.dtype), codes), "ours and the peer's codes differ"
        tasks["encode peer"] = lambda: x.astype(theirs)
        tasks["decode peer"] = lambda: codes.view(theirs).astype(np.float32)
    elif name in POSITS:
        peer, share = "softposit", SOFTPOSIT_SIZE / x.size
        tasks |= softposit_tasks(name, x, codes)
        assert tasks["encode peer"]() == codes[:SOFTPOSIT_SIZE].tolist(), "ours and the peer's codes differ"
    seconds = interleaved(tasks, repeats)
    rows = []
    for verb in ("encode", "decode"):
        new, out, limit = (seconds[key] * 1e3 for key in (f"{verb} new", f"{verb} out", "limit"))
        row = {"format": name, "verb": verb, "new_ms": new, "out_ms": out, "limit_ms": limit, "peer": peer}
        if peer:
            row["peer_ms"] = seconds[f"{verb} peer"] * 1e3 / share
            row["speedup"] = row["peer_ms"] / new
            row["target"] = TARGETS.get(name)
        rows.append(row)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--size", type=int, default=10_000_000)
    parser.add_argument("--repeats", type=int, default=9)
    arguments = parser.parse_args()
    os.environ["NUMBA_NUM_THREADS"] = str(arguments.threads)  # read when the compiler is first loaded
    x = np.random.default_rng(0).standard_normal(arguments.size, dtype=np.float32) * 2
    print(f"{arguments.size:,} float32, {arguments.threads} threads; milliseconds, medians of {arguments.repeats}")
    head = f"{'format':10} {'verb':6} {'new':>8} {'out':>8} {'limit':>8} {'peer':>9} {'speed-up':>9} {'target':>7}"
    print(head, "-" * len(head), sep="\n")
    results = []
    for name in (*FLOATS, *POSITS, *OTHERS):
        for row in bench(name, x, arguments.repeats):
            results.append(row)
            line = f"{name:10} {row['verb']:6} {row['new_ms']:8.2f} {row['out_ms']:8.2f} {row['limit_ms']:8.2f}"
            if row["peer"]:
                target = f"{row['target']:6.0f}x" if row["target"] else ""
                line += f" {row['peer_ms']:9.1f} {row['speedup']:8.1f}x {target:>7}"
            print(line)
    write("formats", {"threads": arguments.threads, "size": arguments.size, "results": results})


if __name__ == "__main__":
    main()
