"""Choices for C++ output: the authority for what a user may set, and for the defaults."""

__all__ = ["CppOptions"]

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from tetrit import checks
from tetrit.errors import InvalidValueError
from tetrit.hls.cpp.names import is_identifier

Interface = Literal["stream", "array"]
INTERFACES: tuple[Interface, ...] = ("stream", "array")


@dataclass(frozen=True, kw_only=True)
class CppOptions:
    """How a network becomes C++.

    Attributes
    ----------
    interval : int, optional
        Cycles per input that all layers are folded to, as far as they can be; by default as many as the largest layer
        takes at 64 products a cycle.
    unroll : mapping of str to (int, int)
        For layers by name: inputs and outputs that a product works on in a cycle, instead of what `interval` gives.
    interface : {"stream", "array"}
        Ports of the top function: streams of beats, or arrays of a whole input and output.
    top : str
        Name of the top function.
    clock_mhz : float
        Clock that times are stated for, and that the script for Vitis asks for.
    part : str
        Device named in the script for Vitis.

    Examples
    --------
    >>> from tetrit.hls.cpp import CppOptions
    >>> CppOptions(interval=256, unroll={"fc1": (8, 4)}).unroll["fc1"]
    (8, 4)
    """

    interval: int | None = None
    unroll: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    interface: Interface = "stream"
    top: str = "network"
    clock_mhz: float = 100.0
    part: str = "xc7z020clg400-1"

    def __post_init__(self) -> None:
        if self.interval is not None:
            object.__setattr__(self, "interval", checks.integer("interval", self.interval))
        if not isinstance(self.unroll, Mapping):
            raise TypeError(f"`unroll` must be a mapping of layers to (inputs, outputs), got {self.unroll!r}")
        found = {name: _pair(name, tiles) for name, tiles in self.unroll.items()}
        object.__setattr__(self, "unroll", MappingProxyType(found))
        checks.choice("interface", self.interface, INTERFACES)
        for name in ("top", "part"):
            if not isinstance(getattr(self, name), str):
                raise TypeError(f"`{name}` must be a string, got {getattr(self, name)!r}")
        if not is_identifier(self.top) or self.top == "main":
            raise InvalidValueError(f"`top` must be a name that C++ takes for a function, got {self.top!r}")
        if not self.part or not all(c.isalnum() or c in "-_." for c in self.part):
            raise InvalidValueError(f"`part` must be the name of a device, got {self.part!r}")
        object.__setattr__(self, "clock_mhz", checks.real("clock_mhz", self.clock_mhz, minimum=0.0, exclusive=True))

    def __reduce__(self) -> tuple[Any, ...]:
        fields = ("interval", "interface", "top", "clock_mhz", "part")
        return _rebuilt, ({**{name: getattr(self, name) for name in fields}, "unroll": dict(self.unroll)},)


def _pair(name: Any, tiles: Any) -> tuple[int, int]:
    if not isinstance(tiles, tuple | list) or len(tiles) != 2:
        raise TypeError(f"`unroll` of layer '{name}' must be (inputs, outputs), got {tiles!r}")
    return checks.integer("unroll", tiles[0]), checks.integer("unroll", tiles[1])


def _rebuilt(fields: dict[str, Any]) -> CppOptions:
    return CppOptions(**fields)
