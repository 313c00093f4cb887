"""Sensitivities: equal to their definitions on networks small enough to enumerate."""

import copy
import itertools
import math

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch import nn
from torch.nn import functional

from tetrit import estimators, hardware, sim
from tetrit.errors import InvalidValueError
from tetrit.train import searching
from tetrit.train.sensitivity import (
    empirical_fisher,
    hessian,
    hessian_traces,
    perturbations,
    rank_correlation,
    scores,
    synflow,
)
from tetrit.train.sensitivity.fisher import mean_gradients
from tetrit.train.sensitivity.layers import layers_of, matrices, vectors
from tetrit.train.sensitivity.machines import Option, target_of
from tetrit.train.sensitivity.scores import METHODS, Known


@pytest.fixture(autouse=True)
def one_thread():
    """Small matrices only: threads would wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def tiny():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 3)).double()
    return model, torch.randn(7, 2, dtype=torch.float64), torch.tensor([0, 1, 2, 0, 1, 2, 2])


def convolutional():
    torch.manual_seed(1)
    model = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, stride=2, groups=2), nn.Tanh(), nn.Flatten(), nn.Linear(16, 3)
    ).double()
    return model, torch.randn(5, 2, 4, 4, dtype=torch.float64), torch.tensor([0, 1, 2, 1, 0])


def exact_traces(model, x, y):
    """Trace of each layer's block, from the Hessian itself."""
    found = {}
    for name, layer in layers_of(model).items():
        key = f"{name}.weight"

        def loss(weight, key=key):
            return functional.cross_entropy(torch.func.functional_call(model, {key: weight}, (x,)), y)

        n = layer.weight.numel()
        whole = torch.autograd.functional.hessian(loss, layer.weight.detach().clone()).reshape(n, n)
        found[name] = float(whole.trace())
    return found


def test_the_mean_over_all_sign_vectors_is_the_trace(monkeypatch):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(1, 2), nn.Tanh(), nn.Linear(2, 3)).double()
    x, y = torch.randn(7, 1, dtype=torch.float64), torch.tensor([0, 1, 2, 0, 1, 2, 2])
    signs = list(itertools.product([-1.0, 1.0], repeat=8))

    def enumerated(weights, seed, number):
        flat = torch.tensor(signs[number], dtype=torch.float64)
        return [
            part.reshape(w.shape) for part, w in zip(flat.split([w.numel() for w in weights]), weights, strict=True)
        ]

    monkeypatch.setattr(hessian, "_rademacher", enumerated)
    found = hessian_traces(model, x, y, least=256, most=256, chunk=4)
    for name, trace in exact_traces(model, x, y).items():
        assert found[name].trace == pytest.approx(trace, rel=1e-10)
        assert found[name].probes == 256


@pytest.mark.parametrize("network", [tiny, convolutional])
def test_the_estimate_is_within_its_standard_error(network):
    model, x, y = network()
    exact = exact_traces(model, x, y)
    found = hessian_traces(model, x, y, tolerance=1e-9, least=50, most=100)
    more = hessian_traces(model, x, y, tolerance=1e-9, least=200, most=400)
    for name, trace in exact.items():
        assert abs(found[name].trace - trace) < 4 * found[name].standard_error
        assert not found[name].converged
        assert more[name].standard_error == pytest.approx(found[name].standard_error / 2, rel=0.35)
        assert found[name].mean == found[name].trace / layers_of(model)[name].weight.numel()


def test_probes_stop_when_every_layer_is_close_enough():
    model, x, y = tiny()
    found = hessian_traces(model, x, y, tolerance=0.7, least=10, most=2000)
    assert all(e.converged and e.standard_error <= 0.7 * abs(e.trace) for e in found.values())
    probes = {e.probes for e in found.values()}
    assert len(probes) == 1
    assert 10 < min(probes) < 2000
    assert min(probes) % 10 == 0


def test_the_estimate_depends_on_the_seed_alone():
    model, x, y = tiny()
    before = copy.deepcopy(model.state_dict())
    model.train()
    one, same, other = (hessian_traces(model, x, y, seed=seed, most=16) for seed in (3, 3, 4))
    assert one == same
    assert one != other
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    chunked = hessian_traces(model, x, y, seed=3, most=16, chunk=2)
    assert chunked["0"].trace == pytest.approx(one["0"].trace, rel=1e-12)


