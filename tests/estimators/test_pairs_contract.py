"""What Fairy and QKR keep besides the common contract: no schedule, and the shape of their values."""

import numpy as np
import pytest

from tetrit.estimators.pairs import QKR, Fairy

ALL = [Fairy(), Fairy(axis=0), Fairy(axis=-1), QKR(), QKR(bits=2, cga=0.1)]
SHAPE = (2, 3, 4, 6)
every = pytest.mark.parametrize("e", ALL, ids=str)


def arrays(e, seed, shape=SHAPE):
    rng = np.random.default_rng(seed)
    return rng.normal(size=shape), rng.normal(size=e.value_shape(shape))


@every
def test_nothing_changes_in_training(e):
    assert e.learnable == {}
    w, g = arrays(e, 0)
    np.testing.assert_array_equal(e.after_step(w), w)
    assert e.at(0.5) == e
    assert e.straight_through is (e.name == "fairy")
    assert e.forward(w).shape == e(w).values.shape == g.shape
    assert e.forward(w).dtype == np.float64
    assert e.backward(w, g).shape == w.shape
