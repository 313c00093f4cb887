"""How a window of a simulation gets from Verilator to whoever wants its VCD: by a call, or through a pipe.

Cycle c is the one that the clock's rising edge at time 2c + 1 ends, in the unit of Verilator's times.
"""

__all__ = ["COCOTB_SOURCE", "END_VARIABLE", "FIRST_VARIABLE", "Tap", "piped"]

import ctypes
import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tetrit import checks
from tetrit.errors import InvalidValueError

FIRST_VARIABLE, END_VARIABLE = "TETRIT_WAVES_FIRST", "TETRIT_WAVES_END"
_PIECE_BYTES = 1 << 18
_SINK = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)

COCOTB_SOURCE = f"""\
#include <cstdlib>
#include <fcntl.h>
#include <string>
#include <unistd.h>

#include "verilated_vcd_c.h"

namespace {{

class TetritFile : public VerilatedVcdFile {{  // waits until it is read
    int descriptor = -1;

public:
    bool open(const std::string& name) override {{
        descriptor = ::open(name.c_str(), O_WRONLY | O_CLOEXEC);
        return descriptor >= 0;
    }}
    void close() override {{ ::close(descriptor); }}
    ssize_t write(const char* text, ssize_t bytes) override {{ return ::write(descriptor, text, bytes); }}
}};

uint64_t tetrit_limit(const char* variable) {{
    const char* text = std::getenv(variable);
    return text ? std::strtoull(text, nullptr, 10) : 0;
}}

class TetritVcd : public VerilatedVcdC {{  // records a window of times only
    const uint64_t first = tetrit_limit("{FIRST_VARIABLE}"), end = tetrit_limit("{END_VARIABLE}");
    std::string file;

public:
    TetritVcd() : VerilatedVcdC{{new TetritFile}} {{}}
    void open(const char* name) override {{ file = name; }}
    void dump(uint64_t time) {{
        if (time < first || time >= end) return;
        if (!isOpen()) VerilatedVcdC::open(file.c_str());
        VerilatedVcdC::dump(time);
    }}
}};

}}  // namespace

#define VerilatedVcdC TetritVcd
#undef VM_TRACE
#define VM_TRACE 1
"""
"""Put before the main program that cocotb has for Verilator, so that what it records goes to a pipe, a window of it."""


class Tap:
    """A window of cycles, and who takes its VCD.

    Parameters
    ----------
    take : callable
        Called with each piece. What it raises is kept, no more pieces are taken, and `check` raises it.
    first, end : int
        The first cycle, and the one after the last.
    """

    def __init__(self, take: Callable[[bytes], Any], first: int, end: int) -> None:
        self.first = checks.integer("first", first, minimum=0)
        self.end = checks.integer("end", end, minimum=self.first + 1)
        self._take = take
        self._error: BaseException | None = None
        self._sink = _SINK(self._piece)

    def take(self, piece: bytes) -> None:
        """Pass a piece on, unless one failed before."""
        if self._error is None:
            try:
                self._take(piece)
            except BaseException as error:  # an interruption too: no exception may pass through C++ or end a thread
                self._error = error

    def _piece(self, address: int, size: int) -> None:
        self.take(ctypes.string_at(address, size))

    def attach(self, code: ctypes.CDLL, design: int) -> None:
        """Let a design of a batch model record, from a time before its first cycle."""
        code.tetrit_waves.argtypes = [ctypes.c_void_p, _SINK, ctypes.c_int64, ctypes.c_int64]
        code.tetrit_waves.restype = None
        code.tetrit_waves(design, self._sink, self.first, self.end)

    def stop(self, error: BaseException) -> None:
        """Take no more."""
        self._error = self._error or error

    def check(self) -> None:
        """Raise what a piece raised."""
        if self._error is not None:
            raise self._error

    @property
    def failed(self) -> bool:
        """Whether a piece raised an error."""
        return self._error is not None


@contextmanager
def piped(tap: Tap) -> Iterator[dict[str, str]]:
    """Read a named pipe beside a simulation in another process, until that ends or the context does.

    Yields
    ------
    dict of str to str
        Variables for the process: the window in Verilator's times; under the empty name, the path of the pipe.
    """
    with tempfile.TemporaryDirectory(prefix="tetrit-waves-") as folder:
        pipe = Path(folder, "waves.vcd")
        try:
            os.mkfifo(pipe)
        except (AttributeError, OSError) as error:
            raise InvalidValueError(f"waveforms need a named pipe, and there is none in '{folder}': {error}") from None

        def read() -> None:
            with pipe.open("rb", buffering=0) as source:
                while not tap.failed and (piece := source.read(_PIECE_BYTES)):
                    tap.take(piece)

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        try:
            yield {
                FIRST_VARIABLE: str(max(0, 2 * tap.first - 1)),
                END_VARIABLE: str(2 * tap.end),
                "": str(pipe),
            }
        except BaseException as error:
            tap.stop(error)
            raise
        finally:
            with suppress(OSError):  # a reader that still waits for the simulation meets the end of the pipe
                os.close(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
            reader.join()
        tap.check()
