"""When AdaPT changes its precision: down to where the weights' histogram still agrees, up by gradient diversity."""

__all__ = [
    "SwitchRule",
    "gradient_diversity",
    "histogram_divergence",
    "next_lookback",
    "push_down",
    "push_up",
    "switch",
]

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tetrit import checks
from tetrit.errors import InvalidValueError
from tetrit.estimators._rows import latent, to_rows
from tetrit.estimators._run import chunk_count, largest_magnitudes, run, sums_of_magnitudes
from tetrit.estimators.adaptive import _kernels
from tetrit.estimators.adaptive.adapt import MAX_FRACTION, MAX_WORD, MIN_WORD, AdaPT, integer_bits

_STRATEGIES = ("min", "mean", "max")


@dataclass(frozen=True, kw_only=True)
class SwitchRule:
    """The constants of a precision switch.

    Parameters
    ----------
    bins : int, default 50
        Bins of the histograms that `push_down` compares.
    threshold : float, default 1e-3
        Non-negative; the divergence in nats up to which a word length loses nothing. Ours: the paper asks for 0, which
        no word of 16 bits meets on a large tensor, since single weights cross the border of a bin.
    strategy : {"min", "mean", "max"}, default "min"
        Which of the two step sizes of `push_up`, or their mean, is taken.
    min_word, max_word : int, default 2 and 16
        The range of word lengths.
    buffer_bits : int, default 4
        Bits, sign included, that `push_up` would leave in front of the fraction for results that grow; where all
        weights are below 1/2, in front of where the binary point would be if they were scaled up to 1. The
        implementation that we read has 8 of 32.
    min_lookback, max_lookback : int, default 10 and 100
        The range of how many gradients lie between two switches.
    momentum : float, default 0.33
        From 0 to 1; how fast the lookback follows the diversity.

    Examples
    --------
    >>> from tetrit.estimators.adaptive import SwitchRule
    >>> SwitchRule(bins=20, max_word=8).max_word
    8
    """

    bins: int = 50
    threshold: float = 1e-3
    strategy: str = "min"
    min_word: int = MIN_WORD
    max_word: int = MAX_WORD
    buffer_bits: int = 4
    min_lookback: int = 10
    max_lookback: int = 100
    momentum: float = 0.33

    def __post_init__(self) -> None:
        object.__setattr__(self, "bins", checks.integer("bins", self.bins))
        object.__setattr__(self, "threshold", checks.real("threshold", self.threshold, minimum=0.0))
        checks.choice("strategy", self.strategy, _STRATEGIES)
        low = checks.integer("min_word", self.min_word, minimum=MIN_WORD, maximum=MAX_WORD)
        high = checks.integer("max_word", self.max_word, minimum=low, maximum=MAX_WORD)
        object.__setattr__(self, "min_word", low)
        object.__setattr__(self, "max_word", high)
        buffer = checks.integer("buffer_bits", self.buffer_bits, minimum=0, maximum=high - 1)
        object.__setattr__(self, "buffer_bits", buffer)
        least = checks.integer("min_lookback", self.min_lookback)
        object.__setattr__(self, "min_lookback", least)
        object.__setattr__(self, "max_lookback", checks.integer("max_lookback", self.max_lookback, minimum=least))
        momentum = checks.real("momentum", self.momentum, minimum=0.0)
        if momentum > 1:
            raise InvalidValueError(f"`momentum` must be from 0 to 1, got {momentum:g}")
        object.__setattr__(self, "momentum", momentum)


def histogram_divergence(w: ArrayLike, values: ArrayLike, *, bins: int = 50) -> float:
    """Return KL(values || w), in nats, between the histograms of two arrays over the range of `w`.

    The bins divide [-m, m] with m the largest |w|; what lies beyond counts in the bin at the end. 0 exactly where the
    histograms are the same, infinity where `values` fill a bin that `w` leaves empty.

    Parameters
    ----------
    w : array_like of float
        Finite, of any shape.
    values : array_like of float
        Finite, of the same size; e.g. ``estimator.forward(w)``.
    bins : int, default 50

    Returns
    -------
    float
        Non-negative; 0 for empty arrays. Counts are integers, so the number of threads changes nothing.

    Notes
    -----
    The direction is that of arXiv 2107.13490 as we know it second-hand; bins over a symmetric range are **ours**.

    Examples
    --------
    >>> import numpy as np
    >>> from tetrit.estimators.adaptive import histogram_divergence
    >>> w = np.array([-1.0, -0.4, 0.1, 0.4, 1.0])
    >>> histogram_divergence(w, w, bins=4), histogram_divergence(w, np.sign(w), bins=4)
    (0.0, 0.936426245424844)
    """
    x, y = latent(w), latent(values)
    bins = checks.integer("bins", bins)
    checks.finite("values", y)
    if y.size != x.size:
        raise InvalidValueError(f"`values` must have as many elements as `w`, {x.size}, got {y.size}")
    reach = _reach(x)
    have, want = _counts(y, reach, bins), _counts(x, reach, bins)
    total = 0.0
    for q, p in zip(have, want, strict=True):
        if q and not p:
            return math.inf
        if q:
            total += q / x.size * math.log(q / p)
    return max(total, 0.0)


