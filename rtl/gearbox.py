"""Streams of memory words to streams of vectors and back: this makes memory width real in the RTL."""

__all__ = ["Downsizer", "Upsizer", "beat"]

from amaranth import Module, Shape, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out


def beat(width: int) -> data.StructLayout:
    """Payload of every stream of the array: `width` bits of data, and `last` on the end of a tile."""
    return data.StructLayout({"data": width, "last": 1})


class Upsizer(wiring.Component):
    """Collect ``ceil(vector_bits / word_bits)`` words, low word first, into one vector.

    A vector is offered in the cycle after its last word was taken; the first word of the next one is taken in the cycle
    in which it is handed on. So vectors leave at least `words` cycles apart, and exactly so when neither side waits.
    The vector's `last` is that of its last word.

    Parameters
    ----------
    vector_bits, word_bits : int
        Widths. A word wider than the vector carries it in its low bits.

    Members
    -------
    i : In(stream of beat(word_bits))
        Words.
    o : Out(stream of beat(vector_bits))
        Vectors.
    """

    def __init__(self, vector_bits: int, word_bits: int) -> None:
        self.vector_bits = vector_bits
        self.word_bits = word_bits
        self.words = -(-vector_bits // word_bits)
        super().__init__({"i": In(stream.Signature(beat(word_bits))), "o": Out(stream.Signature(beat(vector_bits)))})

    def elaborate(self, platform: object) -> Module:
        """Build the logic."""
        m = Module()
        kept = [
            Signal(
                min(self.word_bits, self.vector_bits - index * self.word_bits), name=f"word_{index}", reset_less=True
            )
            for index in range(self.words)
        ]
        last = Signal(reset_less=True)
        full = Signal()
        position = Signal(range(self.words))  # of the next word
        m.d.comb += [self.i.ready.eq(~full | self.o.ready), self.o.valid.eq(full), self.o.payload.last.eq(last)]
        offset = 0
        for word in kept:
            m.d.comb += self.o.payload.data[offset : offset + len(word)].eq(word)
            offset += len(word)
        with m.If(self.o.ready):
            m.d.sync += full.eq(0)
        with m.If(self.i.valid & self.i.ready):
            for index, word in enumerate(kept):
                with m.If(position == index):
                    m.d.sync += word.eq(self.i.payload.data)
            with m.If(position == self.words - 1):
                m.d.sync += [position.eq(0), full.eq(1), last.eq(self.i.payload.last)]
            with m.Else():
                m.d.sync += position.eq(position + 1)
        return m


class Downsizer(wiring.Component):
    """Hand out a vector as ``ceil(vector_bits / word_bits)`` words, low word first.

    The first word is offered in the cycle after the vector was taken; the next vector is taken in the cycle in which
    the
    last word leaves. Unused high bits of the last word are 0; `last` is set on the last word of a vector that has it.

    Parameters
    ----------
    vector_bits, word_bits : int
        Widths.

    Members
    -------
    i : In(stream of beat(vector_bits))
        Vectors.
    o : Out(stream of beat(word_bits))
        Words.
    """

    def __init__(self, vector_bits: int, word_bits: int) -> None:
        self.vector_bits = vector_bits
        self.word_bits = word_bits
        self.words = -(-vector_bits // word_bits)
        super().__init__({"i": In(stream.Signature(beat(vector_bits))), "o": Out(stream.Signature(beat(word_bits)))})

    def elaborate(self, platform: object) -> Module:
        """Build the logic."""
        m = Module()
        held = Signal(Shape(self.vector_bits), reset_less=True)
        last = Signal(reset_less=True)
        busy = Signal()
        position = Signal(range(self.words))  # of the word on offer
        final = position == self.words - 1
        m.d.comb += [
            self.o.valid.eq(busy),
            self.o.payload.data.eq(held),
            self.o.payload.last.eq(last & final),
            self.i.ready.eq(~busy | (self.o.ready & final)),
        ]
        with m.If(busy & self.o.ready):
            with m.If(final):
                m.d.sync += [busy.eq(0), position.eq(0)]
            with m.Else():
                m.d.sync += [position.eq(position + 1), held.eq(held >> self.word_bits)]
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [busy.eq(1), held.eq(self.i.payload.data), last.eq(self.i.payload.last)]
        return m
