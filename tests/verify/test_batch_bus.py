"""The compiled bus partners around a small master in Verilog that copies words: latencies, waits, errors, rules."""

import re

import numpy as np
import pytest

from tetrit.errors import InvalidValueError, ToolError, UnknownNameError
from tetrit.verify import tools
from tetrit.verify.batch import BatchCoprocessor, build_library, coprocessor_source
from tetrit.verify.building import ports

SOURCE, TARGET, ERRORS, DEAF = 0, 4, 8, 12
BEATS = 4

PORTS = {
    "input": {
        "clk": 1, "rst": 1, "s_axil_awaddr": 8, "s_axil_awvalid": 1, "s_axil_wdata": 32, "s_axil_wstrb": 4,
        "s_axil_wvalid": 1, "s_axil_bready": 1, "s_axil_araddr": 8, "s_axil_arvalid": 1, "s_axil_rready": 1,
        "m_axi_arready": 1, "m_axi_rdata": 64, "m_axi_rresp": 2, "m_axi_rlast": 1, "m_axi_rvalid": 1,
        "m_axi_awready": 1, "m_axi_wready": 1, "m_axi_bresp": 2, "m_axi_bvalid": 1,
    },
    "output": {
        "irq": 1, "s_axil_awready": 1, "s_axil_wready": 1, "s_axil_bresp": 2, "s_axil_bvalid": 1, "s_axil_arready": 1,
        "s_axil_rdata": 32, "s_axil_rresp": 2, "s_axil_rvalid": 1, "m_axi_araddr": 32, "m_axi_arlen": 8,
        "m_axi_arsize": 3, "m_axi_arburst": 2, "m_axi_arvalid": 1, "m_axi_rready": 1, "m_axi_awaddr": 32,
        "m_axi_awlen": 8, "m_axi_awsize": 3, "m_axi_awburst": 2, "m_axi_awvalid": 1, "m_axi_wdata": 64,
        "m_axi_wstrb": 8, "m_axi_wlast": 1, "m_axi_wvalid": 1, "m_axi_bready": 1,
    },
}  # fmt: skip

BODY = """
  reg [31:0] source, target, errors;
  reg ar, aw, w, busy, done, answer, told;
  reg [31:0] told_data;
  reg [2:0] read, written;
  reg [63:0] held [0:3];
  assign irq = done;
  assign s_axil_awready = s_axil_awvalid & s_axil_wvalid & ~answer & (s_axil_awaddr != 12);
  assign s_axil_wready = s_axil_awready;
  assign s_axil_bvalid = answer;
  assign s_axil_bresp = 0;
  assign s_axil_arready = ~told;
  assign s_axil_rvalid = told;
  assign s_axil_rdata = told_data;
  assign s_axil_rresp = s_axil_araddr == 16 ? 2 : 0;
  assign m_axi_araddr = source;
  assign m_axi_arlen = 3;
  assign m_axi_arsize = 3;
  assign m_axi_arburst = 1;
  assign m_axi_arvalid = ar;
  assign m_axi_rready = 1;
  assign m_axi_awaddr = target;
  assign m_axi_awlen = 3;
  assign m_axi_awsize = 3;
  assign m_axi_awburst = 1;
  assign m_axi_awvalid = aw;
  assign m_axi_wdata = held[written[1:0]];
  assign m_axi_wstrb = written == 3 ? 8'h0f : 8'hff;
  assign m_axi_wlast = written == 3;
  assign m_axi_wvalid = w;
  assign m_axi_bready = 1;
  always @(posedge clk) begin
    if (s_axil_awready) begin
      answer <= 1;
      if (s_axil_awaddr == 4) target <= s_axil_wdata;
      if (s_axil_awaddr == 0) begin
        source <= s_axil_wdata; ar <= 1; busy <= 1; done <= 0; read <= 0; written <= 0; errors <= 0;
      end
    end else if (s_axil_bready) answer <= 0;
    if (s_axil_arvalid & ~told) begin
      told <= 1;
      told_data <= s_axil_araddr == 8 ? errors : s_axil_araddr == 4 ? target : source;
    end else if (s_axil_rready) told <= 0;
    if (ar & m_axi_arready) ar <= 0;
    if (m_axi_rvalid) begin
      held[read[1:0]] <= m_axi_rdata; read <= read + 1; errors <= errors + (m_axi_rresp != 0);
      if (m_axi_rlast) begin aw <= 1; w <= 1; end
    end
    if (aw & m_axi_awready) aw <= 0;
    if (w & m_axi_wready) begin written <= written + 1; if (written == 3) w <= 0; end
    if (m_axi_bvalid) begin done <= 1; busy <= 0; errors <= errors + (m_axi_bresp != 0); end
    if (rst) begin ar <= 0; aw <= 0; w <= 0; busy <= 0; done <= 0; answer <= 0; told <= 0; end
  end
endmodule
"""


