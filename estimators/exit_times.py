"""How long a latent weight stays in the dead zone of signed-zero ternary: the theory, and a simulator to hold it to.

A weight w with |w| <= D is a zero. Under gradient descent of rate eta, with nothing but zero-mean gradient noise of
standard deviation sigma, a straight-through gradient makes it walk at random, a vanishing one holds it for ever, and a
signed-zero surrogate adds a drift away from 0, to the side that the zero remembers. Steps are counted until the weight
is no longer a zero.
"""

__all__ = [
    "NOISES",
    "OVERSHOOT",
    "diffusion_exit_time",
    "lattice_exit_time",
    "outward_drift",
    "ruin_exit_time",
    "simulated_exit_times",
]

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tetrit import checks
from tetrit.errors import InvalidValueError
from tetrit.estimators.surrogates import Surrogate
from tetrit.estimators.szt import SZT

OVERSHOOT = 0.5825971579390107
"""Mean overshoot of a driftless walk with normal steps, in steps of one standard deviation: -zeta(1/2) / sqrt(2 pi)."""

NOISES = ("signs", "normal")
"""Gradient noise: +sigma or -sigma with equal probability, or normal with standard deviation sigma."""


def outward_drift(surrogate: Surrogate, *, sigma: float, noise: str = "signs") -> tuple[float, float]:
    """Return mean and standard deviation of the outward pull of a surrogate in the dead zone, per unit of rate.

    The gradient there is gain g - s (tilt |g| + drift) with s the sign of the zero, so that descent pulls outward by
    tilt E|g| + drift on average, and the noise is that of gain g - s tilt |g|. In the simulator's noise g has mean 0
    and |g| is uncorrelated with it.

    Parameters
    ----------
    surrogate : Surrogate
    sigma : float
        Non-negative, in units of the gradient.
    noise : {"signs", "normal"}

    Examples
    --------
    >>> from tetrit.estimators import signed_zero_slope
    >>> from tetrit.estimators.exit_times import outward_drift
    >>> outward_drift(signed_zero_slope(epsilon=0.25), sigma=2.0)
    (0.5, 2.0)
    """
    sigma = checks.real("sigma", sigma, minimum=0.0)
    checks.choice("noise", noise, NOISES)
    mean = sigma * (1.0 if noise == "signs" else math.sqrt(2.0 / math.pi))
    spread = max(sigma * sigma - mean * mean, 0.0)  # the variance of |g|
    deviation = math.sqrt((surrogate.gain * sigma) ** 2 + surrogate.tilt**2 * spread)
    return surrogate.tilt * mean + surrogate.drift, deviation


def ruin_exit_time(start: int, edge: int) -> float:
    """Return the expected number of steps of +1 or -1 until a walk from `start` reaches +-edge: edge^2 - start^2.

    The gambler's ruin, exact: the plain straight-through estimator under noise of signs, on a lattice of rate * sigma.

    Examples
    --------
    >>> from tetrit.estimators.exit_times import ruin_exit_time
    >>> ruin_exit_time(0, 10), ruin_exit_time(-6, 10)
    (100.0, 64.0)
    """
    edge = checks.integer("edge", edge)
    start = checks.integer("start", start, minimum=-edge, maximum=edge)
    return float(edge * edge - start * start)


def lattice_exit_time(start: int, half_width: int, *, outward: int, inward: int) -> float:
    """Return the exact expected number of steps until a lattice walk leaves the dead zone |k| <= half_width.

    Each step goes `outward` sites away from 0 or `inward` sites towards 0 (and beyond it), with equal probability; the
    site 0 counts as positive, as +0.0 does. Equal jumps are the plain walk, unequal ones a signed-zero surrogate
    under noise of signs. Solves T(k) = 1 + T(k + outward) / 2 + T(k - inward) / 2 with T = 0 outside: a banded linear
    system, tridiagonal for jumps of 1.

    Parameters
    ----------
    start : int
        From -half_width to half_width.
    half_width : int
        Non-negative.
    outward : int
        Positive.
    inward : int
        Any sign; negative where the drift is larger than the noise.

    Returns
    -------
    float
        Within the rounding of the solution. Infinity is not possible: every walk with outward steps leaves.

    Examples
    --------
    >>> from tetrit.estimators.exit_times import lattice_exit_time
    >>> round(lattice_exit_time(0, 9, outward=1, inward=1), 9)  # the gambler's ruin
    100.0
    >>> round(lattice_exit_time(0, 9, outward=3, inward=1), 6)
    9.309693
    """
    size = checks.integer("half_width", half_width, minimum=0)
    start = checks.integer("start", start, minimum=-size, maximum=size)
    outward = checks.integer("outward", outward)
    inward = checks.integer("inward", inward, minimum=-(2**31))
    sites = np.arange(-size, size + 1)
    sides = np.where(sites >= 0, 1, -1)
    system = np.eye(sites.size)
    for jump in (outward, -inward):
        targets = sites + sides * jump
        inside = np.abs(targets) <= size
        np.subtract.at(system, (np.flatnonzero(inside), targets[inside] + size), 0.5)
    return float(np.linalg.solve(system, np.ones(sites.size))[start + size])


