"""Matrix products."""

__all__: list[str] = []

import numpy as np

from tetrit.hls.graph.ir import Node
from tetrit.hls.graph.operators.common import Array, converted, operator, sum_dtype


@operator("Gemm")
def gemm(node: Node, a: Array, b: Array, c: Array | None = None) -> Array:
    wide = sum_dtype(a.dtype)
    left = a.T if node.attributes.get("transA", 0) else a
    right = b.T if node.attributes.get("transB", 0) else b
    alpha, beta = node.attributes.get("alpha", 1.0), node.attributes.get("beta", 1.0)
    result = left.astype(wide, copy=False) @ right.astype(wide, copy=False)
    if alpha != 1:
        result = (result * alpha).astype(wide)
    if c is not None and beta != 0:
        result += (c if beta == 1 else c * beta).astype(wide, copy=False)
    return converted(result, a.dtype)


@operator("MatMul")
def matmul(node: Node, a: Array, b: Array) -> Array:
    wide = sum_dtype(a.dtype)
    return np.asarray(np.matmul(a.astype(wide, copy=False), b.astype(wide, copy=False))).astype(a.dtype, copy=False)


@operator("MatMulInteger")
def matmul_integer(node: Node, a: Array, b: Array, a_zero: Array | None = None, b_zero: Array | None = None) -> Array:
    # float64 is exact: products below 2**16 would need 2**37 terms to reach 2**53
    left, right = a.astype(np.float64), b.astype(np.float64)
    if a_zero is not None:
        left = left - (a_zero[:, None] if a_zero.ndim == 1 and a_zero.size > 1 else a_zero)
    if b_zero is not None:
        right = right - b_zero
    return np.asarray(left @ right).astype(np.int32)


@operator("Einsum")
def einsum(node: Node, *xs: Array) -> Array:
    return np.asarray(np.einsum(node.attributes["equation"].replace(" ", ""), *xs, optimize=True))
