"""What operators compute where ONNX's own data leaves gaps, against loops; folding, pruning and simplifying."""

import itertools
import re
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tetrit.errors import InvalidValueError, ToolError
from tetrit.hls.graph import Builder, Graph, Node, Value, folded, pruned, simplified
from tetrit.hls.graph.operators import OPERATORS, convolution
from tetrit.hls.graph.rules import RULES


def run(op, *inputs, outputs=1, **attributes):
    """Execute one node; the inputs after the first are constants."""
    names = [f"i{place}" if array is not None else "" for place, array in enumerate(inputs)]
    arrays = {name: np.asarray(array) for name, array in zip(names, inputs, strict=True) if name}
    first = arrays.pop("i0")
    made = tuple(f"o{place}" for place in range(outputs))
    node = Node(name="n", op=op, inputs=names, outputs=made, attributes=attributes)
    graph = Graph(
        name="g",
        inputs=(Value(name="i0", shape=first.shape, dtype=first.dtype.name),),
        outputs=made,
        nodes=(node,),
        constants=arrays,
    )
    results = list(graph.run({"i0": first}).values())
    return results[0] if outputs == 1 else results


def convolution_by_loops(x, w, stride, pads, dilation, groups):
    axes = x.ndim - 2
    begin, end = pads[:axes], pads[axes:]
    wide = np.pad(x, [(0, 0), (0, 0), *zip(begin, end, strict=True)]).astype(np.float64)
    kernel = w.shape[2:]
    out = [
        (wide.shape[2 + a] - (kernel[a] - 1) * dilation[a] - 1) // stride[a] + 1 for a in range(axes)
    ]  # fmt: skip
    result = np.zeros((x.shape[0], w.shape[0], *out))
    each_in, each_out = x.shape[1] // groups, w.shape[0] // groups
    for n, c, d in itertools.product(range(x.shape[0]), range(w.shape[0]), range(each_in)):
        source = c // each_out * each_in + d
        for place in itertools.product(*map(range, out)):
            for tap in itertools.product(*map(range, kernel)):
                at = tuple(p * s + t * e for p, s, t, e in zip(place, stride, tap, dilation, strict=True))
                result[(n, c, *place)] += wide[(n, source, *at)] * w[(c, d, *tap)]
    return result


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_convolution(data):
    axes = data.draw(st.integers(1, 2), "axes")
    groups = data.draw(st.integers(1, 3), "groups")
    depthwise = data.draw(st.booleans(), "depthwise")
    each_in = 1 if depthwise else data.draw(st.integers(1, 3), "inputs")
    channels, outputs = groups * each_in, groups * data.draw(st.integers(1, 3), "outputs")
    pick = lambda low, high, what: tuple(data.draw(st.integers(low, high), what) for _ in range(axes))  # noqa: E731
    kernel, stride, dilation = pick(1, 3, "kernel"), pick(1, 3, "stride"), pick(1, 2, "dilation")
    pads = pick(0, 2, "begin") + pick(0, 2, "end")
    size = tuple((k - 1) * d + 1 + extra for k, d, extra in zip(kernel, dilation, pick(0, 4, "more"), strict=True))
    rng = np.random.default_rng(data.draw(st.integers(0, 1000), "seed"))
    x = rng.standard_normal((2, channels, *size)).astype(np.float32)
    w = rng.standard_normal((outputs, each_in, *kernel)).astype(np.float32)
    got = run("Conv", x, w, strides=stride, pads=pads, dilations=dilation, group=groups)
    expected = convolution_by_loops(x, w, stride, pads, dilation, groups)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


def test_convolution_in_blocks(monkeypatch):
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((1, 3, 9, 8)), rng.standard_normal((4, 3, 3, 2))
    whole = run("Conv", x, w)
    monkeypatch.setattr(convolution, "COLUMN_BYTES", 1)
    np.testing.assert_allclose(run("Conv", x, w), whole, rtol=1e-12)


def test_depthwise_over_volumes():
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((2, 2, 4, 3, 3)), rng.standard_normal((4, 1, 2, 2, 2))
    expected = convolution_by_loops(x, w, (1, 1, 1), (0,) * 6, (1, 1, 1), 2)
    np.testing.assert_allclose(run("Conv", x, w, group=2), expected, rtol=1e-12)


