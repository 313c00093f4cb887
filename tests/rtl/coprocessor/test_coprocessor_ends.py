"""How jobs end that are not completed: refused, met by an error of the bus, aborted, reset; and what follows."""

import numpy as np
import pytest


def run(system, job):
    async def once(system):
        return await system.job(job)

    return system.run(once)


ERRORS = {
    "an operand": ({"bad_reads": range(0x1000, 0x1010)}, "read_error"),
    "a weight": ({"bad_reads": range(0x5028, 0x5030)}, "read_error"),
    "a parameter": ({"bad_reads": range(0xD018, 0xD020)}, "read_error"),
    "the first result": ({"bad_writes": range(0x9000, 0x9008)}, "write_error"),
    "the last result": ({"bad_writes": range(0x9040, 0x9048)}, "write_error"),
}


@pytest.mark.parametrize("stall", [0.0, 0.5])
@pytest.mark.parametrize("where", ERRORS)
def test_an_error_of_the_bus_ends_the_job_and_the_next_one_is_right(bench, system, where, stall):
    settings, bit = ERRORS[where]
    one = system(memory=bench.Memory(stall=stall, **settings))
    job, right = bench.shift_job(5, 70, 5)

    async def both(system):
        status = await system.job(job)
        assert not (system.memory.read_queue or system.memory.write_queue or system.memory.answers)
        assert system.memory.r is None and system.memory.b is None
        system.memory.bad_reads = system.memory.bad_writes = range(0)
        system.memory.touched[:] = False
        return status, await system.job(job)

    assert one.run(both) == ({bit}, {"done"})
    np.testing.assert_array_equal(job.result(one.memory), right)


def test_memory_that_is_not_there(bench, system):
    one = system()
    job, _ = bench.shift_job(5, 70, 5)

    async def check(system):
        job.fill(system.memory, system.dut.geometry)
        for name, end in (("a_base", "read_error"), ("w_base", "read_error"), ("c_base", "write_error")):
            kept = getattr(job, name)
            setattr(job, name, 0xFFFF_FFF8)  # wraps in the middle of the matrix
            await system.begin(job)
            await system.finish()
            assert await system.status() == {end}
            setattr(job, name, kept)

    one.run(check)


@pytest.mark.parametrize("stall", [0.0, 0.5])
def test_abort_in_any_cycle_completes_transfers_and_leaves_no_trace(bench, system, stall):
    job, right = bench.shift_job(3, 6, 3)
    one = system(memory=bench.Memory(stall=stall))

    async def check(system):
        endings = set()
        job.fill(system.memory, system.dut.geometry)
        await system.begin(job, start=False)
        for wait in range(0, 100 if stall == 0 else 250, 2 if stall == 0 else 5):
            await system.write("CONTROL", start=1, irq_done=1, irq_error=1)
            for _ in range(wait):
                await system.cycle()
            await system.write("CONTROL", abort=1, irq_done=1, irq_error=1)
            await system.finish(400)
            memory = system.memory
            assert not (memory.read_queue or memory.write_queue or memory.word_queue or memory.answers)
            status = await system.status()
            assert status in ({"aborted"}, {"done"})
            endings |= status
        memory.touched[:] = False
        assert await system.job(job) == {"done"}
        return endings

    assert one.run(check) == {"aborted", "done"}
    np.testing.assert_array_equal(job.result(one.memory), right)


def test_abort_right_after_start(bench, system):
    """The abort acts in the cycle in which the job is checked, before anything is read."""
    job, right = bench.shift_job(3, 6, 3)
    one = system()

    async def check(system):
        job.fill(system.memory, system.dut.geometry)
        await system.begin(job, start=False)
        system.set("s_axil_awaddr", 0x20)
        for name in ("awvalid", "wvalid", "bready"):
            system.set(f"s_axil_{name}", 1)
        for value in (0b01, 0b10):
            system.set("s_axil_wdata", 0x300 | value)
            await system.cycle()
        for name in ("awvalid", "wvalid"):
            system.set(f"s_axil_{name}", 0)
        await system.finish(50)
        assert await system.status() == {"aborted"}
        assert system.memory.reads == []
        return await system.job(job)

    assert one.run(check) == {"done"}
    np.testing.assert_array_equal(job.result(one.memory), right)


def test_start_while_busy_and_abort_while_idle_do_nothing(bench, system):
    job, right = bench.shift_job(3, 70, 5)
    one = system()

    async def check(system):
        await system.write("CONTROL", abort=1)
        assert await system.status() == set()
        job.fill(system.memory, system.dut.geometry)
        await system.begin(job)
        await system.write("CONTROL", start=1, irq_done=1)
        assert await system.status() == {"busy"}
        await system.finish()
        assert await system.status() == {"done"}
        for _ in range(50):
            await system.cycle()
        return await system.status()

    assert one.run(check) == {"done"}
    np.testing.assert_array_equal(job.result(one.memory), right)


def test_reset_in_any_part_of_a_job(bench, system):
    job, right = bench.shift_job(3, 70, 5)
    one = system()

    async def check(system):
        for wait in (1, 9, 20, 33, 60, 85):
            job.fill(system.memory, system.dut.geometry)
            await system.begin(job)
            for _ in range(wait):
                await system.cycle()
            system.context.set(system.domain.rst, 1)
            await system.context.tick()
            system.context.set(system.domain.rst, 0)
            system.memory.reset()  # a reset is one of the whole bus
            assert await system.status() == set()
            assert await system.read("MODE") == 0
            for _ in range(30):
                seen = await system.cycle()
                assert not any(seen.values())
        system.memory.touched[:] = False
        return await system.job(job)

    assert one.run(check) == {"done"}
    np.testing.assert_array_equal(job.result(one.memory), right)


@pytest.mark.parametrize("name", ["a_base", "w_base", "c_base", "p_base", "a_stride", "w_stride", "c_stride"])
def test_misaligned_jobs_touch_nothing(bench, system, name):
    job, _ = bench.shift_job(2, 3, 2)
    setattr(job, name, getattr(job, name) + 4)
    one = system()

    async def check(system):
        await system.begin(job)
        await system.finish()
        return await system.status(), await system.counter("BUSY")

    assert one.run(check) == ({"misaligned"}, 1)
    assert one.memory.reads == one.memory.writes == []


@pytest.mark.parametrize("name", ["m", "k", "n"])
def test_empty_jobs_are_refused(bench, system, name):
    job, _ = bench.shift_job(2, 3, 2)
    setattr(job, name, 0)
    one = system()

    async def check(system):
        await system.begin(job)
        await system.finish()
        return await system.status()

    assert one.run(check) == {"bad_size"}
    assert one.memory.reads == one.memory.writes == []
