"""The optimiser of the plain-numpy trainer."""

__all__ = ["Adam"]

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tetrit.train.network import Float, Network


class Adam:
    """Adam with decoupled weight decay (arXiv 1711.05101) and a running average, on one flat vector.

    Parameters
    ----------
    network : Network
        Its parameters become views of the vector.
    decay : float
        Weight decay per unit of learning rate, on weights only.
    average : float
        Decay per step of the running average.
    """

    def __init__(self, network: Network, *, decay: float, average: float) -> None:
        arrays = [a for layer in network.layers for a in (layer.latent, layer.bias)]
        self.flat = np.concatenate([a.reshape(-1) for a in arrays])
        self.grad = np.zeros_like(self.flat)
        self.first = np.zeros_like(self.flat)
        self.second = np.zeros_like(self.flat)
        self.mean = self.flat.copy()
        self.decay = np.zeros_like(self.flat)
        self.average = average
        self.steps = 0
        at = 0
        for layer in network.layers:
            for field in ("latent", "bias"):
                array = getattr(layer, field)
                part = slice(at, at + array.size)
                setattr(layer, field, self.flat[part].reshape(array.shape))
                self.decay[part] = decay if field == "latent" else 0.0
                at += array.size

    def step(self, gradients: list[tuple[NDArray[Any], Float]], rate: float) -> None:
        """Move all parameters, which are views of the flat vector, against their gradients."""
        np.concatenate([g.reshape(-1) for pair in gradients for g in pair], out=self.grad)
        self.steps += 1
        self.first += np.float32(0.1) * (self.grad - self.first)
        self.second += np.float32(0.001) * (self.grad * self.grad - self.second)
        unbias = np.sqrt(1.0 - 0.999**self.steps) / (1.0 - 0.9**self.steps)
        update = np.float32(unbias) * self.first / (np.sqrt(self.second) + np.float32(1e-8))
        self.flat -= np.float32(rate) * (update + self.decay * self.flat)
        keep = min(self.average, self.steps / (self.steps + 10.0))
        self.mean += np.float32(1.0 - keep) * (self.flat - self.mean)
