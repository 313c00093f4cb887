"""The scratchpads of operands and parameters: bus words of several vectors in, vectors of the array out."""

__all__ = ["Bank", "OperandEntry", "OperandStore", "ParameterStore", "StoreWrite"]

from amaranth import Array, Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from tetrit.rtl.coprocessor.halves import Halves, Tag
from tetrit.rtl.gearbox import beat


class StoreWrite(data.StructLayout):
    """A bus word on its way into a store: word `word` of row, output or record `member` of a half."""

    def __init__(self, members: int, words: int, data_bits: int) -> None:
        super().__init__(
            {
                "half": 1,
                "member": max(1, (members - 1).bit_length()),
                "word": max(1, (words - 1).bit_length()),
                "data": data_bits,
            }
        )


class OperandEntry(data.StructLayout):
    """A chunk that is to be read: its steps less one, its rows or outputs less one, and whether it ends the tile."""

    def __init__(self, steps: int, members: int) -> None:
        super().__init__(
            {
                "last_step": max(1, (steps - 1).bit_length()),
                "last_member": max(1, (members - 1).bit_length()),
                "final": 1,
            }
        )


def ask_layout(entry: data.StructLayout) -> data.StructLayout:
    """Return how a chunk is asked for, see `Halves`."""
    return data.StructLayout({"tag": Tag(), "bare": 1, "entry": entry})


