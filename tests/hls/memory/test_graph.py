"""Tensor graphs: what they derive, and every error with its text."""

import pickle

import pytest

from tetrit.errors import InvalidValueError
from tetrit.hls import networks
from tetrit.hls.memory import Op, TensorGraph, fused

SIZES = {"x": 4, "p": 3, "q": 2, "y": 1}


def test_inputs_outputs_order_and_the_smallest_budget():
    graph = TensorGraph([Op("b", ["p", "x", "x"], ["y"]), Op("a", ["x"], ["p"])], SIZES)
    assert graph.inputs == ("x",)
    assert graph.outputs == ("y",)
    assert graph.default_order == (1, 0)
    assert graph.smallest_budget == 8
    assert "q" not in graph.sizes
    assert TensorGraph(graph.ops, SIZES, ["p"]).outputs == ("p", "y")
    assert pickle.loads(pickle.dumps(graph)) == graph
    assert hash(graph) == hash(TensorGraph(graph.ops, dict(reversed(SIZES.items()))))


def test_lists_become_tuples():
    assert Op("a", ["x"], ["y"]) == Op(name="a", inputs=("x",), outputs=("y",))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Op(3, [], []), TypeError, r"^`name` must be a string, got 3$"),
        (lambda: Op("a", "x", []), TypeError, r"^operator 'a': `inputs` must be a sequence of names, got 'x'$"),
        (lambda: Op("a", [], [1]), TypeError, r"^operator 'a': `outputs` must hold names, got 1$"),
        (lambda: Op("a", [], ["y", "y"]), InvalidValueError, r"^operator 'a': writes 'y' twice$"),
        (lambda: Op("a", ["x"], ["x"]), InvalidValueError, r"^operator 'a': both reads and writes 'x'$"),
        (lambda: TensorGraph([], {}), InvalidValueError, r"^`ops` must hold at least one operator, got none$"),
        (lambda: TensorGraph(["a"], {}), TypeError, r"^`ops` must hold operators, got 'a'$"),
        (
            lambda: TensorGraph([Op("a", [], [])], [1]),
            TypeError,
            r"^`sizes` must map names of tensors to bytes, got \[1\]$",
        ),
        (
            lambda: TensorGraph([Op("a", ["x"], ["z"])], SIZES),
            InvalidValueError,
            r"^`sizes` must have every tensor, got none for 'z' of 'a'$",
        ),
        (
            lambda: TensorGraph([Op("a", ["x"], ["y"])], {"x": -1, "y": 1}),
            InvalidValueError,
            r"^`sizes\['x'\]` must be a non-negative integer, got -1$",
        ),
        (
            lambda: TensorGraph([Op("a", ["x"], ["y"])], {"x": 1.5, "y": 1}),
            TypeError,
            r"^`sizes\['x'\]` must be an integer, got 1\.5$",
        ),
        (
            lambda: TensorGraph([Op("a", ["x"], ["y"]), Op("a", ["x"], ["p"])], SIZES),
            InvalidValueError,
            r"^`ops` must have names of their own, got 'a' twice$",
        ),
        (
            lambda: TensorGraph([Op("a", ["x"], ["y"]), Op("b", ["x"], ["y"])], SIZES),
            InvalidValueError,
            r"^tensor 'y' must have one writer, got 'a' and 'b'$",
        ),
        (
            lambda: TensorGraph([Op("a", ["x"], ["y"])], SIZES, ["x"]),
            InvalidValueError,
            r"^`outputs` must be tensors that an operator writes, got 'x'$",
        ),
        (
            lambda: TensorGraph(
                [Op("c", ["y"], ["z"]), Op("a", ["q"], ["p"]), Op("b", ["p"], ["q", "y"])], SIZES | {"z": 1}
            ),
            InvalidValueError,
            r"^operators must not wait for each other, got a cycle through '[ab]'$",
        ),
    ],
)
def test_errors(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_element_wise_operators_run_with_their_neighbours():
    """ResNet-18: 20 convolutions, 8 sums, 2 poolings and the classifier; the first norm and relu leave no tensor."""
    graph = fused(networks.get("resnet18"))
    assert len(graph.ops) == 31
    assert graph.smallest_budget == 112 * 112 * 64 + 56 * 56 * 64
    assert all(len(op.outputs) == 1 for op in graph.ops)
    assert fused(networks.get("resnet18"), 2).smallest_budget == 2 * graph.smallest_budget
    assert networks.get("resnet18").tensor_graph().smallest_budget == 2 * 112 * 112 * 64


def test_what_an_output_needs_is_never_fused_away():
    """The head reads the relu of DenseNet's last concatenation, which runs with the mean that reads it."""
    graph = fused(networks.get("densenet121"))
    assert graph.outputs == networks.get("densenet121").outputs
