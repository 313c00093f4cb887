"""How ways are chosen: as cheap as the cheapest of all combinations, and networks quantised elsewhere compile."""

import itertools

import numpy as np
import pytest

from tests.hls.jobs.networks import Net, random_net
from tetrit import hls
from tetrit.hls.graph import Builder
from tetrit.hls.jobs import JobStep, compile_jobs
from tetrit.hls.jobs.compiler import _chosen, _cost, _tried
from tetrit.hls.jobs.drafts import Costs
from tetrit.hls.jobs.forms import form
from tetrit.hls.jobs.planner import options


@pytest.mark.parametrize("seed", range(12))
def test_no_combination_of_ways_is_cheaper(unit, seed):
    graph = random_net(np.random.default_rng(seed))
    costs = Costs(unit=unit, host_cycles_per_byte=(0.3, 1.0, 3.0, 100.0)[seed % 4])
    known = {node.name: options(form(node, graph.tensors, unit.machine)) for node in graph.nodes}
    least = min(
        _cost(_tried(graph, unit, 2, dict(zip(known, ways, strict=True)), costs), costs)
        for ways in itertools.product(*known.values())
    )
    assert _cost(_chosen(graph, unit, 2, costs, {}), costs) == pytest.approx(least)


def test_estimates_are_near_the_jobs_cycles(unit):
    net = Net(np.random.default_rng(0), 12, 12, 8)
    net.conv(16, (3, 3), padding=(1, 1, 1, 1))
    net.conv(16, (3, 3), (2, 2))
    costs = Costs(unit=unit, host_cycles_per_byte=1.0)
    program = compile_jobs(net.graph(), unit, batch=4)
    plan = _chosen(net.graph(), unit, 4, costs, {})
    works = [draft for draft in plan.drafts if hasattr(draft, "operands")]
    assert len(works) == len(program.jobs) > 0
    for draft, cycles in zip(works, program.cycles(), strict=True):
        assert costs.of(draft) - 100 == pytest.approx(cycles, rel=0.05, abs=20)


@pytest.mark.parametrize("rate", [0.0, 1000.0])
def test_a_float_network_from_the_importer_to_jobs(unit, rate):
    rng = np.random.default_rng(0)

    def drawn(*shape):
        return rng.normal(0, (2 / np.prod(shape[1:])) ** 0.5, shape).astype(np.float32)

    b = Builder("residual")
    first = b.relu(b.conv(b.input("x", (1, 3, 8, 8)), 8, 3, padding=1, weight=drawn(8, 3, 3, 3)))
    total = b.relu(b.add(b.conv(first, 8, 3, padding=1, weight=drawn(8, 8, 3, 3)), first))
    last = b.relu(b.conv(total, 16, 3, stride=2, padding=1, weight=drawn(16, 8, 3, 3)))
    flat = b.flatten(b.global_average_pool(last))
    graph = b.build([b.linear(flat, 10, weight=drawn(10, 16).T)])
    calibration = rng.normal(size=(16, 3, 8, 8)).astype(np.float32)
    integers = hls.quantize(graph, calibration, weight_format="szt", out_format="int8", acc_bits=24)
    program = compile_jobs(integers, unit, batch=2, host_cycles_per_byte=rate)
    x = rng.integers(-128, 128, (2, *integers.tensors[integers.inputs[0]].shape))
    [name] = integers.outputs
    np.testing.assert_array_equal(program.run(x)[name], integers.run(x)[name])
    nodes = {step.node for step in program.steps if isinstance(step, JobStep)} - {"x"}
    if rate:  # branches of one scale and the mean are jobs too
        assert len(nodes) == len(integers.nodes) - 1  # all but the reshape
