"""Convolutions as products of matrices."""

__all__ = ["Patches", "as_matrix", "places"]

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor


def _reach(kernel: Sequence[int], dilation: Sequence[int]) -> tuple[int, ...]:
    return tuple(gap * (taps - 1) + 1 for taps, gap in zip(kernel, dilation, strict=True))


def places(
    sizes: Sequence[int], kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> tuple[int, ...]:
    """Return how many places a kernel has along each axis of a padded image; below 1 where it has none."""
    reach = _reach(kernel, dilation)
    return tuple((n - k) // step + 1 for n, k, step in zip(sizes, reach, stride, strict=True))


@dataclass(frozen=True, kw_only=True, eq=False)
class Patches:
    """The vectors that a convolution multiplies its kernels with: those of every place, one after another.

    Attributes
    ----------
    images : Tensor, shape (n, channels, *sizes)
        Padded already.
    kernel, stride, dilation : tuple of int
        One for each of the sizes.
    """

    images: Tensor
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]

    @cached_property
    def reach(self) -> tuple[int, ...]:
        """How far a kernel reaches."""
        return _reach(self.kernel, self.dilation)

    @cached_property
    def places(self) -> tuple[int, ...]:
        """Shape of an image of results."""
        return places(self.images.shape[2:], self.kernel, self.stride, self.dilation)

    def __len__(self) -> int:
        """Return the number of vectors."""
        return len(self.images) * math.prod(self.places)

    def split(self, most: int) -> Iterator["Patches"]:
        """Yield parts of at most so many vectors: whole images, or some of the places along the first axis, or one."""
        each = math.prod(self.places)
        if len(self) <= most:
            yield self
        elif each <= most:
            for images in self.images.split(most // each):
                yield self._of(images)
        else:
            some = max(1, most * self.places[0] // each)
            for image in self.images.split(1):
                for start in range(0, self.places[0], some):
                    last = min(start + some, self.places[0]) - 1
                    yield self._of(image[:, :, start * self.stride[0] : last * self.stride[0] + self.reach[0]])

    def _of(self, images: Tensor) -> "Patches":
        return Patches(images=images, kernel=self.kernel, stride=self.stride, dilation=self.dilation)

    def matrix(self) -> Tensor:
        """Return the vectors, shape (vectors, channels * taps): places and taps in row-major order.

        One copy out of overlapping views; `torch.nn.functional.unfold` and the transposition after it take two, and 1
        to 5 times as long on a CPU.
        """
        views = self.images
        for axis, (reach, step, gap) in enumerate(zip(self.reach, self.stride, self.dilation, strict=True), start=2):
            views = views.unfold(axis, reach, step)[..., ::gap]
        spatial = len(self.kernel)
        order = 0, *range(2, 2 + spatial), 1, *range(2 + spatial, 2 + 2 * spatial)
        return views.permute(order).reshape(len(self), self.images.shape[1] * math.prod(self.kernel))


def as_matrix(vectors: Tensor | Patches) -> Tensor:
    """Return vectors as the rows of a matrix."""
    return vectors.matrix() if isinstance(vectors, Patches) else vectors
