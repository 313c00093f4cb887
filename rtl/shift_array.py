"""The shift array as hardware: memory words in, exact accumulators out, in either dataflow."""

__all__ = ["ShiftPEArray"]

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from amaranth import Array, Cat, Module, Signal, Value, signed
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from tetrit.hardware import ShiftArray
from tetrit.rtl.gearbox import Downsizer, Upsizer, beat
from tetrit.rtl.shift_pe import ShiftPE
from tetrit.rtl.weights import WeightDecoder


@dataclass(frozen=True, kw_only=True)
class _Edge:
    """What reaches the core: the clock enable, the streams of vectors, and their elements, decoded and skewed."""

    enable: Signal
    weights: Any
    acts: Any
    partials: Any
    weight_vector: Sequence[Any]
    act_vector: Sequence[Value]
    partial_vector: Sequence[Value]


class ShiftPEArray(wiring.Component):
    """A rows x cols array of `ShiftPE` between four streams of memory words.

    A vector takes ``ceil(vector_bits / word_bits)`` words, low word first, element 0 in the low bits. `last` travels
    with
    the last word of a vector.

    *Weight stationary.* Each vector on `weights` is one row of a tile's codes, row 0 first, `last` on the tile's last
    row;
    rows above it keep stale weights, so their activations must be 0. One of two banks is filled while the other works.
    Each vector on `activations` is joined with one on `partials`; `last` on the tile's last activation vector switches
    banks. Result i = partial i + activation i x tile, after ``pipeline_depth = rows + cols - 1`` cycles.

    *Output stationary.* Each vector on `activations` (one element per row) is joined with one on `weights` (one code
    per
    column); `last` on the activations ends the sums. The tile then drains row by row, each joined with a vector on
    `partials` that is added to it, whose `last` ends the drain; the next tile computes meanwhile, but its own `last`
    waits
    for the drain. Result row = partial + sum, after ``pipeline_depth = cols`` cycles.

    Vectors are taken no faster than `results` can hand them out. When `results` is blocked, the whole core stands
    still.
    Cycle counts: `tetrit.sim.shift.cycles` predicts them exactly.

    Parameters
    ----------
    machine : ShiftArray
        Size, formats, widths, dataflow, memories.

    Members
    -------
    weights, activations, partials : In(stream of beat(word))
        See above; words as wide as the machine's memories.
    results : Out(stream of beat(word))
        Accumulators, `acc_bits` each; `last` on a tile's last vector.
    """

    def __init__(self, machine: ShiftArray) -> None:
        self.machine = machine
        acc_word = machine.acc_word_bits
        super().__init__(
            {
                "weights": In(stream.Signature(beat(machine.weight_word_bits))),
                "activations": In(stream.Signature(beat(machine.act_word_bits))),
                "partials": In(stream.Signature(beat(acc_word))),
                "results": Out(stream.Signature(beat(acc_word))),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build gearboxes, core and control."""
        machine = self.machine
        m = Module()
        m.submodules.weights_in = weights = self.gearbox(self.weights, machine.weight_vector_bits)
        m.submodules.activations_in = acts = self.gearbox(self.activations, machine.act_vector_bits)
        m.submodules.partials_in = partials = self.gearbox(self.partials, machine.acc_vector_bits)
        m.submodules.results_out = results = Downsizer(machine.acc_vector_bits, len(self.results.payload.data))
        for inner, outer in ((weights.i, self.weights), (acts.i, self.activations), (partials.i, self.partials)):
            wiring.connect(m, inner, wiring.flipped(outer))
        wiring.connect(m, wiring.flipped(self.results), results.o)

        enable = Signal()
        m.d.comb += enable.eq(~results.i.valid | results.i.ready)
        codes = self.split(weights.o.payload.data, machine.weights.bits)
        weight_vector = []
        for column, code in enumerate(codes):
            m.submodules[f"decoder_{column}"] = decoder = WeightDecoder(machine.weights)
            m.d.comb += decoder.code.eq(code)
            weight_vector.append(self.delayed(m, decoder.weight, column, enable))
        partial_vector = [
            self.delayed(m, value.as_signed(), column, enable)
            for column, value in enumerate(self.split(partials.o.payload.data, machine.acc_bits))
        ]
        act_vector = [
            self.delayed(m, value.as_signed(), row, enable)
            for row, value in enumerate(self.split(acts.o.payload.data, machine.activations.bits))
        ]
        build = self.weight_stationary if machine.dataflow == "weight_stationary" else self.output_stationary
        edge = _Edge(
            enable=enable,
            weights=weights.o,
            acts=acts.o,
            partials=partials.o,
            weight_vector=weight_vector,
            act_vector=act_vector,
            partial_vector=partial_vector,
        )
        issued, last, sums = build(m, edge)
        m.d.comb += [
            results.i.valid.eq(self.delayed(m, issued, machine.pipeline_depth, enable, reset_less=False)),
            results.i.payload.last.eq(self.delayed(m, last, machine.pipeline_depth, enable)),
            results.i.payload.data.eq(
                Cat(self.delayed(m, value, machine.cols - 1 - column, enable) for column, value in enumerate(sums))
            ),
        ]
        return m

    @staticmethod
    def gearbox(port: Any, vector_bits: int) -> Upsizer:
        """Return the gearbox that makes vectors of `port`'s words."""
        return Upsizer(vector_bits, len(port.payload.data))

    @staticmethod
    def split(vector: Value, bits: int) -> list[Value]:
        """Cut a vector into its elements."""
        return [vector[low : low + bits] for low in range(0, len(vector), bits)]

    @staticmethod
    def delayed(m: Module, value: Any, cycles: int, enable: Value, *, reset_less: bool = True) -> Any:
        """Return `value` as it was `cycles` enabled cycles ago."""
        for _ in range(cycles):
            register = Signal.like(value, name="skew", reset_less=reset_less)
            with m.If(enable):
                m.d.sync += register.eq(value)
            value = register
        return value

    def rate_limit(self, m: Module, enable: Value, issue: Value) -> Value:
        """Return whether a result may be started: at most one in `acc_words` cycles, as fast as they can leave."""
        if self.machine.acc_words == 1:
            return Value.cast(1)
        wait = Signal(range(self.machine.acc_words))
        with m.If(issue):
            m.d.sync += wait.eq(self.machine.acc_words - 1)
        with m.Elif(enable & (wait != 0)):
            m.d.sync += wait.eq(wait - 1)
        return wait == 0

    def elements(self, m: Module, enable: Value) -> list[list[ShiftPE]]:
        """Instantiate the processing elements, and pass activations from left to right."""
        machine = self.machine
        grid = []
        for row in range(machine.rows):
            line: list[ShiftPE] = []
            for column in range(machine.cols):
                pe = ShiftPE(machine.weights, machine.activations.bits, machine.acc_bits, machine.dataflow)
                m.submodules[f"pe_{row}_{column}"] = pe
                m.d.comb += pe.enable.eq(enable)
                if line:
                    m.d.comb += pe.act_in.eq(line[-1].act_out)
                line.append(pe)
            grid.append(line)
        return grid

    def weight_stationary(self, m: Module, edge: _Edge) -> tuple[Value, Value, list[Value]]:
        """Build the weight-stationary core; return when a vector starts, whether it is a tile's last, and the sums."""
        machine = self.machine
        enable, weights, acts, partials = edge.enable, edge.weights, edge.acts, edge.partials
        loaded = Signal(2)  # per bank: a whole tile is there and not yet used up
        load_bank, bank = Signal(), Signal()
        row_index = Signal(range(machine.rows))
        load, issue = Signal(), Signal()
        ready = self.rate_limit(m, enable, issue)
        m.d.comb += [
            load.eq(enable & weights.valid & ~loaded.bit_select(load_bank, 1)),
            issue.eq(enable & acts.valid & partials.valid & loaded.bit_select(bank, 1) & ready),
            weights.ready.eq(load),
            acts.ready.eq(issue),
            partials.ready.eq(issue),
        ]
        with m.If(load):
            m.d.sync += row_index.eq(row_index + 1)
            with m.If(weights.payload.last):
                m.d.sync += [row_index.eq(0), load_bank.eq(~load_bank), loaded.bit_select(load_bank, 1).eq(1)]
        with m.If(issue & acts.payload.last):
            m.d.sync += [bank.eq(~bank), loaded.bit_select(bank, 1).eq(0)]

        grid = self.elements(m, enable)
        for row, line in enumerate(grid):
            m.d.comb += [
                line[0].act_in.eq(edge.act_vector[row]),
                line[0].bank_in.eq(self.delayed(m, bank, row, enable)),
                line[0].load_in.eq(load & (row_index == row)),
                line[0].load_bank_in.eq(load_bank),
            ]
            for left, right in pairwise(line):
                m.d.comb += [
                    right.bank_in.eq(left.bank_out),
                    right.load_in.eq(left.load_out),
                    right.load_bank_in.eq(left.load_bank_out),
                ]
            for column, pe in enumerate(line):
                above = grid[row - 1][column].sum_out if row else edge.partial_vector[column]
                m.d.comb += [pe.weight_in.eq(edge.weight_vector[column]), pe.sum_in.eq(above)]
        return issue, acts.payload.last, [pe.sum_out for pe in grid[-1]]

    def output_stationary(self, m: Module, edge: _Edge) -> tuple[Value, Value, list[Value]]:
        """Build the output-stationary core; return when a row drains, whether it is a tile's last, and the sums."""
        machine = self.machine
        enable, weights, acts, partials = edge.enable, edge.weights, edge.acts, edge.partials
        draining = Signal()
        drain_row = Signal(range(machine.rows))
        step, drain, drained = Signal(), Signal(), Signal()
        ready = self.rate_limit(m, enable, drain)
        m.d.comb += [
            drain.eq(enable & draining & partials.valid & ready),
            drained.eq(drain & partials.payload.last),
            step.eq(enable & acts.valid & weights.valid & (~acts.payload.last | ~draining | drained)),
            weights.ready.eq(step),
            acts.ready.eq(step),
            partials.ready.eq(drain),
        ]
        with m.If(drain):
            m.d.sync += drain_row.eq(drain_row + 1)
        with m.If(drained):
            m.d.sync += [draining.eq(0), drain_row.eq(0)]
        with m.If(step & acts.payload.last):
            m.d.sync += draining.eq(1)

        grid = self.elements(m, enable)
        for row, line in enumerate(grid):
            m.d.comb += [
                line[0].act_in.eq(edge.act_vector[row]),
                line[0].valid_in.eq(self.delayed(m, step, row, enable, reset_less=False)),
                line[0].last_in.eq(self.delayed(m, acts.payload.last, row, enable)),
            ]
            for left, right in pairwise(line):
                m.d.comb += [right.valid_in.eq(left.valid_out), right.last_in.eq(left.last_out)]
            for column, pe in enumerate(line):
                m.d.comb += pe.weight_in.eq(grid[row - 1][column].weight_out if row else edge.weight_vector[column])
        sums: list[Value] = []
        select: Value = drain_row
        for column in range(machine.cols):
            total = Signal(signed(machine.acc_bits), name=f"drained_{column}", reset_less=True)
            finished = Array(line[column].result for line in grid)[select]
            with m.If(enable):
                m.d.sync += total.eq(finished + edge.partial_vector[column])
            sums.append(total)
            select = self.delayed(m, select, 1, enable)
        return drain, partials.payload.last, sums
