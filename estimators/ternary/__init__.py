"""Kernels of the signed-zero-ternary estimator."""
