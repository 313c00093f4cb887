"""Mapping onto shift arrays: the best of all mappings, bounds below every cost, cycles and events of the engine."""

import random

import numpy as np
import pytest

from tetrit import hardware, sim
from tetrit.errors import InvalidValueError
from tetrit.hls.mapping import reference
from tetrit.hls.mapping.layer import COSTS, Settings
from tetrit.hls.mapping.shift import _kernels, numbers, solve
from tetrit.hls.mapping.shift.solve import events
from tetrit.sim import Workload
from tetrit.sim.cost import Prices
from tetrit.sim.shift import best_mapping, cycles

OFF = hardware.Memory(width_bits=8, latency_cycles=3, read_pj_per_bit=1.1, write_pj_per_bit=0.9)
DATAFLOWS = ("weight_stationary", "output_stationary")


def small_machine(rng, dataflow, *, most=3):
    """A small array with narrow, slow, small and priced memories, drawn at random."""

    def memory(sizes, widths):
        return hardware.Memory(
            size_bytes=rng.choice(sizes),
            width_bits=rng.choice(widths),
            latency_cycles=rng.randint(0, 4),
            read_pj_per_bit=rng.choice([0.0, 0.5]),
            write_pj_per_bit=rng.choice([0.0, 0.7]),
        )

    while True:
        try:
            return hardware.ShiftArray(
                rows=rng.randint(1, most),
                cols=rng.randint(1, most),
                dataflow=dataflow,
                weight_memory=memory([1, 2, 4, 16], [None, 2, 4]),
                act_memory=memory([2, 8, 16, 64], [None, 8, 16]),
                acc_memory=memory([12, 24, 60, 4096], [None, 24]),
            )
        except InvalidValueError:
            continue


def small_case(seed, dataflow, most=6):
    rng = random.Random(seed)
    machine = small_machine(rng, dataflow)
    workload = Workload(m=rng.randint(1, most), k=rng.randint(1, most), n=rng.randint(1, most))
    return workload, rng.randint(0, workload.macs), machine, rng.choice([OFF, OFF, None])


@pytest.mark.parametrize("dataflow", DATAFLOWS)
@pytest.mark.parametrize("seed", range(14))
def test_no_mapping_at_all_costs_less(seed, dataflow):
    workload, active, machine, off = small_case(seed, dataflow)
    for cost in COSTS:
        settings = Settings(cost=cost, off_chip=off)
        tried = [
            reference.cost(workload, active, machine, tiling, settings)
            for tiling in reference.every_tiling(workload, machine)
        ]
        if not tried:
            with pytest.raises(InvalidValueError, match="cannot hold the partial sums of one vector"):
                solve(workload, active, machine, settings)
            continue
        found = solve(workload, active, machine, settings)
        assert found.optimal
        assert found.cost(cost) == pytest.approx(min(tried), rel=1e-12)
        assert found.bound == pytest.approx(min(tried), rel=1e-12)
        own = reference.cost(workload, active, machine, found.tiling, settings)
        assert own == pytest.approx(found.cost(cost), rel=1e-12)


