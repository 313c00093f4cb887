"""Miters: designs with one output that is 1 exactly where a component breaks what is to be proved of it."""

__all__ = ["PRODUCT_FIELDS", "SLOTS", "ProductMiter", "RoundTripMiter"]

from collections.abc import Callable
from typing import Any

from amaranth import Array, Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tetrit import formats
from tetrit.hardware.simd_engine import SIMD_FORMATS
from tetrit.rtl.simd.modes import FORMAT_CODES
from tetrit.verify.suites.simd_designs import CodePath, SimdDesigns

SLOTS = {1: (0,), 2: (0, 2), 4: (0, 1, 2, 3)}
"""The slots that a number of lanes uses, lane 0 first."""

PRODUCT_FIELDS = {1: ((0, 13),), 2: ((0, 6), (7, 13)), 4: ((4, 6), (0, 2), (11, 13), (7, 9))}
"""Where each lane's factors lie in a significand: first bit, and the bit after the last; the product twice as high."""


class RoundTripMiter(wiring.Component):  # type: ignore[misc]  # Amaranth carries no types
    """A code through decoder and encoder must come out as it went in, whatever the other lanes hold; FP4's -0 as 0.

    Members
    -------
    word, format, slot, one, two, four
        As of `CodePath`.
    code : Out(16)
        What came out.
    wrong : Out(1)
        Whether it is another code than went in.
    """

    def __init__(self, designs: SimdDesigns) -> None:
        self.path = CodePath(designs.decoder, designs.encoder)
        self.given = dict.fromkeys(("one", "two", "four"), 1) | {"word": 16, "format": 2, "slot": 2}
        ports: dict[str, Any] = {name: In(width) for name, width in self.given.items()}
        super().__init__(ports | {"code": Out(16), "wrong": Out(1)})

    def elaborate(self, platform: object) -> Module:
        """Cut the code out of the word, and compare."""
        m = Module()
        m.submodules.path = path = self.path
        lane = Signal(2)
        entered, expected = Signal(16), Signal(16)
        widths = Array((1 << formats.get(name).bits) - 1 for name in SIMD_FORMATS)
        m.d.comb += [
            *(getattr(path, name).eq(getattr(self, name)) for name in self.given),
            lane.eq(Mux(self.four, self.slot, self.slot >> 1)),
            entered.eq((self.word >> (lane << Mux(self.four, 2, 3))) & widths[self.format]),
            expected.eq(Mux((self.format == FORMAT_CODES["fp4_e2m1"]) & (entered == 8), 0, entered)),
            self.code.eq(path.code),
            self.wrong.eq(path.code != expected),
        ]
        return m


class ProductMiter(wiring.Component):  # type: ignore[misc]  # Amaranth carries no types
    """The multiplier's products must be those of integers, and nothing may be set between them.

    Parameters
    ----------
    multiplier : callable
        Makes a `SignificandMultiplier`.
    lanes : {1, 2, 4}
        Number of products.
    field : tuple of int, optional
        Bits of `b` that may be set, from the first to before the second; default all of each lane's.

    Members
    -------
    a, b : In(13)
        Significands; bits that no lane has are not passed on.
    product : Out(26)
        Of the multiplier.
    wrong : Out(1)
        Whether it is wrong.
    """

    def __init__(self, multiplier: Callable[..., Any], lanes: int, field: tuple[int, int] = (0, 13)) -> None:
        self.multiplier: Any = multiplier()
        self.lanes = lanes
        self.field = field
        super().__init__({"a": In(13), "b": In(13), "product": Out(26), "wrong": Out(1)})

    def elaborate(self, platform: object) -> Module:
        """Multiply lane by lane beside the multiplier."""
        m = Module()
        m.submodules.multiplier = multiplier = self.multiplier
        fields = PRODUCT_FIELDS[self.lanes]
        used = sum(((1 << (end - start)) - 1) << start for start, end in fields)
        start, end = self.field
        a, b, expected = Signal(13), Signal(13), Signal(26)
        m.d.comb += [
            a.eq(self.a & used),
            b.eq(self.b & used & (((1 << (end - start)) - 1) << start)),
            multiplier.a.eq(a),
            multiplier.b.eq(b),
            *(
                getattr(multiplier.lanes, name).eq(int(self.lanes == count))
                for name, count in (("one", 1), ("two", 2), ("four", 4))
            ),
            *(expected[2 * low : 2 * high].eq(a[low:high] * b[low:high]) for low, high in fields),
            self.product.eq(multiplier.product),
            self.wrong.eq(Cat(self.product != expected)),
        ]
        return m
