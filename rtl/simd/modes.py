"""How the SIMD hardware is told what it works on: format selectors, lane counts, and where lanes lie in shared words.

A processing element has four *slots*. Four lanes use all of them, two lanes slots 0 and 2, one lane slot 0.
"""

__all__ = [
    "FORMAT_CODES",
    "LANE_BITS",
    "Decoded",
    "LaneFlags",
    "SimdMode",
    "is_format",
    "lane_flags",
    "lane_kinds",
    "one_of",
]

from collections.abc import Sequence

from amaranth import Const, Signal, Value
from amaranth.hdl import Module
from amaranth.lib import data

from tetrit.formats import get
from tetrit.hardware.simd_engine import SIMD_FORMATS

FORMAT_CODES = {name: code for code, name in enumerate(SIMD_FORMATS)}
"""What a format's selector, 2 bits wide, is set to."""

LANE_BITS = {"one": 16, "two": 8, "four": 4}
"""Bits of an operand by the number of lanes."""

_BITS = {name: get(name).bits for name in SIMD_FORMATS}


class SimdMode(data.StructLayout):
    """The formats of activations and weights, as `FORMAT_CODES`."""

    def __init__(self) -> None:
        super().__init__({"act_format": 2, "weight_format": 2})


class LaneFlags(data.StructLayout):
    """How many lanes there are: one of three flags is set."""

    def __init__(self) -> None:
        super().__init__({"one": 1, "two": 1, "four": 1})


class Decoded(data.StructLayout):
    """Four slots of a decoded operand word.

    The operand of a slot is ``significand * 2**scale`` in units of its format. With four lanes, the significand is an
    integer below 4. With one or two lanes it is a number below 2, with its point after its first bit; a 4-bit format's
    counts twice.

    Attributes
    ----------
    sign, nonzero, nar : 4 bits
        One bit a slot. `sign` of a zero may be set; `nonzero` and a finite value exclude NaR.
    significand : 13 bits
        One lane: 13 bits. Two: slot 2 in the upper, slot 0 in the lower 6 bits. Four: slots 2, 3, 0, 1 in bits 11, 7, 4
        and 0 and those above them.
    scale_0 .. scale_3 : 6, 4, 4, 4 bits
        Unsigned.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "sign": 4,
                "nonzero": 4,
                "nar": 4,
                "significand": 13,
                "scale_0": 6,
                "scale_1": 4,
                "scale_2": 4,
                "scale_3": 4,
            }
        )


def is_format(formats: Sequence[str], selector: Value, *names: str) -> Value:
    """Return whether `selector` says one of `names`, in hardware that knows `formats` only."""
    known = [name for name in formats if name in names]
    if len(known) in (0, len(formats)):
        return Const(int(bool(known)))
    return one_of([selector == FORMAT_CODES[name] for name in known])


def lane_kinds(formats: Sequence[str]) -> tuple[str, ...]:
    """Return which numbers of lanes occur in hardware for some formats."""
    return tuple(kind for kind, bits in LANE_BITS.items() if any(_BITS[name] == bits for name in formats))


def lane_flags(m: Module, formats: Sequence[str], mode: data.View) -> data.View:
    """Return flags of the lanes of a pair: those of its wider format."""
    flags = Signal(LaneFlags())
    selectors = (mode.act_format, mode.weight_format)
    one, two = (
        one_of([is_format(formats, s, *(name for name in formats if _BITS[name] == bits)) for s in selectors])
        for bits in (16, 8)
    )
    m.d.comb += [flags.one.eq(one), flags.two.eq(two & ~one), flags.four.eq(~one & ~two)]
    return flags


def one_of(flags: Sequence[Value]) -> Value:
    """Return whether any of some flags is set; those that are constant cost nothing."""
    total: Value = Const(0)
    for flag in flags:
        if isinstance(flag, Const):
            if flag.value:
                return Const(1)
            continue
        total = flag if isinstance(total, Const) else total | flag
    return total
