"""The authority for driving `MatmulCoprocessor` without a coroutine: its host and its memory in C++."""

__all__ = ["BatchCoprocessor", "coprocessor_source"]

import ctypes
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt

from tetrit import checks
from tetrit.errors import InvalidValueError, ToolError
from tetrit.verify.batch.library import Library
from tetrit.verify.batch.source import data_ports, quiet, with_waves
from tetrit.verify.building import Port
from tetrit.verify.waves.tap import Tap

CHANNELS = ("AR", "R", "AW", "W", "B")
_DRIVER = Path(__file__).with_name("coprocessor.cpp")
_PATIENCE_CYCLES = 10_000
"""Cycles that a register transfer may take."""

_OKAY, _SLAVE_ERROR, _DECODE_ERROR = 0, 2, 3
_RESPONSES = {"read": (0, _SLAVE_ERROR), "write": (1, _SLAVE_ERROR)}
_RESPONSES |= {f"{kind} decode": (write, _DECODE_ERROR) for kind, (write, _) in _RESPONSES.items()}


def coprocessor_source(ports: Sequence[Port], *, waves: bool = False) -> str:
    """Return the C++ of the bus partners for a design with these ports, which can record it with `waves`.

    Raises
    ------
    InvalidValueError
        If it has no ``m_axi_rdata`` of 32 bits or a multiple of 64.
    """
    width = next((port.bits for port in ports if port.name == "m_axi_rdata"), 0)
    if width != 32 and (width == 0 or width % 64 or width > 512):
        raise InvalidValueError(f"`m_axi_rdata` must have 32 bits, or a multiple of 64 up to 512, got {width}")
    lines = " ".join(quiet(port, "top.") for port in data_ports(ports, inputs=True))
    text = _DRIVER.read_text(encoding="utf-8")
    head = f"#define TETRIT_BUS_BYTES {width // 8}\n#define TETRIT_QUIET(top) {lines} top.clk = 0; top.rst = 0;\n"
    return with_waves(head + text) if waves else head + text


