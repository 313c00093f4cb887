"""Rounding to formats in tensor operations: the codes' values that `encode` gives, bit for bit, borders included."""

import numpy as np
import pytest
import torch

from tetrit import formats
from tetrit.estimators.stochastic._shared import REAL_FORMATS, neighbours
from tetrit.train.quantizers.rules._formats import ends, nearest, neighbour_values, place_below

BOOK = formats.codebook_name([-1.0, -0.3, 0.1, 0.4, 0.4, 2.0])
every = pytest.mark.parametrize("name", [*REAL_FORMATS, BOOK])


def probes(name):
    """All finite values, all middles and standard borders, their next doubles, zeros, tiny and huge numbers."""
    fmt = formats.get(name)
    values = np.unique(fmt.values[np.isfinite(fmt.values)])
    middles = values[:-1] / 2 + values[1:] / 2
    roots = np.sqrt(np.abs(values[:-1]) * np.abs(values[1:])) * np.sign(values[1:] + values[:-1])
    points = np.concatenate([values, middles, roots])
    around = np.concatenate([points, np.nextafter(points, np.inf), np.nextafter(points, -np.inf)])
    return np.concatenate([around, -around, [0.0, -0.0, 5e-324, -5e-324, 1e300, -1e300, np.inf, -np.inf]])


@every
def test_nearest_is_what_encode_gives(name):
    fmt = formats.get(name)
    rng = np.random.default_rng(0)
    x = np.concatenate([probes(name), rng.normal(size=1000) * min(fmt.max_value, 1e30)])
    np.testing.assert_array_equal(nearest(torch.as_tensor(x), name).numpy().view(np.int64), bits(fmt.quantize(x)))


def bits(values):
    return np.ascontiguousarray(values).view(np.int64)


@every
def test_every_code_rounds_to_itself(name):
    fmt = formats.get(name)
    values = fmt.values[np.isfinite(fmt.values)]
    np.testing.assert_array_equal(nearest(torch.as_tensor(values), name).numpy(), values)


@every
def test_neighbours(name):
    values, _ = neighbours(name)
    on_device = neighbour_values(name, torch.device("cpu"))
    np.testing.assert_array_equal(bits(on_device.numpy()), bits(values))
    assert neighbour_values(name, torch.device("cpu")) is on_device
    assert ends(name) == (values[0], values[-1])
    x = probes(name)
    below = place_below(on_device, torch.as_tensor(x)).numpy()
    np.testing.assert_array_equal(below, np.searchsorted(values, x, side="right") - 1)


def test_any_memory_order():
    x = torch.linspace(-2, 2, 24, dtype=torch.float64).reshape(4, 6).T
    assert nearest(x, "szt").tolist() == nearest(x.contiguous(), "szt").tolist()
