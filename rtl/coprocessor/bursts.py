"""The read side of the memory bus: regions of memory to bursts, and the words that come back to the stores."""

__all__ = ["OUTSTANDING", "PAGE_BYTES", "ReadCommand", "ReadEngine", "burst_words"]

from typing import Any

from amaranth import Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from tetrit.rtl.coprocessor.fifo import Queue

OUTSTANDING = 8
"""Most bursts of either direction that are not yet answered."""

COMMANDS = 4
"""Most commands whose words have not all come."""

PAGE_BYTES = 4096
"""No burst crosses a multiple of this."""

_PLACES = ("store", "half", "last_member", "last_member_word")
"""What of a command says where its words go."""


def burst_words(m: Module, address: Value, left: Value, most: int, bus_bytes: int, *, name: str) -> Signal:
    """Return the words of the next burst of a region: not more than are left, than `most`, than the page holds."""
    per_page = PAGE_BYTES // bus_bytes
    bits = (per_page - 1).bit_length()
    shift = (bus_bytes - 1).bit_length()
    here = Signal(range(per_page + 1), name=f"{name}_here")
    m.d.comb += here.eq(per_page - address[shift : shift + bits])
    limit = Signal(range(most + 1), name=f"{name}_limit")
    m.d.comb += limit.eq(Mux(here < most, here, most))
    words = Signal(range(most + 1), name=f"{name}_words")
    m.d.comb += words.eq(Mux(left < limit, left, limit))
    return words


class ReadCommand(data.StructLayout):
    """Regions of memory that fill a half of a store.

    `regions` of `words` bus words each, less one both, `stride` bytes apart, are read in order. They are `members` of
    `member_words` each, less one both, in the store.
    """

    def __init__(self, address_bits: int, stores: int, members: int, words: int) -> None:
        member, word = max(1, (members - 1).bit_length()), max(1, (words - 1).bit_length())
        super().__init__(
            {
                "store": max(1, (stores - 1).bit_length()),
                "half": 1,
                "address": address_bits,
                "stride": 32,
                "last_region": member,
                "last_word": word,
                "last_member": member,
                "last_member_word": word,
            }
        )


