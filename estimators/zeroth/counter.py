"""The noise generator: the authority for the 64-bit word that belongs to a seed and an element's number."""

__all__ = ["counter_words", "key_of", "step_seed"]

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tetrit import checks
from tetrit.estimators._run import run
from tetrit.estimators.zeroth import _kernels
from tetrit.noise._kernels import FIRST_FACTOR, INCREMENT, SECOND_FACTOR

_MASK = 2**64 - 1
MAX_SEED = _MASK
MAX_OFFSET = 2**62


def _mixed(x: int) -> int:
    x = ((x ^ (x >> 30)) * FIRST_FACTOR) & _MASK
    x = ((x ^ (x >> 27)) * SECOND_FACTOR) & _MASK
    return x ^ (x >> 31)


def key_of(seed: int) -> int:
    """Return the key of a seed: its hash, so that neighbouring seeds have unrelated streams."""
    seed = checks.integer("seed", seed, minimum=0, maximum=MAX_SEED)
    return _mixed((seed + INCREMENT) & _MASK)


def step_seed(seed: int, step: int) -> int:
    """Return the seed of one step of a training that began with `seed`.

    Parameters
    ----------
    seed : int
        From 0 to 2^64 - 1.
    step : int
        Non-negative.

    Examples
    --------
    >>> from tetrit.estimators.zeroth import step_seed
    >>> step_seed(0, 0) == step_seed(0, 0), step_seed(0, 0) == step_seed(0, 1)
    (True, False)
    """
    step = checks.integer("step", step, minimum=0)
    return _mixed((key_of(seed) + (step + 1) * INCREMENT) & _MASK)


def counter_words(n: int, *, seed: int, offset: int = 0) -> NDArray[np.uint64]:
    """Return the words with numbers `offset` to ``offset + n - 1`` of a seed's stream.

    Word i is output i of the generator SplitMix64 in the state ``key_of(seed)``, found without the ones before it:
    three xors, two products and one sum modulo 2^64, which any integer unit can do.

    Parameters
    ----------
    n : int
        Non-negative.
    seed : int
        From 0 to 2^64 - 1.
    offset : int, default 0
        From 0 to 2^62.

    Returns
    -------
    ndarray of uint64, shape (n,)
        Bit-exact on every machine, the same for any number of threads.

    Notes
    -----
    SplitMix64: Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014. The key is **ours**.

    Examples
    --------
    >>> from tetrit.estimators.zeroth import counter_words
    >>> counter_words(3, seed=1)[1:].tolist() == counter_words(2, seed=1, offset=1).tolist()
    True
    """
    out = np.empty((1, checks.integer("n", n, minimum=0)), np.uint64)
    run_quietly(_kernels.words, out, np.uint64(key_of(seed)), checked_offset(offset))
    numbers: NDArray[np.uint64] = out[0]
    return numbers


def checked_offset(offset: int) -> int:
    """Return `offset` as an int from 0 to 2^62."""
    return checks.integer("offset", offset, minimum=0, maximum=MAX_OFFSET)


def run_quietly(kernel: Any, *args: Any) -> None:
    """Run a kernel without numpy's warning of wrapped-around words, which it gives where there is no compiler."""
    with np.errstate(over="ignore"):
        run(kernel, *args)
