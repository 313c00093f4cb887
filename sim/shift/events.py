"""The authority for what a shift array's run is counted as: vectors of each stream, and what they make of a machine."""

__all__ = ["counted", "of_tiles"]

from tetrit.hardware import ShiftArray
from tetrit.sim.program import Workload
from tetrit.sim.shift.tiles import TileList


def counted(
    workload: Workload,
    machine: ShiftArray,
    *,
    active: int,
    n_cycles: int,
    weights: int,
    acts: int,
    reread: int,
    unfinished: int,
) -> dict[str, int]:
    """Return the countable acts of a product.

    Parameters
    ----------
    workload : Workload
    machine : ShiftArray
    active : int
        Multiply-accumulates whose weight is not zero.
    n_cycles : int
    weights, acts, reread, unfinished : int
        Vectors of weights, of activations, of partial sums and biases read, and of partial sums written.
    """
    return {
        "cycles": n_cycles,
        "pe_active": active,
        "pe_zero": workload.macs - active,
        "pe_idle": n_cycles * machine.rows * machine.cols - workload.macs,
        "weight_decode": weights * machine.cols,
        "weight_read_word": weights * machine.weight_words,
        "act_read_word": acts * machine.act_words,
        "acc_read_word": reread * machine.acc_words,
        "acc_write_word": unfinished * machine.acc_words,
    }


def of_tiles(workload: Workload, tiles: TileList, machine: ShiftArray, *, active: int, n_cycles: int) -> dict[str, int]:
    """Return the countable acts of a product in these tiles; see `counted`."""
    stationary = machine.dataflow == "weight_stationary"
    continued = tiles.previous >= 0
    return counted(
        workload,
        machine,
        active=active,
        n_cycles=n_cycles,
        weights=int(tiles.k_size.sum()),
        acts=int((tiles.m_size if stationary else tiles.k_size).sum()),
        reread=int(tiles.m_size[continued].sum()) + int((~continued).sum()),  # partial sums, and a bias vector a tile
        unfinished=int(tiles.m_size[tiles.k_start + tiles.k_size < workload.k].sum()),
    )
