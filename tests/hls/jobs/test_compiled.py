"""Compiled networks compute the golden integers, tensor by tensor, however they are computed."""

import dataclasses
import re

import numpy as np
import pytest

from tests.hls.jobs.networks import Net, layer, random_net, small_unit, tensor
from tetrit.errors import InvalidValueError
from tetrit.hardware import SimdEngine
from tetrit.hls.integer import IntegerGraph, Product, Window
from tetrit.hls.jobs import Copy, HostNode, JobStep, compile_jobs
from tetrit.sim.coprocessor import Coprocessor

SAME = (1, 1, 1, 1)


def wrong_integers(program, rng, passes=1):
    """Run passes in a memory full of rubbish; return how many integers were compared and how many are wrong."""
    shape = program.graph.tensors["x"].shape
    memory = program.memory()
    start = len(program.constants)
    memory[start:] = rng.integers(0, 256, memory.size - start)
    compared = wrong = 0
    for _ in range(passes):
        x = rng.integers(-128, 128, (program.batch, *shape))
        golden = program.graph.trace(x)
        program.write_inputs(memory, x)
        seen = set()
        for step, after in program.simulate(memory):
            memory = after
            for name in program.given(step):
                seen.add(name)
                compared += golden[name].size
                wrong += int((program.read(memory, name) != golden[name]).sum())
        assert seen == set(golden) - {"x"}
    named = {node.name for node in program.graph.nodes} | {"x"}
    assert {step.node for step in program.steps} <= named
    return compared, wrong


@pytest.mark.parametrize("seed", range(40))
def test_every_tensor_of_a_random_network_is_golden(unit, seed):
    rng = np.random.default_rng(seed)
    rate = (0.0, 0.3, 1.0, 100.0)[seed % 4]
    program = compile_jobs(random_net(rng), unit, batch=1 + seed % 3, host_cycles_per_byte=rate)
    compared, wrong = wrong_integers(program, rng, passes=2)
    assert compared > 0
    assert wrong == 0, f"seed {seed}, {program.choices}"


@pytest.mark.parametrize("way", ["direct", "strips", "patches"])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "dilation"),
    [
        ((3, 3), (1, 1), SAME, (1, 1)),
        ((3, 3), (2, 2), SAME, (1, 1)),
        ((3, 2), (1, 1), (0, 0, 2, 1), (1, 1)),
        ((2, 3), (1, 2), (1, 0, 0, 2), (2, 1)),
        ((3, 3), (3, 1), (0, 0, 0, 0), (1, 2)),
    ],
)
def test_each_way_computes_each_window(unit, way, kernel, stride, padding, dilation):
    rng = np.random.default_rng(3)
    net = Net(rng, 6, 7, 8)
    net.conv(8, kernel, stride, padding, dilation)
    net.conv(5, (3, 2), padding=SAME)  # whose windows read zeros around the first one's results
    program = compile_jobs(net.graph(), unit, batch=2, ways={"conv0": way})
    assert program.choices["conv0"].way == way
    assert wrong_integers(program, rng, passes=2)[1] == 0


@pytest.mark.parametrize("rate", [0.0, 1000.0])
def test_a_dear_host_does_less(unit, rate):
    rng = np.random.default_rng(5)
    net = Net(rng, 8, 8, 8)
    net.conv(8, (3, 3), padding=SAME)
    before = net.last
    net.conv(8, (3, 3), padding=SAME, relu=False)
    net.sum(before, (700, 700))
    net.pool("average", 2)
    net.head(10)
    program = compile_jobs(net.graph(), unit, batch=2, host_cycles_per_byte=rate)
    assert wrong_integers(program, rng)[1] == 0
    host = [step for step in program.steps if not isinstance(step, JobStep)]
    if rate:  # sums, averages, copies and clearings are all jobs
        assert host == []
        assert {str(choice) for choice in program.choices.values()} >= {"pairs", "whole"}
    else:
        assert any(isinstance(step, Copy) for step in host)
        assert any(isinstance(step, HostNode) for step in host)


def test_an_average_over_all_of_the_map_is_one_job(unit):
    rng = np.random.default_rng(6)
    net = Net(rng, 4, 4, 8)
    net.conv(8, (1, 1))
    net.pool("average", 4)
    program = compile_jobs(net.graph(), unit, batch=3, host_cycles_per_byte=50.0)
    assert program.choices["average1"].way == "whole"
    assert wrong_integers(program, rng)[1] == 0


