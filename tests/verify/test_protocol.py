"""The streams bench itself: every kind of misbehaviour on a stream is found, and told apart from a wrong value."""

from functools import partial

import numpy as np
import pytest
from amaranth import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from tetrit.verify.bench import Workbench
from tetrit.verify.suites.job import Case, Feed, Job, stream_stimulus
from tetrit.verify.words import pack_fields

N_WORDS = 60


class Register(wiring.Component):
    """One register between two streams, right or wrong in one way; `fault` is told the words taken so far."""

    def __init__(self, fault=None):
        self.fault = fault
        super().__init__({"i": In(stream.Signature(8)), "o": Out(stream.Signature(8))})

    def elaborate(self, platform):
        m = Module()
        full, held, count = Signal(), Signal(8), Signal(8)
        m.d.comb += [
            self.i.ready.eq(~full | self.o.ready),
            self.o.valid.eq(full),
            self.o.payload.eq(held),
        ]
        with m.If(self.o.ready):
            m.d.sync += full.eq(0)
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [full.eq(1), held.eq(self.i.payload), count.eq(count + 1)]
        if self.fault is not None:
            self.fault(self, m, full, held, count)
        return m


def value(dut, m, full, held, count):
    with m.If(count == 7):
        m.d.comb += dut.o.payload.eq(held ^ 1)


def lose(dut, m, full, held, count):
    with m.If((count == 5) & dut.i.valid & dut.i.ready):
        m.d.sync += full.eq(0)


def repeat(dut, m, full, held, count):
    again = Signal()
    with m.If((count == 9) & full & dut.o.ready & ~again):
        m.d.comb += dut.i.ready.eq(0)
        m.d.sync += [full.eq(1), again.eq(1)]


def linger(dut, m, full, held, count):
    """Repeat the very last word."""
    again = Signal()
    with m.If((count == N_WORDS) & full & dut.o.ready & ~again):
        m.d.sync += [full.eq(1), again.eq(1)]


def bubble(dut, m, full, held, count):
    """Take nothing for one cycle, once."""
    rested = Signal()
    with m.If((count == 20) & ~rested):
        m.d.comb += dut.i.ready.eq(0)
        m.d.sync += rested.eq(1)


def hang(dut, m, full, held, count):
    with m.If(count == 11):
        m.d.comb += dut.i.ready.eq(0)


def flicker(dut, m, full, held, count):
    """Drop the offer in every second cycle of a wait."""
    phase = Signal()
    m.d.sync += phase.eq(full & ~dut.o.ready & ~phase)
    m.d.comb += [dut.o.valid.eq(full & ~phase), dut.i.ready.eq(~full | (dut.o.ready & ~phase))]
    with m.If(phase & full):
        m.d.sync += full.eq(1)


def change(dut, m, full, held, count):
    """Show noise first, and the word from the second cycle of the offer on, or when it is taken at once."""
    waited = Signal()
    m.d.sync += waited.eq(full & ~dut.o.ready)
    with m.If(~waited & ~dut.o.ready):
        m.d.comb += dut.o.payload.eq(held ^ 0xFF)


def unreset(dut, m, full, held, count):
    """Keep the word over a reset."""
    kept = Signal(reset_less=True)
    m.d.sync += kept.eq(full & ~dut.o.ready)
    m.d.comb += dut.o.valid.eq(full | kept)


def observe(build_dir, fault, *, idle_in=0.0, idle_out=0.0, cut=-1):
    rng = np.random.default_rng(5)
    cases = []
    for index in range(2):
        words = pack_fields([(rng.integers(0, 256, size=N_WORDS), 8)])
        cases.append(
            Case(
                feeds={"i": Feed(words=words)},
                expected={"o": words},
                cycles=N_WORDS + 1,
                idle={"i": idle_in, "o": idle_out},
                reset=index == 0,
                cut=cut if index == 0 else -1,
            )
        )
    job = Job(
        name="register",
        component="register",
        design=partial(Register, fault),
        bench="streams",
        stimulus=stream_stimulus(cases, {"i": 8, "o": 8}, seed=1),
        gates=False,
    )
    workbench = Workbench(build_dir)
    return workbench.run(job, "rtl", workbench.build(workbench.verilog(job, "rtl"))).result


def test_the_right_register_passes(build_dir):
    result = observe(build_dir, None)
    assert (result.passed, result.vectors, result.mismatches, result.message) == (True, 2 * N_WORDS, 0, "")
    assert (result.cases, result.cycles_rtl, result.cycles_model) == (2, 2 * (N_WORDS + 1), 2 * (N_WORDS + 1))


@pytest.mark.parametrize("idle_in", [0.0, 0.4, 0.9])
@pytest.mark.parametrize("idle_out", [0.3, 0.9])
def test_the_right_register_passes_with_waits_and_a_reset(build_dir, idle_in, idle_out):
    result = observe(build_dir, None, idle_in=idle_in, idle_out=idle_out, cut=20)
    assert (result.passed, result.mismatches, result.cases, result.cycles_rtl) == (True, 0, 0, None)


@pytest.mark.parametrize(
    ("fault", "waits", "mismatches", "told"),
    [
        (value, 0.0, 2, "case 0: o word 6 is "),
        (lose, 0.0, None, "case 0: o has 1 words too few"),
        (repeat, 0.0, None, "case 0: o has 1 words too many"),
        (linger, 0.0, 2, "case 0: o has 1 words too many"),
        (bubble, 0.0, 2, "case 0: 62 cycles, the model says 61"),
        (hang, 0.0, 2 * (N_WORDS - 11) + 2, "case 0: i still holds 49 words"),
        (flicker, 0.7, None, ": o drops valid before ready"),
        (change, 0.7, None, ": o changes its payload before ready"),
    ],
)
def test_a_fault_is_found_and_named(build_dir, fault, waits, mismatches, told):
    result = observe(build_dir, fault, idle_out=waits)
    assert not result.passed
    assert mismatches is None or result.mismatches == mismatches
    assert told in result.message


def test_a_word_that_survives_a_reset_is_found(build_dir):
    assert observe(build_dir, None, idle_out=0.9, cut=15).passed
    assert not observe(build_dir, unreset, idle_out=0.9, cut=15).passed


def test_waits_may_cost_cycles_but_cannot_save_any(build_dir):
    def early(dut, m, full, held, count):
        m.d.comb += [dut.o.valid.eq(dut.i.valid), dut.o.payload.eq(dut.i.payload), dut.i.ready.eq(dut.o.ready)]

    result = observe(build_dir, early, idle_in=1e-9)
    assert (result.mismatches, result.message.count("60 cycles, the model says at least 61")) == (2, 2)
