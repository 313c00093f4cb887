"""Learned tables: weights on the entries of a codebook that is trained with them, and the pull towards the entries."""

__all__ = ["LearnedTable"]

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tetrit import checks, formats
from tetrit.errors import InvalidValueError
from tetrit.estimators._rows import gradient, gradient_out, latent, to_rows
from tetrit.estimators._run import chunk_count, largest_magnitudes, run, sum_chunks, sums_of_magnitudes
from tetrit.estimators.base import Estimator, Quantized
from tetrit.estimators.grids import _kernels
from tetrit.estimators.grids._places import Grid, grid_codes, grid_values, nearest_grid, thresholds

_PULLS = ("l1", "l2")
_FIT_ROUNDS = 25
_ONE = np.ones(1)


@dataclass(frozen=True, kw_only=True)
class LearnedTable(Estimator):
    """A table of 2 to 256 values for the whole tensor, each weight standing for the nearest one.

    Forward: code = the entry nearest to w, value = ``table[code]``; a tie goes to the even code (of two codes of equal
    parity, to the lower), of equal entries to the lowest. The entries are in units of `w` and in any order.
    Gradients:

    - by w: grad_w = grad_out (straight through);
    - by entry k: the sum of grad_out over the weights that have code k, which is its true gradient wherever no weight
      lies on a border; 0 for an entry that no weight has.

    Proximal updates: after an optimiser's step, `after_step` moves every weight towards its entry c,
    w <- argmin_u 1/2 (u - w)^2 + strength R(u), with

    - pull="l1": R(u) = min_k |u - table[k]|: w = c where |w - c| <= strength, else w - strength sign(w - c);
    - pull="l2": R(u) = min_k 1/2 (u - table[k])^2: w = (w + strength c) / (1 + strength).

    With strength 0, the default, nothing moves. `at` raises the strength from 0 to `strength` in proportion to the
    progress.

    Contract: codes, values and proximal updates bit-exact, the latter rounded once to the dtype of `w`; the table's
    gradient is a float64 sum in a fixed order, the same for any number of threads.

    Parameters
    ----------
    entries : int, default 16
        2 to 256: the size of the table where it is not given.
    table : tuple of float or None, default None
        The entries, which `entries` then follows. None fits a table to the tensor at every call, as `start` does once:
        by at most 25 rounds of k-means, begun at the order statistics of the ranks (k + 1/2) n / entries.
    pull : {"l1", "l2"}, default "l1"
        The regulariser R of the proximal update.
    strength : float, default 0
        Non-negative, in units of `w` for ``l1`` and without unit for ``l2``: that of one optimiser's step, the learning
        rate included.

    Raises
    ------
    TypeError
        If an array is not float16, float32 or float64.
    InvalidValueError
        If `w` has a NaN or an infinity (the message names its index), if `grad_out` has another shape than `w`, or if a
        table is to be fitted and the sum of the magnitudes overflows float64. `backward` reads the shape of `w` only.

    Notes
    -----
    Source of the proximal updates: Bai, Wang, Liberty, "ProxQuant: Quantized Neural Networks via Proximal Operators",
    arXiv 1810.00861, ICLR 2019, with a strength that grows in proportion to the step's number. Nearest entries, the
    gradient of an entry as a sum over its members, and k-means are common knowledge of learned codebooks; their
    combination, the ties, the start, and the update for a table of any size are **our reconstruction**.

    Examples
    --------
    >>> import numpy as np
    >>> from dataclasses import replace
    >>> from tetrit.estimators.grids import LearnedTable
    >>> e = LearnedTable(table=(-1.0, 0.0, 0.25, 2.0), strength=0.125)
    >>> w = np.array([-0.75, -0.1, 0.2, 0.5, 1.5])
    >>> e(w).values, e(w).format
    (array([-1.  ,  0.  ,  0.25,  0.25,  2.  ]), 'codebook(-1.0,0.0,0.25,2.0)')
    >>> e.backward(w, np.ones(5)), e.parameter_gradients(w, np.ones(5))
    (array([1., 1., 1., 1., 1.]), {'table': array([1., 1., 2., 1.])})
    >>> e.after_step(w), replace(e, pull="l2").proximal(w, 1.0)
    (array([-0.875,  0.   ,  0.25 ,  0.375,  1.625]), array([-0.875, -0.05 ,  0.225,  0.375,  1.75 ]))
    """

    name: ClassVar[str] = "codebook"
    learnable: ClassVar[dict[str, tuple[float, float]]] = {"table": (-math.inf, math.inf)}

    entries: int = 16
    table: tuple[float, ...] | None = None
    pull: str = "l1"
    strength: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "entries", checks.integer("entries", self.entries, minimum=2, maximum=256))
        if self.table is not None:
            table = _checked_table(self.table)
            object.__setattr__(self, "table", table)
            object.__setattr__(self, "entries", len(table))
        checks.choice("pull", self.pull, _PULLS)
        object.__setattr__(self, "strength", checks.real("strength", self.strength, minimum=0.0))

    def __call__(self, w: ArrayLike) -> Quantized:
        """Quantise `w`; codes are uint8 of the same shape, the scale is 1, the format spells the table."""
        x, rows, table = self._prepared(w)
        codes = grid_codes(nearest_grid(table), rows, _ONE, x.shape, None)
        return Quantized(codes=codes, scale=np.array(1.0), format=formats.codebook_name(table))

    def forward(self, w: ArrayLike, *, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Return the values of the codes, in one pass."""
        x, rows, table = self._prepared(w)
        return grid_values(nearest_grid(table), rows, _ONE, x.shape, None, out)

    def backward(self, w: ArrayLike, grad_out: ArrayLike, *, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Return a copy of `grad_out`."""
        g = gradient(grad_out, latent(w).shape)
        return gradient_out(g, None, out, lambda grad, into: np.copyto(into, grad))

    def parameter_gradients(self, w: ArrayLike, grad_out: ArrayLike) -> dict[str, NDArray[np.float64]]:
        """Return the gradient of the table, of shape (entries,)."""
        x, rows, table = self._prepared(w)
        g = gradient(grad_out, x.shape)
        grid = nearest_grid(table)
        sums, _ = _member_sums(grid, rows, to_rows(g.astype(np.float64) if g.dtype == np.float16 else g, None))
        by_entry = np.zeros(len(table))
        by_entry[grid.codes] = sums
        return {"table": by_entry}

    @property
    def straight_through(self) -> bool:
        """Whether `backward` returns `grad_out` as it is, which it always does."""
        return True

    def proximal(self, w: ArrayLike, strength: float) -> NDArray[Any]:
        """Return `w` after one proximal update of this strength: a new array of the shape and dtype of `w`."""
        strength = checks.real("strength", strength, minimum=0.0)
        x, rows, table = self._prepared(w)
        grid = nearest_grid(table)
        limits = thresholds(grid.borders, _ONE, rows.dtype)
        narrow = np.asarray(w).dtype.itemsize < rows.dtype.itemsize  # float16, bfloat16: round once, from float64
        moved = np.empty(rows.shape, np.float64 if narrow else rows.dtype)
        run(_kernels.pulled, rows, limits, grid.values[None], strength, self.pull == "l2", moved)
        return moved.reshape(x.shape).astype(np.asarray(w).dtype, copy=False)

    def after_step(self, w: ArrayLike) -> NDArray[Any]:
        """Return `w` after one proximal update of strength `strength`."""
        return self.proximal(w, self.strength) if self.strength else np.array(w)

    def at(self, progress: float) -> Self:
        """Return the estimator with the strength multiplied with `progress`."""
        return replace(self, strength=self.strength * min(max(float(progress), 0.0), 1.0))

    def start(self, w: ArrayLike) -> tuple[Self, NDArray[Any]]:
        """Return the estimator with a table fitted to `w`, and a copy of `w`."""
        _, _, table = replace(self, table=None)._prepared(w)
        return replace(self, table=table), np.array(w)

    def refit(self, w: ArrayLike, *, rounds: int = 1) -> Self:
        """Return the estimator after rounds of k-means: every entry becomes the mean of its members, if it has any."""
        rounds = checks.integer("rounds", rounds)
        x, rows, table = self._prepared(w)
        return replace(self, table=_moved_to_means(x, rows, table, rounds))

    def _prepared(self, w: ArrayLike) -> tuple[NDArray[Any], NDArray[Any], tuple[float, ...]]:
        """Array, rows, and the table, given or fitted; the array must be finite."""
        x = latent(w)
        rows = to_rows(x, None)
        if not np.isfinite(largest_magnitudes(rows)[0]):
            checks.finite("w", x)
        if self.table is not None:
            return x, rows, self.table
        places = (2 * np.arange(self.entries) + 1) * rows.size // (2 * self.entries)
        table = np.partition(rows[0], places)[places] if rows.size else np.zeros(self.entries)
        return x, rows, _moved_to_means(x, rows, _tuple(table), _FIT_ROUNDS)


def _checked_table(table: Any) -> tuple[float, ...]:
    """Return the table as a tuple of 2 to 256 finite floats."""
    if not isinstance(table, tuple | list | np.ndarray) or np.ndim(table) != 1:
        raise TypeError(f"`table` must be a tuple of numbers or None, got {table!r}")
    if not 2 <= len(table) <= 256:
        raise InvalidValueError(f"`table` must have 2 to 256 entries, got {len(table)}")
    return tuple(checks.real(f"table[{i}]", entry) + 0.0 for i, entry in enumerate(table))


def _tuple(table: NDArray[Any]) -> tuple[float, ...]:
    # + 0.0 turns -0.0 into 0.0: a codebook has one zero
    return tuple((table.astype(np.float64) + 0.0).tolist())


def _member_sums(grid: Grid, rows: NDArray[Any], terms: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the sum of the terms, and the number, of the members of every value of the grid, in the golden order."""
    shape = (1, chunk_count(rows.shape[1]), grid.values.size)
    sums, counts = np.zeros(shape), np.zeros(shape, np.int64)
    run(_kernels.member_sums, rows, thresholds(grid.borders, _ONE, rows.dtype), terms, sums, counts)
    return sum_chunks(sums[0].T), counts[0].sum(axis=0)


def _moved_to_means(x: NDArray[Any], rows: NDArray[Any], table: tuple[float, ...], rounds: int) -> tuple[float, ...]:
    """Return the table after at most so many rounds of k-means; it stops when nothing moves."""
    if not np.isfinite(sums_of_magnitudes(rows)[0]):
        raise InvalidValueError("`w` must have a sum of magnitudes that float64 can hold, got an overflow")
    for _ in range(rounds):
        grid = nearest_grid(table)
        sums, counts = _member_sums(grid, rows, rows)
        moved = np.array(table)
        held = counts > 0
        moved[grid.codes[held]] = sums[held] / counts[held]
        if _tuple(moved) == table:
            break
        table = _tuple(moved)
    return table
