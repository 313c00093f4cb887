"""The co-processor on its bus: bursts, reuse, back-pressure, counters; with a small shift array inside."""

import numpy as np
import pytest

from tetrit.hardware import Memory


def run(system, job):
    async def once(system):
        return await system.job(job)

    return system.run(once)


@pytest.mark.parametrize(
    ("burst_beats", "lengths"), [(1, [1] * 17), (3, [3, 2, 3, 3, 3, 3]), (10, [5, 10, 2]), (256, [5, 12])]
)
def test_bursts_end_at_4_kib_and_at_the_longest_burst(bench, system, burst_beats, lengths):
    machine = bench.SHIFT.replace(act_memory=Memory(size_bytes=1024), weight_memory=Memory(size_bytes=256))
    # rows of 17 words; A and C begin 5 words and W 1 word before a border, rows are 30 words apart
    job, right = bench.shift_job(3, 17 * 8, 18, a_base=0x1FD8, w_base=0x5FF8, c_base=0xAFE8, p_base=0xDFE0)
    job.a_stride = 30 * 8
    one = system(machine=machine, burst_beats=burst_beats)
    assert run(one, job) == {"done"}
    np.testing.assert_array_equal(job.result(one.memory), right)
    row = [count for address, count in one.memory.reads if 0x1FD8 <= address < 0x1FD8 + 17 * 8]
    assert row[: len(lengths)] == lengths
    assert sum(row) == 17


@pytest.mark.parametrize(
    ("shape", "order", "act_tiles", "weight_tiles", "param_tiles"),
    [
        ((6, 64, 10), 0, 3, 15, 15),  # a row of tiles uses its activations again and again
        ((10, 64, 6), 1, 15, 3, 3),
        ((6, 64, 4), 0, 3, 2, 2),  # both halves of the weights stay
        ((4, 200, 4), 0, 4, 4, 2),  # sums over four chunks: nothing but parameters stays
        ((4, 128, 6), 0, 2, 6, 6),  # two chunks of activations stay
    ],
)
def test_what_the_scratchpads_hold_is_not_read_again(bench, system, shape, order, act_tiles, weight_tiles, param_tiles):
    machine = bench.SHIFT.replace(act_memory=Memory(size_bytes=256))
    job, right = bench.shift_job(*shape, n_outer=order)
    one = system(machine=machine)
    steps = one.dut.geometry.chunk_steps
    assert steps == 64
    assert run(one, job) == {"done"}
    np.testing.assert_array_equal(job.result(one.memory), right)

    def fetched(base, end):
        return sum(count for address, count in one.memory.reads if base <= address < end)

    _, k, _ = shape
    per_row = sum(-(-min(steps, k - start) // 8) for start in range(0, k, steps))
    per_output = sum(-(-min(steps, k - start) // 32) for start in range(0, k, steps))
    assert fetched(0x1000, 0x5000) == act_tiles * 2 * per_row
    assert fetched(0x5000, 0x9000) == weight_tiles * 2 * per_output
    assert fetched(0xD000, 0xE000) == param_tiles * 2 * 2


@pytest.mark.parametrize("channel", ["awready", "wready", "arready", "rvalid", "bvalid"])
def test_a_channel_that_stands_still_for_long_holds_the_job_and_nothing_is_lost(bench, system, channel):
    job, right = bench.shift_job(9, 40, 5)
    one = system(machine=bench.SHIFT.replace(acc_memory=Memory(size_bytes=4)))

    class Blocked(bench.System):
        blocked = False

        def drive(self):
            super().drive()
            if self.blocked and channel.endswith("ready"):
                self.set(f"m_axi_{channel}", 0)

    one.__class__ = Blocked

    async def check(system):
        job.fill(system.memory, system.dut.geometry)
        await system.begin(job)
        for _ in range(40):
            await system.cycle()
        steps = []
        system.blocked = True
        latency = system.memory.read_latency, system.memory.write_latency
        if channel.endswith("valid"):
            system.memory.read_latency = system.memory.write_latency = 300
        for _ in range(2):
            for _ in range(150):
                await system.cycle()
            assert await system.status() == {"busy"}
            steps.append(await system.counter("STEPS"))
        assert steps[0] == steps[1], "the array goes on although its operands or its room are used up"
        system.blocked = False
        system.memory.read_latency, system.memory.write_latency = latency
        await system.finish()
        return await system.status()

    assert one.run(check) == {"done"}
    np.testing.assert_array_equal(job.result(one.memory), right)


def test_counters_of_a_job(bench, system):
    job, _ = bench.shift_job(5, 70, 5)
    one = system()

    async def check(system):
        job.fill(system.memory, system.dut.geometry)
        await system.begin(job)
        busy = 0
        # `begin` returned two cycles after the write was taken: one of them was busy
        while not (await system.cycle())["irq"]:
            busy += 1
        counters = {
            name: await system.counter(name)
            for name in ("BUSY", "STALLED", "GATED", "STEPS", "READ_WORDS", "WRITTEN_WORDS")
        }
        return busy, counters

    busy, counters = one.run(check)
    assert counters["STEPS"] == 9 * 70
    assert counters["STALLED"] == counters["BUSY"] - counters["STEPS"]
    assert 0 < counters["GATED"] < counters["STALLED"]
    assert counters["READ_WORDS"] == sum(count for _, count in one.memory.reads)
    assert counters["WRITTEN_WORDS"] == sum(count for _, count in one.memory.writes)
    assert counters["BUSY"] == busy


@pytest.mark.parametrize(("address_bits", "high"), [(32, 0), (64, 0x12_0000_0000)])
def test_the_high_half_of_an_address_counts_where_there_is_one(bench, system, address_bits, high):
    job, _ = bench.shift_job(3, 5, 3)
    job.a_base, job.a_stride = 0x12_0000_1000, 0xFFFF_FFF8
    one = system(address_bits=address_bits)

    async def check(system):
        job.fill = lambda memory, geometry: None
        return await system.job(job)

    status = one.run(check)
    rows = [address for address, _ in one.memory.reads if address != job.p_base]
    second = (high + 0x1000 + 0xFFFF_FFF8) & (1 << address_bits) - 1
    assert rows[:2] == [high + 0x1000, second]
    assert status == ({"read_error"} if high else {"done"})
