"""The authority for running a batch model: numpy arrays in, numpy arrays out, one row per cycle."""

__all__ = ["BatchModel"]

import ctypes
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt

from tetrit import checks
from tetrit.errors import InvalidValueError, unknown_name
from tetrit.verify.batch.library import Library
from tetrit.verify.batch.source import container_bytes, data_ports, words
from tetrit.verify.building import Port
from tetrit.verify.waves.tap import Tap

Array = npt.NDArray[Any]


class BatchModel:
    r"""A design that runs whole arrays of inputs in one call.

    A row is a cycle: its inputs are applied, the outputs that they give are sampled, and a clock edge ends it, if the
    design has a clock. Every sequence of rows begins after one cycle of reset with all other inputs 0, in a new
    instance of the design; registers without a reset begin with values drawn from `seed`. The bench
    `tetrit.verify.benches.lockstep` sees the same.

    Parameters
    ----------
    library : Library
        From `build_library`.
    seed : int
        Of what registers hold before they are set.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tetrit.verify import tools
    >>> from tetrit.verify.batch import build_library
    >>> verilog = "module dut(a, y);\n  input [3:0] a;\n  output [3:0] y;\n  assign y = ~a;\nendmodule\n"
    >>> library = build_library(verilog, "dut", toolchain=tools.find(), directory=Path("build"))  # doctest: +SKIP
    >>> BatchModel(library).run({"a": [0, 5]})["y"]  # doctest: +SKIP
    array([15, 10], dtype=uint8)
    """

    def __init__(self, library: Library, *, seed: int = 1) -> None:
        self.library = library
        self.seed = checks.integer("seed", seed, minimum=0, maximum=2**31 - 1)
        self._code = ctypes.CDLL(str(library.path))
        self._code.tetrit_open.restype = ctypes.c_void_p
        self._code.tetrit_open.argtypes = [ctypes.c_int]
        pointers = ctypes.POINTER(ctypes.c_void_p)
        self._code.tetrit_run.argtypes = [ctypes.c_void_p, ctypes.c_int64, pointers, pointers]
        for name in ("tetrit_close", "tetrit_reset"):
            getattr(self._code, name).argtypes = [ctypes.c_void_p]
        for name in ("tetrit_close", "tetrit_reset", "tetrit_run"):
            getattr(self._code, name).restype = None

    @property
    def inputs(self) -> dict[str, int]:
        """Width of each input, without clock and reset."""
        return {port.name: port.bits for port in data_ports(self.library.ports, inputs=True)}

    @property
    def outputs(self) -> dict[str, int]:
        """Width of each output."""
        return {port.name: port.bits for port in data_ports(self.library.ports, inputs=False)}

    def run(
        self,
        inputs: Mapping[str, npt.ArrayLike],
        *,
        outputs: Sequence[str] | None = None,
        threads: int = 1,
        tap: Tap | None = None,
    ) -> dict[str, Array]:
        """Apply rows of inputs; return rows of outputs.

        Parameters
        ----------
        inputs : mapping of str to array_like of int
            Of every input port: shape (rows,), or (lanes, rows) for independent sequences, each in an instance of its
            own. Unsigned, or negative in two's complement. Ports of more than 64 bits have one axis more, of
            ``ceil(bits / 32)`` words of 32 bits, low word first.
        outputs : sequence of str, optional
            Which outputs to return; default all.
        threads : int
            Lanes that run at once.
        tap : Tap, optional
            A window that is recorded of the only lane, by a library that was built for it; the reset is cycle 0.

        Returns
        -------
        dict of str to ndarray of uint8, uint16, uint32 or uint64
            In the narrowest of these types, shaped as the inputs.

        Raises
        ------
        InvalidValueError
            A port is missing or unknown, shapes differ, or a value does not fit its port.
        TypeError
            Values that are no integers.
        """
        given = data_ports(self.library.ports, inputs=True)
        sampled = data_ports(self.library.ports, inputs=False)
        for kind, names, known in (("input", inputs, self.inputs), ("output", outputs or (), self.outputs)):
            for name in names:
                if name not in known:
                    raise unknown_name(kind, name, known)
        threads = checks.integer("threads", threads)
        missing = [port.name for port in given if port.name not in inputs]
        if missing:
            raise InvalidValueError(f"`inputs` lacks the port '{missing[0]}'")
        columns = [_column(port, inputs[port.name]) for port in given]
        shape = _shape(given, columns)
        wanted = [port for port in sampled if outputs is None or port.name in outputs]
        found = {port.name: np.zeros(shape + _tail(port), dtype=_dtype(port)) for port in wanted}
        lanes = int(np.prod(shape[:-1]))
        if tap is not None and (lanes != 1 or not self.library.waves):
            raise InvalidValueError("waveforms are of one lane, of a library that was built with `waves`")
        flat = [column.reshape(lanes, shape[-1], *_tail(port)) for port, column in zip(given, columns, strict=True)]
        results = [
            found[port.name].reshape(lanes, shape[-1], *_tail(port)) if port.name in found else None for port in sampled
        ]

        def one(lane: int) -> None:
            places = [None if r is None else r[lane] for r in results]
            self._run([column[lane] for column in flat], places, shape[-1], tap)

        if threads == 1 or lanes == 1:
            for lane in range(lanes):
                one(lane)
        else:
            with ThreadPoolExecutor(max_workers=threads) as pool:
                list(pool.map(one, range(lanes)))
        return found

    def _run(self, columns: Sequence[Array], results: Sequence[Array | None], rows: int, tap: Tap | None) -> None:
        """Run one lane in a new instance."""
        arrays = (ctypes.c_void_p * max(1, len(columns)))(*(column.ctypes.data for column in columns))
        places = (ctypes.c_void_p * max(1, len(results)))(*(None if r is None else r.ctypes.data for r in results))
        design = self._code.tetrit_open(self.seed)
        try:
            if tap is not None:
                tap.attach(self._code, design)
            self._code.tetrit_reset(design)
            self._code.tetrit_run(design, rows, arrays, places)
        finally:
            self._code.tetrit_close(design)
        if tap is not None:
            tap.check()


