"""`plain_vjp` does what `vjp` does, for every estimator: values, and gradients of latent array and learned fields."""

import numpy as np
import pytest

from tetrit import estimators
from tetrit.errors import InvalidValueError
from tetrit.estimators import LSQ, SZT
from tetrit.estimators.deterministic import SRSTE, BiPer
from tetrit.estimators.grids import ASQ

CASES = {
    name: estimators.get(name) for name in estimators.names() if not estimators.get(name).draws and name != "qkr"
} | {
    "ste rows": estimators.get("ste", axis=0),
    "ste columns": estimators.get("ste", axis=1),
    "ste limited": estimators.get("ste", limit=0.7),
    "clipped rows": estimators.get("ste_clipped", axis=0, limit=0.5),
    "szt rows": SZT(axis=0),
    "szt columns": SZT(axis=1),
    "lsq rows": LSQ(axis=0, step=tuple(np.linspace(0.1, 0.5, 8))),
    "lsq step": LSQ(step=0.2),
    "lsq batched": LSQ(step=0.2, batched=True),
    "asq whole": ASQ(axis=None, step=0.3, beta=1.2),
    "asq rows": ASQ(axis=0, step=0.3, beta=tuple(np.linspace(0.5, 1.5, 8))),
    "sr_ste inner": SRSTE(inner=SZT()),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", list(CASES))
def test_it_is_vjp(name, dtype):
    e = CASES[name]
    rng = np.random.default_rng(2)
    w = rng.standard_normal((8, 12)).astype(dtype)
    e, w = e.start(w)
    w = np.ascontiguousarray(w, dtype)
    g = rng.standard_normal(e.value_shape(w.shape)).astype(dtype)
    out, plain = np.empty((2, *e.value_shape(w.shape)), dtype)
    _, pull = e.vjp(w, out=out)
    rule = e.plain_vjp(w, plain)
    assert out.tobytes() == plain.tobytes()
    wanted, fields = pull(g, None, True)
    if rule is None:
        assert e.straight_through and not fields and wanted.tobytes() == g.tobytes()
        return
    found, others = rule(g, None, True)
    assert found.tobytes() == wanted.tobytes() == e.backward(w, g).tobytes()
    assert others.keys() == fields.keys() == e.parameter_gradients(w, g).keys()
    for key, value in e.parameter_gradients(w, g).items():
        assert others[key].tobytes() == fields[key].tobytes() == np.asarray(value).tobytes()


CHECKED = [estimators.get("ste", axis=0), SZT(), LSQ(step=0.5), BiPer(), BiPer(stage=1)]


@pytest.mark.parametrize("e", CHECKED, ids=repr)
@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_it_refuses_what_is_not_finite(e, wrong):
    w = np.ones((3, 5), np.float32)
    w[1, 2] = wrong
    with pytest.raises(InvalidValueError, match=r"^`w` must be finite, got .* at index \(1, 2\)$"):
        e.plain_vjp(w, np.empty_like(w))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("stage", [1, 2])
@pytest.mark.parametrize("at", [0, 70_000])
def test_it_refuses_phases_out_of_range(stage, at, dtype):
    w = np.full(100_000, 52_428, dtype)
    BiPer(stage=stage).plain_vjp(w, np.empty_like(w))
    w[at] = -52_429
    with pytest.raises(InvalidValueError, match=r"^`w` times the frequency 20 must be at most 2\^20 .* 52429$"):
        BiPer(stage=stage).plain_vjp(w, np.empty_like(w))


@pytest.mark.parametrize(
    "e", [estimators.get("ste", axis=0), SZT(axis=0), LSQ(step=0.5), BiPer()], ids=lambda e: e.name
)
def test_empty_arrays(e):
    for shape in ((0, 4), (4, 0)):
        out = np.empty(shape, np.float32)
        e.plain_vjp(np.empty(shape, np.float32), out)
        assert out.shape == shape
