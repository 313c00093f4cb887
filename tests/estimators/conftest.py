"""What the estimator tests share: the comparison of an estimator with its slow reference."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import settings

from tetrit.estimators import Quantized

settings.register_profile("compiled", deadline=None, derandomize=True)
settings.load_profile("compiled")  # the first call of a kernel compiles it


@pytest.fixture(scope="session")
def same() -> Callable[..., None]:
    """Compare a `Quantized` with the codes and scales of a slow reference, exactly."""

    def compare(q: Quantized, codes: np.ndarray, scales: dict, axis: int | None) -> None:
        assert q.codes.shape == codes.shape
        np.testing.assert_array_equal(q.codes, codes)
        if axis is None:
            assert q.scale.shape == ()
            assert float(q.scale) == scales[None]
        else:
            wanted = [1] * codes.ndim
            wanted[axis] = codes.shape[axis]
            assert list(q.scale.shape) == wanted
            np.testing.assert_array_equal(q.scale.reshape(-1), [scales[k] for k in range(codes.shape[axis])])

    return compare
