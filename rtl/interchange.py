"""The authority for what activity files share: whose instances and nets theirs are, and what they add up to."""

__all__ = ["Matching", "opened"]

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from tetrit import checks
from tetrit.errors import InvalidValueError
from tetrit.rtl.activity import Activity, Clocks
from tetrit.rtl.flat import FlatNetlist, Placed, flatten
from tetrit.rtl.netlist import CONSTANTS, Module, Netlist

_SHOWN = 3
"""Names that an error shows."""


@contextmanager
def opened(path: str | Path) -> Iterator[TextIO]:
    """Open a file for reading, line by line.

    Raises
    ------
    InvalidValueError
        If it cannot be read, or is no text.
    """
    try:
        with Path(path).open(encoding="utf-8") as file:
            yield file
    except OSError as error:
        raise InvalidValueError(f"activity file '{path}' cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InvalidValueError(f"activity file '{path}' is no text: only SAIF and VCD are read") from None


class Matching:
    """Follows the scopes of an activity file, and collects what it says of a netlist's nets.

    Parameters
    ----------
    path : str or Path
        The file, for errors.
    netlist : Netlist
        Whose nets are wanted.
    scope : str or None
        Instance in the file that is the netlist's top, e.g. ``"bench/dut"``; by default the first named as the top.

    Attributes
    ----------
    flat : FlatNetlist
        The netlist.
    toggles : int64 array, shape (n_nets,)
        What was collected; -1 where nothing was.
    high : float64 array, shape (n_nets,)
        Share of time at 1.
    """

    def __init__(self, path: str | Path, netlist: Netlist, scope: str | None):
        if scope is not None and not isinstance(scope, str):
            raise TypeError(f"`scope` must be a string, got {scope!r}")
        self.path, self._top = path, netlist.top
        self._scope = None if scope is None else scope.replace(".", "/").strip("/").split("/")
        self.flat: FlatNetlist = flatten(netlist)
        self.toggles: NDArray[np.int64] = np.full(self.flat.n_nets, -1, dtype=np.int64)
        self.high: NDArray[np.float64] = np.zeros(self.flat.n_nets)
        self._hazy: NDArray[np.bool_] = np.zeros(self.flat.n_nets, dtype=np.bool_)
        self._stack: list[str] = []
        self._seen: list[str] = []
        self._unknown: list[str] = []
        self._root: int | None = None
        self._found = False
        self._here: list[Placed | None] = []
        self._tables: dict[str, tuple[dict[str, int], set[str]]] = {}

    @cached_property
    def _places(self) -> dict[str, Placed]:
        return {placed.path: placed for placed in self.flat.instances}

    def enter(self, name: str) -> None:
        """Go into an instance."""
        self._stack.append(name)
        place: Placed | None = None
        if self._root is None and not self._found and self._is_top(name):
            self._root, self._found = len(self._stack), True
            place = self._places[""]
        elif self._root is not None:
            outer = self._here[-1]
            path = "".join(f"{step}." for step in self._stack[self._root :])
            place = None if outer is None else self._places.get(path)
            if outer is not None and place is None and name not in self._names(outer.module)[1]:
                self._unknown.append(path[:-1])
        elif len(self._seen) < _SHOWN:
            self._seen.append("/".join(self._stack))
        self._here.append(place)

    def leave(self) -> None:
        """Go out of it."""
        if self._root == len(self._stack):
            self._root = None
        self._stack.pop()
        self._here.pop()

    @property
    def inside(self) -> bool:
        """Whether nets that come now are looked at."""
        return bool(self._here) and self._here[-1] is not None

    def net(self, name: str) -> int:
        """Return the net of the design that a name in this instance stands for; -1 for none, which is remembered."""
        placed = self._here[-1]
        assert placed is not None
        local = self._names(placed.module)[0].get(name)
        if local is None:
            self._unknown.append(f"{placed.path}{name}")
            return -1
        return int(placed.nets[local])

    def note(self, net: int, toggles: int, high: float, *, unknown: bool) -> None:
        """Note what the file says of a net of the design, and whether it was unknown for any time.

        Raises
        ------
        InvalidValueError
            If it said something else before, under another of the net's names.
        """
        if net < CONSTANTS:
            return
        before = int(self.toggles[net])
        if before not in (-1, toggles):
            raise InvalidValueError(
                f"'{self.path}' contradicts itself: net '{self._name(net)}' of '{self._top}' has {before} toggles by "
                f"one name and {toggles} by another"
            )
        self.toggles[net], self.high[net] = toggles, high
        self._hazy[net] |= unknown

    def activity(self, duration_ns: float, period_ns: float | None) -> Activity:
        """Return what was collected, if it is all there.

        Parameters
        ----------
        duration_ns : float
            Time that the file covers.
        period_ns : float or None
            Clock period of a netlist without a clock.

        Raises
        ------
        InvalidValueError
            If the file and the netlist have different nets, or the number of cycles is not told.
        """
        if not self._found:
            raise InvalidValueError(self._no_top())
        needed = np.zeros(self.flat.n_nets, dtype=np.bool_)
        for placed in self.flat.instances:
            needed[placed.nets[: len(placed.module.net_names)]] = True
        needed[:CONSTANTS] = False
        missing = np.flatnonzero(needed & (self.toggles < 0))
        told = []
        if len(missing):
            names = _some([self._name(int(net)) for net in missing[:_SHOWN]], len(missing))
            told.append(f"{len(missing)} of {int(needed.sum())} nets are missing in the file ({names})")
        if self._unknown:
            names = _some(self._unknown[:_SHOWN], len(self._unknown))
            told.append(f"{len(self._unknown)} names in the file are none of the netlist ({names})")
        if told:
            raise InvalidValueError(f"'{self.path}' does not match the netlist of '{self._top}': {'; '.join(told)}")
        return self._result(duration_ns, period_ns)

    def _result(self, duration_ns: float, period_ns: float | None) -> Activity:
        flat = self.flat
        clocks = Clocks(flat)
        toggles = np.maximum(self.toggles, 0)
        ticks = np.zeros(len(clocks.gates) + 1, dtype=np.int64)
        rates = {int(toggles[net]) // 2 for net in clocks.root_nets}
        if len(rates) > 1:
            raise InvalidValueError(
                f"'{self.path}': the clocks of '{self._top}' tick {min(rates)} to {max(rates)} times"
            )
        for net, number in clocks.number_of_net.items():
            ticks[number] = toggles[net] // 2
            toggles[net] = 0
        if rates:
            n_cycles = rates.pop()
            if n_cycles == 0:
                raise InvalidValueError(f"'{self.path}': the clock of '{self._top}' does not tick")
        elif period_ns is None:
            raise InvalidValueError(
                f"'{self._top}' has no clock: `period_ns` must say how long a cycle of '{self.path}' is"
            )
        else:
            n_cycles = round(duration_ns / checks.real("period_ns", period_ns, minimum=0, exclusive=True))
            if n_cycles == 0:
                raise InvalidValueError(
                    f"'{self.path}' covers {duration_ns:g} ns, less than a cycle of {period_ns:g} ns"
                )
        return Activity(
            flat=flat,
            n_cycles=n_cycles,
            outputs=MappingProxyType({}),
            toggles=toggles,
            high=self.high,
            ticks=ticks,
            clock_of=clocks.clock_of,
            n_unknown=int(self._hazy.sum()),
        )

    def _is_top(self, name: str) -> bool:
        return name == self._top if self._scope is None else self._stack == self._scope

    def _no_top(self) -> str:
        wanted = self._top if self._scope is None else "/".join(self._scope)
        seen = f"it has {', '.join(self._seen)}" if self._seen else "it has none at all"
        return f"'{self.path}' has no instance '{wanted}'; {seen}: `scope` says which one is '{self._top}'"

    def _names(self, module: Module) -> tuple[dict[str, int], set[str]]:
        """Return the nets of a module by all their names, and the names of its cells."""
        if module.name not in self._tables:
            nets = {name: net for net, name in enumerate(module.net_names) if net >= CONSTANTS}
            for port in module.ports:
                for bit, net in enumerate(port.nets):
                    nets[f"{port.name}[{bit}]" if len(port.nets) > 1 else port.name] = net
            self._tables[module.name] = nets, {cell.name for cell in module.cells}
        return self._tables[module.name]

    def _name(self, net: int) -> str:
        """Return the outermost name of a net."""
        for placed in self.flat.instances:
            found = np.flatnonzero(placed.nets[: len(placed.module.net_names)] == net)
            if len(found):
                return f"{placed.path}{placed.module.net_names[int(found[0])]}"
        return str(net)


def _some(names: list[str], count: int) -> str:
    return ", ".join(names) + (", ..." if count > len(names) else "")
