"""Adders: a chain of full adders, and long ones of blocks between which carries take a tree."""

__all__ = ["blockwise", "carries", "compressed", "rippled"]

from collections.abc import Sequence

from amaranth import Cat, Const, Module, Mux, Signal, Value

_BLOCK = 5
"""Bits of a block of a long adder."""


def rippled(m: Module, a: Value, b: Value, carry: Value) -> Value:
    """Return the sum of two numbers of one width and a carry, and the carry out of it in a bit of its own."""
    bits = []
    for one, other in zip(a, b, strict=True):
        differ, above = Signal(name="differ"), Signal(name="carry")
        m.d.comb += [differ.eq(one ^ other), above.eq(Mux(differ, carry, one))]
        bits.append(differ ^ carry)
        carry = above
    return Cat(bits, carry)


def carries(m: Module, digits: Sequence[tuple[Value, Value]]) -> list[Value]:
    """Return the carry into each digit, from whether each makes one and whether each passes one on.

    A parallel prefix: as many gates in a row as the logarithm of the number of digits.
    """
    spans = list(digits)  # of the digits up to each: makes one, passes one on
    distance = 1
    while distance < len(spans):
        before = list(spans)
        for index in range(distance, len(spans)):
            makes, passes = Signal(name="makes"), Signal(name="passes")
            m.d.comb += [
                makes.eq(before[index][0] | (before[index][1] & before[index - distance][0])),
                passes.eq(before[index][1] & before[index - distance][1]),
            ]
            spans[index] = makes, passes
        distance *= 2
    return [Const(0, 1), *(makes for makes, _ in spans[:-1])]


def blockwise(m: Module, a: Value, b: Value, carry: Value, *, name: str) -> Value:
    """Return the sum of two numbers of one width and a carry, modulo that width.

    Each block is added without a carry; a carry that arrives turns its bits up to its lowest 0.
    """
    width = len(a)
    assert len(b) == width
    left, right = Signal(width, name=f"{name}_left"), Signal(width, name=f"{name}_right")
    m.d.comb += [left.eq(a), right.eq(b)]
    blocks = []
    for start in range(0, width, _BLOCK):
        end = min(start + _BLOCK, width)
        block = Signal(end - start + 1, name=f"{name}_{start}")
        m.d.comb += block.eq(rippled(m, left[start:end], right[start:end], Const(0, 1) if start else carry))
        blocks.append(block)
    late = carries(m, [(block[-1], block[:-1].all()) for block in blocks])
    total = Signal(width, name=f"{name}_total")
    parts = []
    for block, into in zip(blocks, late, strict=True):
        turned = [into & block[:index].all() if index else into for index in range(len(block) - 1)]
        parts.append(block[:-1] ^ Cat(turned))
    m.d.comb += total.eq(Cat(parts))
    return total


def compressed(m: Module, a: Value, b: Value, c: Value, *, name: str) -> tuple[Value, Value]:
    """Return two numbers of the same sum as three, modulo their width."""
    x, y, z = (Signal(len(a), name=f"{name}_{index}") for index in range(3))
    m.d.comb += [x.eq(a), y.eq(b), z.eq(c)]
    return x ^ y ^ z, Cat(Const(0, 1), (x & y) | (z & (x ^ y)))[: len(a)]
