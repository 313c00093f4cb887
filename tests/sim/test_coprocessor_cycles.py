"""The cycle model of the co-processor by itself: what it obeys whatever the hardware, to which other tests hold it."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tetrit.errors import InvalidValueError
from tetrit.hardware import Memory, ShiftArray, SimdEngine
from tetrit.sim import Workload
from tetrit.sim.coprocessor import Coprocessor, MatmulJob
from tetrit.sim.coprocessor.cycles import Counts, MemoryTiming, count
from tetrit.sim.simd import cycles as array_cycles

POSIT8 = {"act_format": "posit8_0", "weight_format": "posit8_0", "out_format": "posit8_0"}


def simd(rows=2, cols=2, scratchpad=256, **fields):
    memory = Memory(size_bytes=scratchpad)
    return Coprocessor(machine=SimdEngine(rows=rows, cols=cols, act_memory=memory, weight_memory=memory), **fields)


def job_of(unit, m, k, n, **fields):
    return MatmulJob(m=m, k=k, n=n, **(POSIT8 | fields)).placed(unit)


SHAPES = st.tuples(st.integers(1, 9), st.integers(1, 80), st.integers(1, 9))
UNITS = st.builds(
    simd,
    rows=st.integers(1, 3),
    cols=st.integers(1, 3),
    scratchpad=st.sampled_from([128, 256, 4096]),
    data_bits=st.sampled_from([32, 64, 128]),
    burst_beats=st.sampled_from([1, 4, 16]),
)


@settings(max_examples=60)
@given(unit=UNITS, shape=SHAPES, order=st.sampled_from(["mn", "nm"]), latency=st.integers(1, 9))
def test_what_every_job_obeys(unit, shape, order, latency):
    m, k, n = shape
    job = job_of(unit, m, k, n, order=order)
    counts = count(job, unit, MemoryTiming(read_latency=latency, write_latency=1))
    machine = unit.machine
    tiles = -(-m // machine.rows) * -(-n // machine.cols)
    assert counts.steps == tiles * -(-k // 2)
    assert counts.stalled == counts.cycles - counts.steps
    assert 0 < counts.gated < counts.stalled
    assert counts.cycles > max(counts.read_words + latency, counts.written_words, counts.steps)
    row, column, _ = job.row_bytes(unit)
    least = m * unit.words(row) + n * unit.words(column)
    once = least + n * unit.words(unit.record_bytes)
    assert counts.read_words >= once
    most = -(-n // machine.cols) * m * unit.words(row) + -(-m // machine.rows) * (once - m * unit.words(row))
    assert counts.read_words <= most
    slower = count(job, unit, MemoryTiming(read_latency=latency + 5, write_latency=4))
    assert slower.cycles >= counts.cycles + 5
    assert (slower.steps, slower.read_words, slower.written_words) == (
        counts.steps,
        counts.read_words,
        counts.written_words,
    )


def test_what_a_half_holds_is_not_fetched_again():
    """Two tiles of columns stay in the two halves; three do not; in the other order, rows stay."""
    unit = simd()
    words = {n: count(job_of(unit, 6, 16, n, parameters=False), unit).read_words for n in (2, 4, 6)}
    assert words == {2: 6 * 2 + 2 * 2, 4: 6 * 2 + 4 * 2, 6: 6 * 2 + 3 * 6 * 2}
    assert count(job_of(unit, 6, 16, 6, parameters=False, order="nm"), unit).read_words == 6 * 2 + 3 * 6 * 2
    assert count(job_of(unit, 4, 16, 6, parameters=False, order="nm"), unit).read_words == 4 * 2 + 6 * 2


def test_written_words_count_the_borders_that_rows_cross():
    unit = simd(cols=3)
    job = job_of(unit, 2, 4, 9, result_bits=16)
    assert count(job, unit).written_words == 2 * 5  # 0-5, 6-11 and 12-17 over a border
    assert count(job.replace(result_bits=8), unit).written_words == 2 * 4  # 0-2, 3-5, 6-8 over a border


def test_one_tile_by_hand():
    """One word of A and one of W, one step: every stage's cycles in turn."""
    unit = simd(rows=1, cols=1)
    job = MatmulJob(
        m=1, k=1, n=1, act_format="fp4_e2m1", weight_format="fp4_e2m1", out_format="fp4_e2m1", parameters=False,
        result_bits=16,
    ).placed(unit)  # fmt: skip
    # cycle 0 checks; the fetcher asks for parameters, A, W in 1, 2, 3; addresses in 3 and 4, words in 6 and 7; the
    # store is full in 8, offers in 9, the array's word is there in 10 and steps; it drains mac_latency later; the
    # row's word is offered readout_latency + 1 after that, is at the queue's output 2 later, on the bus in the cycle
    # after; its answer comes 4 later, and the end is seen in the cycle after
    machine = unit.machine
    last = 10 + machine.mac_latency + machine.readout_latency + 1 + 2 + 1 + 4 + 1
    counts = count(job, unit, MemoryTiming(read_latency=3, write_latency=4))
    flight = machine.rows + machine.cols - 1 + machine.mac_latency
    assert counts == Counts(cycles=last + 1, stalled=last, gated=last - flight, steps=1, read_words=2, written_words=1)


