"""Jobs of the co-processor: bytes in memory, results against rational arithmetic, and every refusal."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tetrit import formats
from tetrit.errors import InvalidValueError, UnknownNameError
from tetrit.hardware import ShiftArray, SimdEngine
from tetrit.hardware.simd_engine import SIMD_FORMATS
from tetrit.sim.coprocessor import Coprocessor, MatmulJob, execute, load, result
from tetrit.sim.simd import reference

SIMD = Coprocessor(machine=SimdEngine(rows=2, cols=2))
SHIFT = Coprocessor(machine=ShiftArray(rows=2, cols=2, dataflow="output_stationary"))
POSIT8 = {"act_format": "posit8_0", "weight_format": "posit8_0", "out_format": "posit8_0"}
INT8 = {"act_format": "int8", "weight_format": "szt", "out_format": "int8"}


def job_of(unit=SIMD, **fields):
    formats_of = POSIT8 if isinstance(unit.machine, SimdEngine) else INT8
    return MatmulJob(**({"m": 3, "k": 5, "n": 4} | formats_of | fields)).placed(unit)


def refused(text, error=InvalidValueError):
    return pytest.raises(error, match=rf"\A{re.escape(text)}\Z")


def codes(rng, name, shape, *, nar=False):
    values = formats.get(name).values
    return rng.choice(np.flatnonzero(~np.isnan(values) | nar), shape)


@given(
    seed=st.integers(0, 2**32 - 1),
    pair=st.tuples(st.sampled_from(SIMD_FORMATS), st.sampled_from(SIMD_FORMATS)),
    out_format=st.sampled_from(SIMD_FORMATS),
    sizes=st.tuples(st.integers(1, 4), st.integers(1, 9), st.integers(1, 5)),
    relu=st.booleans(),
    shift=st.integers(-12, 12),
    order=st.sampled_from(["mn", "nm"]),
    biased=st.booleans(),
    unit=st.sampled_from([SIMD, SIMD.replace(data_bits=512)]),
)
def test_what_a_job_makes_of_memory_is_what_rational_arithmetic_says(
    seed, pair, out_format, sizes, relu, shift, order, biased, unit
):
    rng = np.random.default_rng(seed)
    m, k, n = sizes
    job = MatmulJob(
        m=m,
        k=k,
        n=n,
        act_format=pair[0],
        weight_format=pair[1],
        out_format=out_format,
        relu=relu,
        shift=shift,
        order=order,
        parameters=biased,
    ).placed(unit, base=24)
    job = job.replace(a_stride=job.a_stride + unit.data_bytes, a_base=job.c_base + 16 * job.c_stride)
    job.check(unit, 16384)
    memory = rng.integers(0, 256, 16384, dtype=np.uint8)
    a, w = codes(rng, pair[0], (m, k), nar=True), codes(rng, pair[1], (k, n), nar=True)
    bias = rng.integers(-(1 << 20), 1 << 20, n) if biased else None
    load(memory, job, unit, a=a, w=w, bias=bias)
    before = memory.copy()
    outcome = execute(memory, job, unit)
    np.testing.assert_array_equal(memory, before)
    expected = reference.quire_matmul(
        a.tolist(), w.tolist(), *pair, out_format, bias=None if bias is None else bias.tolist(), relu=relu, shift=shift
    )
    wanted = np.array([[15 if code is None else code for code in row] for row in expected])
    np.testing.assert_array_equal(outcome.codes, wanted)
    np.testing.assert_array_equal(result(outcome.memory, job), wanted)
    assert outcome.nar == any(code is None for row in expected for code in row)
    touched = np.zeros(16384, dtype=bool)
    for row in range(m):
        touched[job.c_base + row * job.c_stride :][: -(-n * job.code_bits // 8)] = True
    np.testing.assert_array_equal(outcome.memory[~touched], before[~touched])


def test_rows_lie_as_the_layout_says():
    job = MatmulJob(
        m=2, k=3, n=1, act_format="fp4_e2m1", weight_format="fp4_e2m1", out_format="fp4_e2m1", result_bits=8
    ).placed(SIMD)
    memory = np.zeros(64, dtype=np.uint8)
    load(memory, job, SIMD, a=[[1, 2, 3], [4, 5, 6]], w=[[7], [8], [9]], bias=[-2])
    assert (job.a_base, job.a_stride, job.w_base, job.p_base, job.c_base) == (0, 8, 16, 24, 40)
    assert memory[[0, 1, 8, 9, 16, 17]].tolist() == [0x21, 0x03, 0x54, 0x06, 0x87, 0x09]
    assert int.from_bytes(memory[24:40].tobytes(), "little", signed=True) == -2


def test_the_narrower_format_of_a_pair_lies_in_the_low_bits_of_its_container():
    job = MatmulJob(m=1, k=2, n=1, act_format="posit16_1", weight_format="fp4_e2m1", out_format="posit16_1")
    job = job.placed(SIMD)
    memory = np.zeros(64, dtype=np.uint8)
    load(memory, job, SIMD, a=[[0x4000, 0x1234]], w=[[2], [15]])
    assert memory[:4].tolist() == [0x00, 0x40, 0x34, 0x12]
    assert memory[job.w_base :][:4].tolist() == [2, 0, 15, 0]
    memory[job.w_base + 1] = 0xA0  # what lies in a container beside the code means nothing
    assert execute(memory, job, SIMD).codes[0, 0] == execute(memory & 0xFF, job, SIMD).codes[0, 0]


@given(seed=st.integers(0, 2**32 - 1), relu=st.booleans(), weights=st.sampled_from(["szt", "pot3", "posit4_1"]))
def test_a_shift_arrays_job_is_its_engine_and_its_requantiser(seed, relu, weights):
    rng = np.random.default_rng(seed)
    machine = SHIFT.machine.replace(weight_format=weights, acc_bits=30)
    unit = SHIFT.replace(machine=machine)
    job = job_of(unit, weight_format=weights, relu=relu)
    job.check(unit, 4096)
    memory = rng.integers(0, 256, 4096, dtype=np.uint8)
    x, w = rng.integers(-128, 128, (3, 5)), codes(rng, weights, (5, 4))
    bias, multiplier = rng.integers(-4000, 4000, 4), rng.integers(1 << 14, 1 << 16, 4)
    shift = rng.integers(16, 24, 4)
    load(memory, job, unit, a=x, w=w, bias=bias, multiplier=multiplier, shift=shift)
    outcome = execute(memory, job, unit)
    for i in range(3):
        for j in range(4):
            total = int(bias[j]) + sum(int(x[i, k]) * int(machine.weights.integers[w[k, j]]) for k in range(5))
            scaled = (total * int(multiplier[j]) + (1 << (int(shift[j]) - 1))) >> int(shift[j])
            assert outcome.codes[i, j] == min(max(scaled, 0 if relu else -128), 127) % 256
    assert not outcome.nar


def test_containers():
    assert SIMD.containers("posit4_1", "posit16_1").act_bits == 16
    assert SIMD.containers("posit4_1", "fp4_e2m1").weight_bits == 4
    assert SHIFT.containers("int8", "szt").weight_bits == 2
    with refused("`machine` must be output stationary, got a ShiftArray that is weight_stationary"):
        Coprocessor(machine=ShiftArray(rows=1, cols=1))
    with pytest.raises(TypeError, match=r"\A`machine` must be a SimdEngine or a ShiftArray, got 3\Z"):
        Coprocessor(machine=3)


@pytest.mark.parametrize("name", ["a_base", "a_stride", "w_base", "w_stride", "c_base", "c_stride", "p_base"])
def test_buffers_must_be_aligned(name):
    job = job_of()
    moved = job.replace(**{name: getattr(job, name) + 4})
    with refused(f"`{name}` must be a multiple of the bus's 8 bytes, got {getattr(moved, name)}"):
        moved.check(SIMD)
    moved.replace(c_base=1024, c_stride=16).check(SIMD.replace(data_bits=32))


@pytest.mark.parametrize("name", ["m", "k", "n"])
def test_sizes_must_be_positive(name):
    with refused(f"`{name}` must be an integer from 1 to 4294967295, got 0"):
        job_of(**{name: 0})


def test_formats_that_the_machine_lacks():
    small = Coprocessor(machine=SIMD.machine.replace(formats=("fp4_e2m1", "posit8_0")))
    with refused("`act_format` must be one of fp4_e2m1, posit8_0, got 'posit4_1'"):
        job_of(act_format="posit4_1").check(small)
    with refused("unknown out_format 'posit16_1'; did you mean 'posit8_0'?", UnknownNameError):
        job_of(out_format="posit16_1").check(small)
    with pytest.raises(UnknownNameError, match=r"\Aunknown weight_format 'pot2'"):
        job_of(SHIFT, weight_format="pot2").check(SHIFT)


def test_too_many_terms_are_refused_with_the_bound():
    small = Coprocessor(machine=SIMD.machine.replace(formats=("posit8_0",), quire_bits=64))
    bound = small.machine.mode("posit8_0", "posit8_0").max_terms
    job_of(small, k=2 * bound).check(small)
    text = (
        f"sums of {2 * bound + 1} products put {bound + 1} into a quire of 32 bits (2 a word), "
        f"which holds any {bound} of posit8_0 x posit8_0"
    )
    with refused(text):
        job_of(small, k=2 * bound + 1).check(small)


def test_jobs_beyond_memory():
    job = job_of()
    end = job.c_base + 2 * job.c_stride + 4
    job.check(SIMD, job.c_base + 3 * job.c_stride)
    text = f"`c_base`: the buffer ends at {end}, the memory of {end} bytes before it"
    with refused(text):
        job.check(SIMD, end)  # a whole beat is fetched or written where a part is needed
    far = job.replace(a_base=(1 << 32) - 16)
    with pytest.raises(InvalidValueError, match=r"\A`a_base`: the buffer ends at \d+, the memory of 4294967296 bytes"):
        far.check(SIMD)
    far.check(SIMD.replace(address_bits=64))


@pytest.mark.parametrize("name", ["a", "w", "p"])
def test_results_must_not_overwrite_operands(name):
    job = job_of()
    moved = job.replace(c_base=getattr(job, f"{name}_base"))
    with pytest.raises(
        InvalidValueError, match=rf"\A`c_base`: results in \d+..\d+ overlap the buffer of `{name}_base`"
    ):
        moved.check(SIMD)


def test_rows_of_results_must_not_overlap():
    with refused("`c_stride` must be at least a row's 10 bytes, got 8"):
        job_of(n=10).replace(c_stride=8).check(SIMD)
    job_of(n=10, m=1).replace(c_stride=8).check(SIMD)


def test_other_fields():
    with refused("`result_bits` must be 4, 8 or 16, got 5"):
        job_of(result_bits=5)
    with refused("`result_bits` must be at least 8 for posit8_0, got 4"):
        job_of(result_bits=4)
    with refused("`shift` must be an integer from -64 to 63, got 64"):
        job_of(shift=64)
    with pytest.raises(TypeError, match=r"\A`relu` must be true or false, got 1\Z"):
        job_of(relu=1)
    with refused("unknown order 'km'; did you mean 'nm'?", UnknownNameError):
        job_of(order="km")
    with refused("`shift` must be 0 on a ShiftArray, whose parameters scale, got 1"):
        job_of(SHIFT, shift=1).check(SHIFT)
    with refused("`parameters` must be true on a ShiftArray, got False"):
        job_of(SHIFT, parameters=False).check(SHIFT)
    with refused("`data_bits` must be one of 32, 64, 128, 256, 512, 1024, got 48"):
        SIMD.replace(data_bits=48)
    with refused("`address_bits` must be 32 or 64, got 40"):
        SIMD.replace(address_bits=40)


def test_operands_that_do_not_fit():
    job, memory = job_of(), np.zeros(4096, dtype=np.uint8)
    a, w = np.zeros((3, 5), dtype=int), np.zeros((5, 4), dtype=int)
    with refused("`a` must have shape (3, 5), got (5, 3)"):
        load(memory, job, SIMD, a=a.T, w=w)
    with refused("`w` must have shape (5, 4), got (4, 5)"):
        load(memory, job, SIMD, a=a, w=w.T)
    with refused("`a` must fit in containers of 8 bits, got 0..256"):
        load(memory, job, SIMD, a=a + 256 * (np.arange(5) == 2), w=w)
    with refused("`bias` must have shape (4,), got (3,)"):
        load(memory, job, SIMD, a=a, w=w, bias=[1, 2, 3])
    with refused(f"parameters must fit in 128 bits, got {1 << 127}"):
        load(memory, job, SIMD, a=a, w=w, bias=[1, 2, 1 << 127, 4])
    with refused("`bias` must be left out of a job without parameters"):
        load(memory, job.replace(parameters=False), SIMD, a=a, w=w, bias=[1, 2, 3, 4])
    with pytest.raises(TypeError, match=r"\A`a` must be integers, got float64\Z"):
        load(memory, job, SIMD, a=a + 0.5, w=w)
