"""Quantisation: the integer network follows the float one, node by node, and refuses what it cannot do."""

from dataclasses import replace

import numpy as np
import pytest

from tetrit import estimators, formats
from tetrit.hls import Graph, Node, Value, quantize
from tetrit.hls.graph import Builder
from tetrit.hls.integer import AveragePool, Lookup, Product, Sum, channels_last


def rng():
    return np.random.default_rng(0)


def weights(*shape, seed=0):
    return np.random.default_rng(seed).normal(0, 0.3, shape).astype(np.float32)


def graph_of(nodes, inputs, outputs, constants):
    made = tuple(
        Node(name=out, op=op, inputs=tuple(sources), outputs=(out,), attributes=attributes)
        for op, sources, out, attributes in nodes
    )
    values = tuple(Value(name=name, shape=shape) for name, shape in inputs.items())
    return Graph(name="net", inputs=values, outputs=tuple(outputs), nodes=made, constants=constants)


def run_real(graph, x):
    """Return a float graph's outputs for any number of inputs."""
    size = graph.inputs[0].shape[0]
    assert len(x) % size == 0
    parts = [graph.run({graph.inputs[0].name: x[i : i + size]}) for i in range(0, len(x), size)]
    return {name: np.concatenate([part[name] for part in parts]) for name in graph.outputs}


def real(net, x):
    """Return the real values of the first output of an integer network for inputs in the layout of the float one."""
    if len(net.tensors[net.inputs[0]].shape) == 3:
        x = channels_last(x)
    return net.decode(net.run(net.encode(x))[net.outputs[0]], net.outputs[0])


def steps_apart(net, graph, x):
    """Return the largest difference of the first outputs, in units of the integer one."""
    out = net.outputs[0]
    wanted = channels_last(run_real(graph, x)[graph.outputs[0]])
    return np.abs(real(net, x) - wanted).max() / net.tensors[out].scale


def cnn(batch=2):
    b = Builder("cnn")
    x = b.input("x", (batch, 3, 9, 8))
    x = b.relu(b.conv(x, 6, 3, stride=2, padding=1, weight=weights(6, 3, 3, 3)))
    y = b.conv(x, 6, 3, padding=2, dilation=2, groups=6, weight=weights(6, 1, 3, 3), bias=weights(6))
    y = b.relu(b.add(y, x))
    y = b.concat([b.max_pool(y, 2), b.average_pool(y, 2)])
    return b.build([b.linear(b.flatten(y), 5, weight=weights(48, 5), bias=weights(5))])


@pytest.mark.parametrize(
    "fmt, least",
    [("int8", 0.999), ("int4", 0.97), ("pot4z", 0.95), ("posit4_1", 0.95), ("fp4_e2m1", 0.97), ("szt", 0.7)],
)
def test_a_network_follows_its_float_one(fmt, least):
    graph = cnn()
    x = rng().normal(size=(60, 3, 9, 8)).astype(np.float32)
    net = quantize(graph, x, weight_format=fmt)
    wanted = run_real(graph, x)[graph.outputs[0]]
    assert np.corrcoef(real(net, x).ravel(), wanted.ravel())[0, 1] > least
    assert {node.weight_format for node in net.nodes if isinstance(node, Product)} == {fmt}
    assert net.tensors[net.outputs[0]].format == "int16"
    assert [type(node).__name__ for node in net.nodes] == [
        *("Product", "Product", "Sum", "MaxPool", "AveragePool", "Concat", "Reshape", "Product")
    ]


def test_weights_and_biases_are_those_of_the_estimator():
    graph = cnn()
    x = rng().normal(size=(4, 3, 9, 8)).astype(np.float32)
    net = quantize(graph, x, weight_format={"linear*": "int8", "*": estimators.get("szt", threshold="absmean")})
    conv = net.nodes[0]
    q = estimators.get("szt", threshold="absmean", axis=0)(graph.constants["conv0.weight"])
    for n in range(6):  # (ky, kx, channel) against (channel, ky, kx)
        own = conv.weight[:, n].reshape(3, 3, 3).transpose(2, 0, 1)
        assert (own == q.codes[n]).all()
    unit = net.tensors["x"].scale * q.scale.ravel()
    ratio = unit / net.tensors[conv.output].scale
    assert np.allclose(conv.multiplier / 2.0**conv.shift, ratio, rtol=2.0**-15)
    linear = net.nodes[-1]
    assert linear.weight_format == "int8"
    e = estimators.get("ste_format", format="int8", axis=0, power_of_two=False)
    name = next(name for name in graph.constants if name.startswith("linear") and name.endswith("weight"))
    scale = e(graph.constants[name].T.astype(np.float64)).scale.ravel()
    wanted = graph.constants[name.replace("weight", "bias")] / (net.tensors[linear.input].scale * scale)
    assert np.abs(linear.bias - wanted).max() <= 0.5 + 1e-6


