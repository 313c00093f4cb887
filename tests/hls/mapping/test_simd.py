"""Mapping onto SIMD engines: cycles of blocks, the best of all of them, bounds, cycles and energy of the engine."""

import random
from itertools import product

import numpy as np
import pytest

from tetrit import formats, hardware, sim
from tetrit.hls.mapping import SimdTiling
from tetrit.hls.mapping.layer import COSTS, Settings
from tetrit.hls.mapping.memory import beyond_chip
from tetrit.hls.mapping.simd import _kernels, solve
from tetrit.hls.mapping.simd.solve import timing
from tetrit.sim import Workload
from tetrit.sim.cost import SimdPrices
from tetrit.sim.simd import cycles

OFF = hardware.Memory(width_bits=16, latency_cycles=3, read_pj_per_bit=1.1, write_pj_per_bit=0.9)
PAIR = ("posit8_0", "fp4_e2m1")


def random_machine(rng):
    def memory(*widths):
        return hardware.Memory(
            size_bytes=rng.choice([4, 16, 64, 4096]),
            width_bits=rng.choice(widths),
            latency_cycles=rng.randint(0, 4),
            read_pj_per_bit=rng.choice([0.0, 0.4]),
            write_pj_per_bit=rng.choice([0.0, 0.3]),
        )

    return hardware.SimdEngine(
        rows=rng.randint(1, 5),
        cols=rng.randint(1, 5),
        weight_memory=memory(None, 8, 16),
        act_memory=memory(None, 8, 16),
        result_memory=memory(None, 4, 16),
    )


@pytest.mark.parametrize("seed", range(150))
def test_cycles_of_blocks_are_those_of_the_model_and_not_below_their_bound(seed):
    rng = random.Random(seed)
    machine = random_machine(rng)
    workload = Workload(m=rng.randint(1, 200), k=rng.randint(1, 60), n=rng.randint(1, 90))
    tiling = SimdTiling(group_m=rng.randint(1, 40), group_n=rng.randint(1, 12), outer=rng.choice("mn"))
    blocks = tiling.blocks(workload, machine)
    assert sum(block.macs for block in blocks) == workload.macs
    steps, clock = cycles.steps(workload, machine, *PAIR), timing(machine)
    choice = np.array([tiling.group_m, tiling.group_n, tiling.outer == "n"], dtype=np.int64)
    expected = int(cycles.count_all(blocks, machine, *PAIR).sum())
    assert _kernels.cycles(workload.m, workload.n, steps, choice, clock) == expected
    assert _kernels.block_bound(workload.m, workload.n, steps, len(blocks), clock) <= expected


