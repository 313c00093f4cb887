"""How the SIMD array's status bit is verified: set by an FP4 result that stands for NaR, kept, cleared, reset."""

__all__ = ["status_jobs"]

from functools import partial

import numpy as np

from tetrit import formats
from tetrit.hardware.simd_engine import SIMD_FORMATS, SimdEngine
from tetrit.rtl.simd.modes import FORMAT_CODES
from tetrit.verify.suites.job import Job, lockstep_stimulus
from tetrit.verify.suites.simd_designs import SimdDesigns, StatusPath

_TILES = 400
_ROWS, _SEEN, _CLEARED = 24, 20, 21
"""Rows of a tile: in all; in which its result must have been seen; in which the bit may be cleared."""


def status_jobs(designs: SimdDesigns, seed: int, cases: int | None) -> list[Job]:
    """Tiles of random formats and operands, a third of them with NaR; after some the bit is cleared."""
    rng = np.random.default_rng([seed, 13])
    machine = SimdEngine(rows=1, cols=1)
    rows = np.arange(_ROWS)
    names = ("valid", "act", "weight", "act_format", "weight_format", "out_format", "clear")
    inputs: dict[str, list[np.ndarray]] = {name: [] for name in names}
    expected, checked = [], []
    stuck = False
    for _ in range(_TILES):
        pair = [str(name) for name in rng.choice(SIMD_FORMATS, size=2)]
        lanes = machine.mode(*pair).lanes
        poisoned, words = False, []
        for name in pair:
            fmt = formats.get(name)
            codes = rng.choice(np.flatnonzero(~np.isnan(fmt.values)), size=lanes)
            if fmt.has_nan and rng.random() < 0.2:
                codes[rng.integers(lanes)] = int(fmt.encode(np.array([np.nan]))[0])
                poisoned = True
            words.append(int((codes << (np.arange(lanes) * (16 // lanes))).sum()))
        out_format = int(rng.integers(2)) * int(rng.integers(len(SIMD_FORMATS)))
        clear = bool(rng.random() < 0.3)
        row = dict(
            zip(("act", "weight", "act_format", "weight_format"), (*words, *map(FORMAT_CODES.get, pair)), strict=True)
        )
        row["out_format"] = out_format
        for name, value in row.items():
            inputs[name].append(np.full(_ROWS, value))
        inputs["valid"].append((rows == 0).astype(np.int64))
        inputs["clear"].append(((rows == _CLEARED) & clear).astype(np.int64))
        before, stuck = stuck, stuck or (poisoned and out_format == 0)
        expected.append(np.where(rows <= _CLEARED, np.where(rows < _SEEN, before, stuck), stuck and not clear))
        checked.append((rows < 2) | (rows >= _SEEN))
        stuck = stuck and not clear
    widths = {"valid": 1, "clear": 1, "act": 16, "weight": 16, "nar": 1}
    widths |= dict.fromkeys(("act_format", "weight_format", "out_format"), 2)
    return [
        Job(
            name="SimdArray status",
            component="SimdArray",
            design=partial(StatusPath, designs.array),
            bench="lockstep",
            stimulus=lockstep_stimulus(
                {name: np.concatenate(parts) for name, parts in inputs.items()},
                {"nar": np.concatenate(expected)},
                widths,
                {"nar": np.concatenate(checked)},
            ),
            gates=False,
        )
    ]
