"""What the co-processor is verified with: jobs, the memory that they find, waits, misuse, and what must come of it."""

__all__ = [
    "Case",
    "Waits",
    "fill",
    "interrupted_cases",
    "misuse_cases",
    "random_cases",
    "random_job",
]

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from tetrit import formats
from tetrit.hardware import ShiftArray, SimdEngine
from tetrit.hardware.simd_engine import SIMD_FORMATS
from tetrit.sim.coprocessor import Coprocessor, MatmulJob, cycles, load
from tetrit.sim.requantize import dyadic

Memory = npt.NDArray[np.uint8]
Stall = tuple[float, float, float, float, float]

_LARGEST_K = 40
_LONG_JOB = 80
"""Cycles of a job that are enough for the host to try a few registers."""


@dataclass(frozen=True, kw_only=True)
class Waits:
    """How the memory behind the bus behaves.

    Attributes
    ----------
    read_latency, write_latency : int
        See `MemoryTiming`.
    stall : tuple of float or None
        Probability that it waits in a cycle, per channel: read address, read data, write address, write data, answer.
        None: never, and latencies are kept to the cycle.
    """

    read_latency: int = 1
    write_latency: int = 1
    stall: Stall | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Case:
    """One job, the memory that it finds, and what happens meanwhile.

    Attributes
    ----------
    job : MatmulJob
        One that the unit can do, whatever `changes` make of it.
    memory : ndarray of uint8
        All of it, with operands and parameters in place.
    waits : Waits
        Of the memory; ``stall`` is given in all cases of a run or in none.
    tolerance : float or None
        Share by which the cycles may differ from the model's; None: they are not compared.
    changes : mapping of (register, field) to int
        Fields that are set to something else than the job says.
    expects : tuple of str
        Bits of STATUS that are set at the end: ``done`` or errors.
    failing : sequence of (int, int, str)
        Bytes whose transfers are answered with an error: first, end, and ``read``, ``write``, ``read decode`` or
        ``write decode``.
    act : {"", "abort", "reset", "poke"}
        What the host does `act_cycle` cycles after the start; a poke writes locked registers.
    bytewise : bool
        Whether registers are written byte by byte.
    """

    job: MatmulJob
    memory: Memory
    waits: Waits = field(default_factory=Waits)
    tolerance: float | None = None
    changes: Mapping[tuple[str, str], int] = field(default_factory=dict)
    expects: tuple[str, ...] = ("done",)
    failing: Sequence[tuple[int, int, str]] = ()
    act: str = ""
    act_cycle: int = 0
    bytewise: bool = False

    @property
    def refused(self) -> bool:
        """Whether the job is to end before anything is read."""
        return bool(set(self.expects) & {"misaligned", "bad_size", "bad_format", "too_many_terms"})

    @property
    def completes(self) -> bool:
        """Whether all of the result is to be written."""
        return self.expects == ("done",) and self.act in ("", "poke")


def random_job(
    unit: Coprocessor, rng: np.random.Generator, *, tiles: float = 3.0, largest_k: int = _LARGEST_K
) -> tuple[MatmulJob, Memory]:
    """Return a job of random shape, formats, places and operands, and the memory for it.

    Parameters
    ----------
    unit : Coprocessor
        For which it is.
    rng : numpy.random.Generator
        Source.
    tiles : float
        How many tiles each side of the result may have.
    largest_k : int
        Greatest length of the reduction.
    """
    machine = unit.machine
    m, n = (int(rng.integers(1, int(tiles * size) + 2)) for size in (machine.rows, machine.cols))
    if isinstance(machine, SimdEngine):
        names = [str(rng.choice(machine.formats)) for _ in range(3)]
    else:
        names = [machine.act_format, machine.weight_format, machine.act_format]
    containers = [b for b in (4, 8, 16) if b >= formats.get(names[2]).bits and b * machine.cols % 8 == 0]
    if isinstance(machine, SimdEngine):
        mode = machine.mode(names[0], names[1])
        largest_k = min(largest_k, mode.lanes * mode.max_terms)
    job = MatmulJob(
        m=m,
        k=int(rng.integers(1, largest_k + 1)),
        n=n,
        act_format=names[0],
        weight_format=names[1],
        out_format=names[2],
        relu=bool(rng.random() < 0.3),
        shift=int(rng.integers(-10, 11)) if isinstance(machine, SimdEngine) else 0,
        order="mn" if rng.random() < 0.5 else "nm",
        result_bits=int(rng.choice(containers)),
        parameters=isinstance(machine, ShiftArray) or bool(rng.random() < 0.8),
    )
    job, end = _placed(job, unit, rng)
    job.check(unit)
    memory = rng.integers(0, 256, end + 64, dtype=np.uint8)
    fill(memory, job, unit, rng)
    return job, memory


