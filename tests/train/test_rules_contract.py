"""Torch rules: the bits of the golden estimators on CPU tensors, and nothing that waits for a device or rounds there
otherwise than here."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from tetrit import estimators
from tetrit.errors import InvalidValueError
from tetrit.estimators._kernels import CHUNK, LANES
from tetrit.train.quantizers import _golden
from tetrit.train.quantizers.rules import rounded, rule_of
from tetrit.train.quantizers.rules._tensors import ordered_sum

CASES = [
    ("ste", {}),
    ("ste", {"format": "int16", "axis": 0}),
    ("ste", {"format": "int2", "axis": -1, "limit": 0.7}),
    ("ste_clipped", {"format": "int4"}),
    ("ste_clipped", {"format": "int4", "axis": 1, "limit": 0.5}),
    ("ste_format", {}),
    ("ste_format", {"format": "posit8_0", "axis": 0}),
    ("ste_format", {"format": "posit4_1", "axis": 1, "power_of_two": False}),
    ("ste_format", {"format": "posit16_1", "scale": 0.25}),
    ("ste_format", {"format": "fp8_e5m2", "axis": 1, "scale": 1e-6}),
    ("szt", {}),
    ("szt", {"threshold": "absmean", "scale": "absmean", "axis": 1, "surrogate": "signed_zero_bias"}),
    ("szt", {"axis": 0, "surrogate": estimators.Surrogate(gain=0.5, tilt=0.25, drift=0.125, clip=1.5)}),
    ("pot", {"format": "pot2"}),
    ("pot", {"format": "pot3", "axis": 0, "lam": 0.3}),
    ("pot", {"format": "pot3z", "axis": 1}),
    ("pot", {"format": "pot4", "lam": 1.0}),
    ("pot", {"format": "pot4z", "lam": 0.0}),
    ("denseshift", {"format": "pot2", "scale": 0.3}),
    ("denseshift", {"format": "pot3", "clip": 0.9}),
    ("denseshift", {"format": "pot4", "scale": 1e-3, "clip": 1.2}),
    ("reste", {}),
    ("reste", {"power": 1.7, "clip": 0.8, "secant": 0.3, "axis": 0}),
    ("biper", {"scale": 0.3}),
    ("biper", {"stage": 1, "frequency": 3.7}),
    ("sr_ste", {}),
    ("sr_ste", {"n": 1, "m": 3, "along": 1, "decay": 0.5, "inner": estimators.STE(format="int4", axis=0)}),
    ("sr_ste", {"n": 3, "m": 5, "along": -1, "inner": estimators.SZT(axis=0)}),
    ("sr_ste", {"n": 2, "m": 4, "inner": estimators.PowerOfTwo(axis=1, lam=0.5)}),
    ("sr_ste", {"n": 2, "m": 4, "inner": estimators.TanhClip(bound=0.5)}),
    ("sr_ste", {"n": 1, "m": 2, "along": 1, "inner": estimators.DoubleRounding()}),
    ("tanh_clip", {"bound": 0.9, "axis": 0}),
    ("statsq", {}),
    ("statsq", {"bits": 1, "cga": 0.2, "axis": 0}),
    ("statsq", {"bits": 15, "cga": 0.005}),
    ("statsq", {"bits": 3, "cga": 0.5, "axis": 1}),
    ("stochastic_rounding", {}),
    ("stochastic_rounding", {"format": "szt", "limit": 0.6}),
    ("stochastic_rounding", {"format": "posit8_0", "axis": 0, "seed": 5}),
    ("stochastic_rounding", {"format": "fp8_e5m2", "axis": 1}),
    ("stochastic_rounding", {"format": "uint4"}),
    ("lotion", {}),
    ("lotion", {"format": "fp4_e2m1", "axis": 0, "weight": 0.3}),
    ("lotion", {"format": "uint4", "limit": 0.5}),
    ("lotion", {"format": "posit4_1", "form": "sampled", "axis": 1}),
    ("gauss_ws", {}),
    ("gauss_ws", {"block": 4, "bits": 5.5, "axis": 0}),
    ("double_rounding", {}),
    ("double_rounding", {"bits": 3, "axis": 0}),
    ("double_rounding", {"bits": 8, "step": 0.003}),
    ("double_rounding", {"bits": 2, "axis": 1, "step": tuple(0.01 + 0.001 * i for i in range(35))}),
    ("lsq", {}),
    ("lsq", {"format": "uint4", "axis": 0}),
    ("lsq", {"format": "int8_symmetric", "step": 0.07}),
    ("lsq", {"format": "int3", "axis": 1, "step": tuple(0.05 + 0.01 * i for i in range(35))}),
    ("post", {}),
    ("post", {"format": "pot4z", "axis": 0, "quantile": 0.8, "clipped": True}),
    ("post", {"axis": 1, "quantile": 0.1, "clipped": True}),
    ("nupes", {}),
    ("nupes", {"bits": 8, "axis": 0, "power": 0.3}),
    ("nupes", {"bits": 2, "axis": 1, "power": 1.4}),
    ("asq", {}),
    ("asq", {"format": "int4", "step": 0.11, "beta": tuple(1.0 + 0.1 * i for i in range(12))}),
    ("asq", {"format": "int3_symmetric", "axis": None, "beta": 1.3}),
    ("codebook", {"entries": 5}),
    ("codebook", {"table": (0.25, -1.0, 0.0, 2.0, 0.25, 0.3), "strength": 0.2}),
    ("codebook", {"table": (-0.5, 0.5, 0.5, -0.5), "strength": 0.2, "pull": "l2"}),
    ("block", {}),
    ("block", {"format": "nvfp4", "clip": True}),
    ("block", {"format": "nvfp4", "tensor_scale": False, "block": 4}),
    ("block", {"format": "bfp12", "block": 8, "clip": True}),
    ("block", {"format": "dfp16"}),
    ("block", {"format": "mxfp4", "block": 5, "clip": True}),
    ("dfp", {}),
    ("dfp", {"bits": 3}),
    ("fairy", {}),
    ("fairy", {"axis": 0}),
    ("fairy", {"axis": 1}),
    ("qkr", {}),
    ("qkr", {"bits": 3, "cga": 0.1}),
    ("tequila", {}),
    ("tequila", {"threshold": "twn", "scale": "kept", "axis": 0}),
    ("adapt", {}),
    ("adapt", {"word_length": 4, "fraction_length": 1}),
    ("adapt", {"word_length": 5, "rounding": "stochastic", "seed": 9}),
]
LABELS = [f"{name}-{i}" for i, (name, _) in enumerate(CASES)]
ROUGH_FORWARD = {"nupes"}
SUMS = {"nupes"}
"""Where powers of the C library come in, whose last place differs, and terms are added in another order."""
DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16]
SHAPE = (12, 35)

every = pytest.mark.parametrize(("name", "params"), CASES, ids=LABELS)
of_each_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=[str(d).removeprefix("torch.") for d in DTYPES])


def latent_shape(e, shape):
    if e.name == "denseshift":
        return {"pot2": 2, "pot3": 4, "pot4": 8}[e.format], *shape
    if e.name == "fairy":
        return 2, *shape
    return (2, 3, 4, 10) if e.name == "qkr" else shape


def latents(e, dtype, seed=0, shape=SHAPE):
    """A latent tensor with zeros of both signs, ties, equals and tiny numbers among its weights, and a gradient."""
    rng = np.random.default_rng(seed)
    shape = latent_shape(e, shape)
    w = rng.normal(size=shape)
    flat = w.reshape(-1)
    flat[:12] = [0.0, -0.0, 0.5, -0.5, 0.25, 0.25, -0.25, 1.0, 5e-324, -5e-324, 1e-7, -1e-7]
    flat[20:40] = np.round(flat[20:40] * 8) / 8
    g = rng.normal(size=e.value_shape(shape))
    g.reshape(-1)[:4] = [0.0, -0.0, 5e-324, -1e-7]
    return torch.tensor(w).to(dtype), torch.tensor(g).to(dtype)


def rule_forward(e, w, learned, seed):
    """What the rule gives, rounded to the type of the weights."""
    return rounded(rule_of(e).forward(e, w, learned, seed), w.dtype)


def assert_bits(got, wanted, *, rough=False):
    assert got.dtype == wanted.dtype
    assert got.shape == wanted.shape
    if rough:
        # of sums, the rounding is that of their largest terms
        atol = 1e-14 * wanted.abs().max().item() if rough == "sums" and wanted.numel() else 0.0
        torch.testing.assert_close(got, wanted, rtol=max(2 * torch.finfo(got.dtype).eps, 2e-15), atol=atol)
        return
    ints = {8: torch.int64, 4: torch.int32, 2: torch.int16}[got.element_size()]
    where = torch.nonzero(got.contiguous().view(ints) != wanted.contiguous().view(ints))
    assert not len(where), f"{got[tuple(where[0])]} is not {wanted[tuple(where[0])]} at {where[0].tolist()}"


def assert_products(e, w, g, got, wanted):
    """A sum of n terms rounded after every one of them, then once more: off by n units of the sum of magnitudes."""
    assert got.dtype == wanted.dtype
    wide = torch.finfo(torch.promote_types(torch.promote_types(w.dtype, g.dtype), torch.float32))
    n = g.shape[-1]
    sizes = torch.tensor(replace(e, cga=None).backward(w.double().abs().numpy(), g.double().abs().numpy()))
    bound = n * (wide.eps * sizes + wide.tiny) + torch.finfo(got.dtype).eps * wanted.double().abs()
    overflows = sizes > wide.max
    assert bool(((got.double() - wanted.double()).abs() <= bound).logical_or(overflows).all())


def assert_golden(e, w, g, learned=()):
    now = e.at(1.0)
    golden = _golden.current(_golden.register(e), torch.ones((), dtype=torch.float64), learned)
    rough = e.name in ROUGH_FORWARD and getattr(now, "stage", 1) == 1
    assert_bits(rule_forward(now, w, learned, 7), _golden.forward(golden, w, 7, False)[0], rough=rough)
    hard = rounded(rule_of(now).values(now, w, learned), w.dtype)
    assert_bits(hard, _golden.forward(golden, w, 7, True)[0], rough=e.name == "nupes")
    got = rule_of(now).backward(now, w, g, learned)
    wanted = _golden.backward(golden, w, g, [p.dtype for p in learned])
    assert len(got) == len(wanted) == 1 + len(learned)
    if e.name == "qkr":
        assert_products(e, w, g, got[0], wanted[0])
        return
    for a, b in zip(got, wanted, strict=True):
        assert_bits(a, b, rough="sums" if e.name in SUMS else False)


def test_every_estimator_has_a_rule():
    assert {name for name, _ in CASES} == set(estimators.names())
    for name in estimators.names():
        assert rule_of(estimators.get(name)).name == name


def test_an_estimator_without_a_rule():
    class Unheard(estimators.STE):
        name = "unheard"

    with pytest.raises(InvalidValueError, match=r"^estimator 'unheard' has no rule for devices other than the CPU$"):
        rule_of(Unheard())


@every
@of_each_dtype
def test_bits_of_the_golden_estimator(name, params, dtype):
    e = estimators.get(name, **params)
    if name == "biper" and e.stage == 1:
        e = replace(e, switch=1.0)
    for seed in range(2):
        assert_golden(e, *latents(e, dtype, seed))


@every
def test_gradients_of_another_dtype(name, params):
    e = estimators.get(name, **params)
    w, g = latents(e, torch.float32)
    assert_golden(e, w, g.half())
    assert_golden(e, w.half(), g)


@pytest.mark.parametrize(
    ("name", "params"), [c for c in CASES if c[1].get("axis") != 1 and not {"along", "beta"} & c[1].keys()]
)
def test_long_rows_sum_in_the_golden_order(name, params):
    e = estimators.get(name, **params)
    assert_golden(e, *latents(e, torch.float32, shape=(2, CHUNK + 777)))


@every
@pytest.mark.parametrize("value", [0.0, -0.0, 1.5, -1e-45, 3e38])
def test_constant_tensors(name, params, value):
    e = estimators.get(name, **params)
    w, g = latents(e, torch.float32)
    if name == "biper":
        value = min(value, 1e4)  # the range of its sine
    assert_golden(e, torch.full_like(w, value), g)


@every
@pytest.mark.parametrize("shape", [(0, 35), (3, 0), (1, 1)])
def test_degenerate_shapes(name, params, shape):
    e = estimators.get(name, **params)
    if isinstance(getattr(e, "step", None), tuple):
        shape = (shape[0], 35)
    if isinstance(getattr(e, "beta", None), tuple):
        shape = (12, shape[1])
    shape = (2, 2, *shape) if name == "qkr" else latent_shape(e, shape)
    assert_golden(e, torch.full(shape, -0.5), torch.ones(e.value_shape(shape)))


@pytest.mark.parametrize("name", sorted(set(estimators.names()) - {"asq", "denseshift", "fairy", "qkr", "sr_ste"}))
def test_numbers_and_vectors(name):
    e = estimators.get(name)
    assert_golden(e, torch.tensor(-0.4), torch.tensor(2.0))
    assert_golden(e, torch.linspace(-1, 1, 9), torch.linspace(3, 1, 9))


@every
def test_memory_order_changes_nothing(name, params):
    e = estimators.get(name, **params)
    w, g = latents(e, torch.float32)
    turned = w.transpose(-1, -2).contiguous().transpose(-1, -2)
    assert not turned.is_contiguous()
    one = torch.ones(()).expand(g.shape)
    rule = rule_of(e)
    assert_bits(rule_forward(e, turned, (), 3), rule_forward(e, w, (), 3))
    assert_bits(rule.backward(e, turned, one, ())[0], rule.backward(e, w, torch.ones(g.shape), ())[0])


@pytest.mark.parametrize("axis", [None, 0, 1, -1])
@of_each_dtype
def test_learned_steps(axis, dtype):
    e, _ = estimators.get("lsq", format="int4", axis=axis).start(np.random.default_rng(1).normal(size=SHAPE))
    step = torch.tensor(e.step, dtype=torch.float32)
    w, g = latents(e, dtype)
    assert_golden(e, w, g, (step,))
    assert_golden(e, w, g, (step * 0.25,))
    assert_golden(e, w, g, (-step,))  # held at the least value


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("nupes", {"bits": 3}),
        ("nupes", {"bits": 5, "axis": 0}),
        ("asq", {"format": "uint3"}),
        ("asq", {"format": "int4", "step": 0.11, "beta": tuple(1.0 + 0.1 * i for i in range(12))}),
        ("asq", {"format": "int4", "axis": None, "step": 0.2, "beta": 1.3}),
        ("codebook", {"entries": 5}),
        ("codebook", {"table": (0.25, -1.0, 0.0, 2.0, 0.25, 0.3)}),
    ],
)
@of_each_dtype
def test_learned_grids(name, params, dtype):
    e = estimators.get(name, **params)
    w, g = latents(e, dtype)
    for begun in (e, e.start(_golden.array(w))[0]):
        learned = [torch.tensor(getattr(begun, field), dtype=torch.float32) for field in _golden.learned_names(begun)]
        assert_golden(begun, w, g, learned)
        assert_golden(begun, w, g, [0.75 * p for p in learned])
        if any(greatest < np.inf for _, greatest in e.learnable.values()):
            assert_golden(begun, w, g, [p + 5000.0 for p in learned])  # held at the greatest value
    assert len(learned) == len(e.learnable)


def test_after_step():
    e = estimators.get("tanh_clip", bound=0.9)
    for dtype in DTYPES:
        w, _ = latents(e, dtype)
        wanted = torch.as_tensor(e.after_step(_golden.array(w))).to(dtype)
        assert_bits(rule_of(e).after_step(e, w, ()), wanted, rough=True)
    for params in ({"strength": 0.3}, {"strength": 0.5, "pull": "l2"}):
        book = estimators.get("codebook", table=(0.5, -0.5, 0.0, 2.0), **params)
        for dtype in DTYPES:
            w, _ = latents(book, dtype)
            wanted = torch.as_tensor(book.after_step(_golden.array(w))).to(dtype)
            assert_bits(rule_of(book).after_step(book, w, ()), wanted)
            table = torch.tensor([0.75, -0.5, 0.125, 1.5])
            wanted = replace(book, table=tuple(table.tolist())).after_step(_golden.array(w))
            assert_bits(rule_of(book).after_step(book, w, (table,)), torch.as_tensor(wanted).to(dtype))
    ste = estimators.get("ste")
    assert rule_of(ste).after_step(ste, w, ()) is w


def test_training_moves_the_rule():
    for name in ("pot", "reste", "biper", "gauss_ws"):
        e = estimators.get(name)
        w, g = latents(e, torch.float64)
        for progress in (0.0, 0.4, 0.9):
            now = e.at(progress)
            assert_bits(rule_forward(now, w, (), 3), torch.as_tensor(golden_forward(now, w)), rough=name == "biper")
            assert_bits(rule_of(e).backward(now, w, g, ())[0], torch.as_tensor(now.backward(w, g)), rough=True)


def golden_forward(e, w):
    return e.forward(w.numpy(), rng=np.random.default_rng(3)) if e.draws else e.forward(w.numpy())


@every
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_stays_so(name, params, bad):
    e = estimators.get(name, **params)
    for place in (0, -1):
        w, _ = latents(e, torch.float32)
        w.reshape(-1)[place] = bad
        with pytest.raises(InvalidValueError, match=r"^`w` must be finite, got"):
            e(w.numpy())
        rule = rule_of(e)
        for values in (rule.values(e, w, ()), rule_forward(e, w, (), 3)):
            assert not values.reshape(-1)[place].isfinite()


@pytest.mark.parametrize(("name", "params"), [c for c in CASES if c[0] in ("szt", "reste", "statsq", "tequila")])
def test_a_sum_that_overflows_is_not_finite(name, params):
    e = estimators.get(name, **params)
    w = torch.full((3, 35), 1.7e308, dtype=torch.float64)
    with pytest.raises(InvalidValueError, match=r"^`w` must have a sum of magnitudes that float64 can hold"):
        e(w.numpy())
    assert not rule_of(e).values(e, w, ()).isfinite().any()


def test_ordered_sums_are_those_of_a_loop():
    rng = np.random.default_rng(2)
    for n in (0, 1, 63, 64, 65, CHUNK, CHUNK + 1, 3 * CHUNK + 130):
        terms = rng.normal(size=(2, n)) * 10.0 ** rng.integers(-8, 8, (2, n))
        wanted = np.zeros(2)
        for start in range(0, n, CHUNK):
            lanes = np.zeros((2, LANES))
            for k in range(start, min(n, start + CHUNK)):
                lanes[:, (k - start) % LANES] += terms[:, k]
            total = np.zeros(2)
            for k in range(LANES):
                total += lanes[:, k]
            wanted += total
        assert ordered_sum(torch.as_tensor(terms)).tolist() == wanted.tolist()
        assert ordered_sum(torch.as_tensor(terms[:1])).tolist() == wanted[:1].tolist()


def test_float16_is_rounded_once():
    halves = np.arange(0, 0x7C00, dtype=np.uint16).view(np.float16).astype(np.float64)
    middles = (halves[1:] + halves[:-1]) / 2
    x = np.concatenate(
        [halves, middles, np.nextafter(middles, 1e9), np.nextafter(middles, 0), [65519.99, 65520, 1e300]]
    )
    x = np.concatenate([x, -x, [np.nan, np.inf, -np.inf, 5e-324]])
    with np.errstate(over="ignore"):
        wanted = x.astype(np.float16)
    got = rounded(torch.as_tensor(x), torch.float16).numpy()
    np.testing.assert_array_equal(got, wanted)
    np.testing.assert_array_equal(np.signbit(got), np.signbit(wanted))
    naive = torch.as_tensor(x).half().numpy()
    assert (naive != wanted)[~np.isnan(wanted)].any()  # what this function is there for


WAITING = re.compile(r"_local_scalar_dense|nonzero|masked_select|is_nonzero|equal\.default|unique")
OTHERWISE = re.compile(r"reciprocal|addcmul|addcdiv|lerp|\.mean|logsumexp|std|var|norm|exp2|ldexp|rsqrt|fma")
"""Operators whose last place depends on the device."""


class Watch(TorchDispatchMode):
    """Fail where a rule calls an operator that waits for the device, or that rounds elsewhere in another way."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = str(func)
        assert not WAITING.search(name), f"{name} waits for the device"
        assert not OTHERWISE.search(name), f"{name} rounds in its own way"
        if name.startswith("aten.div"):
            divisor = args[1]
            plain = not isinstance(divisor, torch.Tensor) or (divisor.ndim == 0 and divisor.device.type == "cpu")
            assert not plain or np.frexp(float(divisor))[0] == 0.5, f"{name} by the number {divisor}"
        if name.startswith("aten.cumsum"):
            x, axis = args[:2]
            assert axis % x.ndim != x.ndim - 1, "a scan along the last axis is parallel"
            assert x.numel() != x.shape[axis], "a scan of the only axis is parallel"
        if name.startswith("aten.sum") and args[0].dtype.is_floating_point:
            raise AssertionError("a sum in an order of the device's own")
        for x in args:
            if name.startswith("aten.index.Tensor") and isinstance(x, list | tuple):
                assert all(i is None or i.dtype != torch.bool for i in x), "an index by mask waits for the device"
        return func(*args, **(kwargs or {}))


