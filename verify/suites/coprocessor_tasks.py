"""The campaign of the co-processor: which units are built, and what each goes through."""

__all__ = ["UNITS", "emitted", "network_result", "slow_cases", "tasks"]

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from tetrit import rtl
from tetrit.hardware import Memory, ShiftArray, SimdEngine
from tetrit.rtl.coprocessor import MatmulCoprocessor
from tetrit.sim.coprocessor import Coprocessor, cycles, execute
from tetrit.train import digits
from tetrit.verify.batch import Library
from tetrit.verify.bench import Workbench
from tetrit.verify.results import BenchResult
from tetrit.verify.suites.coprocessor import simulate_cases, timing
from tetrit.verify.suites.coprocessor_batch import run_batch
from tetrit.verify.suites.coprocessor_jobs import Case, Waits, interrupted_cases, misuse_cases, random_cases, random_job
from tetrit.verify.suites.coprocessor_network import chain, digits_layers
from tetrit.verify.suites.designs import Designs
from tetrit.verify.suites.job import Task
from tetrit.verify.waves import Waves

DEFAULT_CASES = 280
SLOW = Waits(read_latency=20, write_latency=12, stall=(0.1, 0.1, 0.1, 0.1, 0.1))
"""The memory of the bench whose waits the model knows on average only."""

SLOW_TOLERANCE = 0.02
_SLOW_JOBS = 30
_SLOW_CYCLES = 3000
_PROTOCOL_JOBS = 8


def _sized(size_bytes: int, width_bits: int | None = None) -> Memory:
    return Memory(size_bytes=size_bytes, width_bits=width_bits)


UNITS: dict[str, Coprocessor] = {
    "SIMD 2x2": Coprocessor(
        machine=SimdEngine(rows=2, cols=2, weight_memory=_sized(256), act_memory=_sized(256), result_memory=_sized(64))
    ),
    "SIMD 3x4 posit8_0, narrow memories": Coprocessor(
        machine=SimdEngine(
            rows=3,
            cols=4,
            formats=("posit8_0",),
            quire_bits=64,
            weight_memory=_sized(1024, 16),
            act_memory=_sized(512, 24),
            result_memory=_sized(16, 20),
        ),
        data_bits=32,
        burst_beats=4,
    ),
    "SIMD 1x3 posit16_1, single words": Coprocessor(
        machine=SimdEngine(
            rows=1,
            cols=3,
            formats=("posit16_1",),
            mode_switch_cycles=3,
            weight_memory=_sized(512),
            act_memory=_sized(64),
            result_memory=_sized(6),
        ),
        data_bits=128,
        burst_beats=1,
    ),
    "SIMD 4x1 of 4-bit formats, 64-bit addresses": Coprocessor(
        machine=SimdEngine(
            rows=4,
            cols=1,
            formats=("fp4_e2m1", "posit4_1"),
            mode_switch_cycles=0,
            weight_memory=_sized(64),
            act_memory=_sized(2048),
            result_memory=_sized(100),
        ),
        data_bits=32,
        address_bits=64,
        burst_beats=256,
    ),
    "shift 3x4 szt": Coprocessor(
        machine=ShiftArray(
            rows=3,
            cols=4,
            dataflow="output_stationary",
            weight_memory=_sized(256),
            act_memory=_sized(512),
            acc_memory=_sized(64),
        )
    ),
    "shift 5x3 pot3z, narrow memories": Coprocessor(
        machine=ShiftArray(
            rows=5,
            cols=3,
            act_format="int5",
            weight_format="pot3z",
            acc_bits=26,
            dataflow="output_stationary",
            weight_memory=_sized(192, 4),
            act_memory=_sized(320, 7),
            acc_memory=_sized(12, 20),
        ),
        data_bits=32,
        burst_beats=2,
    ),
    "shift 1x2 posit4_1, 256-bit bus": Coprocessor(
        machine=ShiftArray(
            rows=1,
            cols=2,
            weight_format="posit4_1",
            acc_bits=30,
            dataflow="output_stationary",
            weight_memory=_sized(512),
            act_memory=_sized(512),
            acc_memory=_sized(400),
        ),
        data_bits=256,
    ),
}
"""What a campaign builds: both datapaths, buses of several widths, scratchpads so small that all of them overflow."""

NETWORK_UNIT = Coprocessor(
    machine=SimdEngine(
        rows=2,
        cols=2,
        formats=("fp4_e2m1", "posit8_0", "posit16_1"),
        weight_memory=_sized(4096),
        act_memory=_sized(4096),
        result_memory=_sized(256),
    )
)


