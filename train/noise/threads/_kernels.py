"""Tasks: they take their arguments from a vector of words, and blocks of units until none is left.

The first three words are the unit that comes next, which threads share, how many units there are, and how many make a
block. Arrays are addresses, those of float32 if not said otherwise; numbers of kind float are float64.
"""

__all__ = ["convert", "draw", "enter", "quantise"]

from typing import Any

import numpy as np
from numba import carray, cfunc, types  # type: ignore[attr-defined]
from numba.extending import intrinsic

from tetrit.estimators.integers._kernels import uniform_rows
from tetrit.train.noise import _kernels

_MAGNITUDE = np.int32(0x7FFFFFFF)
_TASK = types.void(types.CPointer(types.int64))


def _pointer_to(kind: Any) -> Any:
    """Return a function that turns an address into a pointer to numbers of a kind."""

    def pointer(typingctx: Any, address: Any) -> Any:
        signature = types.CPointer(kind)(address)

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            return builder.inttoptr(args[0], context.get_value_type(sig.return_type))

        return signature, codegen

    return intrinsic(pointer)


_singles, _halves, _wholes, _fours = (
    _pointer_to(kind) for kind in (types.float32, types.uint16, types.int64, types.complex128)
)


def _added(typingctx: Any, word: Any, more: Any) -> Any:
    """Add to the word at a pointer what no other thread can come between; return what it was."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.atomic_rmw("add", args[0], args[1], "monotonic")

    return types.int64(word, types.int64), codegen


_add: Any = intrinsic(_added)


@cfunc(_TASK, cache=True)
def draw(words: Any) -> None:
    """Run `_kernels.draw` over outputs.

    Words from 3 on: values, n_out, n_in; top (float), scales, low; law (complex128), groups, integers; base (float),
    shares, rest, 1 or 0 for these; prefix and count of the key; rows; out, quiet (uint16), 1 or 0 for it.
    """
    w = carray(words, 22)
    real = w.view(np.float64)
    n_out, n_in, groups, lossy, noisy = w[4], w[5], w[10], w[15], w[21]
    values, scales = carray(_singles(w[3]), (n_out, n_in)), carray(_singles(w[7]), (n_out,))
    law = carray(_fours(w[9]), (groups, w[11]))
    shares = carray(_singles(w[13]), (groups * lossy, n_out, n_in))
    rest = carray(_singles(w[14]), (groups * lossy, n_out, n_in))
    out, quiet = (
        carray(_singles(w[19]), (groups * n_out, n_in)),
        carray(_halves(w[20]), (groups * n_out * n_in * noisy,)),
    )
    key = _kernels.numbered(np.uint64(w[16]), np.uint64(w[17]))
    top, base = np.float32(real[6]), np.float32(real[12])
    first = _add(words, w[2])
    while first < w[1]:
        last = min(first + w[2], w[1])
        _kernels.draw(values, top, scales, w[8], law, base, shares, rest, key, w[18], out, quiet, first, last)
        first = _add(words, w[2])


@cfunc(_TASK, cache=True)
def enter(words: Any) -> None:
    """Run `_kernels.enter` over vectors.

    Words from 3 on: x, n, n_in; step, low, high (floats); widths (int64), digits, rows; out, squares (uint16), 1 or 0
    for these.
    """
    w = carray(words, 15)
    real = w.view(np.float64)
    n, n_in, digits = w[4], w[5], w[10]
    x, widths = carray(_singles(w[3]), (n, n_in)), carray(_wholes(w[9]), (digits,))
    out, squares = carray(_singles(w[12]), (digits * n, n_in)), carray(_halves(w[13]), (digits * n * n_in * w[14],))
    step, low, high = np.float32(real[6]), np.float32(real[7]), np.float32(real[8])
    first = _add(words, w[2])
    while first < w[1]:
        last = min(first + w[2], w[1])
        _kernels.enter(x, step, low, high, widths, w[11], out, squares, first, last)
        first = _add(words, w[2])


@cfunc(_TASK, cache=True)
def convert(words: Any) -> None:
    """Run `_kernels.convert` over vectors.

    Words from 3 on: currents, variances (uint16), 1 or 0 for these; spread (float), floor, 1 or 0 for it; prefix and
    count of the key; gain, offset; low, high (floats), 1 or 0 for converters; factor, digits, parts, n_columns; scale,
    step (float), bias; n, n_out, out.
    """
    w = carray(words, 26)
    real = w.view(np.float64)
    digits, parts, n_columns, n, n_out = w[17], w[18], w[19], w[23], w[24]
    currents = carray(_singles(w[3]), (parts, digits * n, n_columns))
    variances = carray(_halves(w[4]), (parts * w[5], digits * n, n_columns))
    floor = carray(_singles(w[7]), (digits, parts, n_columns * w[8]))
    gain, offset = carray(_singles(w[11]), (digits, parts, n_columns)), carray(_singles(w[12]), (parts, n_columns))
    factor = carray(_singles(w[16]), (digits, parts, n_columns))
    scale, bias = carray(_singles(w[20]), (n_out,)), carray(_singles(w[22]), (n_out,))
    out = carray(_singles(w[25]), (n, n_out))
    key = _kernels.numbered(np.uint64(w[9]), np.uint64(w[10]))
    spread, step = np.float32(real[6]), np.float32(real[21])
    low, high, converts = np.float32(real[13]), np.float32(real[14]), w[15] != 0
    first = _add(words, w[2])
    while first < w[1]:
        last = min(first + w[2], w[1])
        _kernels.convert(
            currents, variances, spread, floor, key, gain, offset, low, high, converts, factor, scale, step, bias, out,
            first, last,
        )  # fmt: skip
        first = _add(words, w[2])


@cfunc(_TASK, cache=True)
def quantise(words: Any) -> None:
    """Run `uniform_rows` of the integer estimators over rows; where one is not finite, there are no more units.

    Words from 3 on: x, n, n_in; limit, least, largest (floats); out.
    """
    w = carray(words, 10)
    real = w.view(np.float64)
    n, n_in = w[4], w[5]
    x, out = carray(_singles(w[3]), (n, n_in)), carray(_singles(w[9]), (n, n_in))
    magnitudes, limits = np.empty(n, np.float32), np.empty(n)
    bits, largest = x.view(np.int32), magnitudes.view(np.int32)
    first = _add(words, w[2])
    while first < w[1]:
        last = min(first + w[2], w[1])
        if not uniform_rows(
            x, bits, _MAGNITUDE, largest, magnitudes, real[6], real[7], real[8], limits, out, first, last
        ):
            w[1] = 0
        first = _add(words, w[2])