def test_on_a_wide_bus_long_sums_run_at_the_arrays_own_speed():
    unit = simd(rows=4, cols=4, scratchpad=1 << 16, data_bits=1024)
    job = job_of(unit, 32, 4096, 32, result_bits=8)
    alone = array_cycles.count(Workload(m=32, k=4096, n=32), unit.machine, "posit8_0", "posit8_0")
    assert alone < count(job, unit).cycles < 1.02 * alone


def test_waits_are_the_mean_over_draws_and_always_the_same():
    unit = simd()
    job = job_of(unit, 40, 200, 8)
    plain = count(job, unit)
    waiting = MemoryTiming(stall=(0.0, 0.5, 0.0, 0.0, 0.0))
    assert count(job, unit, waiting) == count(job, unit, waiting)
    assert count(job, unit, waiting).cycles > 1.5 * plain.cycles
    assert count(job, unit, waiting).read_words == plain.read_words


def test_a_shift_array():
    memory = Memory(size_bytes=512)
    machine = ShiftArray(
        rows=2, cols=3, dataflow="output_stationary", act_memory=memory, weight_memory=memory, acc_memory=memory
    )
    unit = Coprocessor(machine=machine)
    job = MatmulJob(m=4, k=10, n=6, act_format="int8", weight_format="szt", out_format="int8").placed(unit)
    counts = count(job, unit)
    assert (counts.steps, counts.read_words) == (4 * 10, 4 * 2 + 6 * 1 + 6 * 2)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"read_latency": 0}, "`read_latency` must be a positive integer, got 0"),
        ({"write_latency": -1}, "`write_latency` must be a positive integer, got -1"),
        ({"stall": (0.0,) * 4}, "`stall` must be five probabilities below 1, got (0.0, 0.0, 0.0, 0.0)"),
        ({"stall": (0, 0, 0, 0, 1)}, "`stall` must be five probabilities below 1, got (0, 0, 0, 0, 1)"),
    ],
)
def test_timings_that_make_no_sense(fields, text):
    with pytest.raises(InvalidValueError, match=rf"\A{re.escape(text)}\Z"):
        MemoryTiming(**fields)


PROBE = """
import hashlib
from tetrit.hardware import SimdEngine
from tetrit.sim.coprocessor import Coprocessor, MatmulJob
from tetrit.sim.coprocessor.cycles import MemoryTiming, count
unit = Coprocessor(machine=SimdEngine(rows=2, cols=2), data_bits=32)
names = dict(act_format="posit8_0", weight_format="posit4_1", out_format="posit8_0")
job = MatmulJob(m=3, k=9, n=3, **names).placed(unit)
told = [count(job, unit, MemoryTiming(stall=(p,) * 5)) for p in (0.0, 0.3)]
print(hashlib.sha256(repr(told).encode()).hexdigest())
"""


def test_the_same_without_the_compiler(same_without_the_compiler):
    same_without_the_compiler(PROBE)


def test_counts_are_plain_integers():
    unit = simd()
    assert all(type(value) is int for value in vars(count(job_of(unit, 2, 2, 2), unit)).values())
    assert np.iinfo(np.int64).max > count(job_of(unit, 100, 100, 100), unit).cycles
