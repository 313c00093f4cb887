"""Every component against its golden model on Verilator, as RTL and as netlist; every bench against a broken one."""

import re
import subprocess
import sys
from functools import partial

import numpy as np
import pytest

from tetrit import rtl, verify
from tetrit.errors import UnknownNameError
from tetrit.hardware import Memory, ShiftArray
from tetrit.rtl import ShiftPEArray
from tetrit.sim import Mapping
from tetrit.verify import campaign
from tetrit.verify.bench import Workbench
from tetrit.verify.broken import BROKEN
from tetrit.verify.suites.designs import DESIGNS
from tetrit.verify.suites.job import Job, Task, stream_stimulus
from tetrit.verify.suites.shift_array import array_case, payload_bits, read_latency

GATES = {
    "SZTDecoder": 1,
    "SZTEncoder": 2,
    "WeightDecoder": 4,
    "Upsizer": 1,
    "Downsizer": 1,
    "ShiftPE": 4,
    "Requantizer": 1,
    "ShiftPEArray": 2,
}


@pytest.fixture(scope="module")
def results(build_dir):
    return verify.run(["shift"], build_dir=build_dir, seed=0)


@pytest.mark.parametrize("component", campaign.GROUPS["shift"])
def test_rtl_and_gates_equal_the_golden_model(results, component):
    own = [result for result in results if result.component == component]
    assert sum(result.level == "gates" for result in own) == GATES[component]
    failed = [f"{result.name} ({result.level}): {result.message}" for result in own if not result.passed]
    assert not failed
    assert all(result.vectors > 0 and result.mismatches == 0 and result.message == "" for result in own)


def test_the_cycles_of_at_least_200_array_cases_are_exactly_the_models(results):
    arrays = [result for result in results if result.component == "ShiftPEArray" and result.level == "rtl"]
    assert sum(result.cases for result in arrays) >= 200
    assert all(result.cycles_rtl == result.cycles_model > 0 for result in arrays)


def test_gates_take_the_cycles_of_the_rtl(results):
    for gates in (result for result in results if result.level == "gates"):
        [rtl] = [result for result in results if result.name == gates.name and result.level == "rtl"]
        assert (gates.cycles_rtl, gates.vectors, gates.cases) == (rtl.cycles_rtl, rtl.vectors, rtl.cases)


def test_exhaustive_benches_are_exhaustive(results):
    vectors = {result.name: result.vectors for result in results if result.level == "rtl"}
    assert vectors["SZTDecoder"] == 4
    assert vectors["SZTEncoder 5 bits"] == 32 * 16
    for name, codes in (("szt", 4), ("pot3", 8), ("posit4_1", 16)):
        for dataflow in ("weight_stationary", "output_stationary"):
            assert vectors[f"ShiftPE {name} {dataflow}"] >= 256 * codes


BROKEN_BENCHES = [
    (component, index)
    for component, indices in (
        ("SZTDecoder", [0]),
        ("SZTEncoder", [0, 1]),
        ("WeightDecoder", [0, 3]),
        ("Upsizer", [0]),
        ("Downsizer", [0]),
        ("ShiftPE", [0, 1]),
        ("Requantizer", [1]),
        ("ShiftPEArray", [0, 5]),
    )
    for index in indices
]


@pytest.mark.parametrize(("component", "index"), BROKEN_BENCHES)
def test_a_broken_variant_fails_by_its_outputs(build_dir, component, index):
    job = campaign.SUITES[component](BROKEN, 0, 40)[index]
    workbench = Workbench(build_dir)
    result = workbench.run(job, "rtl", workbench.build(workbench.verilog(job, "rtl"))).result
    assert not result.passed
    assert 0 < result.mismatches < result.vectors
    assert re.search(r" is \w+, expected \w+", result.message)


def test_gates_that_differ_from_the_rtl_are_found(build_dir):
    """One row of the broken decoder's netlist differs from the format, and from the right decoder's RTL."""
    [right] = campaign.SUITES["SZTDecoder"](DESIGNS, 0, None)
    [wrong] = campaign.SUITES["SZTDecoder"](BROKEN, 0, None)
    workbench = Workbench(build_dir)
    rtl = workbench.run(right, "rtl", workbench.build(workbench.verilog(right, "rtl")))
    gates = workbench.run(wrong, "gates", workbench.build(workbench.verilog(wrong, "gates")), rtl).result
    assert (gates.level, gates.passed, gates.mismatches) == ("gates", False, 2)
    assert gates.message == ("row 2 (code=2): negate is 1, expected 0; 1 observations differ from the RTL's")


