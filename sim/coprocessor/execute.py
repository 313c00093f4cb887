"""The golden model of the co-processor: a job's effect on memory, from the bytes that lie there."""

__all__ = ["Outcome", "execute", "parameters"]

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tetrit.formats import get
from tetrit.formats.real import RealFormat
from tetrit.hardware import ShiftArray, SimdEngine
from tetrit.sim.coprocessor.image import Codes, Memory, rows_of, to_rows
from tetrit.sim.coprocessor.job import MatmulJob
from tetrit.sim.coprocessor.unit import Coprocessor
from tetrit.sim.requantize import requantize
from tetrit.sim.shift import ShiftEngine
from tetrit.sim.simd.operands import Operand
from tetrit.sim.simd.quire import quire_product

_LOST = 0b1111
"""What the read-out gives for a NaR if the format, FP4, has none."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Outcome:
    """What a job leaves.

    Attributes
    ----------
    memory : ndarray of uint8
        All of it, results included.
    codes : ndarray of uint16, shape (m, n)
        The results.
    nar : bool
        Whether a result was NaR in a format that has no code for that.
    """

    memory: Memory
    codes: Codes
    nar: bool


def execute(memory: Memory, job: MatmulJob, unit: Coprocessor) -> Outcome:
    """Return what a job makes of memory; nothing is changed in place.

    Bit for bit what the hardware does, whatever lies between rows and in containers' unused bits.

    Parameters
    ----------
    memory : ndarray of uint8, shape (bytes,)
        With the operands and parameters in place.
    job : MatmulJob
        Checked: see `MatmulJob.check`.
    unit : Coprocessor
        Which one.

    Examples
    --------
    >>> import numpy as np
    >>> from tetrit.hardware import SimdEngine
    >>> from tetrit.sim.coprocessor import Coprocessor, MatmulJob, execute, load
    >>> unit = Coprocessor(machine=SimdEngine(rows=2, cols=2))
    >>> formats = dict(act_format="fp4_e2m1", weight_format="fp4_e2m1", out_format="posit8_0")
    >>> job = MatmulJob(m=1, k=2, n=1, **formats).placed(unit)
    >>> memory = np.zeros(64, dtype=np.uint8)
    >>> load(memory, job, unit, a=[[2, 4]], w=[[2], [2]])  # (1, 2) x (1, 1)
    >>> [hex(code) for code in execute(memory, job, unit).codes[0]]  # 3
    ['0x68']
    """
    found, machine = unit.containers(job.act_format, job.weight_format), unit.machine
    a = rows_of(memory, job.a_base, job.a_stride, (job.m, job.k), found.act_bits)
    w = rows_of(memory, job.w_base, job.w_stride, (job.n, job.k), found.weight_bits)
    nar = False
    if isinstance(machine, SimdEngine):
        codes, nar = _simd(memory, job, unit, a, w)
    else:
        codes = _shifted(memory, job, unit, a, w)
    after = memory.copy()
    for index, row in enumerate(to_rows("c", codes, job.code_bits)):
        after[job.c_base + index * job.c_stride :][: len(row)] = row
    return Outcome(memory=after, codes=codes, nar=nar)


def parameters(memory: Memory, job: MatmulJob, unit: Coprocessor) -> list[tuple[int, int, int]]:
    """Return bias, multiplier and shift of each output, from memory; a `SimdEngine` has the bias only."""
    if not job.parameters:
        return [(0, 1, 0)] * job.n
    machine = unit.machine
    found = []
    for index in range(job.n):
        record = memory[job.p_base + index * unit.record_bytes :][: unit.record_bytes].tobytes()
        if isinstance(machine, SimdEngine):
            found.append((int.from_bytes(record[: machine.quire_bits // 8], "little", signed=True), 1, 0))
            continue
        width, places = machine.acc_bits, (machine.acc_bits + machine.multiplier_bits).bit_length()
        bias = int.from_bytes(record[:8], "little") & ((1 << width) - 1)
        bias -= (bias >> (width - 1)) << width
        multiplier = int.from_bytes(record[8:12], "little") & ((1 << machine.multiplier_bits) - 1)
        found.append((bias, multiplier, record[12] & ((1 << places) - 1)))
    return found


def _simd(memory: Memory, job: MatmulJob, unit: Coprocessor, a: Codes, w: Codes) -> tuple[Codes, bool]:
    """Return the codes of a SIMD engine, and whether one stands for a NaR that its format lacks."""
    assert isinstance(unit.machine, SimdEngine)
    mode = unit.machine.mode(job.act_format, job.weight_format)
    operands = []
    for codes, name in ((a, job.act_format), (w.T, job.weight_format)):
        cut = codes & np.uint16((1 << get(name).bits) - 1)
        operands.append(Operand.of("codes", cut, name))
    bad = [operands[0].not_real(1), operands[1].not_real(0)]
    lost = np.zeros((job.m, job.n), dtype=np.bool_)
    out = get(job.out_format)
    assert isinstance(out, RealFormat)
    if not out.has_nan and any(flags is not None for flags in bad):
        rows, columns = (np.zeros(1, dtype=np.bool_) if flags is None else flags for flags in bad)
        lost = np.broadcast_to(rows[:, np.newaxis] | columns[np.newaxis, :], lost.shape)
        operands = [
            Operand.of("codes", np.where(_nar(item), 0, item.codes).astype(item.codes.dtype), item.format.name)
            for item in operands
        ]
    bias = np.array([start for start, _, _ in parameters(memory, job, unit)], dtype=object)
    acts, weights = operands
    codes = quire_product(acts, weights, mode, job.out_format, bias=bias, relu=job.relu, shift=job.shift)
    codes = codes.astype(np.uint16)
    codes[lost] = _LOST
    return codes, bool(lost.any())


def _nar(operand: Operand) -> npt.NDArray[np.bool_]:
    found: npt.NDArray[np.bool_] = operand.codes == 1 << (operand.format.bits - 1)
    return found if operand.format.has_nan else np.zeros_like(found)


def _shifted(memory: Memory, job: MatmulJob, unit: Coprocessor, a: Codes, w: Codes) -> Codes:
    """Return the codes of a shift array with its requantiser."""
    machine = unit.machine
    assert isinstance(machine, ShiftArray)
    bits = machine.activations.bits
    cut = (a & np.uint16((1 << bits) - 1)).astype(np.int64)
    values = cut - ((cut >> (bits - 1)) << bits)
    weights = w.T & np.uint16((1 << machine.weights.bits) - 1)
    numbers = np.array(parameters(memory, job, unit), dtype=np.int64)
    total = ShiftEngine(machine).load(weights).matmul(values, bias=numbers[:, 0]).output
    output = requantize(total, numbers[:, 1], numbers[:, 2], out_format=machine.act_format, relu=job.relu)
    return (output & ((1 << bits) - 1)).astype(np.uint16)
