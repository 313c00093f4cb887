"""Integer networks equal a slow reference in Python's integers, exactly."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tetrit import formats, sim
from tetrit.hardware import ShiftArray
from tetrit.hardware.shift_array import WEIGHT_FORMATS
from tetrit.hls.integer import (
    AveragePool,
    Concat,
    IntegerGraph,
    IntegerTensor,
    Lookup,
    MaxPool,
    Product,
    Reshape,
    Sum,
    Window,
    reference,
)

WEIGHTS = (
    *("szt", "int2_symmetric", "pot2", "pot3", "pot4", "pot3z", "pot4z", "posit4_1"),
    *("int2", "int4", "int8", "int16", "fp4_e2m1", "posit8_0"),
)


def codes(rng, fmt, shape):
    known = formats.get(fmt)
    usable = np.flatnonzero(np.isfinite(known.values))
    return rng.choice(usable, size=shape).astype(known.code_dtype)


def tensor(name, shape, fmt="int8", scale=1.0):
    return IntegerTensor(name=name, shape=shape, format=fmt, scale=scale)


def requantization(rng, n):
    return rng.integers(1, 2**16, n), rng.integers(8, 24, n)


def check(graph, batch=3, seed=0):
    rng = np.random.default_rng(seed)
    x = {name: _inputs(rng, graph.tensors[name], batch) for name in graph.inputs}
    traced = graph.trace(x)
    assert list(traced) == [*graph.inputs, *(node.output for node in graph.nodes)]
    for sample in range(batch):
        wanted = reference.run(graph, {name: array[sample] for name, array in x.items()})
        for name, values in wanted.items():
            assert traced[name].dtype == np.int64
            assert traced[name][sample].ravel().tolist() == values, name
            assert traced[name].shape == (batch, *graph.tensors[name].shape)
    ran = graph.run(x)
    assert {name: array.tolist() for name, array in ran.items()} == {n: traced[n].tolist() for n in graph.outputs}
    return traced


def _inputs(rng, tensor, batch):
    x = rng.integers(tensor.low, tensor.high + 1, (batch, *tensor.shape))
    x.ravel()[:2] = tensor.low, tensor.high
    return x


@st.composite
def windows(draw, groups=True):
    sizes = st.integers(1, 5)
    kernel = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    dilation = draw(st.tuples(st.integers(1, 2), st.integers(1, 2)))
    padding = draw(st.tuples(*[st.integers(0, 2)] * 4))
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    height = max(draw(sizes), reach[0] - padding[0] - padding[2])
    width = max(draw(sizes), reach[1] - padding[1] - padding[3])
    count = draw(st.integers(1, 3)) if groups else 1
    return Window(
        in_shape=(height, width, count * draw(st.integers(1, 2))),
        kernel=kernel,
        stride=draw(st.tuples(st.integers(1, 3), st.integers(1, 3))),
        padding=padding,
        dilation=dilation,
        groups=count,
    )


@settings(max_examples=60, deadline=None)
@given(window=windows())
def test_the_table_lists_what_lies_under_the_kernel(window):
    table = window.indices()
    oh, ow = window.out_shape_hw
    assert table.shape == (window.groups, oh * ow, window.k)
    assert table.dtype == np.int64
    each = window.channels // window.groups
    wanted = np.full(table.shape, -1)
    counts = np.zeros(oh * ow, dtype=int)
    for oy in range(oh):
        for ox in range(ow):
            for ky, kx, y, x in reference.under(window, oy, ox):
                counts[oy * ow + ox] += 1
                for channel in range(window.channels):
                    row = (ky * window.kernel[1] + kx) * each + channel % each
                    place = (y * window.in_shape[1] + x) * window.channels + channel
                    wanted[channel // each, oy * ow + ox, row] = place
    assert (table == wanted).all()
    assert window.counts().tolist() == counts.tolist()
    # one more step in either direction would leave the padded map
    (height, width, _), (top, left, bottom, right) = window.in_shape, window.padding
    for n, size, kernel, stride, dilation in zip(
        (oh, ow),
        (height + top + bottom, width + left + right),
        window.kernel,
        window.stride,
        window.dilation,
        strict=True,
    ):
        reach = (kernel - 1) * dilation + 1
        assert (n - 1) * stride + reach <= size < n * stride + reach


@settings(max_examples=60, deadline=None)
@given(window=windows(), fmt=st.sampled_from(WEIGHTS), relu=st.booleans(), seed=st.integers(0, 2**31))
def test_a_convolution(window, fmt, relu, seed):
    rng = np.random.default_rng(seed)
    each = int(rng.integers(1, 3))
    n = window.groups * each
    shape = (window.groups, window.k, each) if window.groups > 1 else (window.k, n)
    multiplier, shift = requantization(rng, n)
    node = Product(
        name="conv",
        input="x",
        output="y",
        weight=codes(rng, fmt, shape),
        weight_format=fmt,
        bias=rng.integers(-500, 500, n),
        multiplier=multiplier,
        shift=shift,
        relu=relu,
        window=window,
    )
    tensors = [tensor("x", window.in_shape), tensor("y", (*window.out_shape_hw, n))]
    graph = IntegerGraph(name="one", inputs=("x",), outputs=("y",), nodes=(node,), tensors=tensors, acc_bits=48)
    check(graph, batch=2, seed=seed)


@settings(max_examples=40, deadline=None)
@given(window=windows(groups=False), seed=st.integers(0, 2**31))
def test_pools(window, seed):
    if not window.counts().all():
        with pytest.raises(ValueError, match=r"^node 'max': `window` must lie over at least one pixel"):
            MaxPool(name="max", input="x", output="max", window=window)
        return
    rng = np.random.default_rng(seed)
    shape = (*window.out_shape_hw, window.channels)
    nodes = (
        MaxPool(name="max", input="x", output="max", window=window),
        AveragePool(
            name="mean", input="x", output="mean", window=window, multiplier=int(rng.integers(1, 2**16)), shift=17
        ),
    )
    tensors = [tensor("x", window.in_shape), tensor("max", shape), tensor("mean", shape, "int6", 0.5)]
    check(IntegerGraph(name="pools", inputs=("x",), outputs=("max", "mean"), nodes=nodes, tensors=tensors), 2, seed)


@settings(max_examples=30, deadline=None)
@given(
    k=st.integers(1, 9),
    n=st.integers(1, 5),
    rows=st.sampled_from([(), (3,), (2, 2)]),
    act=st.sampled_from(["int2", "int8", "int9", "int16"]),
    fmt=st.sampled_from(WEIGHTS),
    wide=st.booleans(),
    relu=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_a_fully_connected_layer(k, n, rows, act, fmt, wide, relu, seed):
    rng = np.random.default_rng(seed)
    multiplier, shift = (None, None) if wide else requantization(rng, n)
    node = Product(
        name="fc",
        input="x",
        output="y",
        weight=codes(rng, fmt, (k, n)),
        weight_format=fmt,
        bias=rng.integers(-(2**20), 2**20, n),
        multiplier=multiplier,
        shift=shift,
        relu=relu,
    )
    out = tensor("y", (*rows, n), "int62" if wide else "int16")
    graph = IntegerGraph(
        name="one",
        inputs=("x",),
        outputs=("y",),
        nodes=(node,),
        tensors=[tensor("x", (*rows, k), act), out],
        acc_bits=62,
    )
    check(graph, seed=seed)


def residual(seed=0, fmt="int4"):
    """A network with every node: a convolution, a depthwise one, a residual sum, pools, a concatenation, a table."""
    rng = np.random.default_rng(seed)

    def product(name, source, output, window, n, groups=1, **fields):
        k = window.k if window else fields.pop("k")
        shape = (groups, k, n // groups) if groups > 1 else (k, n)
        multiplier, shift = rng.integers(2**15, 2**16, n), np.full(n, 22)
        return Product(
            name=name,
            input=source,
            output=output,
            weight=codes(rng, fmt, shape),
            weight_format=fmt,
            bias=rng.integers(-100, 100, n),
            multiplier=multiplier,
            shift=shift,
            relu=fields.get("relu", True),
            window=window,
        )

    same = {"kernel": (3, 3), "padding": (1, 1, 1, 1)}
    nodes = (
        product("c1", "x", "a", Window(in_shape=(6, 6, 2), **same), 4),
        product("c2", "a", "b", Window(in_shape=(6, 6, 4), groups=4, **same), 4, 4, relu=False),
        Sum(name="add", inputs=("b", "a"), output="s", multipliers=(3, -2), shift=2, relu=True),
        MaxPool(name="m", input="s", output="m", window=Window(in_shape=(6, 6, 4), kernel=(2, 2), stride=(2, 2))),
        Concat(name="cat", inputs=("m", "m", "m"), output="cat", axis=-1),
        AveragePool(
            name="p",
            input="cat",
            output="p",
            window=Window(in_shape=(3, 3, 12), kernel=(2, 3)),
            multiplier=43691,
            shift=18,
        ),
        Lookup(name="t", input="p", output="t", table=rng.integers(-128, 128, 256)),
        Reshape(name="f", input="t", output="f"),
        product("fc", "f", "y", None, 5, k=24, relu=False),
    )
    shapes = {"x": (6, 6, 2), "a": (6, 6, 4), "b": (6, 6, 4), "s": (6, 6, 4), "m": (3, 3, 4), "cat": (3, 3, 12)}
    shapes |= {"p": (2, 1, 12), "t": (2, 1, 12), "f": (24,), "y": (5,)}
    tensors = {name: tensor(name, shape) for name, shape in shapes.items()}
    return IntegerGraph(name="all", inputs=("x",), outputs=("y", "s"), nodes=nodes, tensors=tensors)


@pytest.mark.parametrize("fmt", ["szt", "pot3z", "posit4_1", "int8"])
def test_a_network_of_all_nodes(fmt):
    check(residual(fmt=fmt), batch=2)


def test_batches_do_not_matter(monkeypatch):
    graph = residual()
    x = np.random.default_rng(1).integers(-128, 128, (7, 6, 6, 2))
    whole = graph.run(x)
    for sample in range(7):
        alone = graph.run(x[sample : sample + 1])
        assert all((alone[name][0] == whole[name][sample]).all() for name in graph.outputs)
    monkeypatch.setattr("tetrit.hls.integer.graph._STEP", 300)
    monkeypatch.setattr("tetrit.hls.integer._shared._CHUNK", 1)
    cut = graph.run(x.astype(np.int8)[:, :, :, :].copy(order="F"))
    assert all((cut[name] == whole[name]).all() for name in graph.outputs)


def test_pickling_keeps_the_network():
    graph = residual()
    again = pickle.loads(pickle.dumps(graph))
    x = np.random.default_rng(2).integers(-128, 128, (2, 6, 6, 2))
    assert (again.run(x)["y"] == graph.run(x)["y"]).all()
    assert again.tensors == graph.tensors
    assert not again.nodes[0].weight.flags.writeable or (again.nodes[0].weight == graph.nodes[0].weight).all()


def test_a_broken_multiplier_is_noticed():
    graph = residual()
    first = graph.nodes[0]
    broken = Product(
        **{
            field: getattr(first, field)
            for field in ("name", "input", "output", "weight", "weight_format", "bias", "shift", "relu", "window")
        },
        multiplier=first.multiplier // 2,
    )
    other = IntegerGraph(
        name="all", inputs=("x",), outputs=("y", "s"), nodes=(broken, *graph.nodes[1:]), tensors=graph.tensors
    )
    x = np.random.default_rng(3).integers(-128, 128, (1, 6, 6, 2))
    wanted = reference.run(graph, {"x": x[0]})
    assert other.run(x)["s"].ravel().tolist() != wanted["s"]


@pytest.mark.parametrize("act, fmt, k", [("int16", "int16", 4), ("int16", "posit8_0", 64), ("int8", "pot4", 300)])
def test_sums_beyond_float32_and_float64_are_exact(act, fmt, k):
    known = formats.get(fmt)
    integers = np.where(np.isfinite(known.values), known.integers, 0)
    worst = np.uint16 if known.bits > 8 else np.uint8
    weight = np.full((k, 2), integers.argmax(), dtype=worst)
    weight[0] = integers.argmin()
    node = Product(
        name="fc",
        input="x",
        output="y",
        weight=weight,
        weight_format=fmt,
        bias=np.array([1, -1]),
        multiplier=None,
        shift=None,
        relu=False,
    )
    tensors = [tensor("x", (k,), act), tensor("y", (2,), "int63")]
    graph = IntegerGraph(name="big", inputs=("x",), outputs=("y",), nodes=(node,), tensors=tensors, acc_bits=63)
    x = np.full((1, k), tensors[0].low)
    x[0, -1] += 1
    assert graph.run(x)["y"].ravel().tolist() == reference.run(graph, {"x": x[0]})["y"]
    assert graph.accumulator_bits()["fc"] <= 63


@pytest.mark.parametrize("fmt", WEIGHT_FORMATS)
def test_a_shift_array_computes_the_same_sums(fmt):
    rng = np.random.default_rng(5)
    node = Product(
        name="fc",
        input="x",
        output="y",
        weight=codes(rng, fmt, (9, 5)),
        weight_format=fmt,
        bias=rng.integers(-99, 99, 5),
        multiplier=None,
        shift=None,
        relu=False,
    )
    tensors = [tensor("x", (9,)), tensor("y", (5,), "int24")]
    graph = IntegerGraph(name="one", inputs=("x",), outputs=("y",), nodes=(node,), tensors=tensors)
    x = rng.integers(-128, 128, (6, 9))
    engine = sim.build(ShiftArray(rows=4, cols=4, weight_format=fmt)).load(node.weight)
    assert (engine.matmul(x, bias=node.bias).output == graph.run(x)["y"]).all()


def test_the_least_width_holds_the_worst_sum_and_no_less():
    weight = np.array([[1], [3], [1]], np.uint8)  # szt 1, -1, 1
    node = Product(
        name="fc", input="x", output="y", weight=weight, weight_format="szt", bias=np.array([0]),
        multiplier=None, shift=None, relu=False,
    )  # fmt: skip
    tensors = [tensor("x", (3,)), tensor("y", (1,), "int32")]
    fields = {"name": "one", "inputs": ("x",), "outputs": ("y",), "nodes": (node,), "tensors": tensors}
    assert IntegerGraph(**fields, acc_bits=10).accumulator_bits() == {"fc": 10}  # 3 x 128 = 384
    with pytest.raises(
        ValueError,
        match=r"^node 'fc': `acc_bits` = 9 is too small: its sums can reach 384, which takes 10 bits$",
    ):
        IntegerGraph(**fields, acc_bits=9)
