"""A shift array and its surroundings as the plain numbers that the search takes."""

__all__ = ["prices", "sizes", "timing"]

import numpy as np
import numpy.typing as npt

from tetrit.hardware import Memory, ShiftArray
from tetrit.hls.mapping.layer import Settings
from tetrit.hls.mapping.memory import off_chip_bits, operand_room
from tetrit.sim import Workload
from tetrit.sim.cost import Prices

Ints = npt.NDArray[np.int64]


def timing(machine: ShiftArray) -> Ints:
    """Return the intervals and delays of the recurrences of `tetrit.sim.shift.cycles`."""
    weight_first = machine.weight_memory.latency_cycles + machine.weight_words
    act_first = machine.act_memory.latency_cycles + machine.act_words
    acc_first = machine.acc_memory.latency_cycles + machine.acc_words
    if machine.dataflow == "weight_stationary":
        streams = (
            max(machine.act_words, machine.acc_words),
            machine.weight_words,
            weight_first,
            max(act_first, acc_first),
        )
    else:
        streams = (
            max(machine.act_words, machine.weight_words),
            machine.acc_words,
            max(act_first, weight_first),
            acc_first,
        )
    result = machine.pipeline_depth + machine.acc_words
    return np.array([*streams, result, 1 + acc_first, result + 1], dtype=np.int64)


def sizes(machine: ShiftArray, off_chip: Memory | None) -> Ints:
    """Return array, room in the scratchpads, widths of codes, and the port of off-chip memory."""
    vector_bytes = -(-machine.acc_words * machine.acc_word_bits // 8)
    return np.array(
        [
            machine.rows,
            machine.cols,
            machine.acc_memory.size_bytes // vector_bytes,
            operand_room(machine.act_memory),
            operand_room(machine.weight_memory),
            machine.activations.bits,
            machine.weights.bits,
            machine.activations.bits,
            off_chip_bits(off_chip),
            0 if off_chip is None else off_chip.latency_cycles,
        ],
        dtype=np.int64,
    )


def prices(
    workload: Workload, active: int, machine: ShiftArray, table: Prices, settings: Settings
) -> npt.NDArray[np.float64]:
    """Return energy in pJ: without cycles, per cycle, per vector of a scratchpad, per bit from and to off-chip memory.

    `active` of the workload's products have a weight that is not zero.
    """
    zero = workload.macs - active
    known = -workload.macs * table.pe_idle_pj + active * table.pe_active_pj + zero * (table.pe_zero_pj or 0.0)
    off, acc = settings.off_chip, machine.acc_memory
    return np.array(
        [
            known,
            table.pe_idle_pj * machine.rows * machine.cols,
            machine.weight_words * machine.weight_word_bits * machine.weight_memory.read_pj_per_bit,
            machine.act_words * machine.act_word_bits * machine.act_memory.read_pj_per_bit,
            machine.acc_words * machine.acc_word_bits * acc.read_pj_per_bit,
            machine.acc_words * machine.acc_word_bits * acc.write_pj_per_bit,
            0.0 if off is None else off.read_pj_per_bit + machine.act_memory.write_pj_per_bit,
            0.0 if off is None else off.read_pj_per_bit + machine.weight_memory.write_pj_per_bit,
            0.0 if off is None else off.write_pj_per_bit,
        ],
        dtype=np.float64,
    )
