"""What integer networks refuse, with the whole text."""

import numpy as np
import pytest

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
)

SQUARE = Window(in_shape=(2, 2, 1), kernel=(2, 2))


def tensor(name, shape=(2,), fmt="int8", scale=1.0):
    return IntegerTensor(name=name, shape=shape, format=fmt, scale=scale)


def product(**changes):
    fields = {
        "name": "fc",
        "input": "x",
        "output": "y",
        "weight": np.array([[1, 3], [2, 1]], np.uint8),
        "weight_format": "szt",
        "bias": np.zeros(2, np.int64),
        "multiplier": np.ones(2, np.int64),
        "shift": np.ones(2, np.int64),
        "relu": False,
    }
    return Product(**(fields | changes))


def graph(*nodes, tensors=None, **changes):
    fields = {
        "name": "net",
        "inputs": ("x",),
        "outputs": ("y",),
        "nodes": nodes or (product(),),
        "tensors": tensors or [tensor("x"), tensor("y")],
    }
    return IntegerGraph(**(fields | changes))


@pytest.mark.parametrize(
    "changes, text",
    [
        ({"name": ""}, "`name` of a tensor must not be empty"),
        ({"shape": (2, 0)}, "`shape` of tensor `x` must be an integer from 1 to 1099511627776, got 0"),
        ({"shape": (2**20, 2**20)}, "`shape` of tensor 'x' is too large: (1048576, 1048576)"),
        ({"format": "uint8"}, "`format` of tensor 'x' must be int2 .. int63, got 'uint8'"),
        ({"format": "int1"}, "`format` of tensor 'x' must be int2 .. int63, got 'int1'"),
        ({"format": "int64"}, "`format` of tensor 'x' must be int2 .. int63, got 'int64'"),
        ({"scale": 0.0}, "`scale` of tensor `x` must be above 0, got 0"),
        ({"scale": np.nan}, "`scale` of tensor `x` must be finite, got nan"),
    ],
)
def test_tensors(changes, text):
    with pytest.raises(ValueError) as found:
        IntegerTensor(**({"name": "x", "shape": (2,), "format": "int8", "scale": 1.0} | changes))
    assert str(found.value) == text


@pytest.mark.parametrize(
    "changes, error, text",
    [
        ({"weight": np.zeros((2, 2))}, TypeError, "`weight` must be codes of uint8 or uint16, got float64"),
        (
            {"weight": np.zeros(4, np.uint8)},
            ValueError,
            "`weight` must have shape (k, n) or (groups, k, n / groups), got shape (4,)",
        ),
        ({"weight": np.full((2, 2), 4, np.uint8)}, ValueError, "weight code 4 at (0, 0) is no number of szt"),
        (
            {"weight": np.full((2, 2), 8, np.uint8), "weight_format": "posit4_1"},
            ValueError,
            "weight code 8 at (0, 0) is no number of posit4_1",
        ),
        ({"weight_format": "fairy2"}, ValueError, "`weight_format` must have exact integers, got fairy2"),
        ({"bias": np.zeros(3, np.int64)}, ValueError, "`bias` must have shape (2,), got (3,)"),
        ({"bias": np.zeros(2)}, TypeError, "`bias` must be integers, got float64"),
        ({"multiplier": np.array([1, -1])}, ValueError, "`multiplier` must be within 0..2147483647, got -1..1"),
        ({"shift": np.array([0, 1])}, ValueError, "`shift` must be within 1..128, got 0..1"),
        (
            {"shift": None},
            ValueError,
            "`multiplier` and `shift` must both be given, or both be None; shift is None",
        ),
        ({"relu": 1}, TypeError, "`relu` must be True or False, got 1"),
        ({"window": "no"}, TypeError, "`window` must be a Window or None, got 'no'"),
        (
            {"window": SQUARE},
            ValueError,
            "`window` has 1 groups with k = 4, `weight` has 1 with 2",
        ),
        (
            {"weight": np.ones((2, 2, 1), np.uint8)},
            ValueError,
            "`weight` with 2 groups needs a `window`",
        ),
    ],
)
def test_products(changes, error, text):
    with pytest.raises(error) as found:
        product(**changes)
    assert str(found.value) == f"node 'fc': {text}"


@pytest.mark.parametrize(
    "make, error, text",
    [
        (lambda: Sum(name="s", inputs=("x",), output="y", multipliers=(1,), shift=1, relu=False), ValueError,
         "node 's': `inputs` must be two or more, got 1"),
        (lambda: Sum(name="s", inputs="xy", output="y", multipliers=(1, 1), shift=1, relu=False), TypeError,
         "node 's': `inputs` must be names of tensors, got 'xy'"),
        (lambda: Sum(name="s", inputs=("x", "x"), output="y", multipliers=(1,), shift=1, relu=False), ValueError,
         "node 's': `multipliers` must be 2 integers, got (1,)"),
        (lambda: Sum(name="s", inputs=("x", "x"), output="y", multipliers=(1, 1), shift=0, relu=False), ValueError,
         "node 's': `shift` must be an integer from 1 to 128, got 0"),
        (lambda: MaxPool(name="m", input="x", output="y", window=None), TypeError,
         "node 'm': `window` must be a Window, got None"),
        (lambda: MaxPool(name="m", input="x", output="y", window=Window(in_shape=(2, 2, 2), kernel=(1, 1), groups=2)),
         ValueError, "node 'm': `window` of a pool must have 1 group, got 2"),
        (lambda: AveragePool(name="a", input="x", output="y", window=SQUARE, multiplier=0, shift=1), ValueError,
         "node 'a': `multiplier` must be an integer from 1 to 2147483647, got 0"),
        (lambda: Concat(name="c", inputs=("x", "x"), output="y", axis=1.0), TypeError,
         "node 'c': `axis` must be an integer, got 1.0"),
        (lambda: Lookup(name="l", input="x", output="y", table=np.zeros(4)), TypeError,
         "node 'l': `table` must be integers, got float64"),
        (lambda: Reshape(name="", input="x", output="y"), ValueError, "`name` of a node must not be empty"),
        (lambda: Reshape(name="r", input="x", output=3), TypeError, "`output` of a node must be a string, got 3"),
    ],
)  # fmt: skip
def test_other_nodes(make, error, text):
    with pytest.raises(error) as found:
        make()
    assert str(found.value) == text


