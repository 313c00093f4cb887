"""Cases of the co-processor on the batch harness: thousands of jobs, their cycles, and long jobs on slow memories."""

__all__ = ["run_batch"]

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby

import numpy as np
import numpy.typing as npt

from tetrit.errors import ToolError
from tetrit.sim.coprocessor import Coprocessor
from tetrit.verify.batch import BatchCoprocessor, Library
from tetrit.verify.results import BenchResult
from tetrit.verify.suites import coprocessor
from tetrit.verify.suites.coprocessor_jobs import Case
from tetrit.verify.suites.coprocessor_waves import STATES, Stores
from tetrit.verify.waves import Tap, Waves
from tetrit.verify.waves.tracks import number_tracks

_PATIENCE = 2000


def run_batch(
    library: Library,
    unit: Coprocessor,
    cases: Sequence[Case],
    *,
    name: str,
    seed: int = 0,
    waves: Waves | None = None,
) -> tuple[BenchResult, list[int]]:
    """Run cases on a batch model; return the result, and the cycles of each case.

    Neighbouring cases with the same waits run one after the other without a reset.

    Parameters
    ----------
    library : Library
        The design, with the bus partners.
    unit : Coprocessor
        What it is built as.
    cases : sequence of Case
        Jobs that end well.
    name : str
        Of the result.
    seed : int
        Of the memory's waits.
    waves : Waves, optional
        What is recorded, of the first cases with the same waits among which there is a mismatch, or of the first ones,
        by a library that can.
    """
    memory = np.zeros(max(case.memory.size for case in cases), dtype=np.uint8)
    groups = [list(group) for _, group in groupby(cases, key=lambda case: case.waits)]
    done = [_group(library, unit, group, memory, seed + number) for number, group in enumerate(groups)]
    if waves is not None and library.waves:
        number = next((index for index, seen in enumerate(done) if any(seen.wrong)), 0)
        seen = done[number]
        mismatch = seen.stores.first_wrong
        if mismatch is None and any(seen.wrong):
            mismatch = seen.ended[next(index for index, wrong in enumerate(seen.wrong) if wrong)]
        window = waves.window(mismatch)
        before = sum(len(group) for group in groups[:number])
        numbers = number_tracks(window, seen.began, batch=True, first=before)
        added = [*numbers, *seen.stores.tracks(unit, window)]
        with waves.record(
            name,
            "MatmulCoprocessor",
            mismatch=mismatch,
            tracks=added,
            enumerations=STATES,
            ports=[port.name for port in library.ports],
        ) as tap:
            _group(library, unit, groups[number], memory, seed + number, tap)
    messages = []
    wrong: list[int] = []
    for seen in done:
        messages += [f"case {len(wrong) + index}{text}" for index, text in seen.messages]
        wrong += seen.wrong
    counted = [cycles for seen in done for cycles in seen.counted]
    predicted = [cycles for seen in done for cycles in seen.predicted]
    result = coprocessor.summed(cases, np.array(wrong), np.array(counted), np.array(predicted), messages, name)
    return result, counted


@dataclass(kw_only=True)
class _Seen:
    """What a group of cases gave: cycles, mismatches and complaints, and when each case was under way."""

    wrong: list[int] = field(default_factory=list)
    counted: list[int] = field(default_factory=list)
    predicted: list[int] = field(default_factory=list)
    messages: list[tuple[int, str]] = field(default_factory=list)
    began: list[int] = field(default_factory=list)
    ended: list[int] = field(default_factory=list)
    stores: Stores = field(default_factory=Stores)


def _group(
    library: Library,
    unit: Coprocessor,
    cases: Sequence[Case],
    memory: npt.NDArray[np.uint8],
    seed: int,
    tap: Tap | None = None,
) -> _Seen:
    """Run cases with the same waits in one design; with `tap` as far as the window goes."""
    seen, waits = _Seen(), cases[0].waits
    with BatchCoprocessor(
        library,
        memory,
        read_latency=waits.read_latency,
        write_latency=waits.write_latency,
        stall=waits.stall or (0.0,) * 5,
        seed=seed,
        tap=tap,
    ) as design:
        for index, case in enumerate(cases):
            if tap is not None and design.cycle >= tap.end:
                break
            session = coprocessor.Session.of(case, unit)
            model = coprocessor.counters(case, session)
            seen.began.append(design.cycle)
            counted, complaints = _run(design, unit, case, session, model)
            seen.ended.append(design.cycle)
            if design.records and tap is None:
                seen.stores.add(design, session.memory, unit.data_bytes)
            seen.messages += [(index, f": {text}") for text in complaints]
            seen.wrong.append(len(complaints))
            seen.counted.append(counted)
            seen.predicted.append(model[0])
        breaches, text = design.breaches
        if breaches and seen.wrong:
            seen.messages.append((len(seen.wrong) - 1, f" or before: {text}"))
            seen.wrong[-1] += breaches
    return seen


def _run(
    design: BatchCoprocessor, unit: Coprocessor, case: Case, session: coprocessor.Session, model: list[int]
) -> tuple[int, list[str]]:
    """Run one case; return its cycles, and what is wrong."""
    assert case.completes and not case.act and not case.failing
    complaints: list[str] = []
    design.memory[: case.memory.size] = case.memory
    for offset, value in coprocessor.register_writes(case.job, unit, case.changes):
        if not design.write(offset, value):
            complaints.append(f"register {offset:#x} is not taken")
    design.write(coprocessor.offset("CONTROL"), coprocessor.control("start"))
    assert session.model is not None
    try:
        design.wait(_PATIENCE + 12 * session.model.cycles)
    except ToolError as error:
        design.reset()
        return -1, [*complaints, str(error)]
    status = design.read(coprocessor.offset("STATUS"))
    if status & session.mask != session.status:
        complaints.append(f"status is {status & session.mask:#x}, expected {session.status:#x}")
    counted = [design.read(coprocessor.offset(f"{name}_LOW")) for name in coprocessor.COUNTERS]
    for index, (one, other) in enumerate(zip(counted, model, strict=True)):
        within = 0.0 if index else (case.tolerance or 0.0) * other
        if other >= 0 and abs(one - other) > within:
            what = f"counter {index} is {one}, expected" if index else f"{one} cycles, the model says"
            complaints.append(f"{what} {other}")
    after = design.memory[: case.memory.size]
    for at in np.flatnonzero(after != session.memory)[:2].tolist():
        complaints.append(f"byte {at:#x} is {after[at]:02x}, expected {session.memory[at]:02x}")
    design.write(coprocessor.offset("STATUS"), coprocessor.clear())
    return counted[0], complaints
