"""How the co-processor is verified: cases as registers and bytes, run under cocotb or by the batch harness."""

__all__ = [
    "COUNTERS",
    "Session",
    "clear",
    "control",
    "counters",
    "offset",
    "reads",
    "register_writes",
    "simulate_cases",
    "stimulus",
    "summed",
    "timing",
]

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tetrit.hardware import SimdEngine
from tetrit.rtl.coprocessor.registers import REGISTERS, Access, Field, register
from tetrit.rtl.simd.modes import FORMAT_CODES
from tetrit.sim.coprocessor import Coprocessor, MatmulJob, cycles, execute
from tetrit.verify.model import Model
from tetrit.verify.results import BenchResult
from tetrit.verify.simulate import simulate
from tetrit.verify.suites.coprocessor_jobs import Case, Waits
from tetrit.verify.suites.coprocessor_waves import STATES
from tetrit.verify.waves import Waves
from tetrit.verify.waves.tracks import number_tracks

COUNTERS = ("BUSY", "STALLED", "GATED", "STEPS", "READ_WORDS", "WRITTEN_WORDS")
_ACTS = {"": 0, "abort": 1, "reset": 2, "poke": 3}
_FAILURES = {"read": 0, "write": 1, "read decode": 2, "write decode": 3}
_LOCKED = ("M", "MODE", "A_BASE_LOW", "C_STRIDE")
_PARTNER_LATENCY = 2
"""Latency that cocotbext-axi's memory has by itself."""

_PATIENCE = 4000
"""Cycles beyond those that the model predicts, times what waits may cost, before a job is given up."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Session:
    """What a case must leave behind.

    Attributes
    ----------
    memory : ndarray of uint8
        After the job, if it completes; else each byte is this or what it was.
    status, mask : int
        The bits of STATUS, and which of them count.
    model : Counts or None
        Counters, if it completes.
    """

    memory: npt.NDArray[np.uint8]
    status: int
    mask: int
    model: cycles.Counts | None

    @classmethod
    def of(cls, case: Case, unit: Coprocessor) -> "Session":
        """Return what a case must leave behind."""
        fields = register("STATUS").fields
        status = sum(_field("STATUS", name).mask for name in case.expects)
        mask = sum(part.mask for part in fields)
        if case.refused:
            return cls(memory=case.memory, status=status, mask=mask, model=None)
        outcome = execute(case.memory, case.job, unit)
        if not case.completes:  # whether a NaR was met before the end is not said
            return cls(memory=outcome.memory, status=status, mask=mask & ~_field("STATUS", "nar").mask, model=None)
        status |= _field("STATUS", "nar").mask * outcome.nar
        model = cycles.count(case.job, unit, timing(case.waits))
        return cls(memory=outcome.memory, status=status, mask=mask, model=model)


def offset(name: str) -> int:
    """Return a register's offset."""
    return register(name).offset


def _field(name: str, part: str) -> Field:
    return next(found for found in register(name).fields if found.name == part)


def control(part: str) -> int:
    """Return what CONTROL is set to for `part`, interrupts on."""
    return sum(_field("CONTROL", name).mask for name in (part, "irq_done", "irq_error"))


def clear() -> int:
    """Return what STATUS is set to so that all its bits are cleared."""
    return sum(part.mask for part in register("STATUS").accessible(Access.CLEAR))


def register_writes(
    job: MatmulJob, unit: Coprocessor, changes: Mapping[tuple[str, str], int] | None = None
) -> list[tuple[int, int]]:
    """Return the registers' offsets and values that describe a job, in order; `changes` replace single fields."""
    simd = isinstance(unit.machine, SimdEngine)
    values: dict[tuple[str, str], int] = {
        ("MODE", "act_format"): FORMAT_CODES[job.act_format] if simd else 0,
        ("MODE", "weight_format"): FORMAT_CODES[job.weight_format] if simd else 0,
        ("MODE", "out_format"): FORMAT_CODES[job.out_format] if simd else 0,
        ("MODE", "relu"): int(job.relu),
        ("MODE", "params"): int(job.parameters),
        ("MODE", "container"): {4: 0, 8: 1, 16: 2}[job.code_bits],
        ("SHIFT", "shift"): job.shift,
        ("M", "value"): job.m,
        ("K", "value"): job.k,
        ("N", "value"): job.n,
        ("ORDER", "n_outer"): int(job.order == "nm"),
    }
    for letter in "AWCP":
        base = getattr(job, f"{letter.lower()}_base")
        values[f"{letter}_BASE_LOW", "value"] = base & 0xFFFFFFFF
        values[f"{letter}_BASE_HIGH", "value"] = base >> 32
        if letter != "P":
            values[f"{letter}_STRIDE", "value"] = getattr(job, f"{letter.lower()}_stride")
    words: dict[int, int] = {}
    for (name, part), value in (values | dict(changes or {})).items():
        place = _field(name, part)
        at = offset(name)
        words[at] = words.get(at, 0) | ((value << place.low) & place.mask)
    return list(words.items())


def timing(waits: Waits) -> cycles.MemoryTiming:
    """Return what the model is told of the memory."""
    return cycles.MemoryTiming(
        read_latency=waits.read_latency, write_latency=waits.write_latency, stall=waits.stall or (0.0,) * 5
    )