def test_transposed_convolution_is_the_adjoint():
    # <conv(x), y> = <x, conv_transpose(y)> for every stride, padding and dilation
    rng = np.random.default_rng(0)
    for stride, dilation, groups in itertools.product((1, 2, 3), (1, 2), (1, 2)):
        x, w = rng.standard_normal((2, 4, 11)), rng.standard_normal((6, 4 // groups, 3))
        options = {"strides": (stride,), "dilations": (dilation,), "group": groups, "pads": (1, 1)}
        forward = run("Conv", x, w, **options)
        y = rng.standard_normal(forward.shape)
        span = (forward.shape[-1] - 1) * stride + 2 * dilation + 1 - 2
        back = run("ConvTranspose", y, w, output_padding=(11 - span,), **options)
        assert back.shape == x.shape
        np.testing.assert_allclose((forward * y).sum(), (x * back).sum(), rtol=1e-10)


@pytest.mark.parametrize("op", ["MaxPool", "AveragePool"])
@pytest.mark.parametrize("ceil", [0, 1])
@pytest.mark.parametrize("include", [0, 1])
def test_pooling(op, ceil, include):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, 2, 7, 8)).astype(np.float32)
    options = {"ceil_mode": ceil} | ({"count_include_pad": include} if op == "AveragePool" else {})
    got = run(op, x, kernel_shape=(3, 2), strides=(2, 3), pads=(1, 0, 0, 1), dilations=(1, 2), **options)
    marked = np.full((1, 2, 20, 20), np.nan)
    marked[:, :, 1:8, 0:8] = x
    inside = np.zeros((20, 20), bool)
    inside[:8, :9] = True  # the padding that was asked for, apart from what hangs over
    out = got.shape[2:]
    assert out == ((4, 4) if ceil else (3, 3)) or out == ((4, 3) if ceil else (3, 3))
    for c, i, j in itertools.product(range(2), *map(range, out)):
        rows, columns = np.arange(3) + 2 * i, np.arange(2) * 2 + 3 * j
        window = marked[0, c][np.ix_(rows, columns)]
        values = window[~np.isnan(window)]
        expected = values.max() if op == "MaxPool" else values.sum()
        if op == "AveragePool":
            expected /= inside[np.ix_(rows, columns)].sum() if include else values.size
        np.testing.assert_allclose(got[0, c, i, j], expected, rtol=1e-5)


def test_recurrent_layers_read_sequences_of_their_own_length():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((5, 2, 3)).astype(np.float32)
    w, r = (rng.standard_normal((2, 16, size)).astype(np.float32) for size in (3, 4))
    options = {"direction": "bidirectional", "hidden_size": 4, "outputs": 3}
    lengths = np.array([5, 2], np.int32)
    every, last, cell = run("LSTM", x, w, r, None, lengths, **options)
    alone = run("LSTM", x[:2, 1:], w, r, **options)
    np.testing.assert_allclose(every[:2, :, 1:], alone[0], rtol=1e-6)
    assert (every[2:, :, 1] == 0).all()
    np.testing.assert_allclose(last[:, 1:], alone[1], rtol=1e-6)
    np.testing.assert_allclose(cell[:, 1:], alone[2], rtol=1e-6)


@pytest.mark.parametrize("op", ["GRU", "LSTM", "RNN"])
def test_recurrent_activations_with_parameters(op):
    # leaky and scaled functions with their parameters in order equal the plain ones that they stand for
    gates, count = {"GRU": (3, 2), "LSTM": (4, 3), "RNN": (1, 1)}[op]
    rng = np.random.default_rng(0)
    x = rng.standard_normal((4, 2, 3)).astype(np.float32)
    w, r = (rng.standard_normal((1, gates * 4, size)).astype(np.float32) for size in (3, 4))
    plain = run(op, x, w, r, activations=("Tanh",) * count)
    scaled = run(
        op,
        x,
        w,
        r,
        activations=("scaledtanh",) * count,
        activation_alpha=(1.0,) * count,
        activation_beta=(1.0,) * count,
    )
    np.testing.assert_allclose(scaled, plain, rtol=1e-6)
    clipped = run(op, x, w, r, activations=("Affine",) * count, activation_alpha=(0.5,) * count, clip=0.25)
    assert np.abs(clipped).max() > 0
    with pytest.raises(InvalidValueError, match=re.escape(f"node 'n' ({op}): unknown activation 'Tan'")):
        run(op, x, w, r, activations=("Tan",) * count)
    with pytest.raises(InvalidValueError, match=re.escape(f"node 'n' ({op}): it needs {count} activations, got ")):
        run(op, x, w, r, activations=("Tanh",) * 5)


def test_division_of_integers_rounds_toward_zero():
    a, b = np.array([7, -7, 7, -7, 0, -128], np.int8), np.array([2, 2, -2, -2, 5, 1], np.int8)
    assert run("Div", a, b).tolist() == [3, -3, -3, 3, 0, -128]


