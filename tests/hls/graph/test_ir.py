"""The graph's types: what is refused, shapes, lowering to products, and tensor graphs."""

import pickle
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tetrit.errors import InvalidValueError
from tetrit.hls import Graph, Node, Value
from tetrit.hls.graph import Builder
from tetrit.hls.graph.shapes import MOST_BYTES
from tetrit.sim import Workload


def raises(text, kind=InvalidValueError):
    return pytest.raises(kind, match="^" + re.escape(text) + "$")


def node(name="n", op="Relu", inputs=("x",), outputs=("y",), **attributes):
    return Node(name=name, op=op, inputs=inputs, outputs=outputs, attributes=attributes)


def graph(*nodes, outputs=("y",), constants=None, inputs=(("x", (2, 3)),)):
    values = tuple(Value(name=name, shape=shape) for name, shape in inputs)
    return Graph(name="g", inputs=values, outputs=outputs, nodes=nodes, constants=constants or {})


def test_value():
    value = Value(name="x", shape=(np.int64(2), 3), dtype="float16")
    assert (value.shape, value.size, value.n_bytes) == ((2, 3), 6, 12)
    with raises("the name of a value must be a string that is not empty, got ''"):
        Value(name="", shape=())
    with raises("`shape of 'x'` must be a non-negative integer, got -1"):
        Value(name="x", shape=(-1,))
    with pytest.raises(TypeError, match="data type 'float7' not understood"):
        Value(name="x", shape=(), dtype="float7")


def test_node_refuses():
    with raises("the op of a node must be a string that is not empty, got ''"):
        node(op="")
    with raises("inputs of node 'n' (Relu) must be a sequence of names, got 'xy'", TypeError):
        node(inputs="xy")
    with raises("outputs of node 'n' (Relu) must be names, got 3", TypeError):
        node(outputs=(3,))
    with raises("node 'n' (Relu) must have an output"):
        node(outputs=("",))


def test_nodes_are_values():
    one = node(perm=[1, 0])
    assert one.attributes["perm"] == (1, 0)
    assert one == node(perm=(1, 0)) == pickle.loads(pickle.dumps(one))
    assert hash(one) == hash(node(perm=(1, 0)))
    with pytest.raises(TypeError, match="does not support item assignment"):
        one.attributes["perm"] = (0, 1)


def test_names():
    cases = {
        "graph 'g' must have an output": ([node()], {"outputs": ()}),
        "two nodes have the name 'n'": ([node(), node(inputs=("y",), outputs=("z",))], {}),
        "the name 'x' is given twice: by an input and by node 'n' (Relu)": ([node(outputs=("x",))], {}),
        "the name 'x' is given twice: by an input and by a constant": ([node()], {"constants": {"x": 1.0}}),
        "node 'n' (Relu) uses 'w', which nothing makes": ([node(inputs=("w",))], {}),
        "output 'z' is made by nothing": ([node()], {"outputs": ("z",)}),
        "node 'n' (Relu) uses 'y' before node 'n' (Relu) makes it; the nodes form a cycle: n -> n": (
            [node(inputs=("y",))],
            {},
        ),
        "node 'b' (Relu) uses 'y' before node 'n' (Relu) makes it; the order must be topological": (
            [node("b", inputs=("y",), outputs=("z",)), node()],
            {},
        ),
        "node 'a' (Add) uses 'v' before node 'c' (Relu) makes it; the nodes form a cycle: a -> b -> c -> a": (
            [
                node("a", "Add", ("x", "v"), ("t",)),
                node("b", "Relu", ("t",), ("u",)),
                node("c", "Relu", ("u",), ("v",)),
            ],
            {"outputs": ("v",)},
        ),
    }
    for text, (nodes, options) in cases.items():
        with raises(text):
            graph(*nodes, **options)


def test_a_long_chain_is_no_recursion():
    nodes = [node(f"n{i}", "Relu", (f"v{i}",), (f"v{i + 1}",)) for i in range(3000)]
    long = graph(*nodes, inputs=(("v0", (1,)),), outputs=("v3000",))
    assert long.run({"v0": [-2.0]})["v3000"].tolist() == [0.0]
    with pytest.raises(InvalidValueError, match="the order must be topological"):
        graph(*nodes[::-1], inputs=(("v0", (1,)),), outputs=("v3000",))


