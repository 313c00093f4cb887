"""Reading ONNX files from anywhere: nothing is believed that the file's own bytes do not bear out."""

__all__ = ["DTYPES", "NARROW", "Problems", "check_texts", "dtype_name", "read_model", "tensor", "type_name"]

import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tetrit.errors import InvalidValueError, ToolError

Array = npt.NDArray[Any]

DTYPES = {
    1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 9: "bool", 10: "float16",
    11: "float64", 12: "uint32", 13: "uint64",
}  # fmt: skip
"""ONNX's number of an element type -> numpy dtype."""

NARROW = {21: ("uint4", "uint8", 4), 22: ("int4", "int8", 4), 25: ("uint2", "uint8", 2), 26: ("int2", "int8", 2)}
"""Integers narrower than a byte: (name, numpy dtype that holds them, bits)."""

_FIELDS = {
    1: "float_data", 2: "int32_data", 3: "int32_data", 4: "int32_data", 5: "int32_data", 6: "int32_data",
    7: "int64_data", 9: "int32_data", 10: "int32_data", 11: "double_data", 12: "uint64_data", 13: "uint64_data",
}  # fmt: skip


class Problems:
    """What of a file is not supported, collected, so that one error names all of it.

    Parameters
    ----------
    name : str
        Of the file.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._found: dict[str, list[str]] = {}

    def add(self, what: str, where: str) -> None:
        """Note that `what` is used at `where`."""
        self._found.setdefault(what, []).append(where)

    def check(self) -> None:
        """Raise the error if there is anything to report."""
        if self._found:
            parts = [f"{what} at {', '.join(map(repr, where))}" for what, where in self._found.items()]
            raise InvalidValueError(
                f"'{self.name}' uses what is not supported: {'; '.join(parts)}; "
                "export the network without it, or cut it out with onnx.utils.extract_model"
            )


def dtype_name(number: int) -> str | None:
    """Return the numpy dtype that stands for ONNX's element type, or None if none does."""
    return DTYPES[number] if number in DTYPES else NARROW[number][1] if number in NARROW else None


def read_model(path: Path) -> Any:
    """Return the ModelProto of a file, without its external data.

    Raises
    ------
    InvalidValueError
        If the file cannot be read or is no ONNX model.
    ToolError
        If the package `onnx` is not installed.
    """
    try:
        import onnx
        from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
    except ImportError:
        raise ToolError("reading ONNX files needs the package onnx; pip install 'tetrit[hls]'") from None
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InvalidValueError(f"cannot read ONNX network '{path}': {error.strerror}") from None
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except (DecodeError, RecursionError, ValueError):
        raise InvalidValueError(f"cannot read ONNX network '{path}': it is truncated or no ONNX file") from None
    if not model.opset_import or not model.HasField("graph"):
        raise InvalidValueError(f"cannot read ONNX network '{path}': it is truncated or no ONNX file")
    return model


def check_texts(message: Any) -> None:
    """Refuse a message in which a text is none: protobuf hands such bytes on as they are."""
    for field, value in message.ListFields():
        if field.type == field.TYPE_STRING:
            for text in [value] if isinstance(value, str | bytes) else value:
                if isinstance(text, bytes):
                    raise InvalidValueError(f"`{field.name}` is {text[:40]!r}, which is no text; the file is damaged")
        elif field.type == field.TYPE_MESSAGE:
            for part in [value] if hasattr(value, "ListFields") else value:
                check_texts(part)


