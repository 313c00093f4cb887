"""What block quantisers keep besides the common contract: no schedule, values, constants, no compiler."""

import numpy as np
import pytest

from tetrit.estimators.blocks import DFP, BlockQuantizer

ALL = [
    *(
        BlockQuantizer(format=name, block=7, clip=clip)
        for name in ("mxfp4", "nvfp4", "bfp12")
        for clip in (False, True)
    ),
    BlockQuantizer(format="dfp16", clip=True),
    DFP(),
    DFP(bits=5),
]
FLOATS = [np.float16, np.float32, np.float64]
every = pytest.mark.parametrize("e", ALL, ids=str)


@every
def test_nothing_changes_in_training(e):
    assert e.learnable == {}
    assert not e.draws
    w = np.random.default_rng(0).normal(size=(6, 5))
    begun, latent = e.start(w)
    assert begun == e == e.at(0.5)
    np.testing.assert_array_equal(latent, w)
    np.testing.assert_array_equal(e.after_step(w), w)
    assert not np.shares_memory(latent, w)
    assert e.value_shape((6, 5)) == (6, 5)
    assert e.straight_through is not getattr(e, "clip", False)


@every
@pytest.mark.parametrize("shape", [(), (0,), (0, 3), (3, 0), (2, 0, 3), (1,), (2, 3, 4)])
def test_any_shape(e, shape):
    w = np.full(shape, 0.75)
    q = e(w)
    assert q.codes.shape == e.forward(w).shape == q.values.shape == e.backward(w, np.ones(shape)).shape == shape
    np.testing.assert_array_equal(e.forward(w), q.values)
    assert (np.abs(q.values - 0.75) <= 0.05).all()


@every
def test_zeros_and_constants(e):
    for value in (0.0, -0.0, 1.5, -1.5, 5e-324, -1e300):
        w = np.full((3, 15), value)
        q = e(w)
        assert (q.scale > 0).all()
        assert np.isfinite(q.values).all()
        assert len(np.unique(q.values)) == 1
        assert value or not (q.values.any() or (q.codes & 7).any())


PROBE = """
import hashlib
import numpy as np
from tetrit.estimators.blocks import DFP, BlockQuantizer, dfp_accumulate, k_sort
from tetrit.estimators.pairs import QKR, Fairy

digest = hashlib.sha256()
rng = np.random.default_rng(7)

def add(*arrays):
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())

def use(e, w, grad):
    q = e(w)
    add(q.codes, q.scale, q.values, e.forward(w), e.backward(w, grad))

for dtype in (np.float16, np.float32, np.float64):
    for e in (BlockQuantizer(clip=True), BlockQuantizer(format="nvfp4"), BlockQuantizer(format="bfp12"), DFP()):
        use(e, *rng.normal(size=(2, 3, 70)).astype(dtype))
    for axis in (None, 0):
        use(Fairy(axis=axis), *rng.normal(size=(2, 2, 3, 70)).astype(dtype))
    use(QKR(cga=0.1), rng.normal(size=(2, 2, 3, 9)).astype(dtype), rng.normal(size=(2, 9, 9)).astype(dtype))
    add(k_sort(*rng.normal(size=(2, 2, 6, 5)).astype(dtype), rotary="halves").w_q)
use(Fairy(), *rng.normal(size=(2, 2, 33000)).astype(np.float32))
use(BlockQuantizer(clip=True), *rng.normal(size=(2, 33000)).astype(np.float32))
a, b = (rng.integers(-32768, 32768, shape).astype(np.int16) for shape in ((3, 11), (11, 4)))
for overflow in ("wrap", "saturate"):
    add(dfp_accumulate(a, b, chain=3, overflow=overflow))
print(digest.hexdigest())
"""


def test_without_the_compiler_the_bits_are_the_same(same_without_the_compiler):
    same_without_the_compiler(PROBE)
