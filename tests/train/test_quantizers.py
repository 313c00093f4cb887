"""Quantiser modules: golden bits forward and backward, whatever the dtype, the memory order or the compiler; state."""

import copy
import io
import pickle
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch._dynamo.testing
from torch import nn

from tetrit import estimators
from tetrit.errors import InvalidValueError, UnknownNameError
from tetrit.estimators.tables import from_table, to_table
from tetrit.train import Quantizer, quantizer
from tetrit.train.quantizers.rules import rule_of, serves_cpu

CASES = [
    *((name, {}) for name in estimators.names()),
    ("ste", {"format": "int4", "axis": 0, "limit": 0.5}),
    ("ste_clipped", {"format": "int4", "axis": 1, "limit": 0.5}),
    ("ste_format", {"format": "posit8_0", "axis": 0}),
    ("szt", {"axis": -1, "surrogate": "vanishing"}),
    ("sr_ste", {"along": 1, "inner": estimators.SZT(axis=0)}),
    ("statsq", {"cga": 0.1, "axis": 0}),
    ("lotion", {"form": "sampled"}),
    ("lsq", {"axis": 0}),
    ("lsq", {"format": "uint4"}),
    ("biper", {"stage": 1, "switch": 1.0}),
    ("asq", {"format": "int4", "axis": None, "beta": 1.5}),
    ("block", {"format": "nvfp4", "block": 4, "clip": True}),
    ("codebook", {"entries": 3, "strength": 0.1, "pull": "l2"}),
    ("fairy", {"axis": 0}),
    ("qkr", {"bits": 2, "cga": 0.2}),
    ("adapt", {"word_length": 4, "rounding": "stochastic"}),
]
LABELS = [f"{name}-{i}" for i, (name, _) in enumerate(CASES)]
DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16]
NAMES = estimators.names()

every = pytest.mark.parametrize(("name", "params"), CASES, ids=LABELS)
of_each_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=[str(d).removeprefix("torch.") for d in DTYPES])


