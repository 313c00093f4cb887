"""Networks that onnxruntime has quantised give its results, or ones a unit apart, in integers."""

import warnings

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from tetrit import hls
from tetrit.hls.integer import channels_last

DATA = np.random.default_rng(1).normal(size=(24, 3, 8, 8)).astype(np.float32)


def model():
    """A residual network with relu6, a sigmoid gate, pools, a concatenation and a linear layer."""
    rng = np.random.default_rng(0)
    shapes = {"w0": (8, 3, 3, 3), "b0": (8,), "w1": (8, 1, 3, 3), "b1": (8,), "w2": (8, 8, 1, 1), "w3": (5, 16)}
    constants = [numpy_helper.from_array(rng.normal(0, 0.3, s).astype(np.float32), n) for n, s in shapes.items()]
    constants += [numpy_helper.from_array(np.float32(value), name) for name, value in (("low", 0), ("high", 6))]
    node = helper.make_node
    nodes = [
        node("Conv", ["x", "w0", "b0"], ["c0"], pads=[1, 1, 1, 1]),
        node("Relu", ["c0"], ["r0"]),
        node("Conv", ["r0", "w1", "b1"], ["c1"], pads=[1, 1, 1, 1], group=8),
        node("Clip", ["c1", "low", "high"], ["r1"]),
        node("Conv", ["r1", "w2"], ["c2"]),
        node("Add", ["c2", "r0"], ["a"]),
        node("MaxPool", ["a"], ["m"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Sigmoid", ["m"], ["s"]),
        node("Mul", ["m", "s"], ["g"]),
        node("Concat", ["g", "m"], ["j"], axis=1),
        node("GlobalAveragePool", ["j"], ["p"]),
        node("Flatten", ["p"], ["f"]),
        node("Gemm", ["f", "w3"], ["y"], transB=1),
    ]
    ends = [[helper.make_tensor_value_info(n, TensorProto.FLOAT, s)] for n, s in (("x", [1, 3, 8, 8]), ("y", [1, 5]))]
    graph = helper.make_graph(nodes, "net", *ends, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


class Reader:
    """Hands out the calibration."""

    def __init__(self):
        self.left = list(DATA)

    def get_next(self):
        return {"x": self.left.pop()[None]} if self.left else None


def quantized(folder, *, per_channel, signed, symmetric):
    from onnxruntime import quantization as q

    onnx.save(model(), folder / "float.onnx")
    kind = q.QuantType.QInt8 if signed else q.QuantType.QUInt8
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        q.quantize_static(
            folder / "float.onnx",
            folder / "integer.onnx",
            Reader(),
            quant_format=q.QuantFormat.QDQ,
            per_channel=per_channel,
            activation_type=kind,
            weight_type=q.QuantType.QInt8,
            extra_options={"ActivationSymmetric": symmetric},
        )
    return folder / "integer.onnx"


@pytest.mark.parametrize(
    "per_channel, signed, symmetric", [(True, True, True), (False, True, False), (True, False, False)]
)
def test_a_network_quantised_by_onnxruntime(tmp_path, per_channel, signed, symmetric):
    path = quantized(tmp_path, per_channel=per_channel, signed=signed, symmetric=symmetric)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    wanted = np.concatenate([session.run(None, {"x": x[None]})[0] for x in DATA])
    net = hls.quantize(hls.from_onnx(path))  # without calibration
    out = net.outputs[0]
    found = net.run(net.encode(channels_last(DATA)))[out]
    apart = np.abs(found - wanted / net.tensors[out].scale)
    assert apart.max() < 1.001
    assert (apart > 0.001).mean() < 0.05
    assert wanted.std() > 10 * net.tensors[out].scale
    sums = [node for node in net.nodes if type(node).__name__ == "Sum"]
    assert len(sums) == 1 and sums[0].multipliers[0] != sums[0].multipliers[1]  # their scales, not ours
