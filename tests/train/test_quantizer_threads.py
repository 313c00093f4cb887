"""Quantisers on PyTorch's threads: the same bits for any number of them, and those of the golden estimator."""

import sys

import numpy as np
import pytest
import torch

from tetrit import native
from tetrit.errors import InvalidValueError
from tetrit.train import quantizer
from tetrit.train.quantizers import _golden
from tetrit.train.threads import torch_team

SHAPE = (96, 1003)
"""More than a thread does alone, and no blocks of equal size."""

RULES = [
    ("ste", {}),
    ("ste", {"axis": 0}),
    ("ste", {"format": "int8", "limit": 1.5}),
    ("ste_clipped", {"limit": 1.25}),
    ("ste_clipped", {"axis": 0}),
    ("szt", {}),
    ("szt", {"axis": 0}),
    ("lsq", {}),
    ("lsq", {"axis": 0}),
    ("pot", {"axis": 0}),
    ("statsq", {"axis": 0}),
    ("reste", {}),
    ("biper", {}),
    ("asq", {"axis": None}),
    ("tanh_clip", {}),
    ("stochastic_rounding", {}),
    ("post", {}),
    ("ste_format", {}),
    ("ste_format", {"format": "posit8_0", "axis": 0, "power_of_two": False}),
]


@pytest.fixture(params=[1, 2, 5])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.parametrize(("name", "fields"), RULES, ids=lambda value: str(value))
def test_values_and_gradients(threads, name, fields):
    generator = torch.Generator().manual_seed(3)
    w = torch.randn(SHAPE, generator=generator).requires_grad_()
    grad = torch.randn(SHAPE, generator=generator)
    q = quantizer(name, **fields)
    q.start(w.detach())
    torch.manual_seed(4)
    values = q(w)
    values.backward(grad)
    torch.manual_seed(4)
    e, x, g = q.estimator, w.detach().numpy(), grad.numpy()
    drawn = {"rng": np.random.default_rng(int(torch.randint(1 << 62, ())))} if e.draws else {}
    wanted = e.forward(x, out=np.empty_like(x), **drawn)
    assert values.detach().numpy().tobytes() == wanted.tobytes()
    assert w.grad.numpy().tobytes() == e.backward(x, g, out=np.empty_like(g)).tobytes()
    for key, found in e.parameter_gradients(x, g).items():
        assert getattr(q, key).grad.numpy().tobytes() == found.astype(np.float32).tobytes()


@pytest.mark.parametrize(
    ("name", "fields", "shape"),
    [
        ("ste_format", {}, (2, 70003)),
        ("ste_format", {"axis": 0}, (5, 70003)),
        ("ste_format", {"axis": 0, "power_of_two": False}, (96, 1003)),
        ("qkr", {"bits": 3}, (2, 2, 33, 150)),
    ],
    ids=lambda value: str(value),
)
def test_what_is_found_at_every_call(threads, name, fields, shape):
    w = torch.randn(shape, generator=torch.Generator().manual_seed(5))
    q = quantizer(name, **fields)
    values = q(w).numpy()
    assert values.tobytes() == q.estimator.forward(w.numpy(), out=np.empty_like(values)).tobytes()


@pytest.mark.parametrize(("name", "fields"), [("ste", {}), ("ste_clipped", {"limit": 1.0}), ("lsq", {"step": 0.1})])
def test_what_is_not_finite_is_named(threads, name, fields):
    w = torch.zeros(SHAPE)
    w[70, 12] = torch.inf
    with pytest.raises(InvalidValueError, match=r"^`w` must be finite, got inf at index \(70, 12\)$"):
        quantizer(name, **fields)(w)


@pytest.mark.skipif(sys.platform != "linux", reason="GCC's OpenMP is that of Linux")
def test_the_threads_are_used(monkeypatch):
    """Else these tests would show nothing. One scale that depends on all of a small tensor is found by one thread."""
    own, used, missed = torch_team(), [], []
    assert own is not None
    team = native.Team(fork=lambda task, words, n: used.append(n) or own.fork(task, words, n), size=lambda: 2)
    monkeypatch.setattr(_golden, "torch_team", lambda: team)
    w = torch.randn(SHAPE)
    for name, fields in RULES:
        used.clear()
        q = quantizer(name, **fields)
        q.start(w)
        q(w)
        assert used == [2] * len(used)
        if not used:
            missed.append((name, fields))
    assert missed == [("ste", {}), ("szt", {}), ("tanh_clip", {})]