@every
@pytest.mark.parametrize("shape", [SHAPE, (1, 35)])
def test_rules_never_wait_for_the_device(name, params, shape):
    """A meta tensor has no values to read: whatever asks for one raises."""
    e = estimators.get(name, **params)
    if isinstance(getattr(e, "beta", None), tuple):
        shape = SHAPE
    w, g = (x.to("meta") for x in latents(e, torch.float16, shape=shape))
    learned = [torch.tensor(getattr(e, field), device="meta") for field in _golden.learned_names(e)]
    rule = rule_of(e)
    with Watch():
        values = [rule.values(e, w, learned), rule.forward(e, w, learned, None)]
        grads = rule.backward(e, w, g, learned)
        if type(e).after_step is not estimators.Estimator.after_step:
            assert rule.after_step(e, w, learned).dtype == w.dtype
        assert {rounded(v, w.dtype).device.type for v in values} == {"meta"}
    for v in values:
        assert (v.dtype, v.shape) == (torch.float64, e.value_shape(w.shape))
    for a, b in zip(grads, [w, *learned], strict=True):
        assert (a.shape, a.device.type) == (b.shape, "meta")
    assert grads[0].dtype == g.dtype


@pytest.mark.parametrize(
    ("broken", "text"),
    [
        (lambda x: x / 3.0, "by the number 3.0"),
        (lambda x: x.sum(), "order of the device's own"),
        (lambda x: x.cumsum(-1), "last axis is parallel"),
        (lambda x: x.reshape(-1, 1).cumsum(0), "only axis is parallel"),
        (lambda x: 1.0 / x, "rounds in its own way"),
    ],
)
def test_the_watch_sees_what_it_is_there_for(broken, text):
    with Watch(), pytest.raises(AssertionError, match=text):
        broken(torch.ones(4, 5, dtype=torch.float64, device="meta"))


@every
def test_arguments_stay_as_they_are(name, params):
    e = estimators.get(name, **params)
    w, g = latents(e, torch.float64)
    before = w.clone(), g.clone()
    rule = rule_of(e)
    rule.forward(e, w, (), None)
    found = rule.backward(e, w, g, ())[0]
    assert found is g or not e.straight_through
    assert_bits(w, before[0])
    assert_bits(g, before[1])


@pytest.mark.parametrize(
    ("name", "params"), [("stochastic_rounding", {}), ("gauss_ws", {}), ("adapt", {"rounding": "stochastic"})]
)
def test_draws_follow_the_seed(name, params):
    e = estimators.get(name, seed=4, **params)
    w, _ = latents(e, torch.float32)
    rule = rule_of(e)
    first, again, other = (rule.forward(e, w, (), seed) for seed in (1, 1, 2))
    assert_bits(first, again)
    assert (first != other).any()
    assert_bits(rule.forward(e, w, (), None), torch.as_tensor(e.forward(w.numpy())))  # the golden seed
