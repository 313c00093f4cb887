"""C++ for high-level synthesis: how long it takes to write and to compile, and how fast it runs beside the golden run.

Run it as ``python bench/bench_hls_cpp.py``. Networks on the digits' images: a perceptron with hidden layers of 128
and 64 in SZT, the same in posit16_1, and a residual CNN quantised to int8 and to SZT; weights are drawn, since values
do not change times. Writing is timed with 449 golden vectors and their golden run in it; compiling is g++ -O2, with the
library's own integers and with those of ap_types (hls4ml's wheel); both then run the vectors in one process, whose
start is part of the time. Beside them the golden run, `sim.execute.execute` or `IntegerGraph.run`, on the whole batch
at once. All times are processor seconds, of all threads and child processes, which other work on the machine disturbs
least; medians of three, but of compiling. Writes build/bench/hls_cpp.json.
"""

import importlib.util
import itertools
import json
import os
import shutil
import statistics
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "2")
os.environ.setdefault("NUMBA_NUM_THREADS", "2")

import numpy as np
from _common import write
from sklearn.datasets import load_digits

from tetrit import formats, hardware, hls, sim
from tetrit.hls.cpp import to_hls_cpp
from tetrit.hls.graph import Builder
from tetrit.sim.execute import execute

IMAGES = 449
HIDDEN = (64, 128, 64, 10)


def perceptron(weight_format: str, *, posit: bool) -> Any:
    rng = np.random.default_rng(0)
    usable = np.flatnonzero(np.isfinite(formats.get(weight_format).values))
    layers, scale = [], 1.0 if posit else 1 / 16
    for place, (k, n) in enumerate(itertools.pairwise(HIDDEN)):
        codes = rng.choice(usable, (k, n)).astype(formats.get(weight_format).code_dtype)
        layers.append(
            sim.QuantizedLinear(
                name=f"fc{place + 1}",
                weight=codes,
                weight_format=weight_format,
                weight_scale=np.full(n, 2.0**-4),
                bias=rng.normal(0, 0.5, n),
                in_format=weight_format if posit else "int8",
                in_scale=scale,
                out_format=weight_format if posit else "int8",
                out_scale=1.0 if posit else 1 / 16,
                relu=place < len(HIDDEN) - 2,
            )
        )
        scale = layers[-1].out_scale
    machine = hardware.SimdEngine(rows=4, cols=4) if posit else hardware.ShiftArray(rows=16, cols=16, acc_bits=32)
    return hls.compile_network(layers, machine, batch=IMAGES)


def residual(images: np.ndarray, weight_format: str) -> hls.IntegerGraph:
    rng = np.random.default_rng(1)
    net = Builder("residual")

    def conv(x: str, inputs: int, channels: int, stride: int = 1) -> str:
        weight = rng.normal(0, np.sqrt(2 / (9 * inputs)), (channels, inputs, 3, 3)).astype(np.float32)
        return net.conv(x, channels, 3, stride=stride, padding=1, weight=weight)

    first = net.relu(conv(net.input("image", (1, 1, 8, 8)), 1, 16))
    inner = conv(net.relu(conv(first, 16, 16)), 16, 16)
    joined = net.relu(net.add(first, inner))
    last = net.relu(conv(joined, 16, 32, stride=2))
    vector = net.flatten(net.max_pool(last, 2, stride=2))
    logits = net.linear(vector, 10, weight=rng.normal(0, 0.1, (128, 10)).astype(np.float32))
    calibration = images.reshape(-1, 1, 8, 8).astype(np.float32)
    return hls.quantize(net.build([logits]), calibration, weight_format=weight_format)


def ap_types() -> Path | None:
    spec = importlib.util.find_spec("hls4ml")
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0]) / "templates" / "vivado" / "ap_types"


def seconds(task: Callable[[], object]) -> float:
    """Return the processor time of a task, with that of the processes that it starts."""
    before = os.times()
    task()
    return sum(new - old for new, old in zip(os.times()[:4], before[:4], strict=True))


def often(task: Callable[[], object]) -> float:
    """Return the processor time of a task, run until it is long beside the clock's step of 10 ms."""
    total, runs = 0.0, 0
    while total < 0.5:
        total, runs = total + seconds(task), runs + 1
    return total / runs


def measured(network: Any, inputs: np.ndarray, golden: Callable[[], object], folder: Path) -> dict[str, Any]:
    shutil.rmtree(folder, ignore_errors=True)
    golden()  # numba compiles in the first run
    figures: dict[str, Any] = {"write_s": seconds(lambda: to_hls_cpp(network, folder, inputs=inputs))}
    report = json.loads((folder / "report.json").read_text())
    figures["macs"] = sum(layer.get("macs", 0) for layer in report["layers"])
    tasks: dict[str, Callable[[], object]] = {"golden": golden}
    kinds = {"own": ["-Wall"], "ap": ["-w", "-DTETRIT_AP_TYPES", "-isystem", str(ap_types())]}
    for kind, flags in kinds.items():
        if kind == "ap" and ap_types() is None:
            continue
        bench = folder / f"testbench_{kind}"
        files = [folder / "testbench.cpp", folder / "network.cpp"]
        command = ["g++", "-std=c++17", "-O2", *flags, "-Wno-unknown-pragmas", "-I", folder, "-o", bench, *files]
        figures[f"compile_{kind}_s"] = seconds(lambda command=command: subprocess.run(command, check=True))
        run = [bench, folder / "golden.txt"]
        tasks[kind] = lambda run=run: subprocess.run(run, check=True, capture_output=True)
    times = {name: statistics.median(often(task) for _ in range(3)) for name, task in tasks.items()}
    figures |= {f"images_per_cpu_s_{name}": len(inputs) / value for name, value in times.items()}
    return figures


def main() -> None:
    images = load_digits().data.astype(np.int64)[-IMAGES:]
    shift, simd = perceptron("szt", posit=False), perceptron("posit16_1", posit=True)
    codes = simd.encode(images / 16)
    jobs: dict[str, tuple[Any, np.ndarray, Callable[[], object]]] = {
        "perceptron szt": (shift, images, lambda: execute(shift, images)),
        "perceptron posit16_1": (simd, codes, lambda: execute(simd, codes)),
    }
    for weight_format in ("int8", "szt"):
        graph = residual(images, weight_format)
        x = graph.encode(images.reshape(-1, 8, 8, 1))
        jobs[f"residual cnn {weight_format}"] = graph, x, lambda graph=graph, x=x: graph.run(x)
    figures = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, (network, inputs, golden) in jobs.items():
            figures[name] = measured(network, inputs, golden, Path(folder) / "net")
            print(name, {key: round(value, 3) for key, value in figures[name].items()})
    write("hls_cpp", figures)


if __name__ == "__main__":
    main()
