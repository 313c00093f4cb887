"""HiGHS, silent and to the proven optimum: what all integer programs are solved with."""

__all__ = ["solver"]

from typing import Any

from tetrit.errors import ToolError

_TOLERANCE = 1e-9


def solver(**options: Any) -> Any:
    """Return a new `highspy.Highs` that stops at a relative gap of 0, with more options.

    Raises
    ------
    ToolError
        If highspy is not installed.
    """
    try:
        import highspy
    except ModuleNotFoundError:
        raise ToolError("integer programs need highspy: pip install 'tetrit[hls]'") from None
    make: Any = highspy.Highs  # its constructor carries no types
    made = make()
    common = {
        "output_flag": False,
        "mip_rel_gap": 0.0,
        "mip_feasibility_tolerance": _TOLERANCE,
        "primal_feasibility_tolerance": _TOLERANCE,
    }
    for name, value in (common | options).items():
        made.setOptionValue(name, value)
    return made