def reads(case: Case, unit: Coprocessor) -> list[tuple[int, int]]:
    """Return the ranges of bytes that a case may read: whole words of its operands and parameters."""
    if case.refused:
        return []
    step = unit.data_bytes
    spans = case.job.spans(unit)
    return [(low, -(-high // step) * step) for low, high in (spans[letter] for letter in "awp")]


def stimulus(cases: Sequence[Case], unit: Coprocessor, *, seed: int) -> dict[str, npt.NDArray[Any]]:
    """Return the stimulus of the bench for some cases."""
    fixed = cases[0].waits.stall is None
    assert all((case.waits.stall is None) == fixed for case in cases)
    added = 0 if fixed else _PARTNER_LATENCY
    used = {entry.offset for entry in REGISTERS}
    fixed_bits = [(entry, sum(part.mask for part in entry.accessible(Access.CONSTANT))) for entry in REGISTERS]
    arrays: dict[str, npt.NDArray[Any]] = {
        "fixed": np.array(fixed),
        "burst_beats": np.array(unit.burst_beats),
        "control": np.array(offset("CONTROL")),
        "start": np.array(control("start")),
        "abort": np.array(control("abort")),
        "status_offset": np.array(offset("STATUS")),
        "clear": np.array(clear()),
        "counter_offsets": np.array([offset(f"{name}_LOW") for name in COUNTERS]),
        "locked": np.array([offset(name) for name in _LOCKED]),
        "unused": np.array([at for at in range(0, max(used) + 8, 4) if at not in used]),
        "constant": np.array([entry.offset for entry, mask in fixed_bits if mask]),
        "stall": np.array([case.waits.stall or (0.0,) * 5 for case in cases], dtype=np.float64),
        "latency": np.array([(case.waits.read_latency - added, case.waits.write_latency) for case in cases]),
        "act": np.array([_ACTS[case.act] for case in cases]),
        "act_cycle": np.array([case.act_cycle for case in cases]),
        "bytewise": np.array([case.bytewise for case in cases]),
        "complete": np.array([case.completes or case.refused for case in cases]),
        "tolerance": np.array([case.tolerance or 0.0 for case in cases]),
        "seed": np.array(seed),
    }
    sessions = [Session.of(case, unit) for case in cases]
    for index, (case, session) in enumerate(zip(cases, sessions, strict=True)):
        failing = [(low, high, _FAILURES[kind]) for low, high, kind in case.failing]
        arrays[f"memory_{index}"] = case.memory
        arrays[f"expected_{index}"] = session.memory
        arrays[f"writes_{index}"] = np.array(register_writes(case.job, unit, case.changes), dtype=np.int64)
        arrays[f"spans_{index}"] = np.array(reads(case, unit), dtype=np.int64).reshape(-1, 2)
        arrays[f"fail_{index}"] = np.array(failing, dtype=np.int64).reshape(-1, 3)
    arrays["status"] = np.array([session.status for session in sessions])
    arrays["status_mask"] = np.array([session.mask for session in sessions])
    arrays["counters"] = np.array(
        [counters(case, session) for case, session in zip(cases, sessions, strict=True)], dtype=np.int64
    )
    arrays["patience"] = np.array(_PATIENCE + 12 * max(s.model.cycles if s.model else 0 for s in sessions))
    return arrays


def counters(case: Case, session: Session) -> list[int]:
    """Return what the counters must say, -1 where nothing is predicted: cycles first, and within `tolerance`."""
    model = session.model
    if model is None:
        return [-1] * len(COUNTERS)
    work = [model.steps, model.read_words, model.written_words]
    if case.tolerance is None:
        return [-1, -1, -1, *work]
    return [model.cycles, *([model.stalled, model.gated] if case.tolerance == 0 else [-1, -1]), *work]


def simulate_cases(
    model: Model, unit: Coprocessor, cases: Sequence[Case], *, name: str, seed: int = 0, waves: Waves | None = None
) -> tuple[BenchResult, dict[str, npt.NDArray[Any]]]:
    """Run cases under cocotb on a model; return the result, and what the bench observed.

    With `waves` they run again as far as the window goes, on a model that can record it. A mismatch is known by the end
    of its case.
    """
    arrays = stimulus(cases, unit, seed=seed)
    observed = simulate(model, "coprocessor", arrays)
    if waves is not None and model.waves:
        wrong = np.flatnonzero(observed["mismatches"])
        mismatch = int(observed["ended"][wrong[0]]) if wrong.size else None
        began = np.concatenate([[0], observed["ended"][:-1] + 1])
        with waves.record(
            name,
            "MatmulCoprocessor",
            mismatch=mismatch,
            tracks=number_tracks(waves.window(mismatch), began, batch=False),
            enumerations=STATES,
            ports=[port.name for port in model.ports],
        ) as tap:
            simulate(model, "coprocessor", arrays, tap)
    predicted = arrays["counters"][:, 0]
    messages = [str(text) for text in observed["messages"]]
    return summed(cases, observed["mismatches"], observed["cycles"], predicted, messages, name), observed


def summed(
    cases: Sequence[Case],
    mismatches: npt.NDArray[Any],
    seen: npt.NDArray[Any],
    predicted: npt.NDArray[Any],
    messages: Sequence[str],
    name: str,
) -> BenchResult:
    """Return the result of cases from what was seen in each."""
    exact = np.array([case.tolerance == 0 for case in cases]) & (predicted >= 0)
    count = int(mismatches.sum())
    return BenchResult(
        name=name,
        component="MatmulCoprocessor",
        level="rtl",
        vectors=sum(case.job.m * case.job.n for case in cases if case.completes),
        mismatches=count,
        cycles_rtl=int(seen[exact].sum()) if exact.any() else None,
        cycles_model=int(predicted[exact].sum()) if exact.any() else None,
        cases=int(exact.sum()),
        passed=count == 0,
        message="; ".join(messages[:5]),
    )