def push_down(w: ArrayLike, *, rule: SwitchRule | None = None) -> tuple[int, int]:
    """Return the least word length, and its fraction length, whose rounding keeps the histogram of `w`.

    For every word length from ``rule.min_word`` the fraction takes the bits that the largest |w| leaves; the first one
    with ``histogram_divergence(w, rounded w) <= rule.threshold`` is taken, else ``rule.max_word``. Rounding is to the
    nearest, so that the answer is a function of `w` alone.

    Notes
    -----
    Source: arXiv 2107.13490 (PushDown) for the criterion. The search from below (the implementation that we read
    bisects, which assumes that the divergence falls with every bit) and the fraction length are **our reconstruction**.

    Examples
    --------
    >>> import numpy as np
    >>> from tetrit.estimators.adaptive import SwitchRule, push_down
    >>> w = np.random.default_rng(0).normal(size=10000)
    >>> [push_down(w, rule=SwitchRule(threshold=threshold)) for threshold in (1.0, 0.01, 0.001)]
    [(6, 3), (8, 5), (9, 6)]
    """
    rule = rule or SwitchRule()
    x = latent(w)
    whole = integer_bits(x)
    for word in range(rule.min_word, rule.max_word):
        e = AdaPT(word_length=word, fraction_length=word - 1 - whole)
        if histogram_divergence(x, e.forward(x), bins=rule.bins) <= rule.threshold:
            return word, word - 1 - whole
    return rule.max_word, rule.max_word - 1 - whole


def gradient_diversity(gradients: Sequence[ArrayLike]) -> float:
    """Return the sum of the norms of some gradients over the norm of their sum.

    1 where all point the same way, large where they cancel, infinity where they cancel exactly or are all 0.

    Parameters
    ----------
    gradients : sequence of array_like of float
        At least one; finite, of one shape.

    Returns
    -------
    float
        At least 1, up to rounding. Sums run in the golden order; no gradient is too large for it.

    Notes
    -----
    The measure by which the implementation of arXiv 2107.13490 that we read decides; not checked against the paper.

    Examples
    --------
    >>> import numpy as np
    >>> from tetrit.estimators.adaptive import gradient_diversity
    >>> gradient_diversity([np.array([3.0, 4.0]), np.array([3.0, -4.0])])
    1.6666666666666667
    """
    arrays = [latent(g) for g in gradients]
    if not arrays:
        raise InvalidValueError("`gradients` must have at least one array, got none")
    for i, g in enumerate(arrays):
        if g.shape != arrays[0].shape:
            raise InvalidValueError(f"`gradients[{i}]` must have shape {arrays[0].shape}, got {g.shape}")
        checks.finite(f"gradients[{i}]", g)
    reach = max(_reach(g) for g in arrays)
    total = np.zeros(arrays[0].shape)
    norms = 0.0
    for g in arrays:
        part = g.astype(np.float64) / reach  # keeps the squares in range
        norms += _norm(part)
        total += part
    norm = _norm(total)
    return norms / norm if norm > 0.0 else math.inf


