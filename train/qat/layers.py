"""Layers with quantised weights and inputs: torch's own layers, with quantisers before their one function."""

__all__ = [
    "LOW_BIT",
    "LowBitConv1d",
    "LowBitConv2d",
    "LowBitConv3d",
    "LowBitConvTranspose1d",
    "LowBitConvTranspose2d",
    "LowBitConvTranspose3d",
    "LowBitEmbedding",
    "LowBitLayer",
    "LowBitLinear",
    "low_bit_layers",
    "quantized_weights",
]

from collections.abc import Iterator
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear

from tetrit.estimators import Quantized
from tetrit.train.quantizers import Quantizer


class LowBitLayer(nn.Module):
    """What `prepare` makes of a layer: the same module, of a class that quantises before it computes.

    Parameters and their names stay, so a state dict of the float layer fits: ``weight`` is the latent weight.

    Attributes
    ----------
    kind : str
        The type of layer, as checkpoints call it.
    weights : tuple of str
        Names of the parameters that can be quantised.
    axes : dict of str to int
        The axes of these that count the outputs and the inputs (of a group).
    input_quantizer : Quantizer or None
        What the input passes through.
    weight_quantizer : Quantizer or None
        What ``weight`` passes through; a layer with several weights has one for each, ``<parameter>_quantizer``.
    dead_strengths : dict of str to float
        By weight, the share of dead weights that acts as a bias; empty but for Tequila.
    """

    kind: ClassVar[str]
    weights: ClassVar[tuple[str, ...]] = ("weight",)
    axes: ClassVar[dict[str, int]] = {"output": 0, "input": 1}
    input_quantizer: Quantizer | None
    dead_strengths: dict[str, float]

    def quantizer_of(self, name: str) -> Quantizer | None:
        """Return the quantiser of the parameter `name`, None where it stays in float."""
        found: Quantizer | None = getattr(self, f"{name}_quantizer")
        return found

    def latents(self) -> Iterator[tuple[str, nn.Parameter, Quantizer]]:
        """Yield name, latent parameter and quantiser of every quantised weight."""
        for name in self.weights:
            quantizer = self.quantizer_of(name)
            if quantizer is not None:
                yield name, getattr(self, name), quantizer

    def quantized_input(self, x: Tensor) -> Tensor:
        """Return the input as the layer computes with it."""
        quantizer = self.input_quantizer
        return x if quantizer is None else quantizer(x)

    def weight_and_bias(self, name: str = "weight", bias: str = "bias") -> tuple[Tensor, Tensor | None]:
        """Return a weight and its bias as the layer computes with them.

        An estimator whose dead weights act as a bias (Tequila) adds it here, summed in torch's order.
        """
        latent: Tensor = getattr(self, name)
        offset: Tensor | None = getattr(self, bias, None)
        quantizer = self.quantizer_of(name)
        if quantizer is None:
            return latent, offset
        weight = quantizer(latent)
        if name in self.dead_strengths:
            dead = torch.where(weight.detach() == 0, latent, 0.0)
            extra = self.dead_strengths[name] * dead.sum([i for i in range(dead.ndim) if i != self.axes["output"]])
            offset = extra if offset is None else offset + extra
        return weight, offset


class LowBitLinear(LowBitLayer, nn.Linear):
    """`torch.nn.Linear` with quantisers."""

    kind: ClassVar[str] = "linear"

    def forward(self, input: Tensor) -> Tensor:
        """Return ``input @ weight.T + bias`` of quantised input and weight."""
        weight, bias = self.weight_and_bias()
        return functional.linear(self.quantized_input(input), weight, bias)


class LowBitConv1d(LowBitLayer, nn.Conv1d):
    """`torch.nn.Conv1d` with quantisers."""

    kind: ClassVar[str] = "conv1d"

    def forward(self, input: Tensor) -> Tensor:
        """Return the convolution of quantised input and weight."""
        weight, bias = self.weight_and_bias()
        return self._conv_forward(self.quantized_input(input), weight, bias)


class LowBitConv2d(LowBitLayer, nn.Conv2d):
    """`torch.nn.Conv2d` with quantisers."""

    kind: ClassVar[str] = "conv2d"

    def forward(self, input: Tensor) -> Tensor:
        """Return the convolution of quantised input and weight."""
        weight, bias = self.weight_and_bias()
        return self._conv_forward(self.quantized_input(input), weight, bias)


