"""The SIMD array as hardware: memory words in, codes out, output stationary."""

__all__ = ["SimdArray", "TileMode"]

from itertools import pairwise
from typing import Any

from amaranth import Array, Cat, Const, Module, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from tetrit.hardware.simd_engine import SimdEngine
from tetrit.rtl.gearbox import Downsizer, Upsizer, beat
from tetrit.rtl.simd.mac import SimdMac
from tetrit.rtl.simd.modes import SimdMode
from tetrit.rtl.simd.readout import ResultMode, SimdReadout


class TileMode(data.StructLayout):
    """How a tile is computed: `ResultMode`, the number of rows that drain less one, and a bias per column."""

    def __init__(self, machine: SimdEngine) -> None:
        super().__init__(
            {
                "result": ResultMode(),
                "last_row": max(1, (machine.rows - 1).bit_length()),
                "bias": data.ArrayLayout(signed(machine.quire_bits), machine.cols),
            }
        )


class SimdArray(wiring.Component):
    """A rows x cols array of `SimdMac` with a `SimdReadout` below each column.

    A vector takes ``ceil(vector_bits / word_bits)`` words, low word first, element 0 in the low bits. `last` travels
    with the last word of a vector.

    Each vector on `activations` (an operand word per row) is joined with one on `weights` (an operand word per column);
    `last` on the activations ends the tile's sums. From `machine.mac_latency` cycles later on the tile drains row by
    row, first row first, while the next one computes; the next tile's own `last` waits for the drain. A row's codes are
    there `machine.pipeline_depth` cycles after it started to drain.

    Vectors are taken no faster than `results` can hand them out. When `results` is blocked, the whole core stands
    still. Before a tile of other operand formats than the last one's nothing is taken for `mode_switch_cycles`. Cycle
    counts: `tetrit.sim.simd.cycles` predicts them exactly.

    Parameters
    ----------
    machine : SimdEngine
        Size, formats, quire, memories.

    Members
    -------
    weights, activations : In(stream of beat(word))
        See above; words as wide as the machine's memories, or a whole vector where they name no width.
    tiles : In(stream of TileMode)
        One a tile: needed from its first vector on, taken with its last.
    results : Out(stream of beat(word))
        Codes, each in 16 bits; `last` on a tile's last row.
    clear : In(1), nar : Out(1)
        `nar` stays set from the first FP4 result that stood for NaR until `clear`.
    """

    def __init__(self, machine: SimdEngine) -> None:
        self.machine = machine
        super().__init__(
            {
                "weights": In(stream.Signature(beat(machine.weight_word_bits))),
                "activations": In(stream.Signature(beat(machine.act_word_bits))),
                "tiles": In(stream.Signature(TileMode(machine))),
                "results": Out(stream.Signature(beat(machine.result_word_bits))),
                "clear": In(1),
                "nar": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build gearboxes, control, elements and read-outs."""
        machine = self.machine
        m = Module()
        m.submodules.weights_in = weights = Upsizer(machine.weight_vector_bits, machine.weight_word_bits)
        m.submodules.activations_in = acts = Upsizer(machine.act_vector_bits, machine.act_word_bits)
        m.submodules.results_out = results = Downsizer(machine.result_vector_bits, machine.result_word_bits)
        for inner, outer in ((weights.i, self.weights), (acts.i, self.activations)):
            wiring.connect(m, inner, wiring.flipped(outer))
        wiring.connect(m, wiring.flipped(self.results), results.o)
        enable = Signal()
        m.d.comb += enable.eq(~results.i.valid | results.i.ready)

        busy, drained = Signal(), Signal()  # a tile that has ended is not yet drained; ends to be so
        step, mode = self._steps(m, enable, weights.o, acts.o, ~busy | drained)
        ends = Signal()
        m.d.comb += ends.eq(step & acts.o.payload.last)
        drain, row, tile = self._drains(m, enable, ends, drained)
        with m.If(ends):
            m.d.sync += busy.eq(1)
        with m.Elif(drained):
            m.d.sync += busy.eq(0)
        grid = self._elements(m, enable, step, acts.o.payload, weights.o.payload, mode)
        codes, lost = self._readouts(m, enable, grid, row, tile)
        depth = machine.pipeline_depth
        issued = self.delayed(m, drain, depth, enable, reset_less=False)
        m.d.comb += [
            results.i.valid.eq(issued),
            results.i.payload.last.eq(self.delayed(m, drained, depth, enable)),
            results.i.payload.data.eq(Cat(codes)),
        ]
        with m.If(self.clear):
            m.d.sync += self.nar.eq(0)
        with m.If(issued & Cat(lost).any()):
            m.d.sync += self.nar.eq(1)
        return m

    @staticmethod
    def delayed(m: Module, value: Any, cycles: int, enable: Value, *, reset_less: bool = True) -> Any:
        """Return `value` as it was `cycles` enabled cycles ago."""
        for _ in range(cycles):
            register = Signal.like(value, name="skew", reset_less=reset_less)
            with m.If(enable):
                m.d.sync += register.eq(value)
            value = register
        return value

    def _steps(self, m: Module, enable: Value, weights: Any, acts: Any, may_end: Value) -> tuple[Signal, Any]:
        """Decide when a step is taken; return that, and the formats of the step taken last."""
        step, ready, fits = Signal(), Signal(), Signal()
        mode, asked = Signal(SimdMode()), self.tiles.payload.result.operands
        cycles = self.machine.mode_switch_cycles
        m.d.comb += ready.eq(enable & acts.valid & weights.valid & self.tiles.valid)
        if cycles:
            begun = Signal()  # the tile has taken steps
            waited = Signal(range(cycles + 1))
            m.d.comb += fits.eq(begun | (mode.as_value() == asked.as_value()) | (waited == cycles))
            with m.If(step):
                m.d.sync += [begun.eq(~acts.payload.last), waited.eq(0)]
            with m.Elif(ready & ~fits):
                m.d.sync += waited.eq(waited + 1)
        else:
            m.d.comb += fits.eq(1)
        m.d.comb += [
            step.eq(ready & fits & (~acts.payload.last | may_end)),
            weights.ready.eq(step),
            acts.ready.eq(step),
            self.tiles.ready.eq(step & acts.payload.last),
        ]
        with m.If(step):
            m.d.sync += mode.eq(asked)
        return step, mode

    def _drains(self, m: Module, enable: Value, ends: Value, drained: Signal) -> tuple[Signal, Signal, Any]:
        """Decide when a row drains; return that, which one, and the tile's mode; set `drained` with the last one."""
        machine = self.machine
        tile = Signal(TileMode(machine), reset_less=True)
        draining, drain = Signal(), Signal()
        row = Signal(range(machine.rows), name="drain_row")
        free: Value = Const(1, 1)
        if machine.result_words > 1:  # a row may start once the words of the one before can have left
            wait = Signal(range(machine.result_words))
            free = wait == 0
            with m.If(drain):
                m.d.sync += wait.eq(machine.result_words - 1)
            with m.Elif(enable & ~free):
                m.d.sync += wait.eq(wait - 1)
        m.d.comb += [drain.eq(enable & draining & free), drained.eq(drain & (row == tile.last_row))]
        with m.If(ends):
            m.d.sync += tile.eq(self.tiles.payload)
        with m.If(drain):
            m.d.sync += row.eq(row + 1)
        with m.If(drained):
            m.d.sync += [draining.eq(0), row.eq(0)]
        # the first element's quires are done mac_latency after the step
        with m.If(enable & self.delayed(m, ends, machine.mac_latency - 1, enable, reset_less=False)):
            m.d.sync += draining.eq(1)
        return drain, row, tile

    def _elements(
        self, m: Module, enable: Value, step: Value, acts: Any, weights: Any, mode: Any
    ) -> list[list[SimdMac]]:
        """Instantiate the elements; operands pass from left to right and from top to bottom, modes along diagonals."""
        machine = self.machine
        modes = [mode]
        for _ in range(machine.rows + machine.cols - 2):
            modes.append(self.delayed(m, modes[-1], 1, enable))
        grid: list[list[SimdMac]] = []
        for row in range(machine.rows):
            line = []
            for column in range(machine.cols):
                mac = SimdMac(machine)
                m.submodules[f"mac_{row}_{column}"] = mac
                above = grid[row - 1][column].weight_out if row else self._skewed(m, weights.data, column, enable)
                m.d.comb += [
                    mac.enable.eq(enable),
                    mac.mode.eq(modes[row + column]),
                    mac.weight_in.eq(above),
                ]
                line.append(mac)
            m.d.comb += [
                line[0].act_in.eq(self._skewed(m, acts.data, row, enable)),
                line[0].valid_in.eq(self.delayed(m, step, row, enable, reset_less=False)),
                line[0].last_in.eq(self.delayed(m, acts.last, row, enable)),
            ]
            for left, right in pairwise(line):
                m.d.comb += [
                    right.act_in.eq(left.act_out),
                    right.valid_in.eq(left.valid_out),
                    right.last_in.eq(left.last_out),
                ]
            grid.append(line)
        return grid

    def _skewed(self, m: Module, vector: Value, index: int, enable: Value) -> Value:
        """Return word `index` of a vector, as many cycles late."""
        word: Value = self.delayed(m, vector.word_select(index, self.machine.port_bits), index, enable)
        return word

    def _readouts(
        self, m: Module, enable: Value, grid: list[list[SimdMac]], row: Any, tile: Any
    ) -> tuple[list[Value], list[Value]]:
        """Instantiate the read-outs, each a cycle behind its left neighbour; return codes and flags in step again."""
        machine = self.machine
        codes, lost = [], []
        result = tile.result
        for column in range(machine.cols):
            m.submodules[f"readout_{column}"] = readout = SimdReadout(machine)
            m.d.comb += [
                readout.enable.eq(enable),
                readout.mode.eq(result),
                readout.quires.eq(Array(line[column].result for line in grid)[row]),
                readout.nar.eq(Array(line[column].nar for line in grid)[row]),
                readout.bias.eq(self.delayed(m, tile.bias[column], column, enable)),
            ]
            late = machine.cols - 1 - column
            codes.append(self.delayed(m, readout.code, late, enable))
            lost.append(self.delayed(m, readout.lost, late, enable))
            row, result = (self.delayed(m, value, 1, enable) for value in (row, result))
        return codes, lost
