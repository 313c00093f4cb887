"""The co-processor around the shift array, on Amaranth's simulator, against integer arithmetic."""

import numpy as np
import pytest

from tetrit.hardware import Memory, ShiftArray

MEMORY = Memory(size_bytes=256)
MACHINE = ShiftArray(
    rows=2, cols=2, dataflow="output_stationary", act_memory=MEMORY, weight_memory=MEMORY, acc_memory=MEMORY
)
NARROW = MACHINE.replace(
    rows=3,
    act_memory=MEMORY.replace(width_bits=8),
    weight_memory=MEMORY.replace(width_bits=3),
    acc_memory=MEMORY.replace(width_bits=20),
)


def make(bench, rng, machine, m, k, n, **settings):
    """A random job, and its result."""
    act, weight = machine.activations, machine.weights
    a = rng.integers(0, 1 << act.bits, (m, k))
    w = rng.choice(np.flatnonzero(np.isfinite(weight.values)), (k, n))
    bias = rng.integers(-2000, 2000, n)
    multiplier = rng.integers(1, 1 << machine.multiplier_bits, n)
    shift = rng.integers(8, 24, n)
    records = [
        int(b) & (1 << 64) - 1 | int(x) << 64 | int(s) << 96 for b, x, s in zip(bias, multiplier, shift, strict=True)
    ]
    settings = {"out_bits": 8} | settings
    job = bench.Job(
        a,
        w,
        act_bits=1 << (act.bits - 1).bit_length(),
        weight_bits=1 << (weight.bits - 1).bit_length(),
        records=records,
        **settings,
    )
    values = (weight.decode(w) * 2.0**-weight.lsb_exponent).astype(np.int64)
    acc = act.decode(a).astype(np.int64) @ values + bias
    low, high = (0 if job.relu else -(1 << act.bits - 1)), (1 << act.bits - 1) - 1
    return job, np.clip(acc * multiplier + (1 << shift - 1) >> shift, low, high) & (1 << act.bits) - 1


@pytest.mark.parametrize("stall", [0.0, 0.4])
@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize("machine", [MACHINE, NARROW], ids=["wide", "narrow"])
def test_ragged_jobs_are_exact(bench, machine, order, stall):
    rng = np.random.default_rng(1)
    system = bench.System(bench.MatmulCoprocessor(machine), bench.Memory(stall=stall))

    async def run(system):
        found = []
        for m, k, n, relu in [(5, 70, 3, 0), (1, 1, 1, 1), (2, 32, 2, 1), (7, 5, 9, 0)]:
            job, right = make(bench, rng, machine, m, k, n, relu=relu, n_outer=order)
            system.memory.touched[:] = False
            status = await system.job(job)
            found.append((status, job.result(system.memory), right))
        return found

    for status, found, right in system.run(run):
        assert status == {"done"}
        np.testing.assert_array_equal(found, right)


@pytest.mark.parametrize(
    ("act", "weight", "settings"),
    [
        ("int4", "pot4z", {"data_bits": 32, "burst_beats": 1}),
        ("int16", "pot3", {"data_bits": 128, "burst_beats": 5, "out_bits": 16}),
        ("int6", "int2_symmetric", {"data_bits": 64, "address_bits": 64, "out_bits": 16}),
    ],
)
def test_other_formats_and_buses(bench, act, weight, settings):
    rng = np.random.default_rng(2)
    machine = MACHINE.replace(act_format=act, weight_format=weight, acc_bits=40)
    out_bits = settings.pop("out_bits", 8)
    system = bench.System(bench.MatmulCoprocessor(machine, **settings), bench.Memory(stall=0.2))
    job, right = make(bench, rng, machine, 5, 77, 5, out_bits=out_bits)

    async def run(system):
        return await system.job(job)

    assert system.run(run) == {"done"}
    np.testing.assert_array_equal(job.result(system.memory), right)


def test_what_a_job_may_not_ask_for(bench):
    machine = MACHINE.replace(acc_bits=10)
    system = bench.System(bench.MatmulCoprocessor(machine), bench.Memory())
    job, _ = make(bench, np.random.default_rng(3), machine, 2, 3, 2)

    async def check(system):
        for change in ({"params": 0}, {"act_format": 1}, {"out_format": 2}, {"container": 0}, {"container": 3}):
            kept = dict(job.mode)
            job.mode.update(change)
            assert await system.job(job) == {"bad_format"}
            job.mode = kept
        assert await system.job(job) == {"done"}
        job.k = 4  # times 128: the accumulator ends at 511
        assert await system.job(job) == {"too_many_terms"}

    system.run(check)
