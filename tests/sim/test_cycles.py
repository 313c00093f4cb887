"""The cycle model: examples by hand, limits that follow from it, and its behaviour under wider memories."""

from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tetrit import hardware
from tetrit.sim import Mapping, Workload
from tetrit.sim.shift import best_mapping, cycles
from tetrit.sim.shift.tiles import partial_sum_bytes

WS, OS = hardware.DATAFLOWS


@st.composite
def cases(draw):
    rows, cols = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    memory = st.builds(hardware.Memory, width_bits=st.sampled_from([None, 8, 24, 40]), latency_cycles=st.integers(0, 3))
    machine = hardware.ShiftArray(
        rows=rows,
        cols=cols,
        dataflow=draw(st.sampled_from(hardware.DATAFLOWS)),
        weight_memory=draw(memory),
        act_memory=draw(memory),
        acc_memory=draw(memory),
    )
    m, k, n = (draw(st.integers(1, 30)) for _ in range(3))
    on_array = {"tile_k": rows} if machine.dataflow == WS else {"tile_m": rows}
    limits = {"tile_m": m, "tile_k": k, "tile_n": cols} | on_array
    tiles = {name: draw(st.integers(1, limit)) for name, limit in limits.items()}
    return machine, Workload(m=m, k=k, n=n), Mapping(**tiles, order=draw(st.sampled_from(["mnk", "mkn"])))


def test_one_tile_by_hand():
    """Weight rows in cycles 1 to 16, vectors in 17 to 116, then 31 cycles through the array and one to hand over."""
    machine = hardware.ShiftArray(rows=16, cols=16)
    mapping = Mapping(tile_m=100, tile_k=16, tile_n=16)
    assert cycles.count(Workload(m=100, k=16, n=16), mapping, machine) == 116 + 31 + 1 + 1


def test_long_runs_cost_the_slower_of_compute_and_load_per_tile():
    machine = hardware.ShiftArray(rows=16, cols=16)
    for m, per_tile in ((100, 100), (10, 16)):
        mapping = Mapping(tile_m=m, tile_k=16, tile_n=16, order="mkn")
        shorter, longer = (cycles.count(Workload(m=m, k=16, n=16 * tiles), mapping, machine) for tiles in (50, 51))
        assert longer - shorter == per_tile


def test_output_stationary_drain_hides_behind_a_long_reduction():
    machine = hardware.ShiftArray(rows=16, cols=16, dataflow=OS)
    for k, per_tile in ((64, 64), (4, 16)):
        mapping = Mapping(tile_m=16, tile_k=k, tile_n=16)
        shorter, longer = (cycles.count(Workload(m=16 * tiles, k=k, n=16), mapping, machine) for tiles in (50, 51))
        assert longer - shorter == per_tile


