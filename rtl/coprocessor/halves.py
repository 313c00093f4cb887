"""The book-keeping of a double-buffered store: which half holds what, which may be overwritten, what is read next."""

__all__ = ["ENTRIES", "Halves", "Tag"]

from typing import Any

from amaranth import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from tetrit.rtl.coprocessor.fifo import Queue

ENTRIES = 2
"""Entries that a store keeps, the one that is being read included."""


class Tag(data.StructLayout):
    """What a half holds: number of the tile along the store's dimension, and of the chunk along the reduction."""

    def __init__(self) -> None:
        super().__init__({"tile": 32, "chunk": 32})


class Halves(wiring.Component):
    """Decides for each chunk asked for whether a half holds it, and where it is to be fetched to if not.

    A chunk that is held is not fetched again. One that is not goes to the half that was not asked for last, once no
    entry needs that half any more. Each chunk asked for becomes an entry; entries are offered in order, each when its
    half is filled, and leave when they have been read.

    Parameters
    ----------
    entry : shape-like
        What else the reader is told of a chunk.

    Members
    -------
    ask : In(stream of {tag, bare, entry})
        Chunks in the order in which they are read. `bare`: nothing is to be held, only the entry passed on.
    fetch : Out(stream of 1 bit)
        Half that is to be filled with the chunk on `ask`.
    filled : In(1), filled_half : In(1)
        The last word of that half is written in this cycle.
    entries : Out(stream of {half, entry})
        For the reader.
    """

    def __init__(self, entry: Any) -> None:
        self.entry = entry
        super().__init__(
            {
                "ask": In(stream.Signature(data.StructLayout({"tag": Tag(), "bare": 1, "entry": entry}))),
                "fetch": Out(stream.Signature(1)),
                "filled": In(1),
                "filled_half": In(1),
                "entries": Out(stream.Signature(data.StructLayout({"half": 1, "entry": entry}))),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build tags and entries."""
        m = Module()
        kept = data.StructLayout({"half": 1, "bare": 1, "entry": self.entry})
        m.submodules.queue = queue = Queue(kept, ENTRIES)
        tags = [Signal(Tag(), name=f"tag_{half}", reset_less=True) for half in range(2)]
        held, full = Signal(2), Signal(2)  # the tag counts; the words are there
        recent = Signal(init=1)
        users = [Signal(range(ENTRIES + 1), name=f"users_{half}") for half in range(2)]
        asked = self.ask.payload
        hits = [held[half] & (tags[half].as_value() == asked.tag.as_value()) for half in range(2)]
        known, half, free = Signal(), Signal(), Signal()
        m.d.comb += [
            known.eq(hits[0] | hits[1]),
            half.eq(Mux(known, hits[1], ~recent)),
            free.eq(Mux(half, users[1], users[0]) == 0),
            self.fetch.payload.eq(half),
            self.fetch.valid.eq(self.ask.valid & ~asked.bare & ~known & free & queue.i.ready),
            self.ask.ready.eq(queue.i.ready & (asked.bare | known | (free & self.fetch.ready))),
            queue.i.valid.eq(self.ask.valid & (asked.bare | known | (free & self.fetch.ready))),
            queue.i.payload.half.eq(half),
            queue.i.payload.bare.eq(asked.bare),
            queue.i.payload.entry.eq(asked.entry),
        ]
        taken = self.ask.valid & self.ask.ready & ~asked.bare
        first = queue.o.payload
        m.d.comb += [
            self.entries.valid.eq(queue.o.valid & (first.bare | full.bit_select(first.half, 1))),
            self.entries.payload.half.eq(first.half),
            self.entries.payload.entry.eq(first.entry),
            queue.o.ready.eq(self.entries.valid & self.entries.ready),
        ]
        left = queue.o.valid & queue.o.ready & ~first.bare
        for index in range(2):
            m.d.sync += users[index].eq(users[index] + (taken & (half == index)) - (left & (first.half == index)))
            with m.If(self.filled & (self.filled_half == index)):
                m.d.sync += full[index].eq(1)
            with m.If(taken & ~known & (half == index)):
                m.d.sync += [tags[index].eq(asked.tag), held[index].eq(1), full[index].eq(0)]
        with m.If(taken):
            m.d.sync += recent.eq(half)
        return m