def verilog(*changes):
    lines = [f"module dut({', '.join([*PORTS['input'], *PORTS['output']])});"]
    for direction, named in PORTS.items():
        lines += [f"  {direction} {f'[{bits - 1}:0] ' if bits > 1 else ''}{name};" for name, bits in named.items()]
    text = "\n".join(lines) + BODY
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return text


@pytest.fixture(scope="module")
def build(build_dir):
    def make(*changes):
        text = verilog(*changes)
        driver = coprocessor_source(ports(text, "dut"))
        return build_library(text, "dut", toolchain=tools.find(), directory=build_dir, driver=driver)

    return make


@pytest.fixture(scope="module")
def library(build):
    return build()


def memory(size=8192):
    return np.random.default_rng(1).integers(0, 256, size, dtype=np.uint8)


def copy(design, source, target, limit=1000):
    """Let the master copy; return the cycles from the answer to the write that starts it to the interrupt."""
    assert design.write(TARGET, target)
    assert design.write(SOURCE, source)
    return design.wait(limit)


def copied(before, source, target):
    """What the master leaves: four words, but not the last half of the last."""
    after = before.copy()
    after[target : target + 28] = before[source : source + 28]
    return after


@pytest.mark.parametrize("stall", [0.0, 0.3, 0.8])
def test_what_was_copied_is_there_and_nothing_else(library, stall):
    given = memory()
    with BatchCoprocessor(library, given.copy(), stall=(stall,) * 5, seed=3) as design:
        for source, target in ((64, 4096), (4064, 128), (8160, 0)):
            given = copied(given, source, target)
            copy(design, source, target)
            np.testing.assert_array_equal(design.memory, given)
        assert design.breaches == (0, "")
        assert design.read(ERRORS) == 0


def test_every_cycle_of_latency_counts_once(library):
    def cycles(**latencies):
        with BatchCoprocessor(library, memory(), **latencies) as design:
            return copy(design, 0, 64)

    least = cycles()
    assert [cycles(read_latency=n) - least for n in (2, 9)] == [1, 8]
    assert [cycles(write_latency=n) - least for n in (2, 9)] == [1, 8]


def test_waits_are_drawn_from_the_seed(library):
    def cycles(seed):
        with BatchCoprocessor(library, memory(), stall=(0.5,) * 5, seed=seed) as design:
            return [copy(design, 0, 64) for _ in range(5)]

    assert cycles(1) == cycles(1) != cycles(2)


@pytest.mark.parametrize(
    ("failing", "errors"),
    [((0, 8, "read"), 1), ((8, 24, "read decode"), 2), ((100, 101, "write"), 1), ((64, 4096, "write decode"), 1)],
)
def test_errors_where_they_are_asked_for(library, failing, errors):
    given = memory()
    with BatchCoprocessor(
        library,
        given.copy(),
    ) as design:
        design.fail(*failing)
        copy(design, 0, 96)
        assert design.read(ERRORS) == errors
        changed = np.flatnonzero(design.memory != given)
        assert not np.isin(changed, np.arange(failing[0], failing[1])).any()


def test_beyond_the_memory_is_an_error(library):
    with BatchCoprocessor(library, memory(4096)) as design:
        copy(design, 4096, 0)
        assert design.read(ERRORS) == 4
        copy(design, 0, 1 << 30)
        assert design.read(ERRORS) == 1


