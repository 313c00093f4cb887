"""The batch harness: what the coroutine bench observes, row for row; independent lanes; ports of any width; misuse."""

import re
from functools import partial

import numpy as np
import pytest
from amaranth import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tetrit.errors import InvalidValueError, ToolError, UnknownNameError
from tetrit.rtl import to_verilog
from tetrit.verify import tools
from tetrit.verify.batch import BatchModel, build_library, lockstep
from tetrit.verify.bench import Workbench
from tetrit.verify.broken import BROKEN
from tetrit.verify.suites import shift_pe, szt
from tetrit.verify.suites.designs import DESIGNS
from tetrit.verify.suites.job import Job, lockstep_stimulus

INVERTER = "module dut(a, y);\n  input [3:0] a;\n  output [3:0] y;\n  assign y = ~a;\nendmodule\n"


class Summer(wiring.Component):
    """Adds up what it is given; one port of every container, and one beyond 64 bits."""

    WIDTHS = (1, 7, 8, 13, 16, 30, 32, 63, 64, 65, 100, 128)

    def __init__(self):
        super().__init__(
            {f"i{width}": In(width) for width in self.WIDTHS} | {f"o{width}": Out(width) for width in self.WIDTHS}
        )

    def elaborate(self, platform):
        m = Module()
        for width in self.WIDTHS:
            total = Signal(width, name=f"total_{width}")
            m.d.comb += getattr(self, f"o{width}").eq(total ^ getattr(self, f"i{width}"))
            m.d.sync += total.eq(total + getattr(self, f"i{width}"))
        return m


def slow_sums(values, width):
    """Python integers in, what `Summer` shows for them."""
    total, seen = 0, []
    for value in values:
        seen.append(total ^ value)
        total = (total + value) % 2**width
    return seen