def _placed(job: MatmulJob, unit: Coprocessor, rng: np.random.Generator) -> tuple[MatmulJob, int]:
    """Return a job with its buffers in random order, gaps between them and their rows, and where they end."""
    step = unit.data_bytes
    at = 0
    places: dict[str, int] = {}
    sizes = dict(zip("awc", job.row_bytes(unit), strict=True))
    counts = {"a": job.m, "w": job.n, "c": job.m}
    for letter in rng.permutation(list("awcp")).tolist():
        at += int(rng.choice([0, 1, 5, int(rng.integers(0, 4160 // step))])) * step
        places[f"{letter}_base"] = at
        if letter == "p":
            at += job.parameter_bytes(unit)
            continue
        stride = (unit.words(sizes[letter]) + int(rng.choice([0, 0, 1, 3]))) * step
        places[f"{letter}_stride"] = stride
        at += counts[letter] * stride
    return job.replace(**places), at


def fill(memory: Memory, job: MatmulJob, unit: Coprocessor, rng: np.random.Generator) -> None:
    """Write random operands and parameters of a job into memory."""
    machine = unit.machine
    operands: list[npt.NDArray[Any]] = []
    nar = isinstance(machine, SimdEngine) and rng.random() < 0.2
    for name, shape in ((job.act_format, (job.m, job.k)), (job.weight_format, (job.k, job.n))):
        found = formats.get(name)
        codes = np.arange(1 << found.bits)
        operands.append(rng.choice(codes[nar | ~np.isnan(found.values)], size=shape))
    if isinstance(machine, SimdEngine):
        bias = rng.integers(-(1 << 14), 1 << 14, size=job.n) if job.parameters else None
        load(memory, job, unit, a=operands[0], w=operands[1], bias=bias)
        return
    low, high = int(machine.activations.integers.min()), int(machine.activations.integers.max())
    spread = np.sqrt(job.k) * high * float(np.abs(machine.weights.integers[operands[1]]).mean() + 1)
    multiplier, shift = dyadic(
        high / spread * rng.uniform(0.3, 2.0, job.n), multiplier_bits=machine.multiplier_bits, acc_bits=machine.acc_bits
    )
    load(
        memory,
        job,
        unit,
        a=rng.integers(low, high + 1, size=(job.m, job.k)),
        w=operands[1],
        bias=rng.integers(-300, 300, size=job.n),
        multiplier=multiplier,
        shift=shift,
    )


def random_cases(unit: Coprocessor, rng: np.random.Generator, count: int, *, stalls: bool) -> list[Case]:
    """Return jobs that end well: cycles to be exact, or a memory that waits at random."""
    made = []
    for number in range(count):
        job, memory = random_job(unit, rng)
        latencies = (int(latency) for latency in rng.integers(1 + stalls, 10, size=2))
        waits = Waits(
            read_latency=next(latencies), write_latency=next(latencies), stall=_stall(rng) if stalls else None
        )
        long = cycles.count(job, unit).cycles >= _LONG_JOB
        made.append(
            Case(
                job=job,
                memory=memory,
                waits=waits,
                tolerance=None if stalls else 0.0,
                bytewise=number % 8 == 0,
                act="poke" if number % 4 == 1 and long and not stalls else "",
            )
        )
    return made


def _stall(rng: np.random.Generator) -> Stall:
    shares = rng.choice([0.0, 0.1, 0.5, 0.9], size=5, p=[0.4, 0.3, 0.2, 0.1])
    return float(shares[0]), float(shares[1]), float(shares[2]), float(shares[3]), float(shares[4])


def interrupted_cases(unit: Coprocessor, rng: np.random.Generator, count: int, *, stalls: bool) -> list[Case]:
    """Return jobs that are aborted or broken off by a reset at some time, each with a whole job after it."""
    made = []
    for number in range(count):
        waits = Waits(stall=_stall(rng)) if stalls else Waits()
        last = 0
        while last < 1:
            job, memory = random_job(unit, rng)
            last = int(0.7 * cycles.count(job, unit, cycles.MemoryTiming(read_latency=1)).cycles) - 8
        act = "abort" if number % 2 else "reset"
        expects = ("aborted",) if act == "abort" else ("done",)
        at = 0 if number % 8 == 1 else int(rng.integers(1, last + 1))
        made.append(Case(job=job, memory=memory, waits=waits, act=act, act_cycle=at, expects=expects))
        made.append(_good(unit, rng, waits))
    return made


def misuse_cases(unit: Coprocessor, rng: np.random.Generator, *, stalls: bool) -> list[Case]:
    """Return jobs that the unit must refuse, and jobs that meet errors of the bus, each with a whole job after it."""
    wrong = [*_refusals(unit), *_failures()]
    made = []
    for changes, expects, failing in wrong:
        job, memory = random_job(unit, rng)
        job = job.replace(parameters=True)
        job, end = _placed(job, unit, rng)
        memory = rng.integers(0, 256, end + 64, dtype=np.uint8)
        fill(memory, job, unit, rng)
        waits = Waits(stall=_stall(rng)) if stalls else Waits()
        places = [(*_some_bytes(job, unit, rng, letter), kind) for letter, kind in failing]
        made.append(Case(job=job, memory=memory, waits=waits, changes=changes, expects=expects, failing=places))
        made.append(_good(unit, rng, waits))
    job, memory = random_job(unit, rng)
    if isinstance(unit.machine, SimdEngine):  # an address that is not used may be anything
        job = job.replace(parameters=False)
        made.append(Case(job=job, memory=memory, waits=waits, changes={("P_BASE_LOW", "value"): 1}))
    return made


def _some_bytes(job: MatmulJob, unit: Coprocessor, rng: np.random.Generator, letter: str) -> tuple[int, int]:
    """Return a byte of operands or parameters, or all those of the results."""
    first, end = job.spans(unit)[letter]
    if letter == "c":
        return first, end
    at = int(rng.integers(first, end))
    if letter in "aw":
        rows, stride = (job.m, job.a_stride) if letter == "a" else (job.n, job.w_stride)
        at = first + int(rng.integers(rows)) * stride + int(rng.integers(job.row_bytes(unit)["aw".index(letter)]))
    return at, at + 1


def _good(unit: Coprocessor, rng: np.random.Generator, waits: Waits) -> Case:
    job, memory = random_job(unit, rng)
    return Case(job=job, memory=memory, waits=waits, tolerance=None if waits.stall else 0.0)


Wrong = tuple[dict[tuple[str, str], int], tuple[str, ...], list[tuple[str, str]]]


def _failures() -> list[Wrong]:
    """Return which buffers fail, and how the job ends."""
    kinds = chain(((letter, "read") for letter in "awp"), ((letter, "read decode") for letter in "aw"))
    found: list[Wrong] = [({}, ("read_error",), [(letter, kind)]) for letter, kind in kinds]
    return [*found, *(({}, ("write_error",), [("c", kind)]) for kind in ("write", "write decode"))]


def _refusals(unit: Coprocessor) -> list[Wrong]:
    """Return what is set in place of what the job says, and how it ends."""
    machine = unit.machine
    bases = ("A_BASE_LOW", "W_BASE_LOW", "C_BASE_LOW", "P_BASE_LOW", "A_STRIDE", "W_STRIDE", "C_STRIDE")
    changes: list[tuple[dict[tuple[str, str], int], tuple[str, ...]]] = [
        ({(name, "value"): 0x1000 + unit.data_bytes // 2}, ("misaligned",)) for name in bases
    ]
    changes += [({("A_BASE_LOW", "value"): 1}, ("misaligned",))]
    changes += [({(name, "value"): 0}, ("bad_size",)) for name in "MKN"]
    changes += [({("M", "value"): 0, ("C_STRIDE", "value"): 2}, ("misaligned", "bad_size"))]
    names = ("act_format", "weight_format", "out_format")
    if isinstance(machine, SimdEngine):
        lacked = [code for code, name in enumerate(SIMD_FORMATS) if name not in machine.formats] + [4, 15]
        changes += [({("MODE", names[index % 3]): code}, ("bad_format",)) for index, code in enumerate(lacked)]
        widest = max(machine.formats, key=lambda name: formats.get(name).bits)
        if formats.get(widest).bits > 4:
            changes += [
                ({("MODE", "out_format"): SIMD_FORMATS.index(widest), ("MODE", "container"): 0}, ("bad_format",))
            ]
        mode = machine.mode(widest, widest)
        most, pair = mode.max_terms * mode.lanes, SIMD_FORMATS.index(widest)
        if most < 1 << 32:
            selectors = {("MODE", "act_format"): pair, ("MODE", "weight_format"): pair}
            changes += [({**selectors, ("K", "value"): most + 1}, ("too_many_terms",))]
    else:
        changes += [({("MODE", name): 1}, ("bad_format",)) for name in names]
        changes += [({("MODE", "params"): 0}, ("bad_format",))]
        largest = [max(abs(end) for end in found.integer_range) for found in (machine.activations, machine.weights)]
        most = ((1 << (machine.acc_bits - 1)) - 1) // (largest[0] * largest[1])
        changes += [({("K", "value"): most + 1}, ("too_many_terms",))]
    if machine.cols % 2:
        narrow = {("MODE", "container"): 0}
        if isinstance(machine, SimdEngine) and "fp4_e2m1" in machine.formats:
            narrow |= {("MODE", "out_format"): 0}
        changes += [(narrow, ("bad_format",))]
    changes += [({("MODE", "container"): 3}, ("bad_format",))]
    return [(change, expects, []) for change, expects in changes]
