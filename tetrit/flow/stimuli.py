"""Operands that netlists are characterised with, and what is made of the energies: the fit, and the netlists' names."""

__all__ = ["Stimulus", "netlist_of", "weighted_fit"]

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tetrit.formats import RealFormat
from tetrit.rtl import Synthesis
from tetrit.rtl.flat import flatten
from tetrit.sim.cost.operands import normal_weights, rectified

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Stimulus:
    """Random operands of a product.

    Attributes
    ----------
    name : str
        What they are called.
    vectors : int
        Vectors of activations.
    terms, outputs : float
        Terms of a sum, in rows of the array; outputs, in columns.
    act_zeros : float
        Share of activations that are zero.
    signed : bool
        Whether activations have signs; half-normal otherwise.
    spread : float
        Standard deviation of activations, as a share of the range.
    correlation : float
        Of an activation with the one of the next vector.
    weight_zeros : float or None
        Share of zeros among weights; None: codes are drawn evenly.
    positive_weights : bool
        Whether weights are not negative.
    normal_weights : bool
        Whether weights are normal, rounded to the format; codes are drawn evenly otherwise.
    """

    name: str
    vectors: int = 32
    terms: float = 4.0
    outputs: float = 1.0
    act_zeros: float = 0.5
    signed: bool = False
    spread: float = 0.25
    correlation: float = 0.0
    weight_zeros: float | None = None
    positive_weights: bool = False
    normal_weights: bool = False

    def acts(self, act_format: RealFormat, vectors: int, terms: int, rng: np.random.Generator) -> Ints:
        """Return activations, shape (vectors, terms)."""
        drawn = rng.normal(size=(vectors, terms))
        for one in range(1, vectors):
            drawn[one] = self.correlation * drawn[one - 1] + np.sqrt(1.0 - self.correlation**2) * drawn[one]
        kept = (
            np.broadcast_to(rng.random(terms), (vectors, terms)) if self.correlation else rng.random((vectors, terms))
        )
        values = drawn if self.signed else np.abs(drawn)
        return rectified(values * (kept >= self.act_zeros), self.spread, act_format)

    def weights(self, weight_format: RealFormat, terms: int, outputs: int, rng: np.random.Generator) -> Ints:
        """Return weight codes, shape (terms, outputs)."""
        usable = np.flatnonzero(~np.isnan(weight_format.values))
        integers = weight_format.integers
        if self.positive_weights:
            usable = usable[integers[usable] >= 0]
        if self.normal_weights:
            codes = normal_weights(weight_format, (terms, outputs), rng)
        else:
            codes = rng.choice(usable, size=(terms, outputs))
        zeros, others = usable[integers[usable] == 0], usable[integers[usable] != 0]
        if self.weight_zeros is None or not len(zeros):
            return codes
        zero = rng.random(codes.shape) < self.weight_zeros
        codes = np.where(integers[codes] == 0, rng.choice(others, size=codes.shape), codes)
        return np.where(zero, rng.choice(zeros, size=codes.shape), codes)


def weighted_fit(
    names: Sequence[str], counts: Sequence[Mapping[str, float]], energies_pj: Sequence[float]
) -> dict[str, float]:
    """Return the price of each name, none below zero, of the least sum of squares of relative errors."""
    from scipy.optimize import nnls

    energy = np.array(energies_pj)
    table = np.array([[count.get(name, 0.0) for name in names] for count in counts]) / energy[:, np.newaxis]
    size = np.maximum(table.max(axis=0), np.finfo(np.float64).tiny)  # columns of a like size, for the solver
    solved, _ = nnls(table / size, np.ones(len(energy)))
    return dict(zip(names, (solved / size).tolist(), strict=True))


def netlist_of(synthesis: Synthesis) -> str:
    """Return a fingerprint of a mapped netlist: of its cells and how they are joined."""
    flat = flatten(synthesis.structure)
    digest = hashlib.sha256(" ".join(cell.name for cell in flat.technology.cells).encode())
    for array in (flat.cell_type, flat.in_nets, flat.out_nets):
        digest.update(np.ascontiguousarray(array, dtype="<i4").tobytes())
    return f"{synthesis.name}:{digest.hexdigest()[:16]}"
