"""Baseline elements that add exactly: shifts, integer multipliers, and products of small floats and posits."""

__all__ = ["IntegerMac", "QuireMac", "ShiftMac"]

from typing import Any

from amaranth import Cat, Module, Mux, Signal, Value, signed

from tetrit import checks, formats
from tetrit.errors import InvalidValueError
from tetrit.formats import Integer, RealFormat
from tetrit.rtl.baselines.arithmetic import Adders, added, multiplied
from tetrit.rtl.baselines.element import MacElement
from tetrit.rtl.baselines.operands import unpacked
from tetrit.rtl.weights import WeightDecoder


def _real(argument: str, name: str) -> RealFormat:
    found = formats.get(name)
    if not isinstance(found, RealFormat):
        raise InvalidValueError(f"`{argument}` must be a format of real numbers, got {name}")
    return found


def _integer(argument: str, name: str) -> Integer:
    found = formats.get(name)
    if not isinstance(found, Integer) or int(found.integers.min()) >= 0:
        raise InvalidValueError(f"`{argument}` must be a format of signed integers, got {name}")
    return found


class IntegerMac(MacElement):
    """Integer times integer, added up exactly.

    Parameters
    ----------
    act_format, weight_format : str
        Signed integer formats.
    acc_bits : int
        Width of the sum, which wraps.
    adders : {"fast", "compact"}
        As of `MacElement`.
    soft : bool
        Fast adders instead of a multiplication, so that FPGA tools take look-up tables for it and no hardened
        multiplier.

    Members
    -------
    As of `MacElement`; `result` in two's complement.
    """

    def __init__(
        self, act_format: str, weight_format: str, acc_bits: int, *, adders: Adders = "fast", soft: bool = False
    ) -> None:
        act, weight = _integer("act_format", act_format), _integer("weight_format", weight_format)
        if not isinstance(soft, bool):
            raise TypeError(f"`soft` must be True or False, got {soft!r}")
        self.soft = soft
        super().__init__(act.bits, weight.bits, acc_bits, adders=adders)

    def added(self, m: Module, total: Value) -> Value:
        """Build multiplier and adder."""
        product = Signal(signed(self.act_bits + self.weight_bits))
        act, weight = self.act_in.as_signed(), self.weight_in.as_signed()
        m.d.comb += product.eq(multiplied(m, self.adders, act, weight, soft=self.soft))
        return added(m, self.adders, total, product, 0, self.acc_bits)


class ShiftMac(MacElement):
    """Integer times zero or plus or minus a power of two, added up exactly; the weight's decoder is inside.

    Parameters
    ----------
    act_format : str
        A signed integer format.
    weight_format : str
        One of `tetrit.hardware.WEIGHT_FORMATS`.
    acc_bits : int
        Width of the sum, which wraps; its unit is the weight format's smallest positive value.
    adders : {"fast", "compact"}
        As of `MacElement`.

    Members
    -------
    As of `MacElement`; `result` in two's complement.
    """

    def __init__(self, act_format: str, weight_format: str, acc_bits: int, *, adders: Adders = "fast") -> None:
        self.weights = _real("weight_format", weight_format)
        super().__init__(_integer("act_format", act_format).bits, self.weights.bits, acc_bits, adders=adders)

    def added(self, m: Module, total: Value) -> Value:
        """Build decoder, shifter and adder."""
        m.submodules.decoder = decoder = WeightDecoder(self.weights)
        m.d.comb += decoder.code.eq(self.weight_in)
        weight: Any = decoder.weight
        fields = decoder.layout.members
        moved = Signal(signed(self.act_bits + decoder.layout.max_shift))
        act = self.act_in.as_signed()
        m.d.comb += moved.eq(act << weight.shift if "shift" in fields else act)
        selected = Mux(weight.nonzero, moved, 0) if "nonzero" in fields else moved
        addend = Signal(moved.shape())
        m.d.comb += addend.eq(selected ^ weight.negate.replicate(len(addend)))
        return added(m, self.adders, total, addend, weight.negate, self.acc_bits)


class QuireMac(MacElement):
    """Products of small floats or posits, added up exactly in fixed point.

    A NaR, NaN or infinity among the operands makes the result worthless: a flag beside the sum says so.

    Parameters
    ----------
    act_format, weight_format : str
        FP4, FP8 or posits.
    acc_bits : int
        Width of the sum, which wraps; its unit is the product of both formats' units.
    adders : {"fast", "compact"}
        As of `MacElement`.

    Members
    -------
    As of `MacElement`; `result` has one bit more, the flag, above the sum in two's complement.
    """

    def __init__(self, act_format: str, weight_format: str, acc_bits: int, *, adders: Adders = "fast") -> None:
        self.formats = _real("act_format", act_format), _real("weight_format", weight_format)
        bits = checks.integer("acc_bits", acc_bits) + 1
        super().__init__(self.formats[0].bits, self.formats[1].bits, bits, adders=adders)

    def added(self, m: Module, total: Value) -> Value:
        """Build decoders, multiplier, shifter and adder."""
        operands = [
            unpacked(m, name, code, fmt)
            for name, code, fmt in zip(("act", "weight"), (self.act_in, self.weight_in), self.formats, strict=True)
        ]
        a, b = operands
        width = self.acc_bits - 1
        product = Signal(len(a.significand) + len(b.significand))
        scale = Signal(max(len(a.scale), len(b.scale)) + 1)
        addend, negate = Signal(width), Signal()
        m.d.comb += [
            product.eq(multiplied(m, self.adders, a.significand, b.significand)),
            scale.eq(added(m, self.adders, a.scale, b.scale, 0, len(scale))),
            negate.eq(a.sign ^ b.sign),
            addend.eq(((product << scale) >> (a.point + b.point)) ^ negate.replicate(width)),
        ]
        return Cat(added(m, self.adders, total[:width], addend, negate, width), total[width] | a.bad | b.bad)
