"""What every estimator keeps: frozen, exact for any layout, dtype and number of threads, and clear errors."""

import doctest
import importlib
import pickle
import re
from dataclasses import FrozenInstanceError, fields, replace

import ml_dtypes
import numba
import numpy as np
import pytest

from tetrit import estimators, formats
from tetrit.errors import InvalidValueError
from tetrit.estimators import SZT, _run, deterministic
from tetrit.estimators._kernels import CHUNK
from tetrit.estimators.adaptive import AdaPT, Tequila
from tetrit.estimators.blocks import DFP, BlockQuantizer
from tetrit.estimators.grids import ASQ, NUPES, POST, LearnedTable
from tetrit.estimators.pairs import QKR, Fairy
from tetrit.estimators.stochastic import LOTION, LSQ, DoubleRounding, GaussWS, StochasticRounding

ONE_SCALE = {
    "ste": estimators.get("ste"),
    "ste_clipped": estimators.get("ste_clipped"),
    "szt": SZT(),
    "pot": estimators.get("pot"),
    "denseshift": estimators.get("denseshift"),
    "reste": deterministic.ReSTE(),
    "biper": deterministic.BiPer(),
    "biper_first": deterministic.BiPer(stage=1),
    "sr_ste": deterministic.SRSTE(),
    "tanh_clip": deterministic.TanhClip(),
    "statsq": deterministic.StatsQ(bits=8),
    "statsq_frozen": deterministic.StatsQ(cga=0.2),
    "stochastic_rounding": StochasticRounding(),
    "lotion": LOTION(),
    "lotion_sampled": LOTION(form="sampled"),
    "gauss_ws": GaussWS(block=4),
    "double_rounding": DoubleRounding(),
    "lsq": LSQ(),
    "tequila": Tequila(),
    "tequila_kept": Tequila(threshold="twn", scale="kept"),
    "adapt": AdaPT(),
    "adapt_stochastic": AdaPT(rounding="stochastic", word_length=5),
    "post": POST(quantile=0.7),
    "post_pot4z": POST(format="pot4z", clipped=True),
    "asq": ASQ(axis=None, beta=1.5),
    "asq_step": ASQ(format="int4", axis=None, step=0.25),
    "nupes": NUPES(),
    "codebook_fitted": LearnedTable(entries=4, strength=0.125),
    "codebook_given": LearnedTable(table=(-1.5, 0.75, -0.25, 0.125, 2.0), pull="l2", strength=0.5),
    "dfp16": BlockQuantizer(format="dfp16", clip=True),
    "dfp": DFP(),
    "dfp5": DFP(bits=5),
    "fairy": Fairy(),
}
PER_CHANNEL = {
    f"{label}_axis{axis}": replace(e, axis=axis)
    for label, e in ONE_SCALE.items()
    if "axis" in {field.name for field in fields(e)}
    for axis in (0, -1)
}
OTHERS = {
    "sr_ste_szt": deterministic.SRSTE(inner=SZT(axis=1)),
    "qkr": QKR(),
    "qkr_frozen": QKR(bits=2, cga=0.1),
    **{
        f"{name}_clipped{clip}": BlockQuantizer(format=name, block=7, clip=clip)
        for name in ("mxfp4", "nvfp4", "bfp12")
        for clip in (False, True)
    },
}
ALL = ONE_SCALE | PER_CHANNEL | OTHERS
FLOATS = [np.float16, np.float32, np.float64]


def each(cases):
    return pytest.mark.parametrize("e", cases.values(), ids=cases.keys())


def leading(e):
    """First axes of a latent: pairs of projections with their heads, parts of complex numbers, nested references."""
    if e.name == "denseshift":
        return e.start(np.ones((1, 1)))[1].shape[:1]
    return {"qkr": (2, 2), "fairy": (2,)}.get(e.name, ())


def value_shape(e, shape):
    return shape[1:] if e.name == "denseshift" else e.value_shape(shape)


def arrays(e, seed, shape=(8, 21), dtype=np.float64):
    """Return a latent and a gradient; `shape` is that of the latent's last axes."""
    rng = np.random.default_rng(seed)
    w = rng.normal(size=(*leading(e), *shape)).astype(dtype)
    return w, rng.normal(size=value_shape(e, w.shape)).astype(dtype)


def outcome(e, w, g):
    q = e(w)
    found = [q.codes, q.scale, q.values, e.forward(w), e.backward(w, g), *e.parameter_gradients(w, g).values()]
    if isinstance(e, Tequila):
        found += [e.bias(w), e.backward(w, g, grad_bias=np.linspace(-1.0, 2.0, w.shape[0]))]
    return [(a.dtype, a.shape, a.tobytes()) for a in map(np.ascontiguousarray, found)]


