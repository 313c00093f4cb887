"""Zeroth-order training in integers alone: the counterpart of `IntegerSPSA` and its loss for PyTorch."""

__all__ = ["IntegerZerothOrder", "integer_cross_entropy"]

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from tetrit.estimators.zeroth import IntegerSPSA
from tetrit.estimators.zeroth import integer as golden
from tetrit.estimators.zeroth._kernels import LOG2_E
from tetrit.train.zeroth._noise import add_integer_noise
from tetrit.train.zeroth.base import TwoPoint

_INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
_POWERS = torch.tensor(golden.powers().tolist())


class IntegerZerothOrder(TwoPoint):
    """Descent of int8 parameters by the sign of the difference of two losses, by integer arithmetic alone.

    A step sets the parameters to w + z and to w - z, held within -127 and 127, asks the closure for both losses, and
    sets them to w - s r(z), s being the sign of L+ - L-. The noise z and its shortened form r(z) are those of
    `tetrit.estimators.zeroth.IntegerSPSA` for the seed ``step_seed(seed, steps taken)``, with the elements of all
    parameters numbered through; they are computed again in each pass. A copy of the parameters is kept during a step,
    one byte for each, since w + z cannot be undone where it was held.

    Contract: bit for bit `IntegerSPSA.perturbed`, `sign` and `updated`, through its kernels on the CPU and by integer
    tensor operations elsewhere. Nothing waits for the device: losses and their sign stay tensors (the mean that is
    returned is float64). Where the closure
    raises an error, the parameters are exactly what they were.

    Parameters
    ----------
    params : iterable of Tensor or of dict
        int8, e.g. ``nn.Parameter(codes, requires_grad=False)`` or buffers. A group may have its own ``update_bits``,
        which may be changed between steps as a learning rate is.
    reach, zero_share, update_bits
        As for `IntegerSPSA`.
    seed : int, default 0
        From 0 to 2^64 - 1. Seed, number of steps and update bits are in the `state_dict`.

    Raises
    ------
    TypeError
        If a parameter is no tensor of int8, or the closure returns anything but a tensor of one element.
    InvalidValueError
        If a number is out of range.

    Notes
    -----
    Source: see `IntegerSPSA`, which says what is **our reconstruction**. The closure returns a tensor of integers, e.g.
    sums of `integer_cross_entropy`, or of floats, as with float last layers in `ElasticZO`. A loss that is NaN is
    neither above nor below another: such a step leaves the parameters as they are.

    Examples
    --------
    >>> import torch
    >>> from tetrit.train.zeroth import IntegerZerothOrder, integer_cross_entropy
    >>> x = torch.tensor([[90, 10], [80, -20], [-70, 30], [-100, 0]], dtype=torch.int32)
    >>> labels = torch.tensor([0, 0, 1, 1])
    >>> w = torch.zeros(2, 2, dtype=torch.int8)
    >>> optimizer = IntegerZerothOrder([w], reach=15, update_bits=2)
    >>> loss = lambda: integer_cross_entropy(x @ w.int(), labels, exponent=-12).sum()
    >>> before = int(loss())
    >>> before / 2**16  # four times one bit
    4.0
    >>> for _ in range(100):
    ...     _ = optimizer.step(loss)
    >>> w.dtype, int(loss()) < 0.2 * before
    (torch.int8, True)
    """

    _dtypes: ClassVar = {torch.int8: True}
    _kinds = "int8 tensors"

    def __init__(
        self,
        params: Iterable[Any],
        *,
        reach: int = 15,
        zero_share: float = 0.33,
        update_bits: int = 2,
        seed: int = 0,
    ) -> None:
        self.spsa = IntegerSPSA(reach=reach, zero_share=zero_share, update_bits=update_bits)
        super().__init__(params, seed=seed, defaults={"update_bits": self.spsa.update_bits})
        for group in self.param_groups:
            self._rule(group)  # checks the bits of its own

    _copies = True

    def _go(self, copies: list[Tensor] | None, place: int, to: int) -> None:
        seed = self._step_seed
        for tensor, start, number, group in self._numbered(copies):
            if self._golden(tensor):
                self._rule(group).perturbed(start.numpy(), to, seed=seed, offset=number, out=tensor.detach().numpy())
                torch.autograd.graph.increment_version(tensor)
            else:
                self._add(tensor, start, to, shift=0, seed=seed, number=number)

    def _descend(self, copies: list[Tensor] | None, plus: Tensor, minus: Tensor) -> Tensor:
        sign = (plus > minus).long() - (plus < minus).long()  # a difference could overflow
        seed = self._step_seed
        for tensor, start, number, group in self._numbered(copies):
            rule = self._rule(group)
            if self._golden(tensor):
                rule.updated(start.numpy(), int(sign), seed=seed, offset=number, out=tensor.detach().numpy())
                torch.autograd.graph.increment_version(tensor)
            else:
                self._add(tensor, start, -sign, shift=rule.shift, seed=seed, number=number)
        return 0.5 * (plus.double() + minus.double())

    def _rule(self, group: dict[str, Any]) -> IntegerSPSA:
        """Return the golden rule with the update bits of a group."""
        return replace(self.spsa, update_bits=group["update_bits"])

    def _add(self, tensor: Tensor, start: Tensor, times: Any, *, shift: int, seed: int, number: int) -> None:
        reach, rest = self.spsa.reach, self.spsa.rest
        add_integer_noise(tensor, start, times, reach=reach, rest=rest, shift=shift, seed=seed, offset=number)


