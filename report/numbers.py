"""How a report writes numbers: digits, units, and the words for where a figure comes from."""

__all__ = [
    "OTHER",
    "area_parts",
    "code_order",
    "duration",
    "estimator_label",
    "fold",
    "fold_as",
    "in_unit",
    "nice_unit",
    "origin",
    "origin_of",
    "percent",
    "significant",
    "unit",
]

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_LADDERS: dict[
    str, tuple[tuple[float, str, float], ...]
] = {  # base unit -> (factor, unit, used from), largest unit first
    "µJ": ((1e-6, "J", 1.0), (1e-3, "mJ", 1.0), (1.0, "µJ", 1.0), (1e3, "nJ", 1.0), (1e6, "pJ", 0.0)),
    "mm²": ((1.0, "mm²", 0.01), (1e6, "µm²", 0.0)),
    "µm²": ((1e-6, "mm²", 0.01), (1.0, "µm²", 0.0)),
    "µs": ((1e-6, "s", 1.0), (1e-3, "ms", 1.0), (1.0, "µs", 1.0), (1e3, "ns", 0.0)),
}
_TIMES = ((365 * 86400.0, "y"), (86400.0, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))
OTHER = "other"


def significant(value: float, digits: int = 3) -> str:
    """Return `value` with at least `digits` significant digits, thousands set apart, no exponent unless it is tiny.

    Examples
    --------
    >>> significant(1234.56), significant(0.012345), significant(0.0), significant(2.0)
    ('1,235', '0.0123', '0', '2')
    """
    if value == 0:
        return "0"
    exponent = math.floor(math.log10(abs(value)))
    if exponent < -5:
        return f"{value:.{digits - 1}e}"
    text = f"{value:,.{max(0, digits - 1 - exponent)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def duration(seconds: float) -> str:
    """Return a time in the largest unit that it fills; a year has 365 days.

    Examples
    --------
    >>> [duration(t) for t in (0.0, 2e-6, 20.0, 3600.0, 2.592e6, 31536000.0)]
    ['0 s', '2 µs', '20 s', '1 h', '30 d', '1 y']
    """
    size, name = next(((size, name) for size, name in _TIMES if seconds >= size), (1.0, "s"))
    return f"{significant(seconds / size)} {name}"


def percent(fraction: float, decimals: int = 2) -> str:
    """Return a fraction as per cent, e.g. ``97.33 %``."""
    return f"{100 * fraction:.{decimals}f} %"


def unit(largest: float, base: str) -> tuple[float, str]:
    """Return the factor and the name of the unit that suits `largest`, which is given in `base`.

    Examples
    --------
    >>> unit(0.02, "µJ")
    (1000.0, 'nJ')
    """
    return next((factor, name) for factor, name, least in _LADDERS[base] if largest * factor >= least)


def in_unit(value: float, base: str, digits: int = 4) -> str:
    """Return `value`, given in the unit `base`, in the unit that suits it.

    Examples
    --------
    >>> in_unit(0.000203, "mm²")
    '203 µm²'
    """
    factor, name = unit(value, base)
    return f"{significant(value * factor, digits)} {name}"


def code_order(codes: Iterable[str]) -> list[str]:
    """Return weight codes in the order of their values: -1, -0, +0, +1, then all others by name.

    Examples
    --------
    >>> code_order(["+0", "+1", "-0", "-1"])
    ['-1', '-0', '+0', '+1']
    """
    given = set(codes)
    known = [code for code in ("-1", "-0", "+0", "+1") if code in given]
    return known + sorted(given - set(known))


def fold(parts: Mapping[str, float], keep: int) -> dict[str, float]:
    """Return the parts, largest first; if there are more than `keep`, the small ones together as ``other``.

    Examples
    --------
    >>> fold({"a": 1.0, "b": 3.0, "c": 0.5}, 2)
    {'b': 3.0, 'other': 1.5}
    """
    ordered = sorted(parts.items(), key=lambda item: (-item[1], item[0]))
    if len(ordered) <= keep:
        return dict(ordered)
    return fold_as(parts, [*[name for name, _ in ordered if name != OTHER][: keep - 1], OTHER])


def fold_as(parts: Mapping[str, float], names: Sequence[str]) -> dict[str, float]:
    """Return the parts under the given `names`; parts that are not named are added to ``other`` if that is one of them.

    Examples
    --------
    >>> fold_as({"a": 1.0, "b": 2.0, "c": 4.0}, ["b", "other"])
    {'b': 2.0, 'other': 5.0}
    """
    folded = {name: parts.get(name, 0.0) for name in names}
    if OTHER in folded:
        folded[OTHER] += math.fsum(value for name, value in parts.items() if name not in folded)
    return folded


def origin(sources: Iterable[str]) -> str:
    """Return the kinds of figures in words, in a fixed order.

    Examples
    --------
    >>> origin(["modelled", "synthesised", "modelled"])
    'synthesised and modelled'
    """
    given = set(sources)
    kinds = [kind for kind in ("synthesised", "modelled", "published", "assumed") if kind in given]
    return " and ".join([", ".join(kinds[:-1]), kinds[-1]] if len(kinds) > 1 else kinds) or "origin not stated"


def nice_unit(name: str) -> str:
    """Return a unit in plain letters as people write it.

    Examples
    --------
    >>> nice_unit("um2"), nice_unit("uJ"), nice_unit("TOPS/mm2"), nice_unit("pulses")
    ('µm²', 'µJ', 'TOPS/mm²', 'pulses')
    """
    return re.sub(r"\bu(?=(m2|m|J|W|s|A|V)\b)", "µ", name).replace("m2", "m²")


def origin_of(name: str, sources: Mapping[str, str]) -> str:
    """Return where the figure of component `name` comes from; ``several`` for what `fold` put together."""
    return "several" if name == OTHER and name not in sources else origin([sources.get(name, "")])


def area_parts(block: Mapping[str, Any]) -> dict[str, float]:
    """Return the parts in mm2 of the figure `area` among a block's figures, by component.

    Examples
    --------
    >>> area_parts({"figures": [{"name": "area, ADC", "value": 2e6, "unit": "um2"}, {"name": "time", "unit": "us"}]})
    {'ADC': 2.0}
    """
    factors = {"mm2": 1.0, "um2": 1e-6}
    return {
        entry["name"].removeprefix("area, "): entry["value"] * factors[entry["unit"]]
        for entry in block.get("figures", [])
        if entry["name"].startswith("area, ") and entry["unit"] in factors
    }


def estimator_label(entry: Mapping[str, Any]) -> str:
    """Return the name of an estimator with its bits and parameters."""
    details = [
        f"{entry['bits']} bit",
        *(f"{name}={value}" for name, value in entry["params"].items() if name != "bits"),
    ]
    return f"{entry['estimator']} ({', '.join(details)})"
