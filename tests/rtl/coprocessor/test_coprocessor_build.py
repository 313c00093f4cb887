# amaranth: UnusedElaboratable=no
"""What co-processors can be built, and that what is built wrongly is found out."""

import re

import numpy as np
import pytest
from click.testing import CliRunner

from tetrit import hardware, rtl
from tetrit.cli import cli
from tetrit.hardware import Memory, SimdEngine
from tetrit.rtl.coprocessor import MatmulCoprocessor, bursts, fetcher, writer
from tetrit.rtl.coprocessor.geometry import Geometry


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"data_bits": 48}, "`data_bits` must be one of 32, 64, 128, 256, 512, 1024, got 48"),
        ({"address_bits": 40}, "`address_bits` must be one of 32, 64, got 40"),
        ({"burst_beats": 0}, "`burst_beats` must be an integer from 1 to 256, got 0"),
        ({"burst_beats": 257}, "`burst_beats` must be an integer from 1 to 256, got 257"),
    ],
)
def test_buses_that_there_are_not(bench, settings, message):
    with pytest.raises(ValueError, match=rf"^{re.escape(message)}$"):
        MatmulCoprocessor(bench.SHIFT, **settings)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dataflow": "weight_stationary"}, "`machine` must be output stationary, got 'weight_stationary'"),
        (
            {"weight_memory": Memory(size_bytes=31)},
            "`weight_memory` must have at least 32 bytes for 2 vectors of a bus of 64 bits, got 31",
        ),
        (  # a bus word of weights is 32 steps, so that of activations must be four words
            {"act_memory": Memory(size_bytes=127)},
            "`act_memory` must have at least 128 bytes for 2 vectors of a bus of 64 bits, got 127",
        ),
        ({"acc_memory": Memory(size_bytes=3)}, "`acc_memory` must have at least 4 bytes, got 3"),
    ],
)
def test_machines_that_do_not_fit(bench, changes, message):
    with pytest.raises(ValueError, match=rf"^{re.escape(message)}$"):
        MatmulCoprocessor(bench.SHIFT.replace(**changes))


def test_wrong_kinds(bench):
    with pytest.raises(TypeError, match=r"^`machine` must be a SimdEngine or a ShiftArray, got 'simd_8x8'$"):
        MatmulCoprocessor("simd_8x8")
    with pytest.raises(TypeError, match=r"^`data_bits` must be an integer, got 64\.0$"):
        MatmulCoprocessor(bench.SHIFT, data_bits=64.0)


@pytest.mark.parametrize("data_bits", [32, 64, 128, 1024])
def test_scratchpads_hold_two_chunks_of_both_operands(data_bits):
    for size in (1000, 4096, 9999):
        machine = SimdEngine(
            rows=3, cols=5, act_memory=Memory(size_bytes=size), weight_memory=Memory(size_bytes=size * 2)
        )
        try:
            found = Geometry(machine=machine, data_bits=data_bits)
        except ValueError:
            assert size < 2 * 3 * data_bits // 8 or 2 * size < 2 * 5 * data_bits // 8
            continue
        acts, weights = found.act_half_words, found.weight_half_words
        assert 2 * 3 * acts * data_bits // 8 <= size < 2 * 2 * 3 * acts * data_bits // 8
        assert 2 * 5 * weights * data_bits // 8 <= 2 * size < 2 * 2 * 5 * weights * data_bits // 8
        assert found.chunk_steps == min(acts, weights) * data_bits // 16


def test_the_verilog_has_the_ports_of_axi(bench):
    component = rtl.build("coprocessor", bench.SHIFT)
    text = rtl.to_verilog(component, "coprocessor")
    ports = re.search(r"^module coprocessor\((.*?)\);", text, re.M | re.S)[1]
    ports = [port.strip() for port in ports.split(",")]
    assert ports == [*component.signature.members, "clk", "rst"]
    assert {"s_axil_awaddr", "s_axil_rready", "m_axi_awid", "m_axi_wstrb", "m_axi_rlast", "irq"} <= set(ports)
    assert re.search(r"^  output \[31:0\] m_axi_araddr;$", text, re.M)
    assert text == rtl.to_verilog(MatmulCoprocessor(bench.SHIFT), "coprocessor")


def test_components_know_their_machines(bench):
    assert rtl.default_machine("coprocessor") == rtl.default_machine("SimdArray") == "simd_8x8"
    assert rtl.default_machine("ShiftPEArray") == "shift_16x16"
    message = r"^`machine` must be a SIMD engine for SimdMac, got a ShiftArray$"
    with pytest.raises(ValueError, match=message):
        rtl.build("SimdMac", bench.SHIFT)
    with pytest.raises(ValueError, match=r"^unknown component 'coproc'; did you mean 'coprocessor'\?$"):
        rtl.build("coproc", bench.SHIFT)


def without_borders(monkeypatch):
    monkeypatch.setattr(bursts, "PAGE_BYTES", 8192)


def all_bytes(monkeypatch):
    kept = writer.Writer._masked
    monkeypatch.setattr(writer.Writer, "_masked", lambda self, m, walker: (kept(self, m, walker)[0], ~0 & 0xF))


def one_row_per_tile(monkeypatch):
    kept = fetcher.Fetcher._product
    monkeypatch.setattr(
        fetcher.Fetcher, "_product", lambda self, m, name, stride, count: kept(self, m, name, stride, 1)
    )


@pytest.mark.parametrize("broken", [without_borders, all_bytes, one_row_per_tile])
def test_a_broken_variant_is_found_out(bench, system, monkeypatch, broken):
    def run():
        one = system()
        job, right = bench.shift_job(3, 70, 5, a_base=0x2FE8)

        async def once(system):
            return await system.job(job)

        assert one.run(once) == {"done"}
        np.testing.assert_array_equal(job.result(one.memory), right)

    run()
    broken(monkeypatch)
    with pytest.raises(AssertionError, match=r"border|beyond C|not equal"):
        run()


def test_the_command_writes_verilog_and_header(bench, tmp_path):
    machine, verilog, header = (tmp_path / name for name in ("machine.toml", "out.v", "out.h"))
    machine.write_text(hardware.to_toml(bench.SHIFT))
    files = ["--machine", str(machine), "-o", str(verilog), "--header", str(header)]
    done = CliRunner().invoke(cli, ["rtl", "coprocessor", *files])
    assert (done.exit_code, done.output) == (0, "")
    assert verilog.read_text() == rtl.to_verilog(MatmulCoprocessor(bench.SHIFT), "coprocessor")
    assert header.read_text() == rtl.coprocessor.header()
    header.unlink()
    done = CliRunner().invoke(cli, ["rtl", "SZTDecoder", "--header", str(header)])
    assert done.exit_code == 2
    assert "Error: --header is for the co-processor only" in done.output
    assert not header.exists()
