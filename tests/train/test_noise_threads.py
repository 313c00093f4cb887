"""Loops on PyTorch's threads: the same bits for any number of them, and without OpenMP; what they refuse."""

import re
import sys

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from tetrit.errors import InvalidValueError
from tetrit.hardware import load
from tetrit.train import noise_aware, quantizer
from tetrit.train.noise import _kernels, tasks
from tetrit.train.noise.quantising import quantised
from tetrit.train.threads import torch_team

N_OUT, N_IN, ROWS, BATCH = 37, 300, 128, 41
"""No blocks of equal size: more elements than a thread does alone."""


@pytest.fixture(params=["one", "two", "five", "no OpenMP"])
def team(request, monkeypatch, set_threads):
    """Several numbers of threads, and none but the caller's."""
    if request.param == "no OpenMP":
        monkeypatch.setattr(tasks, "torch_team", lambda: None)
    set_threads({"one": 1, "five": 5}.get(request.param, 2))
    return request.param


def words(*arrays):
    """Return what a task takes for arrays."""
    return [word for x in arrays for word in (x.ctypes.data, *x.shape)]


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
    losses, ends = rng.integers(1 << 32, size=shape, dtype=np.uint32), singles(rng, 4)
    n_columns = groups * N_OUT
    found, wanted = (
        (np.zeros(N_OUT, np.float32), np.zeros((n_columns, N_IN), np.float32), np.zeros(n_columns * N_IN, np.uint16))
        for _ in range(2)
    )
    prefix, count = 2**63 + 11, 7
    top, base = np.float32(127), np.float32(0.25)
    scales, out, quiet = wanted
    key = np.uint64(prefix), np.uint64(count)
    _kernels.draw(values, top, scales, -127, law, base, losses, ends, *key, ROWS, out, quiet, 0, N_OUT)
    scales, *drawn = found
    known = *words(values), 127, *words(scales), -127, *words(law), 0.25, *words(losses, ends)
    tasks.DRAW(N_OUT, groups * N_IN, *known, prefix, count, ROWS, *words(*drawn))
    for one, other in zip(found, wanted, strict=True):
        assert one.any() and np.array_equal(one, other)
    tasks.DRAW(N_OUT, groups * N_IN, *known, prefix, count + 1, ROWS, *words(*drawn))
    assert not np.array_equal(found[1], wanted[1])


def entered(integers, widths):
    """Return what `enter` must write for a matrix of integers: digits, and bfloat16 bits of their squares by arrays."""
    rest, found = integers.astype(np.int64), []
    for width in widths[:-1]:
        found.append(rest & (1 << width) - 1)
        rest = rest >> width
    digits = np.concatenate([*found, rest]).astype(np.float32)
    bits = ((digits * digits).view(np.uint32) + 0x8000) >> 16
    blocks = [bits[:, start : start + ROWS].ravel() for start in range(0, bits.shape[1], ROWS)]
    return digits, np.concatenate(blocks).astype(np.uint16)


def room(n, n_in, digits):
    return np.zeros((digits * n, n_in), np.float32), np.zeros(digits * n * n_in, np.uint16)


@pytest.mark.parametrize("widths", [[8], [3, 3, 2]])
def test_inputs_are_their_digits(team, widths):
    x = np.random.default_rng(2).standard_normal((BATCH, N_IN)).astype(np.float32)
    step, low, high = np.float32(0.02), np.float32(-128), np.float32(127)
    found = room(BATCH, N_IN, len(widths))
    tasks.ENTER(BATCH, N_IN, *words(x), step, low, high, *words(np.array(widths)), ROWS, *words(*found))
    for one, other in zip(found, entered(np.clip(np.rint(x * (1 / step)), low, high), widths), strict=True):
        assert one.any() and np.array_equal(one, other)


@pytest.mark.parametrize("widths", [[8], [3, 3, 2]])
@pytest.mark.parametrize(("kernel", "stride", "dilation"), [((5, 5), (1, 1), (1, 1)), ((2, 3), (3, 1), (2, 4))])
def test_patches_are_their_digits(team, kernel, stride, dilation, widths):
    images = np.random.default_rng(3).integers(-128, 128, (3, 9, 13, 17)).astype(np.float32)
    unfolded = functional.unfold(torch.tensor(images), kernel, stride=stride, dilation=dilation)
    wanted = entered(unfolded.mT.flatten(0, 1).numpy(), widths)
    places = [(n - d * (k - 1) - 1) // s + 1 for n, k, s, d in zip((13, 17), kernel, stride, dilation, strict=True)]
    n, n_in = 3 * places[0] * places[1], unfolded.shape[1]
    found = room(n, n_in, len(widths))
    shape = *kernel, *stride, *dilation, *places
    tasks.PATCHES(n, n_in, *words(images), *shape, *words(np.array(widths)), ROWS, *words(*found))
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
    low, high, spread, step = (np.float32(x) for x in (-20, 19, 0.5, 0.125))
    given = currents, variances, spread, floor, np.uint64(5), np.uint64(6), gain, offset
    _kernels.convert(*given, low, high, bool(converts), factor, scale, step, bias, wanted, 0, BATCH)
    before = *words(currents, variances), 0.5, *words(floor), 5, 6, *words(gain, offset)
    after = -20, 19, converts, *words(factor, scale), 0.125, *words(bias, found)
    tasks.CONVERT(BATCH, digits * parts * n_columns, *before, *after)
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
    monkeypatch.setattr(tasks, "QUANTISE", None)
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
    assert torch_team() is not None