def double(name="double", **changes):
    fields = {"name": name, "inputs": ("x", "x"), "output": "y", "multipliers": (1, 1), "shift": 1, "relu": False}
    return Sum(**(fields | changes))


@pytest.mark.parametrize(
    "make, text",
    [
        (lambda: graph(inputs=()), "`inputs` must name at least one tensor"),
        (lambda: graph(inputs=("z",)), "input 'z' is not among `tensors`"),
        (lambda: graph(inputs=("x", "x")), "input 'x' occurs twice"),
        (lambda: graph(outputs=("z",)), "output 'z' is given by no node"),
        (lambda: graph(tensors=[tensor("x"), tensor("y"), tensor("y")]), "tensor 'y' occurs twice in `tensors`"),
        (
            lambda: graph(tensors=[tensor("x"), tensor("y"), tensor("z")]),
            "tensor 'z' is no input and given by no node",
        ),
        (lambda: graph(product(), product()), "node 'fc' occurs twice"),
        (lambda: graph(product(), double()), "node 'double' gives 'y', which exists already"),
        (lambda: graph(product(input="y")), "node 'fc' takes 'y', which no node before it gives"),
        (lambda: graph(tensors=[tensor("x", (3,)), tensor("y")]), "node 'fc': 'x' must have shape (..., 2), got (3,)"),
        (lambda: graph(tensors=[tensor("x"), tensor("y", (3,))]), "node 'fc': 'y' must have shape (2,), got (3,)"),
        (
            lambda: graph(tensors=[tensor("x"), tensor("y", fmt="int17")]),
            "node 'fc': 'y' must have a format of at most 16 bits, got int17",
        ),
        (
            lambda: graph(product(multiplier=None, shift=None), tensors=[tensor("x"), tensor("y", fmt="int9")]),
            "node 'fc': 'y' of int9 cannot hold sums that can reach 256",
        ),
        (
            lambda: graph(double(), tensors=[tensor("x"), tensor("y", (1, 2))]),
            "node 'double': `shape` of 'x' must be that of 'y', (1, 2), got (2,)",
        ),
        (
            lambda: graph(Reshape(name="r", input="x", output="y"), tensors=[tensor("x"), tensor("y", scale=2.0)]),
            "node 'r': `scale` of 'x' must be that of 'y', 2.0, got 1.0",
        ),
        (
            lambda: graph(Concat(name="c", inputs=("x", "x"), output="y"), tensors=[tensor("x"), tensor("y", (5,))]),
            "node 'c': 'y' has 5 along axis 0, its parts have 4",
        ),
        (
            lambda: graph(Lookup(name="l", input="x", output="y", table=np.zeros(16, int))),
            "node 'l': `table` must have 256 entries for int8, got 16",
        ),
        (
            lambda: graph(Lookup(name="l", input="x", output="y", table=np.full(256, 128))),
            "node 'l': `table` must be within -128..127 (int8)",
        ),
        (
            lambda: graph(product(multiplier=np.array([1, 2**16]))),
            "node 'fc': `multiplier` must be below 2**16 (`multiplier_bits`), got 65536",
        ),
        (
            lambda: graph(double(multipliers=(2**20, 2**20)), acc_bits=8, multiplier_bits=8),
            "node 'double': `acc_bits` = 8 with `multiplier_bits` is too small: its sums can reach 268435456, "
            "which takes 30 bits",
        ),
        (
            lambda: graph(MaxPool(name="m", input="x", output="y", window=SQUARE)),
            "node 'm': 'x' must have the shape of the window, (2, 2, 1), got (2,)",
        ),
    ],
)
def test_graphs(make, text):
    with pytest.raises(ValueError) as found:
        make()
    assert str(found.value) == text


@pytest.mark.parametrize(
    "x, error, text",
    [
        ([[1.0, 2.0]], TypeError, "input 'x' must be integers, got float64"),
        ([1, 2], ValueError, "input 'x' must have shape (batch, 2), got (2,)"),
        (np.zeros((0, 2), int), ValueError, "all inputs must have one batch of at least 1, got {'x': 0}"),
        ([[1, 128]], ValueError, "input 'x' must be within -128..127 (int8), got 1..128"),
        ({"z": [[1, 2]]}, ValueError, "input 'x' is missing"),
        ({"x": [[1, 2]], "z": [[1, 2]]}, ValueError, "input 'z' is unknown"),
    ],
)
def test_inputs(x, error, text):
    with pytest.raises(error) as found:
        graph().run(x)
    assert str(found.value) == text


def test_encoding_saturates_and_refuses_what_is_no_number():
    net = graph(tensors=[tensor("x", scale=0.5), tensor("y", scale=4.0)])
    assert net.encode([[0.75, -0.25], [1e9, -1e9]]).tolist() == [[2, 0], [127, -128]]
    assert net.decode([[1, 2]]).tolist() == [[4.0, 8.0]]
    with pytest.raises(ValueError, match=r"^`x` must be finite, got nan at index \(0, 1\)$"):
        net.encode([[0.0, np.nan]])
    with pytest.raises(ValueError, match=r"^unknown name 'z'; known: x$"):
        net.encode([[0.0, 0.0]], "z")