def test_pickle():
    b = Builder("p")
    first = b.build([b.linear(b.input("x", (2, 3)), 4, weight=np.ones((3, 4), np.float32))])
    again = pickle.loads(pickle.dumps(first))
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert again.nodes == first.nodes
    assert again.inputs == first.inputs
    assert np.array_equal(again.run({"x": x})["linear0"], first.run({"x": x})["linear0"])


def test_shape_errors_name_the_node():
    cases = {
        "node 'n' (Relo): unknown operator 'Relo'; did you mean 'Relu'?": node(op="Relo"),
        "node 'n' (Add): it must have at least 1 inputs, got 0": node(op="Add", inputs=()),
        "node 'n' (Relu): its input 0 must not be absent": node(inputs=("",)),
        "node 'n' (Relu): the operator has at most 1 outputs, got 2": node(outputs=("y", "z")),
        "node 'n' (Transpose): the axes [0, 0] name one axis twice": node(op="Transpose", perm=(0, 0)),
        "node 'n' (Transpose): axis 2 is not one of 2 axes": node(op="Transpose", perm=(0, 2)),
        "node 'n' (Concat): it needs the attribute `axis`": node(op="Concat"),
        "node 'n' (MaxPool): 'x' must have 3 to 5 axes, got shape [2, 3]": node(op="MaxPool", kernel_shape=(2,)),
        "node 'n' (Reshape): [2, 3] cannot be reshaped to [4, -1]": node(op="Reshape", inputs=("x", "four")),
        "node 'n' (Reshape): the shape of its output depends on 'x', which is computed from data; "
        "export the network with fixed shapes": node(op="Reshape", inputs=("x", "x")),
        "node 'n' (Add): shapes [2, 3] and [2] cannot be broadcast": node(op="Add", inputs=("x", "two")),
    }
    constants = {"four": np.array([4, -1]), "two": np.zeros(2, np.float32)}
    for text, bad in cases.items():
        with raises(text):
            graph(bad, constants=constants).values  # noqa: B018


def test_huge_tensors_are_refused():
    huge = graph(node(op="Expand", inputs=("x", "s")), constants={"s": np.array([MOST_BYTES, 2, 3])})
    with raises("node 'n' (Expand): 'y' of shape [1099511627776, 2, 3] would take 24 TiB"):
        huge.values  # noqa: B018
    with raises("input: 'x' of shape [4611686018427387904, 4611686018427387904] would take 7.74e+25 TiB"):
        graph(node(), inputs=(("x", (1 << 62, 1 << 62)),)).values  # noqa: B018


def test_run_estimates_memory_before_it_allocates():
    big = graph(node(op="Expand", inputs=("x", "s")), constants={"s": np.array([1 << 30, 2, 3])})
    with pytest.raises(InvalidValueError, match=r"^graph 'g' needs about 24 GiB at node 'n' \(Expand\), but only"):
        big.run({"x": np.zeros((2, 3))}, memory_bytes=1 << 33)
    padded = graph(node(op="AveragePool", kernel_shape=(1 << 33,), pads=(1 << 32, 1 << 32)), inputs=(("x", (1, 1, 1)),))
    with pytest.raises(InvalidValueError, match=r"^graph 'g' needs about 64 GiB at node 'n' \(AveragePool\)"):
        padded.run({"x": np.zeros((1, 1, 1))}, memory_bytes=1 << 34)
    with pytest.raises(InvalidValueError, match=r"^`memory_bytes` must be a positive integer, got 0$"):
        padded.run({"x": np.zeros((1, 1, 1))}, memory_bytes=0)


def test_run_refuses_inputs_that_do_not_fit():
    relu = graph(node())
    with raises("`inputs` must be 'x', got []"):
        relu.run({})
    with raises("`inputs` must be 'x', got ['x', 'z']"):
        relu.run({"x": np.zeros((2, 3)), "z": 0})
    with raises("input 'x' must have shape [2, 3], got [3, 2]"):
        relu.run({"x": np.zeros((3, 2))})
    with raises("input 'x' must be float32, got complex128"):
        relu.run({"x": np.zeros((2, 3), complex)})


def test_run_returns_copies():
    x = np.ones((2, 3), np.float32)
    both = graph(node(op="Identity"), outputs=("y", "x", "w"), constants={"w": np.zeros(2)})
    results = both.run({"x": x})
    for result in results.values():
        result += 1
    assert x.tolist() == np.ones((2, 3)).tolist()
    assert both.constants["w"].tolist() == [0, 0]


