"""Small networks exported by PyTorch or built by hand, and onnxruntime as the reference for what they compute."""

import warnings
from pathlib import Path

import numpy as np
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn
from torch.nn import functional


class Residual(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.first_norm = nn.BatchNorm2d(outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.second_norm = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride) if stride > 1 else nn.Identity()

    def forward(self, x):
        y = torch.relu(self.first_norm(self.first(x)))
        return torch.relu(self.second_norm(self.second(y)) + self.shortcut(x))


def resnet():
    stem = [nn.Conv2d(3, 8, 7, 2, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    body = [Residual(8, 8, 1), Residual(8, 16, 2)]
    return nn.Sequential(*stem, *body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10))


def mobilenet():
    def inverted(inputs, outputs, stride, expansion=4):
        wide = inputs * expansion
        return nn.Sequential(
            nn.Conv2d(inputs, wide, 1, bias=False), nn.BatchNorm2d(wide), nn.ReLU6(),
            nn.Conv2d(wide, wide, 3, stride, 1, groups=wide, bias=False), nn.BatchNorm2d(wide), nn.Hardswish(),
            nn.Conv2d(wide, outputs, 1, bias=False), nn.BatchNorm2d(outputs),
        )  # fmt: skip

    head = [nn.AvgPool2d(3, 2, 1, ceil_mode=True), nn.Flatten(), nn.LazyLinear(10), nn.LogSoftmax(-1)]
    return nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.SiLU(), inverted(8, 12, 2), inverted(12, 16, 1), *head)


class Transformer(nn.Module):
    def __init__(self, width=32, heads=4):
        super().__init__()
        self.heads = heads
        self.embedding = nn.Embedding(50, width)
        self.before, self.after = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, tokens):
        x = self.embedding(tokens)
        batch, steps, width = x.shape
        qkv = self.qkv(self.before(x)).view(batch, steps, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(qkv[0], qkv[1], qkv[2], is_causal=True)
        x = x + self.out(mixed.transpose(1, 2).reshape(batch, steps, width))
        return x + self.down(functional.gelu(self.up(self.after(x))))


class Recurrent(nn.Module):
    def __init__(self, kind, **options):
        super().__init__()
        self.cell = kind(6, 8, batch_first=True, **options)
        self.head = nn.Linear(16 if options.get("bidirectional") else 8, 3)

    def forward(self, x):
        return self.head(self.cell(x)[0])


def sequence():
    return nn.Sequential(
        nn.Conv1d(4, 8, 5, 2, 2, dilation=1), nn.LeakyReLU(0.1), nn.Conv1d(8, 8, 3, padding=2, dilation=2, groups=2),
        nn.ELU(), nn.ConvTranspose1d(8, 4, 4, 2, 1), nn.Softplus(), nn.MaxPool1d(2),
    )  # fmt: skip


NETWORKS = {
    "resnet": (resnet, (2, 3, 32, 32)),
    "mobilenet": (mobilenet, (2, 3, 30, 30)),
    "transformer": (Transformer, (2, 7)),
    "lstm": (lambda: Recurrent(nn.LSTM), (2, 5, 6)),
    "lstm2": (lambda: Recurrent(nn.LSTM, num_layers=2, bidirectional=True), (2, 5, 6)),
    "gru": (lambda: Recurrent(nn.GRU, bidirectional=True), (2, 5, 6)),
    "sequence": (sequence, (3, 4, 17)),
}


def example(name, seed=0):
    """Return an input of a network."""
    rng = np.random.default_rng(seed)
    shape = NETWORKS[name][1]
    if name == "transformer":
        return rng.integers(0, 50, shape)
    return rng.standard_normal(shape).astype(np.float32)


def export(name, path: Path, **options):
    """Write a network with random parameters, batch statistics among them, to an ONNX file."""
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter that works without onnxscript is deprecated
        torch.manual_seed(0)
        model = NETWORKS[name][0]()
        x = torch.from_numpy(example(name))
        model(x)  # lazy layers, and batch statistics that are not 0 and 1
        model.eval()
        torch.onnx.export(model, (x,), str(path), dynamo=False, input_names=["x"], output_names=["y"], **options)
    return path


def reference(path: Path, inputs):
    """Return the outputs of onnxruntime, with its rewriting switched off."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return session.run(None, inputs)


def tensor(name, shape, kind=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def model(nodes, inputs, outputs, constants=(), opset=20, **options):
    initializers = [numpy_helper.from_array(np.asarray(array), name) for name, array in dict(constants).items()]
    graph = helper.make_graph(nodes, "g", inputs, outputs, initializers)
    imports = [helper.make_opsetid("", opset), helper.make_opsetid("qonnx.custom_op.general", 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=9, **options)


def saved(tmp_path, proto, name="net.onnx"):
    path = tmp_path / name
    path.write_bytes(proto if isinstance(proto, bytes) else proto.SerializeToString())
    return path


def relu(shape=(1, 3), **options):
    return model(
        [helper.make_node("Relu", ["x"], ["y"], name="r")], [tensor("x", shape)], [tensor("y", None)], **options
    )
