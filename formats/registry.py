"""The formats that exist, by name."""

__all__ = ["block_format", "block_names", "get", "names"]

from dataclasses import replace
from functools import cache
from typing import Literal, overload

from tetrit import checks
from tetrit.errors import InvalidValueError, unknown_name
from tetrit.formats.base import Format
from tetrit.formats.block import BlockFormat
from tetrit.formats.codebooks import named_codebook
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


@cache
def _blocks() -> dict[str, BlockFormat]:
    e2m1, int4, int16 = (_registry()[name] for name in ("fp4_e2m1", f"int4{_SYMMETRIC}", f"int16{_SYMMETRIC}"))
    assert isinstance(e2m1, Minifloat) and isinstance(int4, Integer) and isinstance(int16, Integer)
    known = [
        BlockFormat(name="mxfp4", element=e2m1, block=32),
        BlockFormat(name="nvfp4", element=e2m1, scale="e4m3", block=16),
        BlockFormat(name="bfp12", element=int4, block=32),
        BlockFormat(name="dfp16", element=int16),
    ]
    return {item.name: item for item in known}


def block_names() -> tuple[str, ...]:
    """Return the names of the block formats that `get` knows.

    Examples
    --------
    >>> from tetrit import formats
    >>> formats.block_names()
    ('mxfp4', 'nvfp4', 'bfp12', 'dfp16')
    """
    return tuple(_blocks())


def block_format(name: str, *, block: int | None = None) -> BlockFormat:
    """Return the block format of this name.

    Parameters
    ----------
    name : str
        One of `block_names()`.
    block : int, optional
        Another number of elements per scale than the format's own.

    Returns
    -------
    BlockFormat

    Raises
    ------
    UnknownNameError
        If there is no such format; the nearest name is suggested.
    InvalidValueError
        If `block` is not positive.

    Examples
    --------
    >>> from tetrit import formats
    >>> formats.block_format("bfp12", block=128).bits_per_element
    4.0625
    """
    known = _blocks()[checks.choice("block format", name, _blocks())]
    return known if block is None else replace(known, block=block)


def names() -> tuple[str, ...]:
    """Return the names of all scalar formats that `get` knows; `block_names` has the others.

    Examples
    --------
    >>> from tetrit import formats
    >>> "posit8_0" in formats.names()
    True
    """
    return tuple(_registry())


@overload
def get(name: Literal["mxfp4", "nvfp4", "bfp12", "dfp16"]) -> BlockFormat: ...  # type: ignore[overload-overlap]


@overload
def get(name: str, *, symmetric: bool = False) -> Format: ...


def get(name: str, *, symmetric: bool = False) -> Format | BlockFormat:
    """Return the format of this name; the same object every time, but for a codebook an equal one.

    Parameters
    ----------
    name : str
        One of `names()` or `block_names()`, or the name of a table of values of one's own, as
        `tetrit.formats.codebook_name` spells it.
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
        If the values in a codebook's name are no numbers, not finite, or too many or too few; or if `symmetric` is
        asked of a format that has no such variant.

    Examples
    --------
    >>> from tetrit import formats
    >>> formats.get("int8", symmetric=True).max_value
    127.0
    """
    known = _registry()
    if not isinstance(name, str):
        raise TypeError(f"a format's name must be a string, got {name!r}")
    fmt = known.get(name) or _blocks().get(name) or named_codebook(name)
    if fmt is None:
        raise unknown_name("format", name, (*known, *_blocks()))
    if not symmetric or name.endswith(_SYMMETRIC):
        return fmt
    if name + _SYMMETRIC not in known:
        raise InvalidValueError(f"format '{name}' has no symmetric variant; only int2 to int16 have one")
    return known[name + _SYMMETRIC]
