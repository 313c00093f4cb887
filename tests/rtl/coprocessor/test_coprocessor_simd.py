"""The co-processor around the SIMD array, on Amaranth's simulator, against the exact golden product."""

import numpy as np
import pytest
from amaranth.hdl import Const

from tetrit import formats
from tetrit.hardware import Memory, SimdEngine
from tetrit.rtl.coprocessor.datapaths import SimdPath
from tetrit.sim.simd import quire_matmul

MEMORY = Memory(size_bytes=64)
MACHINE = SimdEngine(
    rows=1,
    cols=2,
    formats=("fp4_e2m1", "posit8_0"),
    quire_bits=96,
    act_memory=MEMORY,
    weight_memory=MEMORY.replace(size_bytes=128),
    result_memory=MEMORY,
)
NAR = {"fp4_e2m1": None, "posit8_0": 0x80}


def product(job, act, weight, out, bias=None, *, relu=0, shift=0):
    """Exact reference by integers: rational sums, rounded once by the format's own rule."""
    a, w = formats.get(act), formats.get(weight)
    unit = a.lsb_exponent + w.lsb_exponent
    av = np.vectorize(int, otypes=[object])(a.decode(job.a) * 2.0**-a.lsb_exponent)
    wv = np.vectorize(int, otypes=[object])(w.decode(job.w) * 2.0**-w.lsb_exponent)
    total = av @ wv + (0 if bias is None else np.array(bias, dtype=object))
    if relu:
        total = np.maximum(total, 0)
    return formats.get(out).encode(np.vectorize(float)(total) * 2.0 ** (unit + shift))


def codes(rng, name, shape):
    """Random codes without NaR."""
    found = rng.integers(0, 1 << formats.get(name).bits, shape)
    return np.where(found == NAR[name], 0x40, found)


def make(bench, rng, m, k, n, act="fp4_e2m1", weight="fp4_e2m1", out="fp4_e2m1", **settings):
    bits = max(formats.get(act).bits, formats.get(weight).bits)
    settings = {"out_bits": formats.get(out).bits} | settings
    return bench.Job(
        codes(rng, act, (m, k)),
        codes(rng, weight, (k, n)),
        formats=(bench.codes[act], bench.codes[weight], bench.codes[out]),
        act_bits=bits,
        weight_bits=bits,
        **settings,
    )


def shapes(bench, rng):
    """Jobs of many shapes and pairs of formats, and their results."""
    f, p = "fp4_e2m1", "posit8_0"
    for m, k, n, act, weight, out, order in [
        (2, 21, 3, f, f, f, 0),
        (1, 75, 3, f, f, p, 1),  # several chunks, the last one ragged
        (1, 1, 1, p, p, p, 0),
        (2, 35, 2, p, f, f, 1),
        (1, 18, 5, f, p, p, 0),
    ]:
        shift = -4 if out == f else 0  # else nearly all of them saturate
        job = make(bench, rng, m, k, n, act, weight, out, n_outer=order, pad=8 * (m % 3), shift=shift)
        right = quire_matmul(job.a, job.w, act, weight, out)
        np.testing.assert_array_equal(right, product(job, act, weight, out))
        yield job, product(job, act, weight, out, shift=shift), {"done"}


def scaled(bench, rng):
    """Jobs with biases, ReLU, scales, and containers wider than the codes."""
    f, p = "fp4_e2m1", "posit8_0"
    for act, out, relu, shift, out_bits in [(f, p, 1, -3, 16), (p, p, 0, 5, 8), (f, f, 0, -64, 8), (p, f, 1, -13, 4)]:
        bias = [int(b) for b in rng.integers(-(1 << 14), 1 << 14, 3)]
        records = [b & (1 << MACHINE.quire_bits) - 1 for b in bias]
        job = make(bench, rng, 2, 13, 3, act, act, out, relu=relu, shift=shift, out_bits=out_bits, records=records)
        yield job, product(job, act, act, out, bias, relu=relu, shift=shift), {"done"}