def weights(dtype=torch.float32, seed=0):
    w = torch.randn(8, 20, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    w.view(-1)[:6] = torch.tensor([0.0, -0.0, 0.5, -0.5, 1e-7, -1e-7])
    return w.to(dtype)


def started(name, params, w):
    """A module begun at `w`, and its first latent tensor as a parameter."""
    q = quantizer(name, **params)
    return q, nn.Parameter(q.start(w.reshape(2, -1, 2, w.shape[-1] // 2) if name == "qkr" else w))


def array(x):
    return (x.detach().float() if x.dtype == torch.bfloat16 else x.detach()).numpy()


def in_dtype(values, dtype):
    """Golden values in a dtype of torch: rounded once by numpy, to bfloat16 through float32."""
    with np.errstate(over="ignore"):
        narrow = values.astype({torch.float64: np.float64, torch.float16: np.float16}.get(dtype, np.float32))
    return torch.tensor(narrow).to(dtype)


def assert_bits(got, wanted):
    assert got.dtype == wanted.dtype
    assert got.shape == wanted.shape
    ints = {8: torch.int64, 4: torch.int32, 2: torch.int16}[got.element_size()]
    assert torch.equal(got.detach().contiguous().view(ints), wanted.detach().contiguous().view(ints))


def rng_of_the_next_call():
    """The generator that the next call of a module in training will draw from; leaves torch's generator alone."""
    state = torch.get_rng_state()
    seed = torch.randint(1 << 62, ()).item()
    torch.set_rng_state(state)
    return np.random.default_rng(seed)


def golden_forward(e, x):
    return e.forward(x, rng=rng_of_the_next_call()) if e.draws else e.forward(x)


@every
@of_each_dtype
def test_bits_of_the_golden_estimator(name, params, dtype):
    q, p = started(name, params, weights(dtype))
    assert p.dtype == dtype
    for progress in (0.0, 0.6, 1.0):
        q.set_progress(progress)
        p.grad, e, x = None, q.estimator, array(p)
        wanted = in_dtype(golden_forward(e, x), dtype)
        values = q(p)
        assert_bits(values, wanted)
        g = torch.randn(values.shape, generator=torch.Generator().manual_seed(3)).to(dtype)
        q.zero_grad()
        values.backward(g)
        if serves_cpu(e):
            assert_bits(p.grad, rule_of(e).backward(e, p.detach(), g, ())[0])
        else:
            assert_bits(p.grad, in_dtype(e.backward(x, array(g)), dtype))
        learned = e.parameter_gradients(x, array(g))
        assert set(learned) == {key for key, _ in q.named_parameters()} == set(e.learnable)
        for key, grad in learned.items():
            assert_bits(getattr(q, key).grad, torch.tensor(grad, dtype=torch.float32))


@every
@of_each_dtype
def test_evaluation_gives_the_values_of_the_codes(name, params, dtype):
    q, p = started(name, params, weights(dtype))
    q.eval()
    e, x = q.estimator, array(p)
    assert_bits(q(p), in_dtype(e(x).values, dtype))
    codes = q.codes(p)
    np.testing.assert_array_equal(codes.codes, e(x).codes)
    np.testing.assert_array_equal(codes.scale, e(x).scale)
    state = torch.get_rng_state()
    q(p)
    assert torch.equal(torch.get_rng_state(), state)  # nothing is drawn


@every
def test_negative_zero(name, params):
    q, p = started(name, params, torch.tensor([[0.5, -0.0, 0.0, -0.25], [0.0, -0.0, 1.0, -1.0]]))
    q.eval()
    with torch.no_grad():
        assert_bits(q(p), in_dtype(q.estimator(array(p)).values, torch.float32))


@every
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("training", [True, False])
def test_bad_weights(name, params, bad, training):
    q, p = started(name, params, weights())
    q.train(training)
    p.data.view(-1)[-1] = bad
    where = tuple(n - 1 for n in p.shape)
    with pytest.raises(
        InvalidValueError, match="^" + re.escape(f"`w` must be finite, got {bad} at index {where}") + "$"
    ):
        q(p)


def test_bad_tensors():
    q = quantizer("szt")
    with pytest.raises(
        TypeError, match=r"^`w` must be a dense float16, bfloat16, float32 or float64 tensor, got torch.int64$"
    ):
        q(torch.arange(3))
    with pytest.raises(TypeError, match=r"^`w` must be a dense float16, .* tensor, got ndarray$"):
        q(np.ones(3))
    with pytest.raises(TypeError, match=r"^`estimator` must be an Estimator, got str$"):
        Quantizer("szt")
    with pytest.raises(UnknownNameError, match=r"^unknown estimator 'szd'; did you mean 'szt'\?$"):
        quantizer("szd")
    with pytest.raises(UnknownNameError, match=r"^unknown parameter of 'szt' 'axes'; did you mean 'axis'\?$"):
        quantizer("szt", axes=0)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(4, 6), (2, 2), (0, 4), (4, 0)])
@pytest.mark.parametrize("value", [0.0, -0.0, -0.75])
def test_constant_and_empty_tensors(name, shape, value):
    q = quantizer(name)
    p = nn.Parameter(q.start(torch.full((2, 2, *shape) if name == "qkr" else shape, value)))
    wanted = in_dtype(golden_forward(q.estimator, array(p)), torch.float32)
    values = q(p)
    assert_bits(values, wanted)
    assert values.shape == q.estimator.value_shape(tuple(p.shape))
    values.sum().backward()
    assert p.grad.shape == p.shape
    assert p.grad.isfinite().all()


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"asq", "fairy", "qkr", "sr_ste"}))
def test_numbers(name):
    q, p = started(name, {}, torch.tensor(-0.75))
    wanted = in_dtype(golden_forward(q.estimator, array(p)), torch.float32)
    assert_bits(q(p), wanted)
    q(p).backward()
    assert_bits(p.grad, in_dtype(q.estimator.backward(array(p), np.ones((), np.float32)), torch.float32))


@every
def test_memory_order_and_expanded_gradients(name, params):
    q, p = started(name, params, weights())
    turned = nn.Parameter(p.detach().transpose(-1, -2).contiguous().transpose(-1, -2))
    assert not turned.is_contiguous()
    grads = []
    for x in (p, turned):
        torch.manual_seed(5)
        values = q(x)
        values.sum().backward()  # the gradient of a sum is one number, expanded
        grads.append((values, x.grad))
    assert_bits(grads[1][0], grads[0][0].detach())
    assert_bits(grads[1][1], grads[0][1])
    sliced = torch.zeros(*p.shape[:-1], 2 * p.shape[-1])[..., ::2].copy_(p.detach())
    torch.manual_seed(5)
    assert_bits(q(sliced), grads[0][0].detach())


@every
def test_the_latent_stays_as_it_is(name, params):
    q, p = started(name, params, weights())
    before = p.detach().clone()
    values = q(p)
    assert values.untyped_storage().data_ptr() != p.untyped_storage().data_ptr()
    values.sum().backward()
    assert_bits(p, before)
    assert_bits(started(name, params, before)[1], started(name, params, before)[1].detach())


