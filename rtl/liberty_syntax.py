"""The authority for the grammar of liberty files: text to a tree of groups and attributes, each with its line."""

__all__ = ["Group", "LibertyError", "parse_groups"]

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from tetrit.errors import InvalidValueError

_TOKEN = re.compile(
    r"""(?P<skip>[ \t\r\f\v]+|\\[ \t\r]*\n|/\*.*?\*/|//[^\n]*)
      |(?P<newline>\n)
      |(?P<string>"(?:[^"\\]|\\.)*")
      |(?P<mark>[(){};:,])
      |(?P<word>[^\s(){};:,"\\]+)""",
    re.VERBOSE | re.DOTALL,
)
_Token = tuple[str, str, int]


class LibertyError(InvalidValueError):
    """A liberty file that cannot be read or lacks what is needed; the text names file and line."""


@dataclass(kw_only=True)
class Group:
    """One ``name (arguments) { ... }``.

    Attributes
    ----------
    name : str
        Kind of the group, e.g. ``"cell"``.
    arguments : tuple of str
        What stands in its parentheses, without quotes.
    line : int
        Where it begins, from 1.
    attributes : dict
        Simple and complex attributes: name -> values, without quotes; the last of equal names wins.
    lines : dict
        Attribute name -> line.
    groups : list of Group
        What is nested in it.
    """

    name: str
    arguments: tuple[str, ...]
    line: int
    attributes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)
    groups: list["Group"] = field(default_factory=list)

    def all(self, name: str) -> Iterator["Group"]:
        """Yield the nested groups of one kind."""
        return (group for group in self.groups if group.name == name)

    def get(self, name: str, default: str = "") -> str:
        """Return the first value of an attribute."""
        values = self.attributes.get(name)
        return values[0] if values else default


def parse_groups(text: str, path: str) -> Group:
    """Parse a whole liberty file and return its ``library`` group.

    Parameters
    ----------
    text : str
        Content of the file.
    path : str
        Its name, for errors.

    Returns
    -------
    Group
        The library.

    Raises
    ------
    LibertyError
        If the text is not liberty, or ends early; names `path` and the line.

    Examples
    --------
    >>> library = parse_groups("library (x) { cell (inv) { area : 2.5; } }", "x.lib")
    >>> next(library.all("cell")).get("area")
    '2.5'
    """
    parser = _Parser(path, _tokens(text, path))
    kind, word, line = parser.take()
    if kind != "word" or word != "library":
        raise LibertyError(
            f"{path}:{line}: not a liberty file: it must begin with 'library', got '{word or 'nothing'}'"
        )
    parser.expect("(")
    library = parser.group("library", parser.arguments(), line)
    if library is None:
        raise LibertyError(f"{path}:{line}: a '{{' must follow 'library (...)'")
    return library


def _tokens(text: str, path: str) -> list[_Token]:
    """Split a text; newlines stay, since they may end an attribute that lacks its semicolon."""
    found: list[_Token] = []
    line, position = 1, 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            what = "a string is not closed" if text[position] == '"' else f"unexpected {text[position]!r}"
            raise LibertyError(f"{path}:{line}: {what}")
        kind = match.lastgroup or ""
        if kind != "skip":
            found.append((kind, match[0], line))
        line += match[0].count("\n")
        position = match.end()
    found.append(("end", "", line))
    return found


class _Parser:
    """Recursive descent over the tokens."""

    def __init__(self, path: str, tokens: list[_Token]):
        self.path = path
        self.tokens = tokens
        self.position = 0

    def peek(self) -> _Token:
        while self.tokens[self.position][0] == "newline":
            self.position += 1
        return self.tokens[self.position]

    def take(self) -> _Token:
        token = self.peek()
        if token[0] != "end":
            self.position += 1
        return token

    def expect(self, mark: str) -> None:
        kind, text, line = self.take()
        if kind == "end":
            raise LibertyError(f"{self.path}:{line}: the file ends early: a '{mark}' is missing")
        if text != mark:
            raise LibertyError(f"{self.path}:{line}: a '{mark}' is missing before '{text}'")

    def arguments(self) -> tuple[str, ...]:
        """Read up to the closing parenthesis, which is taken."""
        values: list[str] = []
        while True:
            kind, text, line = self.take()
            if text == ")" and kind == "mark":
                return tuple(values)
            if kind == "end":
                raise LibertyError(f"{self.path}:{line}: the file ends early: a ')' is missing")
            if kind in ("word", "string"):
                values.append(_unquoted(text))
            elif text not in (",", ":"):
                raise LibertyError(f"{self.path}:{line}: a ')' is missing before '{text}'")

    def group(self, name: str, arguments: tuple[str, ...], line: int) -> Group | None:
        """Read ``{ ... }``; None where no brace follows."""
        if self.peek()[1] != "{":
            return None
        self.take()
        group = Group(name=name, arguments=arguments, line=line)
        while True:
            kind, text, at = self.take()
            if kind == "mark" and text == "}":
                return group
            if kind == "mark" and text == ";":
                continue
            if kind == "end":
                raise LibertyError(
                    f"{self.path}:{at}: the file ends early: the group '{name}' of line {line} is not closed"
                )
            if kind != "word":
                raise LibertyError(f"{self.path}:{at}: a name is missing before '{text}'")
            self._statement(group, text, at)

    def _statement(self, group: Group, name: str, line: int) -> None:
        kind, mark, at = self.take()
        if mark == "(" and kind == "mark":
            arguments = self.arguments()
            nested = self.group(name, arguments, line)
            if nested is not None:
                group.groups.append(nested)
                return
            values = arguments
        elif mark == ":" and kind == "mark":
            values = (self._value(),)
        elif kind == "end":
            raise LibertyError(f"{self.path}:{at}: the file ends early: '{name}' has no value")
        else:
            raise LibertyError(f"{self.path}:{at}: a ':' or '(' is missing after '{name}'")
        group.attributes[name] = values
        group.lines[name] = line

    def _value(self) -> str:
        """Read the value of a simple attribute, up to its semicolon or the end of its line."""
        parts: list[str] = []
        self.peek()
        while True:
            kind, text, line = self.tokens[self.position]
            if kind == "end" and not parts:
                raise LibertyError(f"{self.path}:{line}: the file ends early: a value is missing")
            if kind in ("newline", "end") or text in (";", "}"):
                if not parts:
                    raise LibertyError(f"{self.path}:{line}: a value is missing before '{text}'")
                return " ".join(parts)
            parts.append(_unquoted(text))
            self.position += 1


def _unquoted(text: str) -> str:
    return re.sub(r"\\[ \t\r]*\n", " ", text[1:-1]) if text.startswith('"') else text
