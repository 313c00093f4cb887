"""The SIMD benches on Verilator: right designs pass, broken ones fail, cycles of the array are the model's."""

import re

import pytest

from tetrit.rtl.simd import UnionMac
from tetrit.verify.bench import Workbench
from tetrit.verify.suites import simd, simd_array
from tetrit.verify.suites.simd_broken import BROKEN_SIMD
from tetrit.verify.suites.simd_designs import SIMD_DESIGNS, SimdDesigns


@pytest.fixture(scope="module")
def run(build_dir):
    workbench = Workbench(build_dir)

    def on_rtl(job, *, batch=False):
        make = workbench.library if batch else workbench.build
        return workbench.run(job, "rtl", make(workbench.verilog(job, "rtl"))).result

    return on_rtl


def test_every_code_in_every_lane_goes_through_decoder_and_encoder(run):
    [job] = simd.code_jobs(SIMD_DESIGNS, 0, None)
    result = run(job, batch=True)
    assert result.message == ""
    assert (result.mismatches, result.vectors) == (0, 65536 + 3 * 256 + 2 * 7 * 16)


@pytest.mark.parametrize(("design", "index"), [("shared", 0), ("shared", 1), ("union", 2), ("shared", 3)])
def test_sums_of_every_pair_of_formats_are_exact_and_rounded_once(run, design, index):
    designs = SIMD_DESIGNS if design == "shared" else SimdDesigns(mac=UnionMac)
    result = run(simd.mac_jobs(designs, 0, 60)[index], batch=index != 2)
    assert result.message == ""
    assert result.mismatches == 0
    assert result.vectors > 450


@pytest.mark.parametrize("index", [0, 1])
def test_the_array_gives_the_codes_of_the_simulator_in_the_cycles_of_its_model(run, index):
    result = run(simd_array.array_jobs(SIMD_DESIGNS, 0, 40)[index])
    assert result.message == ""
    assert result.mismatches == 0
    assert result.cases == 10
    assert result.cycles_rtl == result.cycles_model > 0


BROKEN = {
    "decoder": lambda: simd.code_jobs(BROKEN_SIMD, 0, None)[0],
    "readout": lambda: simd.mac_jobs(SimdDesigns(readout=BROKEN_SIMD.readout), 0, 20)[2],
    "mac": lambda: simd.mac_jobs(SimdDesigns(mac=BROKEN_SIMD.mac), 0, 20)[2],
    "array": lambda: simd_array.array_jobs(BROKEN_SIMD, 0, 20)[0],
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_variant_fails_by_its_outputs(run, name):
    result = run(BROKEN[name]())
    assert not result.passed
    assert 0 < result.mismatches < result.vectors
    assert re.search(r" is \w+, expected \w+", result.message)