def test_a_linear_loss_has_no_curvature():
    model, x, y = tiny()
    linear = nn.Sequential(model[0])
    found = hessian_traces(linear, x, y, loss=lambda outputs, _: outputs.sum())
    assert (found["0"].trace, found["0"].standard_error, found["0"].probes) == (0.0, 0.0, 16)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layers": ["1"]}, r"^unknown layers '1'; known: 0, 2$"),
        ({"least": 1}, r"^`least` must be an integer of at least 2, got 1$"),
        ({"most": 3}, r"^`most` must be an integer of at least 16, got 3$"),
        ({"tolerance": 0}, r"^`tolerance` must be above 0, got 0$"),
        (
            {"y": torch.zeros(2, dtype=torch.long)},
            r"^`x` and `y` must have as many entries, at least one, got 7 and 2$",
        ),
        ({"x": torch.full((7, 2), math.nan, dtype=torch.float64)}, r"^the loss must be finite, got nan$"),
    ],
)
def test_errors_of_traces(changes, message):
    model, x, y = tiny()
    with pytest.raises(InvalidValueError, match=message):
        hessian_traces(model, **({"x": x, "y": y} | changes))


@pytest.mark.parametrize("network", [tiny, convolutional])
@pytest.mark.parametrize("chunk", [2, 64])
def test_the_fisher_information_is_the_mean_of_squared_gradients(network, chunk):
    model, x, y = network()
    found = empirical_fisher(model, x, y, chunk=chunk)
    for name, layer in layers_of(model).items():
        total = torch.zeros_like(layer.weight)
        for one, target in zip(x, y, strict=True):
            (gradient,) = torch.autograd.grad(functional.cross_entropy(model(one[None]), target[None]), layer.weight)
            total += gradient**2
        torch.testing.assert_close(found[name], total / len(x), rtol=1e-10, atol=1e-14)


def test_flow_is_conserved_from_layer_to_layer():
    # of a network without offsets: every layer's weights times their gradients add up to the flow itself
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 3, 3, padding=1, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(48, 5, bias=False), nn.ReLU(),
        nn.Linear(5, 2, bias=False),
    )  # fmt: skip
    found = synflow(model, (1, 4, 4))
    flows = [float((found[n] * layer.weight.detach().abs().double()).sum()) for n, layer in layers_of(model).items()]
    assert flows[0] > 0
    assert flows == pytest.approx([flows[0]] * 3, rel=1e-12)


def test_scores_are_their_formulas():
    model, x, y = tiny()
    known = Known(
        traces=hessian_traces(model, x, y),
        fisher=empirical_fisher(model, x, y),
        gradients=mean_gradients(model, x, y),
        flows=synflow(model, (2,)),
    )
    weights = {name: layer.weight.detach().numpy() for name, layer in layers_of(model).items()}
    rng = np.random.default_rng(0)
    rounded = {name: [w + rng.normal(size=w.shape), w] for name, w in weights.items()}
    found = {method: scores(method, known, weights, rounded) for method in METHODS}
    for place, (name, w) in enumerate(weights.items()):
        change = [float(d) for d in (rounded[name][0] - w).ravel()]
        flat = {
            key: [float(v) for v in table[name].ravel()]
            for key, table in (("fisher", known.fisher), ("snip", known.gradients), ("synflow", known.flows))
        }
        square = sum(d * d for d in change)
        wanted = {
            "hessian": max(0.0, known.traces[name].trace / len(change)) * square,
            "fisher": sum(f * d * d for f, d in zip(flat["fisher"], change, strict=True)) / 2,
            "snip": sum(abs(g * d) for g, d in zip(flat["snip"], change, strict=True)),
            "synflow": sum(f * abs(d) for f, d in zip(flat["synflow"], change, strict=True)),
            "weight_mse": square / len(change),
            "noise_to_signal": square / sum(float(v) ** 2 for v in w.ravel()),
        }
        for method in METHODS:
            assert found[method][place, 0] == pytest.approx(wanted[method], rel=1e-12)
            assert found[method][place, 1] == 0
    with pytest.raises(InvalidValueError, match=r"^unknown method 'hesian'; did you mean 'hessian'\?$"):
        scores("hesian", known, weights, rounded)


