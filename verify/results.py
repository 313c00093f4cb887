"""What a verification run says of one bench."""

__all__ = ["BenchResult", "Level"]

from dataclasses import dataclass
from typing import Literal

Level = Literal["rtl", "gates"]


@dataclass(frozen=True, kw_only=True)
class BenchResult:
    """One bench on one design at one level.

    Attributes
    ----------
    name : str
        The design and its parameters, or the layer of a program.
    component : str
        Name of the component under test.
    level : {"rtl", "gates"}
        The emitted Verilog, or the netlist that synthesis mapped to a cell library.
    vectors : int
        Expected outputs that were compared: rows of a lockstep bench, words of a stream bench.
    mismatches : int
        Outputs that differ, are missing or are too many; cases whose cycles differ; breaches of the stream protocol; on
        gates also outputs and cycles that differ from the RTL's.
    cycles_rtl : int or None
        Cycles of the cases that the cycle model was compared with, at this level; None where there are none.
    cycles_model : int or None
        What the model predicts for them.
    cases : int
        Cases with a predicted cycle count that must match exactly.
    passed : bool
        No mismatch.
    message : str
        The first mismatches in words; empty if there are none.
    """

    name: str
    component: str
    level: Level
    vectors: int
    mismatches: int
    cycles_rtl: int | None
    cycles_model: int | None
    cases: int
    passed: bool
    message: str
