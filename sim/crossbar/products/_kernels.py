"""Matrix products of floating-point numbers, and of 16-bit integers in blocks, each scaled to float32: twice as fast.

BLAS orders its sums by the shape of a product and the number of threads, and its threads spin for a while after their
work. Here every result is one chain of fused multiplications and additions, from the first input to the last, each
rounded once, as IEEE 754 says; sums of integers within a block are exact, and blocks are added from first to last. So
the bits are the same on every machine, for any split, with and without the compiler.

The inner loops are written in LLVM's own vectors, which the compiler turns into the machine's multiply-and-add, for
pairs of 16-bit integers too (``vpmaddwd``, ``vpdpwssd``) where there is one.
"""

__all__ = ["BLOCK", "CELL_TOP", "INPUT_TOP", "ROWS", "WIDTH", "multiply", "multiply_counts"]

from typing import Any

import numpy as np
from numba import config, njit, types
from numba.extending import intrinsic

BLOCK, WIDTH, ROWS = 64, 32, 6
"""Inputs in a block; columns and rows of what is summed at a time."""

INPUT_TOP, CELL_TOP = 2**14, 2**11 - 1
"""Largest counts of an input and of a cell: their product times BLOCK is below 2^31."""

_VECTORS, _LANES = 2, 16


@intrinsic
def _count_tile(typingctx: Any, x: Any, w: Any, scale: Any, out: Any, row: Any, column: Any) -> Any:
    """Write ``ROWS x WIDTH`` results to out[row:, column:]; w and scale are those of the columns."""
    from llvmlite import ir  # type: ignore[import-untyped]

    signature = types.void(x, w, scale, out, row, column)
    i16, i32, i64, f32 = ir.IntType(16), ir.IntType(32), ir.IntType(64), ir.FloatType()
    pairs, wide = ir.VectorType(i16, 2 * _LANES), ir.VectorType(i32, 2 * _LANES)
    sums, floats = ir.VectorType(i32, _LANES), ir.VectorType(f32, _LANES)
    cells = [(r, c) for r in range(ROWS) for c in range(_VECTORS)]
    even, odd, first = (
        ir.Constant(sums, list(range(0, 2 * _LANES, 2))),
        ir.Constant(sums, list(range(1, 2 * _LANES, 2))),
        ir.Constant(sums, [0] * _LANES),
    )

    def codegen(context: Any, b: Any, sig: Any, args: Any) -> Any:
        def number(value: int) -> Any:
            return ir.Constant(i64, value)

        def array(k: int) -> Any:
            return context.make_array(sig.args[k])(context, b, args[k])

        given, weights, scales, result = (array(k) for k in range(4))
        depth = b.udiv(b.extract_value(given.shape, 1), number(2))  # in pairs
        row_at, column_at = args[4], args[5]
        x_at = b.gep(b.bitcast(given.data, i32.as_pointer()), [b.mul(row_at, depth)])
        w_at = b.bitcast(weights.data, pairs.as_pointer())
        scale_at = b.bitcast(scales.data, floats.as_pointer())
        n_columns = b.extract_value(result.shape, 1)
        out_at = b.gep(result.data, [b.add(b.mul(row_at, n_columns), column_at)])
        before = b.block
        outer, inner, flush, done = (b.function.append_basic_block(name) for name in ("block", "pair", "flush", "done"))
        b.branch(outer)

        b.position_at_end(outer)
        block = b.phi(i64)
        block.add_incoming(number(0), before)
        totals = [b.phi(floats) for _ in cells]
        for total in totals:
            total.add_incoming(ir.Constant(floats, [0.0] * _LANES), before)
        start = b.mul(block, number(BLOCK // 2))
        b.branch(inner)

        b.position_at_end(inner)
        pair = b.phi(i64)
        pair.add_incoming(number(0), outer)
        partial = [b.phi(sums) for _ in cells]
        for part in partial:
            part.add_incoming(ir.Constant(sums, [0] * _LANES), outer)
        at = b.add(start, pair)
        columns = []
        for c in range(_VECTORS):
            place = b.gep(w_at, [b.add(b.mul(at, number(_VECTORS)), number(c))])
            columns.append(b.sext(b.load(place, align=2), wide))
        grown = []
        for r in range(ROWS):
            both = b.load(b.gep(x_at, [b.add(b.mul(number(r), depth), at)]), align=2)
            one = b.insert_element(ir.Constant(sums, ir.Undefined), both, ir.Constant(i32, 0))
            spread = b.sext(b.bitcast(b.shuffle_vector(one, one, first), pairs), wide)
            for c in range(_VECTORS):
                products = b.mul(spread, columns[c])
                added = b.add(b.shuffle_vector(products, products, even), b.shuffle_vector(products, products, odd))
                grown.append(b.add(partial[r * _VECTORS + c], added))
        following = b.add(pair, number(1))
        pair.add_incoming(following, inner)
        for part, value in zip(partial, grown, strict=True):
            part.add_incoming(value, inner)
        b.cbranch(b.icmp_signed("<", following, number(BLOCK // 2)), inner, flush)

        b.position_at_end(flush)
        factors = [
            b.load(b.gep(scale_at, [b.add(b.mul(block, number(_VECTORS)), number(c))]), align=4)
            for c in range(_VECTORS)
        ]
        added_up = [
            b.fadd(total, b.fmul(b.sitofp(value, floats), factors[c]))
            for (_, c), total, value in zip(cells, totals, grown, strict=True)
        ]
        next_block = b.add(block, number(1))
        block.add_incoming(next_block, flush)
        for total, value in zip(totals, added_up, strict=True):
            total.add_incoming(value, flush)
        n_blocks = b.udiv(depth, number(BLOCK // 2))
        b.cbranch(b.icmp_signed("<", next_block, n_blocks), outer, done)

        b.position_at_end(done)
        for (r, c), value in zip(cells, added_up, strict=True):
            place = b.gep(out_at, [b.add(b.mul(number(r), n_columns), number(c * _LANES))])
            b.store(value, b.bitcast(place, floats.as_pointer()), align=4)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def _tile(typingctx: Any, x: Any, w: Any, out: Any, row: Any, column: Any) -> Any:
    """Write ``ROWS x WIDTH`` results of numbers of one kind to out[row:, column:]; w is that of the columns."""
    from llvmlite import ir

    signature = types.void(x, w, out, row, column)
    single = x.dtype == types.float32
    lanes = _LANES if single else _LANES // 2
    n_vectors, size = WIDTH // lanes, 4 if single else 8
    i32, i64 = ir.IntType(32), ir.IntType(64)
    floats = ir.VectorType(ir.FloatType() if single else ir.DoubleType(), lanes)
    cells = [(r, c) for r in range(ROWS) for c in range(n_vectors)]
    first = ir.Constant(ir.VectorType(i32, lanes), [0] * lanes)

    def codegen(context: Any, b: Any, sig: Any, args: Any) -> Any:
        from numba.core import cgutils

        def number(value: int) -> Any:
            return ir.Constant(i64, value)

        kind = ir.FunctionType(floats, [floats, floats, floats])
        fma = cgutils.get_or_insert_function(b.module, kind, f"llvm.fma.v{lanes}f{8 * size}")
        given, weights, result = (context.make_array(sig.args[k])(context, b, args[k]) for k in range(3))
        depth, n_columns = b.extract_value(given.shape, 1), b.extract_value(result.shape, 1)
        x_at = b.gep(given.data, [b.mul(args[3], depth)])
        w_at = b.bitcast(weights.data, floats.as_pointer())
        out_at = b.gep(result.data, [b.add(b.mul(args[3], n_columns), args[4])])
        before = b.block
        loop, done = (b.function.append_basic_block(name) for name in ("input", "done"))
        b.branch(loop)

        b.position_at_end(loop)
        k = b.phi(i64)
        k.add_incoming(number(0), before)
        totals = [b.phi(floats) for _ in cells]
        for total in totals:
            total.add_incoming(ir.Constant(floats, [0.0] * lanes), before)
        columns = [
            b.load(b.gep(w_at, [b.add(b.mul(k, number(n_vectors)), number(c))]), align=size) for c in range(n_vectors)
        ]
        grown = []
        for r in range(ROWS):
            value = b.load(b.gep(x_at, [b.add(b.mul(number(r), depth), k)]), align=size)
            one = b.insert_element(ir.Constant(floats, ir.Undefined), value, ir.Constant(i32, 0))
            spread = b.shuffle_vector(one, one, first)
            grown += [b.call(fma, [spread, columns[c], totals[r * n_vectors + c]]) for c in range(n_vectors)]
        following = b.add(k, number(1))
        k.add_incoming(following, loop)
        for total, value in zip(totals, grown, strict=True):
            total.add_incoming(value, loop)
        b.cbranch(b.icmp_signed("<", following, depth), loop, done)

        b.position_at_end(done)
        for (r, c), value in zip(cells, grown, strict=True):
            place = b.gep(out_at, [b.add(b.mul(number(r), n_columns), number(c * lanes))])
            b.store(value, b.bitcast(place, floats.as_pointer()), align=size)
        return context.get_dummy_value()

    return signature, codegen


@njit(cache=True, nogil=True)
def _multiply(x: Any, w: Any, out: Any, start: int, stop: int) -> None:
    for t in range(w.shape[0]):
        for r in range(start, stop):
            _tile(x, w[t], out, r * ROWS, t * WIDTH)  # type: ignore[call-arg]


def _multiply_by_numpy(x: Any, w: Any, out: Any, start: int, stop: int) -> None:
    rows = slice(start * ROWS, stop * ROWS)
    for t in range(w.shape[0]):
        total = np.zeros((rows.stop - rows.start, WIDTH), x.dtype)
        for k in range(w.shape[1]):
            total = _fused(x[rows, k : k + 1], w[t, k], total)
        out[rows, t * WIDTH : (t + 1) * WIDTH] = total


def _fused(x: Any, y: Any, z: Any) -> Any:
    """Return x y + z rounded once: float32 in float64 rounded to odd, which a second rounding cannot spoil.

    With float64, only what is exact is promised.
    """
    if x.dtype == np.float64:
        return x * y + z
    product, z = x.astype(np.float64) * y.astype(np.float64), z.astype(np.float64)
    total = product + z
    part = total - product
    error = (product - (total - part)) + (z - part)
    even = (total.view(np.int64) & 1) == 0
    odd = np.where((error != 0) & even, np.nextafter(total, np.copysign(np.inf, error)), total)
    return odd.astype(np.float32)


multiply = _multiply_by_numpy if config.DISABLE_JIT else _multiply  # type: ignore[attr-defined]
"""Write rows ``ROWS * start`` to ``ROWS * stop`` of a product, ``multiply(x, w, out, start, stop)``.

x (rows, depth); w (tiles, depth, WIDTH), tile by tile of columns; out (rows, tiles * WIDTH). All are float32, or all
are float64, with integers whose sums are below 2^53.
"""


@njit(cache=True, nogil=True)
def _multiply_counts(x: Any, w: Any, scale: Any, out: Any, start: int, stop: int) -> None:
    for t in range(w.shape[0]):
        for r in range(start, stop):
            _count_tile(x, w[t], scale[t], out, r * ROWS, t * WIDTH)  # type: ignore[call-arg]


def _multiply_counts_by_numpy(x: Any, w: Any, scale: Any, out: Any, start: int, stop: int) -> None:
    rows = slice(start * ROWS, stop * ROWS)
    for t in range(w.shape[0]):
        total = np.zeros((rows.stop - rows.start, WIDTH), np.float32)
        flat = w[t].transpose(0, 2, 1).reshape(-1, WIDTH).astype(np.int64)
        for block in range(scale.shape[1]):
            part = slice(block * BLOCK, (block + 1) * BLOCK)
            total += (x[rows, part].astype(np.int64) @ flat[part]).astype(np.float32) * scale[t, block]
        out[rows, t * WIDTH : (t + 1) * WIDTH] = total


multiply_counts = _multiply_counts_by_numpy if config.DISABLE_JIT else _multiply_counts  # type: ignore[attr-defined]
"""Write rows ``ROWS * start`` to ``ROWS * stop`` of a product, ``multiply_counts(x, w, scale, out, start, stop)``.

x is int16 (rows, depth); w int16 (tiles, depth / 2, WIDTH, 2), tile by tile of columns in pairs of inputs; scale is
float32 (tiles, depth / BLOCK, WIDTH); out float32 (rows, tiles * WIDTH). No sum of a block may reach 2^31.
"""
