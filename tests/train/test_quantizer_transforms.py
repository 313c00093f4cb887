"""Quantisers under `torch.func` and `torch.fx`: the same bits as calls and backward passes, sample by sample."""

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, jacrev, vmap

from tetrit import estimators
from tetrit.train import Plan, prepare, quantizer

ROWS = torch.randn(5, 4, 6, generator=torch.Generator().manual_seed(3))
CASES = {name: {} for name in estimators.names() if not estimators.get(name).draws} | {"lsq": {"step": 0.3}}
SHAPES = {"denseshift": (4, 4, 6), "fairy": (2, 4, 6), "qkr": (2, 1, 4, 6)}


def samples(name):
    shape = SHAPES.get(name, (4, 6))
    return torch.randn(3, *shape, generator=torch.Generator().manual_seed(7))


def backward(loss, x):
    x = x.clone().requires_grad_()
    loss(x).backward()
    return x.grad


@pytest.mark.parametrize("name", CASES)
def test_they_are_calls_and_backward_passes_by_sample(name):
    q, batch = quantizer(name, **CASES[name]), samples(name)
    q.set_progress(1.0)
    wanted = torch.stack([q(w).detach() for w in batch])
    assert torch.equal(vmap(q)(batch), wanted)
    assert torch.equal(vmap(q, in_dims=-1, out_dims=-1)(batch.movedim(0, -1)).movedim(-1, 0), wanted)

    def loss(w):
        return (q(w) ** 2).sum()

    gradients = torch.stack([backward(loss, w) for w in batch])
    assert torch.equal(grad(loss)(batch[0]), gradients[0])
    assert torch.equal(vmap(grad(loss))(batch), gradients)
    assert torch.equal(grad(lambda ws: vmap(loss)(ws).sum())(batch), gradients)


def test_gradients_of_each_sample_of_a_network():
    torch.manual_seed(0)
    plan = Plan.from_toml({"layer": [{"match": "*", "weight": {"name": "lsq", "axis": 0}, "activation": "lsq"}]})
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    model = prepare(model, plan, example=torch.randn(16, 4))
    x, y = torch.randn(6, 4), torch.randint(3, (6,))

    def loss(parameters, x, y):
        return nn.functional.cross_entropy(functional_call(model, parameters, (x[None],)), y[None])

    found = vmap(grad(loss), in_dims=(None, 0, 0))(dict(model.named_parameters()), x, y)
    for i in range(len(x)):
        model.zero_grad()
        nn.functional.cross_entropy(model(x[i : i + 1]), y[i : i + 1]).backward()
        for name, parameter in model.named_parameters():
            torch.testing.assert_close(found[name][i], parameter.grad)


def test_learned_fields_may_differ_between_samples():
    q = quantizer("lsq", step=0.3)
    steps, w = torch.tensor([0.1, 0.4]), ROWS[0]

    def values(step):
        return functional_call(q, {"step": step}, (w,))

    slopes = vmap(grad(lambda step: values(step).sum()))(steps)
    for step, value, slope in zip(steps.tolist(), vmap(values)(steps), slopes, strict=True):
        q.step.data.fill_(step)
        q.zero_grad()
        out = q(w)
        out.sum().backward()
        assert torch.equal(value, out)
        assert torch.equal(slope, q.step.grad)


def test_draws():
    q, twice = quantizer("stochastic_rounding"), torch.stack([ROWS[0], ROWS[0]])
    same, different = (vmap(q, randomness=kind)(twice) for kind in ("same", "different"))
    assert torch.equal(same[0], same[1])
    assert not torch.equal(different[0], different[1])
    with pytest.raises(RuntimeError, match="randomness"):
        vmap(q)(twice)


def test_evaluation_gives_the_values_of_the_codes():
    q = quantizer("reste").eval()
    assert torch.equal(vmap(q)(ROWS), torch.stack([q(w) for w in ROWS]))


def test_no_samples():
    q = quantizer("lsq", step=0.3)
    nothing = torch.empty(0, 4, 6)
    assert vmap(q)(nothing).shape == nothing.shape
    assert vmap(grad(lambda w: q(w).sum()))(nothing).shape == nothing.shape
    assert vmap(quantizer("fairy"))(torch.empty(0, 2, 4, 6)).shape == (0, 2, 4, 6)


def test_jacobian():
    found = jacrev(quantizer("ste_clipped", limit=0.5))(ROWS[0])
    inside = (ROWS[0].abs() <= 0.5).float().flatten().diag()
    assert torch.equal(found.flatten(2).flatten(0, 1), inside)


@pytest.mark.parametrize("name", ["ste", "szt", "lsq"])
def test_second_derivatives_are_refused(name):
    q = quantizer(name)

    def slope(w):
        return grad(lambda w: (q(w) ** 2).sum())(w).sum()

    with pytest.raises(RuntimeError, match=r"^a quantiser has no second derivatives"):
        grad(slope)(ROWS[0])
    with pytest.raises(RuntimeError, match=r"^a quantiser has no second derivatives"):
        vmap(grad(slope))(ROWS)


def test_errors_say_what_is_wrong():
    w = ROWS.clone()
    w[3, 1, 2] = float("nan")
    with pytest.raises(ValueError, match=r"^`w` must be finite, got nan at index \(1, 2\)$"):
        vmap(quantizer("szt"))(w)


def test_a_symbolic_trace_calls_quantisers_as_they_are():
    torch.manual_seed(0)
    plan = Plan.from_toml({"layer": [{"match": "*", "weight": {"name": "lsq", "axis": 0}, "activation": "lsq"}]})
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3))
    x = torch.randn(5, 1, 4, 4)
    traced = torch.fx.symbolic_trace(prepare(model, plan, example=x))
    assert [node.target for node in traced.graph.nodes if "quantizer" in str(node.target)] == [
        f"{layer}.{kind}_quantizer" for layer in (0, 4) for kind in ("weight", "input")
    ]
    found = []
    for network in (model, traced):
        network.zero_grad()
        network(x).sum().backward()
        found.append([p.grad.clone() for p in network.parameters()])
    for one, other in zip(*found, strict=True):
        assert torch.equal(one, other)