def fetched(workload, machine, tiling):
    """Codes along the rows and along the columns that come from off-chip memory, tile by tile."""
    acts, weights = PAIR[:: -1 if tiling.transposed else 1]
    room = [
        memory.size_bytes * 4 // formats.get(name).bits
        for memory, name in ((machine.act_memory, acts), (machine.weight_memory, weights))
    ]
    m, k, n = workload.m, workload.k, workload.n
    if tiling.transposed:
        m, n = n, m
    rows, columns = min(tiling.group_m * machine.rows, m), min(tiling.group_n * machine.cols, n)
    moved, held = [0, 0], [None, None]
    groups = [(i, j) for i in range(-(-m // rows)) for j in range(-(-n // columns))]
    if tiling.outer == "n":
        groups.sort(key=lambda group: group[::-1])
    for i, j in groups:
        tiles = product(
            range(i * rows, min((i + 1) * rows, m), machine.rows),
            range(j * columns, min((j + 1) * columns, n), machine.cols),
        )
        for row, column in tiles:
            high, wide = min(machine.rows, m - row), min(machine.cols, n - column)
            kept = [
                ("all", m * k)
                if m * k <= room[0]
                else (i, min(rows, m - i * rows) * k)
                if tiling.outer == "m" and rows * k <= room[0]
                else ((row, j), high * k)
                if min(machine.rows, m) * k <= room[0]
                else (None, high * k),
                ("all", k * n)
                if k * n <= room[1]
                else (j, min(columns, n - j * columns) * k)
                if tiling.outer == "n" and columns * k <= room[1]
                else ((i, j), min(columns, n - j * columns) * k)
                if columns * k <= room[1]
                else (None, wide * k),
            ]
            for side, (what, size) in enumerate(kept):
                if what is None or what != held[side]:
                    moved[side] += size
                    held[side] = what
    return moved


def reference_cost(workload, machine, tiling, settings):
    """What a mapping costs, from its blocks and tiles one by one."""
    names = PAIR[:: -1 if tiling.transposed else 1]
    blocks = tiling.blocks(workload, machine)
    n_cycles = int(cycles.count_all(blocks, machine, *names).sum())
    events = {"cycles": n_cycles, "element_step": 0, "readout": 0, "act_read_word": 0, "weight_read_word": 0}
    events["result_write_word"] = 0
    for block in blocks:
        steps = cycles.steps(block, machine, *names)
        events["element_step"] += block.m * block.n * steps
        events["readout"] += block.m * block.n
        events["act_read_word"] += steps * cycles.tiles(block, machine) * machine.act_words
        events["weight_read_word"] += steps * cycles.tiles(block, machine) * machine.weight_words
        events["result_write_word"] += block.m * -(-block.n // machine.cols) * machine.result_words
    events["element_gated"] = n_cycles * machine.rows * machine.cols - events["element_step"]
    energy = sum(SimdPrices.modelled(machine, *names).breakdown(events, machine).values())
    latency, off = n_cycles, settings.off_chip
    if off is not None:
        first, second = fetched(workload, machine, tiling)
        bits = {
            "act": first * formats.get(names[0]).bits,
            "weight": second * formats.get(names[1]).bits,
            "result": workload.m * workload.n * formats.get(PAIR[0]).bits,
        }
        once = [workload.m * workload.k, workload.k * workload.n][:: -1 if tiling.transposed else 1]
        times = (("act", first // once[0]), ("weight", second // once[1]), ("result", 1))
        latency = max(latency, beyond_chip(bits, times, off)[1])
        energy += (bits["act"] + bits["weight"]) * off.read_pj_per_bit + bits["result"] * off.write_pj_per_bit
        energy += bits["act"] * machine.act_memory.write_pj_per_bit
        energy += bits["weight"] * machine.weight_memory.write_pj_per_bit
    return {"latency": float(latency), "energy": energy, "edp": energy * latency}[settings.cost]


@pytest.mark.parametrize("seed", range(12))
def test_no_mapping_at_all_costs_less(seed):
    rng = random.Random(seed)
    machine = random_machine(rng)
    workload = Workload(m=rng.randint(1, 24), k=rng.randint(1, 12), n=rng.randint(1, 16))
    for cost, off in product(COSTS, (OFF, None)):
        settings = Settings(cost=cost, off_chip=off, act_format=PAIR[0], weight_format=PAIR[1])
        tried = []
        for transposed in (False, True):
            m, n = (workload.n, workload.m) if transposed else (workload.m, workload.n)
            groups = product(range(1, -(-m // machine.rows) + 1), range(1, -(-n // machine.cols) + 1), "mn")
            for group_m, group_n, outer in groups:
                tiling = SimdTiling(transposed=transposed, group_m=group_m, group_n=group_n, outer=outer)
                tried.append(reference_cost(workload, machine, tiling, settings))
        found = solve(workload, machine, settings)
        assert found.optimal
        assert found.cost(cost) == pytest.approx(min(tried), rel=1e-12)
        assert found.bound == pytest.approx(min(tried), rel=1e-12)
        own = reference_cost(workload, machine, found.tiling, settings)
        assert own == pytest.approx(found.cost(cost), rel=1e-12)


def test_cycles_and_energy_are_those_of_the_engine():
    machine, rng = hardware.load("simd_4x4"), np.random.default_rng(2)
    codes = {name: np.flatnonzero(np.isfinite(formats.get(name).values)) for name in PAIR}
    x, w = rng.choice(codes[PAIR[0]], (10, 24)), rng.choice(codes[PAIR[1]], (24, 8))
    settings = Settings(off_chip=None, act_format=PAIR[0], weight_format=PAIR[1])
    found = solve(Workload(m=10, k=24, n=8), machine, settings)
    if found.tiling.transposed:
        x, w, pair = w.T, x.T, PAIR[::-1]
    else:
        pair = PAIR
    engine = sim.build(machine, prices=SimdPrices.modelled(machine, *pair))
    run = engine.load(w, weight_format=pair[1]).matmul(x, act_format=pair[0], out_format="posit8_0")
    assert (found.cycles, found.breakdown) == (run.cycles, run.breakdown)
    assert found.peak_macs == 4 * 4 * 2
    assert found.traffic["activation memory"].read_bytes * 8 == run.events["act_read_word"] * machine.act_word_bits


def test_large_products_are_proven_to_be_mapped_well():
    machine = hardware.load("simd_8x8")
    found = solve(Workload(m=2048, k=4096, n=32000), machine, Settings(off_chip=hardware.Memory(width_bits=64)))
    assert found.optimal
    assert found.off_chip_cycles > found.array_cycles
