"""Execution of float graphs in numpy beside onnxruntime: ResNet-18 and MobileNetV2 at 224 x 224, one image.

Run it as ``python bench/bench_graph.py``; it needs torch and onnxruntime. The networks have the published layers
(ResNet-18: He et al., arXiv 1512.03385; MobileNetV2: Sandler et al., arXiv 1801.04381) and random weights, are
exported by torch and imported by tetrit, batch normalisation folded. onnxruntime runs the same files with its default
optimisations. Both use one thread, and the time is that of the processor, so that other work on the machine counts
little; figures are medians of runs that take turns. Writes build/bench/graph.json.
"""

import argparse
import statistics
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from _common import write
from threadpoolctl import threadpool_limits
from torch import nn

from tetrit import hls
from tetrit.hls.graph import folded


class Basic(nn.Module):
    """The block of ResNet-18."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs),
        )  # fmt: skip
        plain = stride == 1 and inputs == outputs
        project = [nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)]
        self.shortcut = nn.Identity() if plain else nn.Sequential(*project)

    def forward(self, x):  # noqa: D102
        return torch.relu(self.body(x) + self.shortcut(x))


def resnet18():
    layers = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    inputs = 64
    for outputs, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
        layers += [Basic(inputs, outputs, stride), Basic(outputs, outputs, 1)]
        inputs = outputs
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 1000))


class Inverted(nn.Module):
    """The inverted residual of MobileNetV2."""

    def __init__(self, inputs, outputs, stride, expansion):
        super().__init__()
        wide = inputs * expansion
        layers = [nn.Conv2d(inputs, wide, 1, bias=False), nn.BatchNorm2d(wide), nn.ReLU6()] if expansion > 1 else []
        layers += [nn.Conv2d(wide, wide, 3, stride, 1, groups=wide, bias=False), nn.BatchNorm2d(wide), nn.ReLU6()]
        self.body = nn.Sequential(*layers, nn.Conv2d(wide, outputs, 1, bias=False), nn.BatchNorm2d(outputs))
        self.skip = stride == 1 and inputs == outputs

    def forward(self, x):  # noqa: D102
        return x + self.body(x) if self.skip else self.body(x)


def mobilenet_v2():
    layers = [nn.Conv2d(3, 32, 3, 2, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU6()]
    inputs = 32
    blocks = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]
    for expansion, outputs, count, stride in blocks:
        for place in range(count):
            layers.append(Inverted(inputs, outputs, stride if place == 0 else 1, expansion))
            inputs = outputs
    layers += [nn.Conv2d(320, 1280, 1, bias=False), nn.BatchNorm2d(1280), nn.ReLU6(), nn.AdaptiveAvgPool2d(1)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(1280, 1000))


def processor_ms(tasks, repeats):
    """Return the median processor time of each task; the tasks take turns, after one round that does not count."""
    times = {name: [] for name in tasks}
    for _ in range(repeats + 1):
        for name, task in tasks.items():
            start = time.process_time()
            task()
            times[name].append(1e3 * (time.process_time() - start))
    return {name: statistics.median(values[1:]) for name, values in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=15)
    repeats = parser.parse_args().repeats
    torch.manual_seed(0)
    x = np.random.default_rng(0).standard_normal((1, 3, 224, 224)).astype(np.float32)
    rows = []
    print(f"{'network':>14} {'GMAC':>6} {'tetrit ms':>10} {'onnxruntime ms':>15} {'ratio':>6} {'largest error':>14}")
    for name, make in (("resnet18", resnet18), ("mobilenet_v2", mobilenet_v2)):
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the exporter that works without onnxscript is deprecated
            path = Path(folder) / f"{name}.onnx"
            torch.onnx.export(make().eval(), (torch.from_numpy(x),), str(path), dynamo=False, input_names=["x"])
            graph = folded(hls.from_onnx(path))
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = 1
            session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        expected = session.run(None, {"x": x})[0]
        error = float(np.abs(graph.run({"x": x})[graph.outputs[0]] - expected).max() / np.abs(expected).max())
        tasks = {
            "tetrit": lambda g=graph: g.run({"x": x}),
            "onnxruntime": lambda s=session: s.run(None, {"x": x}),
        }
        with threadpool_limits(1):
            ms = processor_ms(tasks, repeats)
        row = {"network": name, "macs": graph.macs, "tetrit_ms": ms["tetrit"], "onnxruntime_ms": ms["onnxruntime"]}
        row |= {"ratio": ms["tetrit"] / ms["onnxruntime"], "largest_relative_error": error}
        rows.append(row)
        print(
            f"{name:>14} {graph.macs * 1e-9:6.2f} {row['tetrit_ms']:10.1f} {row['onnxruntime_ms']:15.1f} "
            f"{row['ratio']:6.2f} {error:14.1e}"
        )
    write("graph", {"networks": rows})


if __name__ == "__main__":
    main()