@every
def test_nothing_but_the_latent_is_saved(name, params):
    q, p = started(name, params, weights())
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: saved.append(x) or x, lambda x: x):
        q(p)
    large = [x for x in saved if x.numel() > 1]
    assert [x.untyped_storage().data_ptr() for x in large if x.numel() >= p.shape[-1] * 8] == [
        p.untyped_storage().data_ptr()
    ]
    assert all(any(x is part for part in q.parameters()) or x.shape == p.shape for x in large)


@every
def test_draws_follow_the_seed_of_torch(name, params):
    q, p = started(name, params, weights())
    results = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        results.append(q(p).detach())
    assert torch.equal(results[0], results[1])
    draws = q.estimator.draws and not {"penalty", "nearest"} & {*q.extra_repr().split("'")}
    assert torch.equal(results[0], results[2]) != draws


@every
def test_state_dict(name, params):
    q, p = started(name, params, weights())
    q.set_progress(0.25)
    fresh = quantizer(name)
    fresh.load_state_dict(q.state_dict())
    assert fresh.progress == 0.25
    assert fresh.estimator == q.estimator
    assert dict(fresh.named_parameters()).keys() == dict(q.named_parameters()).keys()
    torch.manual_seed(0)
    wanted = q(p)
    torch.manual_seed(0)
    assert_bits(fresh(p), wanted.detach())


@every
def test_copies_and_files(name, params):
    q, p = started(name, params, weights())
    q.set_progress(0.75)
    file = io.BytesIO()
    torch.save(q.state_dict(), file)
    file.seek(0)
    loaded = quantizer(name)
    loaded.load_state_dict(torch.load(file, weights_only=True))
    for twin in (copy.deepcopy(q), pickle.loads(pickle.dumps(q)), loaded):
        assert (twin.estimator, twin.progress) == (q.estimator, 0.75)
        torch.manual_seed(0)
        wanted = q(p)
        torch.manual_seed(0)
        assert_bits(twin(p), wanted.detach())
        twin.set_progress(0.5)
        assert q.progress == 0.75
        for mine, other in zip(q.parameters(), twin.parameters(), strict=True):
            assert mine is not other


@every
def test_tables(name, params):
    e = estimators.get(name, **params)
    assert from_table(to_table(e)) == e
    assert to_table(e)["name"] == name


def test_a_state_of_another_estimator():
    text = "the state is that of the estimator 'ste', the module has 'szt'"
    with pytest.raises(InvalidValueError, match=f"^{text}$"):
        quantizer("szt").load_state_dict(quantizer("ste").state_dict())


def test_after_step():
    for name in NAMES:
        q, p = started(name, {}, 4.0 * weights())
        q.set_progress(1.0)
        before = p.detach().clone()
        q.after_step(p)
        assert torch.equal(before, p.detach()) == (name != "tanh_clip")
        assert_bits(p, in_dtype(q.estimator.after_step(array(before)), torch.float32))
        assert p.is_leaf
        assert p.grad_fn is None


def test_learned_steps_learn():
    w = weights()
    q, _ = started("lsq", {"format": "int3"}, w)
    first = q.step.item()
    assert first == pytest.approx(float(np.float32(q.estimator.step)))
    optimiser = torch.optim.SGD(q.parameters(), lr=0.5)
    losses = []
    for _ in range(30):
        optimiser.zero_grad()
        loss = (q(w) - w).square().mean() * 100
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert min(losses[-5:]) < losses[0]
    assert q.step.item() != first
    assert q.estimator.step == q.step.item()
    q.step.data.fill_(-1.0)
    assert q.estimator.step == estimators.LSQ.learnable["step"][0]
    assert q(w).isfinite().all()


@pytest.mark.parametrize("power", [-1.0, 2000.0, 1e30])
def test_a_learned_exponent_beyond_its_range_counts_as_the_end(power):
    w = weights()
    q = quantizer("nupes")
    q.power.data.fill_(power)
    held = 2.0**-6 if power < 0 else 2.0**10
    assert q.estimator == replace(estimators.get("nupes"), power=held)
    values = q(w)
    assert torch.equal(values, quantizer("nupes", power=held)(w))
    values.square().sum().backward()
    assert q.power.grad.isfinite()
    assert from_table(to_table(q.estimator)) == q.estimator


def test_a_module_that_was_never_started_learns_nothing_yet():
    q = quantizer("lsq")
    assert not list(q.parameters())
    q(weights())
    loaded = quantizer("lsq")
    other, _ = started("lsq", {"axis": 0}, weights())
    loaded.load_state_dict(other.state_dict())
    assert_bits(loaded.step, other.step.detach())


