"""The authority for the adders and multipliers of the baseline elements: the mapper's own, or chains of full adders."""

__all__ = ["ADDERS", "Adders", "added", "multiplied"]

from typing import Literal, get_args

from amaranth import Cat, Const, Module, Mux, Shape, Signal, Value, signed, unsigned

from tetrit.rtl.simd.adders import rippled

Adders = Literal["fast", "compact"]
ADDERS: tuple[Adders, ...] = get_args(Adders)
"""``fast``: what the mapper makes of ``+`` and ``*``, carry trees. ``compact``: carries ripple from bit to bit, rows of
a multiplier too; about half the gates, and a longer path."""


def added(m: Module, adders: Adders, a: Value, b: Value, carry: Value | int, width: int) -> Value:
    """Return the low `width` bits of the sum of two numbers, extended as their signs say, and a carry."""
    carry = Value.cast(carry)
    if adders == "fast":
        return (a + b + carry)[:width]
    parts = []
    for name, value in (("augend", a), ("addend", b)):
        extended = Signal(Shape(width, value.shape().signed), name=name)
        m.d.comb += extended.eq(value)
        parts.append(extended)
    return rippled(m, parts[0], parts[1], carry)[:width]


def multiplied(m: Module, adders: Adders, a: Value, b: Value, *, soft: bool = False) -> Value:
    """Return the product of two numbers, signed if one of them is.

    With `soft`, fast adders add up rows one by one, so that FPGA tools see no multiplication to use a hardened one for.
    """
    if adders == "fast" and soft:
        copies = [Mux(bit, a, 0) << place for place, bit in enumerate(b)]
        return sum(copies[1:-1], copies[0]) - copies[-1] if b.shape().signed else sum(copies[1:], copies[0])
    if adders == "fast":
        return a * b
    is_signed = a.shape().signed or b.shape().signed
    width = len(a) + 2 - a.shape().signed  # that of a row with its sign
    low: list[Value] = []
    rows: Value = Const(0, signed(width))
    for index in range(len(b)):
        negative = b.shape().signed and index == len(b) - 1  # the sign bit counts negative
        copy = Signal(signed(width), name=f"copy_{index}")
        m.d.comb += copy.eq(_masked(a, b[index]) if not negative else ~_masked(a, b[index]))
        total = Signal(signed(width), name=f"rows_{index}")
        if index or negative:
            m.d.comb += total.eq(rippled(m, Cat(rows[1:], rows[-1]), copy, Const(int(negative), 1))[:width])
        else:
            m.d.comb += total.eq(copy)
        if index:
            low.append(rows[0])
        rows = total
    product = Cat(low, rows)
    size = len(a) + len(b)
    result = Signal(signed(size) if is_signed else unsigned(size), name="product")
    m.d.comb += result.eq(product)
    return result


def _masked(a: Value, bit: Value) -> Value:
    """Return `a` if the bit is set, else 0, signed."""
    number = Cat(a, Const(0, 0 if a.shape().signed else 1))
    return (number & bit.replicate(len(number))).as_signed()
