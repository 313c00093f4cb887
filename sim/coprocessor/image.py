"""The authority for operands, parameters and results as bytes of the host's memory."""

__all__ = ["load", "records", "result", "rows_of", "to_rows"]

from typing import Any

import numpy as np
import numpy.typing as npt

from tetrit.errors import InvalidValueError
from tetrit.hardware import SimdEngine
from tetrit.sim.coprocessor.job import MatmulJob
from tetrit.sim.coprocessor.unit import Coprocessor

Memory = npt.NDArray[np.uint8]
Codes = npt.NDArray[np.uint16]


def load(
    memory: Memory,
    job: MatmulJob,
    unit: Coprocessor,
    *,
    a: npt.ArrayLike,
    w: npt.ArrayLike,
    bias: npt.ArrayLike | None = None,
    multiplier: npt.ArrayLike = 1,
    shift: npt.ArrayLike = 1,
) -> None:
    """Write the operands and the parameters of a job into memory.

    Parameters
    ----------
    memory : ndarray of uint8, shape (bytes,)
        Written in place.
    job : MatmulJob
        Where they go.
    unit : Coprocessor
        For which they are laid out.
    a : array_like of int, shape (m, k)
        Codes of activations; a format of integers may also be given as values.
    w : array_like of int, shape (k, n)
        Codes of weights.
    bias : array_like of int, shape (n,), optional
        In units of the quire, or of the accumulator.
    multiplier, shift : array_like of int
        Of a `ShiftArray`'s results, broadcast to (n,): see `tetrit.sim.requantize.dyadic`.

    Raises
    ------
    InvalidValueError
        A wrong shape; a code or a number that its container does not hold.
    """
    found = unit.containers(job.act_format, job.weight_format)
    places = (
        ("a", np.asarray(a), (job.m, job.k), job.a_base, job.a_stride, found.act_bits),
        ("w", np.asarray(w).T, (job.n, job.k), job.w_base, job.w_stride, found.weight_bits),
    )
    for name, codes, shape, base, stride, bits in places:
        if codes.shape != shape:
            wanted = shape if name == "a" else shape[::-1]
            got = codes.shape if name == "a" else codes.shape[::-1]
            raise InvalidValueError(f"`{name}` must have shape {wanted}, got {got}")
        rows = to_rows(name, codes, bits)
        for index, row in enumerate(rows):
            memory[base + index * stride :][: len(row)] = row
    if not job.parameters:
        if bias is not None:
            raise InvalidValueError("`bias` must be left out of a job without parameters")
        return
    data = records(job, unit, bias, multiplier, shift)
    memory[job.p_base :][: data.size] = data


def result(memory: Memory, job: MatmulJob) -> Codes:
    """Return the codes of a job's results, shape (m, n), from memory."""
    return rows_of(memory, job.c_base, job.c_stride, (job.m, job.n), job.code_bits)


def to_rows(name: str, codes: npt.NDArray[Any], bits: int) -> Memory:
    """Pack the codes of each row into containers of `bits`, low code first; rows fill up to whole bytes.

    Examples
    --------
    >>> import numpy as np
    >>> to_rows("a", np.array([[1, 2, 3]]), 4).tolist()
    [[33, 3]]
    """
    if codes.dtype.kind not in "iu":
        raise TypeError(f"`{name}` must be integers, got {codes.dtype}")
    low, high = int(codes.min()), int(codes.max())
    if low < -(1 << (bits - 1)) or high >= 1 << bits:
        raise InvalidValueError(f"`{name}` must fit in containers of {bits} bits, got {low}..{high}")
    cut = codes.astype(np.int64) & ((1 << bits) - 1)
    if bits == 16:
        return np.ascontiguousarray(cut.astype("<u2")).view(np.uint8).reshape(len(cut), -1)
    per = 8 // bits
    padded = np.pad(cut, ((0, 0), (0, -cut.shape[1] % per)))
    groups = padded.reshape(len(cut), -1, per)
    packed: Memory = (groups << (bits * np.arange(per))).sum(axis=2).astype(np.uint8)
    return packed


def rows_of(memory: Memory, base: int, stride: int, shape: tuple[int, int], bits: int) -> Codes:
    """Return codes in containers of `bits`, from rows that are `stride` bytes apart."""
    n_rows, n_codes = shape
    row_bytes = -(-n_codes * bits // 8)
    index = base + stride * np.arange(n_rows)[:, np.newaxis] + np.arange(row_bytes)
    data = memory[index]
    if bits == 16:
        wide: Codes = data[:, ::2] | (data[:, 1::2].astype(np.uint16) << 8)
        return wide
    parts = (data[:, :, np.newaxis] >> (bits * np.arange(8 // bits, dtype=np.uint8))) & np.uint8((1 << bits) - 1)
    codes: Codes = parts.reshape(n_rows, -1)[:, :n_codes].astype(np.uint16)
    return codes


def records(
    job: MatmulJob,
    unit: Coprocessor,
    bias: npt.ArrayLike | None,
    multiplier: npt.ArrayLike,
    shift: npt.ArrayLike,
) -> Memory:
    """Return the parameters of all outputs as bytes."""
    starts = [0] * job.n if bias is None else [int(value) for value in np.asarray(bias, dtype=object)]
    if len(starts) != job.n:
        raise InvalidValueError(f"`bias` must have shape ({job.n},), got ({len(starts)},)")
    fields: list[tuple[list[int], int, bool]]
    if isinstance(unit.machine, SimdEngine):
        fields = [(starts, unit.machine.quire_bits // 8, True)]
    else:
        scales = [np.broadcast_to(np.asarray(given), (job.n,)).tolist() for given in (multiplier, shift)]
        fields = [(starts, 8, True), (scales[0], 4, False), (scales[1], 1, False)]
    columns = []
    for values, n_bytes, is_signed in fields:
        try:
            data = b"".join(value.to_bytes(n_bytes, "little", signed=is_signed) for value in values)
        except OverflowError:
            raise InvalidValueError(f"parameters must fit in {8 * n_bytes} bits, got {max(values, key=abs)}") from None
        columns.append(np.frombuffer(data, dtype=np.uint8).reshape(job.n, n_bytes))
    padding = np.zeros((job.n, unit.record_bytes - sum(column.shape[1] for column in columns)), dtype=np.uint8)
    return np.concatenate([*columns, padding], axis=1).ravel()