def tensor(proto: Any, folder: Path | None) -> tuple[Array, str | None]:
    """Return (array, name of the integer type if it is narrower than a byte) of a TensorProto.

    Contract: the declared shape is compared with the bytes that there are before anything is allocated.

    Parameters
    ----------
    proto : onnx.TensorProto
        Of a supported element type.
    folder : Path, optional
        Where external data may lie; without it there must be none.
    """
    name, kind = proto.name, proto.data_type
    shape = tuple(proto.dims)
    if any(size < 0 for size in shape):
        raise InvalidValueError(f"tensor '{name}' has the shape {list(shape)}")
    count = math.prod(shape)
    narrow, dtype, bits = NARROW[kind] if kind in NARROW else (None, DTYPES[kind], 8 * np.dtype(DTYPES[kind]).itemsize)
    n_bytes = -(-count * bits // 8)
    if proto.data_location == proto.EXTERNAL:
        raw: bytes | None = _external(proto, folder, n_bytes)
    else:
        raw = proto.raw_data if proto.HasField("raw_data") else None
    if raw is None:
        return _from_fields(proto, shape, count, narrow, dtype, bits), narrow
    if len(raw) != n_bytes:
        raise InvalidValueError(
            f"tensor '{name}' of shape {list(shape)} must have {n_bytes} bytes, got {len(raw)}; the file is damaged"
        )
    if narrow is not None:
        return _unpacked(np.frombuffer(raw, np.uint8), count, bits, narrow).astype(dtype).reshape(shape), narrow
    stored = np.frombuffer(raw, np.dtype(dtype).newbyteorder("<"))
    return stored.astype(dtype).reshape(shape), None


def _from_fields(proto: Any, shape: tuple[int, ...], count: int, narrow: str | None, dtype: str, bits: int) -> Array:
    values = getattr(proto, "int32_data" if narrow else _FIELDS[proto.data_type])
    wanted = -(-count * bits // 8) if narrow else count
    if len(values) != wanted:
        raise InvalidValueError(
            f"tensor '{proto.name}' of shape {list(shape)} must have {wanted} entries, got {len(values)}; "
            "the file is damaged"
        )
    if narrow:
        return _unpacked(np.array(values, np.int64).astype(np.uint8), count, bits, narrow).astype(dtype).reshape(shape)
    if dtype == "float16":  # kept as bit patterns
        return np.array(values, np.int64).astype(np.uint16).view(np.float16).reshape(shape)
    return np.array(values).astype(dtype).reshape(shape)


def _unpacked(data: npt.NDArray[np.uint8], count: int, bits: int, name: str) -> Array:
    """Return integers packed several to a byte, the first in the low bits."""
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    codes = ((data[:, None] >> shifts) & ((1 << bits) - 1)).reshape(-1)[:count].astype(np.int64)
    return codes if name.startswith("u") else codes - ((codes >> (bits - 1)) << bits)


def _external(proto: Any, folder: Path | None, n_bytes: int) -> bytes:
    """Return the bytes of a tensor that are kept in a file beside the network, and in no other place."""
    name = proto.name
    entries = {entry.key: entry.value for entry in proto.external_data}
    location = entries.get("location", "")
    if folder is None:
        raise InvalidValueError(f"tensor '{name}' has its data in a file, but the network comes from none")
    home = folder.resolve()
    path = home / location
    if not location or "\0" in location or not path.resolve().is_relative_to(home):
        raise InvalidValueError(f"tensor '{name}' has its data in '{location}', outside the folder of the network")
    if not path.is_file():
        raise InvalidValueError(f"tensor '{name}' has its data in '{location}', which is not beside the network")
    try:
        offset, length = int(entries.get("offset", 0)), int(entries.get("length", n_bytes))
    except ValueError:
        raise InvalidValueError(f"tensor '{name}' has an offset or length that is no integer") from None
    size = path.stat().st_size
    if offset < 0 or length != n_bytes or offset + length > size:
        raise InvalidValueError(
            f"tensor '{name}' needs {n_bytes} bytes from offset {offset} of '{location}', which has {size}; "
            "the file is damaged"
        )
    with path.open("rb") as file:
        file.seek(offset)
        return bytes(file.read(length))


def type_name(number: int) -> str:
    """Return what ONNX calls an element type."""
    import onnx

    try:
        return str(onnx.TensorProto.DataType.Name(number)).lower()
    except ValueError:
        return f"number {number}"
