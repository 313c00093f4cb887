"""Loops on PyTorch's threads: the same bits for any number of them, and without OpenMP; what they refuse."""

import re
import sys

import numpy as np
import pytest
import torch
from torch import nn

from tetrit.errors import InvalidValueError
from tetrit.hardware import load
from tetrit.train import noise_aware, quantizer
from tetrit.train.noise import _kernels, threads
from tetrit.train.noise.quantising import quantised
from tetrit.train.noise.threads import tasks

N_OUT, N_IN, ROWS, BATCH = 37, 300, 128, 41
"""No blocks of equal size: more elements than a thread does alone."""


@pytest.fixture(params=["one", "two", "five", "no OpenMP"])
def team(request, monkeypatch, set_threads):
    """Several numbers of threads, and none but the caller's."""
    if request.param == "no OpenMP":
        monkeypatch.setattr(tasks, "_fork", lambda: None)
    set_threads({"one": 1, "five": 5}.get(request.param, 2))
    return request.param


def address(x):
    return x.ctypes.data


def singles(rng, *shape):
    return rng.standard_normal(shape).astype(np.float32)


@pytest.fixture
def set_threads():
    """`torch.set_num_threads`, undone at the end."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize("wires", [False, True])
@pytest.mark.parametrize("groups", [1, 2])
def test_columns_are_those_of_one_loop(team, wires, groups):
    rng = np.random.default_rng(1)
    values = singles(rng, N_OUT, N_IN)
    values[3] = 0
    law = singles(rng, groups, 255, 4).view(np.complex128)[..., 0]
    shape = (groups, N_OUT, N_IN) if wires else (0, 0, 0)
    shares, rest = np.abs(singles(rng, *shape)), singles(rng, *shape)
    n_columns = groups * N_OUT
    found, wanted = (
        (np.zeros(N_OUT, np.float32), np.zeros((n_columns, N_IN), np.float32), np.zeros(n_columns * N_IN, np.uint16))
        for _ in range(2)
    )
    key = np.uint64(_kernels.numbered(np.uint64(2**63 + 11), np.uint64(7)))
    top, base = np.float32(127), np.float32(0.25)
    scales, out, quiet = wanted
    _kernels.draw(values, top, scales, -127, law, base, shares, rest, key, ROWS, out, quiet, 0, N_OUT)
    scales, out, quiet = map(address, found)
    known = address(values), N_OUT, N_IN, 127, scales, -127, address(law), groups, 255, 0.25
    own = address(shares), address(rest), int(wires), 2**63 + 11, 7, ROWS, out, quiet, 1
    assert threads.DRAW(N_OUT, groups * N_IN, *known, *own)
    for one, other in zip(found, wanted, strict=True):
        assert one.any() and np.array_equal(one, other)
    assert threads.DRAW(N_OUT, groups * N_IN, *known, *own[:4], 8, *own[5:])  # of another draw
    assert not np.array_equal(found[1], wanted[1])


@pytest.mark.parametrize("widths", [[8], [3, 3, 2]])
def test_inputs_are_those_of_one_loop(team, widths):
    x = np.random.default_rng(2).standard_normal((BATCH, N_IN)).astype(np.float32)
    sizes, digits = np.array(widths), len(widths)
    found, wanted = (
        (np.zeros((digits * BATCH, N_IN), np.float32), np.zeros(digits * BATCH * N_IN, np.uint16)) for _ in range(2)
    )
    step, low, high = np.float32(0.02), np.float32(-128), np.float32(127)
    _kernels.split(np.clip(np.rint(x * (1 / step)), low, high), sizes, ROWS, *wanted)
    out = map(address, found)
    assert threads.ENTER(BATCH, N_IN, address(x), BATCH, N_IN, step, low, high, address(sizes), digits, ROWS, *out, 1)
    for one, other in zip(found, wanted, strict=True):
        assert one.any() and np.array_equal(one, other)


@pytest.mark.parametrize(("noisy", "floored", "converts"), [(1, 1, 1), (1, 0, 1), (0, 1, 0), (0, 0, 1)])
def test_results_are_those_of_one_loop(team, noisy, floored, converts):
    rng = np.random.default_rng(3)
    digits, parts, groups = 2, 3, 2
    n_columns = groups * N_OUT
    currents = 30 * singles(rng, parts, digits * BATCH, n_columns)
    variances = (np.abs(singles(rng, parts * noisy, digits * BATCH, n_columns)).view(np.uint32) >> 16).astype(np.uint16)
    floor = np.abs(singles(rng, digits, parts, n_columns * floored))
    gain, offset = singles(rng, digits, parts, n_columns), singles(rng, parts, n_columns)
    factor, scale, bias = singles(rng, digits, parts, n_columns), singles(rng, N_OUT), singles(rng, N_OUT)
    found, wanted = np.zeros((2, BATCH, N_OUT), np.float32)
    key = np.uint64(_kernels.numbered(np.uint64(5), np.uint64(6)))
    low, high, spread, step = (np.float32(x) for x in (-20, 19, 0.5, 0.125))
    tables = gain, offset, low, high, bool(converts), factor, scale, step, bias
    _kernels.convert(currents, variances, spread, floor, key, *tables, wanted, 0, BATCH)
    before = address(currents), address(variances), noisy, 0.5, address(floor), floored, 5, 6, address(gain)
    after = address(offset), -20, 19, converts, address(factor), digits, parts, n_columns
    last = address(scale), 0.125, address(bias), BATCH, N_OUT, address(found)
    assert threads.CONVERT(BATCH, digits * parts * n_columns, *before, *after, *last)
    assert found.any() and np.array_equal(found, wanted)


@pytest.mark.parametrize("limit", [None, 0.7])
@pytest.mark.parametrize("shape", [(N_OUT, N_IN), (20, 30, 3, 5), (3, 1)])
def test_weights_are_those_of_the_quantiser(team, shape, limit):
    weight = nn.Parameter(torch.randn(shape, generator=torch.Generator().manual_seed(4)))
    with torch.no_grad():
        weight[0] = 0
    for name in ("int8", "int4"):
        own = quantizer("ste", axis=0, format=name, limit=limit)
        found = quantised(own, weight)
        assert torch.equal(found, own.values(weight))
        assert not found.requires_grad


def test_weights_that_are_not_finite(team):
    weight = torch.ones(64, 300)
    weight[40, 3] = torch.nan
    with pytest.raises(InvalidValueError, match=re.escape("`w` must be finite, got nan at index (40, 3)") + "$"):
        quantised(quantizer("ste", axis=0), weight)


@pytest.mark.parametrize("name", ["double", "strided", "shared scale", "other estimator", "evaluation"])
def test_other_weights_are_left_to_the_quantiser(name, monkeypatch):
    monkeypatch.setattr(threads, "QUANTISE", None)
    weight = torch.randn(40, 300, generator=torch.Generator().manual_seed(5))
    own = quantizer("ste", axis=None if name == "shared scale" else 0)
    if name == "other estimator":
        own = quantizer("ste_clipped", axis=0)
    if name == "evaluation":
        own.eval()
    weight = {"double": weight.double(), "strided": weight.t()}.get(name, weight)
    assert torch.equal(quantised(own, weight), own.values(weight))


def test_chips_do_not_depend_on_the_number_of_threads(set_threads):
    """Of a whole layer: drawn columns to the bit, results but for the order of sums in PyTorch's products."""
    results = []
    x = torch.rand(BATCH, N_IN, generator=torch.Generator().manual_seed(6))
    for count in (1, 2):
        set_threads(count)
        torch.manual_seed(7)
        machine = load("crossbar_256_pcm").replace(rows=ROWS, cols=64, time_s=3600.0)
        model = noise_aware(nn.Sequential(nn.Linear(N_IN, N_OUT)), machine)
        layer = model[0]
        model(x)  # which learns the ranges
        layer.begin()
        layer(x)
        panel = layer.simulation._current.panel
        results.append((panel.weights.clone(), panel.flicker_parts.rest.clone(), layer.simulation._standing))
    (weights, quiet, standing), (others, other_quiet, other_standing) = results
    assert torch.equal(weights, others) and torch.equal(quiet, other_quiet)
    assert torch.equal(standing.wires.share[0], other_standing.wires.share[0])
    assert torch.equal(standing.wires.rest[0], other_standing.wires.rest[0])
    assert torch.equal(standing.thermal, other_standing.thermal)


@pytest.mark.skipif(sys.platform != "linux", reason="GCC's OpenMP is that of Linux")
def test_openmp_is_pytorchs():
    assert "ATen parallel backend: OpenMP" in torch.__config__.parallel_info()
    assert tasks._fork() is not None