def to_column(values, width):
    if width <= 64:
        return np.array(values, dtype=np.uint64)
    return np.array([[value >> (32 * word) & 0xFFFFFFFF for word in range(-(-width // 32))] for value in values])


def to_integers(array, width):
    if width <= 64:
        return array.tolist()
    return [sum(int(word) << (32 * index) for index, word in enumerate(row)) for row in array]


@pytest.fixture(scope="module")
def build(build_dir):
    return partial(build_library, top="dut", toolchain=tools.find(), directory=build_dir)


@pytest.fixture(scope="module")
def inverter(build):
    return BatchModel(build(INVERTER))


@pytest.fixture(scope="module")
def summer(build):
    return BatchModel(build(to_verilog(Summer(), "dut")))


@pytest.mark.parametrize(
    ("jobs", "index"),
    [(szt.decoder_jobs, 0), (shift_pe.jobs, 0), (shift_pe.jobs, 1)],
    ids=["combinational", "weight stationary", "output stationary"],
)
@pytest.mark.parametrize("designs", [DESIGNS, BROKEN], ids=["right", "broken"])
def test_observations_are_those_of_the_coroutine_bench(build_dir, jobs, index, designs):
    job = jobs(designs, 3, None)[index]
    workbench = Workbench(build_dir)
    verilog = workbench.verilog(job, "rtl")
    one = workbench.run(job, "rtl", workbench.build(verilog))
    other = workbench.run(job, "rtl", workbench.library(verilog))
    assert one.result == other.result
    assert one.result.passed == (designs is DESIGNS)
    assert one.observed.keys() == other.observed.keys()
    for name, array in one.observed.items():
        assert array.dtype == other.observed[name].dtype
        np.testing.assert_array_equal(array, other.observed[name])


def test_a_netlist_runs_too(build_dir):
    [job] = szt.decoder_jobs(DESIGNS, 0, None)
    workbench = Workbench(build_dir)
    result = workbench.run(job, "gates", workbench.library(workbench.verilog(job, "gates"))).result
    assert (result.level, result.vectors, result.mismatches) == ("gates", 4, 0)


def test_ports_of_every_width_in_independent_lanes(summer):
    rng = np.random.default_rng(4)
    lanes, rows = 3, 40
    values = {
        width: [[int.from_bytes(rng.bytes(16), "little") % 2**width for _ in range(rows)] for _ in range(lanes)]
        for width in Summer.WIDTHS
    }
    inputs = {f"i{w}": np.stack([to_column(lane, w) for lane in values[w]]) for w in Summer.WIDTHS}
    for threads in (1, 3):
        found = summer.run(inputs, threads=threads)
        for width in Summer.WIDTHS:
            for lane in range(lanes):
                assert to_integers(found[f"o{width}"][lane], width) == slow_sums(values[width][lane], width)


def test_the_narrowest_type_holds_an_output(summer):
    inputs = {f"i{w}": np.zeros((5, -(-w // 32)) if w > 64 else 5, dtype=np.uint8) for w in Summer.WIDTHS}
    found = summer.run(inputs)
    types = {1: "u1", 7: "u1", 8: "u1", 13: "u2", 16: "u2", 30: "u4", 32: "u4", 63: "u8", 64: "u8", 65: "u4"}
    assert {w: found[f"o{w}"].dtype for w in types} == {w: np.dtype(t) for w, t in types.items()}
    assert found["o100"].shape == (5, 4)


def test_negative_numbers_are_twos_complement_and_inputs_are_not_changed(inverter):
    given = np.array([-1, -8, 7, 15])
    before = given.copy()
    assert inverter.run({"a": given})["y"].tolist() == [0, 7, 8, 0]
    np.testing.assert_array_equal(given, before)


def test_strided_and_empty_inputs(inverter):
    assert inverter.run({"a": np.arange(16)[::-3]})["y"].tolist() == [0, 3, 6, 9, 12, 15]
    assert inverter.run({"a": np.zeros((2, 0), dtype=np.int64)})["y"].shape == (2, 0)


def test_only_the_outputs_that_are_asked_for(summer):
    inputs = {f"i{w}": np.zeros((2, -(-w // 32)) if w > 64 else 2, dtype=np.uint8) for w in Summer.WIDTHS}
    assert list(summer.run(inputs, outputs=["o7"])) == ["o7"]


def test_a_library_is_built_once(build):
    first = build(INVERTER)
    made = first.path.stat()
    assert build(INVERTER) == first
    assert first.path.stat() == made
    assert (first.path.parent / "design.v").read_text() == INVERTER
    assert build(INVERTER, optimisation=3).path != first.path


def refused(kind, text, call):
    with pytest.raises(kind, match=rf"\A{re.escape(text)}\Z"):
        call()


@pytest.mark.parametrize(
    ("inputs", "kind", "text"),
    [
        ({}, InvalidValueError, "`inputs` lacks the port 'a'"),
        ({"b": [1]}, UnknownNameError, "unknown input 'b'; known: a"),
        ({"a": [1.0]}, TypeError, "`inputs` of port 'a' must be integers, got float64"),
        ({"a": [3, 16]}, InvalidValueError, "`inputs` of port 'a' must fit into 4 bits, got 16"),
        ({"a": [3, -9]}, InvalidValueError, "`inputs` of port 'a' must fit into 4 bits, got -9"),
        ({"a": 3}, InvalidValueError, "`inputs` of port 'a' must have the shape rows, got ()"),
        (
            {"a": np.zeros((1, 1, 1), dtype=int)},
            InvalidValueError,
            "`inputs` of port 'a' must be rows, or lanes x rows, got (1, 1, 1)",
        ),
    ],
)
def test_inputs_that_do_not_fit(inverter, inputs, kind, text):
    refused(kind, text, lambda: inverter.run(inputs))


def test_shapes_that_differ_and_wide_ports_without_words(summer):
    inputs = {f"i{w}": np.zeros((2, -(-w // 32)) if w > 64 else 2, dtype=np.uint8) for w in Summer.WIDTHS}
    text = "`inputs` must have one shape, got (2,) for 'i1' and (3,) for 'i7'"
    refused(InvalidValueError, text, lambda: summer.run(inputs | {"i7": np.zeros(3, dtype=int)}))
    text = "`inputs` of port 'i65' must have the shape rows x 3 words, got (2,)"
    refused(InvalidValueError, text, lambda: summer.run(inputs | {"i65": np.zeros(2, dtype=int)}))


def test_an_unknown_output(inverter):
    refused(UnknownNameError, "unknown output 'z'; known: y", lambda: inverter.run({"a": [1]}, outputs=["z"]))


def test_a_design_without_inputs(build):
    constant = "module dut(y);\n  output y;\n  assign y = 1'b1;\nendmodule\n"
    text = "`inputs` is empty: the design has no inputs but clock and reset"
    refused(InvalidValueError, text, lambda: BatchModel(build(constant)).run({}))


def test_wrong_verilog_is_told_in_one_line_and_leaves_nothing(build, tmp_path):
    with pytest.raises(ToolError, match=r"\AVerilator failed: %Error: [^\n]*'missing'[^\n]*\Z"):
        build(INVERTER.replace("~a", "~missing"), directory=tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_port_that_a_job_wants_and_the_design_lacks(build):
    stimulus = lockstep_stimulus({"a": [1]}, {"z": [1]}, {"a": 4, "z": 4})
    refused(ToolError, "the batch model has no port named 'z'", lambda: lockstep.observe(build(INVERTER), stimulus))


def test_a_streams_job_does_not_run_on_a_batch_model(build_dir, build):
    job = Job(name="x", component="x", design=Summer, bench="streams", stimulus={}, gates=False)
    text = "a batch model runs lockstep jobs only, not 'streams'"
    refused(InvalidValueError, text, lambda: Workbench(build_dir).observe(job, build(INVERTER)))


def test_registers_without_a_reset_depend_on_the_seed_until_they_are_set(build):
    verilog = (
        "module dut(d, q, clk);\n  input d;\n  output [63:0] q;\n  input clk;\n  reg [63:0] q;\n"
        "  always @(posedge clk) if (d) q <= 64'd5;\nendmodule\n"
    )
    library = build(verilog)
    seen = [BatchModel(library, seed=seed).run({"d": [0, 1, 0]})["q"].tolist() for seed in (1, 1, 2)]
    assert seen[0] == seen[1]
    assert seen[0][0] != seen[2][0]
    assert all(row[2] == 5 for row in seen)
