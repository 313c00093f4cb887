"""What surrogate estimators keep besides the common contract: scales without zero, sums, the same bits uncompiled."""

import numpy as np
import pytest

from tetrit.errors import InvalidValueError
from tetrit.estimators import SZT, deterministic

ALL = [
    deterministic.ReSTE(),
    deterministic.ReSTE(axis=1),
    deterministic.BiPer(),
    deterministic.BiPer(stage=1),
    deterministic.SRSTE(),
    deterministic.SRSTE(inner=SZT(axis=1)),
    deterministic.TanhClip(),
    deterministic.StatsQ(cga=0.2),
    deterministic.StatsQ(bits=8, axis=1),
]
each = pytest.mark.parametrize("e", ALL, ids=[f"{e.name}-{i}" for i, e in enumerate(ALL)])


@each
@pytest.mark.parametrize("w", [np.zeros((4, 3)), np.full((4, 3), -0.0), np.zeros((0, 3)), np.zeros((4, 0))])
def test_where_there_is_nothing_scales_are_1(e, w):
    assert (e(w).scale == 1.0).all()


@pytest.mark.parametrize("e", [deterministic.ReSTE(), deterministic.StatsQ(axis=0)])
def test_a_sum_that_overflows(e):
    text = "^`w` must have a sum of magnitudes that float64 can hold, got an overflow$"
    with pytest.raises(InvalidValueError, match=text):
        e(np.full((2, 2), 1.7e308))


PROBE = """
import hashlib
import numpy as np
from tetrit.estimators import deterministic as s

digest = hashlib.sha256()
rng = np.random.default_rng(7)
for e in (s.ReSTE(power=2.3), s.BiPer(stage=1), s.BiPer(), s.SRSTE(), s.TanhClip(), s.StatsQ(cga=0.2)):
    for dtype in (np.float16, np.float32, np.float64):
        for shape in ((8, 30), (1, 33000)) if dtype == np.float32 and e.name != "sr_ste" else ((8, 30),):
            w, grad = rng.normal(size=(2, *shape)).astype(dtype)
            q = e(w)
            for array in (q.codes, q.scale, q.values, e.forward(w), e.backward(w, grad), s.TanhClip().after_step(w)):
                digest.update(np.ascontiguousarray(array).tobytes())
    digest.update(repr((s.estimating_error(w, power=3.0), s.gradient_variance(w), s.biper_penalty(w))).encode())
print(digest.hexdigest())
"""


def test_without_the_compiler_the_bits_are_the_same(same_without_the_compiler):
    same_without_the_compiler(PROBE)
