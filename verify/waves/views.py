"""The authority for view files: which signals GTKWave (``.gtkw``) and Surfer (``.sucl``) show, in which groups.

Groups are found in the hierarchy itself: the bench's signals, clock and reset, the streams and AXI channels of the
ports, the top module's own state, one element of each array of equal modules, and every other module of the first
level.
"""

__all__ = ["Group", "gtkwave", "layout", "surfer"]

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tetrit.verify.waves.vcd import Signal, VcdToFst

_CHANNEL = re.compile(r"(?P<bus>[ms]_axil?)_(?P<channel>aw|ar|w|r|b)(?P<part>\w+)")
_SHOWN_PARTS = {"valid", "ready", "addr", "len", "data", "strb", "last", "resp"}
_MEMBER = re.compile(r"(?P<family>\w+?)_(?P<number>\d+(?:_\d+)?)")
_NUMBERS = ("cycle", "case", "_word")
_ELEMENTS, _ACCUMULATORS = ("pe", "mac"), ("result", "sum_out")
_MOST_SIGNALS, _MOST_ACCUMULATORS = 40, 64
_ZOOM = -math.log2(50.0)
"""Of GTKWave, which shows 2 to the power of its negative in 200 pixels: 40 pixels a cycle of 10 ns."""

_BEFORE = 200
"""What is shown before the marker, in ns."""

_HEX, _DECIMAL, _BINARY, _RIGHT, _NAMES = 1 << 1, 1 << 2, 1 << 3, 1 << 5, 1 << 32
_BEGIN, _END, _CLOSED, _COLLAPSED = 1 << 23 | 1 << 9, 1 << 24 | 1 << 9, 1 << 22, 1 << 12
_NAMED_MARKERS = 26
"""Flags and markers of GTKWave's save files; its ``analyzer.h`` defines them, and pyvcd has most of them."""


@dataclass(frozen=True, kw_only=True)
class Group:
    """Signals under one heading.

    Attributes
    ----------
    name : str
        The heading.
    signals : tuple of Signal
        What is in it.
    open : bool
        Whether it is shown at first.
    """

    name: str
    signals: tuple[Signal, ...]
    open: bool


def layout(signals: Sequence[Signal], top: str, ports: Sequence[str]) -> list[Group]:
    """Return the groups of a design's signals.

    Parameters
    ----------
    signals : sequence of Signal
        Of the file.
    top : str
        Name of the topmost scope of the design.
    ports : sequence of str
        Its ports; clock and reset may be missing.
    """
    scopes: dict[str, list[Signal]] = {}
    for signal in signals:
        if re.fullmatch(r"\w+", signal.name):  # neither anonymous ones nor fields of structures
            scopes.setdefault(signal.scope, []).append(signal)
    nested = [path for path in scopes if path.startswith(f"{top}.")]
    own = scopes.get(top, [])
    groups = [Group(name="bench", signals=tuple(scopes.get(VcdToFst.BENCH, ())), open=True)]
    inputs = {signal.name: signal for signal in own if signal.name in {*ports, "clk", "rst"}}
    groups.append(Group(name="clock and reset", signals=_picked(inputs, ("clk", "rst", "flush", "irq")), open=True))
    groups += _channels(inputs)
    children = list(dict.fromkeys(path.split(".")[1] for path in nested))
    state = [s for s in own if s.name not in inputs and not s.name.startswith(tuple(f"{c}_" for c in children))]
    groups.append(Group(name="control", signals=tuple(state[:_MOST_SIGNALS]), open=True))
    groups += _elements(scopes, nested)
    for child in children:
        if not _MEMBER.fullmatch(child):
            groups.append(
                Group(name=child, signals=tuple(scopes.get(f"{top}.{child}", ())[:_MOST_SIGNALS]), open=False)
            )
    return [group for group in groups if group.signals]


def _picked(named: dict[str, Signal], names: Iterable[str]) -> tuple[Signal, ...]:
    return tuple(named[name] for name in names if name in named)


