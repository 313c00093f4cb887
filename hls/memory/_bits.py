"""A tensor graph in bits: sets of operators and of tensors as integers, for searches over many of them."""

__all__ = ["BitGraph", "bit_graph", "bits"]

from collections.abc import Iterator
from dataclasses import dataclass

from tetrit.hls.memory.graph import TensorGraph


def bits(mask: int) -> Iterator[int]:
    """Yield the places of the ones, the lowest first."""
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low


@dataclass(frozen=True)
class BitGraph:
    """Operators are numbered as in the graph's default order, tensors as first named.

    Attributes
    ----------
    names : list of str
        Of the tensors.
    size : list of int
        Bytes of each tensor.
    ops : list of int
        For each number the operator's index in the graph.
    reads, writes, needed : list of int
        For each operator the tensors that it reads, that it writes, and both.
    need_size : list of int
        For each operator the bytes of what it reads and writes.
    before : list of int
        For each operator those whose outputs it reads.
    readers : list of int
        For each tensor the operators that read it.
    kept_outside : int
        Tensors whose eviction writes nothing that is not compulsory: inputs lie outside, outputs go outside anyway.
    loss : list of int
        For each tensor the bytes moved when it first leaves and comes back; later, with a copy outside, it is its size.
    """

    names: list[str]
    size: list[int]
    ops: list[int]
    reads: list[int]
    writes: list[int]
    needed: list[int]
    need_size: list[int]
    before: list[int]
    readers: list[int]
    kept_outside: int
    loss: list[int]

    def bytes_of(self, mask: int) -> int:
        """Return the bytes of a set of tensors."""
        return sum(self.size[t] for t in bits(mask))

    def live(self, done: int) -> int:
        """Return the tensors that a done operator has touched and another one still reads."""
        touched = 0
        for op in bits(done):
            touched |= self.needed[op]
        return sum(1 << t for t in bits(touched) if self.readers[t] & ~done)


def bit_graph(graph: TensorGraph) -> BitGraph:
    """Return the graph in bits."""
    names = list(graph.sizes)
    place = {name: index for index, name in enumerate(names)}
    size = [graph.sizes[name] for name in names]
    ops = list(graph.default_order)
    number = {index: n for n, index in enumerate(ops)}
    reads, writes, before = [], [], []
    readers = [0] * len(names)
    for n, index in enumerate(ops):
        op = graph.ops[index]
        reads.append(sum(1 << place[t] for t in set(op.inputs)))
        writes.append(sum(1 << place[t] for t in op.outputs))
        before.append(sum(1 << number[other] for other in graph.needs[index]))
        for tensor in bits(reads[-1]):
            readers[tensor] |= 1 << n
    needed = [r | w for r, w in zip(reads, writes, strict=True)]
    kept = sum(1 << place[t] for t in (*graph.inputs, *graph.outputs))
    return BitGraph(
        names=names,
        size=size,
        ops=ops,
        reads=reads,
        writes=writes,
        needed=needed,
        need_size=[sum(size[t] for t in bits(mask)) for mask in needed],
        before=before,
        readers=readers,
        kept_outside=kept,
        loss=[size[t] if kept >> t & 1 else 2 * size[t] for t in range(len(names))],
    )
