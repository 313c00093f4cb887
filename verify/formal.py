"""The authority for what is proved of components, for all inputs: miters given to Yosys' SAT solver.

These are identities of combinational parts: decoder before encoder for every format and lane, with anything in the
other lanes, and the multiplier's products. One product of 13 x 13 bits is beyond the solver: it proves those with the
second factor within each field of bits, and a batch model tries all 2**26 pairs.
"""

__all__ = ["PRODUCT_FIELDS", "Claim", "Proof", "claims", "every_product", "prove", "solve"]

import re
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from amaranth.lib.wiring import Component

from tetrit import checks, formats, rtl
from tetrit.hardware.simd_engine import PORT_BITS, SIMD_FORMATS
from tetrit.rtl import yosys
from tetrit.rtl.simd.modes import FORMAT_CODES
from tetrit.verify.batch import BatchModel
from tetrit.verify.bench import TOP, Workbench
from tetrit.verify.formal_designs import PRODUCT_FIELDS, SLOTS, ProductMiter, RoundTripMiter
from tetrit.verify.suites.simd_designs import SIMD_DESIGNS, SimdDesigns

_AT_ONCE = 256
"""First factors of one run of the batch model."""

_FLAGS = {1: "one", 2: "two", 4: "four"}
_PRODUCTS = {1: "one product of 13 x 13 bits", 2: "two products of 6 x 6 bits", 4: "four products of 2 x 2 bits"}
_FIELDS = ((0, 3), (3, 7), (7, 10), (10, 13))
_SUCCESS, _FAILURE, _TIMEOUT = "no model found: SUCCESS!", "model found: FAIL!", "TIMEOUT"
_SIGNAL = re.compile(r"^\s+\\(?P<name>\w+)\s+\S+\s+(?P<hex>[0-9a-f]+)\s+[01]+\s*$", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Proof:
    """What the solver found.

    Attributes
    ----------
    name : str
        What was to be proved.
    component : str
        Of which component.
    method : {"SAT", "every case"}
        The solver, or a batch model on all inputs that there are.
    proved : bool
        Whether it holds for all inputs.
    counterexample : str
        Inputs for which it does not hold, in hexadecimal; ``no answer`` if the solver gave up; empty if it holds.
    seconds : float
        That the solver took with the building of its clauses, or the batch model without its building.
    """

    name: str
    component: str
    method: Literal["SAT", "every case"]
    proved: bool
    counterexample: str
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A miter, and for which values of some inputs its output is to be proved 0."""

    name: str
    component: str
    design: Callable[[], Component]
    given: tuple[tuple[str, int], ...]
    shown: tuple[str, ...]


def claims(designs: SimdDesigns) -> list[Claim]:
    """Return all claims; those of one design together."""
    made = []

    def trips() -> Component:
        return RoundTripMiter(designs)

    for name in SIMD_FORMATS:
        for lanes, slots in SLOTS.items():
            if formats.get(name).bits * lanes > PORT_BITS:
                continue
            for lane, slot in enumerate(slots):
                given = {flag: int(count == lanes) for count, flag in _FLAGS.items()}
                given |= {"format": FORMAT_CODES[name], "slot": slot}
                title = f"{name} in lane {lane} of {lanes} through decoder and encoder"
                made.append(
                    Claim(
                        name=title,
                        component="SimdCodes",
                        design=trips,
                        given=tuple(given.items()),
                        shown=("word", "code"),
                    )
                )
    for lanes, field in ((4, (0, 13)), (2, (0, 13)), *((1, part) for part in _FIELDS)):
        made.append(_product(designs, lanes, field))
    return made


def _product(designs: SimdDesigns, lanes: int, field: tuple[int, int]) -> Claim:
    part = "" if field == (0, 13) else f", bits {field[0]} to {field[1] - 1} of the second factor"
    return Claim(
        name=f"{_PRODUCTS[lanes]}{part}",
        component="SimdMac",
        design=lambda: ProductMiter(designs.multiplier, lanes, field),
        given=(),
        shown=("a", "b", "product"),
    )


def _chosen(targets: Sequence[str], designs: SimdDesigns) -> list[Claim]:
    return [claim for claim in claims(designs) if not targets or claim.component in targets]


def prove(
    targets: Sequence[str] = (),
    *,
    build_dir: Path | None = None,
    designs: SimdDesigns = SIMD_DESIGNS,
    timeout_s: int = 120,
) -> list[Proof]:
    """Prove what can be proved of components.

    Parameters
    ----------
    targets : sequence of str
        Components, of ``SimdCodes`` and ``SimdMac``; others have no proofs. Empty: all.
    build_dir : Path, optional
        Where batch models are kept between runs; default ``build/verify``.
    designs : SimdDesigns
        The classes under test.
    timeout_s : int
        Seconds after which the solver gives up on a claim.

    Returns
    -------
    list of Proof
        In a fixed order.

    Raises
    ------
    ToolError
        If Yosys is missing or fails.

    Examples
    --------
    >>> from tetrit.verify.formal import prove
    >>> all(proof.proved for proof in prove(["SimdCodes"]))  # doctest: +SKIP
    True
    """
    timeout_s = checks.integer("timeout_s", timeout_s)
    chosen = _chosen(targets, designs)
    groups: list[list[Claim]] = []
    for claim in chosen:
        if groups and groups[-1][0].design is claim.design:
            groups[-1].append(claim)
        else:
            groups.append([claim])
    with ThreadPoolExecutor(max_workers=2) as pool:
        found = [proof for solved in pool.map(lambda group: solve(group, timeout_s), groups) for proof in solved]
    if not targets or "SimdMac" in targets:
        found.append(every_product(designs, build_dir))
    return found


def solve(group: Sequence[Claim], timeout_s: int) -> list[Proof]:
    """Prove the claims of one design."""
    verilog = rtl.to_verilog(group[0].design(), TOP)
    prepared = yosys.run(
        f"read_verilog in.v\nhierarchy -top {TOP}\nproc\nflatten\nopt -full\nwrite_rtlil out.il",
        {"in.v": verilog},
        ("out.il",),
    )["out.il"]
    found = []
    for claim in group:
        given = "".join(f" -set {name} {value}" for name, value in claim.given)
        shown = "".join(f" -show {name}" for name in claim.shown)
        script = f"read_rtlil in.il\ntee -o log.txt sat -timeout {timeout_s} -prove wrong 0{given}{shown} {TOP}"
        start = time.perf_counter()
        log = yosys.run(script, {"in.il": prepared}, ("log.txt",))["log.txt"]
        found.append(
            Proof(
                name=claim.name,
                component=claim.component,
                method="SAT",
                proved=_SUCCESS in log,
                counterexample=_counterexample(log),
                seconds=time.perf_counter() - start,
            )
        )
    return found


def every_product(designs: SimdDesigns, build_dir: Path | None) -> Proof:
    """Try all pairs of 13 bits on a batch model."""
    workbench = Workbench(build_dir)
    verilog = rtl.to_verilog(ProductMiter(designs.multiplier, 1), TOP)
    model = BatchModel(workbench.library(verilog, optimisation=3))
    every, one_row = np.arange(1 << 13, dtype=np.uint16), np.zeros(1 << 13, dtype=np.uint16)
    counterexample, seconds = "", 0.0
    for start in range(0, 1 << 13, _AT_ONCE):
        a = np.concatenate([one_row + value for value in every[start : start + _AT_ONCE]])
        b = np.tile(every, _AT_ONCE)
        expected = a.astype(np.uint32) * b
        begun = time.perf_counter()
        product = model.run({"a": a, "b": b}, outputs=["product"])["product"]
        seconds += time.perf_counter() - begun
        wrong = np.flatnonzero(product != expected)
        if wrong.size:
            first = int(wrong[0])
            counterexample = f"a={a[first]:x}, b={b[first]:x}, product={product[first]:x}"
            break
    return Proof(
        name=_PRODUCTS[1],
        component="SimdMac",
        method="every case",
        proved=not counterexample,
        counterexample=counterexample,
        seconds=seconds,
    )


def _counterexample(log: str) -> str:
    """Return the inputs that the solver found, or that it found neither these nor a proof."""
    if _SUCCESS in log:
        return ""
    if _FAILURE in log:
        return ", ".join(f"{match['name']}={match['hex']}" for match in _SIGNAL.finditer(log))
    return "no answer"