def diffusion_exit_time(start: float, edge: float, *, rate: float, sigma: float, drift: float = 0.0) -> float:
    """Return the expected exit time in the limit of many small steps.

    Solves (rate sigma)^2 / 2 T'' + rate drift sign(w) T' = -1 with T(+-edge) = 0. With k = 2 drift / (rate sigma^2):

    T(w) = [(edge - |w|) - (exp(-k |w|) - exp(-k edge)) / k] / (rate drift),

    which is (edge^2 - w^2) / (rate sigma)^2 without drift, and (edge - |w|) / (rate drift) without noise. Infinity
    where there is neither (a vanishing gradient), or where rate is 0.

    Parameters
    ----------
    start, edge : float
        |start| <= edge, in units of the weights. For normal steps, an edge moved out by ``OVERSHOOT * rate * sigma``
        accounts for where the walk lands (Siegmund's correction).
    rate : float
        Learning rate, non-negative.
    sigma, drift : float
        Non-negative, in units of the gradient; see `outward_drift`.

    Examples
    --------
    >>> from tetrit.estimators.exit_times import diffusion_exit_time
    >>> for sigma, drift in ((1.0, 0.0), (1.0, 0.1), (0.0, 0.1), (0.0, 0.0)):
    ...     print(round(diffusion_exit_time(0.0, 1.0, rate=0.125, sigma=sigma, drift=drift), 3))
    64.0
    40.095
    80.0
    inf
    """
    edge = checks.real("edge", edge, minimum=0.0, exclusive=True)
    start = abs(checks.real("start", start))
    if start > edge:
        raise InvalidValueError(f"`start` must be from -{edge:g} to {edge:g}, got a magnitude of {start:g}")
    rate = checks.real("rate", rate, minimum=0.0)
    sigma = checks.real("sigma", sigma, minimum=0.0)
    drift = checks.real("drift", drift, minimum=0.0)
    if start == edge:
        return 0.0
    noise, pull = (rate * sigma) ** 2, rate * drift
    if noise == 0.0:
        return (edge - start) / pull if pull > 0.0 else math.inf
    k = 2.0 * pull / noise
    if k * edge < 1e-3:  # the closed form cancels there; what the series leaves out is a share below 1e-14
        terms = [(-k) ** n * 2.0 * (edge ** (n + 2) - start ** (n + 2)) / math.factorial(n + 2) for n in range(4)]
        return math.fsum(terms) / noise
    return ((edge - start) + (math.exp(-k * edge) - math.exp(-k * start)) / k) / pull


def simulated_exit_times(
    estimator: SZT,
    *,
    half_width: float,
    start: float = 0.0,
    rate: float,
    sigma: float,
    noise: str = "signs",
    n: int,
    max_steps: int,
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """Count the steps that weights spend as zeros under the real quantiser and its real gradient.

    `n` weights begin at `start` and follow w -= rate * estimator.backward(w, g) with independent noise g, until their
    code is no zero. The estimator takes its threshold from the mean magnitude of the tensor; one more weight, far
    outside, is set in every step so that this mean stays what makes the threshold `half_width` (exactly, where weights
    lie on a grid of few bits).

    Parameters
    ----------
    estimator : SZT
        With ``axis=None``.
    half_width : float
        Positive; the threshold D.
    start : float, default 0
        Within +-half_width; its sign is that of the zero it begins as.
    rate, sigma : float
        Learning rate, and standard deviation of the noise; non-negative.
    noise : {"signs", "normal"}
    n, max_steps : int
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of int64, shape (n,)
        Steps until the first code that is no zero; -1 where there was none within `max_steps`.

    Examples
    --------
    >>> import numpy as np
    >>> from tetrit import estimators
    >>> from tetrit.estimators.exit_times import simulated_exit_times
    >>> for tilt in (0.0, 0.25):
    ...     e = estimators.get("szt", surrogate=estimators.Surrogate(tilt=tilt))
    ...     rng = np.random.default_rng(0)
    ...     steps = simulated_exit_times(e, half_width=0.5, rate=0.1, sigma=1.0, n=400, max_steps=1000, rng=rng)
    ...     print(tilt, steps.mean().round(1))
    0.0 31.6
    0.25 15.0
    """
    if not isinstance(estimator, SZT) or estimator.axis is not None:
        raise TypeError(f"`estimator` must be an SZT with axis=None, got {estimator!r}")
    half_width = checks.real("half_width", half_width, minimum=0.0, exclusive=True)
    start = checks.real("start", start)
    if abs(start) > half_width:
        raise InvalidValueError(f"`start` must be within +-{half_width:g}, got {start:g}")
    rate = checks.real("rate", rate, minimum=0.0)
    sigma = checks.real("sigma", sigma, minimum=0.0)
    checks.choice("noise", noise, NOISES)
    n = checks.integer("n", n)
    max_steps = checks.integer("max_steps", max_steps, minimum=0)
    ratio = {"twn": 0.7, "absmean": 0.5}[estimator.threshold]
    # at least 8 weights, so that the last one is outside whatever the others do
    w = np.zeros(max(n, 7) + 1)
    w[:n] = start
    total = w.size * (half_width / ratio)
    w[-1] = total - np.abs(w[:-1]).sum()
    walking = np.arange(n)
    steps = np.full(n, -1, np.int64)
    for step in range(max_steps + 1):
        left = (estimator(w).codes[walking] & 1).astype(bool)
        steps[walking[left]] = step
        w[walking[left]] = 0.0
        w[-1] = total - np.abs(w[:-1]).sum()
        walking = walking[~left]
        if not walking.size or step == max_steps:
            break
        g: NDArray[Any] = np.zeros(w.size)
        if noise == "signs":
            g[walking] = sigma * (2.0 * rng.integers(0, 2, walking.size) - 1.0)
        else:
            g[walking] = sigma * rng.standard_normal(walking.size)
        w[walking] -= rate * estimator.backward(w, g)[walking]
        w[-1] = total - np.abs(w[:-1]).sum()
    return steps
