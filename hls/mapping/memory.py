"""The authority for what lies around an array: off-chip memory, the room in scratchpads, and traffic by level.

Assumptions of ours, all of them:

- Operands come from off-chip memory and results go back to it, once a layer; nothing is kept between layers (what can
  be is the memory plan's business, `tetrit.hls.plan_memory`). A convolution's lowered matrix is fetched as it is.
- Half of an operand's scratchpad holds what is in use, the other half is filled meanwhile. What fits into the half is
  fetched once for all loops that do not change it: all of the operand, or what one iteration of the loops around a
  group needs, or what one row of tiles needs; else it is fetched for every tile.
- Off-chip memory has one port of one word a cycle for reads and writes. It works beside the array, so a layer takes
  as long as the slower of both (roofline), and the latency of off-chip memory once.
- Biases and parameters of requantisation are not counted; results leave as wide as activations are.
"""

__all__ = ["OFF_CHIP", "Moved", "Traffic", "beyond_chip", "moved", "off_chip_bits", "operand_room"]

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypedDict

from tetrit.hardware import Memory, ShiftArray, SimdEngine
from tetrit.sim import Workload

OFF_CHIP = Memory(
    size_bytes=1 << 36,
    width_bits=64,
    latency_cycles=10,
    read_pj_per_bit=20.3,
    write_pj_per_bit=20.3,
    energy_source="1.3 nJ per 64-bit access of DRAM (M. Horowitz, ISSCC 2014), the lower end of 1.3 to 2.6 nJ; width "
    "and latency (100 ns at 100 MHz) are our assumption",
)
"""Off-chip memory that `map_network` takes unless it is told another."""


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """Bytes that one memory handed out and took.

    Attributes
    ----------
    read_bytes, write_bytes : int
        Of operands, partial sums and results; whole words of a scratchpad, whole words of off-chip memory.
    """

    read_bytes: int
    write_bytes: int

    def __add__(self, other: "Traffic") -> "Traffic":
        return Traffic(read_bytes=self.read_bytes + other.read_bytes, write_bytes=self.write_bytes + other.write_bytes)

    def __mul__(self, times: int) -> "Traffic":
        return Traffic(read_bytes=self.read_bytes * times, write_bytes=self.write_bytes * times)


def operand_room(memory: Memory) -> int:
    """Return the bits of an operand that a scratchpad holds while the next ones come in: half of it."""
    return memory.size_bytes * 8 // 2


def off_chip_bits(memory: Memory | None) -> int:
    """Return the bits of a word of off-chip memory, 0 where there is none."""
    if memory is None:
        return 0
    return memory.word_bits(64)


def beyond_chip(bits: Mapping[str, int], times: Sequence[tuple[str, int]], memory: Memory) -> tuple[Traffic, int]:
    """Return the traffic of off-chip memory, and the cycles it takes.

    Parameters
    ----------
    bits : mapping of str to int
        Of ``act`` and ``weight``, all fetches together, and of ``result``.
    times : sequence of (str, int)
        How often each is moved; every time ends with a whole word.
    memory : Memory
        Off-chip memory.
    """
    width = off_chip_bits(memory)
    words = {name: n * -(-(bits[name] // n) // width) for name, n in times}
    read = words["act"] + words["weight"]
    traffic = Traffic(read_bytes=-(-read * width // 8), write_bytes=-(-words["result"] * width // 8))
    return traffic, read + words["result"] + memory.latency_cycles


class Moved(TypedDict):
    """Those fields of a `tetrit.hls.mapping.layer.Solution` that memories decide."""

    breakdown: dict[str, float]
    traffic: dict[str, Traffic]
    off_chip_cycles: int


def moved(
    workload: Workload,
    machine: ShiftArray | SimdEngine,
    memory: Memory | None,
    *,
    breakdown: Mapping[str, float],
    happened: Mapping[str, int],
    bits: Mapping[str, int],
    fetched: Mapping[str, int],
    results: Mapping[str, Traffic],
) -> Moved:
    """Add what fills the scratchpads of operands, and off-chip memory if there is one.

    Parameters
    ----------
    workload : Workload
    machine : ShiftArray or SimdEngine
    memory : Memory or None
        Off-chip memory.
    breakdown, happened
        Energy in pJ and countable acts of the array with its scratchpads.
    bits : mapping of str to int
        Of a value of ``act``, ``weight`` and ``result``.
    fetched : mapping of str to int
        How often ``act`` and ``weight`` are fetched.
    results : mapping of str to Traffic
        Of the scratchpad of sums or results.
    """
    m, k, n = workload.m, workload.k, workload.n
    whole = {"act": fetched["act"] * m * k * bits["act"], "weight": fetched["weight"] * k * n * bits["weight"]}
    filled = {"act": 0, "weight": 0} if memory is None else whole
    traffic = {
        f"{kind} memory": Traffic(
            read_bytes=-(-happened[f"{name}_read_word"] * getattr(machine, f"{name}_word_bits") // 8),
            write_bytes=-(-filled[name] // 8),
        )
        for kind, name in (("activation", "act"), ("weight", "weight"))
    } | dict(results)
    if memory is None:
        return Moved(breakdown=dict(breakdown), traffic=traffic, off_chip_cycles=0)
    result = m * n * bits["result"]
    beyond, port = beyond_chip(whole | {"result": result}, (*fetched.items(), ("result", 1)), memory)
    fills = {
        "scratchpads filled": whole["act"] * machine.act_memory.write_pj_per_bit
        + whole["weight"] * machine.weight_memory.write_pj_per_bit,
        "off-chip memory": (whole["act"] + whole["weight"]) * memory.read_pj_per_bit + result * memory.write_pj_per_bit,
    }
    return Moved(breakdown=dict(breakdown) | fills, traffic=traffic | {"off-chip memory": beyond}, off_chip_cycles=port)
