"""The authority for the module hierarchy of emitted designs: one RTLIL module per distinct Amaranth component.

Amaranth lowers a design as a whole: it emits one module per instance, specialised to its surroundings (a port tied to a
constant or left open vanishes). Here every `wiring.Component` is lowered on its own instead, with all ports of its
signature in their order, and its parent instantiates it by name. Equal texts are one module, so an array of 256 equal
elements holds that element's module once.
"""

__all__ = ["Hierarchy", "lower", "require_component"]

import gc
import re
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from amaranth.back import rtlil
from amaranth.hdl import Signal, Value, ValueCastable
from amaranth.hdl._ast import SignalDict
from amaranth.hdl._ir import Design, Fragment, Instance, PortDirection, build_netlist
from amaranth.lib import wiring

from tetrit.errors import InvalidValueError
from tetrit.rtl.fingerprint import fingerprint

_SELF = "@"
_PORT = re.compile(
    r"^(?P<wire>  wire width \d+ )(?P<kind>input|output) \d+(?P<signed> +(?:signed +)?)\\(?P<name>\S+)$", re.MULTILINE
)
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_Ports = list[tuple[str, Signal, PortDirection | None]]


@dataclass(frozen=True, kw_only=True)
class Hierarchy:
    """A lowered design.

    Attributes
    ----------
    top : str
        Name of the top module.
    rtlil : str
        RTLIL text of all modules, children before parents.
    modules : tuple of str
        Their names in that order; the last is `top`.
    """

    top: str
    rtlil: str
    modules: tuple[str, ...]


def lower(component: wiring.Component, name: str) -> Hierarchy:
    """Elaborate a component and lower it to RTLIL, one module per distinct component.

    Parameters
    ----------
    component : amaranth.lib.wiring.Component
        The design; its signature gives the top module's ports.
    name : str
        Name of the top module; a Verilog identifier.

    Returns
    -------
    Hierarchy
        The modules.

    Raises
    ------
    TypeError
        If `component` is no Amaranth component or `name` no string.
    InvalidValueError
        If `name` is no identifier, or the component has no ports.
    """
    require_component(component)
    if not isinstance(name, str):
        raise TypeError(f"`name` must be a string, got {name!r}")
    if not _IDENTIFIER.fullmatch(name):
        raise InvalidValueError(f"`name` must be a Verilog identifier, got '{name}'")
    ports = _signature_ports(component)
    if ports is None:
        raise InvalidValueError(f"every port of `component` {type(component).__name__} must be a signal of its own")
    if not ports:
        raise InvalidValueError(f"`component` {type(component).__name__} has no ports")
    with _without_collector():
        return _Lowering(component, name, ports).result()


def require_component(component: object) -> None:
    """Raise TypeError for what is no Amaranth component; one that is counts as used, lest Amaranth warn of it later."""
    if not isinstance(component, wiring.Component):
        raise TypeError(f"`component` must be an Amaranth component, got {component!r}")
    component._MustUse__used = True


def _signature_ports(component: wiring.Component) -> _Ports | None:
    """List name, signal and direction of each port; None where one is not a signal of its own."""
    ports: _Ports = []
    seen = SignalDict()
    for path, member, value in component.signature.flatten(component):
        signal = Value.cast(value) if isinstance(value, ValueCastable) else value
        if not isinstance(signal, Signal) or signal in seen:
            return None
        seen[signal] = None
        direction = PortDirection.Input if member.flow == wiring.In else PortDirection.Output
        ports.append(("__".join(map(str, path)), signal, direction))
    return ports


