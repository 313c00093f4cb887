"""Slow, independent models of what the mapper computes: scratchpads replayed tile by tile, and all mappings tried."""

__all__ = ["cost", "every_tiling", "fetched"]

from collections.abc import Iterator
from itertools import product
from typing import Any

from tetrit.hardware import ShiftArray
from tetrit.hls.mapping.layer import Settings
from tetrit.hls.mapping.memory import off_chip_bits
from tetrit.hls.mapping.shift.tiling import OUTER, Tiling
from tetrit.sim import Workload
from tetrit.sim.cost import Prices
from tetrit.sim.shift import cycles


def fetched(workload: Workload, machine: ShiftArray, tiling: Tiling) -> tuple[int, int]:
    """Return the activations and weights that come from off-chip memory, by walking through the tiles in order."""
    tiles = tiling.tiles(workload)
    groups = {"m": tiling.tile_m * tiling.group_m, "n": tiling.tile_n * tiling.group_n}
    act_room = machine.act_memory.size_bytes * 4 // machine.activations.bits
    weight_room = machine.weight_memory.size_bytes * 4 // machine.weights.bits
    rows, columns = min(groups["m"], workload.m), min(groups["n"], workload.n)
    tile_m, tile_k = min(tiling.tile_m, workload.m), min(tiling.tile_k, workload.k)
    moved = {"act": 0, "weight": 0}
    held: dict[str, Any] = {"act": None, "weight": None}
    for m, k, n, m_size, k_size, n_size in zip(
        *(tiles.m_start, tiles.k_start, tiles.n_start, tiles.m_size, tiles.k_size, tiles.n_size), strict=True
    ):
        m_group, n_group = int(m) // groups["m"], int(n) // groups["n"]
        rows_here = min(groups["m"], workload.m - m_group * groups["m"])
        columns_here = min(groups["n"], workload.n - n_group * groups["n"])
        act: tuple[Any, int] = (None, int(m_size) * int(k_size))  # what is kept, and how much it is
        if workload.m * workload.k <= act_room:
            act = ("all", workload.m * workload.k)
        elif tiling.outer == "m" and rows * workload.k <= act_room:
            act = (m_group, rows_here * workload.k)
        elif tile_m * tile_k <= act_room:
            act = ((int(m), int(k), n_group), int(m_size) * int(k_size))
        weight: tuple[Any, int] = (None, int(k_size) * int(n_size))
        if workload.k * workload.n <= weight_room:
            weight = ("all", workload.k * workload.n)
        elif tiling.outer == "n" and columns * workload.k <= weight_room:
            weight = (n_group, workload.k * columns_here)
        elif tile_k * columns <= weight_room:
            weight = ((int(k), n_group, m_group), int(k_size) * columns_here)
        for name, (what, size) in (("act", act), ("weight", weight)):
            if what is None or what != held[name]:
                moved[name] += size
                held[name] = what
    return moved["act"], moved["weight"]


def cost(workload: Workload, active: int, machine: ShiftArray, tiling: Tiling, settings: Settings) -> float:
    """Return what a mapping costs, from the whole list of its tiles."""
    tiles = tiling.tiles(workload)
    stationary = machine.dataflow == "weight_stationary"
    array = cycles.count_tiles(tiles, machine)
    split = tiles.previous >= 0
    continued = int(tiles.m_size[tiles.k_start + tiles.k_size < workload.k].sum())
    events = {
        "pe_active": active,
        "pe_zero": workload.macs - active,
        "pe_idle": array * machine.rows * machine.cols - workload.macs,
        "weight_read_word": int(tiles.k_size.sum()) * machine.weight_words,
        "act_read_word": int((tiles.m_size if stationary else tiles.k_size).sum()) * machine.act_words,
        "acc_read_word": (int(tiles.m_size[split].sum()) + int((~split).sum())) * machine.acc_words,
        "acc_write_word": continued * machine.acc_words,
    }
    energy = sum(Prices.modelled(machine).breakdown(events, machine).values())
    latency, off = array, settings.off_chip
    if off is not None:
        act, weight = fetched(workload, machine, tiling)
        act_bits, weight_bits = act * machine.activations.bits, weight * machine.weights.bits
        out_bits = workload.m * workload.n * machine.activations.bits
        energy += (act_bits + weight_bits) * off.read_pj_per_bit + out_bits * off.write_pj_per_bit
        energy += act_bits * machine.act_memory.write_pj_per_bit + weight_bits * machine.weight_memory.write_pj_per_bit
        words = 0
        for bits, once in (
            (act_bits, workload.m * workload.k * machine.activations.bits),
            (weight_bits, workload.k * workload.n * machine.weights.bits),
            (out_bits, out_bits),
        ):
            words += bits // once * -(-once // off_chip_bits(off))
        latency = max(array, words + off.latency_cycles)
    return {"latency": float(latency), "energy": energy, "edp": energy * latency}[settings.cost]


def every_tiling(workload: Workload, machine: ShiftArray) -> Iterator[Tiling]:
    """Yield all mappings whose tiles fit the array and whose partial sums fit the accumulator memory."""
    stationary = machine.dataflow == "weight_stationary"
    most_m = workload.m if stationary else min(machine.rows, workload.m)
    most_k = min(machine.rows, workload.k) if stationary else workload.k
    vector = -(-machine.acc_words * machine.acc_word_bits // 8)
    for tile_m, tile_k, tile_n in product(
        range(1, most_m + 1), range(1, most_k + 1), range(1, min(machine.cols, workload.n) + 1)
    ):
        m_tiles, n_tiles = -(-workload.m // tile_m), -(-workload.n // tile_n)
        for group_m, group_n, outer in product(range(1, m_tiles + 1), range(1, n_tiles + 1), OUTER):
            held = min(group_m * tile_m, workload.m) * group_n * vector
            if tile_k >= workload.k or held <= machine.acc_memory.size_bytes:
                yield Tiling(tile_m=tile_m, tile_k=tile_k, tile_n=tile_n, group_m=group_m, group_n=group_n, outer=outer)