class ReadEngine(wiring.Component):
    """Issues bursts, and hands the words that come to the stores.

    A command is taken when none is being issued, or in the cycle in which the last burst of the one before is. Its
    first burst is offered in the cycle after, and one follows per cycle, while fewer than `OUTSTANDING` are unanswered.
    Words are taken as they come.

    Parameters
    ----------
    data_bits, address_bits, burst_beats : int
        The bus.
    stores, members, words : int
        Largest numbers in a command.

    Members
    -------
    araddr, arlen, arvalid, arready, rdata, rresp, rlast, rvalid, rready
        The bus.
    commands : In(stream of ReadCommand)
        What to read.
    write : Out(1), store, half, member, word, data : Out
        A word for a store.
    filled : Out(1)
        It is the last one of its command.
    halt : In(1)
        Offer no more bursts.
    quiet : Out(1)
        No burst is offered, and all are answered.
    failed : Out(1)
        This word came with an error.
    """

    def __init__(
        self, *, data_bits: int, address_bits: int, burst_beats: int, stores: int, members: int, words: int
    ) -> None:
        self.data_bits, self.address_bits, self.burst_beats = data_bits, address_bits, burst_beats
        self.command = ReadCommand(address_bits, stores, members, words)
        fields = self.command.members
        super().__init__(
            {
                "araddr": Out(address_bits),
                "arlen": Out(8),
                "arvalid": Out(1),
                "arready": In(1),
                "rdata": In(data_bits),
                "rresp": In(2),
                "rlast": In(1),
                "rvalid": In(1),
                "rready": Out(1),
                "commands": In(stream.Signature(self.command)),
                "write": Out(1),
                "store": Out(fields["store"]),
                "half": Out(1),
                "member": Out(fields["last_member"]),
                "word": Out(fields["last_member_word"]),
                "data": Out(data_bits),
                "filled": Out(1),
                "halt": In(1),
                "quiet": Out(1),
                "failed": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build both halves."""
        m = Module()
        places = data.StructLayout({name: self.command.members[name] for name in _PLACES})
        m.submodules.queue = queue = Queue(places, COMMANDS)
        self._addresses(m, queue)
        self._words(m, queue)
        return m

    def _addresses(self, m: Module, queue: Queue) -> None:
        """Build what offers bursts."""
        bus_bytes = self.data_bits // 8
        command = Signal(self.command, reset_less=True)
        active, waits = Signal(), Signal()  # a command is being issued; a burst was offered and not taken
        outstanding = Signal(range(OUTSTANDING + 1))
        address = Signal(self.address_bits, reset_less=True)  # of the next burst
        region = Signal(self.address_bits, reset_less=True)  # address of this region
        left = Signal(len(command.last_word) + 1, reset_less=True)  # words of this region
        regions = Signal(len(command.last_region), reset_less=True)  # that follow
        words = burst_words(m, address, left, self.burst_beats, bus_bytes, name="burst")
        issued, region_ends, ends = Signal(), Signal(), Signal()
        m.d.comb += [
            self.arvalid.eq(active & (outstanding != OUTSTANDING) & (waits | ~self.halt)),
            self.araddr.eq(address),
            self.arlen.eq(words - 1),
            issued.eq(self.arvalid & self.arready),
            region_ends.eq(left == words),
            ends.eq(issued & region_ends & (regions == 0)),
            self.commands.ready.eq((~active | ends) & queue.i.ready & ~self.halt),
            queue.i.valid.eq(self.commands.valid & (~active | ends) & ~self.halt),
            self.quiet.eq(~self.arvalid & (outstanding == 0)),
            self.rready.eq(outstanding != 0),
        ]
        m.d.comb += [Value.cast(queue.i.payload[name]).eq(self.commands.payload[name]) for name in _PLACES]
        m.d.sync += waits.eq(self.arvalid & ~self.arready)
        m.d.sync += outstanding.eq(outstanding + issued - (self.rvalid & self.rready & self.rlast))
        following = Signal(self.address_bits)
        m.d.comb += following.eq(region + command.stride)
        with m.If(issued):
            m.d.sync += [address.eq(address + words * bus_bytes), left.eq(left - words)]
            with m.If(region_ends):
                m.d.sync += [
                    address.eq(following),
                    region.eq(following),
                    left.eq(command.last_word + 1),
                    regions.eq(regions - 1),
                ]
        with m.If(ends):
            m.d.sync += active.eq(0)
        with m.If(self.commands.valid & self.commands.ready):
            new: Any = self.commands.payload
            m.d.sync += [
                active.eq(1),
                command.eq(new),
                address.eq(new.address),
                region.eq(new.address),
                left.eq(new.last_word + 1),
                regions.eq(new.last_region),
            ]

    def _words(self, m: Module, queue: Queue) -> None:
        """Build what takes words."""
        first = queue.o.payload
        member, word = Signal.like(self.member), Signal.like(self.word)
        taken, member_ends, ends = Signal(), Signal(), Signal()
        m.d.comb += [
            taken.eq(self.rvalid & self.rready & queue.o.valid),
            member_ends.eq(word == first.last_member_word),
            ends.eq(taken & member_ends & (member == first.last_member)),
            queue.o.ready.eq(ends),
            self.write.eq(taken),
            self.store.eq(first.store),
            self.half.eq(first.half),
            self.member.eq(member),
            self.word.eq(word),
            self.data.eq(self.rdata),
            self.filled.eq(ends),
            self.failed.eq(taken & self.rresp[1]),
        ]
        with m.If(taken):
            m.d.sync += word.eq(Mux(member_ends, 0, word + 1))
            with m.If(member_ends):
                m.d.sync += member.eq(Mux(member == first.last_member, 0, member + 1))
