"""The authority for liberty boolean functions: their grammar, truth tables and Verilog form."""

__all__ = ["literal", "names", "parse", "senses", "to_verilog", "truth_table"]

import re
from collections.abc import Mapping, Sequence
from functools import cache

from tetrit.errors import InvalidValueError

# ("var", name) | ("const", "0"/"1") | ("!", x) | ("*" | "+" | "^", a, b)
Node = tuple[object, ...]
_TOKEN = re.compile(r"\s*([A-Za-z_][\w\[\].]*|[01]|[!'*&+|^()])")
_VERILOG = {"*": "&", "+": "|", "^": "^"}
MAX_INPUTS = 6


@cache
def parse(function: str) -> Node:
    """Parse a liberty function.

    ``!`` before and ``'`` after negate and bind strongest; then ``^``, then AND (``*``, ``&`` or nothing), then OR
    (``+``, ``|``).

    Raises
    ------
    InvalidValueError
        If the text is no such function.

    Examples
    --------
    >>> parse("!A*B")
    ('*', ('!', ('var', 'A')), ('var', 'B'))
    """
    tokens: list[str] = []
    position = 0
    text = function.strip()
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise InvalidValueError(f"boolean function '{function}': unexpected '{text[position:].lstrip()[0]}'")
        tokens.append(match[1])
        position = match.end()
    parser = _Parser(function, tokens)
    node = parser.disjunction()
    if parser.position < len(tokens):
        raise InvalidValueError(f"boolean function '{function}': unexpected '{tokens[parser.position]}'")
    return node


class _Parser:
    """Recursive descent, one method per level of precedence."""

    def __init__(self, function: str, tokens: Sequence[str]):
        self.function = function
        self.tokens = tokens
        self.position = 0

    def peek(self) -> str:
        return self.tokens[self.position] if self.position < len(self.tokens) else ""

    def take(self) -> str:
        token = self.peek()
        self.position += 1
        return token

    def disjunction(self) -> Node:
        node = self.conjunction()
        while self.peek() in ("+", "|"):
            self.take()
            node = ("+", node, self.conjunction())
        return node

    def conjunction(self) -> Node:
        node = self.exclusive()
        while True:
            if self.peek() in ("*", "&"):
                self.take()
            elif self.peek() in ("", "+", "|", ")", "^", "'"):
                return node
            node = ("*", node, self.exclusive())

    def exclusive(self) -> Node:
        node = self.factor()
        while self.peek() == "^":
            self.take()
            node = ("^", node, self.factor())
        return node

    def factor(self) -> Node:
        token = self.take()
        node: Node
        if token == "!":
            node = ("!", self.factor())
        elif token == "(":
            node = self.disjunction()
            if self.take() != ")":
                raise InvalidValueError(f"boolean function '{self.function}': a ')' is missing")
        elif token in ("0", "1"):
            node = ("const", token)
        elif token and (token[0].isalpha() or token[0] == "_"):
            node = ("var", token)
        else:
            raise InvalidValueError(f"boolean function '{self.function}': an operand is missing")
        while self.peek() == "'":
            self.take()
            node = ("!", node)
        return node


def names(function: str) -> tuple[str, ...]:
    """Return the names in a function, in order of appearance."""
    found: dict[str, None] = {}

    def visit(node: Node) -> None:
        if node[0] == "var":
            found[str(node[1])] = None
        else:
            for child in node[1:]:
                if isinstance(child, tuple):
                    visit(child)

    visit(parse(function))
    return tuple(found)


def _evaluate(node: Node, columns: Mapping[str, int], ones: int) -> int:
    kind = node[0]
    if kind == "var":
        return columns[str(node[1])]
    if kind == "const":
        return ones if node[1] == "1" else 0
    operands = [_evaluate(child, columns, ones) for child in node[1:] if isinstance(child, tuple)]
    if kind == "!":
        return operands[0] ^ ones
    a, b = operands
    return a & b if kind == "*" else a | b if kind == "+" else a ^ b


def truth_table(function: str, pins: Sequence[str]) -> int:
    """Return the truth table over `pins`: bit i is the value where pin k has the value of bit k of i.

    Raises
    ------
    InvalidValueError
        If the function names another pin, or there are more than 6 pins.

    Examples
    --------
    >>> bin(truth_table("A*B", ("A", "B")))
    '0b1000'
    """
    if len(pins) > MAX_INPUTS:
        raise InvalidValueError(
            f"boolean function '{function}': {len(pins)} inputs, at most {MAX_INPUTS} are supported"
        )
    size = 1 << len(pins)
    columns = {pin: sum(1 << i for i in range(size) if i >> k & 1) for k, pin in enumerate(pins)}
    unknown = [name for name in names(function) if name not in columns]
    if unknown:
        raise InvalidValueError(f"boolean function '{function}': there is no input pin '{unknown[0]}'")
    return _evaluate(parse(function), columns, (1 << size) - 1)


def senses(function: str, pins: Sequence[str]) -> dict[str, str]:
    """Return how each pin that matters moves the output: positive_unate, negative_unate or non_unate."""
    table = truth_table(function, pins)
    found: dict[str, str] = {}
    for k, pin in enumerate(pins):
        pairs = [(table >> i & 1, table >> (i | 1 << k) & 1) for i in range(1 << len(pins)) if not i >> k & 1]
        rises, falls = (0, 1) in pairs, (1, 0) in pairs
        if rises or falls:
            found[pin] = "non_unate" if rises and falls else "positive_unate" if rises else "negative_unate"
    return found


def literal(function: str) -> tuple[str, bool] | None:
    """Return (pin, inverted) where a function is one pin or its inverse, else None."""
    node, inverted = parse(function), False
    while node[0] == "!" and isinstance(node[1], tuple):
        node, inverted = node[1], not inverted
    return (str(node[1]), inverted) if node[0] == "var" else None


def to_verilog(function: str) -> str:
    """Return a function as a Verilog expression.

    Examples
    --------
    >>> to_verilog("!(A*B)+C")
    '~(A & B) | C'
    """

    def text(node: Node, level: int) -> str:
        kind = node[0]
        if kind == "var":
            return str(node[1])
        if kind == "const":
            return f"1'b{node[1]}"
        children = [child for child in node[1:] if isinstance(child, tuple)]
        if kind == "!":
            return f"~{text(children[0], 3)}"
        own = {"+": 0, "^": 1, "*": 2}[str(kind)]
        body = f" {_VERILOG[str(kind)]} ".join(text(child, own) for child in children)
        return f"({body})" if own < level else body

    return text(parse(function), 0)