def test_special_values_pass():
    x = np.array([-np.inf, -0.0, np.nan, np.inf], np.float32)
    assert str(run("Relu", x).tolist()) == "[0.0, 0.0, nan, inf]"
    assert str(run("Sigmoid", x).tolist()) == "[0.0, 0.5, nan, 1.0]"
    assert str(run("Softplus", x).tolist()).startswith("[0.0, 0.69")
    assert run("Softmax", np.full((1, 3), -np.inf, np.float32)).tolist() == [[0, 0, 0]]
    assert run("QuantizeLinear", x, np.float32(0.5), np.int8(3)).tolist() == [-128, 3, 0, 127]


def test_erf_needs_scipy(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.special", None)
    with pytest.raises(ToolError, match=r"^the error function \(Erf, Gelu\) needs scipy; pip install 'tetrit\[run\]'$"):
        run("Gelu", np.ones(3, np.float32))


def test_nothing_heavy_is_imported():
    probe = (
        "import sys, tetrit.hls; print(sorted({'onnx', 'torch', 'highspy', 'dask', 'scipy.special'} & {*sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_indices_are_checked():
    x = np.arange(6.0).reshape(3, 2)
    assert run("Gather", x, np.array([-1, 0])).tolist() == [[4, 5], [0, 1]]
    with pytest.raises(InvalidValueError, match=r"^node 'n' \(Gather\): an index must be from -3 to 2, got 0..3$"):
        run("Gather", x, np.array([0, 3]))


def qonnx_by_loops(x, scale, zero, bits, signed, narrow, rounding):
    low = -(2 ** (bits - 1)) + narrow if signed else 0
    high = 2 ** (bits - 1) - 1 if signed else 2**bits - 1 - narrow
    y = min(max(x / scale + zero, low), high)
    return (rounding(y) - zero) * scale


ROUNDINGS = {
    # the table of QONNX's documentation: 5.5, 2.5, 1.6, 1.1, 1.0, -1.0, -1.1, -1.6, -2.5, -5.5
    "ROUND": [6, 2, 2, 1, 1, -1, -1, -2, -2, -6],
    "CEIL": [6, 3, 2, 2, 1, -1, -1, -1, -2, -5],
    "FLOOR": [5, 2, 1, 1, 1, -1, -2, -2, -3, -6],
    "UP": [6, 3, 2, 2, 1, -1, -2, -2, -3, -6],
    "DOWN": [5, 2, 1, 1, 1, -1, -1, -1, -2, -5],
    "HALF_UP": [6, 3, 2, 1, 1, -1, -1, -2, -3, -6],
    "HALF_DOWN": [5, 2, 2, 1, 1, -1, -1, -2, -2, -5],
}


@pytest.mark.parametrize("mode", ROUNDINGS)
def test_qonnx_rounding(mode):
    x = np.array([5.5, 2.5, 1.6, 1.1, 1.0, -1.0, -1.1, -1.6, -2.5, -5.5], np.float32)
    one, zero, bits = np.float32(1), np.float32(0), np.float32(8)
    assert run("Quant", x, one, zero, bits, rounding_mode=mode).tolist() == ROUNDINGS[mode]
    assert run("Quant", x, one, zero, bits, rounding_mode=mode.lower()).tolist() == ROUNDINGS[mode]


@pytest.mark.parametrize("signed", [0, 1])
@pytest.mark.parametrize("narrow", [0, 1])
@pytest.mark.parametrize("bits", [2, 3, 8])
def test_qonnx_quant(signed, narrow, bits):
    x = np.linspace(-70, 70, 2241).astype(np.float32)  # sixteenths, which are exact
    got = run("Quant", x, np.float32(0.25), np.float32(1), np.float32(bits), signed=signed, narrow=narrow)
    expected = [qonnx_by_loops(float(v), 0.25, 1.0, bits, signed, narrow, round) for v in x]
    assert got.tolist() == expected
    assert len(set(got.tolist())) == 2**bits - narrow


def test_qonnx_quant_per_channel():
    x = np.array([[0.3, 5.0], [0.3, 5.0]], np.float32)
    got = run("Quant", x, np.array([[0.25], [1.0]], np.float32), np.float32(0), np.array([[2.0], [4.0]], np.float32))
    assert got.tolist() == [[0.25, 0.25], [0.0, 5.0]]


def test_qonnx_bipolar():
    x = np.array([-2.0, -0.0, 0.0, 3.0], np.float32)
    assert run("BipolarQuant", x, np.float32(0.5)).tolist() == [-0.5, 0.5, 0.5, 0.5]
    assert run("Quant", x, np.float32(0.5), np.float32(0), np.float32(1)).tolist() == [-0.5, 0.5, 0.5, 0.5]


def test_qonnx_trunc():
    x = np.array([0.0, 7.0, 8.0, 100.0, -1.0, -100.0], np.float32) * np.float32(0.5)
    scale, zero = np.float32(0.5), np.float32(0)
    first = run("Trunc", x, scale, zero, np.float32(8), np.float32(4))
    assert (first / 0.5).tolist() == [0, 0, 0, 6, -1, -7]
    second = run("Trunc", x, scale, zero, np.float32(8), np.float32(8.0), np.float32(4))
    assert (second / 8.0).tolist() == [0, 0, 0, 6, -1, -7]
    clipped = run("Trunc", x, scale, zero, np.float32(8), np.float32(2.0), np.float32(3), rounding_mode="ROUND")
    assert (clipped / 2.0).tolist() == [0, 2, 2, 3, -0.0, -4]


def test_rules_and_operators_are_the_same():
    assert set(RULES) == set(OPERATORS)


def network(seed=0):
    """Return a graph with batch normalisations after every kind of layer, some of which cannot be folded."""
    rng = np.random.default_rng(seed)
    b = Builder("bn")

    def norm(x):
        n = b.shape(x)[1]
        parameters = [rng.standard_normal(n), rng.standard_normal(n), rng.standard_normal(n), rng.random(n) + 0.1]
        return b.node("BatchNormalization", [x, *(b.constant(p.astype(np.float32)) for p in parameters)], epsilon=1e-3)

    def weight(*shape):
        return rng.standard_normal(shape).astype(np.float32)

    x = b.input("x", (2, 3, 8, 8))
    x = norm(x)  # nothing before it
    x = b.relu(norm(b.conv(x, 4, 3, weight=weight(4, 3, 3, 3), bias=weight(4))))
    x = norm(b.conv(x, 8, 3, groups=4, weight=weight(8, 1, 3, 3)))
    x = norm(b.node("ConvTranspose", [x, b.constant(weight(8, 3, 2, 2))], group=2, strides=(2, 2)))
    shared = b.conv(x, 5, 1, weight=weight(5, 6, 1, 1))
    x = b.add(norm(shared), shared)  # the convolution is used twice
    x = b.flatten(b.global_average_pool(x))
    x = norm(b.linear(x, 7, weight=weight(5, 7), bias=weight(7)))
    x = b.node("Gemm", [x, b.constant(weight(6, 7))], transB=1, alpha=0.5)
    x = norm(norm(x))
    return b.build([x])


def test_folding_leaves_the_values():
    plain = network()
    merged = folded(plain)
    x = np.random.default_rng(1).standard_normal((2, 3, 8, 8)).astype(np.float32)
    expected, got = (graph.run({"x": x})[graph.outputs[0]] for graph in (plain, merged))
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
    count = lambda graph: [node.op for node in graph.nodes].count("BatchNormalization")  # noqa: E731
    assert (count(plain), count(merged)) == (8, 2)
    assert (merged.inputs, merged.outputs) == (plain.inputs, plain.outputs)
    assert count(folded(merged)) == 2


def test_pruning():
    b = Builder("p")
    x = b.input("x", (1, 4))
    used = b.relu(x)
    b.linear(used, 8)
    small = pruned(b.build([used]))
    assert [node.op for node in small.nodes] == ["Relu"]
    assert dict(small.constants) == {}


def test_simplifying():
    b = Builder("s")
    x = b.input("x", (2, 6))
    shape = b.node("Concat", [b.node("Shape", [x]), b.constant([1])], axis=0)
    y = b.node("Identity", [b.node("Reshape", [b.node("Dropout", [x]), shape])])
    scale, zero = b.constant(np.float32(0.5)), b.constant(np.int8(0))
    quantised = b.node("QuantizeLinear", [b.constant(np.ones((2, 6, 1), np.float32)), scale, zero])
    z = b.add(y, b.node("DequantizeLinear", [quantised, scale, zero]))
    graph = b.build([z, b.node("Identity", [y])])
    simple = simplified(graph)
    assert [node.op for node in simple.nodes] == ["Reshape", "QuantizeLinear", "DequantizeLinear", "Add", "Identity"]
    data = np.arange(12, dtype=np.float32).reshape(2, 6)
    expected = graph.run({"x": data})
    assert {k: v.tolist() for k, v in simple.run({"x": data}).items()} == {k: v.tolist() for k, v in expected.items()}
