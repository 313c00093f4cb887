"""The extended straight-through estimator, and what layers of every kind have in common that compute by it."""

__all__ = ["NoiseAwareLayer"]

import json
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from tetrit.errors import InvalidValueError
from tetrit.train.noise.graph import in_graph
from tetrit.train.noise.product import Normals
from tetrit.train.noise.quantising import quantised
from tetrit.train.noise.settings import Mode
from tetrit.train.noise.simulation import Simulation
from tetrit.train.patches import Patches
from tetrit.train.qat.layers import LowBitLayer


class _Extended(torch.autograd.Function):
    """``f(x, W) + stopgrad(N(f, x, W) - f(x, W))``: forward what the chip gives, backward that of `f`.

    Saves the input and the quantised weights `values`, and nothing of the chip. The gradient of these goes to `weight`.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        values: Tensor,
        layer: "NoiseAwareLayer",
        mode: Mode,
        scale: float,
    ) -> Tensor:
        ctx.save_for_backward(x, values)
        ctx.layer, ctx.biased = layer, bias is not None
        return layer.on_chip(x, values, bias, mode, scale)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, values = ctx.saved_tensors
        wanted = ctx.needs_input_grad
        found = ctx.layer.clean_backward(x, values, grad, (wanted[0], wanted[1], ctx.biased and wanted[2]))
        return (*found, None, None, None, None)


class NoiseAwareLayer(LowBitLayer):
    """What `noise_aware` makes of a layer: a `LowBitLayer` whose products are those of a simulated crossbar.

    Attributes
    ----------
    simulation : Simulation
        The chip.
    label : str
        Name of the layer, for errors.
    kept_graph : object
        What `graph` keeps of a batch.
    input_limit : Tensor, shape ()
        The input that the largest integer of the activation format stands for.
    adc_limits : Tensor
        Full scales of calibrated converters in units, see `Geometry.range_shape`; None for others.
    """

    simulation: Simulation
    label: str
    weight: Tensor
    input_limit: Tensor
    adc_limits: Tensor | None
    kept_graph: Any
    _batch: tuple[Tensor, Tensor | None, Tensor] | None
    _inside: bool

    def current(self) -> tuple[Mode, float]:
        """Return what the layer computes now, and the scale of its noise."""
        simulation = self.simulation
        if simulation.mode is not None:
            return simulation.mode, 1.0
        if not self.training or simulation.settings.ramp.full == 0:
            return "noisy", 1.0
        quantizer = self.quantizer_of("weight")
        assert quantizer is not None
        return simulation.settings.ramp.at(quantizer.progress)

    def train(self, mode: bool = True) -> Any:
        """Change the mode; where chips last an epoch, training mode begins one."""
        if mode and self.simulation.settings.redraw == "epoch":
            self.simulation.take_chip(self.simulation.chip + 1)
        return super().train(mode)

    def begin(self) -> None:
        """Note that the network begins a batch."""
        vars(self).update(_inside=True, _batch=None, kept_graph=None)  # what a module does to set them takes longer
        self.simulation.new_batch()

    def end(self) -> None:
        """Note that the network has done its forward pass: what belongs to its graph is let go."""
        vars(self).update(_inside=False, _batch=None, kept_graph=None)
        self.simulation.new_batch()

    def _weights(self) -> tuple[Tensor, Tensor | None, Tensor]:
        """Return what has the gradient of the quantised weights, the bias, and the weights themselves, without a graph.

        Once for all calls of a batch: layers of a loop over time share them.
        """
        if not self._inside:
            self.simulation.new_batch()
            return self._quantised()
        batch = self._batch
        if batch is None or (torch.is_grad_enabled() and not batch[0].requires_grad):
            vars(self)["_batch"] = batch = self._quantised()
        return batch

    def _quantised(self) -> tuple[Tensor, Tensor | None, Tensor]:
        quantizer = self.quantizer_of("weight")
        assert quantizer is not None
        hooked = quantizer._forward_hooks or quantizer._forward_pre_hooks
        if quantizer.straight_through and self.simulation.settings.noise == "extended" and not hooked:
            weight = self.weight
            return weight, getattr(self, "bias", None), quantised(quantizer, weight)
        weight, bias = self.weight_and_bias()
        return weight, bias, weight.detach()

    @torch.compiler.disable
    def forward(self, input: Tensor) -> Tensor:
        """Return what the chip makes of the input, in the dtype that the layer's own product would have."""
        self.check_input(input)  # compiled loops rely on it
        mode, scale = self.current()
        simulation = self.simulation
        if self.training or simulation.calibrating:
            simulation.learn_input(input, self.input_limit)
        if mode == "float":
            return self.clean(input, self.weight, getattr(self, "bias", None))
        if not simulation.ready or (mode == "noisy" and not simulation.ranged and not self._learns):
            what = "inputs" if not simulation.ready else "currents"
            raise InvalidValueError(
                f"layer '{self.label}' knows no range of its {what} yet: train, or call `calibrate`"
            )
        weight, bias, values = self._weights()
        kind = input.device.type
        if not (torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)):
            return self._noisy(input, weight, bias, values, mode, scale)
        dtype = torch.get_autocast_dtype(kind)
        bias = None if bias is None else bias.to(dtype)
        with torch.autocast(kind, enabled=False):  # integers need all of their digits
            return self._noisy(input.to(dtype), weight.to(dtype), bias, values.to(dtype), mode, scale)

    def _noisy(
        self, x: Tensor, weight: Tensor, bias: Tensor | None, values: Tensor, mode: Mode, scale: float
    ) -> Tensor:
        if self.training and self.simulation.settings.noise != "extended":
            return in_graph(self, x, weight, bias, mode, scale)
        y: Tensor = _Extended.apply(x, weight, bias, values, self, mode, scale)
        return y

    @property
    def _learns(self) -> bool:
        return self.training or self.simulation.calibrating

    @torch.no_grad()
    def hardware_forward(
        self, x: Tensor, values: Tensor, bias: Tensor | None = None, *, normals: Normals | None = None
    ) -> Tensor:
        """Return what the chip gives, without a graph.

        Parameters
        ----------
        x : Tensor
            Input of the layer.
        values : Tensor
            Quantised weights, of the weight's shape.
        bias : Tensor, optional
            Added digitally, in float.
        normals : callable, optional
            Standard normals of the read noise of a part of the inputs, an input digit and a shape (n, n_columns), in
            place of the layer's own.

        Raises
        ------
        InvalidValueError
            If an array has another shape than the layer's.
        """
        self.check_input(x)
        for name, given, shape in (("values", values, self.weight.shape), ("bias", bias, self.weight.shape[:1])):
            if given is not None and given.shape != shape:
                raise InvalidValueError(f"`{name}` must have shape {tuple(shape)}, got {tuple(given.shape)}")
        return self.on_chip(x, values, bias, *self.current(), normals)

    def on_chip(
        self,
        x: Tensor,
        values: Tensor,
        bias: Tensor | None,
        mode: Mode,
        scale: float,
        normals: Normals | None = None,
    ) -> Tensor:
        """Return what `hardware_forward` does, for what `current` gave; without gradients already."""
        simulation = self.simulation
        added = None if bias is None else bias.float().contiguous()
        if self.training and mode == "noisy" and normals is None and not simulation.calibrating:
            found = simulation.quick(x, values, added, self.input_limit, self.adc_limits, scale)
            if found is not None:
                return found
        matrix = values.detach().float().contiguous().flatten(1)
        step = simulation.input_step(self.input_limit)
        integers = simulation.input_integers(x, step)
        if mode == "quantised":
            scales = simulation.scales(matrix)
            exact = self.clean(integers, simulation.integers(matrix, scales).reshape(values.shape), None)
            exact = exact.mul_(self.broadcast(scales * step))
            return (exact if bias is None else exact + self.broadcast(bias)).to(x.dtype)
        chip = simulation.prepare(matrix, scale, training=self.training)
        ranges = self.adc_limits
        if self._learns and ranges is not None and simulation.learns_ranges:
            simulation.learn_ranges(self.pieces(integers), chip, ranges)
        parts = [simulation.multiply(piece, chip, ranges, step, added, normals) for piece in self.pieces(integers)]
        whole = parts[0] if len(parts) == 1 else torch.cat(parts)
        return self.folded(whole, x).to(x.dtype)

    def pieces(self, x: Tensor) -> Iterable[Tensor | Patches]:
        """Return the vectors that the matrix multiplies, as many at a time as fit the device."""
        return self.vectors(x).split(self.simulation.largest_piece(x.device))

    # Abstract up to `clean_backward`: each kind of layer, linear or convolution, has its own of these.

    def check_input(self, x: Tensor) -> None:
        """Raise InvalidValueError if the layer cannot take an input of this shape."""
        raise NotImplementedError

    def vectors(self, x: Tensor) -> Tensor | Patches:
        """Return the vectors that the matrix multiplies; as a matrix their shape is (n, n_in)."""
        raise NotImplementedError

    def broadcast(self, values: Tensor) -> Tensor:
        """Return a number for each output in the shape that broadcasts over the layer's output."""
        raise NotImplementedError

    def folded(self, y: Tensor, x: Tensor) -> Tensor:
        """Return products, shape (vectors, n_out), in the shape of the layer's output for the input `x`."""
        raise NotImplementedError

    def clean(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return the layer's own product."""
        raise NotImplementedError

    def clean_backward(
        self, x: Tensor, weight: Tensor, grad: Tensor, wanted: tuple[bool, bool, bool]
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """Return the gradients of `clean`."""
        raise NotImplementedError

    def get_extra_state(self) -> Tensor:
        """Return what the chip depends on as JSON in a uint8 tensor, since some savers keep nothing but tensors."""
        names = ("chip", "draws", "reads", "ready", "ranged")
        text = json.dumps({name: getattr(self.simulation, name) for name in names})
        return torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8)

    def set_extra_state(self, state: Tensor) -> None:
        """Take what `get_extra_state` gave."""
        try:
            found = json.loads(state.cpu().numpy().tobytes())
            numbers = {name: int(found[name]) for name in ("chip", "draws", "reads")}
            flags = {name: bool(found[name]) for name in ("ready", "ranged")}
        except (AttributeError, ValueError, TypeError, KeyError) as error:
            raise InvalidValueError(f"the extra state is none that `get_extra_state` gave: {error}") from None
        self.simulation.take_chip(numbers["chip"])
        vars(self.simulation).update(numbers | flags)
