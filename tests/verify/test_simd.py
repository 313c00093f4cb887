"""The SIMD engine at length on batch models: millions of 16-bit products, sums to the bound, the array's status bit."""

import re

import numpy as np
import pytest

from tetrit import verify
from tetrit.formats import get
from tetrit.hardware.simd_engine import SimdEngine
from tetrit.verify.bench import Workbench
from tetrit.verify.suites import simd, simd_products, simd_status
from tetrit.verify.suites.simd_broken import BROKEN_SIMD, ForgetfulArray
from tetrit.verify.suites.simd_designs import SIMD_DESIGNS, SimdDesigns


@pytest.fixture(scope="module")
def workbench(build_dir):
    return Workbench(build_dir)


@pytest.fixture(scope="module")
def element(workbench):
    """The batch model of the element with its read-out, which all jobs share."""
    [job] = simd.pair_jobs(SIMD_DESIGNS, 0, None)
    return workbench.library(workbench.verilog(job, "rtl"))


@pytest.fixture(scope="module")
def products():
    return simd_products.product_jobs(SIMD_DESIGNS, 0, None)


def test_two_million_products_of_16_bit_codes_are_exact_and_rounded_once(workbench, element, products):
    results = [workbench.run(job, "rtl", element).result for job in products]
    assert [result.message for result in results] == [""] * len(results)
    assert sum(result.mismatches for result in results) == 0
    assert sum(int(job.stimulus["check_code"].sum()) for job in products) >= 2_000_000


def test_products_meet_every_code_and_every_kind_of_result(products):
    names = ("in_act_in", "in_weight_in", "in_out_format", "expected_nar", "expected_lost")
    columns = {name: np.concatenate([job.stimulus[name] for job in products]) for name in names}
    assert len(np.unique(columns["in_act_in"])) == len(np.unique(columns["in_weight_in"])) == 1 << 16
    assert set(np.unique(columns["in_out_format"])) == {0, 1, 2, 3}
    assert columns["expected_nar"].sum() > 100
    assert columns["expected_lost"].sum() > 10


def test_wide_products_are_those_of_python():
    rng = np.random.default_rng(2)
    ends = [0, 1, -1, 2**56, -(2**56), 2**61 - 1, -(2**61) + 1]
    a = np.array([*np.repeat(ends, len(ends)), *rng.integers(-(2**61), 2**61, 500)])
    b = np.array([*ends * len(ends), *rng.integers(-(2**61), 2**61, 500)])
    for x, y, limbs in zip(a.tolist(), b.tolist(), simd_products.wide_products(a, b).tolist(), strict=True):
        assert sum(limb << (32 * index) for index, limb in enumerate(limbs)) == x * y % 2**128


def test_sums_of_as_many_terms_as_a_quire_holds(workbench, element):
    [job] = simd_products.long_jobs(SIMD_DESIGNS, 0, None)
    result = workbench.run(job, "rtl", element).result
    assert (result.message, result.mismatches) == ("", 0)
    machine = SimdEngine(rows=1, cols=1)
    bounds = [machine.mode(name, name).max_terms for name in ("posit4_1", "posit16_1")]
    assert bounds == [32767, 32767]
    assert result.vectors > 3 * sum(bounds) - 6
    largest = int(get("posit16_1").integers.max()) ** 2 * 32767
    top = largest >> 96
    assert (
        top in job.stimulus["expected_quire_3"][job.stimulus["check_quire_3"]]
    )  # the quire's highest bit but the sign


def test_every_product_of_4_bit_and_8_bit_codes(workbench, element):
    [job] = simd.pair_jobs(SIMD_DESIGNS, 0, None)
    result = workbench.run(job, "rtl", element).result
    assert (result.message, result.mismatches) == ("", 0)
    for name, lanes in (("fp4_e2m1", 4), ("posit4_1", 4), ("posit8_0", 2)):
        code = {"fp4_e2m1": 0, "posit4_1": 1, "posit8_0": 2}[name]
        columns = {port: job.stimulus[f"in_{port}"] for port in ("act_format", "weight_format", "valid_in", "enable")}
        rows = (columns["act_format"] == code) & (columns["weight_format"] == code)
        rows &= (columns["valid_in"] == 1) & (columns["enable"] == 1)
        bits = 16 // lanes
        for lane in range(lanes):
            parts = [
                (job.stimulus[f"in_{port}"][rows] >> (lane * bits)) & ((1 << bits) - 1)
                for port in ("act_in", "weight_in")
            ]
            assert len({*zip(*(part.tolist() for part in parts), strict=True)}) == 1 << (2 * bits)


def test_a_wrong_rounding_is_found_among_products(workbench):
    job = simd_products.product_jobs(SimdDesigns(readout=BROKEN_SIMD.readout), 0, 100)[0]
    result = workbench.run(job, "rtl", workbench.library(workbench.verilog(job, "rtl"))).result
    assert not result.passed
    assert 0 < result.mismatches < result.vectors
    assert re.search(r": code is \d+, expected \d+", result.message)


@pytest.mark.parametrize(("array", "right"), [(SIMD_DESIGNS.array, True), (ForgetfulArray, False)])
def test_the_status_bit_stays_until_it_is_cleared(workbench, array, right):
    [job] = simd_status.status_jobs(SimdDesigns(array=array), 0, None)
    seen = job.stimulus["expected_nar"][job.stimulus["check_nar"]]
    assert 0.1 < seen.mean() < 0.9
    result = workbench.run(job, "rtl", workbench.build(workbench.verilog(job, "rtl"))).result
    assert result.passed == right
    assert right or (0 < result.mismatches < result.vectors and "nar is 0, expected 1" in result.message)


def test_the_codes_of_the_group_in_a_campaign(build_dir):
    results = verify.run(["SimdCodes"], levels=["rtl"], build_dir=build_dir)
    assert [(result.component, result.passed, result.vectors) for result in results] == [("SimdCodes", True, 66528)]
