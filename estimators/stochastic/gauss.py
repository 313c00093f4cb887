"""Gaussian weight sampling: the authority for the rounded normal noise, its probabilities and its block steps."""

__all__ = ["GaussWS", "noise_probability"]

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tetrit import checks
from tetrit.errors import InvalidValueError
from tetrit.estimators._rows import checked_axis, copied, latent
from tetrit.estimators._values import checked, stored
from tetrit.estimators.base import Estimator, Quantized
from tetrit.estimators.stochastic import _kernels
from tetrit.estimators.stochastic._shared import drawn_key
from tetrit.estimators.uniform import STE
from tetrit.parallel import run_items


def noise_probability(value: int) -> float:
    """Return P(R = value) of R = round(Z / 2) with Z standard normal.

    P(R = k) = P(2k - 1 < Z < 2k + 1); the borders have probability 0. By erfc, in float64.

    Parameters
    ----------
    value : int
        Any integer.

    Returns
    -------
    float

    Examples
    --------
    >>> from tetrit.estimators.stochastic import noise_probability
    >>> [round(noise_probability(k), 4) for k in (-2, -1, 0, 1, 2)]
    [0.0013, 0.1573, 0.6827, 0.1573, 0.0013]
    """
    k = abs(checks.integer("value", value, minimum=-(2**31), maximum=2**31))
    if k == 0:
        return math.erf(math.sqrt(0.5))
    return 0.5 * (math.erfc((2 * k - 1) * math.sqrt(0.5)) - math.erfc((2 * k + 1) * math.sqrt(0.5)))


TAILS = np.array([math.erfc((2 * k + 1) * math.sqrt(0.5)) for k in range(4)])
"""P(|R| > 0), P(|R| > 1), ...; the next, 2e-19, is below what a draw resolves."""


