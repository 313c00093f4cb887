"""Chains of layers: AlexNet, VGG-16 and the generator of DCGAN."""

__all__ = ["alexnet", "dcgan_generator", "vgg16"]

import numpy as np
import numpy.typing as npt

from tetrit.hls.graph import Graph
from tetrit.hls.graph.build import Builder


def alexnet() -> Graph:
    """Return AlexNet as one tower (Krizhevsky, arXiv 1404.5997), the variant of torchvision, 224 x 224."""
    b = Builder("alexnet")
    x = b.input("image", (1, 3, 224, 224))
    x = b.max_pool(b.relu(b.conv(x, 64, 11, 4, 2, bias=True)), 3, 2)
    x = b.max_pool(b.relu(b.conv(x, 192, 5, 1, 2, bias=True)), 3, 2)
    for channels in (384, 256, 256):
        x = b.relu(b.conv(x, channels, 3, 1, 1, bias=True))
    x = b.flatten(b.max_pool(x, 3, 2))
    for features in (4096, 4096):
        x = b.relu(b.linear(x, features))
    return b.build([b.linear(x, 1000)])


def vgg16() -> Graph:
    """Return VGG-16, configuration D (Simonyan and Zisserman, arXiv 1409.1556), 224 x 224."""
    b = Builder("vgg16")
    x = b.input("image", (1, 3, 224, 224))
    for channels, count in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(count):
            x = b.relu(b.conv(x, channels, 3, 1, 1, bias=True))
        x = b.max_pool(x, 2)
    x = b.flatten(x)
    for features in (4096, 4096):
        x = b.relu(b.linear(x, features))
    return b.build([b.linear(x, 1000)])


def dcgan_generator() -> Graph:
    """Return DCGAN's generator (Radford et al., arXiv 1511.06434), 4 x 4 kernels as in PyTorch's example, 64 x 64."""
    b = Builder("dcgan_generator")
    x = b.input("noise", (1, 100, 1, 1))
    for index, channels in enumerate((512, 256, 128, 64, 3)):
        before = b.shape(x)[1]
        weight = b.constant(_zeros(before, channels, 4, 4), f"up{index}.weight")
        stride, pad = (1, 0) if index == 0 else (2, 1)
        x = b.node("ConvTranspose", [x, weight], name=f"up{index}", strides=(stride,) * 2, pads=(pad,) * 4)
        x = b.node("Tanh", [x]) if channels == 3 else b.relu(b.batch_norm(x))
    return b.build([x])


def _zeros(*shape: int) -> npt.NDArray[np.float32]:
    return np.broadcast_to(np.float32(0), shape)