@each(ALL)
@pytest.mark.parametrize("dtype", FLOATS)
def test_contract(e, dtype):
    assert pickle.loads(pickle.dumps(e)) == e
    assert hash(e) == hash(replace(e)) == hash(pickle.loads(pickle.dumps(e)))
    with pytest.raises(FrozenInstanceError):
        e.name = "other"
    w = np.random.default_rng(0).normal(size=(*(() if e.name == "denseshift" else leading(e)), 8, 5)).astype(dtype)
    before = w.copy()
    begun, latent = e.start(w)
    assert latent.dtype == (np.float32 if dtype == np.float16 and e.name == "denseshift" else dtype)
    assert not np.shares_memory(latent, w)
    q = begun(latent)
    shape = begun.value_shape(latent.shape)
    assert q.values.shape == shape
    assert q.codes.dtype.kind == "u"
    assert q.codes.max() < 2 ** formats.get(q.format).bits
    assert q.scale.dtype == np.float64
    assert (q.scale > 0).all()
    assert np.isfinite(q.values).all()
    if q.block is None and e.name != "fairy":
        np.testing.assert_array_equal(q.values, formats.get(q.format).decode(q.codes) * q.scale)
    values = begun.forward(latent)
    assert (values.dtype, values.shape) == (np.float64, shape)
    assert begun.at(0.5).forward(latent).shape == shape
    g = np.random.default_rng(1).normal(size=shape).astype(dtype)
    gradient = begun.backward(latent, g)
    assert (gradient.dtype, gradient.shape) == (dtype, latent.shape)
    if e.straight_through:
        np.testing.assert_array_equal(gradient, g)
        assert not np.shares_memory(gradient, g)
    gradients = begun.parameter_gradients(latent, g)
    assert set(gradients) == set(e.learnable)
    for name, gradient in gradients.items():
        assert gradient.dtype == np.float64
        assert gradient.shape == np.shape(getattr(begun, name))
    assert begun.after_step(latent).shape == latent.shape
    np.testing.assert_array_equal(w, before)


@each(ALL)
@pytest.mark.parametrize("dtype", FLOATS)
def test_memory_order_and_input_type_change_nothing(e, dtype):
    w, g = arrays(e, 1, dtype=dtype)
    before = w.tobytes(), g.tobytes()
    plain = outcome(e, w, g)
    assert plain[4][0] == dtype
    wide = np.zeros([2 * n for n in w.shape], dtype)
    inside = wide[tuple(slice(None, None, 2) for _ in w.shape)]
    inside[...] = w
    views = (np.asfortranarray(w), inside, np.flip(np.flip(w).copy()), w.astype(w.dtype.newbyteorder()))
    for view in (*views, w.astype(np.float64)):
        assert outcome(e, view, np.asfortranarray(g)) == plain
    w.flags.writeable = g.flags.writeable = False
    assert outcome(e, w, g) == plain
    assert (w.tobytes(), g.tobytes()) == before


@each(ALL)
def test_bfloat16_is_its_float32(e):
    w, g = arrays(e, 2, dtype=ml_dtypes.bfloat16)
    assert outcome(e, w, g) == outcome(e, w.astype(np.float32), g.astype(np.float32))
    assert e.after_step(w).dtype == w.dtype


@each(ALL)
@pytest.mark.parametrize("dtype", FLOATS)
def test_out_is_written(e, dtype):
    w, g = arrays(e, 3, dtype=dtype)
    for method, inputs in (("backward", (w, g)), ("forward", (w,))):
        call = getattr(e, method)
        wanted = call(*inputs).astype(dtype)
        turned = np.empty(wanted.shape[::-1], dtype).T
        strided = np.empty((*wanted.shape[:-1], 2 * wanted.shape[-1]), dtype)[..., ::2]
        for out in (np.empty(wanted.shape, dtype), turned, strided):
            assert call(*inputs, out=out) is out
            np.testing.assert_array_equal(out, wanted)
        out = np.empty(wanted.shape, dtype)
        out.flags.writeable = False
        with pytest.raises(InvalidValueError, match=r"^`out` must be writeable, got a read-only array$"):
            call(*inputs, out=out)
        wish = f"shape {wanted.shape} and dtype {wanted.dtype}"
        if method == "backward" and w.shape == g.shape:
            wish = f"the shape and dtype of `grad_out`, {g.shape} and {g.dtype}"
        others = [np.empty((3, 5), dtype)]
        if method == "backward":  # values are rounded to any float dtype
            others.append(np.empty(wanted.shape, np.float64 if dtype == np.float32 else np.float32))
        for other in others:
            text = re.escape(f"`out` must have {wish}, got {other.shape} and {other.dtype}")
            with pytest.raises(InvalidValueError, match=f"^{text}$"):
                call(*inputs, out=other)