def _dtype(port: Port) -> np.dtype[Any]:
    return np.dtype(f"u{container_bytes(port.bits)}")


def _tail(port: Port) -> tuple[int, ...]:
    return () if port.bits <= 64 else (words(port.bits),)


def _column(port: Port, values: npt.ArrayLike) -> Array:
    """Return a port's values as the library reads them."""
    array = np.asarray(values)
    if array.dtype.kind not in "iub":
        raise TypeError(f"`inputs` of port '{port.name}' must be integers, got {array.dtype}")
    tail = _tail(port)
    if array.ndim < 1 + len(tail) or array.shape[array.ndim - len(tail) :] != tail:
        expected = "rows" if not tail else f"rows x {tail[0]} words"
        raise InvalidValueError(f"`inputs` of port '{port.name}' must have the shape {expected}, got {array.shape}")
    top = min(port.bits, 64) if not tail else 32
    if array.size and array.dtype.kind != "b":
        low, high = int(array.min()), int(array.max())
        if low < -(1 << (top - 1)) or high >= 1 << top:
            worst = low if low < -(1 << (top - 1)) else high
            raise InvalidValueError(f"`inputs` of port '{port.name}' must fit into {top} bits, got {worst}")
    dtype = _dtype(port)
    cast = array.astype(dtype)
    if array.dtype.kind == "i" and top < 8 * dtype.itemsize:
        cast &= dtype.type((1 << top) - 1)
    if tail and port.bits % 32:
        cast[..., -1] &= np.uint32((1 << port.bits % 32) - 1)  # Verilator expects zeros above a port's highest bit
    return np.ascontiguousarray(cast)


def _shape(given: Sequence[Port], columns: Sequence[Array]) -> tuple[int, ...]:
    """Return (rows,) or (lanes, rows), the same for all ports."""
    shapes = [column.shape[: column.ndim - len(_tail(port))] for port, column in zip(given, columns, strict=True)]
    if not shapes:
        raise InvalidValueError("`inputs` is empty: the design has no inputs but clock and reset")
    for port, shape in zip(given, shapes, strict=True):
        if shape != shapes[0]:
            raise InvalidValueError(
                f"`inputs` must have one shape, got {shapes[0]} for '{given[0].name}' and {shape} for '{port.name}'"
            )
        if len(shape) > 2:
            raise InvalidValueError(f"`inputs` of port '{port.name}' must be rows, or lanes x rows, got {shape}")
    return shapes[0]
