"""Stochastic units in PyTorch: states and gradients of the golden units for the same draws; losses that carry them."""

import doctest
import itertools
import pickle
import re

import numpy as np
import pytest
import torch
from torch import nn

from tetrit.errors import InvalidValueError, UnknownNameError
from tetrit.estimators import units as golden
from tetrit.train import units
from tetrit.train.units import StochasticUnit, leave_one_out_baseline, psa_loss, reinforce_loss

KINDS = [
    ("st_bernoulli", {}),
    ("st_bernoulli", {"slope": True}),
    ("smooth_times_stochastic", {}),
    ("noise_injection", {}),
    ("noise_injection", {"sigma": 0.3}),
    ("noise_injection", {"sigma": 0.0}),
]
SAMPLERS = [*KINDS, ("reinforce", {}), ("psa", {})]
DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16]

kinds = pytest.mark.parametrize(("name", "params"), KINDS)
samplers = pytest.mark.parametrize(("name", "params"), SAMPLERS)


def pre_activations(dtype=torch.float64, shape=(40, 30), seed=0):
    a = 3.0 * np.random.default_rng(seed).normal(size=shape)
    a.reshape(-1)[:9] = [0.0, -0.0, 40.0, -40.0, 700.0, -700.0, 1e-30, 60000.0, -60000.0]
    return torch.tensor(a).to(dtype)


def draws(name, shape, seed=1):
    rng = np.random.default_rng(seed)
    return torch.as_tensor(rng.standard_normal(shape) if name == "noise_injection" else rng.random(shape))


def close(got, wanted, dtype=torch.float64):
    """Within two units in the last place of float64, rounded to the dtype."""
    eps = {torch.float64: 4.5e-16}.get(dtype, torch.finfo(dtype).eps)
    tiny = torch.finfo(dtype).smallest_normal
    torch.testing.assert_close(got, torch.as_tensor(wanted).to(dtype), rtol=eps, atol=tiny)


def test_all_kinds_are_tested():
    assert {name for name, _ in SAMPLERS} == set(golden.names())


@samplers
@pytest.mark.parametrize("dtype", DTYPES)
def test_states_are_the_golden_ones(name, params, dtype):
    a = pre_activations(dtype)
    h = StochasticUnit(name, **params)._sampled(a, draws(name, a.shape))
    assert h.dtype == dtype
    wanted = golden.get(name, **params).sample(a.double().numpy(), rng=np.random.default_rng(1))
    close(h, wanted, dtype)
    if "noise" not in name and "smooth" not in name:
        np.testing.assert_array_equal(h.double().numpy(), wanted)


@kinds
@pytest.mark.parametrize("dtype", DTYPES)
def test_gradients_are_the_golden_ones(name, params, dtype):
    a = pre_activations(dtype).requires_grad_()
    h = StochasticUnit(name, **params)._sampled(a, draws(name, a.shape))
    g = torch.tensor(np.random.default_rng(2).normal(size=a.shape)).to(dtype)
    h.backward(g)
    args = (x.detach().double().numpy() for x in (a, h, g))
    close(a.grad, golden.get(name, **params).backward(*args), dtype)


@kinds
def test_saves_no_more_than_it_needs(name, params):
    a = pre_activations().requires_grad_()
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: saved.append(x) or x, lambda x: x):
        StochasticUnit(name, **params)(a)
    assert len(saved) == {"st_bernoulli": int(params.get("slope", False)), "smooth_times_stochastic": 2}.get(name, 1)


@pytest.mark.parametrize("name", ["reinforce", "psa"])
def test_states_without_a_gradient(name):
    h = StochasticUnit(name)(pre_activations().requires_grad_())
    assert not h.requires_grad
    assert set(h.unique().tolist()) == ({-1.0, 1.0} if name == "psa" else {0.0, 1.0})


