"""The signed-zero-ternary estimator: thresholds, scales, codes, and the gradient by a pluggable surrogate."""

__all__ = ["RATIOS", "SZT"]

import math
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, NoReturn

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tetrit import checks
from tetrit.errors import InvalidValueError
from tetrit.estimators._rows import (
    checked_axis,
    from_rows,
    gradient,
    gradient_out,
    latent,
    plain_rows,
    scale_array,
    to_rows,
)
from tetrit.estimators._run import by_rows, chunk_count, run, run_rows, sum_chunks, sums_of_magnitudes
from tetrit.estimators._values import filled, in_one_pass
from tetrit.estimators.base import Estimator, Pullback, Quantized
from tetrit.estimators.surrogates import SURROGATES, Surrogate
from tetrit.estimators.ternary._kernels import szt_backward, szt_codes, szt_kept, szt_rows, szt_values

RATIOS = {"twn": 0.7, "absmean": 0.5}
"""Threshold over mean magnitude."""
_SCALES = ("kept", "absmean")


@dataclass(frozen=True, kw_only=True)
class SZT(Estimator):
    """Signed-zero ternary: a 2-bit quantiser to {-1, -0, +0, +1} whose zero keeps the sign of the latent weight.

    Forward, with M = mean |w| of the tensor (or of each channel along `axis`) and the threshold D = ratio * M:
    a weight with |w| > D becomes sign(w); one with |w| <= D becomes the zero of its own sign *bit*, so a latent
    -0.0 becomes -0. Codes are those of the format ``szt``: b1 = sign, b0 = nonzero. Both zeros have the value 0, so the
    forward pass is that of balanced ternary.

    Contract: bit-exact. M is a float64 sum in a fixed order (`tetrit.estimators._kernels`), and the comparison is in
    float64, so the codes do not depend on the number of threads.

    Parameters
    ----------
    threshold : {"twn", "absmean"}, default "twn"
        ``twn``: D = 0.7 M (the approximation of Ternary Weight Networks). ``absmean``: D = 0.5 M, which is BitNet
        b1.58's round-to-nearest of w / M.
    scale : {"kept", "absmean"}, default "kept"
        ``kept``: the mean |w| of the weights with |w| > D, which minimises the squared error for given codes
        (TWN). ``absmean``: M itself (BitNet b1.58). Where no weight is kept (all zeros, an empty tensor), and where the
        scale would round to 0, it is 1.
    surrogate : Surrogate or str, default "signed_zero_slope"
        The backward rule, an object or one of the names in `tetrit.estimators.SURROGATES`.
    axis : int or None, default None
        The channel axis that keeps its own threshold and scale; None for one of each per tensor.

    Raises
    ------
    TypeError
        If an array is not float16, float32 or float64.
    InvalidValueError
        If `w` has a NaN or an infinity (the message names its index), if the sum of its magnitudes overflows float64,
        or if `grad_out` has another shape than `w`.

    Notes
    -----
    The format and the idea are those of J. Uhlmann, "Signed-Zero Ternary", arXiv 2508.05905 (2025). The paper gives
    neither the code words, nor the threshold, nor the surrogate: these are **our reconstruction**, with the threshold
    and scale rules of Li, Liu, "Ternary Weight Networks", arXiv 1605.04711, and Ma et al., "The Era of 1-bit LLMs",
    arXiv 2402.17764.

    Examples
    --------
    >>> import numpy as np
    >>> from tetrit import estimators
    >>> e = estimators.get("szt", threshold="absmean", surrogate=estimators.Surrogate(tilt=0.25))
    >>> w = np.array([0.9, 0.1, -0.0, -0.1, -0.9])
    >>> q = e(w)
    >>> q.codes
    array([1, 0, 2, 2, 3], dtype=uint8)
    >>> q.values
    array([ 0.9,  0. , -0. , -0. , -0.9])
    >>> e.backward(w, np.array([1.0, 1.0, 1.0, 1.0, 1.0]))
    array([1.  , 0.75, 1.25, 1.25, 1.  ])
    """

    name: ClassVar[str] = "szt"

    threshold: str = "twn"
    scale: str = "kept"
    surrogate: Surrogate | str = "signed_zero_slope"
    axis: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "axis", checked_axis(self.axis))
        checks.choice("threshold", self.threshold, RATIOS)
        checks.choice("scale", self.scale, _SCALES)
        if not isinstance(self.surrogate, Surrogate):
            object.__setattr__(self, "surrogate", SURROGATES[checks.choice("surrogate", self.surrogate, SURROGATES)]())

    def __call__(self, w: ArrayLike) -> Quantized:
        """Quantise `w`; codes are uint8 of the same shape."""
        x = latent(w)
        rows = to_rows(x, self.axis)
        means, thresholds = self._thresholds(x, rows)
        scales = self._scales(rows, means, thresholds)
        codes = np.empty(rows.shape, np.uint8)
        run(szt_codes, rows, thresholds, codes)
        return Quantized(
            codes=from_rows(codes, x.shape, self.axis), scale=scale_array(scales, x.shape, self.axis), format="szt"
        )

    def forward(self, w: ArrayLike, *, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Return the values of the codes, in float64 or rounded once into `out`, without making the codes."""
        return self.vjp(w, out=out)[0]

    def vjp(self, w: ArrayLike, *, out: NDArray[Any] | None = None) -> tuple[NDArray[Any], Pullback]:
        """Return the values and the backward rule, which share thresholds and clips."""
        x = latent(w)
        rows = to_rows(x, self.axis)
        if not by_rows(rows):
            means, thresholds = self._thresholds(x, rows)
            scales = self._scales(rows, means, thresholds)
            values = in_one_pass(x, self.axis, out, szt_values, thresholds, scales)
            return values, partial(self._gradients, x, rows, thresholds, self._clips(means))
        thresholds, clips = np.empty((2, len(rows)))
        values = filled(rows, x.shape, self.axis, out, lambda into: self._fill(x, rows, thresholds, clips, into))
        return values, partial(self._gradients, x, rows, thresholds, clips)

    def plain_vjp(self, x: NDArray[Any], out: NDArray[Any]) -> Pullback | None:
        """Do what `vjp` does, without its checks."""
        rows = plain_rows(x, self.axis)
        if rows is None or not by_rows(rows):
            return super().plain_vjp(x, out)
        thresholds, clips = np.empty(len(rows)), np.empty(len(rows))
        self._fill(x, rows, thresholds, clips, out.reshape(rows.shape))
        return partial(self._gradients, x, rows, thresholds, clips)

    def _fill(
        self,
        x: NDArray[Any],
        rows: NDArray[Any],
        thresholds: NDArray[np.float64],
        clips: NDArray[np.float64],
        into: NDArray[Any],
    ) -> None:
        """Write thresholds, clips and values of rows that `by_rows` takes."""
        ratio, of_kept = RATIOS[self.threshold], self.scale == "kept"
        means = np.empty(len(rows))
        if not run_rows(szt_rows, rows, ratio, of_kept, self._rule.clip, means, thresholds, clips, into):
            _refuse(x)

    def backward(self, w: ArrayLike, grad_out: ArrayLike, *, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Return the surrogate gradient; one rounding to the dtype of `grad_out`.

        A weight on the threshold is in the dead zone, one on the clip is in the live zone.
        """
        x = latent(w)
        gradient(grad_out, x.shape)  # before any work
        rows = to_rows(x, self.axis)
        means, thresholds = self._thresholds(x, rows)
        return self._gradients(x, rows, thresholds, self._clips(means), grad_out, out)[0]

    @property
    def _rule(self) -> Surrogate:
        assert isinstance(self.surrogate, Surrogate)
        return self.surrogate

    def _clips(self, means: NDArray[np.float64]) -> NDArray[np.float64]:
        """Up to where the gradient of every row passes."""
        clips = np.full(means.shape, np.inf)
        if self._rule.clip < math.inf:
            with np.errstate(over="ignore"):
                np.multiply(self._rule.clip, means, out=clips, where=means > 0)
        return clips

    def _gradients(
        self,
        x: NDArray[Any],
        rows: NDArray[Any],
        thresholds: NDArray[np.float64],
        clips: NDArray[np.float64],
        grad_out: ArrayLike,
        out: NDArray[Any] | None,
        _: bool = True,
    ) -> tuple[NDArray[Any], dict[str, NDArray[Any]]]:
        rule = self._rule
        result = gradient_out(
            gradient(grad_out, x.shape),
            self.axis,
            out,
            lambda grad, into: run(szt_backward, rows, grad, thresholds, clips, rule.gain, rule.tilt, rule.drift, into),
            w=x,
        )
        return result, {}

    def _scales(
        self, rows: NDArray[Any], means: NDArray[np.float64], thresholds: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Scale of every row: by its mean, or by sum and count of what it keeps."""
        parts = np.empty((len(rows), chunk_count(rows.shape[1])))
        kept = np.empty(parts.shape, np.int64)
        run(szt_kept, rows, thresholds, parts, kept)
        sums, counts = sum_chunks(parts), sum_chunks(kept)
        scales = sums / np.maximum(counts, 1) if self.scale == "kept" else np.where(counts > 0, means, 0.0)
        scales[scales == 0] = 1.0
        return scales

    def _thresholds(self, x: NDArray[Any], rows: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean magnitude and threshold of every row."""
        sums = sums_of_magnitudes(rows)
        if not np.isfinite(sums).all():
            _refuse(x)
        means = sums / max(rows.shape[1], 1)
        return means, RATIOS[self.threshold] * means


def _refuse(x: NDArray[Any]) -> NoReturn:
    """Raise an error about an array that has no finite sum of magnitudes."""
    checks.finite("w", x)
    raise InvalidValueError("`w` must have a sum of magnitudes that float64 can hold, got an overflow")