def test_scales_come_from_the_calibration():
    graph = cnn()
    x = rng().normal(size=(6, 3, 9, 8)).astype(np.float32)
    net = quantize(graph, x)
    assert net.tensors["x"].scale == np.abs(x).max() / 127
    out = np.abs(run_real(graph, x)[graph.outputs[0]]).max()
    assert net.tensors[net.outputs[0]].scale == pytest.approx(2 * out / 32767, rel=1e-6)
    part = quantize(graph, x, percentile=90.0)
    assert part.tensors["x"].scale == pytest.approx(np.percentile(np.abs(x), 90.0) / 127)
    # five inputs in batches of two: the sixth is the first again and does not count
    odd = np.concatenate([x[:4], 9 * x[4:5]])
    assert quantize(graph, odd).tensors["x"].scale == np.abs(odd).max() / 127
    fixed = quantize(graph, x, scales={"x": 1 / 16})
    assert fixed.tensors["x"].scale == 1 / 16


def test_branches_of_a_sum_get_one_scale_and_one_multiplier():
    graph = cnn()
    x = rng().normal(size=(6, 3, 9, 8)).astype(np.float32)
    (equal,) = [node for node in quantize(graph, x).nodes if isinstance(node, Sum)]
    assert equal.multipliers[0] == equal.multipliers[1]
    net = quantize(graph, x, equal_branches=False)
    (node,) = [node for node in net.nodes if isinstance(node, Sum)]
    scales = [net.tensors[name].scale for name in node.inputs]
    assert scales[0] != scales[1]
    assert node.multipliers[0] / node.multipliers[1] == pytest.approx(scales[0] / scales[1], rel=1e-4)
    assert abs(steps_apart(net, graph, x)) < 1500  # of 32767


def test_accumulators_may_be_the_result():
    graph = cnn()
    x = rng().normal(size=(6, 3, 9, 8)).astype(np.float32)
    net = quantize(graph, x, out_format="int32")
    last = net.nodes[-1]
    assert last.multiplier is None
    assert net.tensors[last.output].format == "int32"
    wanted = run_real(graph, x)[graph.outputs[0]]
    assert np.abs(real(net, x) - wanted).max() < 0.05 * np.abs(wanted).max()


def test_batch_normalisation_is_folded_wherever_it_stands():
    b = Builder("norm")
    x = b.input("x", (4, 3, 5, 5))
    x = b.batch_norm(x)
    x = b.batch_norm(b.conv(x, 4, 3, weight=weights(4, 3, 3, 3)))
    graph = b.build([b.relu(x)])
    found = rng()
    constants = {
        name: array if name.startswith("conv") else found.uniform(0.5, 2.0, array.shape).astype(np.float32)
        for name, array in graph.constants.items()
    }
    names = [name for name in constants if not name.startswith("conv")]
    constants[names[0]] = np.array([1.0, -1.5, 0.5], np.float32)  # a negative factor
    constants[names[4]] = np.array([1.0, -1.5, 0.5, 0.7], np.float32)
    graph = replace(graph, constants=constants)
    data = rng().normal(size=(64, 3, 5, 5)).astype(np.float32)
    net = quantize(graph, data)
    assert [type(node) for node in net.nodes] == [Product, Product]
    assert net.nodes[0].groups == 3 and set(net.nodes[0].integers.ravel()) == {1, -1}
    wanted = channels_last(run_real(graph, data)[graph.outputs[0]])
    assert np.abs(real(net, data) - wanted).max() < 0.03 * wanted.max()


