"""Suggestions for unknown names."""

import pytest

from tetrit.errors import unknown_name


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("fp4", "did you mean 'fp4_e2m1'?"),
        ("SZT", "did you mean 'szt'?"),
        ("sztt", "did you mean 'szt'?"),
        ("shiftpe", "did you mean 'ShiftPE'?"),
        ("q", "known: ShiftPE, fp4_e2m1, pot4, szt"),
        ("", "known: ShiftPE, fp4_e2m1, pot4, szt"),
    ],
)
def test_the_nearest_name_is_suggested(name, hint):
    error = unknown_name("thing", name, ["szt", "fp4_e2m1", "pot4", "ShiftPE"])
    assert str(error) == f"unknown thing '{name}'; {hint}"
    assert isinstance(error, ValueError)
