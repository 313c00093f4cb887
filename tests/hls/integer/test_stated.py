"""Quantisations that a graph states, by QuantizeLinear, DequantizeLinear and QONNX's Quant, are kept."""

import numpy as np
import pytest

from tetrit.hls import Graph, Node, Value, quantize
from tetrit.hls.integer import Lookup, Product, channels_last


class Net:
    """Collects nodes of a graph."""

    def __init__(self, **inputs):
        self.inputs = tuple(Value(name=name, shape=shape) for name, shape in inputs.items())
        self.nodes, self.constants = [], {}

    def add(self, op, *inputs, **attributes):
        name = f"{op.lower()}{len(self.nodes)}"
        self.nodes.append(Node(name=name, op=op, inputs=inputs, outputs=(name,), attributes=attributes))
        return name

    def const(self, array, dtype=None):
        name = f"k{len(self.constants)}"
        self.constants[name] = np.asarray(array, dtype=dtype)
        return name

    def qdq(self, x, scale, zero):
        """Quantise and dequantise an activation."""
        pair = self.const(scale, np.float32), self.const(zero)
        return self.add("DequantizeLinear", self.add("QuantizeLinear", x, *pair), *pair)

    def weight(self, codes, scale, zero=None, axis=0):
        """Dequantise a weight."""
        inputs = [self.const(codes), self.const(scale, np.float32)]
        if zero is not None:
            inputs.append(self.const(zero))
        return self.add("DequantizeLinear", *inputs, axis=axis)

    def graph(self, *outputs):
        return Graph(name="net", inputs=self.inputs, outputs=outputs, nodes=tuple(self.nodes), constants=self.constants)


def close(net, graph, x, units, share=0.05):
    """Check that outputs are as the float graph's, but for a few that are a few units apart; return how many."""
    out = net.outputs[0]
    source = channels_last(x) if x.ndim == 4 else x
    found = net.run(net.encode(source))[out]
    wanted = channels_last(graph.run({"x": x})[graph.outputs[0]]) / net.tensors[out].scale
    assert np.abs(wanted - np.rint(wanted)).max() < 1e-3  # the float graph's results lie on the grid
    off = np.abs(found - np.rint(wanted))
    assert off.max() <= units
    assert (off > 0).mean() < share
    return found


@pytest.mark.parametrize(
    "zero_in, zero_out, relu",
    [
        (np.int8(0), np.int8(0), False),
        (np.int8(0), np.int8(0), True),
        (np.uint8(128), np.uint8(0), True),
        (np.uint8(0), np.uint8(0), False),
        (np.uint8(114), np.uint8(37), False),
        (np.int8(-100), np.int8(-128), True),
        (np.int16(0), np.int16(0), False),
    ],
)
def test_a_quantised_convolution(zero_in, zero_out, relu):
    rng = np.random.default_rng(0)
    codes = rng.integers(-127, 128, (6, 2, 3, 3)).astype(np.int8)
    codes[0, 0, 0, 0] = -128
    scale = rng.uniform(0.01, 0.02, 6)
    net = Net(x=(8, 4, 6, 5))
    x = net.qdq("x", 0.02, zero_in)
    bias = net.weight(rng.integers(-2000, 2000, 6).astype(np.int32), 0.02 * scale)
    y = net.add("Conv", x, net.weight(codes, scale), bias, group=2, pads=(1, 1, 0, 1), strides=(2, 1))
    if relu:
        y = net.add("Relu", y)
    wide = np.iinfo(zero_out.dtype).bits == 16
    y = net.qdq(y, 0.001 if wide else 0.02, zero_out)
    graph = net.graph(y)
    data = rng.normal(0, 1.0, (8, 4, 6, 5)).astype(np.float32)
    exact = quantize(graph)  # no calibration: all is stated
    node = next(node for node in exact.nodes if isinstance(node, Product))
    assert node.weight_format == "int8" and node.groups == 2
    own = node.integers[0, :, 0].reshape(3, 3, 2).transpose(2, 0, 1)
    assert (own == codes[0]).all()
    assert exact.tensors["x"].scale == np.float32(0.02)
    found = close(exact, graph, data, 1)
    low, high = np.iinfo(zero_out.dtype).min - int(zero_out), np.iinfo(zero_out.dtype).max - int(zero_out)
    assert found.min() >= low and found.max() <= high
    if not wide:
        assert found.max() == high and (relu or found.min() == low)  # both ends occur, so they are tested