@pytest.mark.parametrize(
    "op, attributes",
    [
        ("Relu", {}),
        ("Sigmoid", {}),
        ("Tanh", {}),
        ("LeakyRelu", {"alpha": 0.2}),
        ("Elu", {}),
        ("Gelu", {}),
        ("HardSwish", {}),
        ("Softplus", {}),
        ("Abs", {}),
        ("Neg", {}),
    ],
)
def test_a_function_is_a_table_of_the_operator(op, attributes):
    graph = graph_of([(op, ["x"], "y", attributes)], {"x": (4, 7)}, ["y"], {})
    x = rng().normal(size=(40, 7)).astype(np.float32) * 3
    net = quantize(graph, x, out_format="int8")
    (node,) = net.nodes
    assert isinstance(node, Lookup)
    grid = np.arange(-128, 128) * net.tensors["x"].scale
    one = graph_of([(op, ["x"], "y", attributes)], {"x": (256,)}, ["y"], {})
    wanted = one.run({"x": grid.astype(np.float32)})["y"].astype(np.float64)
    assert (node.table == np.clip(np.rint(wanted / net.tensors["y"].scale), -128, 127)).all()


def test_functions_in_a_row_become_one_table():
    nodes = [
        ("Sigmoid", ["x"], "s", {}),
        ("Mul", ["x", "s"], "silu", {}),
        ("Mul", ["silu", "half"], "h", {}),
        ("Add", ["half", "h"], "y", {}),
    ]
    graph = graph_of(nodes, {"x": (4, 3, 2, 2)}, ["y"], {"half": np.array([0.5], np.float32)})
    x = rng().normal(size=(40, 3, 2, 2)).astype(np.float32)
    net = quantize(graph, x, out_format="int8")
    assert [type(node) for node in net.nodes] == [Lookup]
    assert steps_apart(net, graph, x) < 2.1  # half a unit of the input times the slope, and half a unit


def test_relu6_saturates_at_six_whatever_the_scale():
    nodes = [
        ("Conv", ["x", "w"], "c", {}),
        ("Clip", ["c", "low", "high"], "r", {}),
        ("Conv", ["x", "w2"], "d", {}),
        ("Add", ["r", "d"], "y", {}),
    ]
    constants = {"w": weights(2, 1, 1, 1), "w2": 20 * weights(2, 1, 1, 1, seed=1)}
    constants |= {"low": np.float32(0), "high": np.float32(6)}
    graph = graph_of(nodes, {"x": (5, 1, 3, 3)}, ["r", "y"], constants)
    x = 100 * rng().normal(size=(50, 1, 3, 3)).astype(np.float32)
    assert run_real(graph, x)["r"].max() == 6
    net = quantize(graph, x)
    assert [type(node) for node in net.nodes] == [Product, Lookup, Product, Sum]
    traced = net.trace(net.encode(channels_last(x)))
    assert traced["r"].min() == 0
    assert traced["r"].max() == round(6 / net.tensors["r"].scale) < 127
    alone = quantize(replace(graph, outputs=("r",)), x, out_format="int8")
    assert [type(node) for node in alone.nodes] == [Product]


def test_pools_and_means():
    b = Builder("pools")
    x = b.input("x", (4, 3, 7, 6))
    y = b.max_pool(x, 3, stride=2, padding=1, ceil_mode=True)
    z = b.global_average_pool(y)
    graph = b.build([b.flatten(z)])
    data = rng().normal(size=(40, 3, 7, 6)).astype(np.float32)
    net = quantize(graph, data)
    assert steps_apart(net, graph, data) * net.tensors[net.outputs[0]].scale < 1.01 * net.tensors["x"].scale
    nodes = [("ReduceMean", ["x", "axes"], "y", {"keepdims": 0})]
    graph = graph_of(nodes, {"x": (4, 3, 7, 6)}, ["y"], {"axes": np.array([2, -1])})
    net = quantize(graph, data, out_format="int8")
    assert isinstance(net.nodes[0], AveragePool)
    assert net.tensors["y"].shape == (3,)
    assert steps_apart(net, graph, data) * net.tensors["y"].scale < 0.51 * (
        net.tensors["x"].scale + net.tensors["y"].scale
    )