@pytest.mark.parametrize("progress", [0.0, 0.3, 1.0])
def test_progress(progress):
    q = quantizer("pot", lam=0.5)
    q.set_progress(progress)
    assert q.progress == progress
    assert q.estimator == estimators.get("pot", lam=0.5).at(progress)
    for beyond, held in ((-1.0, 0.0), (7.0, 1.0)):
        q.set_progress(beyond)
        assert q.progress == held


def test_progress_may_move_before_the_backward_pass():
    q, p = started("pot", {"lam": 0.5}, weights())
    q.set_progress(0.5)
    values = q(p)
    q.set_progress(1.0)
    values.sum().backward()
    assert p.grad.unique().tolist() == [0.75]  # 1 - lam * progress of the forward pass


# torch's compiler makes an object of every autograd function, against its own warning
traced = pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")


@traced
@pytest.mark.parametrize("name", ["szt", "lsq", "pot", "stochastic_rounding"])
def test_compiled(name):
    q, p = started(name, {}, weights())
    twin = copy.deepcopy(p)
    compiled = torch.compile(lambda x: (2.0 * q(x)).tanh().sum(), backend="aot_eager", fullgraph=True)
    for progress in (0.1, 0.9):
        q.set_progress(progress)
        found = []
        for x, call in ((p, compiled), (twin, lambda x: (2.0 * q(x)).tanh().sum())):
            x.grad = None
            q.zero_grad()
            torch.manual_seed(1)
            loss = call(x)
            loss.backward()
            found.append([loss.detach(), x.grad, *(part.grad.clone() for part in q.parameters())])
        for a, b in zip(*found, strict=True):
            assert_bits(a, b)


@traced
def test_progress_does_not_compile_again():
    q, p = started("pot", {}, weights())
    counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(q, backend=counter, fullgraph=True)
    results, counts = [], []
    for progress in (0.1, 0.5, 0.9):
        q.set_progress(progress)
        results.append(compiled(p).detach())
        assert_bits(results[-1], q(p))
        counts.append(counter.frame_count)
    assert counts[0] == counts[-1] > 0
    assert not torch.equal(results[0], results[1])


@pytest.mark.parametrize(("name", "params"), [c for c in CASES if not estimators.get(c[0]).draws])
def test_elsewhere_the_rule_runs(name, params):
    """On a device without values, which shows that nothing there asks for one."""
    q, p = started(name, params, weights())
    shape = q(p).shape
    q, p = q.to("meta"), nn.Parameter(p.detach().to("meta"))
    for training in (True, False):
        values = q.train(training)(p)
        assert (values.device.type, values.dtype, values.shape) == ("meta", torch.float32, shape)
        values.sum().backward()
        for x in (p, *q.parameters()):
            assert (x.grad.shape, x.grad.dtype, x.grad.device.type) == (x.shape, x.dtype, "meta")
    q.after_step(p)


def test_within_autocast():
    layer, q = nn.Linear(20, 8), quantizer("szt", axis=0)
    x = torch.randn(5, 20, generator=torch.Generator().manual_seed(1))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        values = q(layer.weight)
        y = nn.functional.linear(x, values, layer.bias)
    assert (values.dtype, y.dtype) == (torch.float32, torch.bfloat16)
    assert_bits(values, in_dtype(q.estimator.forward(array(layer.weight)), torch.float32))
    y.float().sum().backward()
    assert layer.weight.grad.dtype == torch.float32
    assert layer.weight.grad.isfinite().all()


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda q: pickle.loads(pickle.dumps(q))], ids=["copy", "pickle"])
def test_a_copy_has_a_progress_of_its_own(copied):
    q = quantizer("reste")
    q.set_progress(0.25)
    other = copied(q)
    other.set_progress(0.5)
    assert (q.progress, other.progress) == (0.25, 0.5)
    assert other.estimator == q.estimator.__class__().at(0.5) != q.estimator


def test_a_product_keeps_its_precision_within_autocast():
    q, p = started("qkr", {}, weights())
    g = torch.randn(q.estimator.value_shape(tuple(p.shape)), generator=torch.Generator().manual_seed(4))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        q(p).backward(g)
    assert_bits(p.grad, rule_of(q.estimator).backward(q.estimator, p.detach(), g, ())[0])


