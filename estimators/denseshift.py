"""The DenseShift estimator: a sign and a nest of binary references instead of one latent weight."""

__all__ = ["DenseShift"]

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tetrit import checks
from tetrit.errors import InvalidValueError
from tetrit.estimators import _kernels
from tetrit.estimators._rows import gradient, latent
from tetrit.estimators._run import largest_magnitudes, run
from tetrit.estimators._values import checked, stored
from tetrit.estimators.base import Estimator, Quantized

_REFERENCES = {"pot2": 2, "pot3": 4, "pot4": 8}


@dataclass(frozen=True, kw_only=True)
class DenseShift(Estimator):
    """Zero-free shift weights by sign-scale decomposition: w = scale * sign(r_0) * 2^S with a nested exponent.

    The latent array has a leading axis of R references r_0 ... r_{R-1} (R = 2, 4, 8 for ``pot2``, ``pot3``, ``pot4``);
    codes and values have the shape of one reference. With the step H(r) = 1 for r > 0, else 0, the exponent is
    S_0 = 0, S_t = H(r_t) (1 + S_{t-1}), S = S_{R-1}: the number of positive references in a row, counted from the
    last. sign is -1 for a set sign bit, -0.0 included.

    Backward, with the straight-through H'(r) = sign'(r) = 1 for |r| <= clip and 0 outside:
    grad r_0 = grad_out * scale 2^S sign'(r_0);
    grad r_t = grad_out * scale sign(r_0) 2^S ln 2 * prod_{u>t} H(r_u) * H'(r_t) * (1 + S_{t-1}).

    Parameters
    ----------
    format : {"pot3", "pot2", "pot4"}, default "pot3"
        The set of values: +-{1, 2}, +-{1, 2, 4, 8} or +-{1, ..., 128}.
    scale : float, default 1
        Positive; the real value of 2^0, fixed. `start` chooses it for given float weights.
    clip : float, default infinity
        Positive; where the straight-through gradients end.

    Raises
    ------
    TypeError
        If an array is not float16, float32 or float64.
    InvalidValueError
        If the latent array has not R references or has a NaN or an infinity (the message names its index), or if
        `grad_out` has not the shape of one reference.

    Notes
    -----
    After Li, Liu, Yang, Courville, Xing, Partovi Nia, "DenseShift", ICCV 2023, arXiv 2208.09708: zero-free shift
    weights, sign-scale decomposition, recursively re-parameterised exponent. The recursion as written here, the number
    of references (the paper is said to hold bits + 1), the straight-through steps, and the start from float weights
    instead of a low-variance random start are **our reconstruction**.

    Examples
    --------
    >>> import numpy as np
    >>> from tetrit import estimators
    >>> e = estimators.get("denseshift", format="pot2", scale=0.5)
    >>> references = np.array([[0.3, -0.2, 0.1], [0.5, 0.4, -0.1]])
    >>> e(references).values
    array([ 1. , -1. ,  0.5])
    >>> e.backward(references, np.ones(3)).round(3)
    array([[ 1.   ,  1.   ,  0.5  ],
           [ 0.693, -0.693,  0.347]])
    """

    name: ClassVar[str] = "denseshift"

    format: str = "pot3"
    scale: float = 1.0
    clip: float = np.inf

    def __post_init__(self) -> None:
        checks.choice("format", self.format, _REFERENCES)
        object.__setattr__(self, "scale", checks.real("scale", self.scale, minimum=0.0, exclusive=True))
        clip = checks.real("clip", self.clip, minimum=0.0, exclusive=True, infinite=True)
        object.__setattr__(self, "clip", clip)

    def __call__(self, w: ArrayLike) -> Quantized:
        """Quantise the references; codes are uint8 of the shape of one reference."""
        x = self._references(w)
        codes = np.empty(x[0].size, np.uint8)
        _kernels.nested_codes(x.reshape(len(x), -1), codes)
        return Quantized(codes=codes.reshape(x.shape[1:]), scale=np.array(self.scale), format=self.format)

    def forward(self, w: ArrayLike, *, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Return the values of the codes, in float64 or rounded once into `out`, without making the codes."""
        x = self._references(w)
        direct = False
        if out is not None:
            checked(out, x.shape[1:])
            direct = out.flags.c_contiguous and out.dtype != np.float16 and not np.may_share_memory(out, x)
        into = out if direct and out is not None else np.empty(x.shape[1:])
        run(_kernels.nested_values, into.reshape(1, -1), x.reshape(len(x), -1), self.scale)
        return into if direct else stored(into, out)

    def backward(self, w: ArrayLike, grad_out: ArrayLike, *, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Return the gradient of every reference, of the shape of `w`; within a few roundings of its dtype."""
        x = self._references(w)
        g = gradient(grad_out, x.shape[1:])
        if out is not None:
            checks.output(out, x.shape, g.dtype, apart={"grad_out": g, "w": x}, may_be_same=True)
        kind = np.float64 if g.dtype == np.float16 else g.dtype
        apart = out is not None and not any(np.may_share_memory(out, each) for each in (g, x))
        direct = out is not None and apart and out.flags.c_contiguous and out.dtype == kind
        result = out if direct and out is not None else np.empty(x.shape, kind)
        run(
            _kernels.nested_backward,
            np.ascontiguousarray(g).reshape(1, -1).astype(kind, copy=False),
            x.reshape(len(x), -1),
            self.scale,
            self.clip,
            result.reshape(len(x), -1),
        )
        if direct:
            return result
        with np.errstate(over="ignore"):
            if out is None:
                return result.astype(g.dtype, copy=False)
            np.copyto(out, result, casting="same_kind")
        return out

    def start(self, w: ArrayLike) -> tuple[Self, NDArray[Any]]:
        """Return the estimator with a scale for the float weights `w`, and references that quantise them to nearest.

        scale = max |w| / (largest value); r_0 = w / scale; reference t is the distance of |w| / scale above the
        border between two neighbouring powers, the lowest border in the last reference.
        """
        x = latent(w)
        checks.finite("w", x)
        exponents = _REFERENCES[self.format] - 1
        largest = float(np.abs(x).max(initial=0.0))
        scale = largest / 2.0**exponents or 1.0
        borders = 1.5 * 2.0 ** np.arange(exponents - 1, -1, -1.0)
        unit = x.astype(np.float64) / scale
        references = np.stack([unit, *(np.abs(unit) - border for border in borders)])
        return replace(self, scale=scale), references.astype(x.dtype)

    def value_shape(self, latent_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of one reference."""
        return latent_shape[1:]

    def _references(self, w: ArrayLike) -> NDArray[Any]:
        x = np.ascontiguousarray(latent(w))
        count = _REFERENCES[self.format]
        if x.ndim == 0 or len(x) != count:
            raise InvalidValueError(
                f"`w` must have {count} references on its first axis for '{self.format}', got shape {x.shape}"
            )
        if not np.isfinite(largest_magnitudes(x.reshape(1, -1))).all():
            checks.finite("w", x)
        return x
