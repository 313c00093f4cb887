"""Post-training quantisation: the authority for how a float network becomes one that computes in integers only."""

__all__ = ["quantize"]

from collections.abc import Mapping
from typing import Any

from tetrit import checks
from tetrit.errors import InvalidValueError
from tetrit.hls.graph import Graph
from tetrit.hls.graph.passes import simplified
from tetrit.hls.integer.emit import emit
from tetrit.hls.integer.graph import IntegerGraph
from tetrit.hls.integer.lowering import Given, Stated, lower
from tetrit.hls.integer.scales import check_formats, choose_scales
from tetrit.hls.integer.weights import WeightFormat, weight_formats


def quantize(
    graph: Graph,
    calibration: Any = None,
    *,
    weight_format: WeightFormat | Mapping[str, WeightFormat] = "int8",
    act_format: str = "int8",
    out_format: str = "int16",
    percentile: float = 100.0,
    scales: Mapping[str, float] | None = None,
    equal_branches: bool = True,
    acc_bits: int = 32,
    multiplier_bits: int = 16,
    stated: Mapping[str, Stated] | None = None,
    given: Mapping[str, Given] | None = None,
) -> IntegerGraph:
    """Make an integer network of a float one, without training.

    Batch normalisation and constant factors go into the products before them, ReLU and ReLU6 into products and sums;
    all other functions of one number become tables. Weights get one scale an output. QuantizeLinear,
    DequantizeLinear and QONNX's Quant nodes are taken by their word: weights keep their integers and activations their
    scales, also with zero points, which only move the ends of what a tensor may hold.

    Supported are Conv in one and two dimensions, Gemm and MatMul with constant weights, BatchNormalization, Add, Sub,
    Sum, MaxPool, AveragePool, GlobalAveragePool, GlobalMaxPool, ReduceMean over pixels, Concat, Flatten, Reshape,
    Squeeze, Unsqueeze and Transpose where integers need not move, Pad with zeros before a Conv, and functions of one
    number.

    Parameters
    ----------
    graph : Graph
        With the batch as the first axis of every input and value.
    calibration : array_like of float, or mapping of str to array_like, optional
        Inputs (n, ...) in the layout of `graph`, typical ones, from which scales of activations are found. None where
        the network states all.
    weight_format : str, Estimator, or mapping of str to either, default "int8"
        Format of the weights, or estimator of `tetrit.estimators`; or by the names of nodes, as patterns with ``*``:
        the first one that fits counts. The rule for a format: ``szt`` for that format, for all others ``ste_format``,
        which finds the scale of least squared error.
    act_format : str, default "int8"
        ``int2`` .. ``int16``, of inputs and of all tensors between nodes.
    out_format : str, default "int16"
        Of results that nothing else uses; more than 16 bits gives accumulators as they are.
    percentile : float, default 100
        Of the magnitudes in the calibration, which the greatest integer stands for; above 0.
    scales : mapping of str to float, optional
        Real value of 1 for inputs or other values of the graph, in the place of calibration.
    equal_branches : bool, default True
        Whether the inputs of a sum get one scale, so that a sum needs one multiplier.
    acc_bits, multiplier_bits : int
        See `IntegerGraph`.
    stated : mapping of str to (codes, scale, format), optional
        Codes of constants of the graph, for instance of a checkpoint; the scale broadcasts against them.
    given : mapping of str to Given, optional
        Scale, format and range of values of the graph, as `scales` but each with a format of its own.

    Returns
    -------
    IntegerGraph

    Raises
    ------
    TypeError, InvalidValueError
        If a node has no integer form (the message names all of them), an argument is of the wrong kind or value, or an
        accumulator would not fit; the message names the node.

    Notes
    -----
    Dyadic requantisation after Yao et al., HAWQ-V3, arXiv 2011.10680, which ties the branches of a sum to equal bits.
    Their equal scales, the choice of scales from a calibration, the tables and the room for twice the largest result
    are ours.

    Examples
    --------
    >>> import numpy as np
    >>> from tetrit.hls.graph import Builder
    >>> from tetrit.hls.integer import quantize
    >>> b = Builder("tiny")
    >>> x = b.input("x", (1, 2))
    >>> y = b.relu(b.linear(x, 2, weight=np.array([[1.0, -1.0], [0.5, 0.25]], np.float32)))
    >>> net = quantize(b.build([y]), np.array([[1.0, 0.5], [-1.0, 1.0]]))
    >>> integers = net.run(net.encode([[1.0, 0.5]]))
    >>> net.decode(integers[net.outputs[0]]).round(2)
    array([[1.25, 0.  ]])
    """
    if not isinstance(graph, Graph):
        raise TypeError(f"`graph` must be a Graph, got {graph!r}")
    check_formats(act_format, out_format)
    acc_bits = checks.integer("acc_bits", acc_bits, minimum=2, maximum=63)
    multiplier_bits = checks.integer("multiplier_bits", multiplier_bits, minimum=2, maximum=31)
    if not isinstance(equal_branches, bool):
        raise TypeError(f"`equal_branches` must be True or False, got {equal_branches!r}")
    bits = int(act_format.removeprefix("int"))
    given = dict(given or {}) | {
        name: Given(
            scale=checks.real(f"scales['{name}']", scale, minimum=0.0, exclusive=True),
            format=act_format,
            low=-(2 ** (bits - 1)),
            high=2 ** (bits - 1) - 1,
        )
        for name, scale in (scales or {}).items()
    }
    for name in stated or {}:
        if name not in graph.constants:
            raise InvalidValueError(f"`stated` has codes of '{name}', which is no constant of the graph")
    lowered = lower(simplified(graph), given=given, stated=stated or {})
    estimators = weight_formats(weight_format, [step.name for step in lowered.steps if step.kind == "product"])
    chosen = choose_scales(
        lowered,
        calibration,
        act_format=act_format,
        out_format=out_format,
        percentile=percentile,
        equal_branches=equal_branches,
    )
    return emit(lowered, chosen, estimators, acc_bits=acc_bits, multiplier_bits=multiplier_bits)