@pytest.mark.parametrize("dataflow", DATAFLOWS)
def test_bounds_are_below_the_cost_of_every_mapping(dataflow):
    """At every level of the search: of all nests, of those with these numbers of tiles, of those with these groups."""
    checked = 0
    for seed in range(6):
        workload, active, machine, off = small_case(100 + seed, dataflow, most=5)
        stationary, m, k, n = dataflow == "weight_stationary", workload.m, workload.k, workload.n
        for cost in COSTS:
            settings = Settings(cost=cost, off_chip=off)
            clock, sizes = numbers.timing(machine), numbers.sizes(machine, off)
            prices = numbers.prices(workload, active, machine, Prices.modelled(machine), settings)
            root = _kernels.root(stationary, m, k, n, clock, sizes, prices, settings.kind)
            for tiling in reference.every_tiling(workload, machine):
                if stationary and tiling.group_m > 1:
                    continue
                true = reference.cost(workload, active, machine, tiling, settings)
                m_tiles, k_tiles, n_tiles = tiling.counts(workload)
                m_groups, smallest = -(-m_tiles // tiling.group_m), -(-m // m_tiles)
                last = m - (m_tiles - 1) * tiling.tile_m
                bounds = [root]
                for groups, group_n, rows, once in ((1, 0, 1, True), (m_groups, tiling.group_n, last, False)):
                    least = _kernels.cycle_bound(
                        stationary, m, k, n_tiles, m_tiles, rows, tiling.tile_k, groups, group_n, clock
                    )
                    assert least <= cycles.count_tiles(tiling.tiles(workload), machine)
                    outer = int(tiling.outer == "n")
                    nest = [smallest, tiling.tile_k, tiling.tile_n, tiling.group_m, tiling.group_n, outer]
                    act, weight = (1, 1) if once else _kernels.fetches(m, k, n, np.array(nest, dtype=np.int64), sizes)
                    bounds.append(
                        _kernels.price(
                            *(stationary, m, k, n, m_tiles, n_tiles, k_tiles, least, act, weight),
                            *(sizes, prices, settings.kind),
                        )
                    )
                assert max(bounds) <= true * (1 + 1e-12)
                checked += 1
    assert checked > 500


@pytest.mark.parametrize("dataflow", DATAFLOWS)
def test_fetches_are_those_of_scratchpads_replayed_tile_by_tile(dataflow):
    seen = set()
    for seed in range(30):
        workload, _, machine, _ = small_case(200 + seed, dataflow)
        sizes, rng = numbers.sizes(machine, OFF), random.Random(seed)
        tilings = list(reference.every_tiling(workload, machine))
        for tiling in rng.sample(tilings, min(len(tilings), 40)):
            nest = [tiling.tile_m, tiling.tile_k, tiling.tile_n, tiling.group_m, tiling.group_n, tiling.outer == "n"]
            act, weight = _kernels.fetches(workload.m, workload.k, workload.n, np.array(nest, dtype=np.int64), sizes)
            expected = reference.fetched(workload, machine, tiling)
            assert (act * workload.m * workload.k, weight * workload.k * workload.n) == expected
            seen.add((int(act), int(weight)))
    assert len(seen) > 10


@pytest.mark.parametrize("preset", ["shift_8x8", "shift_16x16", "shift_16x16_os"])
def test_cycles_events_and_energy_are_those_of_the_engine(preset):
    machine, rng = hardware.load(preset), np.random.default_rng(5)
    compared = 0
    for m, k, n in ((3, 40, 40), (70, 40, 20), (1, 200, 33), (20, 9, 5)):
        codes = rng.integers(0, 4, (k, n))
        engine = sim.build(machine, prices=Prices.modelled(machine)).load(codes)
        active = m * int(np.count_nonzero(machine.weights.values[codes]))
        workload = Workload(m=m, k=k, n=n)
        found = solve(workload, active, machine, Settings(off_chip=None))
        mapping = found.tiling.sim_mapping(workload)
        if mapping is None:
            continue
        run = engine.matmul(rng.integers(-128, 128, (m, k)), mapping=mapping)
        assert found.cycles == found.array_cycles == run.cycles
        assert events(workload, active, found.tiling, machine, run.cycles) == run.events
        assert found.breakdown == run.breakdown
        assert (
            found.traffic["weight memory"].read_bytes == run.events["weight_read_word"] * machine.weight_word_bits / 8
        )
        assert found.traffic["accumulator memory"].write_bytes * 8 == (
            run.events["acc_write_word"] * machine.acc_word_bits
        )
        compared += 1
    assert compared >= 3


@pytest.mark.parametrize("preset", ["shift_8x8", "shift_16x16", "shift_16x16_os"])
def test_it_is_never_slower_than_the_simulators_own_choice(preset):
    machine, rng = hardware.load(preset), random.Random(3)
    for _ in range(40):
        workload = Workload(m=rng.randint(1, 300), k=rng.randint(1, 300), n=rng.randint(1, 300))
        found = solve(workload, workload.macs, machine, Settings(off_chip=None))
        assert found.optimal
        assert found.cycles <= cycles.count(workload, best_mapping(workload, machine), machine)


def test_off_chip_memory_is_a_roofline_and_has_its_price():
    machine = hardware.load("shift_16x16")
    narrow = hardware.Memory(width_bits=8, latency_cycles=7, read_pj_per_bit=2.0, write_pj_per_bit=3.0)
    workload = Workload(m=16, k=64, n=32)
    found = solve(workload, workload.macs, machine, Settings(off_chip=narrow))
    read, written = 16 * 64 + 64 * 32 // 4, 16 * 32  # int8 activations, 2-bit weights, int8 results: each once
    assert found.off_chip_cycles == read + written + 7
    assert found.cycles == max(found.array_cycles, found.off_chip_cycles) == found.off_chip_cycles
    assert vars(found.traffic["off-chip memory"]) == {"read_bytes": read, "write_bytes": written}
    assert found.breakdown["off-chip memory"] == 8 * (2.0 * read + 3.0 * written)
    act, weight = machine.act_memory.write_pj_per_bit, machine.weight_memory.write_pj_per_bit
    assert found.breakdown["scratchpads filled"] == 8 * (16 * 64 * act + 64 * 8 * weight)


def test_a_search_that_is_cut_short_says_so_and_gives_a_bound():
    machine = hardware.load("shift_16x16_os")
    workload = Workload(m=2048, k=4096, n=4096)
    settings = Settings(cost="energy", off_chip=hardware.Memory(width_bits=64, read_pj_per_bit=20.0), effort=5)
    found = solve(workload, workload.macs, machine, settings)
    assert not found.optimal
    assert 0 < found.bound < found.energy_pj
    small = Workload(m=20, k=30, n=40)
    proven = solve(small, small.macs, machine, settings)
    assert proven.optimal
    assert proven.bound == pytest.approx(proven.energy_pj, rel=1e-12)