def integer_cross_entropy(logits: Tensor, labels: Tensor, *, exponent: int) -> Tensor:
    """Return the cross-entropy of every row, in units of 2^-16 bit, by integer arithmetic alone.

    Contract: bit for bit `tetrit.estimators.zeroth.integer_cross_entropy`, through its kernel on the CPU and by integer
    tensor operations elsewhere and in `torch.compile`. There nothing waits for the device, so what is in the tensors is
    not checked: logits of magnitudes from 2^31 on give wrong losses, and wrong labels the device's own error.

    Parameters
    ----------
    logits : Tensor of integers, shape (batch, classes)
        Accumulators of the last layer, of magnitudes below 2^31; at least one class.
    labels : Tensor of integers, shape (batch,)
        From 0 to classes - 1.
    exponent : int
        From -24 to 4; the power of two that the accumulators count in.

    Returns
    -------
    Tensor of int64, shape (batch,)

    Raises
    ------
    TypeError
        If a tensor does not hold integers.
    InvalidValueError
        If shapes do not fit, the exponent is out of range or, on the CPU, a logit or label is.

    Notes
    -----
    **Our reconstruction**, see the golden function.

    Examples
    --------
    >>> import torch
    >>> from tetrit.train.zeroth import integer_cross_entropy
    >>> logits = torch.tensor([[16, 16], [32, 0]], dtype=torch.int32)
    >>> integer_cross_entropy(logits, torch.tensor([0, 0]), exponent=-4) / 2**16
    tensor([1.0000, 0.1831])
    """
    for name, tensor in (("logits", logits), ("labels", labels)):
        if not isinstance(tensor, Tensor) or tensor.dtype not in _INTEGERS:
            got = tensor.dtype if isinstance(tensor, Tensor) else type(tensor).__name__
            raise TypeError(f"`{name}` must be a tensor of integers, got {got}")
    if logits.device.type == labels.device.type == "cpu" and not torch.compiler.is_compiling():
        return torch.from_numpy(golden.integer_cross_entropy(logits.numpy(), labels.numpy(), exponent=exponent))
    golden.check_shapes(tuple(logits.shape), tuple(labels.shape))
    return cross_entropy(logits, labels, golden.checked_exponent(exponent))


def cross_entropy(logits: Tensor, labels: Tensor, exponent: int) -> Tensor:
    """Return the losses by tensor operations, operation for operation those of the golden kernel."""
    a = logits.long()
    shift = 8 - exponent
    u = ((a.amax(1, keepdim=True) - a) * LOG2_E + (1 << (shift - 1))) >> shift
    gap = u.gather(1, labels.long()[:, None])[:, 0]
    table = _POWERS.to(a.device, non_blocking=True)
    place, rest = (u >> 8) & 255, u & 255
    low = table[place]
    power = low + (((table[place + 1] - low) * rest) >> 8)
    total = (power >> (u >> 16).clamp(max=31)).sum(1)  # at most 2^30 each
    bits = torch.zeros_like(total)
    for _ in range(a.shape[1].bit_length()):
        total, bits = _halved(total, bits)
    for _ in range(16):
        total, bits = _halved((total * total) >> 30, bits << 1)
    return bits + gap


def _halved(total: Tensor, bits: Tensor) -> tuple[Tensor, Tensor]:
    """Halve and count where a total, in units of 2^-30, has reached 2."""
    high = (total >= 1 << 31).long()
    return total >> high, bits + high