def _channels(ports: dict[str, Signal]) -> list[Group]:
    """Return a group for each stream and each AXI channel."""
    found: dict[str, list[Signal]] = {}
    for name, signal in ports.items():
        channel = _CHANNEL.fullmatch(name)
        stream, _, _ = name.rpartition("__")
        if channel is not None and channel["part"] in _SHOWN_PARTS:
            found.setdefault(f"{channel['bus']} {channel['channel'].upper()}", []).append(signal)
        elif stream:
            found.setdefault(f"stream {stream}", []).append(signal)
        elif channel is None and name not in ("clk", "rst", "flush", "irq"):
            found.setdefault("ports", []).append(signal)
    return [Group(name=name, signals=tuple(group), open=not name.startswith("s_axil")) for name, group in found.items()]


def _elements(scopes: dict[str, list[Signal]], nested: Sequence[str]) -> list[Group]:
    """Return for each array of equal modules its first element, and the accumulators of all."""
    families: dict[tuple[str, str], list[str]] = {}
    for path in sorted(nested, key=_natural):
        parent, _, name = path.rpartition(".")
        member = _MEMBER.fullmatch(name)
        if member is not None:
            families.setdefault((parent, member["family"]), []).append(path)
    groups = []
    for (_, family), paths in families.items():
        first = paths[0].partition(".")[2]
        label = first if len(paths) == 1 else f"{first}, one of {len(paths)}"
        is_element = family in _ELEMENTS
        groups.append(Group(name=label, signals=tuple(scopes[paths[0]][:_MOST_SIGNALS]), open=is_element))
        sums = [s for path in paths for s in scopes[path] if s.name in _ACCUMULATORS]
        if is_element and sums:
            groups.append(Group(name=f"accumulators of {family}", signals=tuple(sums[:_MOST_ACCUMULATORS]), open=False))
    return groups


def _natural(path: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", path)]


def gtkwave(groups: Sequence[Group], file: str, span: tuple[int, int], marker: int | None) -> str:
    """Return a save file of GTKWave.

    Parameters
    ----------
    groups : sequence of Group
        From `layout`.
    file : str
        Name of the FST file in the same folder.
    span : (int, int)
        Its first and last time.
    marker : int or None
        Time of the mismatch, which is shown; else the beginning is.
    """
    scopes = (signal.scope.partition(".")[0] for group in groups for signal in group.signals)
    opened = next((scope for scope in scopes if scope != VcdToFst.BENCH), VcdToFst.BENCH)
    markers = [-1 if marker is None else marker, *[-1] * _NAMED_MARKERS]
    lines = [
        f'[dumpfile] "{file}"',
        "[size] 1500 950",
        f"[timestart] {span[0] if marker is None else max(span[0], marker - _BEFORE)}",
        f"*{_ZOOM:.6f} {' '.join(map(str, markers))}",
        "[signals_width] 300",
        "[sst_expanded] 1",
        f"[treeopen] {opened}.",
    ]
    for group in groups:
        begin, end = (_BEGIN, _END) if group.open else (_BEGIN | _CLOSED, _END | _CLOSED | _COLLAPSED)
        lines += [f"@{begin:x}", f"-{group.name}"]
        for signal in group.signals:
            lines += [f"@{_flags(signal):x}", f"{signal.path}{signal.range}"]
        lines += [f"@{end:x}", f"-{group.name}"]
    return "\n".join(lines) + "\n"


def _flags(signal: Signal) -> int:
    """Return how GTKWave shows a signal."""
    if signal.named:
        return _RIGHT | _BINARY | _NAMES
    if signal.bits == 1:
        return _RIGHT | _BINARY
    return _RIGHT | (_DECIMAL if signal.scope == VcdToFst.BENCH and signal.name.endswith(_NUMBERS) else _HEX)


def surfer(groups: Sequence[Group], marker: int | None) -> str:
    """Return a command file of Surfer: what is open in GTKWave, each group behind a divider.

    A command takes one word, so that the spaces of headings become underscores.
    """
    lines = []
    for group in groups:
        if group.open:
            lines.append(f"divider_add {re.sub(r'[^A-Za-z0-9_]+', '_', group.name)}")
            lines += [f"variable_add {signal.path}" for signal in group.signals]
    lines.append("zoom_fit")
    if marker is not None:
        lines.append(f"cursor_set {marker}")
    return "\n".join(lines) + "\n"