def test_a_network_with_a_residual_a_pool_and_a_concatenation():
    rng = np.random.default_rng(1)

    def conv(net, x, n_in, n_out, scale):
        codes = rng.integers(-7, 8, (n_out, n_in, 3, 3)).astype(np.int8)
        y = net.add("Conv", x, net.weight(codes, np.full(n_out, 0.05)), pads=(1, 1, 1, 1))
        return net.qdq(net.add("Relu", y), scale, np.uint8(0))

    net = Net(x=(6, 2, 4, 4))
    x = net.qdq("x", 0.03, np.int8(0))
    a = conv(net, x, 2, 4, 0.02)
    b = conv(net, a, 4, 4, 0.03)
    s = net.qdq(net.add("Add", a, b), 0.05, np.uint8(0))
    m = net.qdq(net.add("MaxPool", s, kernel_shape=(2, 2), strides=(2, 2)), 0.06, np.uint8(0))
    n = net.qdq(net.add("AveragePool", s, kernel_shape=(2, 2), strides=(2, 2)), 0.04, np.uint8(0))
    c = net.qdq(net.add("Concat", m, n, axis=1), 0.07, np.uint8(0))
    f = net.add("Flatten", c)
    w = net.weight(rng.integers(-127, 128, (32, 3)).astype(np.int8), np.full(3, 0.01), axis=1)
    graph = net.graph(net.qdq(net.add("Gemm", f, w), 0.2, np.int8(0)))
    data = rng.normal(0, 1.0, (6, 2, 4, 4)).astype(np.float32)
    exact = quantize(graph)
    assert exact.acc_bits == 32
    kinds = [type(node).__name__ for node in exact.nodes]
    assert kinds.count("Product") == 3 and kinds.count("Concat") == 1
    scales = {round(t.scale, 6) for t in exact.tensors.values()}
    assert scales == {0.03, 0.02, 0.05, 0.06, 0.04, 0.07, 0.2}
    # roundings differ by a unit here and there, and add up in the last layer
    close(exact, graph, data, 3, share=0.5)


def test_a_matrix_with_zero_points_and_one_scale():
    rng = np.random.default_rng(2)
    net = Net(x=(40, 5))
    codes = rng.integers(0, 256, (5, 4)).astype(np.uint8)
    codes[0, 0] = 0
    y = net.add("MatMul", net.qdq("x", 0.05, np.uint8(100)), net.weight(codes, 0.01, np.uint8(131), axis=1))
    graph = net.graph(net.qdq(y, 0.1, np.uint8(120)))
    exact = quantize(graph)
    table, product = exact.nodes[:2]
    assert isinstance(table, Lookup) and product.weight_format == "int9"
    assert (product.integers[0] == codes.astype(int) - 131).all()
    close(exact, graph, rng.normal(0, 2, (40, 5)).astype(np.float32), 1)


@pytest.mark.parametrize("signed, narrow, bits", [(1, 1, 4), (1, 0, 3), (0, 0, 4)])
def test_qonnx_nodes(signed, narrow, bits):
    rng = np.random.default_rng(3)
    net = Net(x=(50, 6))

    def quant(x, scale, width, is_signed, is_narrow):
        numbers = [net.const(scale, np.float32), net.const(0.0, np.float32), net.const(float(width), np.float32)]
        return net.add("Quant", x, *numbers, signed=is_signed, narrow=is_narrow, rounding_mode="ROUND")

    weight = net.const(rng.normal(0, 0.4, (6, 5)), np.float32)
    x = quant("x", 0.1, 8, 1, 0)
    scale = rng.uniform(0.05, 0.1, (1, 5))
    y = net.add("MatMul", x, quant(weight, scale, 4, 1, 1))
    graph = net.graph(quant(y, 0.2, bits, signed, narrow))
    exact = quantize(graph)
    assert exact.nodes[0].weight_format == "int4"
    assert np.abs(exact.nodes[0].integers).max() <= 7
    assert exact.tensors[exact.outputs[0]].bits == bits + (1 - signed)
    found = close(exact, graph, rng.normal(0, 4, (50, 6)).astype(np.float32), 1)
    low = 0 if not signed else -(2 ** (bits - 1)) + narrow
    high = 2**bits - 1 if not signed else 2 ** (bits - 1) - 1
    assert found.min() == low and found.max() == high
    assert any(isinstance(node, Lookup) for node in exact.nodes) == bool(narrow)


def test_bipolar_weights():
    rng = np.random.default_rng(4)
    net = Net(x=(20, 6))
    weight = net.const(rng.normal(0, 0.4, (6, 5)), np.float32)
    y = net.add("MatMul", net.qdq("x", 0.1, np.int8(0)), net.add("BipolarQuant", weight, net.const(0.5, np.float32)))
    exact = quantize(net.graph(net.qdq(y, 0.1, np.int8(0))))
    assert exact.nodes[0].weight_format == "int2"
    assert (exact.nodes[0].integers[0] == np.where(net.constants[weight] >= 0, 1, -1)).all()


def test_what_is_half_stated_needs_a_calibration():
    net = Net(x=(4, 3))
    w = net.weight(np.ones((3, 2), np.int8), 0.5, axis=1)
    graph = net.graph(net.add("Gemm", net.qdq("x", 0.1, np.int8(0)), w))
    with pytest.raises(ValueError) as found:
        quantize(graph)
    assert str(found.value) == ("`calibration` is needed for the scales of 'gemm3', which the network leaves open")
    assert quantize(graph, np.ones((4, 3))).tensors["x"].scale == pytest.approx(0.1)


def test_scales_along_inputs_are_refused():
    net = Net(x=(4, 3))
    w = net.weight(np.ones((3, 2), np.int8), [0.1, 0.2, 0.3], axis=0)
    graph = net.graph(net.add("Gemm", net.qdq("x", 0.1, np.int8(0)), w))
    with pytest.raises(ValueError) as found:
        quantize(graph, np.ones((4, 3)))
    assert str(found.value) == (
        "graph 'net' cannot be computed in integers, 1 place is in the way: "
        "node 'gemm3' (Gemm): its weights must have one scale, or one for each output"
    )