@each(ALL)
def test_gradients_in_the_place_of_an_input(e):
    w, g = arrays(e, 6)
    wanted = e.backward(w, g)
    for place in (0, 1) if w.shape == g.shape else (0,):
        inputs = [w.copy(), g.copy()]
        assert e.backward(*inputs, out=inputs[place]) is inputs[place]
        np.testing.assert_array_equal(inputs[place], wanted)


READ_BEFORE = ("pot", "statsq")
"""Besides the straight-through ones: their rules have no use for the latent while they write."""


@each(ALL)
@pytest.mark.parametrize("offset", [-1, 1, 64])
@pytest.mark.parametrize("name", ["w", "grad_out"])
def test_gradients_across_an_input_are_refused(e, name, offset):
    """Or right, where the input is not read."""
    w, g = arrays(e, 4)
    wanted = e.backward(w, g)
    inputs = {"w": w, "grad_out": g}
    n = inputs[name].size
    memory = np.zeros(max(w.size, n) + 200)
    inputs[name] = memory[100 : 100 + n].reshape(inputs[name].shape)
    inputs[name][...] = w if name == "w" else g
    before = memory.copy()
    out = memory[100 + offset : 100 + offset + w.size].reshape(w.shape)
    if name == "w" and (e.straight_through or e.name in READ_BEFORE):
        np.testing.assert_array_equal(e.backward(**inputs, out=out), wanted)
        return
    text = rf"^`out` must not overlap `{name}` in memory(, unless it is the same array)?$"
    with pytest.raises(InvalidValueError, match=text):
        e.backward(**inputs, out=out)
    np.testing.assert_array_equal(memory, before)


@each({label: e for label, e in ONE_SCALE.items() if label != "sr_ste"})
@pytest.mark.parametrize("shape", [(), (0,), (0, 3), (3, 0), (2, 0, 3), (1,), (2, 3, 4)])
def test_any_shape(e, shape):
    latent = (*leading(e), *shape)
    per_channel = [replace(e, axis=-1)] if shape and "axis" in {field.name for field in fields(e)} else []
    for each in (e, *per_channel):
        w, g = np.full(latent, 0.5), np.ones(value_shape(each, latent))
        q = each(w)
        assert q.values.shape == each.forward(w).shape == g.shape
        assert np.isfinite(q.values).all()
        assert each.backward(w, g).shape == each.after_step(w).shape == latent
        assert all(np.isfinite(gradient).all() for gradient in each.parameter_gradients(w, g).values())
        if e.name != "fairy":  # it starts from the halves of real weights
            begun, start = each.start(np.full(shape if e.name == "denseshift" else latent, 0.5))
            assert begun.forward(start).shape == g.shape
        if e.name not in ("fairy", "asq"):  # the axis of samples has no scales
            assert q.scale.shape == (() if each is e else (1,) * (len(shape) - 1) + shape[-1:])


@each(ALL)
@pytest.mark.parametrize("value", [0.0, -0.0, 0.25, 1.5, -1.5, 5e-324, -1e100])
@pytest.mark.parametrize("shape", [(4, 3), (0, 3), (4, 0)])
def test_constants_and_nothing(e, value, shape):
    w = np.full((*leading(e), *shape), max(value, -1000.0) if e.name == "biper" else value)
    q = e(w)
    assert np.isfinite(q.values).all()
    assert (q.scale > 0).all()
    assert np.isfinite(e.forward(w)).all()
    assert np.isfinite(e.backward(w, np.ones(value_shape(e, w.shape)))).all()


