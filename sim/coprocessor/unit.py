"""The authority for what a co-processor is to software: datapath, memory bus, and how codes lie in memory for it."""

__all__ = ["BUSES", "RESULT_BITS", "Containers", "Coprocessor"]

from dataclasses import dataclass, replace
from typing import Any, Self

from tetrit import checks
from tetrit.errors import InvalidValueError
from tetrit.hardware import ShiftArray, SimdEngine

BUSES = (32, 64, 128, 256, 512, 1024)
"""Widths that the memory bus can have."""

RESULT_BITS = (4, 8, 16)
"""Containers that a result can have."""

_SHIFT_RECORD_BYTES = 16


@dataclass(frozen=True, kw_only=True)
class Containers:
    """Widths of codes in memory for one pair of formats.

    Attributes
    ----------
    act_bits, weight_bits : int
        Container of a code of activations and of weights.
    codes_per_step : int
        Codes along k that one element of the array takes of either operand per step.
    """

    act_bits: int
    weight_bits: int
    codes_per_step: int

    @property
    def act_step_bits(self) -> int:
        """Bits of a row of activations that a step takes."""
        return self.act_bits * self.codes_per_step

    @property
    def weight_step_bits(self) -> int:
        """Bits of an output's weights that a step takes."""
        return self.weight_bits * self.codes_per_step


@dataclass(frozen=True, kw_only=True)
class Coprocessor:
    """A datapath behind a memory bus.

    Attributes
    ----------
    machine : SimdEngine or ShiftArray
        The datapath; a `ShiftArray` must be output stationary. Its memories are the co-processor's scratchpads, those
        of operands halved.
    data_bits, address_bits : int
        Widths of the bus.
    burst_beats : int
        Most beats of a burst.

    Raises
    ------
    InvalidValueError
        A width that the hardware is not built for, or a scratchpad that is too small for the bus.

    Examples
    --------
    >>> from tetrit.hardware import SimdEngine
    >>> unit = Coprocessor(machine=SimdEngine(rows=2, cols=2))
    >>> unit.containers("posit8_0", "fp4_e2m1").weight_bits
    8
    """

    machine: SimdEngine | ShiftArray
    data_bits: int = 64
    address_bits: int = 32
    burst_beats: int = 16

    def __post_init__(self) -> None:
        machine = self.machine
        if not isinstance(machine, SimdEngine | ShiftArray):
            raise TypeError(f"`machine` must be a SimdEngine or a ShiftArray, got {machine!r}")
        if isinstance(machine, ShiftArray) and machine.dataflow != "output_stationary":
            raise InvalidValueError(f"`machine` must be output stationary, got a ShiftArray that is {machine.dataflow}")
        if checks.integer("data_bits", self.data_bits) not in BUSES:
            raise InvalidValueError(f"`data_bits` must be one of {', '.join(map(str, BUSES))}, got {self.data_bits}")
        if checks.integer("address_bits", self.address_bits) not in (32, 64):
            raise InvalidValueError(f"`address_bits` must be 32 or 64, got {self.address_bits}")
        object.__setattr__(self, "burst_beats", checks.integer("burst_beats", self.burst_beats, maximum=256))
        self._check_scratchpads()

    def _check_scratchpads(self) -> None:
        """Refuse scratchpads in which a half cannot hold a bus word's steps of either operand, or no row of results."""
        machine = self.machine
        if isinstance(machine, SimdEngine):
            bits, results, results_name = (machine.port_bits,) * 2, machine.result_memory, "result_memory"
        else:
            bits, results, results_name = self._shift_bits(machine), machine.acc_memory, "acc_memory"
        for name, members, step_bits in (
            ("act_memory", machine.rows, bits[0]),
            ("weight_memory", machine.cols, bits[1]),
        ):
            size = getattr(machine, name).size_bytes
            needed = 2 * members * self.data_bytes * (step_bits // min(bits))
            if size < needed:
                raise InvalidValueError(
                    f"`{name}` must have at least {needed} bytes for {members} vectors of a bus of "
                    f"{self.data_bits} bits, got {size}"
                )
        if self.result_rows < 1:
            raise InvalidValueError(
                f"`{results_name}` must have at least {2 * machine.cols} bytes, got {results.size_bytes}"
            )

    @staticmethod
    def _shift_bits(machine: ShiftArray) -> tuple[int, int]:
        """Return the containers of a shift array's operands."""
        act, weight = (1 << (found.bits - 1).bit_length() for found in (machine.activations, machine.weights))
        return act, weight

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some fields changed, validated again."""
        return replace(self, **changes)

    @property
    def data_bytes(self) -> int:
        """Bytes of a word of the bus."""
        return self.data_bits // 8

    @property
    def record_bytes(self) -> int:
        """Bytes of the parameters of one output: whole words of the bus."""
        used = self.machine.quire_bits // 8 if isinstance(self.machine, SimdEngine) else _SHIFT_RECORD_BYTES
        return self.words(used) * self.data_bytes

    @property
    def result_rows(self) -> int:
        """Rows of results, a code of 16 bits for each column, that wait in the scratchpad to be written."""
        machine = self.machine
        memory = machine.result_memory if isinstance(machine, SimdEngine) else machine.acc_memory
        return memory.size_bytes * 8 // (machine.cols * RESULT_BITS[-1])

    def chunk_steps(self, found: Containers) -> int:
        """Return the steps of the reduction that a half of both operands' scratchpads holds."""
        machine = self.machine
        steps = []
        for memory, rows, bits in (
            (machine.act_memory, machine.rows, found.act_step_bits),
            (machine.weight_memory, machine.cols, found.weight_step_bits),
        ):
            words = memory.size_bytes // (2 * rows * self.data_bytes)
            steps.append((1 << words.bit_length() >> 1) * (self.data_bits // bits))
        return min(steps)

    def words(self, n_bytes: int) -> int:
        """Words of the bus that `n_bytes` from an aligned address on take."""
        return -(-n_bytes // self.data_bytes)

    def containers(self, act_format: str, weight_format: str) -> Containers:
        """Return how codes of a pair of formats lie in memory; InvalidValueError if the machine lacks a format."""
        machine = self.machine
        if isinstance(machine, SimdEngine):
            lanes = machine.mode(act_format, weight_format).lanes
            bits = machine.port_bits // lanes
            return Containers(act_bits=bits, weight_bits=bits, codes_per_step=lanes)
        checks.choice("act_format", act_format, [machine.act_format])
        checks.choice("weight_format", weight_format, [machine.weight_format])
        act, weight = self._shift_bits(machine)
        return Containers(act_bits=act, weight_bits=weight, codes_per_step=1)
