"""The write side of the memory bus: rows of results to bursts."""

__all__ = ["CONTAINER_CODES", "Writer"]

from amaranth import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from tetrit.rtl.coprocessor.bursts import OUTSTANDING, burst_words
from tetrit.rtl.coprocessor.geometry import CODE_BITS, Geometry
from tetrit.rtl.coprocessor.tiles import TileWalker

CONTAINER_CODES = {4: 0, 8: 1, 16: 2}
"""What `MODE.container` is set to, by the bits of a code in memory."""

_NIBBLE = 4


class Writer(wiring.Component):
    """Writes tile after tile of C, row after row.

    A row of a tile is one region of memory; no byte beyond it is written. A row is taken in the cycle in which the last
    word of the one before is; its first burst, address and word together, is offered in the cycle after. Bursts follow
    without a gap, while fewer than `OUTSTANDING` are unanswered.

    Parameters
    ----------
    geometry : Geometry
        Sizes.

    Members
    -------
    awaddr, awlen, awvalid, awready, wdata, wstrb, wlast, wvalid, wready, bresp, bvalid, bready
        The bus.
    load : In(1)
        Begin with the first tile.
    job : In(struct)
        Size of C, order of tiles, base, stride, container.
    rows : In(stream)
        Codes of a row of a tile, packed into containers, first column in the low bits.
    halt : In(1)
        Take no more rows.
    quiet : Out(1)
        No burst is offered, and all are answered.
    finished : Out(1)
        So it is, and all tiles are written.
    written : Out(1)
        A word is taken by the bus.
    failed : Out(1)
        A burst is answered with an error.
    """

    def __init__(self, geometry: Geometry) -> None:
        self.geometry = geometry
        job = data.StructLayout(
            {
                "m": 32,
                "n": 32,
                "n_outer": 1,
                "c_base": geometry.address_bits,
                "c_stride": 32,
                "container": 2,
            }
        )
        super().__init__(
            {
                "awaddr": Out(geometry.address_bits),
                "awlen": Out(8),
                "awvalid": Out(1),
                "awready": In(1),
                "wdata": Out(geometry.data_bits),
                "wstrb": Out(geometry.bus_bytes),
                "wlast": Out(1),
                "wvalid": Out(1),
                "wready": In(1),
                "bresp": In(2),
                "bvalid": In(1),
                "bready": Out(1),
                "load": In(1),
                "job": In(job),
                "rows": In(stream.Signature(geometry.result_bits)),
                "halt": In(1),
                "quiet": Out(1),
                "finished": Out(1),
                "written": Out(1),
                "failed": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the walk over rows, and the bursts."""
        m = Module()
        m.submodules.walker = walker = TileWalker(self.geometry.machine.rows, self.geometry.machine.cols)
        taken = Signal()  # a row is taken
        m.d.comb += [
            walker.m.eq(self.job.m),
            walker.n.eq(self.job.n),
            walker.n_outer.eq(self.job.n_outer),
            walker.load.eq(self.load),
            taken.eq(self.rows.valid & self.rows.ready),
        ]
        address = self._rows(m, walker, taken)
        self._bursts(m, walker, taken, address)
        return m

    def _rows(self, m: Module, walker: TileWalker, taken: Value) -> Signal:
        """Build the walk; return the address of the next row."""
        geometry = self.geometry
        machine = geometry.machine
        bits = geometry.address_bits
        row = Signal.like(walker.last_row)
        below = Signal(bits, reset_less=True)  # bytes from a tile to the one below it
        m.d.sync += below.eq(self.job.c_stride * machine.rows)
        beside = Signal(range(machine.cols * CODE_BITS // 8 + 1))  # bytes from a tile to the one at its right
        m.d.comb += beside.eq((Const(machine.cols) << self.job.container) >> 1)
        top, left = Signal(bits), Signal(bits)  # address of the tile's first row; its first column in it
        new_top, new_left = Signal(bits), Signal(bits)
        m.d.comb += [
            new_top.eq(Mux(walker.steps_m, top + below, Mux(walker.wraps_m, self.job.c_base, top))),
            new_left.eq(Mux(walker.steps_n, left + beside, Mux(walker.wraps_n, 0, left))),
            walker.advance.eq(taken & (row == walker.last_row)),
        ]
        address = Signal(bits, name="row_address")
        with m.If(self.load):
            m.d.sync += [row.eq(0), top.eq(self.job.c_base), left.eq(0), address.eq(self.job.c_base)]
        with m.Elif(walker.advance):
            m.d.sync += [row.eq(0), top.eq(new_top), left.eq(new_left), address.eq(new_top + new_left)]
        with m.Elif(taken):
            m.d.sync += [row.eq(row + 1), address.eq(address + self.job.c_stride)]
        return address

    def _bursts(self, m: Module, walker: TileWalker, taken: Value, row_address: Value) -> None:
        """Build the row's register and the three channels."""
        geometry = self.geometry
        bus_bytes, data_bits = geometry.bus_bytes, geometry.data_bits
        offset_bits = (bus_bytes - 1).bit_length()
        row_bytes = geometry.result_bits // 8
        most_words = -(-(row_bytes + bus_bytes - 1) // bus_bytes)
        codes, strobes = self._masked(m, walker)
        offset = row_address[:offset_bits]
        count = Signal(range(row_bytes + 1))  # bytes of the row
        m.d.comb += count.eq((((walker.last_col + 1) << self.job.container) + 1) >> 1)

        held = Signal(most_words * data_bits, reset_less=True)
        strobe = Signal(most_words * bus_bytes, reset_less=True)
        address = Signal(geometry.address_bits, reset_less=True)
        left = Signal(range(most_words + 1), reset_less=True)
        active, addressed, all_words, free = Signal(), Signal(), Signal(), Signal()
        unanswered = Signal(range(OUTSTANDING + 1))
        words = burst_words(m, address, left, geometry.burst_beats, bus_bytes, name="burst")
        word = Signal(range(max(2, geometry.burst_beats)))
        burst_ends, row_ends, answered = Signal(), Signal(), Signal()
        m.d.comb += [
            free.eq(active & (unanswered != OUTSTANDING)),
            self.awvalid.eq(free & ~addressed),
            self.awaddr.eq(address),
            self.awlen.eq(words - 1),
            self.wvalid.eq(free & ~all_words),
            self.wdata.eq(held),
            self.wstrb.eq(strobe),
            self.wlast.eq(word == words - 1),
            self.written.eq(self.wvalid & self.wready),
            burst_ends.eq(free & (addressed | self.awready) & (all_words | (self.wready & self.wlast))),
            row_ends.eq(burst_ends & (left == words)),
            self.rows.ready.eq(walker.active & (~active | row_ends) & ~self.halt),
            self.bready.eq(unanswered != 0),
            answered.eq(self.bvalid & self.bready),
            self.failed.eq(answered & self.bresp[1]),
            self.quiet.eq(~active & (unanswered == 0)),
            self.finished.eq(self.quiet & ~walker.active),
        ]
        m.d.sync += unanswered.eq(unanswered + burst_ends - answered)
        with m.If(self.written):
            m.d.sync += [
                word.eq(word + 1),
                all_words.eq(self.wlast),
                held.eq(held >> data_bits),
                strobe.eq(strobe >> bus_bytes),
            ]
        with m.If(self.awvalid & self.awready):
            m.d.sync += addressed.eq(1)
        with m.If(burst_ends):
            m.d.sync += [
                addressed.eq(0),
                all_words.eq(0),
                word.eq(0),
                address.eq(address + words * bus_bytes),
                left.eq(left - words),
            ]
        with m.If(row_ends):
            m.d.sync += active.eq(0)
        with m.If(taken):
            m.d.sync += [
                active.eq(1),
                held.eq(codes << (offset << 3)),
                strobe.eq(strobes << offset),
                address.eq(row_address & ~(bus_bytes - 1)),
                left.eq((offset + count + bus_bytes - 1) >> offset_bits),
            ]

    def _masked(self, m: Module, walker: TileWalker) -> tuple[Value, Value]:
        """Return the row without the columns that the tile lacks, and which of its bytes there are."""
        n_nibbles = self.geometry.result_bits // _NIBBLE
        nibbles = Signal(range(n_nibbles + 1))
        m.d.comb += nibbles.eq((walker.last_col + 1) << self.job.container)
        present = Signal(n_nibbles)
        m.d.comb += present.eq(Cat(index < nibbles for index in range(n_nibbles)))
        codes = Signal(self.geometry.result_bits)
        m.d.comb += codes.eq(self.rows.payload & Cat(bit.replicate(_NIBBLE) for bit in present))
        return codes, present[::2]
