"""The register map: the table is sound, hardware, header and manual follow it."""

import re
import shutil
import subprocess
from itertools import combinations
from pathlib import Path

import pytest

from tetrit.rtl.coprocessor import HEADER_NAME, REGISTERS, header, page, register
from tetrit.rtl.coprocessor.registers import ADDRESS_BITS, ERRORS, Access

OKAY, SLVERR = 0, 2
ROOT = Path(__file__).parents[3]


def test_registers_and_fields_do_not_overlap():
    assert len({entry.name for entry in REGISTERS}) == len(REGISTERS)
    assert [entry.offset for entry in REGISTERS] == sorted({entry.offset for entry in REGISTERS})
    assert all(entry.offset % 4 == 0 and entry.offset < 1 << ADDRESS_BITS for entry in REGISTERS)
    for entry in REGISTERS:
        assert len({field.name for field in entry.fields}) == len(entry.fields)
        assert all(field.low + field.width <= 32 for field in entry.fields)
        assert all(a.mask & b.mask == 0 for a, b in combinations(entry.fields, 2))
        assert all(text.endswith(".") for text in (entry.meaning, *(field.meaning for field in entry.fields)))
    assert set(ERRORS) < {field.name for field in register("STATUS").fields}


def test_the_manual_shows_the_table():
    """If this fails: `python tools/registers.py`."""
    assert (ROOT / "docs" / "reference" / "coprocessor_registers.md").read_text(encoding="utf-8") == page()


def test_the_header_has_every_register_and_field_and_compiles(tmp_path):
    text = header()
    defined = dict(re.findall(r"^#define TETRIT_CP_(\w+) (\w+)u$", text, re.M))
    for entry in REGISTERS:
        assert int(defined[entry.name], 0) == entry.offset
        for field in entry.fields:
            if field.width < 32:
                assert int(defined[f"{entry.name}_{field.name.upper()}_MASK"], 0) == field.mask
                assert int(defined[f"{entry.name}_{field.name.upper()}_SHIFT"], 0) == field.low
    assert int(defined["STATUS_ERRORS"], 0) == 0b1_1111_1100
    assert int(defined["FORMAT_POSIT8_0"], 0) == 2
    (tmp_path / HEADER_NAME).write_text(text)
    (tmp_path / "use.c").write_text(f'#include "{HEADER_NAME}"\n' * 2 + "unsigned offset = TETRIT_CP_CONTROL;\n")
    compiler = shutil.which("cc") or shutil.which("c++")
    assert compiler is not None
    subprocess.run([compiler, "-Wall", "-Werror", "-pedantic", "-fsyntax-only", "use.c"], cwd=tmp_path, check=True)


def test_after_a_reset_the_registers_say_what_was_built_and_nothing_else(system):
    async def read(system):
        return {entry.name: await system.read(entry.name) for entry in REGISTERS}

    one = system(data_bits=128, address_bits=64, burst_beats=256)
    found = one.run(read)
    geometry = one.dut.geometry
    expected = {
        "ID": 0x54455452,
        "VERSION": 1 << 16,
        "ARRAY": 2 | 2 << 16,
        "BUILD": 1 | 4 << 4 | 64 << 8 | 255 << 16 | 1 << 24,
        "RECORD": 16 | 8 << 16 | 2 << 24,
        "CHUNK": geometry.chunk_steps,
    }
    assert geometry.chunk_steps == 64  # 4 words of 16 bytes for each of 2 rows, in both halves of 256 bytes
    assert found == dict.fromkeys(found, 0) | expected


def test_every_field_keeps_what_is_written_and_strobes_choose_bytes(system):
    async def check(system):
        for entry in REGISTERS:
            mask = sum(field.mask for field in entry.accessible(Access.WRITE))
            fixed = sum(field.mask for field in entry.accessible(Access.CONSTANT))
            writable = entry.accessible(Access.WRITE, Access.PULSE, Access.CLEAR)
            before = await system.read(entry.name)
            given = 0xA5C3_9E78 & ~sum(field.mask for field in entry.accessible(Access.PULSE))
            assert await system.store(entry.offset, given) == (OKAY if writable else SLVERR)
            after = await system.read(entry.name)
            assert after & mask == given & mask
            assert after & fixed == before & fixed
            assert await system.store(entry.offset, ~given, strobe=0b0100) == (OKAY if writable else SLVERR)
            byte = 0xFF << 16
            assert await system.read(entry.name) & mask == (given & ~byte | ~given & byte) & mask

    system().run(check)


