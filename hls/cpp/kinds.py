"""Types in C++: the authority for which template of the library stands for which format."""

__all__ = ["format_type", "value_type"]

from tetrit import formats
from tetrit.errors import InvalidValueError
from tetrit.hls.cpp.source import Signal

_FLOATS = {"fp4_e2m1": (2, 1), "fp4_e3m0": (3, 0), "fp8_e4m3": (4, 3), "fp8_e5m2": (5, 2)}


def format_type(name: str) -> str:
    """Return the type that decodes codes of a format.

    Raises
    ------
    InvalidValueError
        There is none.
    """
    known = formats.get(name)
    if isinstance(known, formats.SignedZeroTernary):
        return "tetrit::Szt"
    if isinstance(known, formats.Power) and known.half_powers == 2 and known.lowest == 0:
        return f"tetrit::Pot<{known.bits}, {'true' if known.zero else 'false'}>"
    if isinstance(known, formats.Integer):
        return f"tetrit::{'Signed' if known.signed else 'Unsigned'}<{known.bits}>"
    if isinstance(known, formats.Posit):
        return f"tetrit::Posit<{known.bits}, {known.es}>"
    if name in _FLOATS:
        return "tetrit::Minifloat<{}, {}>".format(*_FLOATS[name])
    raise InvalidValueError(f"there is no decoder in C++ for format '{name}'")


def value_type(signal: Signal) -> str:
    """Return the type of a tensor's values."""
    return f"tetrit::{'UInt' if signal.codes else 'Int'}<{signal.bits}>"