@samplers
def test_draws_follow_the_generator(name, params):
    unit, a = StochasticUnit(name, **params), pre_activations()
    first, again, other = (unit(a, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert torch.equal(first, other) == (params.get("sigma") == 0.0)
    torch.manual_seed(1)
    own = unit(a)
    torch.manual_seed(1)
    assert torch.equal(unit(a), own)


@samplers
def test_any_shape(name, params):
    for shape in ((), (0, 3), (2, 3, 4)):
        assert StochasticUnit(name, **params)(torch.zeros(shape)).shape == shape


@kinds
def test_means_are_those_of_the_units(name, params):
    a = torch.tensor([-1.0, 0.5]).expand(20000, 2)
    mean = StochasticUnit(name, **params)(a, torch.Generator().manual_seed(0)).mean(0)
    if name == "noise_injection":
        sigma = params.get("sigma", 1.0)
        normal = torch.distributions.Normal(0.0, 1.0)
        t = a[0] / max(sigma, 1e-9)
        wanted = a[0] * normal.cdf(t) + sigma * normal.log_prob(t).exp()
    else:
        wanted = a[0].sigmoid()
    torch.testing.assert_close(mean, wanted, atol=0.02, rtol=0.0)


def test_leave_one_out_baseline():
    a = pre_activations()
    h = StochasticUnit("reinforce")._sampled(a, draws("", a.shape))
    loss = torch.as_tensor(np.random.default_rng(5).normal(size=len(a)))
    for n in (40, 2, 1, 0):
        got = leave_one_out_baseline(a[:n], h[:n], loss[:n])
        wanted = golden.leave_one_out_baseline(a[:n].numpy(), h[:n].numpy(), loss[:n].numpy())
        np.testing.assert_allclose(got.numpy(), wanted, rtol=1e-14)


@pytest.mark.parametrize("baseline", [None, 0.0, 0.7, "tensor"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_reinforce(baseline, dtype):
    a = pre_activations(dtype).requires_grad_()
    h = StochasticUnit("reinforce")._sampled(a, draws("", a.shape))
    loss = torch.as_tensor(np.random.default_rng(5).normal(size=len(a))).to(dtype)
    if baseline == "tensor":
        baseline = torch.linspace(-1, 1, a.shape[1], dtype=torch.float64)
    with_gradient = reinforce_loss(a, h, loss, baseline=baseline)
    assert torch.equal(with_gradient, loss)
    with_gradient.sum().backward()
    x, states, level = (t.detach().double().numpy() for t in (a, h, loss))
    if baseline is None:
        baseline = golden.leave_one_out_baseline(x, states, level)
    wanted = golden.get("reinforce").backward(x, states, level, baseline=np.asarray(baseline))
    eps = 1e-13 if dtype == torch.float64 else 1e-6
    np.testing.assert_allclose(a.grad.numpy(), wanted, rtol=eps, atol=1e-300 if dtype == torch.float64 else 1e-37)


def test_reinforce_adds_to_the_gradients_that_there_are():
    """Two layers of units below a read-out: every layer's own gradient, and the read-out's usual one."""
    torch.manual_seed(0)
    first, second, head = nn.Linear(3, 4).double(), nn.Linear(4, 2).double(), nn.Linear(2, 1).double()
    unit, x = StochasticUnit("reinforce"), torch.randn(6, 3, dtype=torch.float64)
    a = first(x)
    h = unit(a)
    b = second(h)
    k = unit(b)
    loss = head(k)[:, 0].square()
    reinforce_loss(b, k, reinforce_loss(a, h, loss, baseline=0.5), baseline=0.5).sum().backward()
    level = loss.detach().numpy()
    reinforce = golden.get("reinforce")
    grad_a = reinforce.backward(a.detach().numpy(), h.numpy(), level, baseline=0.5)
    grad_b = reinforce.backward(b.detach().numpy(), k.numpy(), level, baseline=0.5)
    np.testing.assert_allclose(first.weight.grad.numpy(), grad_a.T @ x.numpy(), rtol=1e-12)
    np.testing.assert_allclose(second.weight.grad.numpy(), grad_b.T @ h.numpy(), rtol=1e-12)
    np.testing.assert_allclose(head.bias.grad.numpy(), [2 * head(k).sum().item()], rtol=1e-12)


def network(sizes, bias=True):
    torch.manual_seed(3)
    return [nn.Linear(m, n, bias=bias).double() for m, n in itertools.pairwise(sizes)]


def wild(h):
    return (h[:, 0] * h[:, -1] + 0.3 * h.sum(1)).sin() + h[:, 0]


@pytest.mark.parametrize("sizes", [(3, 4), (3, 5, 2), (2, 6, 5, 4, 3), (1, 1, 1)])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("at_once", [1, 1 << 20])
def test_psa(sizes, bias, at_once, monkeypatch):
    monkeypatch.setattr(units, "_AT_ONCE", at_once)
    layers = network(sizes, bias)
    x = torch.as_tensor(np.random.default_rng(0).normal(size=(7, sizes[0])))
    rng = np.random.default_rng(4)
    noise = [torch.as_tensor(rng.random((7, n))) for n in sizes[1:]]
    result = units._psa(x, layers, wild, noise)
    result.sum().backward()
    wanted = golden.psa_gradients(
        x.numpy(),
        [layer.weight.detach().numpy().T for layer in layers],
        [np.zeros(layer.out_features) if layer.bias is None else layer.bias.detach().numpy() for layer in layers],
        lambda h: wild(torch.as_tensor(h)).numpy(),
        rng=np.random.default_rng(4),
    )
    np.testing.assert_allclose(result.detach().numpy(), wild(torch.as_tensor(wanted[-1].h)).numpy(), rtol=1e-14)
    for layer, sample in zip(layers, wanted, strict=True):
        np.testing.assert_allclose(layer.weight.grad.numpy(), sample.grad_weight.T, rtol=1e-9, atol=1e-13)
        if bias:
            np.testing.assert_allclose(layer.bias.grad.numpy(), sample.grad_bias, rtol=1e-9, atol=1e-13)


def test_psa_in_float32_with_a_read_out():
    layers, head = [layer.float() for layer in network((3, 5, 4))], nn.Linear(4, 1)
    x = torch.randn(8, 3, generator=torch.Generator().manual_seed(1))
    calls = []

    def loss(h):
        assert h.dtype == torch.float32
        calls.append(h.clone())
        return head(h)[:, 0].square()

    result = psa_loss(x, layers, loss, generator=torch.Generator().manual_seed(2))
    assert len(calls) == 5
    assert result.dtype == torch.float32
    result.mean().backward()
    for part in (*layers, head):
        assert part.weight.grad.dtype == torch.float32
        assert part.weight.grad.abs().sum() > 0
    head_grad = head.weight.grad.clone()
    head.zero_grad()
    head(calls[0])[:, 0].square().mean().backward()
    assert torch.equal(head.weight.grad, head_grad)
    again = psa_loss(x, layers, loss, generator=torch.Generator().manual_seed(2))
    assert torch.equal(again, result)


def test_psa_training_falls():
    torch.manual_seed(0)
    layers, target = network((4, 8, 3)), torch.tensor([1.0, -1.0, 1.0], dtype=torch.float64)
    x = torch.randn(64, 4, dtype=torch.float64)
    optimiser = torch.optim.Adam([p for layer in layers for p in layer.parameters()], lr=0.05)
    losses = []
    for _ in range(60):
        optimiser.zero_grad()
        loss = psa_loss(x, layers, lambda h: (h - target).square().sum(1)).mean()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert np.mean(losses[-5:]) < 0.3 * np.mean(losses[:5])


@samplers
def test_nothing_waits_for_the_device(name, params):
    """A meta tensor has no values to read: whatever asks for one raises."""
    a = torch.empty(4, 5, device="meta", requires_grad=True)
    h = StochasticUnit(name, **params)(a)
    assert (h.shape, h.dtype, h.device.type) == ((4, 5), torch.float32, "meta")
    if h.requires_grad:
        h.sum().backward()
        assert a.grad.shape == a.shape


def test_losses_do_not_wait_for_the_device_either():
    a = torch.empty(4, 5, device="meta", requires_grad=True)
    reinforce_loss(a, StochasticUnit("reinforce")(a), a.detach().sum(1)).sum().backward()
    assert a.grad.shape == a.shape
    layers = [layer.to("meta") for layer in network((5, 4, 3))]
    psa_loss(a.detach(), layers, lambda h: h.sum(1)).sum().backward()
    assert layers[0].weight.grad.shape == (4, 5)


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@pytest.mark.parametrize(("name", "params"), [("st_bernoulli", {"slope": True}), ("smooth_times_stochastic", {})])
def test_compiled(name, params):
    unit = StochasticUnit(name, **params)
    compiled = torch.compile(lambda a, u: unit._sampled(a, u).square().sum(), backend="aot_eager", fullgraph=True)
    grads = []
    for call in (compiled, lambda a, u: unit._sampled(a, u).square().sum()):
        a = pre_activations().requires_grad_()
        call(a, draws(name, a.shape)).backward()
        grads.append(a.grad)
    assert torch.equal(*grads)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: StochasticUnit("psb"), UnknownNameError, "unknown units 'psb'; did you mean 'psa'?"),
        (lambda: StochasticUnit("psa")(torch.arange(3)), TypeError, "`a` must be a tensor of floats, got torch.int64"),
        (lambda: StochasticUnit("psa")([0.5]), TypeError, "`a` must be a tensor of floats, got list"),
        (
            lambda: StochasticUnit("st_bernoulli")(torch.tensor([[1.0, torch.nan]])),
            InvalidValueError,
            "`a` must be finite, got nan at index (0, 1)",
        ),
        (
            lambda: reinforce_loss(torch.ones(3), torch.ones(3), torch.ones(3)),
            InvalidValueError,
            "`a` must have 2 dimensions (batch, units), got shape (3,)",
        ),
        (
            lambda: reinforce_loss(torch.ones(3, 2), torch.ones(2, 3), torch.ones(3)),
            InvalidValueError,
            "`h` must have shape (3, 2), got (2, 3)",
        ),
        (
            lambda: reinforce_loss(torch.ones(3, 2), torch.ones(3, 2), torch.ones(2)),
            InvalidValueError,
            "`loss` must have shape (3,), got (2,)",
        ),
        (
            lambda: psa_loss(torch.ones(3, 2), [], lambda h: h.sum(1)),
            InvalidValueError,
            "`layers` must hold at least one layer, got none",
        ),
        (
            lambda: psa_loss(torch.ones(3, 2), [nn.Linear(2, 4)], lambda h: h.sum()),
            InvalidValueError,
            "`loss(h)` must have shape (3,), got ()",
        ),
    ],
)
def test_errors(call, error, text):
    with pytest.raises(error, match="^" + re.escape(text) + "$"):
        call()


def test_second_derivatives_are_refused():
    a = pre_activations().requires_grad_()
    h = StochasticUnit("smooth_times_stochastic")(a)
    (first,) = torch.autograd.grad(h.square().sum(), a, create_graph=True)
    with pytest.raises(RuntimeError, match=r"^trying to differentiate twice a function that was marked with @once"):
        first.sum().backward()


def test_shown_and_pickled():
    unit = StochasticUnit("noise_injection", sigma=0.5)
    assert repr(unit) == "StochasticUnit(NoiseInjection(sigma=0.5))"
    assert pickle.loads(pickle.dumps(unit)).units == unit.units


def test_examples():
    assert doctest.testmod(units).failed == 0