@given(cases())
@settings(max_examples=300, deadline=None)
def test_no_stream_delivers_faster_than_its_memory(case):
    machine, workload, mapping = case
    n_cycles = cycles.count(workload, mapping, machine)
    k_tiles = -(-workload.k // mapping.tile_k)
    n_tiles = -(-workload.n // mapping.tile_n)
    m_tiles = -(-workload.m // mapping.tile_m)
    assert n_cycles >= workload.m * k_tiles * n_tiles * machine.acc_words
    assert n_cycles >= workload.k * n_tiles * m_tiles * machine.weight_words
    vectors = workload.m * k_tiles * n_tiles if machine.dataflow == WS else workload.k * m_tiles * n_tiles
    assert n_cycles >= vectors * machine.act_words
    assert workload.macs <= n_cycles * machine.rows * machine.cols


@given(cases(), st.sampled_from(["weight_memory", "act_memory", "acc_memory"]))
@settings(max_examples=300, deadline=None)
def test_a_wider_memory_is_never_slower(case, name):
    machine, workload, mapping = case
    memory = getattr(machine, name)
    wide = machine.replace(**{name: memory.replace(width_bits=None)})
    assert cycles.count(workload, mapping, wide) <= cycles.count(workload, mapping, machine)


@given(cases())
@settings(max_examples=200, deadline=None)
def test_no_mapping_is_faster_than_the_best_one_by_more_than_a_fill_or_drain(case):
    machine, workload, _ = case
    workload = Workload(m=min(workload.m, 9), k=min(workload.k, 9), n=min(workload.n, 9))
    machine = machine.replace(acc_memory=machine.acc_memory.replace(size_bytes=8 * machine.acc_vector_bits))
    on_array = {"k": machine.rows} if machine.dataflow == WS else {"m": machine.rows}
    limits = {"m": workload.m, "k": workload.k, "n": machine.cols} | on_array
    fastest = None
    for m, k, n in product(*(range(1, limits[axis] + 1) for axis in "mkn")):
        for order in ("mnk", "mkn"):
            mapping = Mapping(tile_m=m, tile_k=k, tile_n=n, order=order)
            if partial_sum_bytes(workload, mapping, machine) <= machine.acc_memory.size_bytes:
                count = cycles.count(workload, mapping, machine)
                fastest = count if fastest is None else min(fastest, count)
    end = machine.rows * max(machine.weight_words, machine.acc_words)
    assert fastest <= cycles.count(workload, best_mapping(workload, machine), machine) <= fastest + end


def test_accumulator_memory_limits_the_tile():
    machine = hardware.ShiftArray(rows=16, cols=16, acc_memory=hardware.Memory(size_bytes=480))
    workload = Workload(m=100, k=64, n=16)
    assert best_mapping(workload, machine).tile_m <= 10
    with pytest.raises(
        ValueError, match=r"^partial sums of the mapping need 4800 bytes, `acc_memory` has 480; use a smaller `tile_m`$"
    ):
        cycles.count(workload, Mapping(tile_m=100, tile_k=16, tile_n=16), machine)
    tiny = machine.replace(acc_memory=hardware.Memory(size_bytes=47))
    with pytest.raises(ValueError, match=r"^`acc_memory` of 47 bytes cannot hold the partial sums of one vector$"):
        best_mapping(workload, tiny)


def test_mapping_must_fit_the_array():
    workload = Workload(m=8, k=8, n=8)
    machine = hardware.ShiftArray(rows=4, cols=4)
    with pytest.raises(
        ValueError, match=r"^`tile_k` must be at most the array's rows \(4\) when weight_stationary, got 5$"
    ):
        cycles.count(workload, Mapping(tile_m=8, tile_k=5, tile_n=4), machine)
    with pytest.raises(ValueError, match=r"^`tile_n` must be a positive integer, got 0$"):
        Mapping(tile_m=8, tile_k=4, tile_n=0)
    with pytest.raises(TypeError, match=r"^`m` must be an integer, got 1.5$"):
        Workload(m=1.5, k=1, n=1)
    with pytest.raises(ValueError, match=r"^unknown order 'mnn'; did you mean 'mnk'\?$"):
        Mapping(tile_m=1, tile_k=1, tile_n=1, order="mnn")


def test_half_a_million_tiles_are_counted_without_a_python_loop():
    machine = hardware.ShiftArray(rows=16, cols=16, acc_bits=32, acc_memory=hardware.Memory(size_bytes=65536))
    workload = Workload(m=1, k=11008, n=4096 * 3)
    mapping = Mapping(tile_m=1, tile_k=16, tile_n=16, order="mkn")
    assert cycles.count(workload, mapping, machine) == pytest.approx(688 * 768 * 16, rel=1e-3)
    assert np.isclose(workload.macs, 11008 * 4096 * 3)


def test_the_manual_s_comparison_with_scale_sim():
    """The closed forms are those of SCALE-Sim 3.0 without stalls; the figures stand in docs/cycle-model.md."""
    m, k, n, size = 449, 64, 64, 16
    workload = Workload(m=m, k=k, n=n)
    theirs = {
        WS: (k // size) * (n // size) * (2 * size + size + m - 2) - 1,
        OS: -(-m // size) * (n // size) * (2 * size + k - 2) - 1,
    }
    text = (Path(__file__).parents[2] / "docs" / "cycle-model.md").read_text(encoding="utf-8")
    for dataflow in hardware.DATAFLOWS:
        machine = hardware.ShiftArray(rows=size, cols=size, dataflow=dataflow)
        ours = cycles.count(workload, best_mapping(workload, machine), machine)
        assert f"| {dataflow.replace('_', ' ')} | {theirs[dataflow]:,} | {ours:,} |" in text