@pytest.mark.parametrize("name", ["ste", "reste"])
def test_second_derivatives_are_refused(name):
    q, p = started(name, {}, weights())
    (first,) = torch.autograd.grad(q(p).square().sum(), p, create_graph=True)
    with pytest.raises(RuntimeError, match=r"^trying to differentiate twice a function that was marked with @once"):
        first.sum().backward()


def test_as_a_parametrization():
    layer = nn.Linear(20, 8)
    latent = layer.weight.detach().clone()
    nn.utils.parametrize.register_parametrization(layer, "weight", quantizer("szt"))
    assert_bits(layer.weight, in_dtype(estimators.get("szt").forward(latent.numpy()), torch.float32))
    layer(torch.ones(2, 20)).sum().backward()
    assert layer.parametrizations.weight.original.grad is not None


def test_shown_with_its_fields():
    assert repr(quantizer("ste", format="int4")) == "Quantizer(STE(format='int4', axis=None, limit=None))"


def test_state_stays_on_the_cpu_whatever_the_default_device():
    with torch.device("meta"):
        q = quantizer("stochastic_rounding")
    assert q.progress == 0.0
    w = torch.randn(4, 4)
    with torch.device("meta"):
        assert q(w).device.type == "cpu"


def test_errors_begin_with_the_label():
    q = quantizer("lsq")
    w = torch.randn(8)
    q.start(w)
    q.label = "layer 'fc'"
    with pytest.raises(InvalidValueError, match=r"^layer 'fc': `w` must be finite, got nan at index \(0,\)$"):
        q(torch.full((8,), torch.nan))
    with torch.no_grad():
        q.step.fill_(torch.nan)
    with pytest.raises(InvalidValueError, match=r"^layer 'fc': learned `step` of 'lsq' must be finite, got nan$"):
        q(w)


@pytest.mark.parametrize("state", [torch.zeros(3, dtype=torch.uint8), torch.tensor([], dtype=torch.uint8), None])
def test_damaged_extra_state(state):
    with pytest.raises(InvalidValueError, match=r"^the extra state is none that `get_extra_state` gave: "):
        quantizer("szt").set_extra_state(state)


def test_odd_tensors_and_progress():
    with pytest.raises(TypeError, match=r"^`w` must be a dense .* tensor, got torch\.sparse_coo$"):
        quantizer("szt")(torch.eye(3).to_sparse())
    x = torch.randn(6, dtype=torch.complex64)
    view = x.conj().imag  # lazily negated
    assert view.is_neg()
    assert torch.equal(quantizer("ste")(view), quantizer("ste")(view.clone()))
    with pytest.raises(InvalidValueError, match=r"^`progress` must be finite, got nan$"):
        quantizer("reste").set_progress(float("nan"))


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("szt", {"surrogate": estimators.Surrogate(tilt=0.3, clip=1.5)}),
        ("szt", {"scale": "absmean", "threshold": "absmean"}),
        ("ste", {"format": "int4"}),
        ("ste_clipped", {"format": "int8", "limit": 0.7}),
        ("ste_clipped", {"format": "int12", "limit": 0.7}),
        ("lsq", {"step": 0.3}),
    ],
)
def test_long_rows_are_done_as_short_ones_are(name, params):
    """Long rows go through memory pass by pass, chunk by chunk, short ones all at once: the same bits."""
    w, g = torch.randn(2, 3, 90_001, generator=torch.Generator().manual_seed(1))
    together = w.clone().requires_grad_()
    q = quantizer(name, axis=0, **params)
    values = q(together)
    values.backward(g)
    for i in range(3):
        alone = w[i : i + 1].clone().requires_grad_()
        own = quantizer(name, axis=0, **params)
        row = own(alone)
        row.backward(g[i : i + 1])
        assert_bits(row, values[i : i + 1])
        assert_bits(alone.grad, together.grad[i : i + 1])
        e = q.estimator
        assert_bits(row, in_dtype(e(array(w[i])[None]).values, torch.float32))


@every
def test_values_and_gradients_together(name, params):
    q, p = started(name, params, weights())
    e, x = q.estimator, array(p)
    if e.draws:
        return
    values, pull = e.vjp(x)
    np.testing.assert_array_equal(values, e.forward(x))
    g = np.random.default_rng(3).standard_normal(values.shape)
    for latent in (True, False):
        gradient, learned = pull(g, None, latent)
        if latent:
            np.testing.assert_array_equal(gradient, e.backward(x, g))
        wanted = e.parameter_gradients(x, g)
        assert learned.keys() == wanted.keys()
        for key, grad in wanted.items():
            np.testing.assert_array_equal(learned[key], grad)
            assert learned[key].shape == grad.shape
