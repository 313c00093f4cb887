"""What software and hardware derive from the same machine, each by itself: sizes, limits, refusals."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tetrit.errors import InvalidValueError
from tetrit.hardware import Memory, ShiftArray, SimdEngine
from tetrit.hardware.shift_array import ACT_FORMATS, WEIGHT_FORMATS
from tetrit.rtl.coprocessor.geometry import Geometry
from tetrit.rtl.coprocessor.registers import REGISTERS
from tetrit.sim.coprocessor import Coprocessor, MatmulJob
from tetrit.verify.suites.coprocessor import register_writes
from tetrit.verify.suites.coprocessor_tasks import UNITS

MEMORIES = st.builds(Memory, size_bytes=st.one_of(st.integers(1, 4096), st.sampled_from([64, 1024, 32768])))
SIMD = st.builds(
    SimdEngine,
    rows=st.integers(1, 9),
    cols=st.integers(1, 9),
    act_memory=MEMORIES,
    weight_memory=MEMORIES,
    result_memory=MEMORIES,
)
SHIFT = st.builds(
    ShiftArray,
    rows=st.integers(1, 9),
    cols=st.integers(1, 9),
    act_format=st.sampled_from(ACT_FORMATS),
    weight_format=st.sampled_from(WEIGHT_FORMATS),
    acc_bits=st.just(40),
    dataflow=st.just("output_stationary"),
    act_memory=MEMORIES,
    weight_memory=MEMORIES,
    acc_memory=MEMORIES,
)
BUSES = st.fixed_dictionaries(
    {
        "data_bits": st.sampled_from([32, 64, 128, 256, 512, 1024]),
        "address_bits": st.sampled_from([32, 64]),
        "burst_beats": st.integers(1, 256),
    }
)


def attempt(make, *args, **fields):
    try:
        return make(*args, **fields), ""
    except InvalidValueError as error:
        return None, str(error)


@settings(max_examples=300)
@given(machine=st.one_of(SIMD, SHIFT), bus=BUSES)
def test_both_derive_the_same_sizes_and_refuse_the_same_machines(machine, bus):
    unit, complaint = attempt(Coprocessor, machine=machine, **bus)
    geometry, other = attempt(Geometry, machine=machine, **bus)
    assert complaint == other
    if unit is None:
        return
    names = ("fp4_e2m1",) * 2 if isinstance(machine, SimdEngine) else (machine.act_format, machine.weight_format)
    found = unit.containers(*names)
    assert unit.chunk_steps(found) == geometry.chunk_steps >= 1
    assert (found.act_step_bits, found.weight_step_bits) == (geometry.act_step_bits, geometry.weight_step_bits)
    assert unit.record_bytes == geometry.record_words * geometry.bus_bytes
    assert unit.result_rows == geometry.result_rows
    assert unit.data_bytes == geometry.bus_bytes


def test_a_scratchpad_that_is_too_small():
    machine = SimdEngine(rows=3, cols=2, act_memory=Memory(size_bytes=47))
    text = "`act_memory` must have at least 48 bytes for 3 vectors of a bus of 64 bits, got 47"
    with pytest.raises(InvalidValueError, match=rf"\A{re.escape(text)}\Z"):
        Coprocessor(machine=machine)
    Coprocessor(machine=machine.replace(act_memory=Memory(size_bytes=48)))
    text = "`result_memory` must have at least 4 bytes, got 3"
    with pytest.raises(InvalidValueError, match=rf"\A{re.escape(text)}\Z"):
        Coprocessor(machine=SimdEngine(rows=3, cols=2, result_memory=Memory(size_bytes=3)))


def test_every_register_that_describes_a_job_is_written():
    unit = UNITS["SIMD 2x2"]
    formats = {"act_format": "posit8_0", "weight_format": "fp4_e2m1", "out_format": "posit16_1"}
    job = MatmulJob(m=1, k=2, n=3, shift=-1, relu=True, order="nm", **formats).placed(unit, base=0x123456780)
    written = dict(register_writes(job, unit))
    locked = {entry.offset: entry.name for entry in REGISTERS if entry.locked}
    assert set(written) == set(locked)
    values = {name: written[offset] for offset, name in locked.items()}
    assert values["MODE"] == 2 | 0 << 4 | 3 << 8 | 1 << 12 | 1 << 13 | 2 << 16
    assert (values["SHIFT"], values["ORDER"]) == (127, 1)
    assert (values["M"], values["K"], values["N"]) == (1, 2, 3)
    assert (values["A_BASE_LOW"], values["A_BASE_HIGH"]) == (0x23456780, 1)
    assert (values["A_STRIDE"], values["W_STRIDE"], values["C_STRIDE"]) == (8, 8, 8)