@pytest.mark.parametrize(
    ("weight_format", "channels"), [("pot3z", 3), ("pot3", 8), ("posit4_1", 8), ("pot2", 8), ("pot2", 3)]
)
def test_other_weight_formats(weight_format, channels):
    rng = np.random.default_rng(7)
    unit = small_unit(weight_format, acc_bits=30)
    net = Net(rng, 5, 5, channels, weight_format)
    net.conv(8, (3, 3), padding=SAME)
    net.conv(8, (3, 3), (2, 2))
    net.head(6)
    program = compile_jobs(net.graph(), unit, batch=2)
    assert wrong_integers(program, rng)[1] == 0


def test_vectors_side_by_side_are_a_product_each(unit):
    rng = np.random.default_rng(8)
    net = Net(rng, 2, 3, 5)
    net.tensors[0] = tensor("x", 6, 5)
    net.add(layer(rng, "each", "x", 5, 7), 6, 7)
    program = compile_jobs(net.graph(), unit, batch=2)
    assert program.jobs[-1].job.m == 12
    assert wrong_integers(program, rng)[1] == 0


def test_a_tensor_with_two_readers_and_two_outputs(unit):
    rng = np.random.default_rng(9)
    net = Net(rng, 5, 5, 8)
    net.conv(8, (3, 3), padding=SAME)
    branch = net.last
    net.conv(16, (3, 3), (2, 2), SAME)
    net.tensors.append(tensor("other", 5, 5, 8))
    node = layer(rng, "other", branch.name, 8, 8, Window(in_shape=(5, 5, 8), kernel=(1, 1)))
    net.nodes.append(node)
    graph = net.graph("conv1", "other")
    program = compile_jobs(graph, unit, batch=2)
    assert wrong_integers(program, rng, passes=2)[1] == 0
    x = rng.integers(-128, 128, (2, 5, 5, 8))
    for name, golden in graph.run(x).items():
        np.testing.assert_array_equal(program.run(x)[name], golden)


def residual(unit, batch=2, **fields):
    rng = np.random.default_rng(10)
    net = Net(rng, 6, 6, 8)
    net.conv(8, (3, 3), padding=SAME)
    before = net.last
    net.conv(8, (3, 3), padding=SAME, relu=False)
    net.sum(before, (900, 900))
    net.pool("max", 2)
    net.head(10)
    return compile_jobs(net.graph(), unit, batch=batch, **fields)


def test_one_wrong_bit_of_a_weight_is_seen(unit):
    program = residual(unit)
    data = bytearray(program.constants)
    part = next(part for part in program.segments if part.name == "weights of conv0")
    data[part.address] ^= 1
    broken = dataclasses.replace(program, constants=bytes(data))
    assert wrong_integers(program, np.random.default_rng(0))[1] == 0
    assert wrong_integers(broken, np.random.default_rng(0))[1] > 0


@pytest.mark.parametrize("change", ["source", "target_steps"])
def test_one_wrong_index_of_a_copy_is_seen(unit, change):
    program = residual(unit, ways={"conv0": "patches", "conv1": "patches"}, host_cycles_per_byte=0.0)
    place, copy = next(
        (place, step) for place, step in enumerate(program.steps) if isinstance(step, Copy) and step.source is not None
    )
    wrong = copy.source + 8 if change == "source" else tuple(step - 8 for step in copy.target_steps)
    steps = list(program.steps)
    steps[place] = dataclasses.replace(copy, **{change: wrong})
    broken = dataclasses.replace(program, steps=tuple(steps))
    assert wrong_integers(broken, np.random.default_rng(0))[1] > 0


def test_what_is_not_cleared_is_seen(unit):
    program = residual(unit, ways={"conv0": "direct", "conv1": "direct"}, host_cycles_per_byte=0.5)
    kept = tuple(step for step in program.steps if not step.name.startswith("clear beside"))
    assert len(kept) < len(program.steps)
    broken = dataclasses.replace(program, steps=kept)
    assert wrong_integers(program, np.random.default_rng(0))[1] == 0
    assert wrong_integers(broken, np.random.default_rng(0))[1] > 0


def test_programs_are_the_same_every_time(unit):
    one, two = residual(unit), residual(unit)
    assert (one.steps[:1], one.constants, one.segments) == (two.steps[:1], two.constants, two.segments)
    assert [step.job for step in one.jobs] == [step.job for step in two.jobs]


