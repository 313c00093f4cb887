"""Import of ONNX: equal to onnxruntime on exported networks, exact on quantised ones."""

import importlib.util
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from tetrit.errors import InvalidValueError
from tetrit.hls import from_onnx
from tetrit.hls.graph import folded

_spec = importlib.util.spec_from_file_location("graph_networks", Path(__file__).parent / "graph" / "networks.py")
networks = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(networks)
model, saved, tensor = networks.model, networks.saved, networks.tensor

TOLERANCE = 2e-6  # of the largest output; float32 sums in another order


def raises(text):
    return pytest.raises(InvalidValueError, match="^" + re.escape(text) + "$")


# ---- networks against onnxruntime


@pytest.mark.parametrize("name", networks.NETWORKS)
def test_exported_networks(name, tmp_path):
    path = networks.export(name, tmp_path / "net.onnx")
    x = networks.example(name, seed=1)
    graph = from_onnx(path)
    expected = networks.reference(path, {"x": x})
    got = graph.run({"x": x})
    for output, value in zip(graph.outputs, expected, strict=True):
        assert got[output].shape == value.shape == graph.values[output].shape
        np.testing.assert_allclose(got[output], value, rtol=0, atol=TOLERANCE * np.abs(value).max())


def test_the_comparison_would_notice(tmp_path):
    path = networks.export("resnet", tmp_path / "net.onnx")
    x = networks.example("resnet", seed=1)
    graph = from_onnx(path)
    (expected,) = networks.reference(path, {"x": x})
    for name, weight in graph.constants.items():
        changed = dict(graph.constants) | {name: weight * np.float32(1.001)}
        got = replace(graph, constants=changed).run({"x": x})["y"]
        assert np.abs(got - expected).max() > TOLERANCE * np.abs(expected).max(), name


@pytest.mark.parametrize("name", ["resnet", "mobilenet"])
def test_batch_normalisation_folds_away(name, tmp_path):
    import torch

    path = networks.export(name, tmp_path / "net.onnx", training=torch.onnx.TrainingMode.PRESERVE)
    x = networks.example(name, seed=1)
    plain = from_onnx(path)
    merged = folded(plain)
    assert "BatchNormalization" in {node.op for node in plain.nodes}
    assert "BatchNormalization" not in {node.op for node in merged.nodes}
    (expected,) = networks.reference(path, {"x": x})
    for graph in (plain, merged):
        got = graph.run({"x": x})[graph.outputs[0]]
        np.testing.assert_allclose(got, expected, rtol=0, atol=TOLERANCE * np.abs(expected).max())


def test_dynamic_batch(tmp_path):
    path = networks.export("transformer", tmp_path / "net.onnx", dynamic_axes={"x": {0: "batch", 1: "steps"}})
    with raises(
        "'net.onnx': dynamic dimensions of input 'x' [batch, steps]: pass their sizes, for example shapes={'x': (1, 1)}"
    ):
        from_onnx(path)
    tokens = np.arange(15).reshape(3, 5)
    graph = from_onnx(path, shapes={"x": (3, 5)})
    (expected,) = networks.reference(path, {"x": tokens})
    np.testing.assert_allclose(graph.run({"x": tokens})["y"], expected, rtol=0, atol=TOLERANCE * np.abs(expected).max())
    # what computed the shapes in the file is gone
    assert not {"Shape", "ConstantOfShape", "Range", "Expand"} & {node.op for node in graph.nodes}


# ---- quantised networks


class Batches:
    def __init__(self, arrays):
        self.left = [{"x": array} for array in arrays]

    def get_next(self):
        return self.left.pop() if self.left else None


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.filterwarnings("ignore")
def test_quantised_by_onnxruntime(per_channel, tmp_path):
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    source = networks.export("resnet", tmp_path / "net.onnx")
    path = tmp_path / "quantised.onnx"
    x = networks.example("resnet", seed=1)
    options = {"quant_format": QuantFormat.QDQ, "per_channel": per_channel, "activation_type": QuantType.QInt8}
    quantize_static(source, path, Batches([x]), **options)
    graph = from_onnx(path)
    assert {"QuantizeLinear", "DequantizeLinear"} < {node.op for node in graph.nodes}
    (expected,) = networks.reference(path, {"x": x})
    got = graph.run({"x": x})["y"]
    # the last operator dequantises, so the outputs are integers in disguise: all equal but for a rare tie of roundings
    scale = graph.constants[next(node.inputs[1] for node in graph.nodes if node.outputs == ("y",))]
    steps = np.rint((got - expected) / scale)
    np.testing.assert_allclose(got - expected, steps * scale, atol=1e-6)
    assert np.abs(steps).max() <= 1
    assert (steps == 0).mean() >= 0.9