def emitted(unit: Coprocessor, design: Callable[..., Any] = MatmulCoprocessor) -> str:
    """Return the Verilog of a unit."""
    component = design(
        unit.machine, data_bits=unit.data_bits, address_bits=unit.address_bits, burst_beats=unit.burst_beats
    )
    return rtl.to_verilog(component, "dut")


def slow_cases(unit: Coprocessor, rng: np.random.Generator, count: int) -> list[Case]:
    """Return jobs on the slow memory whose cycles must be within `SLOW_TOLERANCE` of the model's.

    They are so long that the luck of the waits, a standard deviation of about 0.25 percent, is far below that.
    """
    made: list[Case] = []
    while len(made) < count:
        job, memory = random_job(unit, rng, tiles=8, largest_k=800)
        if cycles.count(job, unit, timing(SLOW)).cycles >= _SLOW_CYCLES:
            made.append(Case(job=job, memory=memory, waits=SLOW, tolerance=SLOW_TOLERANCE))
    return made


def network_result(
    library: Library, unit: Coprocessor, images: int | None = None, waves: Waves | None = None
) -> tuple[BenchResult, float]:
    """Run the digit network on held-out images, job after job; return the result and the share of images it gets right.

    The cycles of every job must be the model's.
    """
    data = digits.load()
    labels = data.test_y[:images]
    network = chain(digits_layers(), data.test_x[:images].astype(np.float64) * data.in_scale, unit)
    memory = network.memory
    cases = []
    for job in network.jobs:
        cases.append(Case(job=job, memory=memory, tolerance=0.0))
        outcome = execute(memory, job, unit)
        memory = outcome.memory
    name = f"digits on SIMD {unit.machine.rows}x{unit.machine.cols}"
    result, _ = run_batch(library, unit, cases, name=name, waves=waves)
    values = network.decode(outcome.codes)
    return result, float((values.argmax(axis=1) == labels).mean())


def tasks(workbench: Workbench, designs: Designs, seed: int, cases: int | None) -> list[Task]:
    """Return the parts of the co-processor's campaign; `cases` counts jobs with exact cycles over all units."""
    total = DEFAULT_CASES if cases is None else cases
    count = -(-total // len(UNITS))
    made = []
    for index, (name, unit) in enumerate(UNITS.items()):
        verilog = partial(emitted, unit, designs.coprocessor)
        for run in (_protocol, _batch):
            task = partial(run, workbench, name, unit, verilog, [seed, 9, index], count)
            made.append(Task(name=f"MatmulCoprocessor {name}", run=task))
    made.append(Task(name="digits on MatmulCoprocessor", run=partial(_network, workbench, designs)))
    return made


def _protocol(
    workbench: Workbench, name: str, unit: Coprocessor, verilog: Callable[[], str], seed: list[int], count: int
) -> list[BenchResult]:
    """Run jobs, misuse and interruptions under cocotb, with a memory that never waits and with one that does."""
    model = workbench.build(verilog(), waves=workbench.waves is not None)
    results = []
    for stalls in (False, True):
        rng = np.random.default_rng([*seed, int(stalls)])
        made = random_cases(unit, rng, min(count, _PROTOCOL_JOBS), stalls=stalls)
        made += misuse_cases(unit, rng, stalls=stalls)
        made += interrupted_cases(unit, rng, _PROTOCOL_JOBS, stalls=stalls)
        title = f"MatmulCoprocessor {name}, {'memory that waits' if stalls else 'misuse and interruptions'}"
        case_seed = int(rng.integers(2**31))
        results.append(simulate_cases(model, unit, made, name=title, seed=case_seed, waves=workbench.waves)[0])
    return results


def _batch(
    workbench: Workbench, name: str, unit: Coprocessor, verilog: Callable[[], str], seed: list[int], count: int
) -> list[BenchResult]:
    """Run jobs whose cycles must be exact, and long ones on the slow memory."""
    library = workbench.coprocessor(verilog())
    rng = np.random.default_rng([*seed, 2])
    plain = [case for case in random_cases(unit, rng, 2 * count, stalls=False) if not case.act][:count]
    exact, _ = run_batch(library, unit, plain, name=f"MatmulCoprocessor {name}, exact cycles", waves=workbench.waves)
    slow, _ = run_batch(
        library,
        unit,
        slow_cases(unit, rng, _SLOW_JOBS),
        name=f"MatmulCoprocessor {name}, slow memory",
        seed=int(rng.integers(2**20)),
        waves=workbench.waves,
    )
    return [exact, slow]


def _network(workbench: Workbench, designs: Designs) -> list[BenchResult]:
    library = workbench.coprocessor(emitted(NETWORK_UNIT, designs.coprocessor))
    return [network_result(library, NETWORK_UNIT, waves=workbench.waves)[0]]
