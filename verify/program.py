"""The authority for verifying a compiled network: its real tiles, with real activations, on the Verilated array."""

__all__ = ["run_program"]

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tetrit.sim import Program
from tetrit.sim.execute import LayerRun, execute
from tetrit.verify.bench import Workbench
from tetrit.verify.results import BenchResult
from tetrit.verify.suites.designs import DESIGNS, Designs
from tetrit.verify.suites.job import Case, Job, stream_stimulus
from tetrit.verify.suites.requantizer import payload_bits as requantizer_bits
from tetrit.verify.suites.requantizer import requantizer_case
from tetrit.verify.suites.shift_array import array_case, payload_bits, read_latency
from tetrit.verify.waves import Waves


def run_program(
    program: Program,
    x: npt.NDArray[np.int64],
    *,
    build_dir: Path | None = None,
    designs: Designs = DESIGNS,
    waves: Waves | None = None,
) -> list[BenchResult]:
    """Run every layer of a program on the Verilated array and requantiser; compare all outputs, and the array's cycles.

    One executable array serves all layers. Every tile of every layer runs, one layer after the other without a reset;
    partial sums that continue a tile are the array's own results. The requantiser gets all accumulators of a layer.

    Parameters
    ----------
    program : Program
        From `tetrit.hls.compile_network`.
    x : ndarray of int64, shape (batch, n_in)
        Integer inputs of the first layer.
    build_dir : Path, optional
        Where executable models are kept between runs; default ``build/verify``.
    designs : Designs
        The classes under test.
    waves : Waves, optional
        What is recorded of the array and of the requantisers, in a second run as far as the window goes.

    Returns
    -------
    list of BenchResult
        The array's, one per layer, then the requantiser's, one per layer.

    Raises
    ------
    ToolError
        A tool is missing, too old, or failed.
    """
    runs = execute(program, x)
    machine = program.shift_array
    array = Job(
        name=f"ShiftPEArray {machine.rows}x{machine.cols}",
        component="ShiftPEArray",
        design=partial(designs.array, machine),
        bench="streams",
        stimulus=stream_stimulus(
            [
                array_case(machine, run.input, run.layer.weight, run.layer.bias, run.layer.tiling, reset=index == 0)
                for index, run in enumerate(runs)
            ],
            payload_bits(machine),
            latency=read_latency(machine),
            depth=machine.rows + machine.cols,
            seed=0,
        ),
        gates=False,
    )
    jobs = [(array, runs)]
    for out_format in dict.fromkeys(run.layer.out_format for run in runs):
        chosen = [run for run in runs if run.layer.out_format == out_format]
        widths = (machine.acc_bits, out_format, machine.multiplier_bits)
        requantizer = Job(
            name=f"Requantizer to {out_format}",
            component="Requantizer",
            design=partial(designs.requantizer, *widths),
            bench="streams",
            stimulus=stream_stimulus([_requantized(run, *widths) for run in chosen], requantizer_bits(*widths), seed=0),
            gates=False,
        )
        jobs.append((requantizer, chosen))
    workbench = Workbench(build_dir, waves=waves)
    with ThreadPoolExecutor(max_workers=2) as pool:
        pending = [pool.submit(_by_layer, workbench, job, chosen) for job, chosen in jobs]
        return [result for future in pending for result in future.result()]


def _requantized(run: LayerRun, acc_bits: int, out_format: str, multiplier_bits: int) -> Case:
    """Return the case that sends all accumulators of a layer, row by row, through the requantiser."""
    layer = run.layer
    shape = run.run.output.shape
    return requantizer_case(
        run.run.output.ravel(),
        np.broadcast_to(layer.multiplier, shape).ravel(),
        np.broadcast_to(layer.shift, shape).ravel(),
        np.full(run.run.output.size, layer.relu),
        acc_bits,
        out_format,
        multiplier_bits,
    )


def _by_layer(workbench: Workbench, job: Job, runs: list[LayerRun]) -> list[BenchResult]:
    """Run a job with one case per layer, and split its outcome."""
    model = workbench.model(job, "rtl")
    observed: dict[str, Any] = workbench.observe(job, model)
    workbench.record(job, model, observed, [run.layer.name for run in runs])
    messages = [str(text) for text in observed["messages"]]
    [sink] = job.stimulus["sinks"]
    results = []
    for index, run in enumerate(runs):
        mismatches = int(observed["mismatches"][index])
        start = observed[f"start_{sink}"]
        own = [text.removeprefix(f"case {index}: ") for text in messages if text.startswith(f"case {index}: ")]
        results.append(
            BenchResult(
                name=f"{run.layer.name} on {job.component}",
                component=job.component,
                level="rtl",
                vectors=int(start[index + 1] - start[index]),
                mismatches=mismatches,
                cycles_rtl=int(observed["cycles"][index]),
                cycles_model=int(job.stimulus["cycles"][index]),
                cases=1,
                passed=mismatches == 0,
                message="; ".join(own[:5]),
            )
        )
    return results