def test_rank_correlation_is_spearmans():
    rng = np.random.default_rng(0)
    for _ in range(20):
        a, b = rng.integers(0, 5, size=(2, 12))
        assert rank_correlation(a, b) == pytest.approx(spearmanr(a, b).statistic, abs=1e-12)
    assert rank_correlation([1, 1, 1], [1, 2, 3]) is None
    with pytest.raises(InvalidValueError, match=r"must have as many entries, two at least, got 1 and 1$"):
        rank_correlation([1], [2])


def test_perturbations_are_those_of_one_layer_alone():
    model, x, y = tiny()

    def quantised(name, option):
        changed = copy.deepcopy(model)
        with torch.no_grad():
            changed.get_submodule(name).weight.mul_(1.0 + option)
        return changed

    found = perturbations(model, ["0", "2"], 3, quantised, x, y, chunk=2)
    p = model(x).softmax(-1).detach()
    for place, name in enumerate(("0", "2")):
        for option in range(3):
            q = quantised(name, option)(x).softmax(-1).detach()
            kl = sum(float(a * (a / b).log()) for a, b in zip(p.ravel(), q.ravel(), strict=True)) / len(x)
            loss = [float(-dist[range(7), y].log().mean()) for dist in (p, q)]
            right = [float((dist.argmax(-1) == y).double().mean()) for dist in (p, q)]
            assert found.divergence[place, option] == pytest.approx(kl, abs=1e-14)
            assert found.loss_change[place, option] == pytest.approx(loss[1] - loss[0], abs=1e-14)
            assert found.accuracy_change[place, option] == right[1] - right[0]
    assert (found.divergence[:, 0] == 0).all()
    assert (found.divergence[:, 2] > 0).all()


@pytest.mark.parametrize("groups", [1, 2])
def test_products_as_matrices_give_the_convolution(groups):
    torch.manual_seed(0)
    layer = nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2), groups=groups, bias=False)
    x = torch.randn(3, 4, 7, 6)
    products = vectors(layer, x) @ matrices(layer, layer.weight.detach().numpy())  # (groups, vectors, outputs)
    wanted = layer(x).detach().numpy()
    found = products.transpose(1, 0, 2).reshape(3, *wanted.shape[2:], 6).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)
    with pytest.raises(
        InvalidValueError, match=r"^a layer must be Linear or Conv2d with zeros for padding to be priced"
    ):
        vectors(nn.Conv2d(1, 1, 3, padding=1, padding_mode="circular"), x)


def small():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3)), torch.rand(
        6, 1, 4, 4
    )


def test_prices_of_a_network_are_those_of_the_simulator():
    model, x = small()
    machine = hardware.ShiftArray(rows=4, cols=4, acc_bits=32)
    target = target_of(machine, [Option(label=f, weight=f, act="int8") for f in ("szt", "pot3")])
    costs = target.costs(model, x)
    assert {name: cost.shape for name, cost in costs.items()} == dict.fromkeys(costs, (2, 2))
    rounded = target.rounded(model, x)
    layer, own = model[3], machine.replace(weight_format="pot3")
    nearest = estimators.get("ste_format", format="pot3", axis=0, power_of_two=False)
    golden = nearest(layer.weight.detach().numpy().astype(np.float64))
    np.testing.assert_allclose(golden.values, rounded["3"][1], rtol=1e-6)
    hidden = model[:3](x).detach().double().numpy()
    scale = estimators.get("ste_format", format="int8", power_of_two=False).start(hidden)[0].scale
    run = sim.build(own).load(golden.codes.T).matmul(np.clip(np.rint(hidden / scale), -128, 127).astype(np.int64))
    assert costs["cycles"][1, 1] == run.cycles / 6
    assert costs["energy_pj"][1, 1] == pytest.approx(run.energy_pj / 6, rel=1e-12)
    assert costs["size_bits"][:, 1].tolist() == [36 * 3, 192 * 3]
    assert costs["bops"][:, 0].tolist() == [36 * 16 * 2 * 8, 192 * 2 * 8]
    assert [w.shape for w in rounded["0"]] == [tuple(model[0].weight.shape)] * 2
    assert layer.weight.requires_grad


