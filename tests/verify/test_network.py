"""Whole networks on the Verilated co-processor: golden integers and exact cycles, and what is broken is caught."""

import ctypes
import dataclasses
import re

import numpy as np
import pytest

from tests.hls.jobs.networks import Net, random_net
from tests.hls.jobs.test_files import compiled_driver
from tetrit.errors import InvalidValueError
from tetrit.hls.jobs import Copy, compile_jobs
from tetrit.verify.batch import BatchCoprocessor
from tetrit.verify.bench import Workbench
from tetrit.verify.network import SLOW_MEMORY, run_network
from tetrit.verify.suites.coprocessor_tasks import UNITS, emitted

UNIT = UNITS["shift 3x4 szt"]
SAME = (1, 1, 1, 1)


@pytest.fixture(scope="module")
def library(build_dir):
    return Workbench(build_dir).coprocessor(emitted(UNIT))


def residual(**fields):
    net = Net(np.random.default_rng(1), 6, 6, 8)
    net.conv(8, (3, 3), padding=SAME)
    before = net.last
    net.conv(8, (3, 3), padding=SAME, relu=False)
    net.sum(before, (900, 900))
    net.conv(8, (3, 3), (2, 2), SAME)
    net.pool("max", 2)
    net.head(10)
    return compile_jobs(net.graph(), UNIT, batch=2, **fields)


@pytest.fixture(scope="module")
def program():
    return residual()


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(2).integers(-128, 128, (3, 6, 6, 8))


def test_a_network_is_golden_and_takes_the_models_cycles(library, program, images):
    run = run_network(program, images, library=library)
    sizes = sum(tensor.size for tensor in program.graph.tensors.values()) - program.graph.tensors["x"].size
    assert run.passed
    assert (run.passes, run.integers, run.mismatches) == (2, 4 * sizes, 0)  # two passes of two images
    assert (run.stray_bytes, run.breaches) == (0, 0)
    assert run.cycles_rtl == run.cycles_model == 2 * sum(program.cycles()) > 10_000
    np.testing.assert_array_equal(run.outputs["fc"], program.graph.run(images)["fc"])
    benches = run.benches("the co-processor")
    assert all(bench.passed for bench in benches)
    assert sum(bench.cases for bench in benches) == 2 * len(program.jobs)
    assert {bench.name for bench in benches} >= {"conv0 on the co-processor", "max4 on the host"}


@pytest.mark.parametrize("seed", range(5))
def test_random_networks(library, seed):
    rng = np.random.default_rng(100 + seed)
    graph = random_net(rng)
    program = compile_jobs(graph, UNIT, batch=2, host_cycles_per_byte=(0.0, 1.0, 100.0)[seed % 3])
    run = run_network(program, rng.integers(-128, 128, (2, *graph.tensors["x"].shape)), library=library)
    assert run.passed, f"seed {seed}: {[node.message for node in run.nodes.values() if node.message]}"
    assert run.integers > 0


def test_on_a_memory_that_waits_cycles_are_within_2_percent(library, program, images):
    run = run_network(program, images, library=library, timing=SLOW_MEMORY, seed=3)
    assert run.passed
    assert run.mismatches == 0
    assert 0 < abs(run.cycles_rtl - run.cycles_model) <= 0.02 * run.cycles_model
    [bench] = run.benches("slow")
    assert (bench.passed, bench.cycles_rtl, bench.cases) == (True, run.cycles_rtl, 0)
    far = dataclasses.replace(run)
    far.nodes = {
        name: dataclasses.replace(node, cycles_model=node.cycles_model * 2) for name, node in run.nodes.items()
    }
    assert not far.passed
    assert not far.benches("slow")[0].passed


def test_one_wrong_bit_of_a_weight_is_caught(library, program, images):
    data = bytearray(program.constants)
    data[next(part.address for part in program.segments if part.name == "weights of conv3")] ^= 1
    run = run_network(dataclasses.replace(program, constants=bytes(data)), images, library=library)
    assert not run.passed
    assert run.nodes["conv0"].mismatches == 0
    assert run.nodes["conv3"].mismatches > 0
    failed = next(bench for bench in run.benches("it") if bench.name == "conv3 on it")
    assert re.match(r"^'conv3' at \(\d, \d, \d, \d\) is -?\d+, expected -?\d+$", failed.message)


def test_one_wrong_index_of_a_gather_is_caught(library, images):
    program = residual(ways={"conv0": "patches"}, host_cycles_per_byte=0.0)
    place, copy = next((i, s) for i, s in enumerate(program.steps) if isinstance(s, Copy) and s.source is not None)
    steps = list(program.steps)
    steps[place] = dataclasses.replace(copy, source=copy.source + 1)
    run = run_network(dataclasses.replace(program, steps=tuple(steps)), images, library=library)
    assert not run.passed
    assert run.nodes["conv0"].mismatches > 0


def test_a_wrong_prediction_is_caught(library, program, images, monkeypatch):
    from tetrit.verify.network import running

    plain = running.count

    def wrong(job, unit, timing):
        found = plain(job, unit, timing)
        return dataclasses.replace(found, cycles=found.cycles + (job.n == 10))

    monkeypatch.setattr(running, "count", wrong)
    run = run_network(program, images, library=library)
    assert not run.passed
    assert (run.mismatches, run.nodes["fc"].inexact, run.nodes["conv0"].inexact) == (0, 2, 0)
    assert re.match(r"^'fc' took \d+ cycles, the model says \d+$", run.nodes["fc"].message)


def test_the_c_driver_runs_a_network_on_the_rtl(library, program, images, tmp_path):
    code, run = compiled_driver(program, tmp_path)
    memory = program.memory()
    program.write_inputs(memory, images[:2])
    with BatchCoprocessor(library, memory) as design:

        def read(offset):
            design.step(40)  # a poll now and then
            return design.read(offset)

        assert run(memory, design.write, read) == 0
        assert design.breaches == (0, "")
    golden = program.graph.run(images[:2])["fc"]
    seen = [[code.tetrit_get_fc(ctypes.c_void_p(memory.ctypes.data), b, e) for e in range(10)] for b in range(2)]
    np.testing.assert_array_equal(seen, golden)


def test_what_is_refused(library, program):
    with pytest.raises(InvalidValueError, match=r"^`x` must have shape \(images, 6, 6, 8\), got \(3, 6, 6\)$"):
        run_network(program, np.zeros((3, 6, 6), int), library=library)
    with pytest.raises(InvalidValueError, match=r"^`seed` must be a non-negative integer, got -1$"):
        run_network(program, np.zeros((1, 6, 6, 8), int), library=library, seed=-1)
