"""Verification: batch models beside the coroutine bench on the same jobs, and co-processors in cycles a second.

Run it as ``python bench/bench_verify.py``. Both benches run the same rows of the same designs, in turns in one process
(the coroutine bench starts a simulator of its own each time; its rate is also given without that start, as the
difference of two lengths). Models are built before. Vectors are rows: every port set, every output sampled and
compared; "in parts" is the batch model that computes 64 parts of the sequence at once. The co-processor runs long
products against a memory with fixed latencies. All of it is single-threaded and timed in seconds of the processor,
child processes included, so that other work on the machine disturbs little. Writes build/bench/verify.json.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from _common import write

from tetrit import rtl
from tetrit.hardware import ShiftArray
from tetrit.hardware.simd_engine import SimdEngine
from tetrit.rtl.coprocessor import MatmulCoprocessor
from tetrit.sim.coprocessor import Coprocessor
from tetrit.verify.batch import BatchModel, coprocessor
from tetrit.verify.bench import TOP, Workbench
from tetrit.verify.suites import shift_pe, simd, simd_products
from tetrit.verify.suites.coprocessor_batch import run_batch
from tetrit.verify.suites.coprocessor_jobs import Case, Waits, random_job
from tetrit.verify.suites.designs import DESIGNS
from tetrit.verify.suites.job import Job
from tetrit.verify.suites.simd_designs import SIMD_DESIGNS

MODELS = Path("build/bench/models")
ROWS = 20_000
JOBS = 10  # long products for each co-processor
MORE = 50  # times as many rows go through the batch models
LEAST_RATIO, LEAST_CYCLES = 20, 200_000


def jobs() -> dict[str, Job]:
    """Return a combinational and two clocked designs, each with many rows."""
    [codes] = simd.code_jobs(SIMD_DESIGNS, 0, None)
    products = simd_products.product_jobs(SIMD_DESIGNS, 0, 100)[0]
    element = shift_pe.jobs(DESIGNS, 0, None)[0]
    return {"SIMD decoder and encoder": codes, "SIMD element and read-out": products, "shift element": element}


def cut(job: Job, rows: int) -> dict:
    """Return so many rows of a job's stimulus, repeated from the start where it is shorter."""
    return {name: np.resize(array, rows) for name, array in job.stimulus.items()}


def spent() -> float:
    """Return the processor's seconds so far, of this process and of children that have ended."""
    return sum(os.times()[:4])


