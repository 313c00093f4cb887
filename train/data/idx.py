"""The IDX file format of MNIST and its relatives, plain or compressed with gzip: read strictly or not at all."""

__all__ = ["LIMIT", "read_idx"]

import gzip
import math
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from tetrit.errors import InvalidValueError

_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_CHUNK = 1 << 20
LIMIT = 1 << 32
"""Most bytes of elements that are read: a small compressed file can hold far more than fits the memory."""


def read_idx(path: Path | str) -> NDArray[Any]:
    """Read one IDX file.

    Contract: the array is exactly what the file holds; a file with one byte too few or too many is refused.

    Parameters
    ----------
    path : path-like
        The file; whether it is compressed is seen from its first bytes, not from its name.

    Returns
    -------
    ndarray of uint8, int8, int16, int32, float32 or float64
        In the byte order of this machine, of the shape that the file announces.

    Raises
    ------
    InvalidValueError
        If the file cannot be read or decompressed, its magic number or element type is unknown, or its length differs
        from what its header announces, or is above 4 GiB.

    Notes
    -----
    The format, all big-endian: two zero bytes, a byte for the element type, a byte for the number of dimensions, their
    sizes in 32 bits each, the elements with the last index running fastest. Source: LeCun, Cortes, Burges, "The MNIST
    database of handwritten digits".

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from tetrit.train.data import read_idx
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "labels"
    ...     _ = path.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 2, 1]))
    ...     read_idx(path)
    array([7, 2, 1], dtype=uint8)
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            if file.peek(2)[:2] == b"\x1f\x8b":
                with gzip.open(file) as unpacked:
                    return _read(path, unpacked)
            return _read(path, file)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        reason = "it ends too early" if isinstance(error, EOFError) else str(error)
        raise InvalidValueError(f"IDX file '{path}' cannot be decompressed: {reason}") from None
    except OSError as error:
        raise InvalidValueError(f"cannot read IDX file '{path}': {error.strerror or error}") from None


def _read(path: Path, file: IO[bytes] | gzip.GzipFile) -> NDArray[Any]:
    magic = file.read(4)
    if len(magic) < 4:
        raise InvalidValueError(f"IDX file '{path}' ends in its magic number, after {len(magic)} bytes")
    if magic[:2] != b"\0\0":
        raise InvalidValueError(f"'{path}' is no IDX file: it must begin with two zero bytes, got 0x{magic[:2].hex()}")
    if magic[2] not in _DTYPES:
        known = ", ".join(f"0x{code:02x} ({np.dtype(name).name})" for code, name in _DTYPES.items())
        raise InvalidValueError(f"IDX file '{path}' has the unknown element type 0x{magic[2]:02x}; known: {known}")
    if magic[3] == 0:
        raise InvalidValueError(f"IDX file '{path}' has no dimensions")
    header = file.read(4 * magic[3])
    if len(header) < 4 * magic[3]:
        raise InvalidValueError(
            f"IDX file '{path}' ends in the sizes of its {magic[3]} dimensions, after {4 + len(header)} bytes"
        )
    shape = tuple(np.frombuffer(header, ">u4").tolist())
    dtype = np.dtype(_DTYPES[magic[2]])
    wanted = math.prod(shape) * dtype.itemsize
    told = f"its header, {shape} of {dtype.name}, announces"
    if wanted > LIMIT:
        raise InvalidValueError(f"IDX file '{path}' is too large: {told} {wanted} bytes, and {LIMIT} can be read")
    if len(shape) > 64:
        raise InvalidValueError(f"IDX file '{path}' has {len(shape)} dimensions, and 64 can be read")
    # in pieces, and one byte more than wanted: the first shows a short file before memory is taken for it, and the
    # other shows a long one and makes gzip compare its checksum
    data = bytearray()
    while len(data) <= wanted:
        piece = file.read(min(_CHUNK, wanted + 1 - len(data)))
        if not piece:
            break
        data += piece
    if len(data) < wanted:
        raise InvalidValueError(f"IDX file '{path}' is truncated: {told} {wanted} bytes, and {len(data)} follow")
    if len(data) > wanted:
        raise InvalidValueError(f"IDX file '{path}' is too long: {told} {wanted} bytes, and more follow")
    return np.frombuffer(data, dtype).reshape(shape).astype(dtype.newbyteorder("="))