def test_another_seed_gives_other_vectors_and_the_same_verdict(build_dir):
    runs = [verify.run(["Requantizer"], seed=seed, cases=3, levels=["rtl"], build_dir=build_dir) for seed in (7, 7, 8)]
    assert runs[0] == runs[1] != runs[2]
    assert all(result.passed for run in runs for result in run)


def test_progress_goes_to_standard_error(build_dir, capsys):
    [result] = verify.run(["SZTDecoder"], levels=["rtl"], build_dir=build_dir, progress=True)
    assert result.passed
    out, err = capsys.readouterr()
    assert out == ""
    assert "verified 1/1: SZTDecoder" in err


def test_an_unknown_component(build_dir):
    text = re.escape("unknown component 'ShiftArray'; did you mean 'ShiftPEArray'?")
    with pytest.raises(UnknownNameError, match=rf"\A{text}\Z"):
        verify.run(["ShiftArray"], build_dir=build_dir)


def test_an_unknown_group(build_dir):
    with pytest.raises(UnknownNameError, match=r"\Aunknown component 'simt'; did you mean 'simd'\?\Z"):
        verify.run(["simt"], build_dir=build_dir)


def test_an_unknown_level(build_dir):
    with pytest.raises(UnknownNameError, match=r"\Aunknown level 'gate'; did you mean 'gates'\?\Z"):
        verify.run(["SZTDecoder"], levels=["gate"], build_dir=build_dir)


def test_importing_the_package_loads_no_tools():
    code = "import sys, tetrit.verify; print([m for m in ('amaranth', 'numba', 'cocotb', 'numpy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_name_that_the_package_lacks():
    with pytest.raises(AttributeError, match=r"\Amodule 'tetrit\.verify' has no attribute 'nothing'\Z"):
        verify.nothing  # noqa: B018


def test_every_component_has_a_bench():
    benches = {*verify.components(), *campaign.GROUPS}
    assert set(rtl.components()) <= benches
    assert benches - set(rtl.components()) == {"SimdCodes", "shift", "simd", "coprocessor"}


def test_groups_and_components_in_the_order_given_and_each_once():
    shift = verify.selected(["shift"])
    assert "SZTDecoder" in shift and "ShiftPEArray" in shift
    simd = ("SimdCodes", "SimdMac", "SimdArray")
    assert verify.selected(["simd", "SimdMac"]) == simd
    assert verify.selected(["SimdArray", "simd"]) == ("SimdArray", "SimdCodes", "SimdMac")
    assert verify.selected(["SimdReadout"]) == ("SimdMac",)
    assert verify.selected([]) == verify.components()
    assert set(shift).isdisjoint(simd)


def test_benches_that_are_no_jobs_run_in_a_campaign_too(build_dir, monkeypatch):
    seen = []

    def tasks(workbench, designs, seed, cases):
        seen.append((workbench.build_dir, designs, seed, cases))
        return [Task(name="one", run=lambda: ["a"]), Task(name="two", run=lambda: ["b", "c"])]

    monkeypatch.setitem(campaign.TASKS, "Another", tasks)
    assert verify.run(["Another"], seed=3, cases=4, build_dir=build_dir) == ["a", "b", "c"]
    assert seen == [(build_dir, DESIGNS, 3, 4)]
    assert verify.components()[-1] == "Another"


def test_a_slow_memory_is_waited_for(build_dir):
    """A latency beyond the bench's own patience is the design's right, and in the cycle model."""
    machine = ShiftArray(rows=2, cols=2, weight_memory=Memory(latency_cycles=500))
    x, weight = np.array([[1, 2]]), np.array([[1, 3], [2, 1]], dtype=np.uint8)
    case = array_case(machine, x, weight, np.zeros(2, dtype=np.int64), Mapping(tile_m=1, tile_k=2, tile_n=2))
    job = Job(
        name="slow",
        component="ShiftPEArray",
        design=partial(ShiftPEArray, machine),
        bench="streams",
        stimulus=stream_stimulus(
            [case], payload_bits(machine), latency=read_latency(machine), depth=machine.rows + machine.cols, seed=0
        ),
        gates=False,
    )
    workbench = Workbench(build_dir)
    result = workbench.run(job, "rtl", workbench.build(workbench.verilog(job, "rtl"))).result
    assert result.passed, result.message
    assert result.cycles_rtl == result.cycles_model > 500
