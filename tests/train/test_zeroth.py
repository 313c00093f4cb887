"""Zeroth-order optimisers in PyTorch: the golden bits, no matter which path; restoring, states, and training."""

import doctest
import re

import numpy as np
import pytest
import torch

from tetrit.errors import InvalidValueError, UnknownNameError
from tetrit.estimators.zeroth import SPSA, step_seed
from tetrit.estimators.zeroth.counter import key_of
from tetrit.train import digits
from tetrit.train.zeroth import ElasticZO, ZerothOrder, _noise, elastic, floats
from tetrit.train.zeroth._noise import add_noise

DISTRIBUTIONS = ["rademacher", "normal"]


@pytest.fixture(autouse=True)
def one_thread():
    """Arrays this small gain nothing from threads, and lose much on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def signed(word):
    return word - 2**64 if word >= 2**63 else word


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@pytest.mark.parametrize("seed", [0, 2**64 - 1])
def test_the_tensor_rule_has_the_golden_noise(distribution, seed):
    """200,000 numbers, tails included, bit for bit: the rule that other devices run."""
    wanted = SPSA(distribution=distribution).direction((200_000,), seed=seed, offset=12345)
    got = _noise.noise(200_000, distribution, key=signed(key_of(seed)), offset=12345, device="cpu")
    assert got.dtype == torch.float64
    assert got.numpy().tobytes() == wanted.tobytes()
    shifted = _noise.noise(200_000, distribution, key=signed(key_of(seed)), offset=12346, device="cpu")
    assert shifted.numpy().tobytes() != wanted.tobytes()
    np.testing.assert_array_equal(shifted.numpy()[:-1], wanted[1:])


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("factor", [0.37, torch.tensor(-1.25e-3, dtype=torch.float64)])
def test_the_tensor_rule_is_the_kernel(distribution, dtype, factor, monkeypatch):
    monkeypatch.setattr(_noise, "_PIECE", 50)  # several pieces
    start = torch.randn(13, 17, generator=torch.Generator().manual_seed(0)).to(dtype)
    wide = start.double().numpy() if dtype == torch.float64 else start.float().numpy()
    golden = SPSA(distribution=distribution).added(wide, float(factor), seed=3, offset=9)
    wanted = torch.from_numpy(golden).to(dtype)
    got = torch.empty_like(start)
    add_noise(got, start, factor, distribution, seed=3, offset=9)
    assert torch.equal(got, wanted)
    turned = start.T.contiguous().T  # not contiguous: elements count in the order of the shape all the same
    add_noise(turned, turned, factor, distribution, seed=3, offset=9)
    assert torch.equal(turned, wanted)


def quadratic(params):
    return sum((p.double() ** 2 * (k + 1)).sum() for k, p in enumerate(params))


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@pytest.mark.parametrize("restore", ["drift", "copy"])
@pytest.mark.parametrize("path", ["kernel", "tensors"])
def test_steps_are_those_of_the_golden_optimiser(distribution, restore, path, monkeypatch):
    if path == "tensors":
        monkeypatch.setattr(ZerothOrder, "_golden", lambda self, tensor: False)
    rng = np.random.default_rng(1)
    arrays = [
        rng.normal(size=(4, 5)).astype(np.float32),
        rng.normal(size=7),
        rng.normal(size=(2, 3)).astype(np.float32),
    ]
    params = [torch.nn.Parameter(torch.from_numpy(a.copy())) for a in arrays]
    golden = SPSA(epsilon=0.01, distribution=distribution, restore=restore)
    optimiser = ZerothOrder(params, lr=0.05, epsilon=0.01, distribution=distribution, restore=restore, seed=6)
    for step in range(5):
        losses = []

        def loss(p, losses=losses):
            losses.append(float(quadratic([torch.from_numpy(a) for a in p])))
            return losses[-1]

        mean, _ = golden.step(loss, arrays, rate=0.05, seed=step_seed(6, step))
        got = optimiser.step(lambda: quadratic(params))
        assert float(got) == mean
        for p, a in zip(params, arrays, strict=True):
            assert p.detach().numpy().tobytes() == a.tobytes()


def test_groups_have_their_own_rates_and_one_numbering():
    a, b = torch.nn.Parameter(torch.ones(3)), torch.nn.Parameter(torch.ones(2))
    optimiser = ZerothOrder([{"params": [a]}, {"params": [b], "lr": 0.0}], lr=0.25, epsilon=0.125, seed=1)
    optimiser.step(lambda: a.sum() + 2 * b.sum())
    z = SPSA().direction((5,), seed=step_seed(1, 0))
    slope = z[:3].sum() + 2 * z[3:].sum()
    np.testing.assert_array_equal(a.detach().numpy(), (1 - 0.25 * slope * z[:3]).astype(np.float32))
    assert b.tolist() == [1.0, 1.0]


def test_a_scheduler_and_a_state_dict():
    def new():
        w = torch.nn.Parameter(torch.linspace(-1, 1, 9))
        return w, ZerothOrder([w], lr=0.1, seed=4)

    w, optimiser = new()
    scheduler = torch.optim.lr_scheduler.StepLR(optimiser, 3, 0.5)
    for _ in range(6):
        optimiser.step(lambda: (w**2).sum())
        scheduler.step()
    assert optimiser.param_groups[0]["lr"] == 0.025
    v, resumed = new()
    with torch.no_grad():
        v.copy_(w)
    resumed.load_state_dict(optimiser.state_dict())
    for parameter, each in ((w, optimiser), (v, resumed)):
        each.step(lambda parameter=parameter: (parameter**2).sum())
    assert torch.equal(w, v)
    u, fresh = new()
    with torch.no_grad():
        u.copy_(w)
    fresh.step(lambda: (u**2).sum())
    assert not torch.equal(u, v)  # the number of steps matters, and it is in the state


@pytest.mark.parametrize("restore", ["drift", "copy"])
@pytest.mark.parametrize("call", [0, 1])
def test_an_error_in_the_closure_leaves_the_weights(restore, call):
    w = torch.nn.Parameter(-torch.arange(8.0))  # the first is -0.0
    optimiser = ZerothOrder([w], epsilon=0.25, restore=restore)
    calls = []

    def closure():
        calls.append(w.detach().clone())
        if len(calls) > call:
            raise KeyboardInterrupt
        return w.sum()

    with pytest.raises(KeyboardInterrupt):
        optimiser.step(closure)
    assert w.tolist() == [-k for k in range(8)]
    assert restore == "drift" or bool(torch.signbit(w).all())
    assert not torch.equal(calls[0], w)
    assert optimiser.param_groups[0]["steps"] == 0


def test_the_graph_notices_that_weights_were_moved():
    """A step between forward and backward makes the backward pass fail, as with every in-place change."""
    w = torch.nn.Parameter(torch.ones(3))
    loss = (w**2).sum()
    ZerothOrder([w]).step(lambda: (w**2).sum())
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_no_graph_in_the_closure():
    w = torch.nn.Parameter(torch.ones(3))
    loss = ZerothOrder([w]).step(lambda: (w**2).sum())
    assert not loss.requires_grad
    assert w.grad is None


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda w: ZerothOrder([w], lr=-1.0), InvalidValueError, "`lr` must be at least 0, got -1"),
        (lambda w: ZerothOrder([w], epsilon=0.0), InvalidValueError, "`epsilon` must be above 0, got 0"),
        (lambda w: ZerothOrder([w], seed=-1), InvalidValueError, None),
        (lambda w: ZerothOrder([w], restore="no"), UnknownNameError, "unknown restore 'no'; known: copy, drift"),
        (lambda w: ZerothOrder([w.long()]), TypeError, "`params` must be tensors of floats, got torch.int64"),
        (
            lambda w: ZerothOrder([w]).step(lambda: 3.0),
            TypeError,
            "the closure must return a tensor of one element, got float",
        ),
        (
            lambda w: ZerothOrder([w]).step(lambda: w),
            TypeError,
            "the closure must return a tensor of one element, got shape (3,)",
        ),
        (lambda w: ElasticZO(3, None), TypeError, "`zeroth` must be a ZerothOrder or an IntegerZerothOrder, got int"),
    ],
)
def test_bad_arguments(call, error, text):
    pattern = r"^`seed` must be an integer from 0 to .*, got -1$" if text is None else "^" + re.escape(text) + "$"
    with pytest.raises(error, match=pattern):
        call(torch.ones(3))


def test_elastic_is_its_golden_form():
    """The first layer moves as `SPSA.elastic` says, the last gets the mean of the gradients at both points."""
    rng = np.random.default_rng(2)
    x, y = torch.from_numpy(rng.normal(size=(8, 3))), torch.from_numpy(rng.normal(size=(8, 2)))
    first = torch.nn.Parameter(torch.from_numpy(rng.normal(size=(3, 4))))
    last = torch.nn.Parameter(torch.from_numpy(rng.normal(size=(4, 2))))
    golden, start = first.detach().numpy().copy(), last.detach().clone()

    def features(p):
        return np.tanh(x.numpy() @ p[0])

    def head(h):
        error = h @ start.numpy() - y.numpy()
        return float(np.mean(error**2)), [h.T @ error * (2 / error.size)]

    spsa = SPSA(epsilon=0.05, restore="copy")
    seed = step_seed(5, 0)
    loss, slope, (grad,) = spsa.elastic(features, head, [golden], seed=seed)
    zo = ZerothOrder([first], lr=0.1, epsilon=0.05, restore="copy", seed=5)
    trainer = ElasticZO(zo, torch.optim.SGD([last], lr=0.5))
    got = trainer.step(lambda: torch.tanh(x @ first), lambda h: ((h @ last - y) ** 2).mean())
    assert float(got) == pytest.approx(loss, rel=1e-13)
    np.testing.assert_allclose(last.grad.numpy(), grad, rtol=1e-11)
    np.testing.assert_allclose(first.detach().numpy(), spsa.updated(golden, slope, rate=0.1, seed=seed), rtol=1e-9)
    np.testing.assert_allclose(last.detach().numpy(), start.numpy() - 0.5 * grad, rtol=1e-11)
    assert first.grad is None


def test_elastic_keeps_no_graph_of_the_first_layers():
    first, last = torch.nn.Linear(4, 4), torch.nn.Linear(4, 1)
    seen = []

    def head(h):
        seen.append(h.requires_grad)
        return last(h).pow(2).mean()

    trainer = ElasticZO(ZerothOrder(first.parameters()), torch.optim.SGD(last.parameters(), lr=0.1))
    x = torch.ones(2, 4)
    trainer.step(lambda: first(x), head)
    assert seen == [False, False]
    assert all(p.grad is None for p in first.parameters())
    assert all(p.grad is not None for p in last.parameters())


def test_digits_are_learned_without_backpropagation_and_better_with_a_little():
    data = digits.load()
    x = torch.from_numpy(data.train_x[:160].astype(np.float32)) * float(data.in_scale)
    y = torch.from_numpy(data.train_y[:160].astype(np.int64))

    def network():
        torch.manual_seed(0)
        return torch.nn.Sequential(torch.nn.Linear(x.shape[1], 24), torch.nn.ReLU()), torch.nn.Linear(24, data.classes)

    def head_of(last):
        return lambda h: torch.nn.functional.cross_entropy(last(h), y)

    first, last = network()
    optimiser = ZerothOrder([*first.parameters(), *last.parameters()], lr=0.03, seed=1)
    alone = [float(optimiser.step(lambda: head_of(last)(first(x)))) for _ in range(100)]
    upper, top = network()
    trainer = ElasticZO(ZerothOrder(upper.parameters(), lr=0.03, seed=1), torch.optim.SGD(top.parameters(), lr=0.5))
    elastic = [float(trainer.step(lambda: upper(x), head_of(top))) for _ in range(100)]

    assert alone[0] == pytest.approx(elastic[0], rel=1e-3)
    assert np.mean(alone[-10:]) < 0.95 * alone[0]
    assert np.mean(elastic[-10:]) < 0.5 * np.mean(alone[-10:])


def test_documented_examples():
    results = [doctest.testmod(module) for module in (floats, elastic)]
    assert [result.failed for result in results] == [0, 0]
    assert all(result.attempted > 3 for result in results)