@each(ALL)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", ["first", "in the second chunk"])
def test_bad_weights(e, bad, place):
    columns = 30 if e.name == "qkr" else 8200
    assert CHUNK < 4 * 8200 - 2
    w = np.ones((*leading(e), 4, columns), np.float32)
    index = (0,) * w.ndim if place == "first" else (*(n - 1 for n in w.shape[:-1]), columns - 2)
    w[index] = bad
    calls = [e, e.forward, lambda x: e.forward(x, out=np.empty(value_shape(e, x.shape)))]
    calls += [e.bias] if isinstance(e, Tequila) else []
    calls += [e.refit, e.after_step] if isinstance(e, LearnedTable) else []
    if e.learnable:
        calls.append(lambda x: e.parameter_gradients(x, np.ones(value_shape(e, x.shape))))
        calls += [e.start] if e.name not in ("lsq", "double_rounding") else []
    if getattr(e, "clip", False) is True:
        calls.append(lambda x: e.backward(x, np.ones(x.shape)))
    text = re.escape(f"`w` must be finite, got {bad} at index {index}")
    for call in calls:
        with pytest.raises(InvalidValueError, match=f"^{text}$"):
            call(w)


@each(ALL)
def test_bad_arrays(e):
    w, g = np.ones((*leading(e), 4, 2)), np.ones(value_shape(e, (*leading(e), 4, 2)))
    for call in (e, e.forward, lambda x: e.backward(x, g)):
        with pytest.raises(TypeError, match=r"^`w` must be a float16, float32 or float64 array, got int64$"):
            call(w.astype(np.int64))
    with pytest.raises(TypeError, match=r"^`grad_out` must be a float16, float32 or float64 array, got bool$"):
        e.backward(w, g.astype(bool))
    text = re.escape(f"`grad_out` must have shape {g.shape}, got (7,)")
    with pytest.raises(InvalidValueError, match=f"^{text}$"):
        e.backward(w, np.ones(7))
    with pytest.raises(TypeError, match=r"^`out` must be a float16, float32 or float64 array, got dtype\('int64'\)$"):
        e.forward(w, out=np.ones(g.shape, int))


@each({label: e for label, e in ONE_SCALE.items() if f"{label}_axis0" in PER_CHANNEL})
def test_an_axis_that_is_not_there(e):
    with pytest.raises(InvalidValueError, match=r"^`axis` must be None or from -[12] to [01] for .*, got 2$"):
        replace(e, axis=2)(np.ones((*leading(e), 3, 4) if e.name == "fairy" else (3, 4)))


@each({label: e for label, e in ALL.items() if e.draws and e.forward(np.full((8, 9), 0.3)).std()})
def test_draws_come_from_the_generator_or_the_seed(e):
    w, _ = arrays(e, 3)
    np.testing.assert_array_equal(e.forward(w), e.forward(w))
    np.testing.assert_array_equal(e.forward(w), e.forward(w, rng=np.random.default_rng(0)))
    np.testing.assert_array_equal(replace(e, seed=11).forward(w), e.forward(w, rng=np.random.default_rng(11)))
    rng, two = np.random.default_rng(0), np.random.default_rng(0)
    first, second = e.forward(w, rng=rng), e.forward(w, rng=rng)
    assert (first != second).any()
    two.integers(2**64, size=2, dtype=np.uint64)
    assert rng.random() == two.random()  # exactly one key per call
    with pytest.raises(TypeError, match=r"^`rng` must be a numpy\.random\.Generator or None, got 3$"):
        e.forward(w, rng=3)
    with pytest.raises(InvalidValueError, match=r"^`seed` must be a non-negative integer, got -1$"):
        replace(e, seed=-1)


@each(ALL)
def test_the_number_of_threads_changes_nothing(e, monkeypatch):
    w, g = arrays(e, 5, (10, 400) if e.name == "qkr" else (480, 610), np.float32)
    assert g.size > _run._ALONE
    found = []
    for threads in (1, 2, 5):
        monkeypatch.setattr(numba.config, "NUMBA_NUM_THREADS", threads)
        found.append((outcome(e, w, g), e.after_step(w).tobytes()))
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize(
    "module",
    [
        *(f"adaptive.{name}" for name in ("adapt", "switching", "tequila")),
        *(f"blocks.{name}" for name in ("block", "dfp", "sorting")),
        *(f"deterministic.{name}" for name in ("biper", "reste", "sr_ste", "statsq", "tanh_clip")),
        *(f"grids.{name}" for name in ("adaptive_step", "asq", "learned_table", "nupes", "post")),
        *(f"pairs.{name}" for name in ("fairy", "qkr")),
        *(f"stochastic.{name}" for name in ("double_rounding", "gauss", "lotion", "lsq", "rounding")),
        *("base", "denseshift", "pot", "surrogates", "szt", "uniform"),
    ],
)
def test_documented_examples(module):
    result = doctest.testmod(importlib.import_module(f"tetrit.estimators.{module}"))
    assert result.failed == 0
    assert result.attempted > (1 if module == "surrogates" else 2)