def test_a_reset_in_mid_copy_leaves_a_bus_that_works(library):
    given = memory()
    with BatchCoprocessor(library, given.copy(), read_latency=20) as design:
        design.write(TARGET, 4096)
        design.write(SOURCE, 64)
        design.step(10)
        design.reset()
        design.step(100)
        np.testing.assert_array_equal(design.memory, given)
        copy(design, 64, 128)
        np.testing.assert_array_equal(design.memory, copied(given, 64, 128))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("m_axi_arlen = 3", "m_axi_arlen = 255"), "a burst crosses a 4 KiB border"),
        (("m_axi_araddr = source", "m_axi_araddr = source + 4"), "a burst begins at an address that is not a multiple"),
        (("m_axi_awsize = 3", "m_axi_awsize = 2"), "a burst's beats are not as wide as the bus"),
        (("m_axi_awburst = 1", "m_axi_awburst = 0"), "a burst is not incrementing"),
        (("m_axi_wlast = written == 3", "m_axi_wlast = written == 2"), "WLAST is not with the burst's last beat"),
        (("if (ar & m_axi_arready) ar <= 0", "if (ar) ar <= 0"), "AR changes before it is taken"),
        (("m_axi_awaddr = target", "m_axi_awaddr = target + {w & ~m_axi_wready, 3'b0}"), "AW changes before it"),
        (("m_axi_wdata = held[written[1:0]]", "m_axi_wdata = held[written[1:0]] + read"), None),
        (("m_axi_wdata = held[written[1:0]]", "m_axi_wdata = held[written[1:0]] + {aw, 3'b0}"), "W changes before it"),
    ],
)
def test_what_breaks_the_rules_is_told(build, change, told):
    with BatchCoprocessor(build(change), memory(), stall=(0.6,) * 5, seed=5) as design:
        for _ in range(20):
            design.write(TARGET, 2048)
            design.write(SOURCE, 2048 + 64)
            design.step(100)
        count, message = design.breaches
    assert (count > 0) == (told is not None)
    if told is not None:
        assert re.match(rf"cycle \d+: {re.escape(told)}", message)


def test_no_interrupt_and_no_answer_are_errors(library):
    with BatchCoprocessor(library, memory()) as design:
        with pytest.raises(ToolError, match=r"\Athe co-processor raised no interrupt within 50 cycles\Z"):
            design.wait(50)
        with pytest.raises(ToolError, match=r"\Athe co-processor gave no answer for register 0x0c\Z"):
            design.write(DEAF, 1)
        with pytest.raises(ToolError, match=r"\Athe co-processor answered a read of register 0x10 with an error\Z"):
            design.read(16)
        before = design.cycle
        design.step(7)
        assert design.cycle == before + 7


@pytest.mark.parametrize(
    ("changes", "kind", "text"),
    [
        ({"memory": [0]}, TypeError, "`memory` must be an array of uint8 with one axis"),
        ({"memory": np.zeros((2, 2), np.uint8)}, TypeError, "`memory` must be an array of uint8 with one axis"),
        ({"memory": np.zeros(8, np.uint8)[::2]}, TypeError, "`memory` must be contiguous, and not read-only"),
        ({"read_latency": 0}, InvalidValueError, "`read_latency` must be a positive integer, got 0"),
        ({"stall": (0.1,)}, InvalidValueError, "`stall` must have a value for each of AR, R, AW, W, B, got 1"),
        ({"stall": (0.0, 0.0, 1.0, 0.0, 0.0)}, InvalidValueError, "`stall` must be less than 1, got 1.0"),
        ({"seed": -1}, InvalidValueError, "`seed` must be an integer from 0 to 2147483647, got -1"),
    ],
)
def test_misuse(library, changes, kind, text):
    with pytest.raises(kind, match=rf"\A{re.escape(text)}\Z"):
        BatchCoprocessor(library, **({"memory": memory()} | changes))


def test_an_unknown_kind_of_error(library):
    with (
        BatchCoprocessor(library, memory()) as design,
        pytest.raises(UnknownNameError, match=r"\Aunknown kind 'reads'; did you mean 'read'\?\Z"),
    ):
        design.fail(0, 8, "reads")


@pytest.mark.parametrize("bits", [0, 16, 96, 1024])
def test_a_bus_of_a_width_that_is_not_supported(bits):
    text = (
        verilog(("[63:0] m_axi_rdata", f"[{bits - 1}:0] m_axi_rdata"))
        if bits
        else "module dut(a);\n input a;\nendmodule"
    )
    message = f"`m_axi_rdata` must have 32 bits, or a multiple of 64 up to 512, got {bits}"
    with pytest.raises(InvalidValueError, match=rf"\A{re.escape(message)}\Z"):
        coprocessor_source(ports(text, "dut"))
