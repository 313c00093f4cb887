"""Stuck cells of all layers of a chip, given by a user: as a mapping, or in an NPZ file with one array a layer."""

__all__ = ["FaultFile", "LayerShape", "layer_faults", "read_fault_file"]

import hashlib
import io
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tetrit.errors import InvalidValueError, UnknownNameError, unknown_name
from tetrit.hardware import Crossbar
from tetrit.sim.crossbar.arrays import fault_grid
from tetrit.sim.crossbar.mapping import Layout

LayerShape = tuple[str, int, int]
"""Name of a layer, its inputs, its outputs."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FaultFile:
    """What `read_fault_file` found.

    Attributes
    ----------
    path : Path
    sha256 : str
        Of the file's content.
    maps : dict of str to array
        By a layer's name or number, not checked yet.
    """

    path: Path
    sha256: str
    maps: dict[str, npt.NDArray[Any]]

    def check(self, machine: Crossbar, layers: Sequence[LayerShape]) -> None:
        """Raise an InvalidValueError that names the file unless `layer_faults` can take the maps."""
        try:
            layer_faults(self.maps, machine, layers)
        except (TypeError, ValueError) as error:
            raise InvalidValueError(f"fault maps '{self.path}': {error}") from None


def read_fault_file(path: Path) -> FaultFile:
    """Read fault maps from an NPZ file: arrays that are called as layers are, or by their numbers from 0 on.

    Raises
    ------
    InvalidValueError
        The file cannot be read, is no NPZ file, or holds no arrays of numbers; the message names it.
    """
    try:
        content = path.read_bytes()
        if not zipfile.is_zipfile(io.BytesIO(content)):
            raise InvalidValueError(f"cannot read fault maps '{path}': it is no NPZ file")
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            maps = {name: arrays[name] for name in arrays.files}
    except InvalidValueError:
        raise
    except OSError as error:
        raise InvalidValueError(f"cannot read fault maps '{path}': {error.strerror or error}") from None
    except (ValueError, EOFError, MemoryError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise InvalidValueError(f"cannot read fault maps '{path}': {error}") from None
    if not maps:
        raise InvalidValueError(f"fault maps '{path}': there is no array in it")
    for name, found in maps.items():
        if not isinstance(found, np.ndarray):  # a member of the archive that is no array comes as bytes
            raise InvalidValueError(f"fault maps '{path}': '{name}' is no array")
    return FaultFile(path=path, sha256=hashlib.sha256(content).hexdigest(), maps=maps)


def layer_faults(
    faults: Mapping[Any, npt.ArrayLike], machine: Crossbar, layers: Sequence[LayerShape]
) -> tuple[npt.NDArray[np.int8] | None, ...]:
    """Return the fault map of every layer, None where none is given.

    Parameters
    ----------
    faults : mapping of str or int to array_like of int
        Maps as `CrossbarEngine.load` takes them, by a layer's name or number from 0 on; a number may be a text. A name
        goes before a number.
    machine : Crossbar
    layers : sequence of (str, int, int)
        Name, inputs and outputs of each.

    Returns
    -------
    tuple of array of int8, shape (row_arrays, col_arrays, rows, cols), or None

    Raises
    ------
    TypeError
        `faults` that are no mapping; maps that are no integers.
    InvalidValueError
        An unknown layer, one that is given twice, a map of the wrong shape or with other codes than 0, 1 and 2; the
        message names the layer.

    Examples
    --------
    >>> machine = Crossbar(rows=2, cols=4, weight_format="szt", bits_per_cell=1)
    >>> layers = [("first", 4, 2), ("last", 2, 2)]
    >>> none, last = layer_faults({"last": [[0, 0, 0, 0], [0, 2, 0, 1]]}, machine, layers)
    >>> none is None, last.shape
    (True, (1, 1, 2, 4))
    """
    if not isinstance(faults, Mapping):
        raise TypeError(f"`faults` must be a mapping of layers to fault maps, got {type(faults).__name__}")
    names = [name for name, _, _ in layers]
    given: dict[int, Any] = {}
    for key in faults:
        place = _place(key, names)
        if place in given:
            raise InvalidValueError(f"layer '{names[place]}': `faults` are given twice, the second time as {key!r}")
        given[place] = faults[key]
    return tuple(
        _checked(given[place], machine, *layer) if place in given else None for place, layer in enumerate(layers)
    )


def _place(key: Any, names: Sequence[str]) -> int:
    """Return the number of the layer that a key means."""
    if key in names:
        return names.index(key)
    if isinstance(key, str) and key.isascii() and key.isdigit():
        number = int(key)
    elif isinstance(key, str):
        raise unknown_name("layer", key, names)
    elif isinstance(key, int | np.integer) and not isinstance(key, bool):
        number = int(key)
    else:
        raise TypeError(f"`faults` must have names or numbers of layers as keys, got {key!r}")
    if not 0 <= number < len(names):
        raise UnknownNameError(f"unknown layer {number}; known: 0 to {len(names) - 1}")
    return number


def _checked(found: npt.ArrayLike, machine: Crossbar, name: str, n_in: int, n_out: int) -> npt.NDArray[np.int8]:
    layout = Layout(machine=machine, n_in=n_in, n_out=n_out)
    try:
        return fault_grid(found, (layout.row_arrays, layout.col_arrays), (machine.rows, machine.cols))
    except TypeError as error:
        raise TypeError(f"layer '{name}': {error}") from None
    except InvalidValueError as error:
        raise InvalidValueError(f"layer '{name}': {error}") from None
