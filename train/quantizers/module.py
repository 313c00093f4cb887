"""The quantiser module: an estimator that any PyTorch network can hold, with its learned fields and its progress."""

__all__ = ["Quantizer", "quantizer"]

import json
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from tetrit import checks, estimators
from tetrit.errors import InvalidValueError
from tetrit.estimators import Estimator, Quantized
from tetrit.estimators.tables import from_table, to_table
from tetrit.train.quantizers import _golden
from tetrit.train.quantizers._ops import quantize, values
from tetrit.train.quantizers.rules import rule_of

_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


class Quantizer(nn.Module):
    """An estimator of `tetrit.estimators` as a module: latent tensor in, quantised values out.

    In training mode the result is ``estimator.forward(w)``, in evaluation mode the values that the codes stand for
    (``estimator(w).values``), both rounded once to the dtype of `w` (bfloat16: through float32). The gradient is
    ``estimator.backward``, that of learned fields ``estimator.parameter_gradients``.

    Contract: on the CPU forward and backward are those of the golden estimator, bit for bit, with `torch.compile` too;
    only the gradient of `qkr`, two matrix products, is PyTorch's, within the rounding of their sums. On other devices
    the same rule runs in tensor operations without waiting for the device: forward the same bits (the sine of `biper`
    and the powers of `nupes` but for their last places), gradients within float32 rounding; there, a NaN or an infinity
    in `w` gives values that are not finite instead of raising an error. The backward pass saves `w` and no other tensor
    of its size. Second derivatives raise an error. `torch.func.vmap` quantises every sample by itself.

    Parameters
    ----------
    estimator : Estimator
        The golden estimator; see `quantizer` to make a module by name.

    Attributes
    ----------
    label : str
        What errors about values begin with, e.g. the name of the layer; empty for nothing.

    Raises
    ------
    TypeError
        If `w` is no tensor of floats.
    InvalidValueError
        On the CPU, as the estimator does, for instance if `w` has a NaN.

    Notes
    -----
    A stochastic estimator takes one seed per call from torch's CPU generator in training mode (so `torch.manual_seed`
    makes runs repeatable), and its own field `seed` in evaluation mode. Compiled by inductor, that seed comes from
    inductor's own random numbers, as all numbers of a compiled network do.

    Examples
    --------
    >>> import torch
    >>> from tetrit.train import quantizer
    >>> q = quantizer("szt", threshold="absmean")
    >>> w = torch.tensor([0.9, 0.1, -0.1, -0.9], requires_grad=True)
    >>> q(w)
    tensor([ 0.9000,  0.0000, -0.0000, -0.9000], grad_fn=<_QuantizeBackward>)
    >>> q(w).sum().backward()
    >>> w.grad
    tensor([1.0000, 0.9800, 1.0200, 1.0000])
    """

    def __init__(self, estimator: Estimator) -> None:
        super().__init__()
        if not isinstance(estimator, Estimator):
            raise TypeError(f"`estimator` must be an Estimator, got {type(estimator).__name__}")
        # not a buffer: it must stay on the CPU when the module moves, so that no device is waited for
        self._progress = torch.zeros((), dtype=torch.float64, device="cpu")
        self._progress_array = self._progress.numpy()
        self._seed = torch.zeros((), dtype=torch.int64, device="cpu")
        self.label = ""
        self._take(estimator)

    def _take(self, estimator: Estimator) -> None:
        self._golden = estimator
        self._key = _golden.register(estimator)
        for name in estimator.learnable:
            value = getattr(estimator, name)
            self._parameters.pop(name, None)
            if value is not None:
                self.register_parameter(name, nn.Parameter(torch.tensor(value, dtype=torch.get_default_dtype())))

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._progress_array = self._progress.numpy()  # a copy is not on the memory of the tensor
        self._key = _golden.register(self._golden)

    def _learned(self) -> list[Tensor]:
        found = [self._parameters.get(name) for name in self._golden.learnable]
        return [p for p in found if p is not None]

    @property
    def estimator(self) -> Estimator:
        """The golden estimator as it is now: at this progress, with these learned values."""
        if type(self._golden).at is Estimator.at and not self._golden.learnable:
            return self._golden
        return _golden.current(self._key, self._progress, [p.detach() for p in self._learned()])

    @property
    def progress(self) -> float:
        """Share of the training that is done, from 0 to 1: what schedules of estimators follow."""
        return self._progress.item()

    def set_progress(self, progress: float) -> None:
        """Set `progress`; values beyond 0 and 1 count as these."""
        self.follow(min(max(checks.real("progress", progress), 0.0), 1.0))

    def follow(self, progress: float) -> None:
        """Set `progress`, a number from 0 to 1, unchecked: for what does so after every step."""
        self._progress_array[()] = progress  # in a tenth of the time that the tensor takes

    def start(self, w: Tensor) -> Tensor:
        """Fix the fields that depend on the float tensor `w`, learned ones included, and return the first latent."""
        estimator, latent = self._golden.start(_golden.array(w.cpu()))
        self._take(estimator)
        for p in self._learned():
            p.data = p.data.to(w.device)
        return torch.as_tensor(latent, dtype=w.dtype, device=w.device)

    def forward(self, w: Tensor) -> Tensor:
        """Return the quantised values of `w`, of its dtype."""
        return self._called(quantize, w)

    @property
    def straight_through(self) -> bool:
        """Whether the gradient of the values is that of `w`, for every `w`, and nothing else is learned."""
        return not self._golden.learnable and self.estimator.straight_through

    def values(self, w: Tensor) -> Tensor:
        """Return what calling the module does, without a graph: for layers that have the backward rule themselves."""
        return self._called(values, w)

    def _called(self, function: Callable[..., Tensor], w: Tensor) -> Tensor:
        if not isinstance(w, Tensor) or w.dtype not in _FLOATS or w.layout != torch.strided:
            traced: Tensor | None = _traced(self, w)
            if traced is not None:
                return traced
            got: object = type(w).__name__
            if isinstance(w, Tensor):
                got = w.layout if w.dtype in _FLOATS else w.dtype
            raise TypeError(f"`w` must be a dense float16, bfloat16, float32 or float64 tensor, got {got}")
        drawing = self._golden.draws and self.training
        seed = torch.randint(1 << 62, (), device="cpu") if drawing else self._seed
        try:
            return function(w, self._learned(), self._progress, seed, not self.training, self._key)
        except InvalidValueError as error:
            if self.label:
                raise InvalidValueError(f"{self.label}: {error}") from None
            raise

    def codes(self, w: Tensor) -> Quantized:
        """Return the codes and scale that hardware stores for the latent `w`."""
        return self.estimator(_golden.array(w.cpu()))

    @torch.no_grad()
    def after_step(self, w: Tensor) -> None:
        """Move the latent `w`, in place, to where the optimiser's next step starts from; most estimators leave it."""
        if type(self._golden).after_step is Estimator.after_step:
            return
        if w.device.type == "cpu":
            w.copy_(torch.from_numpy(self.estimator.after_step(_golden.array(w))))
            return
        # without the learned values, which to read would be to wait for the device
        e = _golden.current(self._key, self._progress, ())
        w.copy_(rule_of(e).after_step(e, w, self._learned()))

    def get_extra_state(self) -> Tensor:
        """Return name, fields and progress as JSON in a uint8 tensor, since some savers keep nothing but tensors."""
        text = json.dumps({"estimator": to_table(self._golden), "progress": self.progress})
        return torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8)

    def set_extra_state(self, state: Tensor) -> None:
        """Take what `get_extra_state` gave; a state of another estimator raises InvalidValueError."""
        try:
            table = json.loads(state.cpu().numpy().tobytes())
            estimator, progress = from_table(table["estimator"]), table["progress"]
        except (AttributeError, ValueError, TypeError, KeyError) as error:
            raise InvalidValueError(f"the extra state is none that `get_extra_state` gave: {error}") from None
        self.exchange(estimator)
        self.set_progress(progress)

    def exchange(self, found: Estimator) -> None:
        """Go on with other fields of the same estimator, and with the learned values of now."""
        if type(found) is not type(self._golden):
            raise InvalidValueError(
                f"the state is that of the estimator '{found.name}', the module has '{self._golden.name}'"
            )
        learned = dict(self._parameters)
        self._take(found)
        self._parameters.update(learned)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        # a module that was never started has no learned parameters yet
        for name in self._golden.learnable:
            if name not in self._parameters and (value := state_dict.get(prefix + name)) is not None:
                self.register_parameter(name, nn.Parameter(torch.empty_like(value)))
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    def extra_repr(self) -> str:
        """Return the estimator as it was given or started."""
        return repr(self._golden)


def _traced(module: nn.Module, w: Any) -> Any:
    """Return the call of a module in a trace of `torch.fx`, which takes it as it is; None where nothing is traced."""
    if not isinstance(w, torch.fx.Proxy):
        return None
    tracer: Any = w.tracer
    return tracer.create_proxy("call_module", tracer.path_of_module(module), (w,), {})


def quantizer(name: str, **params: Any) -> Quantizer:
    """Return a module for the estimator `name` of `tetrit.estimators` with the given fields.

    Parameters
    ----------
    name : str
        One of ``tetrit.estimators.names()``.
    **params
        Fields of the estimator's class, e.g. ``axis=0`` for one scale per output of a Linear layer.

    Returns
    -------
    Quantizer

    Raises
    ------
    UnknownNameError
        If there is no such estimator or no such field; the message suggests the nearest name.
    """
    return Quantizer(estimators.get(name, **params))
