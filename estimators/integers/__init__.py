"""Kernels of rounding to integers within ends, which several families of estimators share."""