class _Lowering:
    """The state of one `lower` call: which texts exist under which module name."""

    def __init__(self, component: wiring.Component, name: str, ports: _Ports):
        self._texts: dict[tuple[str, str], str] = {}
        self._known: dict[Hashable, tuple[str, dict[str, str]]] = {}
        self._rtlil: list[str] = []
        self._modules: list[str] = []
        self._names: set[str] = {name}
        self._top = name
        self._design = Fragment.get(component, None).prepare(ports=ports)
        self._root = self._design.fragment
        top_ports = [*ports, *self._outer_signals(self._root, ports)]
        self._lower_children(self._root)
        self._add(self._emit(self._root, top_ports, top=True)[0], name)

    def result(self) -> Hierarchy:
        return Hierarchy(top=self._top, rtlil="\n".join(self._rtlil), modules=tuple(self._modules))

    def _outer_signals(self, fragment: Fragment, ports: _Ports) -> _Ports:
        """List the signals shared with the surroundings that the signature does not name: clocks, resets, enables."""
        named = SignalDict((signal, None) for _, signal, _ in ports)
        taken = {port_name for port_name, _, _ in ports}
        depth = self._design.fragments[fragment].depth
        outer: _Ports = []
        if fragment is self._root:
            candidates = [(signal, direction) for _, signal, direction in self._design.ports]
        else:
            candidates = [
                (signal, None)
                for signal in self._design.fragments[fragment].used_signals
                if self._design.fragments[self._design.signal_lca[signal]].depth < depth
            ]
        for signal, direction in candidates:
            if signal not in named:
                port_name = _unused(signal.name or "port", taken)
                outer.append((port_name, signal, direction))
        return outer

    def _lower_children(self, fragment: Fragment) -> None:
        """Replace, bottom-up, every component below `fragment` by an instance of its module."""
        for index, (child, child_name, src_loc) in enumerate(fragment.subfragments):
            if type(child) is not Fragment:  # an instance, a memory, an I/O buffer
                continue
            self._lower_children(child)
            component = next((o for o in child.origins or () if isinstance(o, wiring.Component)), None)
            ports = None if component is None else _signature_ports(component)
            if component is None or ports is None:
                continue
            ports += self._outer_signals(child, ports)
            name = type(component).__name__.lstrip("_")
            key = name, fingerprint(child, ports)
            known = self._known.get(key)
            if known is None:
                text, directions = self._emit(child, ports, top=False)
                known = (self._add(text, name) if directions else name), directions
                if key[1] is not None:
                    self._known[key] = known
            module, directions = known
            if not directions:
                continue
            instance = Instance(
                module,
                *(("o" if directions[port] == "output" else "i", port, signal) for port, signal, _ in ports),
            )
            fragment.subfragments[index] = (instance, child_name, src_loc)

    def _emit(self, fragment: Fragment, ports: _Ports, *, top: bool) -> tuple[str, dict[str, str]]:
        """Lower one fragment; return its RTLIL under a placeholder name and the direction of each port."""
        names = [(signal, port_name) for port_name, signal, _ in ports]
        taken = {port_name for port_name, _, _ in ports}
        own = SignalDict((signal, None) for _, signal, _ in ports)
        for child, child_name, _ in fragment.subfragments:
            if isinstance(child, Instance) and child_name is not None:
                for port, (value, _) in child.ports.items():
                    if isinstance(value, Signal) and value not in own:
                        own[value] = None
                        names.append((value, _unused(f"{child_name}_{port}", taken)))
        with _renamed(names):
            design = Design(fragment, ports, hierarchy=(_SELF,))
            netlist = build_netlist(design)
            checker = rtlil.EmptyModuleChecker(netlist)
            builder = rtlil.Design(emit_src=False)
            for index, module in enumerate(netlist.modules):
                if index and checker.is_empty(index):
                    continue
                module_builder = builder.module(".".join(module.name), src_loc=None)
                if top and not index:
                    module_builder.attribute("top", 1)
                rtlil.ModuleEmitter(module_builder, netlist, module, SignalDict(), empty_checker=checker).emit()
        directions: dict[str, str] = {}
        order = {port_name: number for number, (port_name, _, _) in enumerate(ports, start=1)}

        def renumbered(match: re.Match[str]) -> str:
            directions[match["name"]] = match["kind"]
            return f"{match['wire']}{match['kind']} {order[match['name']]}{match['signed']}\\{match['name']}"

        head, tail = str(builder).split("\nend\n", 1)
        return _PORT.sub(renumbered, head) + "\nend\n" + tail, directions

    def _add(self, text: str, name: str) -> str:
        """Store a module's text once; return the name under which it is instantiated."""
        is_top = name == self._top and "\nattribute \\top 1\n" in f"\n{text}"
        known = None if is_top else self._texts.get((name, text))
        if known is None:
            known = name if is_top else _unused(name, self._names)
            self._texts[name, text] = known
            inner = re.findall(rf"^module \\{_SELF}(\.\S+)$", text, re.MULTILINE)
            final = {"": known} | {path: _unused(known + _clean(path), self._names) for path in inner}
            for path, module in final.items():
                old = rf"^(module |  cell )\\{_SELF}{re.escape(path)}(?=[ \n])"
                text = re.sub(old, rf"\1\\{module}", text, flags=re.MULTILINE)
            self._rtlil.append(text)
            self._modules += reversed(final.values())
        return known


def _clean(path: str) -> str:
    return re.sub(r"[^A-Za-z0-9_]", "_", path)


def _unused(name: str, taken: set[str]) -> str:
    """Return `name`, numbered where it is taken already, and take it."""
    candidate, number = name, 1
    while candidate in taken:
        number += 1
        candidate = f"{name}_{number}"
    taken.add(candidate)
    return candidate


@contextmanager
def _without_collector() -> Iterator[None]:
    """Pause the garbage collector, which would walk the growing design over and over and double the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@contextmanager
def _renamed(names: list[tuple[Signal, str]]) -> Iterator[None]:
    """Give signals other names for the time of one lowering."""
    before = [(signal, signal.name) for signal, _ in names]
    try:
        for signal, name in names:
            signal.name = name
        yield
    finally:
        for signal, name in before:
            signal.name = name
