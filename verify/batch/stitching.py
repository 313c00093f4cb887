"""Parallel in time: 64 parts of one long sequence at once, each in an instance of the design, checked to fit together.

A part begins some rows early, so that the design forgets what it began with. After the run, every register of the
instance that computed a part is compared with what the instance of the next part held at its own first row. If all are
equal, the parts are, by induction, what one instance gives on the whole sequence; if not, the parts begin earlier, and
finally one instance does it all. The first part is held in reset while the others begin early, so registers without a
reset may begin with other values than in a `BatchModel`.
"""

__all__ = ["StitchedModel"]

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tetrit.verify.batch import _kernels
from tetrit.verify.batch.library import Library
from tetrit.verify.batch.model import BatchModel
from tetrit.verify.batch.slice_source import LANES, RESET_LANES
from tetrit.verify.batch.source import RESET, container_bytes, data_ports
from tetrit.verify.building import Port
from tetrit.verify.waves.tap import Tap

_EARLY_ROWS = (32, 1024)


class StitchedModel:
    """Runs sequences of rows as `BatchModel` does, faster from some ten thousand rows on.

    Parameters
    ----------
    lanes : Library
        Of 64 instances, from `tetrit.verify.batch.slicing.in_lanes`.
    ports : sequence of Port
        Of one.
    whole : callable
        Makes the library of one instance, for sequences whose parts do not fit together.

    Attributes
    ----------
    fitted : bool or None
        Whether the parts of the last sequence fitted together.
    """

    def __init__(self, lanes: Library, ports: Sequence[Port], whole: Callable[[], Library]) -> None:
        self.ports, self.whole = ports, whole
        self._lanes = BatchModel(lanes)
        self.fitted: bool | None = None

    @property
    def inputs(self) -> dict[str, int]:
        """Width of each input, without clock and reset."""
        return {port.name: port.bits for port in data_ports(self.ports, inputs=True)}

    @property
    def outputs(self) -> dict[str, int]:
        """Width of each output."""
        return {port.name: port.bits for port in data_ports(self.ports, inputs=False)}

    def run(
        self, inputs: Mapping[str, npt.NDArray[Any]], *, outputs: Sequence[str], tap: Tap | None = None
    ) -> dict[str, npt.NDArray[Any]]:
        """Apply rows of inputs; return rows of outputs.

        Parameters
        ----------
        inputs : mapping of str to ndarray of int, shape (rows,)
            Of every input port, none wider than 64 bits.
        outputs : sequence of str
            Which outputs to return, none wider than 64 bits.
        tap : Tap, optional
            A window that is recorded, of one instance that does it all.
        """
        rows = len(next(iter(inputs.values())))
        self.fitted = False
        for early in _EARLY_ROWS:
            if tap is None and rows >= 2 * LANES * early:
                found = self._parts(inputs, outputs, rows, early)
                if found is not None:
                    self.fitted = True
                    return found
        return BatchModel(self.whole()).run(inputs, outputs=outputs, tap=tap)

    def _parts(
        self, inputs: Mapping[str, npt.NDArray[Any]], outputs: Sequence[str], rows: int, early: int
    ) -> dict[str, npt.NDArray[Any]] | None:
        """Return the outputs of parts that begin `early`; None if they do not fit together."""
        length = -(-rows // LANES)
        steps = early + length + 1
        given: dict[str, npt.NDArray[Any]] = {}
        for port in self.ports:
            if port.name in inputs:
                values = inputs[port.name]
                padded = np.zeros(early + LANES * length + 1, dtype=values.dtype)
                padded[early : early + rows] = values
                parts = np.lib.stride_tricks.sliding_window_view(padded, steps)[::length]
                given[port.name] = _words(parts, port.bits)
        if any(port.name == RESET for port in self.ports):
            held = np.zeros((LANES, steps), dtype=np.uint8)
            held[0, :early] = 1
            given[RESET_LANES] = _words(held, 1)
        given["mark"] = (np.arange(steps) == early).astype(np.uint8)
        seen = self._lanes.run(given, outputs=[*outputs, "torn"])
        if seen["torn"][-1] & np.uint64((1 << (LANES - 1)) - 1):
            return None
        widths = {port.name: port.bits for port in self.ports}
        return {
            name: _values(seen[name], widths[name])[:, early : early + length].reshape(-1)[:rows] for name in outputs
        }


def _words(parts: npt.NDArray[Any], bits: int) -> npt.NDArray[Any]:
    """Return values, shape (64, steps), as the port of 64 instances takes them."""
    words = np.empty((parts.shape[1], bits), dtype=np.uint64)
    _kernels.to_words(parts, words)
    return words[:, 0] if bits == 1 else words.view(np.uint32)


def _values(words: npt.NDArray[Any], bits: int) -> npt.NDArray[Any]:
    """Return what the port of 64 instances gave, shape (64, steps)."""
    values = np.empty((LANES, len(words)), dtype=f"u{container_bytes(bits)}")
    _kernels.to_values(words.reshape(len(words), -1).view(np.uint64), values)
    return values
