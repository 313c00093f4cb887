"""A nest of tiles: it is the whole product, and its cycles are those of the cycle model, tile by tile."""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tetrit import hardware
from tetrit.errors import InvalidValueError
from tetrit.hls.mapping import Tiling
from tetrit.hls.mapping.nest._kernels import nest_cycles
from tetrit.hls.mapping.shift.numbers import timing
from tetrit.sim import Mapping, Workload
from tetrit.sim.shift import cycles
from tetrit.sim.shift.tiles import tile_list

DATAFLOWS = ("weight_stationary", "output_stationary")
ANY = 1 << 62


def random_tiling(rng, workload, machine):
    stationary = machine.dataflow == "weight_stationary"
    return Tiling(
        tile_m=rng.randint(1, workload.m if stationary else machine.rows),
        tile_k=rng.randint(1, machine.rows if stationary else workload.k),
        tile_n=rng.randint(1, machine.cols),
        group_m=1 if stationary else rng.randint(1, 6),
        group_n=rng.randint(1, 9),
        outer=rng.choice("mn"),
    )


def counted(workload, tiling, machine):
    choice = (tiling.tile_m, tiling.tile_k, tiling.tile_n, tiling.group_m, tiling.group_n, int(tiling.outer == "n"))
    work = np.zeros(1, dtype=np.int64)
    found = nest_cycles(
        machine.dataflow == "weight_stationary",
        *(workload.m, workload.k, workload.n),
        np.array(choice, dtype=np.int64),
        timing(machine),
        ANY,
        work,
    )
    return int(found), int(work[0])


def random_machine(rng, most=6):
    def memory(*widths):
        return hardware.Memory(width_bits=rng.choice(widths), latency_cycles=rng.randint(0, 5))

    return hardware.ShiftArray(
        rows=rng.randint(1, most),
        cols=rng.randint(1, most),
        dataflow=rng.choice(DATAFLOWS),
        weight_memory=memory(None, 3, 8),
        act_memory=memory(None, 8, 16),
        acc_memory=memory(None, 24, 48),
    )


@given(st.integers(0, 2**32))
def test_cycles_of_a_shortened_nest_are_those_of_all_its_tiles(seed):
    rng = random.Random(seed)
    machine = random_machine(rng)
    workload = Workload(m=rng.randint(1, 60), k=rng.randint(1, 70), n=rng.randint(1, 70))
    tiling = random_tiling(rng, workload, machine)
    assert counted(workload, tiling, machine)[0] == cycles.count_tiles(tiling.tiles(workload), machine)


@pytest.mark.parametrize("dataflow", DATAFLOWS)
def test_long_nests_take_few_tiles(dataflow):
    machine = hardware.ShiftArray(rows=4, cols=4, dataflow=dataflow)
    workload = Workload(m=3000 if dataflow == "weight_stationary" else 300, k=900, n=150)
    tiling = Tiling(tile_m=40 if dataflow == "weight_stationary" else 4, tile_k=4, tile_n=4, group_n=3)
    tiles = tiling.tiles(workload)
    found, work = counted(workload, tiling, machine)
    assert found == cycles.count_tiles(tiles, machine)
    assert 50 * work < len(tiles)


def test_cycles_are_given_up_where_they_take_too_many_tiles():
    machine = hardware.ShiftArray(rows=2, cols=2)
    arguments = (True, 50, 50, 50, np.array([5, 2, 2, 1, 3, 0], dtype=np.int64), timing(machine))
    assert nest_cycles(*arguments, 0, np.zeros(1, dtype=np.int64)) == -1
    assert nest_cycles(*arguments, ANY, np.zeros(1, dtype=np.int64)) > 0


@given(st.integers(0, 2**32))
def test_tiles_make_the_product_and_carry_on_their_own_sums(seed):
    rng = random.Random(seed)
    machine = random_machine(rng, most=4)
    workload = Workload(m=rng.randint(1, 12), k=rng.randint(1, 12), n=rng.randint(1, 12))
    tiles = random_tiling(rng, workload, machine).tiles(workload)
    drawn = np.random.default_rng(seed)
    x, w = drawn.integers(-9, 9, (workload.m, workload.k)), drawn.integers(-9, 9, (workload.k, workload.n))
    sums, finished = [], np.full((workload.m, workload.n), 10**6)
    for i in range(len(tiles)):
        m, k, n = (
            slice(
                int(getattr(tiles, f"{axis}_start")[i]),
                int((getattr(tiles, f"{axis}_start") + getattr(tiles, f"{axis}_size"))[i]),
            )
            for axis in "mkn"
        )
        previous = int(tiles.previous[i])
        assert previous < i
        before = np.zeros((m.stop - m.start, n.stop - n.start), int) if previous < 0 else sums[previous]
        sums.append(before + x[m, k] @ w[k, n])
        if k.stop == workload.k:
            finished[m, n] = sums[-1]
    assert (finished == x @ w).all()


@given(st.integers(0, 2**32))
def test_the_orders_of_the_simulator_are_nests(seed):
    rng = random.Random(seed)
    workload = Workload(m=rng.randint(1, 9), k=rng.randint(1, 9), n=rng.randint(1, 9))
    tiling = Tiling(
        tile_m=rng.randint(1, 4),
        tile_k=rng.randint(1, 4),
        tile_n=rng.randint(1, 4),
        group_m=rng.randint(1, 3),
        group_n=rng.randint(1, 5),
        outer=rng.choice("mn"),
    )
    tiles = tiling.tiles(workload)
    mapping = tiling.sim_mapping(workload)

    def same(found):
        other = tile_list(workload, found)
        return all(np.array_equal(array, getattr(other, name)) for name, array in vars(tiles).items())

    sizes = {"tile_m": tiling.tile_m, "tile_k": tiling.tile_k, "tile_n": tiling.tile_n}
    if mapping is not None:
        assert same(mapping)
    else:
        assert not any(same(Mapping(**sizes, order=order)) for order in ("mnk", "mkn"))


def test_a_tiling_refuses_what_is_none():
    with pytest.raises(InvalidValueError, match=r"^`group_n` must be a positive integer, got 0$"):
        Tiling(tile_m=1, tile_k=1, tile_n=1, group_n=0)
    with pytest.raises(TypeError, match=r"^`tile_m` must be an integer, got 1\.5$"):
        Tiling(tile_m=1.5, tile_k=1, tile_n=1)
    with pytest.raises(InvalidValueError, match=r"^unknown outer 'k'; known: m, n$"):
        Tiling(tile_m=1, tile_k=1, tile_n=1, outer="k")