class BatchCoprocessor:
    """A co-processor with an AXI4 memory and an AXI4-Lite host in C++, in one cycle each.

    The memory serves read bursts in order and without gaps: a burst that is asked for in cycle t has its first word in
    cycle ``t + read_latency``, or when the burst before is through; an answer to a write comes `write_latency` cycles
    after its last word. Where it waits at random, offers stand until they are taken. In every cycle the rules of AXI4
    are watched: offers stand unchanged, bursts are aligned, increment, stay within 4 KiB and end with their last word.

    It begins in reset for one cycle. Use it as a context, or `close` it.

    Parameters
    ----------
    library : Library
        Built with `coprocessor_source` as its driver.
    memory : ndarray of uint8, shape (bytes,)
        All of the memory, changed in place; transfers beyond it are answered with DECERR.
    read_latency, write_latency : int
        In cycles, at least 1.
    stall : sequence of float
        Probability that AR, R, AW, W and B wait in a cycle.
    seed : int
        Of the waits, and of what registers without a reset hold at first.
    tap : Tap, optional
        A window that is recorded, by a library that was built for it.

    Raises
    ------
    TypeError
        If `memory` is no array of uint8 that can be written.
    InvalidValueError
        If a parameter is out of range.
    """

    def __init__(
        self,
        library: Library,
        memory: npt.NDArray[np.uint8],
        *,
        read_latency: int = 1,
        write_latency: int = 1,
        stall: Sequence[float] = (0.0,) * 5,
        seed: int = 1,
        tap: Tap | None = None,
    ) -> None:
        if not isinstance(memory, np.ndarray) or memory.dtype != np.uint8 or memory.ndim != 1:
            raise TypeError("`memory` must be an array of uint8 with one axis")
        if not (memory.flags.c_contiguous and memory.flags.writeable):
            raise TypeError("`memory` must be contiguous, and not read-only")
        latencies = (checks.integer("read_latency", read_latency), checks.integer("write_latency", write_latency))
        if len(stall) != len(CHANNELS):
            raise InvalidValueError(f"`stall` must have a value for each of {', '.join(CHANNELS)}, got {len(stall)}")
        waits = [checks.real("stall", value, minimum=0.0) for value in stall]
        if max(waits) >= 1.0:
            raise InvalidValueError(f"`stall` must be less than 1, got {max(waits)}")
        seed = checks.integer("seed", seed, minimum=0, maximum=2**31 - 1)
        if tap is not None and not library.waves:
            raise InvalidValueError("`tap` needs a library that was built with `waves`")
        self.memory = memory
        self.records = library.waves
        self._tap = tap
        self._code = _functions(library)
        self._design = self._code.tetrit_open(seed)
        self._code.tetrit_memory(self._design, memory.ctypes.data, memory.size)
        pauses = (ctypes.c_uint32 * len(waits))(*(int(wait * 2**32) for wait in waits))
        self._code.tetrit_bus(self._design, *latencies, pauses, 2 * seed + 1)
        if tap is not None:
            tap.attach(self._code, self._design)
        self.reset()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Free the design; nothing else may be called then."""
        if self._design is not None:
            self._code.tetrit_close(self._design)
            self._design = None
            if self._tap is not None:
                self._tap.check()

    @property
    def cycle(self) -> int:
        """Cycles so far."""
        return int(self._code.tetrit_cycle(self._design))

    @property
    def breaches(self) -> tuple[int, str]:
        """How often the rules of AXI4 were broken, and the first time in words."""
        message = ctypes.c_char_p()
        count = int(self._code.tetrit_breaches(self._design, ctypes.byref(message)))
        return count, (message.value or b"").decode()

    def stores(self) -> npt.NDArray[np.int64]:
        """Return cycle and address of each word that was stored since the last call, shape (n, 2).

        Of a library that was built with `waves`; a word is stored once both its data and its address are there.
        """
        pairs = ctypes.POINTER(ctypes.c_int64)()
        count = int(self._code.tetrit_stores(self._design, ctypes.byref(pairs)))
        found = np.array(np.ctypeslib.as_array(pairs, (count, 2)) if count else np.zeros((0, 2)), dtype=np.int64)
        self._code.tetrit_stores_clear(self._design)
        return found

    def reset(self) -> None:
        """Reset the design and the bus for one cycle; the memory stays."""
        self._code.tetrit_reset(self._design)

    def fail(self, first: int, end: int, kind: str) -> None:
        """Answer transfers of bytes ``first`` to ``end`` with an error from now on.

        Parameters
        ----------
        first, end : int
            Addresses.
        kind : {"read", "write", "read decode", "write decode"}
            Which transfers; SLVERR, or DECERR.
        """
        write, response = _RESPONSES[checks.choice("kind", kind, _RESPONSES)]
        self._code.tetrit_fail(self._design, first, end, write, response)

    def write(self, offset: int, value: int) -> bool:
        """Write a register; return whether the answer was OKAY.

        Raises
        ------
        ToolError
            If there is no answer.
        """
        response = self._code.tetrit_write(self._design, offset, value & 0xFFFFFFFF, _PATIENCE_CYCLES)
        return _okay(response, offset)

    def read(self, offset: int) -> int:
        """Read a register.

        Raises
        ------
        ToolError
            If there is no answer, or an error.
        """
        value = ctypes.c_uint32()
        response = self._code.tetrit_read(self._design, offset, ctypes.byref(value), _PATIENCE_CYCLES)
        if not _okay(response, offset):
            raise ToolError(f"the co-processor answered a read of register 0x{offset:02x} with an error")
        return value.value

    def step(self, cycles: int) -> None:
        """Let cycles pass."""
        self._code.tetrit_step(self._design, cycles)

    def wait(self, limit: int) -> int:
        """Let cycles pass until the interrupt; return how many.

        Raises
        ------
        ToolError
            If there is none within `limit` cycles.
        """
        cycles = int(self._code.tetrit_wait(self._design, limit))
        if cycles < 0:
            raise ToolError(f"the co-processor raised no interrupt within {limit} cycles")
        return cycles


def _okay(response: int, offset: int) -> bool:
    if response < 0:
        raise ToolError(f"the co-processor gave no answer for register 0x{offset:02x}")
    return response == _OKAY


def _functions(library: Library) -> ctypes.CDLL:
    """Return the library with the types of its functions."""
    code = ctypes.CDLL(str(library.path))
    handle, count = ctypes.c_void_p, ctypes.c_int64
    words = ctypes.POINTER(ctypes.c_uint32)
    signatures = {
        "tetrit_open": (handle, [ctypes.c_int]),
        "tetrit_close": (None, [handle]),
        "tetrit_memory": (None, [handle, handle, ctypes.c_uint64]),
        "tetrit_bus": (None, [handle, count, count, words, ctypes.c_uint64]),
        "tetrit_fail": (None, [handle, ctypes.c_uint64, ctypes.c_uint64, ctypes.c_int, ctypes.c_int]),
        "tetrit_reset": (None, [handle]),
        "tetrit_cycle": (count, [handle]),
        "tetrit_step": (None, [handle, count]),
        "tetrit_wait": (count, [handle, count]),
        "tetrit_write": (ctypes.c_int, [handle, ctypes.c_uint32, ctypes.c_uint32, count]),
        "tetrit_read": (ctypes.c_int, [handle, ctypes.c_uint32, words, count]),
        "tetrit_breaches": (count, [handle, ctypes.POINTER(ctypes.c_char_p)]),
    }
    if library.waves:
        signatures["tetrit_stores"] = (count, [handle, ctypes.POINTER(ctypes.POINTER(count))])
        signatures["tetrit_stores_clear"] = (None, [handle])
    for name, (result, arguments) in signatures.items():
        function = getattr(code, name)
        function.restype, function.argtypes = result, arguments
    return code