def poisoned(bench, rng):
    """Jobs with a NaR in one row of A, in its last, ragged step; and one without."""
    for out, with_nar in [("fp4_e2m1", True), ("posit8_0", True), ("fp4_e2m1", False)]:
        job = make(bench, rng, 3, 7, 1, "posit8_0", "posit8_0", out)
        right = quire_matmul(job.a, job.w, "posit8_0", "posit8_0", out)
        status = {"done"}
        if with_nar:
            job.a[1, 6] = NAR["posit8_0"]
            right[1] = 0b1111 if out == "fp4_e2m1" else NAR["posit8_0"]
            status |= {"nar"} if out == "fp4_e2m1" else set()
        yield job, right, status


CASES = {"shapes": shapes, "scaled": scaled, "poisoned": poisoned}


@pytest.fixture(scope="module")
def results(bench):
    """Run all jobs on one co-processor, one after another; return STATUS, C, and what they should be, by group."""
    rng = np.random.default_rng(3)
    groups = {name: list(case(bench, rng)) for name, case in CASES.items()}
    system = bench.System(bench.MatmulCoprocessor(MACHINE), bench.Memory(stall=0.2))

    async def all_jobs(system):
        found = {}
        for name, jobs in groups.items():
            found[name] = []
            for job, right, status in jobs:
                system.memory.touched[:] = False
                answer = await system.job(job)
                found[name].append((answer, status, job.result(system.memory), right))
        return found

    return system.run(all_jobs)


@pytest.mark.parametrize("group", CASES)
def test_results_are_exact(results, group):
    for answer, status, codes, right in results[group]:
        assert answer == status
        np.testing.assert_array_equal(codes, right)


def test_what_a_job_may_not_ask_for(bench):
    """Formats that the machine lacks, containers that are too small, more terms than a quire holds."""
    rng = np.random.default_rng(6)
    machine = MACHINE.replace(formats=("fp4_e2m1",), quire_bits=64)
    most = machine.mode("fp4_e2m1", "fp4_e2m1").max_terms * 4
    system = bench.System(bench.MatmulCoprocessor(machine), bench.Memory())
    job = make(bench, rng, 2, 5, 2)

    async def check(system):
        found = []
        for change in (
            {"act_format": 1},
            {"weight_format": 8},
            {"out_format": 3, "container": 2},
            {"container": 3},
        ):
            kept = dict(job.mode)
            job.mode.update(change)
            found.append(await system.job(job))
            found.append(await system.counter("BUSY"))
            job.mode = kept
        assert found == [{"bad_format"}, 1] * 4
        job.k = most + 1
        assert await system.job(job) == {"too_many_terms"}
        job.k = 0
        assert await system.job(job) == {"bad_size"}
        job.k, job.a_base = 5, 0x1004
        job.mode["act_format"] = 2
        assert await system.job(job) == {"misaligned", "bad_format"}
        assert system.memory.reads == system.memory.writes == []
        job.mode["act_format"], job.a_base = 0, 0x1000
        assert await system.job(job) == {"done"}

    system.run(check)
    np.testing.assert_array_equal(job.result(system.memory), quire_matmul(job.a, job.w, *["fp4_e2m1"] * 3))


def test_a_variant_that_adds_what_lies_beyond_the_row_is_found_out(bench, monkeypatch):
    monkeypatch.setattr(SimdPath, "_before", staticmethod(lambda rest, lane, lanes: Const(1, 1)))
    system = bench.System(
        bench.MatmulCoprocessor(MACHINE.replace(formats=("fp4_e2m1",), quire_bits=64)), bench.Memory()
    )
    job = make(bench, np.random.default_rng(7), 2, 5, 2, shift=-4)

    async def run(system):
        return await system.job(job)

    assert system.run(run) == {"done"}
    assert (job.result(system.memory) != product(job, *["fp4_e2m1"] * 3, shift=-4)).any()
