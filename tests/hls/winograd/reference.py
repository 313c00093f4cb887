"""Direct convolution in loops over Python's numbers, which shares nothing with what it checks."""

from typing import Any

import numpy as np


def convolve(x: Any, w: Any, padding: tuple[int, int, int, int] = (0, 0, 0, 0), groups: int = 1) -> np.ndarray:
    """Return the correlation of x (batch, channels, h, w) with w (outputs, channels / groups, r, s), as objects."""
    top, left, bottom, right = padding
    batch, _, height, width = x.shape
    outputs, own, rows, columns = w.shape
    down, across = height + top + bottom - rows + 1, width + left + right - columns + 1
    result = np.zeros((batch, outputs, down, across), dtype=object)
    for image in range(batch):
        for out in range(outputs):
            first = out // (outputs // groups) * own
            for i in range(down):
                for j in range(across):
                    total = 0
                    for c in range(own):
                        for a in range(rows):
                            for b in range(columns):
                                y, z = i + a - top, j + b - left
                                if 0 <= y < height and 0 <= z < width:
                                    total += x[image, first + c, y, z].item() * w[out, c, a, b].item()
                    result[image, out, i, j] = total
    return result