class LowBitConv3d(LowBitLayer, nn.Conv3d):
    """`torch.nn.Conv3d` with quantisers."""

    kind: ClassVar[str] = "conv3d"

    def forward(self, input: Tensor) -> Tensor:
        """Return the convolution of quantised input and weight."""
        weight, bias = self.weight_and_bias()
        return self._conv_forward(self.quantized_input(input), weight, bias)


def _transposed(layer: Any, convolve: Any, input: Tensor, output_size: list[int] | None) -> Tensor:
    weight, bias = layer.weight_and_bias()
    spatial = len(layer.kernel_size)
    padding = layer._output_padding(
        input, output_size, layer.stride, layer.padding, layer.kernel_size, spatial, layer.dilation
    )
    x = layer.quantized_input(input)
    y: Tensor = convolve(x, weight, bias, layer.stride, layer.padding, padding, layer.groups, layer.dilation)
    return y


class LowBitConvTranspose1d(LowBitLayer, nn.ConvTranspose1d):
    """`torch.nn.ConvTranspose1d` with quantisers."""

    kind: ClassVar[str] = "conv_transpose1d"
    axes: ClassVar[dict[str, int]] = {"output": 1, "input": 0}

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Return the transposed convolution of quantised input and weight."""
        return _transposed(self, functional.conv_transpose1d, input, output_size)


class LowBitConvTranspose2d(LowBitLayer, nn.ConvTranspose2d):
    """`torch.nn.ConvTranspose2d` with quantisers."""

    kind: ClassVar[str] = "conv_transpose2d"
    axes: ClassVar[dict[str, int]] = {"output": 1, "input": 0}

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Return the transposed convolution of quantised input and weight."""
        return _transposed(self, functional.conv_transpose2d, input, output_size)


class LowBitConvTranspose3d(LowBitLayer, nn.ConvTranspose3d):
    """`torch.nn.ConvTranspose3d` with quantisers."""

    kind: ClassVar[str] = "conv_transpose3d"
    axes: ClassVar[dict[str, int]] = {"output": 1, "input": 0}

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Return the transposed convolution of quantised input and weight."""
        return _transposed(self, functional.conv_transpose3d, input, output_size)


class LowBitEmbedding(LowBitLayer, nn.Embedding):
    """`torch.nn.Embedding` with quantised rows; its input, indices, has no quantiser."""

    kind: ClassVar[str] = "embedding"

    def forward(self, input: Tensor) -> Tensor:
        """Return the quantised rows of the indices."""
        weight, _ = self.weight_and_bias()
        return functional.embedding(input, weight, self.padding_idx, scale_grad_by_freq=self.scale_grad_by_freq)


LOW_BIT: dict[type[nn.Module], type[LowBitLayer]] = {
    nn.Linear: LowBitLinear,
    NonDynamicallyQuantizableLinear: LowBitLinear,
    nn.Conv1d: LowBitConv1d,
    nn.Conv2d: LowBitConv2d,
    nn.Conv3d: LowBitConv3d,
    nn.ConvTranspose1d: LowBitConvTranspose1d,
    nn.ConvTranspose2d: LowBitConvTranspose2d,
    nn.ConvTranspose3d: LowBitConvTranspose3d,
    nn.Embedding: LowBitEmbedding,
}
"""What `prepare` makes of a layer, by its exact type: a subclass may have a forward pass of its own."""


def low_bit_layers(model: nn.Module) -> dict[str, LowBitLayer]:
    """Return the layers that `prepare` swapped, by name, in the order of the model."""
    return {name: module for name, module in model.named_modules() if isinstance(module, LowBitLayer)}


def quantized_weights(model: nn.Module) -> Iterator[tuple[str, Quantized]]:
    """Yield name and codes of every quantised weight of a prepared model, in its order; a tied one once.

    Parameters
    ----------
    model : nn.Module
        Prepared; may be wrapped, for instance by DistributedDataParallel.

    Yields
    ------
    name : str
        Of the parameter, as in ``named_parameters``.
    quantized : Quantized
        Codes and scale that hardware stores for it now.
    """
    seen: set[int] = set()
    for prefix, layer in low_bit_layers(model).items():
        for name, latent, quantizer in layer.latents():
            if id(latent) not in seen:
                seen.add(id(latent))
                yield f"{prefix}.{name}" if prefix else name, quantizer.codes(latent)