def test_addresses_without_a_register_are_refused(system):
    known = {entry.offset for entry in REGISTERS}

    async def check(system):
        for offset in range(0, 1 << ADDRESS_BITS, 4):
            expected = OKAY if offset in known else SLVERR
            value, response = await system.load(offset)
            assert response == expected
            assert offset in known or value == 0
            if offset not in known:
                assert await system.store(offset, 0xFFFFFFFF) == SLVERR

    system().run(check)


def test_a_job_locks_its_registers(bench, system):
    job, right = bench.shift_job(5, 70, 5)
    one = system()

    async def check(system):
        job.fill(system.memory, system.dut.geometry)
        await system.begin(job)
        for entry in REGISTERS:
            if entry.locked:
                before = await system.read(entry.name)
                assert await system.store(entry.offset, ~before) == SLVERR
                assert await system.read(entry.name) == before
        assert await system.status() == {"busy"}
        await system.finish()
        assert await system.store(register("M").offset, 3) == OKAY
        return await system.status()

    assert one.run(check) == {"done"}
    assert (job.result(one.memory) == right).all()


@pytest.mark.parametrize(("enables", "lines"), [({}, [0, 0]), ({"irq_done": 1}, [1, 0]), ({"irq_error": 1}, [0, 1])])
def test_the_interrupt_follows_the_enabled_bits_until_they_are_cleared(bench, system, enables, lines):
    job, _ = bench.shift_job(2, 3, 2)
    one = system()

    async def check(system):
        job.fill(system.memory, system.dut.geometry)
        for m, bit, line in zip((2, 0), ("done", "bad_size"), lines, strict=True):
            job.m = m
            await system.begin(job, start=False)
            await system.write("CONTROL", start=1, **enables)
            while await system.read("STATUS", "busy"):
                pass
            assert await system.status() == {bit}
            assert system.get("irq") == line
            await system.store(register("STATUS").offset, 0)
            assert system.get("irq") == line
            await system.write("STATUS", **{bit: 1})
            assert system.get("irq") == 0
            assert await system.status() == set()

    one.run(check)


def test_a_host_that_takes_its_answers_late_loses_none(system):
    async def check(system):
        system.set("s_axil_awaddr", register("M").offset)
        system.set("s_axil_wdata", 77)
        system.set("s_axil_wstrb", 15)
        system.set("s_axil_awvalid", 1)
        await system.cycle()
        assert not system.get("s_axil_awready")  # the data are not there yet
        system.set("s_axil_wvalid", 1)
        await system.cycle()
        system.set("s_axil_wdata", 78)
        for _ in range(5):
            assert system.get("s_axil_bvalid") and not system.get("s_axil_awready")
            await system.cycle()
        system.set("s_axil_bready", 1)
        assert system.get("s_axil_awready")  # the next write is taken as the answer goes
        await system.cycle()
        system.set("s_axil_awvalid", 0)
        system.set("s_axil_wvalid", 0)
        assert system.get("s_axil_bvalid")
        await system.cycle()
        assert not system.get("s_axil_bvalid")
        system.set("s_axil_araddr", register("M").offset)
        system.set("s_axil_arvalid", 1)
        await system.cycle()
        system.set("s_axil_araddr", register("ID").offset)
        for _ in range(5):
            assert system.get("s_axil_rvalid") and system.get("s_axil_rdata") == 78
            assert not system.get("s_axil_arready")
            await system.cycle()
        system.set("s_axil_rready", 1)
        await system.cycle()
        system.set("s_axil_arvalid", 0)
        assert system.get("s_axil_rdata") == 0x54455452

    system().run(check)