def interleaved(tasks: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Return the median of each task's seconds of the processor; the tasks take turns, after one uncounted round."""
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for number in range(repeats + 1):
        for name, task in tasks.items():
            start = spent()
            task()
            if number:
                seconds[name].append(spent() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def verdict(held: bool) -> str:
    return "held" if held else "NOT held"


def rates(workbench: Workbench, name: str, job: Job, repeats: int) -> dict:
    """Return rows a second of both benches."""
    verilog = workbench.verilog(job, "rtl")
    model, library = workbench.build(verilog), workbench.library(verilog, optimisation=3)
    parts = workbench.parts(verilog)
    whole, few, many = (Job(**{**vars(job), "stimulus": cut(job, rows)}) for rows in (ROWS, ROWS // 10, MORE * ROWS))
    raw = BatchModel(library)
    inputs = {name: many.stimulus[f"in_{name}"] for name in raw.inputs}
    seconds = interleaved(
        {
            "coroutine": lambda: workbench.observe(whole, model),
            "coroutine, a tenth": lambda: workbench.observe(few, model),
            "batch": lambda: workbench.observe(many, library),
            **({"parts": lambda: workbench.observe(many, parts)} if parts else {}),
            "design": lambda: raw.run(inputs),
        },
        repeats,
    )
    running = (seconds["coroutine"] - seconds["coroutine, a tenth"]) / (ROWS - ROWS // 10)
    row = {
        "design": name,
        "rows": ROWS,
        "coroutine_per_s": ROWS / seconds["coroutine"],
        "coroutine_without_start_per_s": 1 / running,
        "batch_per_s": MORE * ROWS / seconds["batch"],
        "design_alone_per_s": MORE * ROWS / seconds["design"],
    }
    if parts is not None:
        assert parts.fitted, f"{name}: the parts do not fit together"
        row["parts_per_s"] = MORE * ROWS / seconds["parts"]
    fastest = max(row["batch_per_s"], row.get("parts_per_s", 0.0))
    row["ratio"] = fastest / row["coroutine_per_s"]
    row["ratio_without_start"] = fastest / row["coroutine_without_start_per_s"]
    row["held"] = min(row["ratio"], row["ratio_without_start"]) >= LEAST_RATIO
    print(
        f"{name:>28} {row['coroutine_per_s']:10,.0f} /s {row['coroutine_without_start_per_s']:10,.0f} /s "
        f"{row['batch_per_s']:12,.0f} /s {row['design_alone_per_s']:12,.0f} /s "
        f"{row.get('parts_per_s', np.nan):12,.0f} /s {row['ratio']:7.0f} x "
        f"{row['ratio_without_start']:6.0f} x (at least {LEAST_RATIO}: {verdict(row['held'])})"
    )
    return row


def cycles_per_second(workbench: Workbench, name: str, machine: ShiftArray | SimdEngine) -> dict:
    """Return cycles a second of a co-processor that works on long products."""
    start = time.perf_counter()
    verilog = rtl.to_verilog(MatmulCoprocessor(machine), TOP)
    emitted = time.perf_counter() - start
    start = time.perf_counter()
    library = workbench.coprocessor(verilog)
    built = time.perf_counter() - start
    unit = Coprocessor(machine=machine)
    rng = np.random.default_rng(1)
    cases: list[Case] = []
    while len(cases) < JOBS:
        job, memory = random_job(unit, rng, tiles=8, largest_k=2000)
        if job.k >= 1500:
            waits = Waits(read_latency=20, write_latency=20)
            cases.append(Case(job=job, memory=memory, waits=waits, tolerance=None))
    seconds = []
    for _ in range(3):
        start = spent()
        result, counted = run_batch(library, unit, cases, name=name)
        seconds.append(spent() - start)
        assert result.passed, result.message
    typical, cycles = statistics.median(seconds), sum(counted)
    idle = coprocessor.BatchCoprocessor(library, np.zeros(4096, dtype=np.uint8))
    start = spent()
    idle.step(cycles)
    simulated = spent() - start
    row = {
        "design": name,
        "cycles": cycles,
        "cycles_per_s": cycles / typical,
        "idle_cycles_per_s": cycles / simulated,
        "emission_s": emitted,
        "build_s": built,
    }
    target = ""
    if (machine.rows, machine.cols) == (8, 8):
        row["held"] = cycles / typical >= LEAST_CYCLES
        target = f" (at least {LEAST_CYCLES:,}: {verdict(row['held'])})"
    print(
        f"{name:>28} {cycles:,} cycles at {row['cycles_per_s']:,.0f} /s, idle {row['idle_cycles_per_s']:,.0f} /s"
        f"{target}; emitted in {emitted:.0f} s, built in {built:.0f} s"
    )
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", choices=("vectors", "coprocessors"), help="leave out the other half")
    parser.add_argument(
        "--simd", type=int, nargs="*", default=[2], help="sides of the SIMD arrays; 8 builds for two minutes"
    )
    arguments = parser.parse_args()
    workbench = Workbench(MODELS)
    print(f"load {os.getloadavg()[0]:.1f}")
    figures: dict = {}
    if arguments.only != "coprocessors":
        print(f"{'':>28} {'coroutine':>13} {'without start':>13} {'batch':>15} {'design alone':>15} {'in parts':>15}")
        figures["vectors"] = [rates(workbench, name, job, arguments.repeats) for name, job in jobs().items()]
    if arguments.only != "vectors":
        machines: dict[str, ShiftArray | SimdEngine] = {
            "shift co-processor 8x8": ShiftArray(rows=8, cols=8, dataflow="output_stationary"),
        }
        machines |= {f"SIMD co-processor {n}x{n}": SimdEngine(rows=n, cols=n) for n in arguments.simd}
        figures["coprocessors"] = [cycles_per_second(workbench, name, machine) for name, machine in machines.items()]
    write("verify", figures)


if __name__ == "__main__":
    main()
