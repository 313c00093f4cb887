"""What a lowered fragment is made of, as a value: fragments that are alike have equal fingerprints."""

__all__ = ["fingerprint"]

from collections.abc import Hashable, Iterable
from typing import Any

from amaranth.hdl import Const, Signal
from amaranth.hdl._ast import Assign, Concat, Format, Operator, Part, Slice, Switch, SwitchValue
from amaranth.hdl._ir import Fragment, Instance

_VALUES: dict[type, tuple[str, ...]] = {
    Operator: ("operator", "operands"),
    Slice: ("value", "start", "stop"),
    Part: ("value", "offset", "width", "stride"),
    Concat: ("parts",),
    SwitchValue: ("test", "cases"),
    Assign: ("lhs", "rhs"),
}
_FORMATS: dict[type, tuple[str, ...]] = {
    Format: ("_chunks",),
    Format.Enum: ("_value", "_variants", "_name"),
    Format.Struct: ("_value", "_fields"),
    Format.Array: ("_value", "_fields"),
}
_PLAIN = (str, int, bool, type(None))


class _UnknownKindError(Exception):
    """Something of which it is not known what makes two of it alike."""


def fingerprint(fragment: Fragment, ports: Iterable[tuple[str, Signal, Any]]) -> Hashable | None:
    """Return a value that is equal for fragments from which the same module comes.

    Parameters
    ----------
    fragment : Fragment
        After `Fragment.prepare`, its components replaced by instances.
    ports : iterable of (name, signal, direction)
        Ports of the module.

    Returns
    -------
    hashable or None
        None if the fragment holds something unknown here, as memories; it is like no other then.
    """
    reader = _Reader()
    try:
        names = [(name, reader.read(signal)) for name, signal, _ in ports]
        return tuple(names), reader.fragment(fragment), tuple(reader.signals)
    except _UnknownKindError:
        return None


class _Reader:
    """Signals stand for their number, in the order in which they are met."""

    def __init__(self) -> None:
        self.signals: list[Hashable] = []
        self._numbers: dict[int, int] = {}

    def fragment(self, fragment: Fragment) -> Hashable:
        """Return what a fragment is made of, those below included."""
        if type(fragment) is Instance:
            own: Hashable = fragment.type, self.read(dict(fragment.parameters)), self.read(dict(fragment.ports))
        elif type(fragment) is Fragment:
            domains = ((name, domain) for name, domain in fragment.domains.items() if name in fragment.statements)
            own = tuple(
                (name, self.read(domain.clk), self.read(domain.rst), domain.clk_edge, domain.async_reset)
                for name, domain in domains
            )
        else:
            raise _UnknownKindError
        below = tuple((name, self.fragment(child)) for child, name, _ in fragment.subfragments)
        return own, self.read(dict(fragment.attrs)), self.read(dict(fragment.statements)), below

    def read(self, thing: Any) -> Hashable:
        """Return what a value, a statement, or a collection of such is made of."""
        kind = type(thing)
        if kind in _PLAIN:
            return thing
        if kind is Signal:
            return self._signal(thing)
        if kind is Const:
            shape = thing.shape()
            return "Const", thing.value, shape.width, shape.signed
        if kind in _VALUES or kind in _FORMATS:
            members = _VALUES.get(kind) or _FORMATS[kind]
            return kind.__name__, *(self.read(getattr(thing, member)) for member in members)
        if kind is Switch:
            return "Switch", self.read(thing.test), tuple((case[0], self.read(case[1])) for case in thing.cases)
        if isinstance(thing, dict):
            return tuple((key, self.read(value)) for key, value in thing.items())
        if isinstance(thing, list | tuple):
            return tuple(self.read(part) for part in thing)
        raise _UnknownKindError

    def _signal(self, signal: Signal) -> Hashable:
        number = self._numbers.get(id(signal))
        if number is None:
            number = self._numbers[id(signal)] = len(self.signals)
            self.signals.append(None)
            shape = signal.shape()
            own = signal.name, shape.width, shape.signed, signal.init, signal.reset_less
            self.signals[number] = own, self.read(dict(signal.attrs)), self.read(signal._format)
        return "signal", number
