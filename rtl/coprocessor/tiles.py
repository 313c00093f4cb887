"""The order in which tiles of C are computed."""

__all__ = ["TileWalker"]

from amaranth import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out


class TileWalker(wiring.Component):
    """Walks over the tiles of C: all columns of some rows, then the next rows; or all rows of some columns.

    Parameters
    ----------
    rows, cols : int
        Size of a tile; the last ones of each side are smaller.

    Members
    -------
    m, n : In(32)
        Size of C.
    n_outer : In(1)
        Columns are the outer loop.
    load : In(1)
        Go to the first tile; it is there in the next cycle.
    advance : In(1)
        Go to the next tile; it is there in the next cycle.
    active : Out(1)
        There is a tile.
    tile_m, tile_n : Out(32)
        Its number along each side.
    last_row, last_col : Out
        Its rows and columns, less one.
    steps_m, steps_n : Out(1)
        The next tile is the next one along that side.
    wraps_m, wraps_n : Out(1)
        The next tile is the first one along that side, and this one the last.
    """

    def __init__(self, rows: int, cols: int) -> None:
        self.rows, self.cols = rows, cols
        super().__init__(
            {
                "m": In(32),
                "n": In(32),
                "n_outer": In(1),
                "load": In(1),
                "advance": In(1),
                "active": Out(1),
                "tile_m": Out(32),
                "tile_n": Out(32),
                "last_row": Out(max(1, (rows - 1).bit_length())),
                "last_col": Out(max(1, (cols - 1).bit_length())),
                "steps_m": Out(1),
                "steps_n": Out(1),
                "wraps_m": Out(1),
                "wraps_n": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build both counters."""
        m = Module()
        ends = []
        for size, tile, per_tile, last, steps, wraps in (
            (self.m, self.tile_m, self.rows, self.last_row, self.steps_m, self.wraps_m),
            (self.n, self.tile_n, self.cols, self.last_col, self.steps_n, self.wraps_n),
        ):
            left = Signal(32, name=f"{tile.name}_left")
            end = Signal(name=f"{tile.name}_end")
            m.d.comb += [end.eq(left <= per_tile), last.eq(Mux(end, left - 1, per_tile - 1))]
            ends.append(end)
            with m.If(self.load):
                m.d.sync += [left.eq(size), tile.eq(0)]
            with m.Elif(self.advance & steps):
                m.d.sync += [left.eq(left - per_tile), tile.eq(tile + 1)]
            with m.Elif(self.advance & wraps):
                m.d.sync += [left.eq(size), tile.eq(0)]
        last_m, last_n = ends
        final = last_m & last_n
        with m.If(self.n_outer):
            m.d.comb += [
                self.steps_m.eq(~last_m),
                self.steps_n.eq(last_m & ~last_n),
                self.wraps_m.eq(last_m & ~last_n),
            ]
        with m.Else():
            m.d.comb += [
                self.steps_n.eq(~last_n),
                self.steps_m.eq(last_n & ~last_m),
                self.wraps_n.eq(last_n & ~last_m),
            ]
        with m.If(self.load):
            m.d.sync += self.active.eq(1)
        with m.Elif(self.advance & final):
            m.d.sync += self.active.eq(0)
        return m
