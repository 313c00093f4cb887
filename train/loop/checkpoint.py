"""The file of a checkpoint: a checksum before it is believed, plain content only, never half written.

Layout, integers little-endian: 8 bytes ``TETRITCK``; version of the layout, 4 bytes; length of the payload, 8 bytes;
its SHA-256, 32 bytes; the payload, written by ``torch.save`` and read with ``weights_only=True``, which runs no code.
The checksum finds damage; it is no signature.
"""

__all__ = ["SCHEMA", "read", "write"]

import hashlib
import io
import pickle
import struct
from pathlib import Path
from typing import Any

import torch

from tetrit.errors import InvalidValueError
from tetrit.files import write_atomic

SCHEMA = 1
"""Version of the layout and of the keys in the payload."""

_MAGIC = b"TETRITCK"
_HEADER = struct.Struct("<8sIQ32s")


def write(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint of tensors, numbers, texts, lists, tuples and dicts, atomically.

    Raises
    ------
    InvalidValueError
        If the disk refuses.
    """
    buffer = io.BytesIO()
    torch.save(state, buffer)
    payload = buffer.getbuffer()
    header = _HEADER.pack(_MAGIC, SCHEMA, len(payload), hashlib.sha256(payload).digest())
    write_atomic(path, b"".join((header, payload)))


def read(path: Path) -> dict[str, Any]:
    """Read a checkpoint, with all tensors on the CPU.

    Raises
    ------
    InvalidValueError
        If the file cannot be read, is none of ours, of a newer version, truncated, or damaged. It is left as it is.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InvalidValueError(f"cannot read checkpoint '{path}': {error.strerror}") from None
    if data[:8] != _MAGIC[: len(data)] or not data:
        raise InvalidValueError(f"'{path}' is no checkpoint of tetrit")
    if len(data) < _HEADER.size:
        raise InvalidValueError(f"checkpoint '{path}' is truncated: it ends in its header, after {len(data)} bytes")
    _, schema, length, digest = _HEADER.unpack_from(data)
    if schema != SCHEMA:
        age = "a newer" if schema > SCHEMA else "an unknown"
        raise InvalidValueError(f"checkpoint '{path}' has version {schema}, of {age} tetrit; this one reads {SCHEMA}")
    payload = memoryview(data)[_HEADER.size :]
    if len(payload) != length:
        what = "truncated" if len(payload) < length else "too long"
        raise InvalidValueError(
            f"checkpoint '{path}' is {what}: its header announces {length} bytes, and {len(payload)} follow"
        )
    if hashlib.sha256(payload).digest() != digest:
        raise InvalidValueError(f"checkpoint '{path}' is damaged: its content does not have the SHA-256 of its header")
    try:
        state = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
    except (RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise InvalidValueError(f"checkpoint '{path}' cannot be loaded: {first}") from None
    if not isinstance(state, dict):
        raise InvalidValueError(f"checkpoint '{path}' cannot be loaded: it holds no dict")
    return state
