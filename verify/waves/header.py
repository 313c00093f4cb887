"""The authority for the declarations of a VCD file: its unit of time, its scopes and variables."""

__all__ = ["Declaration", "Header", "Variable", "parse_header"]

import re
from dataclasses import dataclass

from tetrit.errors import InvalidValueError

_KEYWORD = re.compile(r"\$(\w+)\s*(.*?)\s*\$end", re.DOTALL)
_SCALE = re.compile(r"(1|10|100)\s*(s|ms|us|ns|ps|fs)")
_EXPONENTS = {"s": 0, "ms": -3, "us": -6, "ns": -9, "ps": -12, "fs": -15}
_RANGE = re.compile(r"\[\d+:\d+\]$")
_NUMBERS = ("real", "realtime", "string")


@dataclass(frozen=True, kw_only=True)
class Variable:
    """A variable.

    Attributes
    ----------
    kind : str
        ``wire``, ``reg``, ...
    bits : int
        Its width.
    code : str
        What stands for it among the values.
    name : str
        Its name.
    range : str
        As in ``[7:0]``, or empty.
    """

    kind: str
    bits: int
    code: str
    name: str
    range: str


@dataclass(frozen=True, kw_only=True)
class Declaration:
    """A variable, or a scope that begins, or, with neither, one that ends."""

    variable: Variable | None = None
    scope: str = ""
    kind: str = ""


@dataclass(frozen=True, kw_only=True)
class Header:
    """What a VCD file declares.

    Attributes
    ----------
    exponent : int
        Power of ten of its unit of time, in seconds.
    declarations : tuple of Declaration
        In order.
    """

    exponent: int
    declarations: tuple[Declaration, ...]

    @property
    def codes(self) -> dict[str, int]:
        """Width of what each code stands for."""
        found = (each.variable for each in self.declarations)
        return {variable.code: variable.bits for variable in found if variable is not None}

    def inside(self, top: str, name: str) -> "Header":
        """Return the header with nothing but the scope `top`, called `name`; all of it if there is no such scope.

        Verilator puts a scope of the same name, or ``$rootio``, around or beside it, which repeats its ports.
        """
        begins, depths, depth = [], [], 0
        for number, each in enumerate(self.declarations):
            if each.scope == top and depth <= 1:
                begins.append(number)
                depths.append(depth)
            depth += bool(each.scope) - (not each.scope and each.variable is None)
        if not begins:
            return self
        number = begins[depths.index(max(depths))]
        depth, last = 0, number
        for last in range(number, len(self.declarations)):
            each = self.declarations[last]
            depth += bool(each.scope) - (not each.scope and each.variable is None)
            if not depth:
                break
        first = Declaration(scope=name, kind=self.declarations[number].kind)
        return Header(exponent=self.exponent, declarations=(first, *self.declarations[number + 1 : last + 1]))


def parse_header(text: str) -> Header:
    r"""Read the declarations of a VCD file.

    Parameters
    ----------
    text : str
        Up to ``$enddefinitions $end``.

    Raises
    ------
    InvalidValueError
        If it is no VCD, or declares what is no vector of bits.

    Examples
    --------
    >>> header = parse_header("$timescale 1ps $end $scope module a $end $var wire 8 ! x [7:0] $end $upscope $end")
    >>> header.exponent, header.declarations[1].variable.bits
    (-12, 8)
    """
    exponent, declarations, depth = -9, [], 0
    for match in _KEYWORD.finditer(text):
        word, words = match[1], match[2].split()
        if word == "timescale":
            scale = _SCALE.fullmatch(match[2])
            if scale is None:
                raise InvalidValueError(f"a VCD file's timescale must be like '1 ns', got '{match[2]}'")
            exponent = _EXPONENTS[scale[2]] + len(scale[1]) - 1
        elif word == "scope":
            if len(words) != 2:
                raise InvalidValueError(f"a VCD file's scope must have a kind and a name, got '{match[2]}'")
            declarations.append(Declaration(scope=words[1], kind=words[0]))
            depth += 1
        elif word == "upscope":
            declarations.append(Declaration())
            depth -= 1
            if depth < 0:
                raise InvalidValueError("a VCD file ends a scope that it did not begin")
        elif word == "var":
            declarations.append(Declaration(variable=_variable(words, match[2])))
    return Header(exponent=exponent, declarations=tuple(declarations))


def _variable(words: list[str], text: str) -> Variable:
    if len(words) < 4 or not words[1].isdigit() or int(words[1]) < 1:
        raise InvalidValueError(f"a VCD file's variable must have a kind, a width, a code and a name, got '{text}'")
    if words[0] in _NUMBERS:
        raise InvalidValueError(f"only vectors of bits are converted, got the {words[0]} '{words[3]}'")
    name, span = words[3], "".join(words[4:])
    attached = _RANGE.search(name)
    if not span and attached is not None:  # some simulators put no space before the range; `[3]` is part of a name
        name, span = name[: attached.start()], attached[0]
    return Variable(kind=words[0], bits=int(words[1]), code=words[2], name=name, range=span)
