"""The kinds of layers that can be on a crossbar: the vectors that each multiplies, and its clean product."""

__all__ = ["NOISE_AWARE", "NoiseAwareConv1d", "NoiseAwareConv2d", "NoiseAwareLinear"]

from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional

from tetrit.errors import InvalidValueError
from tetrit.train.noise.extended import NoiseAwareLayer
from tetrit.train.patches import Patches, places
from tetrit.train.qat.layers import LowBitConv1d, LowBitConv2d, LowBitLayer, LowBitLinear


class NoiseAwareLinear(NoiseAwareLayer, LowBitLinear):
    """`torch.nn.Linear` on a crossbar."""

    def check_input(self, x: Tensor) -> None:
        """Raise InvalidValueError if the last axis does not count the inputs."""
        if x.ndim == 0 or x.shape[-1] != self.in_features:
            raise InvalidValueError(
                f"the input of layer '{self.label}' must have shape (..., {self.in_features}), got {tuple(x.shape)}"
            )

    def vectors(self, x: Tensor) -> Tensor:
        """Return the input as a matrix."""
        return _as_matrix(x)

    def broadcast(self, values: Tensor) -> Tensor:
        """Return the values as they are: outputs are the last axis."""
        return values

    def folded(self, y: Tensor, x: Tensor) -> Tensor:
        """Return the products with the leading axes of `x`."""
        return y if x.ndim == 2 else y.reshape(*x.shape[:-1], y.shape[-1])

    def clean(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return ``x @ weight.T + bias``."""
        return functional.linear(x, weight, bias)

    def clean_backward(
        self, x: Tensor, weight: Tensor, grad: Tensor, wanted: tuple[bool, bool, bool]
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """Return the gradients of ``x @ weight.T + bias``."""
        flat, rows = _as_matrix(grad), _as_matrix(x)
        return (
            (flat @ weight).view_as(x) if wanted[0] else None,
            flat.t() @ rows if wanted[1] else None,
            flat.sum(0) if wanted[2] else None,
        )


def _as_matrix(x: Tensor) -> Tensor:
    return x if x.ndim == 2 else x.reshape(-1, x.shape[-1])


class _Conv(NoiseAwareLayer):
    """What convolutions share: their vectors are the patches of images."""

    spatial: ClassVar[int]
    in_channels: int
    kernel_size: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    padding_mode: Literal["zeros", "reflect", "replicate", "circular"]
    padding: tuple[int, ...] | str
    _reversed_padding_repeated_twice: list[int]

    def _sides(self) -> list[int]:
        """Return the padding on every side, as `functional.pad` takes it."""
        return list(self._reversed_padding_repeated_twice)

    def _padded(self, x: Tensor) -> Tensor:
        sides = self._sides()
        if not any(sides):
            return x
        mode = "constant" if self.padding_mode == "zeros" else self.padding_mode
        return functional.pad(x, sides, mode=mode)

    def _images(self, x: Tensor) -> Tensor:
        return x if x.ndim == self.spatial + 2 else x[None]

    def _output_shape(self, x: Tensor) -> tuple[int, ...]:
        sides = self._sides()  # of the last axis first
        padding = [sum(sides[2 * at : 2 * at + 2]) for at in reversed(range(self.spatial))]
        sizes = [n + more for n, more in zip(x.shape[-self.spatial :], padding, strict=True)]
        return places(sizes, self.kernel_size, self.stride, self.dilation)

    def broadcast(self, values: Tensor) -> Tensor:
        """Return the values with an axis for each of an image's."""
        return values.reshape(-1, *(1,) * self.spatial)

    def check_input(self, x: Tensor) -> None:
        """Raise InvalidValueError if there are not as many channels or axes, or if the kernel has no place."""
        if x.ndim not in (self.spatial + 1, self.spatial + 2) or x.shape[-self.spatial - 1] != self.in_channels:
            sizes = "length" if self.spatial == 1 else "height, width"
            raise InvalidValueError(
                f"the input of layer '{self.label}' must have shape ([n,] {self.in_channels}, {sizes}), "
                f"got {tuple(x.shape)}"
            )
        if min(self._output_shape(x)) < 1:
            raise InvalidValueError(
                f"the input of layer '{self.label}', of shape {tuple(x.shape)}, is smaller than the kernel's reach"
            )

    def vectors(self, x: Tensor) -> Patches:
        """Return the patches of the images."""
        images = self._padded(self._images(x))
        return Patches(images=images, kernel=self.kernel_size, stride=self.stride, dilation=self.dilation)

    def folded(self, y: Tensor, x: Tensor) -> Tensor:
        """Return the products as images."""
        shape = self._output_shape(x)
        batch = (x.shape[0],) if x.ndim == self.spatial + 2 else ()
        return y.reshape(*batch, *shape, y.shape[-1]).movedim(-1, len(batch)).contiguous()

    def clean(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return the convolution."""
        y: Tensor = self._conv_forward(x, weight, bias)  # type: ignore[operator]
        return y

    def clean_backward(
        self, x: Tensor, weight: Tensor, grad: Tensor, wanted: tuple[bool, bool, bool]
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """Return the gradients of the convolution."""
        sides = self._sides()
        if self.padding_mode == "zeros" and sides[0::2] == sides[1::2]:
            given, kernel, offset = torch.ops.aten.convolution_backward(
                self._images(grad),
                self._images(x),
                weight,
                [weight.shape[0]] if wanted[2] else None,
                self.stride,
                sides[::-2],
                self.dilation,
                False,
                [0] * self.spatial,
                1,
                wanted,
            )
            return given if given is None else given.reshape(x.shape), kernel, offset
        with torch.enable_grad():
            tensors = [x.detach(), weight.detach(), weight.new_zeros(weight.shape[0])]
            for tensor, want in zip(tensors, wanted, strict=True):
                tensor.requires_grad_(want)
            y = self.clean(*tensors)
            asked = [tensor for tensor in tensors if tensor.requires_grad]
            found = iter(torch.autograd.grad(y, asked, grad))
        a, b, c = (next(found) if want else None for want in wanted)
        return a, b, c


class NoiseAwareConv1d(_Conv, LowBitConv1d):
    """`torch.nn.Conv1d` on a crossbar."""

    spatial: ClassVar[int] = 1


class NoiseAwareConv2d(_Conv, LowBitConv2d):
    """`torch.nn.Conv2d` on a crossbar."""

    spatial: ClassVar[int] = 2


NOISE_AWARE: dict[type[LowBitLayer], type[NoiseAwareLayer]] = {
    LowBitConv1d: NoiseAwareConv1d,
    LowBitConv2d: NoiseAwareConv2d,
    LowBitLinear: NoiseAwareLinear,
}
"""What `noise_aware` makes of a prepared layer."""
