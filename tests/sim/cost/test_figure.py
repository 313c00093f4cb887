import pytest

from tetrit.errors import InvalidValueError, UnknownNameError
from tetrit.sim.cost import Figure

GOOD = {"value": 2.0, "unit": "pJ", "origin": "assumed", "source": "none published"}


def test_bounds_contain_the_value():
    assert Figure(**GOOD, low=2, high=3).high == 3.0
    with pytest.raises(
        InvalidValueError, match=r"^`value` must lie between `low` and `high`, got 2.0 outside 2.5 to 3.0$"
    ):
        Figure(**GOOD, low=2.5, high=3)
    with pytest.raises(InvalidValueError, match=r"^`low` and `high` must be given together$"):
        Figure(**GOOD, low=1.0)


@pytest.mark.parametrize(
    ("changed", "error", "text"),
    [
        ({"value": -1.0}, InvalidValueError, "`value` must be"),
        ({"value": float("nan")}, InvalidValueError, "`value` must be"),
        ({"unit": 3}, TypeError, "`unit` must be a string, got 3"),
        ({"origin": "modeled"}, UnknownNameError, "unknown origin 'modeled'; did you mean 'modelled'"),
        ({"source": ""}, InvalidValueError, "`source` must say where the figure comes from"),
    ],
)
def test_bad_figures_are_refused(changed, error, text):
    with pytest.raises(error, match=text.replace("(", r"\(")):
        Figure(**GOOD | changed)
