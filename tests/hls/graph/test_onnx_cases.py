"""ONNX's own operator tests: every case whose operators we claim either equals its data or is refused as listed."""

import re
import warnings
from collections import Counter

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from tetrit.errors import InvalidValueError
from tetrit.hls.graph.operators import OPERATORS
from tetrit.hls.importers.onnx import from_model

EXCLUDED = {
    # what -> pattern of the error; each is listed in docs/networks.md under "What is not supported"
    "bfloat16": r"the element type bfloat16",
    "float8": r"the element type float8e(4m3fn|4m3fnuz|5m2|5m2fnuz|8m0)",
    "float4": r"the element type float4e2m1",
    "text": r"the element type string",
    "integers below a byte, but as constants": r"the element type u?int[24]\b",
    "inputs that are no tensors": r"an input that is no tensor",
    "operator sets before 7": r"opset 1 \(7 to \d+ can be read\)",
    "training mode": r"it is in training mode; export the network in evaluation mode",
    "cubic Resize": r"\(Resize\): `mode` must be one of nearest, linear, got cubic",
    "Resize with antialiasing": r"\(Resize\): `antialias` must be one of 0, got 1",
    "Resize with cropping": r"\(Resize\): `coordinate_transformation_mode` must be one of .*, got tf_crop_and_resize",
    "Resize that keeps the aspect": r"\(Resize\): `keep_aspect_ratio_policy` must be one of stretch, got not_",
}
LEAST_RUN = 1260
HALF_TOLERANCE = 2 * float(np.finfo(np.float16).eps)
"""float16 results may be two roundings apart; ONNX's own tolerance of 0.001 is hardly one."""


def _array(value):
    return numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else np.asarray(value)


def _graph(model, arrays, simplify=True):
    """Import a case; inputs that shapes depend on become constants, since our shapes are fixed."""
    try:
        return from_model(model, simplify=simplify)
    except InvalidValueError as error:
        if "depends on" not in str(error):
            raise
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    first, *others = arrays
    fixed.graph.initializer.extend(numpy_helper.from_array(arrays[name], name) for name in others)
    try:
        return from_model(fixed, simplify=simplify)
    except InvalidValueError as error:
        if "depends on" not in str(error):
            raise
    fixed.graph.initializer.append(numpy_helper.from_array(arrays[first], first))
    return from_model(fixed, simplify=simplify)


def _check(case, simplify=True):
    """Return what the case is excluded for, or None after comparing it."""
    for inputs, outputs in case.data_sets:
        arrays = {proto.name: _array(value) for proto, value in zip(case.model.graph.input, inputs, strict=False)}
        try:
            graph = _graph(case.model, arrays, simplify)
        except InvalidValueError as error:
            for what, pattern in EXCLUDED.items():
                if re.search(pattern, str(error)):
                    return what
            raise
        results = graph.run({value.name: arrays[value.name] for value in graph.inputs})
        for name, value in zip(graph.outputs, outputs, strict=False):
            expected = _array(value)
            assert results[name].dtype == expected.dtype == graph.values[name].dtype
            rtol = max(case.rtol, HALF_TOLERANCE) if expected.dtype == np.float16 else case.rtol
            np.testing.assert_allclose(results[name], expected, rtol=rtol, atol=case.atol)
    return None


@pytest.fixture(scope="module")
def cases():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy's, from how onnx makes its data
        from onnx.backend.test.case.node import collect_testcases

        found = collect_testcases(None)
    claimed = set(OPERATORS) | {"Constant"}
    return [case for case in found if {node.op_type for node in case.model.graph.node} <= claimed]


def test_every_case_of_our_operators(cases):
    failed, outcome = [], Counter()
    for case in cases:
        try:
            outcome[_check(case)] += 1
        except Exception as error:
            failed.append(f"{case.name}: {type(error).__name__}: {error}")
    assert not failed, "\n".join(failed)
    assert outcome[None] >= LEAST_RUN, outcome
    assert set(EXCLUDED) == set(outcome) - {None}, "an exclusion that nothing needs"


def _wrong(kernel):
    """Return a function whose first output is another one."""

    def changed(node, *inputs):
        results = kernel(node, *inputs)
        first = np.asarray(results[0] if isinstance(results, tuple) else results)
        other = ~first if first.dtype == bool else (first + first.dtype.type(1)).astype(first.dtype)
        return (other, *results[1:]) if isinstance(results, tuple) else other

    return changed


def _notices(case):
    try:
        _check(case, simplify=False)
    except (AssertionError, InvalidValueError):  # a wrong shape may fit nowhere
        return True
    return False


def test_a_wrong_operator_is_noticed(cases, monkeypatch):
    using = {op: [] for op in OPERATORS}
    for case in sorted(cases, key=lambda case: len(case.model.graph.node)):
        for op in {node.op_type for node in case.model.graph.node} - {"Constant"}:
            using[op].append(case)
    unnoticed = []
    for op, kernel in OPERATORS.items():
        with monkeypatch.context() as patch:
            patch.setitem(OPERATORS, op, _wrong(kernel))
            if not any(_notices(case) for case in using[op]):
                unnoticed.append(op)
    assert sorted(unnoticed) == ["BipolarQuant", "Quant", "Trunc"]  # of QONNX: see test_onnx.py
