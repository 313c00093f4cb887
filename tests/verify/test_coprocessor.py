"""The co-processor under cocotb and cocotbext-axi: jobs, misuse, interruptions and waits; broken ones must fail."""

import re

import numpy as np
import pytest

from tetrit.hardware import Memory, ShiftArray, SimdEngine
from tetrit.sim.coprocessor import Coprocessor
from tetrit.verify.bench import Workbench
from tetrit.verify.suites.coprocessor import simulate_cases
from tetrit.verify.suites.coprocessor_broken import BROKEN_COPROCESSORS
from tetrit.verify.suites.coprocessor_jobs import interrupted_cases, misuse_cases, random_cases
from tetrit.verify.suites.coprocessor_tasks import emitted

SHIFT = Coprocessor(
    machine=ShiftArray(
        rows=2,
        cols=3,
        dataflow="output_stationary",
        weight_memory=Memory(size_bytes=128),
        act_memory=Memory(size_bytes=128),
        acc_memory=Memory(size_bytes=32),
    ),
    burst_beats=4,
)
FP4 = Coprocessor(
    machine=SimdEngine(
        rows=1,
        cols=2,
        formats=("fp4_e2m1",),
        quire_bits=64,
        weight_memory=Memory(size_bytes=64),
        act_memory=Memory(size_bytes=64),
        result_memory=Memory(size_bytes=16),
    ),
    data_bits=32,
)


@pytest.fixture(scope="module")
def workbench(build_dir):
    return Workbench(build_dir)


@pytest.fixture(scope="module")
def model(workbench):
    return workbench.build(emitted(SHIFT))


def cases_of(unit, stalls):
    rng = np.random.default_rng([11, int(stalls)])
    made = random_cases(unit, rng, 12, stalls=stalls)
    made += interrupted_cases(unit, rng, 9, stalls=stalls)
    return made + misuse_cases(unit, rng, stalls=stalls)


def test_jobs_misuse_and_interruptions_with_exact_cycles(model):
    cases = cases_of(SHIFT, stalls=False)
    result, observed = simulate_cases(model, SHIFT, cases, name="fixed")
    assert result.message == ""
    assert result.mismatches == 0
    assert result.vectors > 900
    assert result.cases > 40
    assert result.cycles_rtl == result.cycles_model > 3000
    refused = [number for number, case in enumerate(cases) if case.refused]
    assert len(refused) >= 19
    assert (observed["counters"][refused, -2:] == 0).all()  # not a word read or written


def test_every_way_to_end_is_met():
    expected = {name for case in cases_of(SHIFT, stalls=False) for name in case.expects}
    assert expected == {
        "done",
        "aborted",
        "read_error",
        "write_error",
        "misaligned",
        "bad_size",
        "bad_format",
        "too_many_terms",
    }


def test_cocotbext_axi_with_random_waits(model):
    result, _ = simulate_cases(model, SHIFT, cases_of(SHIFT, stalls=True), name="waits", seed=3)
    assert result.message == ""
    assert result.mismatches == 0
    assert result.vectors > 900


def test_fp4_with_nar_status(workbench):
    rng = np.random.default_rng(12)
    cases = random_cases(FP4, rng, 12, stalls=False) + misuse_cases(FP4, rng, stalls=False)
    result, _ = simulate_cases(workbench.build(emitted(FP4)), FP4, cases, name="fp4")
    assert result.message == ""
    assert result.cycles_rtl == result.cycles_model > 500


BROKEN = {
    "whole_words": (False, r"byte 0x\w+ is \w\w, expected \w\w"),
    "impatient": (True, r"m_axi_ar drops valid before ready"),
    "trusting": (False, r"status is 0x2, expected 0x4"),
    "hoarding": (False, r"byte 0x\w+ is \w\w, expected \w\w"),
    "hesitant": (False, r"\d+ cycles, the model says \d+"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_variant_fails(workbench, name):
    stalls, text = BROKEN[name]
    rng = np.random.default_rng(13)
    cases = random_cases(SHIFT, rng, 4, stalls=stalls)
    if name == "trusting":
        cases = misuse_cases(SHIFT, rng, stalls=stalls)[-14:]
    broken = workbench.build(emitted(SHIFT, BROKEN_COPROCESSORS[name]))
    result, _ = simulate_cases(broken, SHIFT, cases, name=name)
    assert not result.passed
    assert re.search(text, result.message)


def test_a_variant_that_takes_what_lies_beyond_the_reduction_fails(workbench):
    cases = random_cases(FP4, np.random.default_rng(14), 8, stalls=False)
    broken = workbench.build(emitted(FP4, BROKEN_COPROCESSORS["endless"]))
    result, _ = simulate_cases(broken, FP4, cases, name="endless")
    assert not result.passed
    assert re.search(r"byte 0x\w+ is \w\w, expected \w\w", result.message)