@dataclass(frozen=True, kw_only=True)
class GaussWS(Estimator):
    """Pseudo-quantisation by additive noise: w + R * step, R = round(N(0, 1) / 2), instead of a rounding.

    Forward in training: every block of ``block`` x ``block`` weights (over the last two axes; the blocks at the edges
    may be smaller; a vector counts as one row) has step = max |w| of the block * 2^(1 - bits), and every weight gets
    R steps of noise: none with probability 0.683, one up or down with 0.315, two with 0.003. Where R = 0 the weight is
    unchanged, its sign of zero included. Backward: grad_w = grad_out; the step counts as a constant.

    Deployed codes: ``e(w)`` rounds to nearest with symmetric integers of ceil(bits) bits and one scale per tensor or
    channel, exactly as `tetrit.estimators.STE` does. No draw takes part in it.

    Contract: `forward` is a function of the array and of one 64-bit key, bit by bit; a call takes the key,
    ``rng.integers(2**64, dtype=uint64)``, and nothing else from `rng`. Element i in C order of `w`'s own shape has word
    i of the generator SplitMix64 in the state of the key. Its top 52 bits, as a number t in [0, 1), make |R| the number
    of k with t < P(|R| > k), its lowest bit the sign: exact probabilities, to 2^-52, for a fraction of the cost of
    normal numbers.

    Parameters
    ----------
    bits : float, default 6
        Width that sets the step, from 2 to 16; may be fractional.
    end_bits : float, default 4
        Width at the end of the training; `at` goes there linearly.
    block : int, default 32
        Side of the square blocks.
    axis : int or None, default None
        The channel axis that keeps its own scale in the deployed codes; None for one scale per tensor.
    seed : int, default 0
        Where `forward` without `rng` takes its draws from: a new generator for every call, hence the same draws for
        the same shape. Training must hand its own `rng` over, or its noise is the same in every step.

    Raises
    ------
    TypeError
        If an array is not float16, float32 or float64, or `rng` no Generator.
    InvalidValueError
        If `w` has a NaN or an infinity (the message names its index), or if `grad_out` has another shape than `w`.

    Notes
    -----
    Source: "Gaussian Weight Sampling for Scalable, Efficient and Stable Pseudo-Quantization Training",
    arXiv 2505.11170: the noise, a step proportional to the largest weight of a square block, widths that decay from 6
    to 4. **Our reconstruction**: the factor 2^(1 - bits), blocks of 32, a linear decay (the paper learns the widths
    through a loss), blocks of vectors and of tensors of higher rank, the generator
    and the way from its bits to R (the paper has its own), the deployed codes.

    Examples
    --------
    >>> import numpy as np
    >>> from tetrit.estimators.stochastic import GaussWS
    >>> e = GaussWS(bits=4, block=2)
    >>> w = np.array([[0.8, 0.1, -0.4], [0.0, -0.2, 0.1]])
    >>> e.steps(w)
    array([[0.1 , 0.05]])
    >>> e.forward(w, rng=np.random.default_rng(3)).round(3)
    array([[ 0.8,  0.1, -0.4],
           [-0.1, -0.2,  0.1]])
    >>> e(w).codes
    array([[ 7,  1, 12],
           [ 0, 14,  1]], dtype=uint8)
    >>> e.backward(w, np.ones((2, 3)))
    array([[1., 1., 1.],
           [1., 1., 1.]])
    """

    name: ClassVar[str] = "gauss_ws"
    draws: ClassVar[bool] = True

    bits: float = 6.0
    end_bits: float = 4.0
    block: int = 32
    axis: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "axis", checked_axis(self.axis))
        for name in ("bits", "end_bits"):
            bits = checks.real(name, getattr(self, name), minimum=2.0)
            if bits > 16:
                raise InvalidValueError(f"`{name}` must be from 2 to 16, got {bits:g}")
            object.__setattr__(self, name, bits)
        object.__setattr__(self, "block", checks.integer("block", self.block))
        object.__setattr__(self, "seed", checks.integer("seed", self.seed, minimum=0))

    def __call__(self, w: ArrayLike) -> Quantized:
        """Return the deployed codes, uint8 (up to 8 bits) or uint16, of the same shape."""
        return STE(format=f"int{math.ceil(self.bits)}", axis=self.axis)(w)

    def forward(
        self, w: ArrayLike, *, rng: np.random.Generator | None = None, out: NDArray[Any] | None = None
    ) -> NDArray[Any]:
        """Return the weights with their noise, float64 of the shape of `w`. One draw per element."""
        x, key = latent(w), drawn_key(rng, self.seed)
        if out is not None:
            checked(out, x.shape)
        single = out is not None and out.dtype == np.float32  # rounded once on the store
        return stored(self._noisy(x, key, np.float32 if single else np.float64)[0], out)

    def steps(self, w: ArrayLike) -> NDArray[np.float64]:
        """Return the step of every block: the shape of `w` with the last two axes divided by `block`, rounded up."""
        return self._noisy(latent(w), None, np.float64)[1]

    def backward(self, w: ArrayLike, grad_out: ArrayLike, *, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Return a copy of `grad_out`."""
        return copied(grad_out, latent(w).shape, out)

    @property
    def straight_through(self) -> bool:
        """True."""
        return True

    def at(self, progress: float) -> Self:
        """Return the estimator with the width ``bits + (end_bits - bits) * progress``; to be asked of the first one."""
        share = min(max(float(progress), 0.0), 1.0)
        return replace(self, bits=(1.0 - share) * self.bits + share * self.end_bits)

    def _noisy(
        self, x: NDArray[Any], key: np.uint64 | None, dtype: type[np.floating[Any]]
    ) -> tuple[NDArray[Any], NDArray[np.float64]]:
        """Weights with noise (not without a key), and the step of every block."""
        checks.finite("w", x)
        matrix = (1, 1, *x.shape)[-2:]
        outer = math.prod(x.shape[:-2])
        blocks = tuple(-(-n // self.block) for n in matrix)
        values, steps = np.empty((outer, *matrix), dtype), np.empty((outer, *blocks))
        deep, factor = np.ascontiguousarray(x).reshape(outer, *matrix), 2.0 ** (1.0 - self.bits)
        noise = (TAILS, np.uint64(0) if key is None else key, key is not None)
        run_items(
            lambda first, last: _kernels.noisy_blocks(deep, self.block, factor, *noise, steps, values, first, last),
            outer * blocks[0],
            self.block * matrix[1],
        )
        return values.reshape(x.shape), steps.reshape(x.shape[:-2] + blocks[2 - min(x.ndim, 2) :])
