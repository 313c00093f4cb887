"""Tequila: the authority for a ternary quantiser whose dead-zone weights act as biases."""

__all__ = ["Tequila"]

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tetrit import checks
from tetrit.errors import InvalidValueError
from tetrit.estimators._rows import checked_axis, copied, gradient, gradient_out, latent, to_rows
from tetrit.estimators._run import run
from tetrit.estimators._values import in_one_pass
from tetrit.estimators.adaptive import _kernels
from tetrit.estimators.base import Estimator, Quantized
from tetrit.estimators.stochastic._shared import sums
from tetrit.estimators.szt import SZT

_FLOATS = (np.dtype(np.float16), np.dtype(np.float32), np.dtype(np.float64))


@dataclass(frozen=True, kw_only=True)
class Tequila(Estimator):
    """Ternary weights whose dead zone still speaks: its latent weights add up to a bias of every output.

    Forward, with M = mean |w| of the tensor (or of each channel along `axis`) and D = ratio * M: a weight with |w| > D
    becomes sign(w) times the scale, one with |w| <= D becomes 0. A layer y = x Q(w) that uses this estimator also adds,
    to output o and whatever the input, the bias b_o = strength * sum of the w_io that lie in the dead zone (`bias`).
    Backward, with g the gradient by Q(w) and h_o the gradient by b_o (that of y_o, summed over the batch): grad_w = g
    outside of the dead zone, g + strength * h_o in it. So a trapped weight has a gradient by a value that it truly
    moves, where the straight-through term is blind to it. Without `grad_bias` the rule is the plain straight-through
    estimator.

    After training b is a constant: add ``bias(w)`` to the layer's own bias and only ternary weights remain. In
    PyTorch no `grad_bias` is needed: with b written as strength times the sum of the dead-zone weights, autograd adds
    the second term to the straight-through gradient by itself.

    Codes are 0, 1 and 3 of the format ``int2_symmetric``, since this zero has no sign to remember. The format ``szt``
    gives the same three words the same values, so hardware for either reads them.

    Contract: codes bit-exact; `bias` a float64 sum in a fixed order, `backward` one float64 addition and one rounding;
    the same for any number of threads.

    Parameters
    ----------
    threshold : {"absmean", "twn"}, default "absmean"
        D = 0.5 M (``absmean``) or 0.7 M (``twn``).
    scale : {"absmean", "kept"}, default "absmean"
        M itself, or the mean |w| of the weights outside of the dead zone; see `SZT`.
    strength : float, default 1e-3
        Non-negative; share of a dead-zone weight that reaches the bias.
    outputs : int, default 0
        The axis of `w` that counts the outputs; the sum runs over all others. 0 for a torch ``Linear`` or ``Conv2d``,
        1 for a matrix of shape (inputs, outputs).
    axis : int or None, default None
        The channel axis that keeps its own threshold and scale; None for one of each per tensor.

    Raises
    ------
    TypeError
        If an array is not float16, float32 or float64.
    InvalidValueError
        If `w` has a NaN or an infinity (the message names its index), if the sum of its magnitudes overflows float64,
        if `grad_out` has another shape than `w`, `grad_bias` another than (outputs,), or `w` no axis `outputs`. Without
        `grad_bias`, `backward` reads the shape of `w` only, never its values.

    Notes
    -----
    Source: "Tequila: Trapping-free Ternary Quantization for Large Language Models", arXiv 2509.23809, and the code that
    its authors released (AngelSlim, folder TernaryQuant): from the method ``ultraquantv2`` there come the bias, the
    gradient of the dead zone, threshold and scale ``absmean``, and the strength 1e-3 (of its training script). The
    paper's formulas were not at hand. The released code scales groups of 128 weights of a row, and counts a weight on
    the threshold as live; scales per tensor or channel, and such a weight as dead, are **our choice**, as in `SZT`.
    Its method with one learned strength per weight is not built here.

    Examples
    --------
    >>> import numpy as np
    >>> from tetrit.estimators.adaptive import Tequila
    >>> e = Tequila(strength=0.5)
    >>> w = np.array([[0.9, 0.1, -0.2], [-1.1, 0.2, 0.2]])  # two outputs, three inputs; D = 0.225
    >>> e(w).codes
    array([[1, 0, 0],
           [3, 0, 0]], dtype=uint8)
    >>> e.bias(w)
    array([-0.05,  0.2 ])
    >>> e.backward(w, np.ones((2, 3)), grad_bias=np.array([4.0, -4.0]))
    array([[ 1.,  3.,  3.],
           [ 1., -1., -1.]])
    """

    name: ClassVar[str] = "tequila"

    threshold: str = "absmean"
    scale: str = "absmean"
    strength: float = 1e-3
    outputs: int = 0
    axis: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "axis", checked_axis(self.axis))
        self._ternary()  # checks the two rules
        object.__setattr__(self, "strength", checks.real("strength", self.strength, minimum=0.0))
        object.__setattr__(self, "outputs", checks.integer("outputs", self.outputs, minimum=-64, maximum=63))

    def __call__(self, w: ArrayLike) -> Quantized:
        """Quantise `w`; codes are uint8 of the same shape."""
        q = self._ternary()(w)
        return Quantized(codes=np.asarray(q.codes * (q.codes & 1)), scale=q.scale, format="int2_symmetric")

    def forward(self, w: ArrayLike, *, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Return the values of the codes, in float64 or rounded once into `out`, without making the codes."""
        x = latent(w)
        rows = to_rows(x, self.axis)
        means, thresholds = self._ternary()._thresholds(x, rows)
        scales = self._scales(rows, means, thresholds)
        return in_one_pass(x, self.axis, out, _kernels.ternary_values, thresholds, scales)

    def bias(self, w: ArrayLike) -> NDArray[np.float64]:
        """Return what the dead zone adds to every output: float64 of shape (outputs,), in units of `w` times input."""
        x = latent(w)
        outputs = self._outputs(x.ndim)
        codes = to_rows(self._ternary()(x).codes, outputs)
        terms = np.empty(codes.shape)
        run(_kernels.dead_terms, codes, to_rows(x, outputs), terms)
        total: NDArray[np.float64] = self.strength * sums(terms)
        return total

    def backward(
        self,
        w: ArrayLike,
        grad_out: ArrayLike,
        *,
        out: NDArray[Any] | None = None,
        grad_bias: ArrayLike | None = None,
    ) -> NDArray[Any]:
        """Return the gradient by `w`; `grad_bias`, float of shape (outputs,), is the gradient by `bias`, 0 for None."""
        x = latent(w)
        if grad_bias is None:
            return copied(grad_out, x.shape, out)
        g = gradient(grad_out, x.shape)
        outputs = self._outputs(x.ndim)
        pulls = _bias_gradient(grad_bias, x.shape[outputs])
        codes = to_rows(self._ternary()(x).codes, outputs)
        return gradient_out(
            g,
            outputs,
            out,
            lambda grad, into: run(_kernels.revived_backward, codes, grad, pulls, self.strength, into),
            w=x,
        )

    @property
    def straight_through(self) -> bool:
        """Whether `backward` without `grad_bias` returns `grad_out` as it is: always."""
        return True

    def _ternary(self) -> SZT:
        """Return the quantiser whose thresholds, scales and nonzero codes these are."""
        return SZT(threshold=self.threshold, scale=self.scale, axis=self.axis)

    def _scales(
        self, rows: NDArray[Any], means: NDArray[np.float64], thresholds: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return the scales of `SZT`, whose pass over the weights ``absmean`` can do without."""
        # The threshold is at most 0.7 of the mean, so the largest magnitude lies above it and the rule's question, if
        # any weight is kept, is answered; except among subnormal numbers, whose rounding is coarse.
        if self.scale == "absmean" and ((means == 0.0) | (means > 1e-300)).all():
            return np.where(means > 0.0, means, 1.0)
        return self._ternary()._scales(rows, means, thresholds)

    def _outputs(self, ndim: int) -> int:
        """Return the axis of the outputs as a non-negative index into `ndim` axes."""
        if not -ndim <= self.outputs < ndim:
            wanted = f"from {-ndim} to {ndim - 1} for an array of {ndim} dimensions"
            raise InvalidValueError(
                f"`outputs` must be {wanted}, got {self.outputs}"
                if ndim
                else "`w` must have an axis of outputs, got 0-d"
            )
        return self.outputs % ndim


def _bias_gradient(grad_bias: ArrayLike, n: int) -> NDArray[np.float64]:
    h = np.asarray(grad_bias)
    if h.dtype.name != "bfloat16" and h.dtype.newbyteorder("=") not in _FLOATS:
        raise TypeError(f"`grad_bias` must be a float16, float32 or float64 array, got {h.dtype}")
    if h.shape != (n,):
        raise InvalidValueError(f"`grad_bias` must have shape {(n,)}, got {h.shape}")
    return np.array(h, np.float64)  # a copy: `out` may overlap it
