"""Compiled loops of the operators that numpy has no fast form for."""

__all__ = ["depthwise"]

from typing import Any

from numba import njit


@njit(cache=True, nogil=True)
def depthwise(x: Any, w: Any, stride: tuple[int, int], dilation: tuple[int, int], out: Any) -> None:
    """Add to `out` the convolution of every channel with its own kernels.

    Parameters
    ----------
    x : ndarray, shape (batch, channels, height, width)
        Padded input.
    w : ndarray, shape (channels * multiple, kernel height, kernel width)
        Kernels; those of one channel follow each other.
    stride, dilation : tuple of int
        Of both axes.
    out : ndarray, shape (batch, channels * multiple, out height, out width)
        Changed in place.
    """
    multiple = w.shape[0] // x.shape[1]
    for image in range(out.shape[0]):
        for channel in range(out.shape[1]):
            plane = x[image, channel // multiple]
            for row in range(out.shape[2]):
                total = out[image, channel, row]
                for ky in range(w.shape[1]):
                    line = plane[row * stride[0] + ky * dilation[0]]
                    for kx in range(w.shape[2]):
                        factor = w[channel, ky, kx]
                        # slices and counts from 0, so that it is compiled to vector instructions
                        part = line[kx * dilation[1] :]
                        if stride[1] == 1:
                            for column in range(total.shape[0]):
                                total[column] += factor * part[column]
                        else:
                            for column in range(total.shape[0]):
                                total[column] += factor * part[column * stride[1]]
