"""The authority for SAIF, in which simulators and power tools exchange switching activity: written and read.

SAIF is the Switching Activity Interchange Format of IEEE 1801 (annex on SAIF). Of a net it holds the time at 0 (T0), at
1 (T1) and unknown (TX), and the number of its changes (TC).
"""

__all__ = ["read_saif", "write_saif"]

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from tetrit.checks import real
from tetrit.errors import InvalidValueError
from tetrit.rtl.activity import Activity, Clocks
from tetrit.rtl.interchange import Matching, opened
from tetrit.rtl.netlist import CONSTANTS, Netlist

_TOKEN = re.compile(r'//.*|"[^"]*"|[()]|(?:\\.|[^\s()"\\])+')
_ESCAPED = re.compile(r"\\(.)")
_UNITS_NS = {"s": 1e9, "ms": 1e6, "us": 1e3, "ns": 1.0, "ps": 1e-3, "fs": 1e-6}
_STEPS_PER_NS = 1000
_TIMES = ("T0", "T1", "TX", "TZ", "TB", "TC", "IG", "IK")


def write_saif(activity: Activity, path: str | Path, *, period_ns: float = 10.0) -> None:
    """Write the activity of a netlist as SAIF, one net at a time.

    Parameters
    ----------
    activity : Activity
        What `simulate` counted, or what was read from another file.
    path : str or Path
        The file; it is there in full or not at all.
    period_ns : float
        How long a cycle is said to last.

    Raises
    ------
    InvalidValueError
        If it cannot be written, or `period_ns` is not above 0.
    """
    real("period_ns", period_ns, minimum=0, exclusive=True)
    target = Path(path)
    temporary = target.with_name(f".{target.name}.partial")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("w", encoding="utf-8") as file:
                file.writelines(_lines(activity, max(2, round(activity.n_cycles * period_ns * _STEPS_PER_NS))))
            temporary.replace(target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise InvalidValueError(f"cannot write activity file '{path}': {error.strerror}") from None


def read_saif(
    path: str | Path, netlist: Netlist, *, scope: str | None = None, period_ns: float | None = None
) -> Activity:
    """Read the activity of a netlist from a SAIF file that any simulator wrote, in a stream.

    The file must hold every net of the netlist, as a trace of the gate-level design does; what is inside cells, and
    other instances beside the design, are passed over. Toggles are taken as they stand: those of a simulation with
    delays hold glitches.

    Parameters
    ----------
    path : str or Path
        The file.
    netlist : Netlist
        The mapped design, e.g. ``synthesize(...).structure``.
    scope : str, optional
        Instance in the file that is the design, e.g. ``"bench/dut"``; by default the first that has its top's name.
    period_ns : float, optional
        Clock period of a design without a clock; else the clock's changes tell the cycles.

    Returns
    -------
    Activity
        The counts, to be priced by its `energy`; `outputs` is empty.

    Raises
    ------
    InvalidValueError
        If the file cannot be read, ends early or is no SAIF (with its line), has no such instance, or has other nets
        than the netlist: the text says how many and names some.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from tetrit.rtl import SZTDecoder, simulate, synthesize
    >>> result = synthesize(SZTDecoder())
    >>> activity = simulate(result.structure, {"code": [0, 1, 2, 3, 0]})
    >>> with TemporaryDirectory() as folder:
    ...     activity.write_saif(f"{folder}/run.saif")
    ...     again = read_saif(f"{folder}/run.saif", result.structure, period_ns=10.0)
    >>> again.energy(10.0) == activity.energy(10.0)
    True
    """
    matching = Matching(path, netlist, scope)
    with opened(path) as file:
        duration_ns = _Reader(matching, file).file()
    return matching.activity(duration_ns, period_ns)


def _lines(activity: Activity, duration: int) -> Iterator[str]:
    """Yield the file."""
    flat = activity.flat
    changes = activity.toggles.copy()
    for net, number in Clocks(flat).number_of_net.items():
        changes[net] = 2 * activity.ticks[number]
    top = flat.module_names[-1]
    yield '(SAIFILE\n(SAIFVERSION "2.0")\n(DIRECTION "backward")\n'
    yield f'(DESIGN "{top}")\n(PROGRAM_NAME "tetrit")\n(DIVIDER / )\n(TIMESCALE 1 ps)\n(DURATION {duration})\n'
    depth = 0
    for placed in flat.instances:
        steps = placed.path.rstrip(".").split(".") if placed.path else []
        while depth > len(steps):
            depth -= 1
            yield ")\n"
        depth = len(steps) + 1
        yield f"(INSTANCE {steps[-1] if steps else top}\n(NET\n"
        named = {
            f"{port.name}[{bit}]" if len(port.nets) > 1 else port.name: net
            for port in placed.module.ports
            for bit, net in enumerate(port.nets)
        }
        named |= {name: net for net, name in enumerate(placed.module.net_names) if net >= CONSTANTS}
        for name, local in named.items():
            net = int(placed.nets[local])
            high = round(float(activity.high[net]) * duration)
            count = 0 if net < CONSTANTS else int(changes[net])
            plain = name.replace("[", "\\[").replace("]", "\\]")
            yield f"({plain} (T0 {duration - high}) (T1 {high}) (TX 0) (TC {count}) (IG 0))\n"
        yield ")\n"
    yield ")\n" * (depth + 1)


class _Reader:
    """Recursive descent over the tokens of a file."""

    def __init__(self, matching: Matching, file: TextIO):
        self._matching = matching
        self._line = 1
        self._tokens = self._scan(file)
        self._duration = 0.0
        self._unit_ns = 1.0

    def file(self) -> float:
        """Read all of it and return the time that it covers, in nanoseconds."""
        if self._next() != "(" or self._next() != "SAIFILE":
            raise self._error("not a SAIF file: it must begin with '(SAIFILE'")
        self._groups()
        return self._duration * self._unit_ns

    def _scan(self, file: TextIO) -> Iterator[str]:
        for number, line in enumerate(file, start=1):
            self._line = number
            for match in _TOKEN.finditer(line):
                if not match[0].startswith("//"):
                    yield match[0]

    def _error(self, text: str) -> InvalidValueError:
        return InvalidValueError(f"{self._matching.path}:{self._line}: {text}")

    def _next(self) -> str:
        token = next(self._tokens, "")
        if not token:
            raise self._error("the file ends early: a ')' is missing")
        return token

    def _groups(self) -> None:
        """Read groups up to the parenthesis that closes what holds them."""
        while (token := self._next()) != ")":
            if token != "(":
                raise self._error(f"a '(' is missing before '{token}'")
            self._group(self._next())

    def _group(self, kind: str) -> None:
        matching = self._matching
        if kind == "INSTANCE":
            words = []
            while (token := self._next()) not in "()":
                words.append(token)
            if not words:
                raise self._error("an instance has no name")
            matching.enter(_ESCAPED.sub(r"\1", words[-1]))
            if token == "(":
                self._group(self._next())
                self._groups()
            matching.leave()
        elif kind in ("NET", "PORT") and matching.inside:
            while (token := self._next()) != ")":
                if token != "(":
                    raise self._error(f"a '(' is missing before '{token}'")
                self._net(_ESCAPED.sub(r"\1", self._next()))
        elif kind == "DURATION":
            (self._duration,) = self._numbers(self._words(), 1)
        elif kind == "TIMESCALE":
            text = "".join(self._words()).lower()
            match = re.fullmatch(r"(\d+)([munpf]?s)", text)
            if match is None:
                raise self._error(f"'TIMESCALE' must be a number and a unit of time, got '{text}'")
            self._unit_ns = int(match[1]) * _UNITS_NS[match[2]]
        else:
            self._skip()

    def _net(self, name: str) -> None:
        """Read what follows a net's name."""
        found: dict[str, float] = {}
        while (token := self._next()) != ")":
            if token != "(":
                raise self._error(f"a '(' is missing before '{token}'")
            kind = self._next()
            if kind in _TIMES:
                (found[kind],) = self._numbers(self._words(), 1)
            else:
                self._skip()
        if "TC" not in found:
            raise self._error(f"net '{name}' has no 'TC'")
        total = sum(found.get(kind, 0.0) for kind in ("T0", "T1", "TX", "TZ", "TB"))
        net = self._matching.net(name)
        if net >= 0:
            high = found.get("T1", 0.0) / total if total else 0.0
            self._matching.note(net, int(found["TC"]), high, unknown=found.get("TX", 0.0) > 0)

    def _words(self) -> list[str]:
        """Read the words up to the closing parenthesis."""
        words = []
        while (token := self._next()) != ")":
            if token == "(":
                raise self._error("a ')' is missing before '('")
            words.append(token)
        return words

    def _numbers(self, words: list[str], count: int) -> list[float]:
        try:
            numbers = [float(word) for word in words]
        except ValueError:
            numbers = []
        if len(numbers) != count or not all(0 <= number < float("inf") for number in numbers):
            raise self._error(f"a number of at least 0 must stand here, got '{' '.join(words)}'")
        return numbers

    def _skip(self) -> None:
        """Pass over what is left of a group."""
        depth = 1
        while depth:
            token = self._next()
            depth += (token == "(") - (token == ")")
