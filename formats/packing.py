"""Packing of codes into bytes: little-endian, code 0 in the low bits."""

__all__ = ["pack", "unpack"]

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tetrit.checks import integer
from tetrit.errors import InvalidValueError


def pack(codes: ArrayLike, bits: int) -> bytes:
    """Pack codes without gaps: code i takes the bits from ``i * bits`` on, counted from the lowest of the first byte.

    Parameters
    ----------
    codes : array_like of int
        Codes below ``2**bits``; taken in C order.
    bits : int
        Width of a code, 1 to 16.

    Returns
    -------
    bytes
        ``ceil(n * bits / 8)`` bytes; unused high bits of the last one are zero.

    Raises
    ------
    TypeError
        If the codes are no integers.
    InvalidValueError
        If a code is negative or not below ``2**bits``.

    Examples
    --------
    >>> from tetrit import formats
    >>> formats.pack([1, 2, 3, 0, 2], bits=2).hex()
    '3902'
    """
    bits = integer("bits", bits, minimum=1, maximum=16)
    array = np.asarray(codes)
    if array.size == 0:
        return b""
    if array.dtype.kind not in "iu":
        raise TypeError(f"`codes` must be integers, got {array.dtype}")
    if array.min() < 0 or array.max() >= 1 << bits:
        where = tuple(int(i) for i in np.argwhere((array < 0) | (array >= 1 << bits))[0])
        raise InvalidValueError(
            f"`codes` of {bits} bits must be from 0 to {(1 << bits) - 1}, got {int(array[where])} at index {where}"
        )
    flat = array.reshape(-1).astype("<u2")
    if bits == 16:
        return flat.tobytes()
    if bits == 8:
        return flat.astype(np.uint8).tobytes()
    # eight codes fill exactly `bits` bytes: lay each group out in 16-bit lanes that are or-ed together
    groups = np.zeros((-(-flat.size // 8), 8), dtype=np.uint32)
    groups.reshape(-1)[: flat.size] = flat
    packed = np.zeros((len(groups), bits + 3), dtype=np.uint8)
    for lane in range(8):
        byte, offset = divmod(lane * bits, 8)
        shifted = groups[:, lane] << offset
        for part in range(-(-(offset + bits) // 8)):
            packed[:, byte + part] |= (shifted >> (8 * part)).astype(np.uint8)
    return packed[:, :bits].tobytes()[: -(-flat.size * bits // 8)]


def unpack(data: bytes | bytearray | memoryview, bits: int, n: int) -> NDArray[np.unsignedinteger]:
    """Take `n` codes out of packed bytes; the inverse of `pack`.

    Parameters
    ----------
    data : bytes-like
        Exactly ``ceil(n * bits / 8)`` bytes.
    bits : int
        Width of a code, 1 to 16.
    n : int
        Number of codes.

    Returns
    -------
    codes : uint8 array (n,), uint16 above 8 bits

    Raises
    ------
    InvalidValueError
        If the length does not fit, or unused bits of the last byte are set.

    Examples
    --------
    >>> from tetrit import formats
    >>> formats.unpack(bytes.fromhex("3902"), bits=2, n=5).tolist()
    [1, 2, 3, 0, 2]
    """
    bits = integer("bits", bits, minimum=1, maximum=16)
    n = integer("n", n, minimum=0)
    raw = np.frombuffer(data, dtype=np.uint8)
    n_bytes = -(-n * bits // 8)
    if raw.size != n_bytes:
        raise InvalidValueError(f"{n} codes of {bits} bits take {n_bytes} bytes, got {raw.size}")
    if n * bits % 8 and raw[-1] >> (n * bits % 8):
        raise InvalidValueError(f"unused bits of the last byte must be zero, got 0x{raw[-1]:02x}")
    dtype = np.uint8 if bits <= 8 else np.uint16
    groups = np.zeros((-(-n // 8), bits), dtype=np.uint8)
    groups.reshape(-1)[:n_bytes] = raw
    codes = np.empty((len(groups), 8), dtype=dtype)
    for lane in range(8):
        byte, offset = divmod(lane * bits, 8)
        joined = np.zeros(len(groups), dtype=np.uint32)
        for part in range(-(-(offset + bits) // 8)):
            joined |= groups[:, byte + part].astype(np.uint32) << (8 * part)
        codes[:, lane] = (joined >> offset) & ((1 << bits) - 1)
    return codes.reshape(-1)[:n].copy()
