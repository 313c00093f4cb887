"""Small queues in registers, and a large one in a memory."""

__all__ = ["Queue", "RowFifo"]

from typing import Any

from amaranth import Array, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out


class Queue(wiring.Component):
    """A few entries in registers; one taken in a cycle is offered from the next cycle on.

    A full queue takes nothing, even in a cycle in which an entry leaves. Data registers have no reset.

    Parameters
    ----------
    shape : shape-like
        Of an entry.
    depth : int
        Entries; a power of two.

    Members
    -------
    i : In(stream), o : Out(stream)
        Entries in, and out in the same order.
    """

    def __init__(self, shape: Any, depth: int) -> None:
        assert depth >= 2 and not depth & (depth - 1)
        self.depth = depth
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape))})

    def elaborate(self, platform: object) -> Module:
        """Build the logic."""
        m = Module()
        entries = [Signal.like(self.i.payload, name=f"entry_{index}", reset_less=True) for index in range(self.depth)]
        first, free = Signal(range(self.depth)), Signal(range(self.depth))
        level = Signal(range(self.depth + 1))
        push, pop = self.i.valid & self.i.ready, self.o.valid & self.o.ready
        m.d.comb += [
            self.i.ready.eq(level != self.depth),
            self.o.valid.eq(level != 0),
            Value.cast(self.o.payload).eq(Array(Value.cast(entry) for entry in entries)[first]),
        ]
        m.d.sync += level.eq(level + push - pop)
        with m.If(push):
            m.d.sync += free.eq(free + 1)
            for index, entry in enumerate(entries):
                with m.If(free == index):
                    m.d.sync += entry.eq(self.i.payload)
        with m.If(pop):
            m.d.sync += first.eq(first + 1)
        return m


class RowFifo(wiring.Component):
    """Rows of results in a memory with one read and one write port.

    A row taken in a cycle is offered from the second cycle after it on. One may be taken and one leave in every cycle;
    `depth` rows in the memory, and one at its output.

    Parameters
    ----------
    width : int
        Bits of a row.
    depth : int
        Rows.

    Members
    -------
    i : In(stream of width bits), o : Out(stream of width bits)
        Rows in, and out in the same order.
    """

    def __init__(self, width: int, depth: int) -> None:
        self.width, self.depth = width, depth
        super().__init__({"i": In(stream.Signature(width)), "o": Out(stream.Signature(width))})

    def elaborate(self, platform: object) -> Module:
        """Build memory and pointers."""
        m = Module()
        m.submodules.memory = memory = Memory(shape=self.width, depth=self.depth, init=[])
        write, read = memory.write_port(), memory.read_port()
        level = Signal(range(self.depth + 1))
        push, fetch = Signal(), Signal()
        m.d.comb += [
            self.i.ready.eq(level != self.depth),
            push.eq(self.i.valid & self.i.ready),
            fetch.eq((level != 0) & (~self.o.valid | self.o.ready)),
            write.en.eq(push),
            write.data.eq(self.i.payload),
            read.en.eq(fetch),
            self.o.payload.eq(read.data),
        ]
        m.d.sync += level.eq(level + push - fetch)
        for port, moves in ((write, push), (read, fetch)):
            place = Signal(range(self.depth), name="write_at" if port is write else "read_at")
            m.d.comb += port.addr.eq(place)
            with m.If(moves):
                m.d.sync += place.eq(Mux(place == self.depth - 1, 0, place + 1))
        with m.If(fetch):
            m.d.sync += self.o.valid.eq(1)
        with m.Elif(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        return m
