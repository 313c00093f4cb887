"""Networks that C++ is written for, on the digits, and how it is compiled and run."""

import importlib.util
import os
import subprocess
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tetrit import formats, hardware, hls, sim
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
from tetrit.sim.requantize import dyadic

TRAINING = 1348  # of 1797 images; the other 449 are what C++ and golden run compute


@dataclass(frozen=True)
class Digits:
    images: np.ndarray  # (449, 64), 0..16
    labels: np.ndarray
    train_images: np.ndarray
    train_labels: np.ndarray
    weights: list[np.ndarray]  # of a perceptron trained on images / 16
    biases: list[np.ndarray]


@pytest.fixture(scope="session")
def digits() -> Digits:
    from sklearn.datasets import load_digits
    from sklearn.neural_network import MLPClassifier

    data, labels = load_digits(return_X_y=True)
    data = data.astype(np.int64)
    model = MLPClassifier((20,), max_iter=40, random_state=0, learning_rate_init=0.01)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it has not converged, which is no matter
        model.fit(data[:TRAINING] / 16, labels[:TRAINING])
    return Digits(
        data[TRAINING:], labels[TRAINING:], data[:TRAINING], labels[:TRAINING], model.coefs_, model.intercepts_
    )


def quantised(weights: np.ndarray, name: str, *, powers: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return codes and the scale of each column: the one of a few that is nearest, powers of two if asked."""
    known = formats.get(name)
    codes, scales = np.empty(weights.shape, known.code_dtype), np.empty(weights.shape[1])
    for column, values in enumerate(weights.T):
        top = np.abs(values).max() / known.max_value
        tried = 2.0 ** np.arange(-9, 3) if powers else top * np.geomspace(0.3, 3, 25)
        found = [known.encode(values / scale) for scale in tried]
        errors = [np.square(known.values[c] * s - values).sum() for c, s in zip(found, tried, strict=True)]
        best = int(np.argmin(errors))
        codes[:, column], scales[column] = found[best], tried[best]
    return codes, scales


@pytest.fixture(scope="session")
def shift_program(digits: Digits) -> Callable[[str], sim.Program]:
    def made(weight_format: str) -> sim.Program:
        layers, in_scale = [], 1 / 16
        for place, (weight, bias) in enumerate(zip(digits.weights, digits.biases, strict=True)):
            codes, scales = quantised(weight, weight_format, powers=False)
            last = place == 1
            out_scale = 0.002 if last else 0.05
            layers.append(
                sim.QuantizedLinear(
                    name=f"fc{place + 1}",
                    weight=codes,
                    weight_format=weight_format,
                    weight_scale=scales,
                    bias=bias,
                    in_format="int8",
                    in_scale=in_scale,
                    out_format="int16" if last else "int8",
                    out_scale=out_scale,
                    relu=not last,
                )
            )
            in_scale = out_scale
        machine = hardware.ShiftArray(rows=8, cols=8, weight_format=weight_format, acc_bits=32)
        return hls.compile_network(layers, machine, batch=1)

    return made


@pytest.fixture(scope="session")
def simd_program(digits: Digits) -> Callable[..., sim.SimdProgram]:
    def made(act_format: str, weight_format: str | None = None) -> sim.SimdProgram:
        layers = []
        scales = (1.0, 2.0, 8.0)  # of inputs, of what the first layer gives, of results
        for place, (weight, bias) in enumerate(zip(digits.weights, digits.biases, strict=True)):
            codes, weight_scale = quantised(weight, weight_format or act_format, powers=True)
            layers.append(
                sim.QuantizedLinear(
                    name=f"fc{place + 1}",
                    weight=codes,
                    weight_format=weight_format or act_format,
                    weight_scale=weight_scale,
                    bias=bias,
                    in_format=act_format,
                    in_scale=scales[place],
                    out_format=act_format,
                    out_scale=scales[place + 1],
                    relu=place == 0,
                )
            )
        return hls.compile_network(layers, hardware.SimdEngine(rows=2, cols=2), batch=1)

    return made


def tensors(**shapes: tuple[int, ...]) -> list[IntegerTensor]:
    return [IntegerTensor(name=name, shape=shape, format="int8", scale=1.0) for name, shape in shapes.items()]


def product(
    rng: np.random.Generator, name: str, source: str, output: str, k: int, n: int, weight_format: str, **fields: Any
) -> Product:
    """Return a layer of random weights whose outputs fill their range about."""
    known = formats.get(weight_format)
    groups = fields["window"].groups if fields.get("window") else 1
    shape = (groups, k, n // groups) if groups > 1 else (k, n)
    codes = rng.choice(np.flatnonzero(np.isfinite(known.values)), shape).astype(known.code_dtype)
    gain = 1.2 * np.abs(known.integers[codes]).mean() * np.sqrt(k)
    multiplier, shift = dyadic(rng.uniform(0.5, 1.5, n) / gain, multiplier_bits=16, acc_bits=32)
    given = {
        "weight": codes,
        "weight_format": weight_format,
        "bias": rng.integers(-60, 60, n),
        "multiplier": multiplier,
        "shift": shift,
        "relu": True,
        "window": None,
    }
    return Product(name=name, input=source, output=output, **(given | fields))


@pytest.fixture(scope="session")
def cnn(digits: Digits) -> IntegerGraph:
    """Convolutions of several kinds, padded and strided, a residual sum and a pool; the last layer is trained.

    It takes images times 7, which fill the range of int8.
    """
    rng = np.random.default_rng(1)
    named = tensors(image=(8, 8, 1), a=(8, 8, 6), b=(4, 4, 12), c=(4, 4, 12), d=(4, 4, 12), p=(3, 3, 12), v=(108,))
    nodes = [
        product(
            rng, "conv1", "image", "a", 9, 6, "int4",
            window=Window(in_shape=(8, 8, 1), kernel=(3, 3), padding=(1, 1, 1, 1)),
        ),
        product(
            rng, "conv2", "a", "b", 54, 12, "szt",
            window=Window(in_shape=(8, 8, 6), kernel=(3, 3), stride=(2, 2), padding=(0, 1, 1, 0)),
        ),
        product(
            rng, "conv3", "b", "c", 108, 12, "pot3z", relu=False,
            window=Window(in_shape=(4, 4, 12), kernel=(3, 3), padding=(1, 1, 1, 1)),
        ),
        Sum(name="join", inputs=("b", "c"), output="d", multipliers=(3, 5), shift=2, relu=True),
        MaxPool(name="pool", input="d", output="p", window=Window(in_shape=(4, 4, 12), kernel=(2, 2))),
        Reshape(name="flatten", input="p", output="v"),
    ]  # fmt: skip
    body = IntegerGraph(name="body", inputs=("image",), outputs=("v",), nodes=nodes, tensors=named)
    features = body.run(7 * digits.train_images.reshape(-1, 8, 8, 1))["v"].astype(float)
    assert (features.std(axis=0) > 1).mean() > 0.9  # nearly all of them live
    targets = np.eye(10)[digits.train_labels] - 0.1
    solved = np.linalg.solve(features.T @ features + 1e3 * np.eye(108), features.T @ targets)
    codes = formats.get("int8").encode(solved / np.abs(solved).max() * 127)
    last = Product(
        name="fc", input="v", output="logits", weight=codes, weight_format="int8", bias=np.arange(10) * 30,
        multiplier=None, shift=None, relu=False,
    )  # fmt: skip
    logits = IntegerTensor(name="logits", shape=(10,), format="int22", scale=1.0)
    return IntegerGraph(
        name="cnn", inputs=("image",), outputs=("logits",), nodes=[*nodes, last], tensors=[*named, logits]
    )


@pytest.fixture(scope="session")
def odd() -> IntegerGraph:
    """Everything else: groups, 1 x 1, dilation, tables, concatenation along two axes, pools, several outputs."""
    rng = np.random.default_rng(2)
    named = tensors(
        x=(7, 5, 4), deep=(7, 5, 4), g=(4, 3, 6), point=(4, 3, 5), cat=(4, 3, 11), curve=(4, 3, 11), most=(2, 3, 11),
        mean=(2, 2, 11), all=(1, 1, 11), tall=(6, 3, 11), far=(2, 1, 3), column=(4, 1, 3), narrow=(2, 1, 2),
    )  # fmt: skip
    over = {"in_shape": (4, 3, 11)}
    nodes = [
        product(
            rng, "depth.wise", "x", "deep", 9, 4, "pot4",
            window=Window(in_shape=(7, 5, 4), kernel=(3, 3), padding=(1, 1, 1, 1), groups=4),
        ),
        product(
            rng, "int", "deep", "g", 12, 6, "int4",
            window=Window(in_shape=(7, 5, 4), kernel=(3, 2), stride=(2, 2), padding=(1, 1, 1, 0), groups=2),
        ),
        product(rng, "1x1", "g", "point", 6, 5, "fp4_e2m1", window=Window(in_shape=(4, 3, 6), kernel=(1, 1))),
        Concat(name="beside", inputs=("g", "point"), output="cat"),
        Lookup(name="look", input="cat", output="curve", table=np.minimum(np.arange(-128, 128) ** 2 // 90 - 40, 127)),
        MaxPool(
            name="most", input="curve", output="most",
            window=Window(**over, kernel=(3, 3), stride=(2, 1), padding=(1, 1, 1, 1)),
        ),
        Concat(name="below", inputs=("most", "curve"), output="tall", axis=0),
        AveragePool(
            name="all", input="curve", output="all", window=Window(**over, kernel=(4, 3)), multiplier=43691, shift=19
        ),
        AveragePool(
            name="mean", input="curve", output="mean", multiplier=3, shift=3,
            window=Window(**over, kernel=(2, 2), stride=(2, 2), padding=(0, 0, 0, 1)),
        ),
        product(
            rng, "far", "tall", "far", 66, 3, "posit8_0", relu=False,
            window=Window(in_shape=(6, 3, 11), kernel=(2, 3), dilation=(2, 1), stride=(2, 1)),
        ),
        Concat(name="stack", inputs=("far", "far"), output="column", axis=0),
        product(
            rng, "tallest", "column", "narrow", 6, 2, "uint4", relu=False,
            window=Window(in_shape=(4, 1, 3), kernel=(2, 1), stride=(2, 1)),
        ),
    ]  # fmt: skip
    outputs = ("far", "mean", "all", "cat", "narrow")
    return IntegerGraph(name="odd", inputs=("x",), outputs=outputs, nodes=nodes, tensors=named)


@pytest.fixture(scope="session")
def odd_inputs() -> np.ndarray:
    return np.random.default_rng(3).integers(-128, 128, (60, 7, 5, 4))


@pytest.fixture(scope="session")
def ap_types() -> Path:
    """The open headers of ap_int, ap_fixed and hls::stream, in the wheel of hls4ml, which is not imported."""
    spec = importlib.util.find_spec("hls4ml")
    assert spec is not None and spec.submodule_search_locations, "hls4ml is not installed: `make test` does that"
    return Path(spec.submodule_search_locations[0]) / "templates" / "vivado" / "ap_types"


@pytest.fixture(scope="session")
def bench() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Compile a folder's test bench, and run it on the golden vectors, by its own script."""

    def run(folder: Path, *, headers: Path | None = None, flags: str = "-O2") -> subprocess.CompletedProcess[str]:
        env = {key: value for key, value in os.environ.items() if key not in ("CXX", "CXXFLAGS", "AP_TYPES")}
        env |= {"CXXFLAGS": flags} | ({"AP_TYPES": str(headers)} if headers else {})
        return subprocess.run([folder / "build.sh"], env=env, capture_output=True, text=True, check=False)

    return run
