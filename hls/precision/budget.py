"""The choice of one format for every layer: least total loss within a budget, proven."""

__all__ = ["assign_precision"]

import numpy as np
import numpy.typing as npt

from tetrit import checks
from tetrit.errors import InvalidValueError
from tetrit.hls.precision._sums import least_costs, nondominated


def assign_precision(costs: npt.ArrayLike, losses: npt.ArrayLike, budget: float) -> npt.NDArray[np.int64]:
    """Choose a format for every layer, so that the losses add up to as little as the budget of costs allows.

    Contract: the result is optimal, by construction: layer after layer, all sums of cost and loss are kept that no
    other sum beats in both, and one of those is the optimum. Of equal losses the cheaper one is taken. Costs and losses
    are added layer by layer in float64, exact for integers up to 2^53.

    Parameters
    ----------
    costs, losses : array_like of float, shape (layers, formats)
        What each format costs in each layer, and what it loses. A format that a layer cannot have has a loss of
        infinity.
    budget : float
        The greatest total cost.

    Returns
    -------
    ndarray of int64, shape (layers,)
        Index of the format of each layer.

    Raises
    ------
    InvalidValueError
        If the arrays are not of one shape, hold a NaN or a cost that is not finite, or no choice is within the budget.

    Examples
    --------
    >>> assign_precision([[4, 8, 16], [4, 8, 16]], [[0.5, 0.1, 0.0], [0.2, 0.05, 0.0]], 12).tolist()
    [1, 0]
    """
    cost, loss = np.asarray(costs, dtype=np.float64), np.asarray(losses, dtype=np.float64)
    if cost.ndim != 2 or 0 in cost.shape or cost.shape != loss.shape:
        raise InvalidValueError(
            f"`costs` and `losses` must have one shape (layers, formats), got {cost.shape} and {loss.shape}"
        )
    checks.finite("costs", cost)
    if np.isnan(loss).any() or (loss == -np.inf).any():
        raise InvalidValueError("`losses` must be numbers or infinity, got NaN or -inf")
    limit = checks.real("budget", budget)
    found = nondominated(cost, loss, limit)
    if found is None:
        least = float(least_costs(cost, loss)[0])
        raise InvalidValueError(
            f"`budget` must be at least {least:g}, the least that the layers cost, got {limit:g}"
            if np.isfinite(least)
            else "`losses` must leave every layer a format, got one with infinity alone"
        )
    return found.formats(int(found.losses.argmin()))