def test_signals_are_maps_of_height_one():
    nodes = [
        ("Conv", ["x", "w"], "c", {"pads": [2, 1], "strides": [2], "dilations": [2]}),
        ("MaxPool", ["c"], "m", {"kernel_shape": [2], "strides": [2]}),
        ("Flatten", ["m"], "f", {}),
        ("Gemm", ["f", "v"], "y", {"transB": 1, "alpha": 0.5}),
    ]
    constants = {"w": weights(4, 3, 3), "v": weights(5, 12)}
    graph = graph_of(nodes, {"x": (4, 3, 13)}, ["y"], constants)
    x = rng().normal(size=(40, 3, 13)).astype(np.float32)
    net = quantize(graph, x)
    assert net.tensors["x"].shape == (1, 13, 3)
    wanted = run_real(graph, x)["y"]
    assert np.corrcoef(real(net, x).ravel(), wanted.ravel())[0, 1] > 0.999


def test_padding_goes_into_the_convolution():
    nodes = [
        ("Relu", ["x"], "r", {}),
        ("Pad", ["r", "pads", "", "axes"], "p", {}),
        ("Conv", ["p", "w"], "c", {"pads": [0, 1, 1, 0], "strides": [2, 1]}),
        ("Flatten", ["c"], "y", {}),
    ]
    constants = {"w": weights(1, 2, 3, 2), "pads": np.array([2, 0, 1, 3]), "axes": np.array([2, 3])}
    graph = graph_of(nodes, {"x": (4, 2, 5, 6)}, ["y"], constants)
    x = rng().normal(size=(40, 2, 5, 6)).astype(np.float32)
    net = quantize(graph, x)
    (conv,) = [node for node in net.nodes if isinstance(node, Product)]
    assert conv.window.padding == (2, 1, 2, 3)
    wanted = run_real(graph, x)["y"]
    assert np.corrcoef(real(net, x).ravel(), wanted.ravel())[0, 1] > 0.999
    nodes[2] = ("MaxPool", ["p"], "c", {"kernel_shape": [2, 2]})
    with pytest.raises(
        ValueError, match=r"node 'c' \(MaxPool\): the padding before it has an integer form only before"
    ):
        quantize(graph_of(nodes, {"x": (4, 2, 5, 6)}, ["y"], constants), x)


def test_vectors_along_time_keep_their_axes():
    nodes = [("MatMul", ["x", "w"], "m", {}), ("Add", ["m", "b"], "a", {}), ("Relu", ["a"], "y", {})]
    graph = graph_of(nodes, {"x": (4, 6, 3)}, ["y"], {"w": weights(3, 5), "b": weights(5)})
    x = rng().normal(size=(40, 6, 3)).astype(np.float32)
    net = quantize(graph, x)
    (node,) = net.nodes
    assert isinstance(node, Product) and node.relu and node.bias.any()
    assert np.abs(real(net, x) - run_real(graph, x)["y"]).max() < 0.03


def test_transposes_that_only_name_the_layout_cost_nothing():
    nodes = [
        ("Transpose", ["x"], "t", {"perm": [0, 3, 1, 2]}),  # channels last, as some tools have it
        ("Conv", ["t", "w"], "c", {}),
        ("Transpose", ["c"], "u", {"perm": [0, 2, 3, 1]}),
        ("Reshape", ["u", "shape"], "f", {}),
        ("MatMul", ["f", "v"], "y", {}),
    ]
    constants = {"w": weights(2, 3, 2, 2), "v": weights(12, 4), "shape": np.array([2, -1])}
    graph = graph_of(nodes, {"x": (2, 4, 3, 3)}, ["y"], constants)
    x = rng().normal(size=(40, 4, 3, 3)).astype(np.float32)
    with pytest.raises(ValueError, match="would have to move the integers"):
        quantize(graph, x)  # an input of four axes counts as a feature map
    nodes[0] = ("Identity", ["x"], "t", {})
    constants["v"] = weights(12, 4)
    graph = graph_of(nodes, {"x": (2, 3, 4, 3)}, ["y"], constants)
    x = x.transpose(0, 3, 1, 2)
    net = quantize(graph, x)
    assert [type(node).__name__ for node in net.nodes] == ["Product", "Reshape", "Product"]
    wanted = run_real(graph, x)["y"]
    assert np.corrcoef(real(net, x).ravel(), wanted.ravel())[0, 1] > 0.999