def quantised(axis, scale, zero, shape=(2, 3, 4), dtype=np.int8):
    constants = {"s": np.asarray(scale, np.float32), "z": np.asarray(zero, dtype)}
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], axis=axis),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"], axis=axis),
    ]
    stored = tensor("q", None, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))
    return model(nodes, [tensor("x", shape)], [stored, tensor("y", None)], constants)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint16])
@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_quantise_and_dequantise_are_exact(dtype, axis, tmp_path):
    rng = np.random.default_rng(0)
    n = (2, 3, 4)[axis]
    limits = np.iinfo(dtype)
    scale = rng.random(n).astype(np.float32) * 0.01 + 0.001
    proto = quantised(axis, scale, rng.integers(limits.min // 2, limits.max // 2, n), dtype=dtype)
    proto.opset_import[0].version = 21
    proto.ir_version = 10
    path = saved(tmp_path, proto)
    x = (rng.standard_normal((2, 3, 4)) * 200 * scale.max()).astype(np.float32)
    x.flat[:3] = [np.inf, -np.inf, 1e30]
    expected = networks.reference(path, {"x": x})
    got = from_onnx(path).run({"x": x})
    assert np.array_equal(got["q"], expected[0])
    assert np.array_equal(got["y"], expected[1])


def test_four_bit_weights(tmp_path):
    codes = np.arange(-8, 8).reshape(4, 4)
    weight = helper.make_tensor("w", TensorProto.INT4, (4, 4), codes.reshape(-1))
    zero = helper.make_tensor("z", TensorProto.INT4, (4,), [0, 1, -1, 2])
    proto = model(
        [
            helper.make_node("DequantizeLinear", ["w", "s", "z"], ["d"], axis=1),
            helper.make_node("MatMul", ["x", "d"], ["y"]),
            helper.make_node("QuantizeLinear", ["y", "s", "z"], ["q"], axis=1),
            helper.make_node("DequantizeLinear", ["q", "s", "z"], ["r"], axis=1),
        ],
        [tensor("x", (2, 4))],
        [tensor("y", None), tensor("r", None)],
        {"s": np.array([0.5, 0.25, 1, 2], np.float32)},
        opset=21,
    )
    proto.graph.initializer.extend([weight, zero])
    proto.ir_version = 10
    path = saved(tmp_path, proto)
    graph = from_onnx(path)
    assert graph.constants["w"].dtype == np.int8
    assert np.array_equal(graph.constants["w"], codes)
    x = np.random.default_rng(0).standard_normal((2, 4)).astype(np.float32) * 10
    for got, expected in zip(graph.run({"x": x}).values(), networks.reference(path, {"x": x}), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_qonnx(tmp_path):
    domain = "qonnx.custom_op.general"
    rng = np.random.default_rng(0)
    w = rng.standard_normal((4, 3)).astype(np.float32)
    constants = {"w": w, "s": np.float32(0.25), "z": np.float32(0), "b": np.float32(4), "o": np.float32(2)}
    nodes = [
        helper.make_node(
            "Quant", ["w", "s", "z", "b"], ["wq"], domain=domain, signed=1, narrow=1, rounding_mode="ROUND"
        ),
        helper.make_node("IntQuant", ["x", "s", "z", "b"], ["xq"], domain="finn.custom_op.general", signed=0),
        helper.make_node("MatMul", ["xq", "wq"], ["m"]),
        helper.make_node("BipolarQuant", ["m", "s"], ["p"], domain="onnx.brevitas"),
        helper.make_node("Trunc", ["xq", "s", "z", "b", "o"], ["t"], domain=domain, rounding_mode="FLOOR"),
    ]
    path = saved(tmp_path, model(nodes, [tensor("x", (5, 4))], [tensor(n, None) for n in ("m", "p", "t")], constants))
    graph = from_onnx(path)
    x = rng.standard_normal((5, 4)).astype(np.float32) * 3
    got = graph.run({"x": x})
    weights = np.clip(np.rint(w * 4), -7, 7)
    codes = np.rint(np.clip(x * 4, 0, 15))
    assert np.array_equal(got["m"], codes @ weights / 16)
    assert np.array_equal(got["p"], np.where(codes @ weights >= 0, 0.25, -0.25))
    assert np.array_equal(got["t"], np.floor(codes / 4) * 0.25)
    assert "Quant" in {node.op for node in graph.nodes}  # it stays, though its weight is fixed


# ---- older forms


def test_older_operator_sets(tmp_path):
    x = np.random.default_rng(0).standard_normal((2, 3, 4, 4)).astype(np.float32)
    cases = {
        "softmax": (9, [helper.make_node("Softmax", ["x"], ["y"])], {}),
        "log_softmax": (11, [helper.make_node("LogSoftmax", ["x"], ["y"], axis=2)], {}),
        "clip": (7, [helper.make_node("Clip", ["x"], ["y"], min=-0.5, max=0.5)], {}),
        "squeeze": (11, [helper.make_node("Unsqueeze", ["x"], ["y"], axes=[0, 5])], {}),
        "slice": (9, [helper.make_node("Slice", ["x"], ["y"], axes=[3, 1], starts=[1, -2], ends=[9, 3])], {}),
        "pad": (10, [helper.make_node("Pad", ["x"], ["y"], pads=[0, 0, 1, 2, 0, 1, 0, 0], value=3.0)], {}),
        "split": (11, [helper.make_node("Split", ["x"], ["y", "z"], axis=1, split=[1, 2])], {}),
        "reduce": (12, [helper.make_node("ReduceSum", ["x"], ["y"], axes=[1, 2], keepdims=0)], {}),
        "dropout": (9, [helper.make_node("Dropout", ["x"], ["y"], ratio=0.5)], {}),
        "upsample_attribute": (7, [helper.make_node("Upsample", ["x"], ["y"], scales=[1.0, 1.0, 2.0, 2.0])], {}),
        "upsample": (9, [helper.make_node("Upsample", ["x", "s"], ["y"])], {"s": np.float32([1, 1, 2, 2])}),
        "resize": (10, [helper.make_node("Resize", ["x", "s"], ["y"])], {"s": np.float32([1, 1, 2, 3])}),
    }
    for name, (opset, nodes, constants) in cases.items():
        proto = model(nodes, [tensor("x", x.shape)], [tensor("y", None)], constants, opset=opset)
        path = saved(tmp_path, proto, f"{name}.onnx")
        (expected,) = networks.reference(path, {"x": x})
        np.testing.assert_allclose(from_onnx(path).run({"x": x})["y"], expected, rtol=1e-5, err_msg=name)


def test_functions_are_put_in_place(tmp_path):
    body = [helper.make_node("Relu", ["a"], ["t"]), helper.make_node("Add", ["t", "a"], ["b"])]
    function = helper.make_function("mine", "Twice", ["a"], ["b"], body, [helper.make_opsetid("", 20)])
    proto = model(
        [helper.make_node("Twice", ["x"], ["y"], domain="mine")],
        [tensor("x", (3,))],
        [tensor("y", None)],
        functions=[function],
    )
    proto.opset_import.append(helper.make_opsetid("mine", 1))
    graph = from_onnx(saved(tmp_path, proto))
    assert graph.run({"x": [-1.0, 0.0, 2.0]})["y"].tolist() == [-1, 0, 4]


def test_constants_and_names(tmp_path):
    nodes = [
        helper.make_node("Constant", [], ["a"], value_floats=[1.0, 2.0, 3.0]),
        helper.make_node("Constant", [], ["b"], value_int=-1, name="same"),
        helper.make_node("Add", ["x", "a"], ["t"], name="same"),
        helper.make_node("Unsqueeze", ["t", "b"], ["y"], name="same"),
        helper.make_node("Relu", ["t"], ["z"]),
    ]
    proto = model(nodes, [tensor("x", (3,))], [tensor("y", None), tensor("z", None)])
    graph = from_onnx(saved(tmp_path, proto))
    assert [node.name for node in graph.nodes] == ["same_1", "same_2", "Relu_z"]
    assert graph.run({"x": [1.0, 1, 1]})["y"].tolist() == [[2.0], [3.0], [4.0]]
