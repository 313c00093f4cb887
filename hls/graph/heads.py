"""Sizes of attention and of Einsum, shared by shapes, execution and lowering."""

__all__ = ["Heads", "einsum_sizes", "heads"]

import string
from dataclasses import dataclass

from tetrit.errors import InvalidValueError
from tetrit.hls.graph.ir import Node

Shape = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Heads:
    """Sizes of an ONNX Attention node.

    Attributes
    ----------
    batch, q_heads, k_heads, q_steps, k_steps, k_size, v_size : int
        Batch, heads of the queries and of keys and values, lengths of both sequences without the past, sizes of one
        head of the keys and of the values.
    """

    batch: int
    q_heads: int
    k_heads: int
    q_steps: int
    k_steps: int
    k_size: int
    v_size: int


def heads(node: Node, q: Shape, k: Shape, v: Shape) -> Heads:
    """Return the sizes from the shapes of queries, keys and values, of 3 or 4 axes each."""
    split = []
    for what, shape, attribute in (("Q", q, "q_num_heads"), ("K", k, "kv_num_heads"), ("V", v, "kv_num_heads")):
        if len(shape) == 4:
            split.append(shape)
            continue
        count = node.attributes.get(attribute, 0)
        if len(shape) != 3 or count < 1 or shape[2] % count:
            raise InvalidValueError(
                f"{node}: {what} must have 4 axes, or 3 with `{attribute}` heads, "
                f"got shape {list(shape)} and {count} heads"
            )
        split.append((shape[0], count, shape[1], shape[2] // count))
    (batch, q_heads, q_steps, q_size), (k_batch, k_heads, k_steps, k_size), (v_batch, v_heads, v_steps, v_size) = split
    fits = batch == k_batch == v_batch and k_heads == v_heads and k_steps == v_steps and q_size == k_size
    if not fits or not k_heads or q_heads % k_heads:
        raise InvalidValueError(f"{node}: Q {list(q)}, K {list(k)} and V {list(v)} do not fit each other")
    return Heads(
        batch=batch,
        q_heads=q_heads,
        k_heads=k_heads,
        q_steps=q_steps,
        k_steps=k_steps,
        k_size=k_size,
        v_size=v_size,
    )


def einsum_sizes(node: Node, shapes: tuple[Shape, ...]) -> tuple[list[str], str, dict[str, int]]:
    """Return (letters of every input, letters of the result, size of each letter) of an Einsum node."""
    equation = str(node.attributes.get("equation", "")).replace(" ", "")
    left, arrow, result = equation.partition("->")
    terms = left.split(",")
    if "..." in equation:
        terms, result = _without_ellipsis(terms, result if arrow else None, shapes)
        left, arrow = ",".join(terms), "->"
    if len(terms) != len(shapes) or any(len(term) != len(shape) for term, shape in zip(terms, shapes, strict=False)):
        raise InvalidValueError(f"{node}: '{equation}' does not fit the shapes {[list(s) for s in shapes]}")
    sizes: dict[str, int] = {}
    for term, shape in zip(terms, shapes, strict=True):
        for letter, size in zip(term, shape, strict=True):
            if sizes.setdefault(letter, size) != size:
                raise InvalidValueError(f"{node}: '{letter}' of '{equation}' is both {sizes[letter]} and {size}")
    if not arrow:
        result = "".join(sorted(letter for letter in sizes if left.count(letter) == 1))
    if not set(result) <= set(sizes):
        raise InvalidValueError(f"{node}: '{equation}' asks for an axis that no input has")
    return terms, result, sizes


def _without_ellipsis(terms: list[str], result: str | None, shapes: tuple[Shape, ...]) -> tuple[list[str], str]:
    """Put letters of their own for the axes that an ellipsis stands for, the last ones for the shorter ellipses."""
    used = set("".join(terms))
    free = [letter for letter in string.ascii_letters if letter not in used]
    counts = [len(shape) - len(term) + 3 for term, shape in zip(terms, shapes, strict=False) if "..." in term]
    most = free[: max(counts, default=0)]
    named = [
        term.replace("...", "".join(most[len(most) - max(len(shape) - len(term) + 3, 0) :]))
        for term, shape in zip(terms, shapes, strict=False)
    ]
    if result is None:
        every = "".join(terms).replace(".", "")
        result = "..." + "".join(sorted(letter for letter in set(every) if every.count(letter) == 1))
    return named, result.replace("...", "".join(most))
