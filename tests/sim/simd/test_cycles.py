"""The cycle model: by hand, against a walk through the handshake cycle by cycle, and limits that follow from it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tetrit.hardware import Memory
from tetrit.hardware.simd_engine import SIMD_FORMATS, SimdEngine
from tetrit.sim import Workload
from tetrit.sim.simd import cycles

MEMORIES = st.builds(Memory, width_bits=st.sampled_from([None, 8, 24, 40]), latency_cycles=st.integers(0, 4))


@st.composite
def cases(draw):
    machine = SimdEngine(
        rows=draw(st.integers(1, 5)),
        cols=draw(st.integers(1, 5)),
        weight_memory=draw(MEMORIES),
        act_memory=draw(MEMORIES),
        result_memory=draw(MEMORIES),
    )
    m, k, n = draw(st.integers(1, 14)), draw(st.integers(1, 40)), draw(st.integers(1, 14))
    pair = draw(st.sampled_from(SIMD_FORMATS)), draw(st.sampled_from(SIMD_FORMATS))
    return Workload(m=m, k=k, n=n), machine, *pair


class Gear:
    """A memory and the gearbox after it: one word a cycle, a vector offered in the cycle after its last word."""

    def __init__(self, words, latency):
        self.words, self.wait, self.have, self.full = words, latency, 0, False

    def clock(self, taken):
        """End a cycle in which the vector on offer was taken or not."""
        if self.wait:
            self.wait -= 1
            return
        if self.full and not taken:
            return
        self.have = 1 if self.full else self.have + 1
        self.full = self.have == self.words
        if self.full:
            self.have = 0


def walk(workload, machine, act_format, weight_format):
    """Play the handshake cycle by cycle; return when steps are taken, and when the last words of results leave."""
    lanes = 16 // max(
        {"f": 4, "4": 4, "8": 8, "1": 16}[f[0] if f[0] == "f" else f[5]] for f in (act_format, weight_format)
    )
    n_steps = -(-workload.k // lanes)
    heights = [
        min(machine.rows, workload.m - row)
        for row in range(0, workload.m, machine.rows)
        for _ in range(0, workload.n, machine.cols)
    ]
    acts = Gear(machine.act_words, machine.act_memory.latency_cycles)
    weights = Gear(machine.weight_words, machine.weight_memory.latency_cycles)
    steps, drains = [], []
    step = tile = row = 0
    finished = None  # when the quires of the tile that waits for its drain are done
    drained_tiles, rest = 0, 0
    cycle = 0
    while drained_tiles < len(heights):
        drain = finished is not None and cycle >= finished and rest == 0
        drain_ends = drain and row == heights[drained_tiles] - 1
        last = step == n_steps - 1
        take = tile < len(heights) and acts.full and weights.full and (not last or finished is None or drain_ends)
        rest = machine.result_words - 1 if drain else max(rest - 1, 0)
        if drain:
            drains.append(cycle)
            row += 1
            if drain_ends:
                row, finished, drained_tiles = 0, None, drained_tiles + 1
        if take:
            steps.append(cycle)
            step += 1
            if last:
                step, tile, finished = 0, tile + 1, cycle + 3
        acts.clock(take)
        weights.clock(take)
        cycle += 1
    left = np.array(drains) + machine.cols - 1 + 4 + machine.result_words
    return steps, left.tolist()


@given(cases())
def test_the_recurrences_are_those_of_the_handshake(case):
    planned = cycles.schedule(*case)
    steps, results = walk(*case)
    assert planned.steps.tolist() == steps
    assert planned.results.tolist() == results
    assert cycles.count(*case) == planned.cycles == results[-1] + 1


@given(cases())
def test_no_element_loses_or_misses_a_sum(case):
    """Each row is drained after its sums are done, and before the next tile's sums replace them."""
    workload, machine, *_ = case
    planned = cycles.schedule(*case)
    n_steps = cycles.steps(*case)
    drains = planned.results - machine.pipeline_depth - machine.result_words
    done = planned.steps[n_steps - 1 :: n_steps] + machine.mac_latency  # at row 0, column 0; row r is r later
    place = 0
    n_tiles = cycles.tiles(workload, machine)
    for tile in range(n_tiles):
        in_row = -(-workload.n // machine.cols)
        for row in range(min(machine.rows, workload.m - tile // in_row * machine.rows)):
            assert drains[place] >= done[tile] + row
            assert tile + 1 == n_tiles or drains[place] < done[tile + 1] + row
            place += 1
    assert place == len(drains)


def test_one_tile_by_hand():
    """Steps in cycles 1 to 100, drain of 16 rows from 103, 15 + 4 cycles of skew and read-out, one to hand over."""
    machine = SimdEngine(rows=16, cols=16)
    assert cycles.count(Workload(m=16, k=100, n=16), machine, "posit16_1", "fp4_e2m1") == 103 + 15 + 15 + 4 + 1 + 1
    for pair, n_steps in ((("posit8_0", "posit4_1"), 50), (("fp4_e2m1", "posit4_1"), 25)):
        assert cycles.count(Workload(m=16, k=100, n=16), machine, *pair) == n_steps + 3 + 15 + 15 + 4 + 1 + 1
        assert cycles.count(Workload(m=16, k=99, n=16), machine, *pair) == n_steps + 3 + 15 + 15 + 4 + 1 + 1


def test_long_runs_cost_the_slowest_of_compute_operands_and_drain_per_tile():
    for memory, k, per_tile in (
        ({}, 640, 320),
        ({"weight_memory": Memory(width_bits=64)}, 640, 4 * 320),
        ({"act_memory": Memory(width_bits=100)}, 640, 3 * 320),
        ({}, 8, 15 + 3),
        ({"result_memory": Memory(width_bits=128)}, 8, 15 * 2 + 3),
        ({"result_memory": Memory(width_bits=64)}, 8, 16 * 4),
        ({"result_memory": Memory(width_bits=128)}, 640, 320),
    ):
        machine = SimdEngine(rows=16, cols=16, **memory)
        shorter, longer = (
            cycles.count(Workload(m=16 * tiles, k=k, n=16), machine, "posit8_0", "posit8_0") for tiles in (50, 51)
        )
        assert longer - shorter == per_tile


@given(cases(), st.sampled_from(["weight_memory", "act_memory", "result_memory"]))
def test_a_wider_memory_is_never_slower_and_none_delivers_faster_than_it_can(case, name):
    workload, machine, *pair = case
    wide = machine.replace(**{name: getattr(machine, name).replace(width_bits=None)})
    n_cycles = cycles.count(workload, machine, *pair)
    assert cycles.count(workload, wide, *pair) <= n_cycles
    n_steps = cycles.steps(workload, machine, *pair) * cycles.tiles(workload, machine)
    assert n_cycles >= n_steps * max(machine.act_words, machine.weight_words)
    assert n_cycles >= workload.m * -(-workload.n // machine.cols) * machine.result_words


def test_a_list_of_layers_counts_each_and_the_switches_between_them():
    machine = SimdEngine(rows=4, cols=4, mode_switch_cycles=7)
    layers = [Workload(m=9, k=20, n=5), Workload(m=9, k=5, n=8), Workload(m=9, k=8, n=3), Workload(m=9, k=3, n=3)]
    acts = ["posit8_0", "posit8_0", "fp4_e2m1", "fp4_e2m1"]
    weights = ["fp4_e2m1", "fp4_e2m1", "posit8_0", "posit8_0"]
    alone = [cycles.count(layer, machine, *pair) for layer, *pair in zip(layers, acts, weights, strict=True)]
    alone[2] += 7
    assert cycles.count_all(layers, machine, acts, weights).tolist() == alone
    same = [cycles.count(layer, machine, "posit16_1", "posit16_1") for layer in layers]
    assert cycles.count_all(layers, machine, "posit16_1", "posit16_1").tolist() == same


def test_refusals():
    machine = SimdEngine(rows=4, cols=4, formats=("posit8_0",))
    layer = Workload(m=1, k=1, n=1)
    with pytest.raises(ValueError, match=r"^`workloads` must hold at least one workload, got none$"):
        cycles.count_all([], machine, "posit8_0", "posit8_0")
    with pytest.raises(ValueError, match=r"^`act_formats` must be one name or one for each of 2 workloads, got 1$"):
        cycles.count_all([layer, layer], machine, ["posit8_0"], "posit8_0")
    with pytest.raises(ValueError, match=r"^`weight_format` must be one of posit8_0, got 'fp4_e2m1'$"):
        cycles.count(layer, machine, "posit8_0", "fp4_e2m1")


@pytest.mark.parametrize(
    ("memory", "shape", "name"),
    [
        ({}, (64, 512, 64), "compute"),
        ({"weight_memory": Memory(width_bits=32)}, (64, 512, 64), "weights"),
        ({"act_memory": Memory(width_bits=32)}, (64, 512, 64), "activations"),
        ({"result_memory": Memory(width_bits=32)}, (640, 8, 64), "results"),
        ({}, (4, 1, 4), "latency"),
    ],
)
def test_what_limits_a_run_is_named(memory, shape, name):
    machine = SimdEngine(rows=4, cols=4, **memory)
    case = Workload(m=shape[0], k=shape[1], n=shape[2]), machine, "posit8_0", "posit8_0"
    assert cycles.bound(*case, cycles.count(*case)) == name
