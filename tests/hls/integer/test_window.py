"""Windows: what is refused, and the layouts of feature maps."""

import numpy as np
import pytest

from tetrit.hls.integer import Window, channels_first, channels_last


@pytest.mark.parametrize(
    "changes, error, text",
    [
        ({"in_shape": (0, 2, 1)}, ValueError, "`in_shape` must be an integer from 1 to 1099511627776, got 0"),
        ({"in_shape": (2, 2)}, TypeError, "`in_shape` must be 3 integers, got (2, 2)"),
        ({"kernel": 3}, TypeError, "`kernel` must be 2 integers, got 3"),
        ({"kernel": (3, 2.0)}, TypeError, "`kernel` must be an integer, got 2.0"),
        ({"stride": (1, 0)}, ValueError, "`stride` must be an integer from 1 to 1099511627776, got 0"),
        ({"padding": (0, 0, -1, 0)}, ValueError, "`padding` must be an integer from 0 to 1099511627776, got -1"),
        ({"groups": 3}, ValueError, "`groups` must be a divisor of the 4 channels of `in_shape`, got 3"),
        (
            {"kernel": (5, 2), "dilation": (2, 1)},
            ValueError,
            "`kernel` with its `dilation` must fit the padded input, got 9 rows over 4",
        ),
        (
            {"in_shape": (2**30, 2**20, 4)},
            ValueError,
            "`in_shape` (1073741824, 1048576, 4) with `kernel` (2, 2) is beyond what can be tabulated",
        ),
    ],
)
def test_refusals(changes, error, text):
    with pytest.raises(error) as found:
        Window(**({"in_shape": (4, 4, 4), "kernel": (2, 2)} | changes))
    assert str(found.value) == text


def test_layouts_are_inverse():
    x = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    assert channels_last(x)[1, 2, 3, 0] == x[1, 0, 2, 3]
    assert (channels_first(channels_last(x)) == x).all()
    assert channels_last(x[:, :, 0]).shape == (2, 1, 5, 3)
    assert channels_first(x[0, 0]) is not None and (channels_last(x[0, 0]) == x[0, 0]).all()
    with pytest.raises(ValueError, match=r"^`x` must have at most 4 axes, got shape \(1, 1, 1, 1, 1\)$"):
        channels_last(np.zeros((1,) * 5))