def test_a_crossbar_without_errors_computes_the_quantised_network():
    model, x = small()
    machine = hardware.load("crossbar_ideal").replace(rows=128, cols=64, weight_format="int8", adc_bits=None)
    options = [
        Option(label="exact", weight="int8", act="int8"),
        Option(label="rough", weight="int8", act="int8", adc_bits=3),
    ]
    target = target_of(machine, options)
    exact, rough = (target.network(model, {"0": label, "3": label}, x).eval() for label in ("exact", "rough"))
    with torch.no_grad():
        wanted = model(x)
        assert float((exact(x) - wanted).abs().max()) < 0.02
        assert float((rough(x) - wanted).abs().max()) > 0.05
    assert not target.searchable


def test_targets_refuse_what_the_machine_lacks():
    with pytest.raises(TypeError, match=r"^`machine` must be a ShiftArray, a SimdEngine or a Crossbar, got 3$"):
        target_of(3, [])
    with pytest.raises(InvalidValueError, match=r"^option 'a': "):
        target_of(hardware.ShiftArray(rows=2, cols=2), [Option(label="a", weight="int4", act="int8")])
    with pytest.raises(
        InvalidValueError, match=r"^option 'a': `weight` must be szt, pot2 to pot4z or an integer format"
    ):
        target_of(hardware.load("crossbar_ideal"), [Option(label="a", weight="posit4_1", act="int8", adc_bits=8)])


def digits_like(seed=0, count=400):
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(3, 16))
    y = rng.integers(0, 3, size=count)
    x = centres[y] + 0.8 * rng.normal(size=(count, 16))
    return torch.tensor(x, dtype=torch.float32), torch.tensor(y)


def searched(limit, seed=0):
    x, y = digits_like()
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3))
    machine = hardware.load("simd_4x4")
    options = [Option(label=f, weight=f, act=f) for f in ("posit4_1", "posit8_0")]
    target = target_of(machine, options)
    costs = np.array([[4.0, 8.0], [4.0, 8.0]])
    return searching.one_shot(
        model,
        target,
        costs,
        limit,
        lambda step: (x[step % 8 :: 8], y[step % 8 :: 8]),
        lambda step: (x[step % 4 :: 4], y[step % 4 :: 4]),
        x[:50],
        steps=60,
        rate=0.02,
        policy_rate=2.0,
        seed=seed,
    )


def test_a_search_learns_what_the_limit_allows():
    tight, again = searched(8.0), searched(8.0)
    np.testing.assert_array_equal(tight.probabilities, again.probabilities)
    np.testing.assert_allclose(tight.probabilities.sum(axis=1), 1.0)
    assert (tight.probabilities[:, 0] > 0.8).all()  # all in 4 bits is the only choice without a penalty
    assert len(tight.rewards) == 45
    assert tight.costs[-10:].mean() < tight.costs[:10].mean()
    with pytest.raises(InvalidValueError, match=r"^`limit` must be above 0, got 0$"):
        searched(0)


def test_the_policy_follows_the_gradient():
    rng = np.random.default_rng(0)
    logits, chosen = rng.normal(size=(3, 4)), np.array([1, 3, 0])

    def goal(values):
        p = np.exp(values) / np.exp(values).sum(axis=1, keepdims=True)
        entropy = -(p * np.log(p)).sum()
        return 0.7 * np.log(p[np.arange(3), chosen]).sum() + 0.2 * entropy

    found = searching._ascent(logits, chosen, 0.7, 0.2)
    for place in np.ndindex(logits.shape):
        step = np.zeros_like(logits)
        step[place] = 1e-6
        assert found[place] == pytest.approx((goal(logits + step) - goal(logits - step)) / 2e-6, abs=1e-7)


def test_all_options_of_a_search_train_the_same_weights():
    model, x = small()
    target = target_of(
        hardware.ShiftArray(rows=4, cols=4), [Option(label=f, weight=f, act="int8") for f in ("szt", "pot4")]
    )
    whole, layers = searching._supernet(model, target, x)
    assert sum(p.numel() for p in whole.parameters()) == sum(p.numel() for p in model.parameters())
    outputs = []
    for index in (0, 1):
        for layer in layers:
            layer.index = index
        outputs.append(whole(x))
    wanted = [target.network(model, {"0": label, "3": label}, x)(x) for label in ("szt", "pot4")]
    assert all(torch.equal(a, b) for a, b in zip(outputs, wanted, strict=True))