def test_cycles_are_those_of_the_jobs(unit):
    program = residual(unit)
    totals = program.totals()
    assert sum(total.cycles for total in totals) == sum(program.cycles()) > 0
    assert sum(total.jobs for total in totals) == len(program.jobs)
    host = [step for step in program.steps if not isinstance(step, JobStep)]
    moved = sum(total.copied_bytes + total.cleared_bytes + total.computed_bytes for total in totals)
    assert moved == sum(step.n_bytes for step in host) > 0
    macs = 2 * sum(
        node.k * node.n * (1 if node.window is None else node.window.positions)
        for node in program.graph.nodes
        if isinstance(node, Product)
    )
    assert sum(total.macs for total in totals if total.node.startswith(("conv", "fc"))) == macs


# --- what is refused ---


def graph_of(node, *tensors):
    return IntegerGraph(name="net", inputs=("x",), outputs=(node.output,), nodes=(node,), tensors=tensors)


def test_refusals_name_node_and_remedy(unit):
    rng = np.random.default_rng(0)
    x = tensor("x", 8)
    given = layer(rng, "fc", "x", 8, 4)
    wide = dataclasses.replace(given, multiplier=None, shift=None)
    cases = [
        (
            given,
            (tensor("x", 8, format="int4"), tensor("fc", 4)),
            "node 'fc': 'x' must have the machine's format int8, got int4",
        ),
        (
            given,
            (x, tensor("fc", 4, format="int16")),
            "tensor 'fc' must have at most 8 bits, got int16: requantise it to int8",
        ),
        (
            wide,
            (x, tensor("fc", 4, format="int32")),
            "tensor 'fc' must have at most 8 bits, got int32: requantise it to int8",
        ),
        (
            layer(rng, "fc", "x", 8, 4, weight_format="pot3"),
            (x, tensor("fc", 4)),
            "node 'fc': the machine takes szt weights, got pot3",
        ),
        (
            dataclasses.replace(given, shift=np.full(4, 60)),
            (x, tensor("fc", 4)),
            "node 'fc': `multiplier` must be below 2**16 and `shift` at most 40",
        ),
        (
            dataclasses.replace(given, bias=np.full(4, 2**23)),
            (x, tensor("fc", 4)),
            "node 'fc': its sums can exceed the machine's accumulators; raise `acc_bits` above 24",
        ),
    ]
    for node, tensors, text in cases:
        with pytest.raises(InvalidValueError, match=rf"^{re.escape(text)}$"):
            compile_jobs(graph_of(node, *tensors), unit, batch=1)


def test_weights_without_a_zero_need_channels_that_fill_words():
    unit = small_unit("pot2")
    rng = np.random.default_rng(0)
    window = Window(in_shape=(3, 3, 2), kernel=(2, 2), groups=2)
    node = layer(rng, "depth", "x", 4, 2, window, groups=2, weight_format="pot2")
    text = "node 'depth': groups need a weight of 0 for the channels of the others, which pot2 lacks"
    with pytest.raises(InvalidValueError, match=rf"^{re.escape(text)}$"):
        compile_jobs(graph_of(node, tensor("x", 3, 3, 2), tensor("depth", 2, 2, 2)), unit, batch=1)


def test_arguments_are_checked(unit):
    graph = random_net(np.random.default_rng(1))
    with pytest.raises(TypeError, match=r"^`graph` must be an IntegerGraph, got 3$"):
        compile_jobs(3, unit, batch=1)
    with pytest.raises(TypeError, match=r"^`unit` must be a Coprocessor with a ShiftArray"):
        compile_jobs(graph, Coprocessor(machine=SimdEngine(rows=2, cols=2)), batch=1)
    with pytest.raises(InvalidValueError, match=r"^`batch` must be a positive integer, got 0$"):
        compile_jobs(graph, unit, batch=0)
    with pytest.raises(InvalidValueError, match=r"^`host_cycles_per_byte` must be at least 0, got -1$"):
        compile_jobs(graph, unit, batch=1, host_cycles_per_byte=-1.0)
    name = graph.nodes[0].name
    with pytest.raises(InvalidValueError, match=rf"^`ways`: node '{name}' cannot be computed as 'nowhere'$"):
        compile_jobs(graph, unit, batch=1, ways={name: "nowhere"})
    program = compile_jobs(graph, unit, batch=2)
    with pytest.raises(InvalidValueError, match=r"^input 'x' must have a batch of 2, got shape \(1,"):
        program.run(np.zeros((1, *graph.tensors["x"].shape), int))
