"""AdaPT's number: the authority for fixed-point quantisation by word length and fraction length."""

__all__ = ["MAX_FRACTION", "MAX_WORD", "MIN_WORD", "AdaPT", "integer_bits"]

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tetrit import checks, formats
from tetrit.estimators._rows import copied, from_rows, latent, scale_array, to_rows
from tetrit.estimators._run import largest_magnitudes, run
from tetrit.estimators._values import in_one_pass
from tetrit.estimators.base import Estimator, Quantized
from tetrit.estimators.integers._kernels import clipped_codes, clipped_values
from tetrit.estimators.stochastic._kernels import random_codes, random_values
from tetrit.estimators.stochastic._shared import absmax_scales, drawn_key, neighbours

MIN_WORD, MAX_WORD = 2, 16
"""Word lengths that have a format."""
MAX_FRACTION = 1022
"""The fraction length of the least step: a normal float64."""

_ROUNDINGS = ("nearest", "stochastic")
_LOWEST, _HIGHEST = -1000, 1023  # keep every step and every value of a format a normal float64


def integer_bits(w: ArrayLike) -> int:
    """Return the least e with |w| < 2^e for all of `w`: the bits before the binary point, sign not counted.

    Negative where all of `w` is small, 0 where it is all 0 or empty; held within -1000 and 1023.

    Examples
    --------
    >>> from tetrit.estimators.adaptive.adapt import integer_bits
    >>> [integer_bits([w]) for w in (0.2, 0.5, 1.0, -3.0)]
    [-2, 0, 1, 2]
    """
    x = latent(w)
    largest = float(largest_magnitudes(to_rows(x, None))[0])
    if not math.isfinite(largest):
        checks.finite("w", x)
    return min(max(math.frexp(largest)[1], _LOWEST), _HIGHEST)


