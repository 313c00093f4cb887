"""The formats that exist, by name."""

__all__ = ["get", "names"]

from functools import cache

from tetrit.errors import InvalidValueError, unknown_name
from tetrit.formats.base import Format
from tetrit.formats.fairy import Fairy
from tetrit.formats.integers import Integer
from tetrit.formats.minifloat import Minifloat
from tetrit.formats.posit import Posit
from tetrit.formats.powers import Power
from tetrit.formats.ternary import SignedZeroTernary

_SYMMETRIC = "_symmetric"


@cache
def _registry() -> dict[str, Format]:
    widths = range(2, 17)
    known: list[Format] = [
        SignedZeroTernary(),
        Minifloat(name="fp4_e2m1", bits=4, exponent_bits=2, specials="none"),
        Minifloat(name="fp4_e3m0", bits=4, exponent_bits=3, specials="none"),
        Minifloat(name="fp8_e4m3", bits=8, exponent_bits=4, specials="nan"),
        Minifloat(name="fp8_e5m2", bits=8, exponent_bits=5, specials="ieee"),
        Minifloat(name="bf16", bits=16, exponent_bits=8, specials="ieee"),
        Posit(name="posit4_1", bits=4, es=1),
        Posit(name="posit8_0", bits=8, es=0),
        Posit(name="posit16_1", bits=16, es=1),
        *(Integer(name=f"int{n}", bits=n) for n in widths),
        *(Integer(name=f"int{n}{_SYMMETRIC}", bits=n, symmetric=True) for n in widths),
        *(Integer(name=f"uint{n}", bits=n, signed=False) for n in widths),
        *(Power(name=f"pot{n}", bits=n) for n in (2, 3, 4)),
        *(Power(name=f"pot{n}z", bits=n, zero=True) for n in (3, 4)),
        Power(name="post4", bits=4, zero=True, half_powers=1, lowest=-6),
        Fairy(),
    ]
    return {item.name: item for item in known}


def names() -> tuple[str, ...]:
    """Return the names of all formats that `get` knows.

    Examples
    --------
    >>> from tetrit import formats
    >>> "posit8_0" in formats.names()
    True
    """
    return tuple(_registry())


def get(name: str, *, symmetric: bool = False) -> Format:
    """Return the format of this name; the same object every time.

    Parameters
    ----------
    name : str
        One of `names()`. A table of values of one's own is made by `tetrit.formats.codebook` instead.
    symmetric : bool
        For signed integers: the variant without the most negative value, whose own name is ``name + "_symmetric"``.

    Returns
    -------
    Format

    Raises
    ------
    UnknownNameError
        If there is no such format; the nearest name is suggested.
    InvalidValueError
        If `symmetric` is asked of a format that has no such variant.

    Examples
    --------
    >>> from tetrit import formats
    >>> formats.get("int8", symmetric=True).max_value
    127.0
    """
    known = _registry()
    if not isinstance(name, str):
        raise TypeError(f"a format's name must be a string, got {name!r}")
    if name not in known:
        raise unknown_name("format", name, known)
    if not symmetric or name.endswith(_SYMMETRIC):
        return known[name]
    if name + _SYMMETRIC not in known:
        raise InvalidValueError(f"format '{name}' has no symmetric variant; only int2 to int16 have one")
    return known[name + _SYMMETRIC]
