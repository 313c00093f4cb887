"""The authority for verifying a program of the SIMD engine: its real products on the Verilated array."""

__all__ = ["build_simd_array", "run_simd_program"]

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tetrit.errors import InvalidValueError
from tetrit.hardware import SimdEngine
from tetrit.sim.program import SimdProgram
from tetrit.sim.run import Run
from tetrit.sim.simd.execute import SimdLayerRun, SimdProduct, execute_simd
from tetrit.verify.bench import Workbench
from tetrit.verify.model import Model
from tetrit.verify.results import BenchResult
from tetrit.verify.suites.job import Case, Job, stream_stimulus
from tetrit.verify.suites.simd_array import payload_bits, product_case
from tetrit.verify.suites.simd_designs import SIMD_DESIGNS, SimdDesigns
from tetrit.verify.waves import Waves

_BIAS_BITS = 64
"""Bits of the integers that benches pack."""


def build_simd_array(
    machine: SimdEngine, *, build_dir: Path | None = None, designs: SimdDesigns = SIMD_DESIGNS, waves: bool = False
) -> Model:
    """Build the executable array of a machine, which `run_simd_program` takes; it is kept in `build_dir`.

    With `waves` it can record waveforms.

    Raises
    ------
    ToolError
        A tool is missing, too old, or failed.
    """
    workbench = Workbench(build_dir)
    return workbench.build(workbench.verilog(_job(machine, designs, {}), "rtl"), waves=waves)


def run_simd_program(
    program: SimdProgram,
    x: npt.ArrayLike,
    *,
    build_dir: Path | None = None,
    designs: SimdDesigns = SIMD_DESIGNS,
    model: Model | None = None,
    waves: Waves | None = None,
) -> list[BenchResult]:
    """Run every layer of a program on the Verilated array; compare all codes, and the cycles.

    One executable array serves all layers, one product after the other without a reset, so changes of formats are
    those of the program.

    Parameters
    ----------
    program : SimdProgram
        From `tetrit.hls.compile_network`.
    x : array_like of int, shape (batch, n_in)
        Codes of the first layer's inputs.
    build_dir : Path, optional
        Where executable models are kept between runs; default ``build/verify``.
    designs : SimdDesigns
        The classes under test.
    model : Model, optional
        Of `build_simd_array` for the program's machine; built here if it is not given.
    waves : Waves, optional
        What is recorded, in a second run as far as the window goes, of a model that can.

    Returns
    -------
    list of BenchResult
        One per layer.

    Raises
    ------
    InvalidValueError
        Inputs that do not fit, or a bias beyond 64 bits.
    ToolError
        A tool is missing, too old, or failed.
    """
    runs = execute_simd(program, x)
    machine = program.machine
    pairs = [(layer, part, run) for layer in runs for part, run in layer.products]
    stimulus = stream_stimulus(
        [_case(program, *pair, first=index == 0) for index, pair in enumerate(pairs)],
        payload_bits(machine),
        latency={"weights": machine.weight_memory.latency_cycles, "activations": machine.act_memory.latency_cycles},
        depth=machine.rows + machine.cols + machine.mac_latency + machine.readout_latency,
        seed=0,
    )
    job = _job(machine, designs, stimulus)
    recorded = waves is not None
    built = model or build_simd_array(machine, build_dir=build_dir, designs=designs, waves=recorded)
    workbench = Workbench(build_dir, waves=waves)
    observed = workbench.observe(job, built)
    workbench.record(job, built, observed, [layer.layer.name for layer, _, _ in pairs])
    layers = np.repeat(np.arange(len(runs)), [len(layer.products) for layer in runs])
    return [_result(job, observed, run, np.flatnonzero(layers == index)) for index, run in enumerate(runs)]


def _job(machine: SimdEngine, designs: SimdDesigns, stimulus: Mapping[str, npt.NDArray[Any]]) -> Job:
    return Job(
        name=f"SimdArray {machine.rows}x{machine.cols}",
        component="SimdArray",
        design=partial(designs.array, machine),
        bench="streams",
        stimulus=stimulus,
        gates=False,
    )


def _case(program: SimdProgram, done: SimdLayerRun, part: SimdProduct, run: Run, *, first: bool) -> Case:
    layer = done.layer
    bias = layer.bias[part.columns]
    if max((abs(entry) for entry in bias.tolist()), default=0) >= 1 << (_BIAS_BITS - 1):
        raise InvalidValueError(f"layer '{layer.name}': a bias needs more than the {_BIAS_BITS} bits of the bench")
    case = product_case(
        program.machine,
        done.input,
        layer.weight[:, part.columns],
        bias.astype(np.int64),
        pair=layer.pair,
        out_format=layer.out_format,
        relu=layer.relu,
        shift=part.shift,
        reset=first,
    )
    return replace(case, cycles=run.cycles)


def _result(
    job: Job, observed: dict[str, npt.NDArray[Any]], run: SimdLayerRun, cases: npt.NDArray[np.intp]
) -> BenchResult:
    """Return what the cases of one layer gave, together."""
    [sink] = job.stimulus["sinks"]
    start = observed[f"start_{sink}"]
    mismatches = int(observed["mismatches"][cases].sum())
    texts = [str(text) for text in observed["messages"]]
    own = [text.removeprefix(f"case {case}: ") for case in cases for text in texts if text.startswith(f"case {case}: ")]
    return BenchResult(
        name=f"{run.layer.name} on {job.component}",
        component=job.component,
        level="rtl",
        vectors=int(sum(start[case + 1] - start[case] for case in cases)),
        mismatches=mismatches,
        cycles_rtl=int(observed["cycles"][cases].sum()),
        cycles_model=int(job.stimulus["cycles"][cases].sum()),
        cases=len(cases),
        passed=mismatches == 0,
        message="; ".join(own[:5]),
    )