def push_up(
    word_length: int, fraction_length: int, diversity: float, *, rule: SwitchRule | None = None
) -> tuple[int, int]:
    """Return the word and fraction length that leave the gradients room to act.

    Let z = max(FL - (WL - 1), 0) be the places behind the binary point that lie above the whole word, and F = FL - z
    the bits of the fraction that the word has. With d the diversity and l = ln d - 1, these grow by s bits: s = 1 where
    d is infinite or l <= 0; else ``rule.strategy`` of s1 = ceil(1 / l^2), at least 1, and s2 = min(ceil(W l^2), W) - F,
    at least 0, with W = ``max_word``. Then F' = min(F + s, W - room), at least F, and WL' = max(WL, F') + 1, at least
    F' + room and at most W, where room is the larger of ``buffer_bits`` and WL - F, the bits in front of the fraction,
    sign included; FL' = F' + z.

    So no bit is given up at either end, FL' >= FL and WL' - FL' >= WL - FL: where W has no place for both, the buffer
    is what gives way. And a power of two moves the point only: FL + k gives FL' + k and the same WL', from FL = WL - 1.

    Parameters
    ----------
    word_length : int
        From 2 to ``rule.max_word``.
    fraction_length : int
        Up to 1022, more than the word has where all weights are small; so is the result.
    diversity : float
        Positive, infinity allowed: `gradient_diversity`.
    rule : SwitchRule, optional

    Notes
    -----
    The steps s1, s2 and the word length follow a public implementation of arXiv 2107.13490 that we read (the optimiser
    ``MSGD_FP``), there with W = 32 and FL <= WL; not checked against the paper. That neither the bits in front of the
    fraction nor those of the fraction are ever given up, and the leading places z, are **ours**: there, large weights
    can lose the former and small ones the latter.

    Examples
    --------
    >>> from tetrit.estimators.adaptive import push_up
    >>> [push_up(6, 4, diversity) for diversity in (1.5, 4.0, 6.0, float("inf"))]
    [(9, 5), (8, 4), (10, 6), (9, 5)]
    >>> [push_up(10, 9 + k, 1.0) for k in (0, 1, 11)]
    [(14, 10), (14, 11), (14, 21)]
    """
    rule = rule or SwitchRule()
    word = checks.integer("word_length", word_length, minimum=MIN_WORD, maximum=rule.max_word)
    fraction = checks.integer("fraction_length", fraction_length, minimum=-1100, maximum=MAX_FRACTION)
    diversity = checks.real("diversity", diversity, minimum=0.0, exclusive=True, infinite=True)
    ahead = max(fraction - (word - 1), 0)
    held = fraction - ahead
    step = 1
    logarithm = math.log(diversity) - 1.0
    if 0.0 < logarithm < math.inf:
        square = logarithm * logarithm
        first = max(math.ceil(1.0 / square), 1)
        second = max(min(math.ceil(rule.max_word * square), rule.max_word) - held, 0)
        mean = -((first + second) // -2)
        step = {"min": min(first, second), "mean": mean, "max": max(first, second)}[rule.strategy]
    room = max(rule.buffer_bits, word - held)
    held = max(held, min(held + step, rule.max_word - room, MAX_FRACTION - ahead))
    return min(max(max(word, held) + 1, held + room), rule.max_word), held + ahead


def next_lookback(lookback: int, diversity: float, *, rule: SwitchRule | None = None) -> int:
    """Return how many gradients the next switch waits for: fewer where they disagree.

    The old one moved by ``rule.momentum`` towards max_lookback / diversity, held within the rule's range; rounded up.

    Notes
    -----
    From the same implementation as `push_up`.

    Examples
    --------
    >>> from tetrit.estimators.adaptive import next_lookback
    >>> next_lookback(50, 4.0), next_lookback(50, 1.0), next_lookback(50, 1000.0)
    (42, 67, 37)
    """
    rule = rule or SwitchRule()
    old = checks.integer("lookback", lookback)
    diversity = checks.real("diversity", diversity, minimum=0.0, exclusive=True, infinite=True)
    target = math.ceil(min(max(rule.max_lookback / diversity, rule.min_lookback), rule.max_lookback))
    return math.ceil(target * rule.momentum + old * (1.0 - rule.momentum))


def switch(estimator: AdaPT, w: ArrayLike, gradients: Sequence[ArrayLike], *, rule: SwitchRule | None = None) -> AdaPT:
    """Return the estimator for the next stretch of training: `push_down` by the weights, then `push_up`.

    Pure: the same arguments give the same estimator. Rounding and seed stay.

    Parameters
    ----------
    estimator : AdaPT
        In use so far.
    w : array_like of float
        The float weights, of any shape.
    gradients : sequence of array_like of float
        Those since the last switch, of the shape of `w`.
    rule : SwitchRule, optional

    Examples
    --------
    >>> import numpy as np
    >>> from tetrit.estimators.adaptive import AdaPT, switch
    >>> rng = np.random.default_rng(0)
    >>> e = switch(AdaPT(word_length=16), rng.uniform(-0.9, 0.9, 1000), rng.normal(size=(20, 1000)))
    >>> e.word_length, e.fraction_length
    (14, 10)
    """
    rule = rule or SwitchRule()
    if not isinstance(estimator, AdaPT):
        raise TypeError(f"`estimator` must be an AdaPT, got {estimator!r}")
    word, fraction = push_up(*push_down(w, rule=rule), gradient_diversity(gradients), rule=rule)
    return replace(estimator, word_length=word, fraction_length=fraction)


def _reach(x: NDArray[np.floating]) -> float:
    """Largest magnitude, 1 where that is 0; `x` must be finite."""
    largest = float(largest_magnitudes(to_rows(x, None))[0])
    if not math.isfinite(largest):
        checks.finite("w", x)
    return largest or 1.0


def _counts(x: NDArray[np.floating], reach: float, bins: int) -> list[int]:
    rows = to_rows(x, None)
    parts = np.zeros((chunk_count(rows.shape[1]), bins), np.int64)
    run(_kernels.histogram_counts, rows, reach, parts)
    counts: list[int] = parts.sum(axis=0).tolist()
    return counts


def _norm(x: NDArray[np.float64]) -> float:
    return math.sqrt(sums_of_magnitudes(to_rows(np.square(x), None))[0])
