"""The tile sequencer: which chunk of which operand is needed next, and where it lies in memory."""

__all__ = ["Fetcher"]

from typing import Any

from amaranth import Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from tetrit.rtl.coprocessor.bursts import ReadCommand
from tetrit.rtl.coprocessor.geometry import Geometry
from tetrit.rtl.coprocessor.tiles import TileWalker

STORES = ("params", "acts", "weights")
"""The stores, in the order in which a tile's first chunks are asked for; `ReadCommand.store` counts them."""


class Fetcher(wiring.Component):
    """Asks the stores for chunk after chunk, and has those fetched that they do not hold.

    For each tile: its parameters; then for each chunk of the reduction that of the activations, and that of the
    weights. One a cycle, where nothing waits.

    Parameters
    ----------
    geometry : Geometry
        Sizes.
    asks : mapping of str to shape-like
        What each store is asked with.

    Members
    -------
    load : In(1)
        Begin with the first tile.
    job : In(struct)
        Sizes, order, bases, strides; `steps` of the reduction; `params`: there are parameters.
    params, acts, weights : Out(stream)
        Asked of the stores.
    fetch_params, fetch_acts, fetch_weights : In(stream of 1 bit)
        Halves that are to be filled.
    commands : Out(stream of ReadCommand)
        What to read.
    """

    def __init__(self, geometry: Geometry, asks: dict[str, Any], command: ReadCommand) -> None:
        self.geometry = geometry
        address = geometry.address_bits
        job = data.StructLayout(
            {
                "m": 32,
                "n": 32,
                "n_outer": 1,
                "steps": 32,
                "params": 1,
                "a_base": address,
                "a_stride": 32,
                "w_base": address,
                "w_stride": 32,
                "p_base": address,
            }
        )
        super().__init__(
            {
                "load": In(1),
                "job": In(job),
                **{name: Out(stream.Signature(asks[name])) for name in STORES},
                **{f"fetch_{name}": In(stream.Signature(1)) for name in STORES},
                "commands": Out(stream.Signature(command)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the walk over tiles and chunks."""
        geometry = self.geometry
        machine = geometry.machine
        m = Module()
        m.submodules.walker = walker = TileWalker(machine.rows, machine.cols)
        turn = Signal(range(len(STORES)))
        asked, ends_chunk, ends_tile = Signal(), Signal(), Signal()
        steps_left = Signal(32)
        chunk = Signal(32)
        final = Signal()
        here = Signal(range(geometry.chunk_steps))  # steps of this chunk, less one
        m.d.comb += [
            walker.m.eq(self.job.m),
            walker.n.eq(self.job.n),
            walker.n_outer.eq(self.job.n_outer),
            walker.load.eq(self.load),
            walker.advance.eq(ends_tile),
            final.eq(steps_left <= geometry.chunk_steps),
            here.eq(Mux(final, steps_left - 1, geometry.chunk_steps - 1)),
            ends_chunk.eq(asked & (turn == STORES.index("weights"))),
            ends_tile.eq(ends_chunk & final),
        ]
        for number, name in enumerate(STORES):
            ask = getattr(self, name)
            mine = walker.active & (turn == number)
            m.d.comb += ask.valid.eq(mine)
            with m.If(mine):
                m.d.comb += asked.eq(ask.ready)
        m.d.comb += [
            self.params.payload.bare.eq(~self.job.params),
            self.params.payload.tag.tile.eq(walker.tile_n),
            self.params.payload.entry.bare.eq(~self.job.params),
            self.params.payload.entry.last_row.eq(walker.last_row),
            self.acts.payload.tag.tile.eq(walker.tile_m),
            self.acts.payload.entry.last_member.eq(walker.last_row),
            self.weights.payload.tag.tile.eq(walker.tile_n),
            self.weights.payload.entry.last_member.eq(walker.last_col),
        ]
        for name in ("acts", "weights"):
            payload = getattr(self, name).payload
            m.d.comb += [
                payload.tag.chunk.eq(chunk),
                payload.entry.last_step.eq(here),
                payload.entry.final.eq(final),
            ]
        with m.If(self.load | ends_tile):
            m.d.sync += [turn.eq(0), steps_left.eq(self.job.steps), chunk.eq(0)]
        with m.Elif(ends_chunk):
            m.d.sync += [turn.eq(1), steps_left.eq(steps_left - geometry.chunk_steps), chunk.eq(chunk + 1)]
        with m.Elif(asked):
            m.d.sync += turn.eq(turn + 1)
        self._commands(m, walker, turn, here, ends_chunk, ends_tile)
        return m

    def _commands(
        self, m: Module, walker: TileWalker, turn: Value, here: Value, ends_chunk: Value, ends_tile: Value
    ) -> None:
        """Build addresses and commands."""
        geometry = self.geometry
        machine = geometry.machine
        acts = self._address(
            m,
            "a",
            self.job.a_base,
            walker.steps_m,
            walker.wraps_m,
            ends_tile,
            step=self._product(m, "a", self.job.a_stride, machine.rows),
        )
        weights = self._address(
            m,
            "w",
            self.job.w_base,
            walker.steps_n,
            walker.wraps_n,
            ends_tile,
            step=self._product(m, "w", self.job.w_stride, machine.cols),
        )
        params = self._address(
            m,
            "p",
            self.job.p_base,
            walker.steps_n,
            walker.wraps_n,
            ends_tile,
            step=machine.cols * geometry.record_words * geometry.bus_bytes,
        )
        offsets = []
        for name, words in (("a", geometry.act_chunk_words), ("w", geometry.weight_chunk_words)):
            offset = Signal(geometry.address_bits, name=f"{name}_offset")
            with m.If(self.load | ends_tile):
                m.d.sync += offset.eq(0)
            with m.Elif(ends_chunk):
                m.d.sync += offset.eq(offset + words * geometry.bus_bytes)
            offsets.append(offset)
        command = self.commands.payload
        record_words = geometry.record_words
        with m.Switch(turn):
            with m.Case(STORES.index("params")):
                m.d.comb += [
                    self.commands.valid.eq(self.fetch_params.valid),
                    command.half.eq(self.fetch_params.payload),
                    command.address.eq(params),
                    command.last_word.eq((walker.last_col + 1) * record_words - 1),
                    command.last_member.eq(walker.last_col),
                    command.last_member_word.eq(record_words - 1),
                ]
            for name, address, offset, stride, last, per_word in (
                ("acts", acts, offsets[0], self.job.a_stride, walker.last_row, geometry.act_steps_per_word),
                ("weights", weights, offsets[1], self.job.w_stride, walker.last_col, geometry.weight_steps_per_word),
            ):
                fetch = getattr(self, f"fetch_{name}")
                last_word = here >> (per_word - 1).bit_length()
                with m.Case(STORES.index(name)):
                    m.d.comb += [
                        self.commands.valid.eq(fetch.valid),
                        command.half.eq(fetch.payload),
                        command.address.eq(address + offset),
                        command.stride.eq(stride),
                        command.last_region.eq(last),
                        command.last_word.eq(last_word),
                        command.last_member.eq(last),
                        command.last_member_word.eq(last_word),
                    ]
        m.d.comb += command.store.eq(turn)
        for number, name in enumerate(STORES):
            m.d.comb += getattr(self, f"fetch_{name}").ready.eq(self.commands.ready & (turn == number))

    def _product(self, m: Module, name: str, stride: Value, count: int) -> Value:
        """Return the bytes from a tile to the next one."""
        product = Signal(self.geometry.address_bits, name=f"{name}_tile_bytes", reset_less=True)
        m.d.sync += product.eq(stride * count)
        return product

    def _address(
        self, m: Module, name: str, base: Value, steps: Value, wraps: Value, ends_tile: Value, *, step: Any
    ) -> Value:
        """Return the address of the tile's first vector."""
        address = Signal(self.geometry.address_bits, name=f"{name}_tile")
        with m.If(self.load):
            m.d.sync += address.eq(base)
        with m.Elif(ends_tile & steps):
            m.d.sync += address.eq(address + step)
        with m.Elif(ends_tile & wraps):
            m.d.sync += address.eq(base)
        return address
