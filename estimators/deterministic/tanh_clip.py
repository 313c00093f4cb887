"""True 4-bit training: fifteen symmetric values, straight-through gradients, weights bent back after every step."""

__all__ = ["TanhClip"]

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tetrit import checks
from tetrit.estimators._rows import latent, to_rows
from tetrit.estimators._run import run
from tetrit.estimators.deterministic import _kernels
from tetrit.estimators.uniform import STE


@dataclass(frozen=True, kw_only=True)
class TanhClip(STE):
    """Symmetric 4-bit integers with the plain straight-through estimator, and a soft clip after every optimiser step.

    Forward and backward as in `STE`: scale = max |w| / 7 and an integer from -7 to 7 (15 values), grad_w = grad_out.
    After every step of the optimiser the training loop replaces the latent weights by ``after_step(w)`` =
    bound * tanh(w / bound), which holds them within +-bound, so that no outlier stretches the scale, and leaves small
    ones almost as they are.

    Contract: codes and gradients bit-exact; `after_step` within three roundings of float64 (the hyperbolic tangent is
    the C library's), rounded once to the dtype of `w`, odd and non-decreasing.

    Parameters
    ----------
    format, axis, limit
        As in `STE`; by default ``int4``, one scale per tensor, from the largest |w|.
    bound : float, default 3
        Positive; where the soft clip saturates, in units of `w`.

    Raises
    ------
    TypeError, InvalidValueError
        As in `STE`.

    Notes
    -----
    Source: S. Tathe, true 4-bit training of convolutional networks on a CPU, arXiv 2603.13931, and its released
    code (github.com/shivnathtathe/vgg4bit-and-simpleresnet4bit), where the scale is per layer. Ties to the even
    integer, as numpy and torch round.

    Examples
    --------
    >>> import numpy as np
    >>> from tetrit.estimators.deterministic import TanhClip
    >>> e = TanhClip()
    >>> w = np.array([-1.4, -0.1, 0.0, 0.3, 6.0])
    >>> w = e.after_step(w)
    >>> w.round(3)
    array([-1.307, -0.1  ,  0.   ,  0.299,  2.892])
    >>> e(w).values.round(3)
    array([-1.239,  0.   ,  0.   ,  0.413,  2.892])
    >>> e.backward(w, np.array([1.0, 2.0, 3.0, 4.0, 5.0]))
    array([1., 2., 3., 4., 5.])
    """

    name: ClassVar[str] = "tanh_clip"

    format: str = "int4"
    bound: float = 3.0

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "bound", checks.real("bound", self.bound, minimum=0.0, exclusive=True))

    def after_step(self, w: ArrayLike) -> NDArray[Any]:
        """Return ``bound * tanh(w / bound)``, a new array of the shape and dtype of `w`."""
        x = latent(w)
        checks.finite("w", x)
        rows = to_rows(x, None)
        bent = np.empty(rows.shape)
        run(_kernels.tanh_values, rows, self.bound, bent)
        return bent.reshape(x.shape).astype(np.asarray(w).dtype)
