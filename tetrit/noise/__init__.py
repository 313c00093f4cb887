"""Counter-based random numbers: the authority for the number that belongs to a key and a place in its stream.

A number depends on its key and its place only. So it is the same in whatever order, blocks and threads numbers are
drawn, and on every machine. Every quantity that is drawn gets a key of its own.
"""

__all__ = ["MAX_SEED", "key", "normals", "uniforms"]

from typing import Any

import numpy as np
import numpy.typing as npt

from tetrit import checks
from tetrit.errors import InvalidValueError
from tetrit.parallel import run_blocks

MAX_SEED = 2**64 - 1
"""Largest seed, number and key."""

_MAX_FIRST = 2**62


def key(seed: int, *numbers: int) -> int:
    """Return the key of a seed and any numbers: a hash of them in order.

    Parameters
    ----------
    seed : int
        From 0 to 2^64 - 1.
    *numbers : int
        From 0 to 2^64 - 1, for instance which quantity, which array, which digit.

    Returns
    -------
    int
        From 0 to 2^64 - 1.

    Notes
    -----
    Every number is added to the hash of those before it as a step of SplitMix64 (Steele, Lea, Flood, "Fast Splittable
    Pseudorandom Number Generators", OOPSLA 2014), and the sum hashed twice, so that a key of more numbers is no word of
    the stream of a key of fewer. The combination is **ours**.

    Examples
    --------
    >>> from tetrit import noise
    >>> noise.key(1, 2) == noise.key(1, 2), noise.key(1, 2) == noise.key(2, 1), noise.key(1) == noise.key(1, 0)
    (True, False, False)
    """
    from tetrit.noise._kernels import INCREMENT

    state = _mixed((checks.integer("seed", seed, minimum=0, maximum=MAX_SEED) + INCREMENT) & MAX_SEED)
    for number in numbers:
        step = checks.integer("numbers", number, minimum=0, maximum=MAX_SEED) + 1
        state = _mixed(_mixed((state + step * INCREMENT) & MAX_SEED) ^ INCREMENT)
    return state


def _mixed(x: int) -> int:
    from tetrit.noise._kernels import FIRST_FACTOR, SECOND_FACTOR

    x = ((x ^ (x >> 30)) * FIRST_FACTOR) & MAX_SEED
    x = ((x ^ (x >> 27)) * SECOND_FACTOR) & MAX_SEED
    return x ^ (x >> 31)


def normals(key: int, n: int, *, first: int = 0, dtype: npt.DTypeLike = np.float64) -> npt.NDArray[Any]:
    """Return standard normals `first` to ``first + n - 1`` of a key's stream.

    Parameters
    ----------
    key : int
        See `key`.
    n : int
        Non-negative.
    first : int, default 0
        From 0 to 2^62.
    dtype : float64 or float32
        Of the result; its values are float32 numbers in either case.

    Returns
    -------
    ndarray, shape (n,)
        The same bits on every machine, for any number of threads.

    Notes
    -----
    Two of each 64-bit word, by the transform of Box and Muller (1958) in float32. Magnitudes reach 6.66 (of all,
    a share of 3e-11 lies beyond); every value is within 3e-6 of what exact arithmetic makes of the word's bits.

    Examples
    --------
    >>> from tetrit import noise
    >>> z = noise.normals(noise.key(7), 100_000)
    >>> round(float(z.mean()), 2), round(float(z.std()), 2)
    (0.0, 1.0)
    >>> bool((noise.normals(noise.key(7), 3, first=5) == z[5:8]).all())
    True
    """
    wanted = np.dtype(dtype)
    if wanted not in (np.dtype(np.float64), np.dtype(np.float32)):
        raise InvalidValueError(f"`dtype` must be float64 or float32, got {wanted}")
    from tetrit.noise._kernels import fill_normals

    out: npt.NDArray[Any] = np.empty(checks.integer("n", n, minimum=0), wanted)
    _fill(fill_normals, out, key, first)
    return out


def uniforms(key: int, n: int, *, first: int = 0) -> npt.NDArray[np.float64]:
    """Return uniform numbers from [0, 1), `first` to ``first + n - 1`` of a key's stream: multiples of 2^-53.

    Parameters
    ----------
    key, n, first
        See `normals`. Normals and uniforms of one key are made of the same bits, and so not independent.

    Returns
    -------
    ndarray of float64, shape (n,)
        The same bits on every machine, for any number of threads.

    Examples
    --------
    >>> from tetrit import noise
    >>> bool((noise.uniforms(noise.key(7), 1000) < 0.5).sum() in range(400, 600))
    True
    """
    from tetrit.noise._kernels import fill_uniforms

    out = np.empty(checks.integer("n", n, minimum=0))
    _fill(fill_uniforms, out, key, first)
    return out


def _fill(kernel: Any, out: npt.NDArray[Any], key: int, first: int) -> None:
    state = np.uint64(checks.integer("key", key, minimum=0, maximum=MAX_SEED))
    begin = checks.integer("first", first, minimum=0, maximum=_MAX_FIRST)
    with np.errstate(over="ignore"):  # without the compiler, numpy warns of words that wrap around as they should
        run_blocks(lambda start, stop: kernel(out, state, begin, start, stop), out.size)