class Bank(wiring.Component):
    """A memory with one write and one read port; a word that was read is there in the cycle after."""

    def __init__(self, depth: int, width: int) -> None:
        self.depth, self.width = depth, width
        address = max(1, (depth - 1).bit_length())
        super().__init__(
            {
                "write": In(1),
                "write_at": In(address),
                "write_data": In(width),
                "read": In(1),
                "read_at": In(address),
                "read_data": Out(width),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the memory."""
        m = Module()
        m.submodules.memory = memory = Memory(shape=self.width, depth=self.depth, init=[])
        write, read = memory.write_port(), memory.read_port()
        m.d.comb += [
            write.en.eq(self.write),
            write.addr.eq(self.write_at),
            write.data.eq(self.write_data),
            read.en.eq(self.read),
            read.addr.eq(self.read_at),
            self.read_data.eq(read.data),
        ]
        return m


class OperandStore(wiring.Component):
    """A double-buffered scratchpad: one bank per row of A, or output of W, each as wide as the bus.

    A step takes `step_bits` of every member. The address of a step is issued in the cycle in which its chunk is filled
    at the earliest, its vector is offered in the cycle after, and one follows per cycle. Members beyond the tile's are
    0, and so is what the mask of the tile's last step leaves out.

    Parameters
    ----------
    members : int
        Rows or columns of the array.
    words : int
        Bus words that a half holds of each member; a power of two.
    data_bits, step_bits : int
        Widths.
    max_steps : int
        Most steps of a chunk.

    Members
    -------
    ask, fetch, filled, filled_half
        See `Halves`; entries are `OperandEntry`.
    write : In(1), word : In(StoreWrite)
        A bus word.
    tail : In(step_bits)
        Which bits of the tile's last step count.
    vectors : Out(stream of beat(members * step_bits))
        `last` on the tile's last.
    """

    def __init__(self, *, members: int, words: int, data_bits: int, step_bits: int, max_steps: int) -> None:
        self.members, self.words, self.max_steps = members, words, max_steps
        self.data_bits, self.step_bits = data_bits, step_bits
        self.entry = OperandEntry(max_steps, members)
        super().__init__(
            {
                "ask": In(stream.Signature(ask_layout(self.entry))),
                "fetch": Out(stream.Signature(1)),
                "filled": In(1),
                "filled_half": In(1),
                "write": In(1),
                "word": In(StoreWrite(members, words, data_bits)),
                "tail": In(step_bits),
                "vectors": Out(stream.Signature(beat(members * step_bits))),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build book-keeping, banks and reader."""
        m = Module()
        m.submodules.halves = halves = Halves(self.entry)
        wiring.connect(m, halves.ask, wiring.flipped(self.ask))
        wiring.connect(m, wiring.flipped(self.fetch), halves.fetch)
        m.d.comb += [halves.filled.eq(self.filled), halves.filled_half.eq(self.filled_half)]

        per_word = (self.data_bits // self.step_bits - 1).bit_length()
        first = halves.entries.payload
        step = Signal(self.entry.members["last_step"])
        offered, last = Signal(), Signal(reset_less=True)
        part = Signal(per_word, reset_less=True)
        present = Signal(self.members, reset_less=True)
        move, final = Signal(), Signal()
        m.d.comb += [
            move.eq(halves.entries.valid & (~offered | self.vectors.ready)),
            final.eq(step == first.entry.last_step),
            halves.entries.ready.eq(move & final),
            self.vectors.valid.eq(offered),
            self.vectors.payload.last.eq(last),
        ]
        with m.If(move):
            m.d.sync += [
                offered.eq(1),
                step.eq(Mux(final, 0, step + 1)),
                part.eq(step),
                last.eq(final & first.entry.final),
                present.eq(Cat(index <= first.entry.last_member for index in range(self.members))),
            ]
        with m.Elif(self.vectors.ready):
            m.d.sync += offered.eq(0)

        place = Signal(max(1, (self.words - 1).bit_length()))
        m.d.comb += place.eq(step >> per_word)
        mask = Signal(self.step_bits)
        m.d.comb += mask.eq(Mux(last, self.tail, ~0))
        for index in range(self.members):
            m.submodules[f"bank_{index}"] = bank = Bank(2 * self.words, self.data_bits)
            m.d.comb += [
                bank.write.eq(self.write & (self.word.member == index)),
                bank.write_at.eq(self._at(self.word.word, self.word.half)),
                bank.write_data.eq(self.word.data),
                bank.read.eq(move),
                bank.read_at.eq(self._at(place, first.half)),
                self.vectors.payload.data.word_select(index, self.step_bits).eq(
                    bank.read_data.word_select(part, self.step_bits) & mask & present[index].replicate(self.step_bits)
                ),
            ]
        return m

    def _at(self, word: Value, half: Value) -> Value:
        """Return the address of a word of a half."""
        return Cat(word[: (self.words - 1).bit_length()], half)


class ParameterStore(wiring.Component):
    """A double-buffered register file of the parameters of a tile's outputs.

    Parameters
    ----------
    outputs : int
        Columns of the array.
    record_bits, data_bits : int
        Widths of a record and of the bus; a record begins with a bus word of its own.
    rows : int
        Rows of the array.

    Members
    -------
    ask, fetch, filled, filled_half
        See `Halves`; an entry says how many rows the tile has, less one.
    write : In(1), word : In(StoreWrite)
        A bus word.
    tiles : Out(stream of {last_row, records})
        One a tile. Records are 0 where nothing was to be fetched.
    """

    def __init__(self, *, outputs: int, record_bits: int, data_bits: int, rows: int) -> None:
        self.outputs, self.record_bits, self.data_bits = outputs, record_bits, data_bits
        self.words = -(-record_bits // data_bits)
        row = max(1, (rows - 1).bit_length())
        self.entry = data.StructLayout({"last_row": row, "bare": 1})
        super().__init__(
            {
                "ask": In(stream.Signature(ask_layout(self.entry))),
                "fetch": Out(stream.Signature(1)),
                "filled": In(1),
                "filled_half": In(1),
                "write": In(1),
                "word": In(StoreWrite(outputs, self.words, data_bits)),
                "tiles": Out(
                    stream.Signature(
                        data.StructLayout({"last_row": row, "records": data.ArrayLayout(record_bits, outputs)})
                    )
                ),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build book-keeping and registers."""
        m = Module()
        m.submodules.halves = halves = Halves(self.entry)
        wiring.connect(m, halves.ask, wiring.flipped(self.ask))
        wiring.connect(m, wiring.flipped(self.fetch), halves.fetch)
        first = halves.entries.payload
        m.d.comb += [
            halves.filled.eq(self.filled),
            halves.filled_half.eq(self.filled_half),
            self.tiles.valid.eq(halves.entries.valid),
            halves.entries.ready.eq(self.tiles.ready),
            self.tiles.payload.last_row.eq(first.entry.last_row),
        ]
        for output in range(self.outputs):
            kept = [Signal(self.record_bits, name=f"record_{output}_{half}", reset_less=True) for half in range(2)]
            for half, record in enumerate(kept):
                for word in range(self.words):
                    chosen = (self.word.half == half) & (self.word.member == output) & (self.word.word == word)
                    with m.If(self.write & chosen):
                        m.d.sync += record[word * self.data_bits : (word + 1) * self.data_bits].eq(self.word.data)
            m.d.comb += self.tiles.payload.records[output].eq(Mux(first.entry.bare, 0, Array(kept)[first.half]))
        return m