def test_contents_that_need_no_data():
    b = Builder("c")
    x = b.input("x", (2, 3, 4))
    sizes = b.node("Slice", [b.node("Shape", [x]), b.constant([0]), b.constant([2])])
    shape = b.node("Concat", [sizes, b.constant(np.array([-1]))], axis=0)
    y = b.node("Reshape", [b.relu(x), shape])
    built = b.build([y])
    assert built.known(shape).tolist() == [2, 3, -1]
    assert built.known(y) is None
    assert built.values[y] == Value(name=y, shape=(2, 3, 4))
    assert [op.name for op in built.tensor_graph().ops] == ["relu3"]


def test_builder_refuses():
    b = Builder("b")
    x = b.input("x", (1, 3, 8, 8))
    with raises("nothing makes 'y' in graph 'b'"):
        b.relu("y")
    with raises("the name 'x' is given twice in graph 'b'"):
        b.input("x", (1,))
    with raises("the name 'x' is given twice in graph 'b'"):
        b.relu(x, name="x")
    with raises("'c.weight' must have shape [4, 3, 3, 3], got [4, 3, 3]"):
        b.conv(x, 4, 3, name="c", weight=np.zeros((4, 3, 3)))
    with raises("node 'd' (Conv): a window of [9, 9] does not fit into [8, 8] with its padding"):
        b.conv(x, 4, 9, name="d")
    with raises("node 'e' (Conv): 3 inputs and 4 outputs cannot be divided into 2 groups"):
        b.conv(x, 4, 3, groups=2, name="e")


def test_builder_makes_no_memory():
    b = Builder("big")
    x = b.linear(b.linear(b.input("x", (1, 1 << 16)), 1 << 16), 10)
    big = b.build([x])
    assert big.macs == (1 << 32) + 10 * (1 << 16)
    assert all(array.size == 1 or array.strides == (0,) * array.ndim for array in big.constants.values())


def test_builder_methods_compute():
    b = Builder("all")
    x = b.input("x", (2, 3, 6, 6))
    rng = np.random.default_rng(0)
    w = rng.standard_normal((4, 3, 1, 1)).astype(np.float32)
    c = b.conv(x, 4, 1, weight=w, bias=[1.0, 2, 3, 4])
    outputs = [c, b.max_pool(x, 2), b.average_pool(x, 3, 1, 1), b.concat([x, x]), b.add(x, x), b.gelu(x)]
    outputs += [b.transpose(x, (0, 2, 3, 1)), b.reshape(x, (2, -1)), b.softmax(x), b.layer_norm(x), b.matmul(x, x)]
    outputs += [b.linear(x, 5, bias=True), b.batch_norm(x, epsilon=0.0), b.flatten(b.global_average_pool(x))]
    data = rng.standard_normal((2, 3, 6, 6)).astype(np.float32)
    got = list(b.build(outputs).run({"x": data}).values())
    assert [y.shape for y in got] == [b.shape(name) for name in outputs]
    np.testing.assert_allclose(
        got[0], np.einsum("bchw,oc->bohw", data, w[..., 0, 0]) + np.arange(1, 5)[:, None, None], rtol=1e-5, atol=1e-6
    )
    assert np.array_equal(got[1], data.reshape(2, 3, 3, 2, 3, 2).max(axis=(3, 5)))
    assert np.array_equal(got[6], data.transpose(0, 2, 3, 1))
    assert np.array_equal(got[12], data)
    np.testing.assert_allclose(got[13], data.mean(axis=(2, 3)), rtol=1e-5, atol=1e-6)


def work(m, k, n):
    return Workload(m=m, k=k, n=n)


