"""The co-processor on the batch harness: hundreds of jobs in the model's cycles, slow memories, the digit network."""

import re

import numpy as np
import pytest

from tetrit.hardware import Memory, ShiftArray, SimdEngine
from tetrit.sim.coprocessor import Coprocessor, cycles
from tetrit.verify.bench import Workbench
from tetrit.verify.suites.coprocessor import timing
from tetrit.verify.suites.coprocessor_batch import run_batch
from tetrit.verify.suites.coprocessor_broken import BROKEN_COPROCESSORS
from tetrit.verify.suites.coprocessor_jobs import random_cases
from tetrit.verify.suites.coprocessor_tasks import UNITS, emitted, network_result, slow_cases

SHIFT = UNITS["shift 3x4 szt"]
SIMD = Coprocessor(
    machine=SimdEngine(
        rows=1,
        cols=2,
        formats=("fp4_e2m1", "posit8_0", "posit16_1"),
        weight_memory=Memory(size_bytes=512),
        act_memory=Memory(size_bytes=512),
        result_memory=Memory(size_bytes=32),
    )
)

SMALL = Coprocessor(machine=ShiftArray(rows=1, cols=2, dataflow="output_stationary"), burst_beats=4)


@pytest.fixture(scope="module")
def workbench(build_dir):
    return Workbench(build_dir)


@pytest.fixture(scope="module")
def shift(workbench):
    return workbench.coprocessor(emitted(SHIFT))


@pytest.fixture(scope="module")
def simd(workbench):
    return workbench.coprocessor(emitted(SIMD))


def plain(unit, seed, count):
    cases = random_cases(unit, np.random.default_rng(seed), 2 * count, stalls=False)
    return [case for case in cases if not case.act][:count]


def test_200_jobs_of_the_shift_array_take_the_models_cycles(shift):
    result, seen = run_batch(shift, SHIFT, plain(SHIFT, 21, 200), name="shift")
    assert result.message == ""
    assert (result.mismatches, result.cases) == (0, 200)
    assert result.cycles_rtl == result.cycles_model == sum(seen) > 20_000


def test_100_jobs_of_mixed_formats_take_the_models_cycles(simd):
    result, _ = run_batch(simd, SIMD, plain(SIMD, 22, 100), name="simd")
    assert result.message == ""
    assert (result.mismatches, result.cases) == (0, 100)
    assert result.cycles_rtl == result.cycles_model > 5_000


def test_with_a_memory_that_waits_at_random_the_model_is_within_2_percent(shift):
    cases = slow_cases(SHIFT, np.random.default_rng(23), 40)
    result, seen = run_batch(shift, SHIFT, cases, name="slow", seed=5)
    assert result.message == ""
    assert result.mismatches == 0
    predicted = [cycles.count(case.job, SHIFT, timing(case.waits)).cycles for case in cases]
    assert sum(seen) != sum(predicted)
    assert sum(seen) == pytest.approx(sum(predicted), rel=0.005)


def test_the_digit_network_has_no_mismatch(simd):
    result, accuracy = network_result(simd, SIMD, images=64)
    assert result.message == ""
    assert (result.mismatches, result.cases) == (0, 3)
    assert result.vectors == 64 * (128 + 64 + 10)
    assert result.cycles_rtl == result.cycles_model
    assert accuracy > 0.93


def test_a_broken_variant_fails(workbench):
    broken = workbench.coprocessor(emitted(SMALL, BROKEN_COPROCESSORS["whole_words"]))
    result, _ = run_batch(broken, SMALL, plain(SMALL, 24, 10), name="whole words")
    assert not result.passed
    assert re.search(r"byte 0x\w+ is \w\w, expected \w\w", result.message)