@dataclass(frozen=True, kw_only=True)
class AdaPT(Estimator):
    """Fixed point of a word length that training switches: integers of `word_length` bits times 2^-`fraction_length`.

    Forward: code = round(w 2^FL), held within [-2^(WL-1), 2^(WL-1) - 1], value = code 2^-FL. Backward: grad_w =
    grad_out everywhere, also for weights that saturate. What makes it adaptive is `tetrit.estimators.adaptive.switch`,
    which chooses both lengths anew from the weights and the recent gradients.

    Contract: codes bit-exact; with stochastic rounding a function of the array and of one 64-bit key taken from `rng`,
    with the draws of `StochasticRounding`.

    Parameters
    ----------
    word_length : int, default 8
        From 2 to 16; the codes are those of the format ``int{word_length}``.
    fraction_length : int or None, default None
        From word_length - 1024 to 1022; bits after the binary point, more than the word has where all weights are
        small. None takes the most that leaves room for the largest |w| of every call; `start` fixes it.
    rounding : {"nearest", "stochastic"}, default "nearest"
        To the nearest, ties to even, or up with the probability of the remainder.
    seed : int, default 0
        Where a stochastic call without `rng` takes its draws from, anew in every call.

    Raises
    ------
    TypeError
        If an array is not float16, float32 or float64, or `rng` no Generator.
    InvalidValueError
        If `w` has a NaN or an infinity (the message names its index), or if `grad_out` has another shape than `w`.

    Notes
    -----
    Source: Kummer, Sidak, Reichmann, Gansterer, "Adaptive Precision Training (AdaPT)", arXiv 2107.13490: fixed point
    per layer, switched during training. Saturation, the gradient of saturated weights, the choice of roundings and the
    automatic fraction length are **our reconstruction**; so is the limit of 16 bits (the paper starts from float32).

    Examples
    --------
    >>> import numpy as np
    >>> from tetrit.estimators.adaptive import AdaPT
    >>> e = AdaPT(word_length=4, fraction_length=2)
    >>> w = np.array([-2.5, -0.3, 0.125, 1.8])
    >>> q = e(w)
    >>> q.codes, float(q.scale)
    (array([ 8, 15,  0,  7], dtype=uint8), 0.25)
    >>> q.values
    array([-2.  , -0.25,  0.  ,  1.75])
    >>> e.backward(w, np.array([1.0, 2.0, 3.0, 4.0]))
    array([1., 2., 3., 4.])
    """

    name: ClassVar[str] = "adapt"
    draws: ClassVar[bool] = True

    word_length: int = 8
    fraction_length: int | None = None
    rounding: str = "nearest"
    seed: int = 0

    def __post_init__(self) -> None:
        word = checks.integer("word_length", self.word_length, minimum=MIN_WORD, maximum=MAX_WORD)
        object.__setattr__(self, "word_length", word)
        if self.fraction_length is not None:
            fraction = checks.integer(
                "fraction_length", self.fraction_length, minimum=word - 1 - _HIGHEST, maximum=MAX_FRACTION
            )
            object.__setattr__(self, "fraction_length", fraction)
        checks.choice("rounding", self.rounding, _ROUNDINGS)
        object.__setattr__(self, "seed", checks.integer("seed", self.seed, minimum=0))

    def __call__(self, w: ArrayLike, *, rng: np.random.Generator | None = None) -> Quantized:
        """Quantise `w`; codes are uint8 (up to 8 bits) or uint16, of the same shape. One draw each if stochastic."""
        x = latent(w)
        rows = to_rows(x, None)
        name = f"int{self.word_length}"
        fmt = formats.get(name)
        scales = self._scales(x, rows)
        codes = np.empty(rows.shape, fmt.code_dtype)
        if self.rounding == "stochastic":
            values, table = neighbours(name)
            run(random_codes, rows, scales, values, table, drawn_key(rng, self.seed), 1, 1, codes)
        else:
            run(clipped_codes, rows, scales, *self._ends(), 2**fmt.bits - 1, codes)
        return Quantized(codes=from_rows(codes, x.shape, None), scale=scale_array(scales, x.shape, None), format=name)

    def forward(
        self, w: ArrayLike, *, rng: np.random.Generator | None = None, out: NDArray[Any] | None = None
    ) -> NDArray[Any]:
        """Return the values of ``e(w, rng=rng)``, in float64 or rounded into `out`."""
        x = latent(w)
        scales = self._scales(x, to_rows(x, None))
        if self.rounding == "stochastic":
            values, _ = neighbours(f"int{self.word_length}")
            return in_one_pass(x, None, out, random_values, scales, values, drawn_key(rng, self.seed), 1, 1)
        return in_one_pass(x, None, out, clipped_values, scales, scales, *self._ends())

    def backward(self, w: ArrayLike, grad_out: ArrayLike, *, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Return a copy of `grad_out`."""
        return copied(grad_out, latent(w).shape, out)

    @property
    def straight_through(self) -> bool:
        """Whether `backward` returns `grad_out` as it is: always."""
        return True

    def start(self, w: ArrayLike) -> tuple[Self, NDArray[Any]]:
        """Return the estimator with the fraction length for `w`, and a copy of `w`."""
        return replace(self, fraction_length=self.fraction_for(w)), np.array(w)

    def fraction_for(self, w: ArrayLike) -> int:
        """Return the fraction length in use for `w`."""
        if self.fraction_length is not None:
            return self.fraction_length
        return self.word_length - 1 - integer_bits(w)

    def _ends(self) -> tuple[float, float]:
        """Return the least and the largest integer of the word."""
        half = 2.0 ** (self.word_length - 1)
        return -half, half - 1.0

    def _scales(self, x: NDArray[Any], rows: NDArray[Any]) -> NDArray[np.float64]:
        """Return one step for every row (there is one); `x` must be finite."""
        return absmax_scales(x, rows, math.ldexp(1.0, -self.fraction_for(x)), 1.0)