def test_workloads():
    b = Builder("w")
    image = b.input("image", (2, 8, 10, 10))
    b.conv(image, 16, 3, stride=2, padding=1, name="conv")
    b.conv(image, 8, 3, padding=1, groups=8, name="depthwise")
    b.conv(image, 16, (1, 3), groups=2, name="grouped")
    b.node("ConvTranspose", [image, b.constant(np.zeros((8, 4, 2, 2), np.float32))], name="up", strides=(2, 2))
    tokens = b.input("tokens", (2, 5, 12))
    b.linear(tokens, 6, name="linear")
    q = b.input("q", (2, 4, 5, 3))
    b.matmul(q, b.transpose(q, (0, 1, 3, 2)), name="scores")
    b.matmul(q, b.constant(np.zeros((1, 4, 3, 7), np.float32)), name="per_head")
    b.node("MatMul", [b.input("vector", (12,)), b.constant(np.zeros((12, 6), np.float32))], name="vector_matrix")
    b.node("Einsum", [q, q], name="einsum", equation="bhqd,bhkd->bhqk")
    b.node("Attention", [tokens, tokens, tokens], name="attention", q_num_heads=3, kv_num_heads=3)
    parameters = [b.constant(np.zeros((2, 4 * size, size_in), np.float32)) for size, size_in in ((3, 12), (3, 3))]
    b.node("LSTM", [tokens, *parameters], name="lstm", hidden_size=3, direction="bidirectional")
    built = b.build(["conv"])
    assert built.workloads() == [
        ("conv", work(50, 72, 16), 1),
        ("depthwise", work(200, 9, 1), 8),
        ("grouped", work(160, 12, 8), 2),
        ("up", work(200, 8, 16), 1),
        ("linear", work(10, 12, 6), 1),
        ("scores", work(5, 3, 5), 8),
        ("per_head", work(10, 3, 7), 4),
        ("vector_matrix", work(1, 12, 6), 1),
        ("einsum", work(5, 3, 5), 8),
        ("attention", work(5, 4, 5), 6),
        ("attention", work(5, 5, 4), 6),
        ("lstm", work(10, 12, 12), 2),
        ("lstm", work(5, 3, 12), 4),
    ]
    assert built.macs == sum(w.macs * count for _, w, count in built.workloads())


def test_tensor_graph():
    b = Builder("t")
    x = b.input("x", (1, 4, 6, 6))
    y = b.conv(x, 8, 3, name="conv")
    flat = b.flatten(y, name="flat")
    z = b.linear(flat, 10, name="linear")
    tensors = b.build([b.add(z, z, name="twice")]).tensor_graph(2)
    assert [(op.name, op.inputs, op.outputs) for op in tensors.ops] == [
        ("conv", ("x",), ("conv",)),
        ("linear", ("conv",), ("linear",)),
        ("twice", ("linear",), ("twice",)),
    ]
    assert tensors.sizes == {"x": 288, "conv": 256, "linear": 20, "twice": 20}
    with raises("`bytes_per_value` must be a positive integer, got 0"):
        b.build([z]).tensor_graph(0)


def test_tensor_graph_keeps_outputs_that_are_read_inside():
    b = Builder("t")
    y = b.relu(b.input("x", (1, 4)), name="y")
    view = b.flatten(y, name="view")
    tensors = b.build([view, b.gelu(y, name="z")]).tensor_graph()
    assert set(tensors.outputs) == {"y", "z"}


@settings(max_examples=60, deadline=None)
@given(
    size=st.integers(1, 12),
    kernel=st.integers(1, 4),
    stride=st.integers(1, 3),
    dilation=st.integers(1, 3),
    auto=st.sampled_from(["NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"]),
    pads=st.tuples(st.integers(0, 3), st.integers(0, 3)),
)
def test_shapes_are_those_of_what_is_computed(size, kernel, stride, dilation, auto, pads):
    options = {"strides": (stride,), "dilations": (dilation,), "auto_pad": auto}
    if auto == "NOTSET":
        options["pads"] = pads
    nodes = [
        node("c", "Conv", ("x", "w"), ("conv",), **options),
        node("m", "MaxPool", ("x",), ("max",), kernel_shape=(kernel,), ceil_mode=1, **options),
        node("a", "AveragePool", ("x",), ("mean",), kernel_shape=(kernel,), **options),
        node("t", "ConvTranspose", ("x", "v"), ("up",), strides=(stride,), dilations=(dilation,)),
    ]
    constants = {"w": np.ones((4, 2, kernel), np.float32), "v": np.ones((2, 3, kernel), np.float32)}
    built = graph(*nodes, outputs=("conv", "max", "mean", "up"), constants=constants, inputs=(("x", (1, 2, size)),))
    total = size + (sum(pads) if auto == "NOTSET" else 0)
    if auto in ("NOTSET", "VALID") and total < (kernel - 1) * dilation + 1:
        with pytest.raises(InvalidValueError, match="does not fit into"):
            built.values  # noqa: B018
        return
    results = built.run({"x": np.ones((1, 2, size), np.float32)})
    assert {name: array.shape for name, array in results.items()} == {
        name: built.values[name].shape for name in built.outputs
    }
