"""The cycle model of the co-processor: exact for a memory of fixed latency.

Stepped rather than solved: fetches, array and write-back hold each other up through finite buffers, so each cycle's
hand-overs are followed one by one, in compiled code, without data. What is followed, with the sizes of
`Coprocessor` and `MatmulJob`:

- **fetcher**: for each tile its parameters, then for each chunk of the reduction the activations, then the weights; one
  of these a cycle. A store has two halves. What a half holds is not fetched again; what neither holds is fetched to the
  half that was not asked for last, once no reader needs it.
- **read bus**: a burst a cycle, at most 8 unanswered, never over 4 KiB; words come in order, one a cycle.
- **array**: as `tetrit.sim.simd.cycles` and `tetrit.sim.shift.cycles` have it, with the operands when they are there
  and the results when there is room. A job begins with the array reset, so any pair of formats but the one of codes 0
  costs the switch of formats.
- **write bus**: row after row of a tile, at most 8 bursts unanswered.

The job ends when all is written and answered. Cycles are those of the counter BUSY: from the check of the registers to
the last answer.
"""

__all__ = ["Counts", "MemoryTiming", "count"]

from dataclasses import dataclass

import numpy as np

from tetrit import checks
from tetrit.errors import InvalidValueError
from tetrit.hardware import SimdEngine
from tetrit.hardware.simd_engine import SIMD_FORMATS
from tetrit.sim.coprocessor import _kernels
from tetrit.sim.coprocessor.job import MatmulJob
from tetrit.sim.coprocessor.parts import _kernels as parts
from tetrit.sim.coprocessor.unit import Coprocessor

_MOST_CYCLES = 1 << 40
_DRAWS = 4
"""Runs whose mean is the answer for a memory that waits at random."""


@dataclass(frozen=True, kw_only=True)
class MemoryTiming:
    """What the co-processor's memory costs.

    Attributes
    ----------
    read_latency : int
        Cycles from that in which a burst's address is taken to that in which its first word is there, at the earliest.
    write_latency : int
        Cycles from that in which a burst's address and last word are taken to that in which its answer is there.
    stall : tuple of float
        Probability that a channel waits in a cycle: read address, read data, write address, write data, answer. With
        all of them 0 cycles are exact; otherwise they are the mean over a few draws of these waits.
    """

    read_latency: int = 2
    write_latency: int = 2
    stall: tuple[float, float, float, float, float] = (0.0, 0.0, 0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        for name in ("read_latency", "write_latency"):
            object.__setattr__(self, name, checks.integer(name, getattr(self, name)))
        shares = tuple(checks.real("stall", share, minimum=0.0) for share in self.stall)
        if len(shares) != 5 or max(shares) >= 1:
            raise InvalidValueError(f"`stall` must be five probabilities below 1, got {self.stall}")
        object.__setattr__(self, "stall", shares)


@dataclass(frozen=True, kw_only=True)
class Counts:
    """What the co-processor's counters say of a job.

    Attributes
    ----------
    cycles : int
        From the check of the registers to the last answer.
    stalled : int
        Of these, those in which the array took no operands.
    gated : int
        Of these, those in which no element had a step under way.
    steps : int
        Vectors of operands that the array took.
    read_words, written_words : int
        Words over the bus.
    """

    cycles: int
    stalled: int
    gated: int
    steps: int
    read_words: int
    written_words: int


def count(job: MatmulJob, unit: Coprocessor, timing: MemoryTiming | None = None) -> Counts:
    """Return the cycles of a job, and its other counters.

    Parameters
    ----------
    job : MatmulJob
        One that the unit can do, see `MatmulJob.check`.
    unit : Coprocessor
        Which one.
    timing : MemoryTiming, optional
        Of its memory; default: latencies of 2 and no waits.

    Examples
    --------
    >>> from tetrit.hardware import SimdEngine
    >>> from tetrit.sim.coprocessor import Coprocessor, MatmulJob
    >>> from tetrit.sim.coprocessor.cycles import count
    >>> unit = Coprocessor(machine=SimdEngine(rows=8, cols=8))
    >>> formats = dict(act_format="posit8_0", weight_format="posit8_0", out_format="posit8_0")
    >>> job = MatmulJob(m=8, k=64, n=8, **formats).placed(unit)
    >>> count(job, unit).read_words  # 64 of A, 64 of W, 16 of parameters
    144
    """
    timing = timing or MemoryTiming()
    numbers, share = _numbers(job, unit, timing), np.array(timing.stall, dtype=np.float64)
    runs = np.zeros((_DRAWS if share.any() else 1, 6), dtype=np.int64)
    for seed, out in enumerate(runs):
        _kernels.run(numbers, share, seed, _MOST_CYCLES, out)
    cycles, stalled, gated, steps, read_words, written_words = (round(float(mean)) for mean in runs.mean(axis=0))
    return Counts(
        cycles=cycles,
        stalled=stalled,
        gated=gated,
        steps=steps,
        read_words=read_words,
        written_words=written_words,
    )


def _numbers(job: MatmulJob, unit: Coprocessor, timing: MemoryTiming) -> parts.State:
    """Return what the kernel is told of a job on a unit."""
    machine = unit.machine
    found = unit.containers(job.act_format, job.weight_format)
    numbers = {
        parts.M: job.m,
        parts.N: job.n,
        parts.STEPS: -(-job.k // found.codes_per_step),
        parts.N_OUTER: int(job.order == "nm"),
        parts.PARAMS: int(job.parameters),
        parts.ROWS: machine.rows,
        parts.COLS: machine.cols,
        parts.CHUNK: unit.chunk_steps(found),
        parts.RECORD_WORDS: unit.words(unit.record_bytes),
        parts.ACT_PER_WORD: unit.data_bits // found.act_step_bits,
        parts.WEIGHT_PER_WORD: unit.data_bits // found.weight_step_bits,
        parts.BUS_BYTES: unit.data_bytes,
        parts.BURST: unit.burst_beats,
        parts.ACT_WORDS: machine.act_words,
        parts.WEIGHT_WORDS: machine.weight_words,
        parts.DEPTH: machine.pipeline_depth,
        parts.FIFO_ROWS: unit.result_rows,
        parts.CODE_BITS: job.code_bits,
        parts.A_BASE: job.a_base,
        parts.A_STRIDE: job.a_stride,
        parts.W_BASE: job.w_base,
        parts.W_STRIDE: job.w_stride,
        parts.P_BASE: job.p_base,
        parts.C_BASE: job.c_base,
        parts.C_STRIDE: job.c_stride,
        parts.READ_LATENCY: timing.read_latency,
        parts.WRITE_LATENCY: timing.write_latency,
    }
    if isinstance(machine, SimdEngine):
        same = (job.act_format, job.weight_format) == (SIMD_FORMATS[0], SIMD_FORMATS[0])
        numbers |= {
            parts.SIMD: 1,
            parts.RESULT_WORDS: machine.result_words,
            parts.START_LATENCY: machine.mac_latency,
            parts.SWITCH: 0 if same else machine.mode_switch_cycles,
            parts.FLIGHT: machine.rows + machine.cols - 1 + machine.mac_latency,
        }
    else:
        numbers |= {
            parts.SIMD: 0,
            parts.RESULT_WORDS: machine.acc_words,
            parts.START_LATENCY: 1,
            parts.SWITCH: 0,
            parts.FLIGHT: machine.rows + machine.cols,
        }
    assert set(numbers) == set(range(parts.N_PARAMETERS))
    return np.array([numbers[place] for place in range(parts.N_PARAMETERS)], dtype=np.int64)
