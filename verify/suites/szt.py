"""How the SZT decoder and encoder are verified: against the format, and the estimator that trains the weights."""

__all__ = ["decoder_jobs", "encoder_jobs"]

from functools import partial

import numpy as np
import numpy.typing as npt

from tetrit import estimators, formats
from tetrit.verify.suites.designs import Designs
from tetrit.verify.suites.job import Job, lockstep_stimulus

_EXHAUSTIVE_WIDTH, _WIDTH = 5, 16
_RATIOS = {"twn": 0.7, "absmean": 0.5}


def decoder_jobs(designs: Designs, seed: int, cases: int | None) -> list[Job]:
    """All four codes, against the values of the format ``szt``."""
    values = formats.get("szt").values
    zero = values == 0
    stimulus = lockstep_stimulus(
        {"code": np.arange(len(values))},
        {"nonzero": ~zero, "negate": values < 0, "zero_sign": zero & np.signbit(values)},
        {"code": 2, "nonzero": 1, "negate": 1, "zero_sign": 1},
    )
    return [
        Job(
            name="SZTDecoder",
            component="SZTDecoder",
            design=designs.decoder,
            bench="lockstep",
            stimulus=stimulus,
            gates=True,
        )
    ]


def encoder_jobs(designs: Designs, seed: int, cases: int | None) -> list[Job]:
    """All values and thresholds at 5 bits; tensors, borders and extremes at 16 bits; against the estimator ``szt``."""
    rng = np.random.default_rng([seed, 1])
    every_value = np.arange(-(2 ** (_EXHAUSTIVE_WIDTH - 1)), 2 ** (_EXHAUSTIVE_WIDTH - 1))
    small = [_forced(every_value, threshold) for threshold in range(2 ** (_EXHAUSTIVE_WIDTH - 1))]
    low, high = -(2 ** (_WIDTH - 1)), 2 ** (_WIDTH - 1) - 1
    wide = []
    for _ in range(10 if cases is None else cases):
        spread = float(rng.choice([3.0, 300.0, 9000.0]))
        tensor = np.clip(np.rint(rng.normal(0.0, spread, size=300)), low, high).astype(np.int64)
        wide.append(_natural(tensor, str(rng.choice(list(_RATIOS)))))
    for threshold in (0, 1, 2, high - 1, high, *rng.integers(3, high - 1, size=20).tolist()):
        near = [s * (threshold + d) for s in (-1, 1) for d in (-1, 0, 1)]
        values = np.array([low, low + 1, -1, 0, 1, high - 1, high, *near, *rng.integers(low, high + 1, size=20)])
        wide.append(_forced(np.clip(values, low, high), threshold))
    return [_encoder_job(designs, _EXHAUSTIVE_WIDTH, small), _encoder_job(designs, _WIDTH, wide)]


_Rows = tuple[npt.NDArray[np.int64], int, npt.NDArray[np.uint8]]


def _natural(tensor: npt.NDArray[np.int64], rule: str) -> _Rows:
    """Return a tensor with the threshold that the estimator's own rule gives it, and the estimator's codes.

    An integer is above a real threshold exactly when it is above the threshold's integer part.
    """
    codes = estimators.get("szt", threshold=rule)(tensor.astype(np.float64)).codes
    return tensor, int(np.floor(_RATIOS[rule] * np.abs(tensor).mean())), codes


def _forced(values: npt.NDArray[np.int64], threshold: int) -> _Rows:
    """Return values with a chosen threshold: the estimator sees them beside padding that puts its threshold there."""
    wanted_mean = (threshold + 0.5) / _RATIOS["twn"]
    total = float(np.abs(values).sum())
    count = max(len(values) + 1, int(np.ceil(total / wanted_mean)))
    padding = np.zeros(count - len(values))
    padding[0] = wanted_mean * count - total
    codes = estimators.get("szt", threshold="twn")(np.concatenate([values.astype(np.float64), padding])).codes
    return values, threshold, codes[: len(values)]


def _encoder_job(designs: Designs, width: int, tensors: list[_Rows]) -> Job:
    stimulus = lockstep_stimulus(
        {
            "value": np.concatenate([values for values, _, _ in tensors]),
            "threshold": np.concatenate([np.full(len(values), threshold) for values, threshold, _ in tensors]),
        },
        {"code": np.concatenate([codes for _, _, codes in tensors])},
        {"value": width, "threshold": width - 1, "code": 2},
    )
    return Job(
        name=f"SZTEncoder {width} bits",
        component="SZTEncoder",
        design=partial(designs.encoder, width),
        bench="lockstep",
        stimulus=stimulus,
        gates=True,
    )