def test_everything_that_is_in_the_way_is_named_at_once():
    nodes = [
        ("Softmax", ["x"], "s", {}),
        ("MatMul", ["x", "x"], "m", {}),
        ("Add", ["s", "m"], "a", {}),
        ("TopK", ["x", "k"], "t", {}),
    ]
    graph = graph_of(nodes, {"x": (3, 3)}, ["a", "t"], {"k": np.array([1])})
    with pytest.raises(ValueError) as found:
        quantize(graph, np.zeros((3, 3)))
    assert str(found.value) == (
        "graph 'net' cannot be computed in integers, 3 places are in the way: node 's' (Softmax) has no integer form; "
        "node 'm' (MatMul): it multiplies two activations, which has no integer form here; "
        "node 't' (TopK) has no integer form"
    )


@pytest.mark.parametrize(
    "arguments, error, text",
    [
        ({"calibration": None}, ValueError,
         "`calibration` is needed for the scales of 'x', 'y', which the network leaves open"),
        ({"calibration": np.zeros((3, 4))}, ValueError, "`calibration` of 'x' must have shape (n, 3), got (3, 4)"),
        ({"calibration": np.full((3, 3), np.nan)}, ValueError,
         "`calibration` must be finite, got nan at index (0, 0)"),
        ({"calibration": {"z": np.zeros((3, 3))}}, ValueError, "`calibration` lacks the input 'x'"),
        ({"percentile": 101}, ValueError, "`percentile` must be at most 100, got 101"),
        ({"percentile": 0}, ValueError, "`percentile` must be above 0, got 0"),
        ({"scales": {"q": 1.0}}, ValueError, "a scale is given for 'q', which is no tensor of the integer network"),
        ({"scales": {"x": 0.0}}, ValueError, "`scales['x']` must be above 0, got 0"),
        ({"weight_format": "fairy2"}, ValueError, "`weight_format` must have exact integers, got fairy2"),
        ({"weight_format": {"a*": "int8"}}, ValueError, "`weight_format` has no pattern for node 'y'"),
        ({"weight_format": {"*": "int8", "y": "int4"}}, ValueError,
         "`weight_format` has the pattern 'y', which is no product's: they are y"),
        ({"weight_format": 8}, TypeError,
         "`weight_format` must be the name of a format, or an Estimator, got 8 for '*'"),
        ({"acc_bits": 12}, ValueError, None),
        ({"equal_branches": 1}, TypeError, "`equal_branches` must be True or False, got 1"),
        ({"stated": {"q": ()}}, ValueError, "`stated` has codes of 'q', which is no constant of the graph"),
    ],
)  # fmt: skip
def test_refusals(arguments, error, text):
    graph = graph_of([("Gemm", ["x", "w"], "y", {})], {"x": (3, 3)}, ["y"], {"w": weights(3, 2)})
    given = {"calibration": np.ones((3, 3))} | arguments
    with pytest.raises(error) as found:
        quantize(graph, given.pop("calibration"), **given)
    if text is None:  # the sums depend on the weights
        assert str(found.value).startswith("node 'y': `acc_bits` = 12 is too small: its sums can reach ")
    else:
        assert str(found.value) == text
    with pytest.raises(TypeError, match=r"^`graph` must be a Graph, got None$"):
        quantize(None)


def test_silence_calibrates_to_something():
    graph = graph_of([("Gemm", ["x", "w"], "y", {})], {"x": (3, 3)}, ["y"], {"w": weights(3, 2)})
    net = quantize(graph, np.zeros((1, 3)))
    assert net.tensors["x"].scale == 1 / 127
    assert (net.run(np.zeros((1, 3), int))["y"] == 0).all()


def test_no_weight_at_all_is_still_a_network():
    graph = graph_of([("Gemm", ["x", "w"], "y", {})], {"x": (3, 3)}, ["y"], {"w": np.zeros((3, 2), np.float32)})
    for fmt in ("szt", "int8", "posit4_1", "pot3"):
        net = quantize(graph, np.ones((3, 3)), weight_format=fmt)
        values = formats.get(fmt).values[net.nodes[0].weight]
        assert (np.abs(values) == np.abs(values).min()).all()
