"""Cases of the co-processor on the batch harness: thousands of jobs, their cycles, and long jobs on slow memories."""

__all__ = ["run_batch"]

from collections.abc import Sequence
from itertools import groupby

import numpy as np

from tetrit.errors import ToolError
from tetrit.sim.coprocessor import Coprocessor
from tetrit.verify.batch import BatchCoprocessor, Library
from tetrit.verify.results import BenchResult
from tetrit.verify.suites import coprocessor
from tetrit.verify.suites.coprocessor_jobs import Case

_PATIENCE = 2000


def run_batch(
    library: Library, unit: Coprocessor, cases: Sequence[Case], *, name: str, seed: int = 0
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
    """
    messages: list[str] = []
    wrong: list[int] = []
    seen: list[int] = []
    predicted: list[int] = []
    memory = np.zeros(max(case.memory.size for case in cases), dtype=np.uint8)
    for number, (waits, group) in enumerate(groupby(cases, key=lambda case: case.waits)):
        with BatchCoprocessor(
            library,
            memory,
            read_latency=waits.read_latency,
            write_latency=waits.write_latency,
            stall=waits.stall or (0.0,) * 5,
            seed=seed + number,
        ) as design:
            for case in group:
                session = coprocessor.Session.of(case, unit)
                model = coprocessor.counters(case, session)
                counted, complaints = _run(design, unit, case, session, model)
                messages += [f"case {len(wrong)}: {text}" for text in complaints]
                wrong.append(len(complaints))
                seen.append(counted)
                predicted.append(model[0])
            breaches, text = design.breaches
            if breaches:
                messages.append(f"case {len(wrong) - 1} or before: {text}")
                wrong[-1] += breaches
    result = coprocessor.summed(cases, np.array(wrong), np.array(seen), np.array(predicted), messages, name)
    return result, seen


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
