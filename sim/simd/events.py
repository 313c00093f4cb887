"""Those countable acts of a product on a SIMD engine that follow from shapes and formats alone; all have a price."""

__all__ = ["of_shape"]

from tetrit.hardware.simd_engine import SimdEngine
from tetrit.sim.program import Workload
from tetrit.sim.simd import cycles


def of_shape(workload: Workload, machine: SimdEngine, *, n_steps: int, n_cycles: int) -> dict[str, int]:
    """Return the countable acts; see `tetrit.sim.SimdSimulator.events` for what they are.

    Parameters
    ----------
    workload : Workload
    machine : SimdEngine
    n_steps : int
        Words of an operand that a sum takes.
    n_cycles : int
    """
    taken = workload.m * workload.n * n_steps
    vectors = n_steps * cycles.tiles(workload, machine)
    return {
        "cycles": n_cycles,
        "element_step": taken,
        "element_gated" if machine.gating else "element_idle": n_cycles * machine.rows * machine.cols - taken,
        "readout": workload.m * workload.n,
        "act_read_word": vectors * machine.act_words,
        "weight_read_word": vectors * machine.weight_words,
        "result_write_word": workload.m * -(-workload.n // machine.cols) * machine.result_words,
    }
