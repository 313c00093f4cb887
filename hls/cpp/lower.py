"""From nodes to processes: the authority for which loops a network becomes, and which streams lie between them."""

__all__ = ["Design", "Port", "lower"]

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from tetrit.errors import InvalidValueError
from tetrit.hls.cpp import layers, patterns
from tetrit.hls.cpp.folding import Folding
from tetrit.hls.cpp.geometry import Map, pool_size, product_size
from tetrit.hls.cpp.kinds import value_type
from tetrit.hls.cpp.names import Names
from tetrit.hls.cpp.options import CppOptions
from tetrit.hls.cpp.processes import Patterns, Process, Stream
from tetrit.hls.cpp.source import CodesProduct, Signal, Source
from tetrit.hls.cpp.timing import depth_of
from tetrit.hls.integer import (
    AveragePool,
    Concat,
    IntegerNode,
    Lookup,
    MaxPool,
    Product,
    Reshape,
    Sum,
)


@dataclass(frozen=True, kw_only=True)
class Port:
    """An input or output of the top function.

    Attributes
    ----------
    signal : Signal
        What it carries.
    name : str
        In C++.
    stream : Stream
        As what it comes or goes; with arrays, what stands behind the loop that loads or stores.
    """

    signal: Signal
    name: str
    stream: Stream


@dataclass(frozen=True, kw_only=True)
class Design:
    """A network as processes, ready to be written.

    Attributes
    ----------
    inputs, outputs : tuple of Port
    processes : tuple of Process
        In an order in which they can run.
    streams : tuple of Stream
        Those between processes.
    joins : frozenset of str
        Streams into a process that also waits for others, by their names in C++.
    headers : mapping of str to Layer
        Constants and functions of layers, by the name of their header.
    """

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    processes: tuple[Process, ...]
    streams: tuple[Stream, ...]
    joins: frozenset[str]
    headers: dict[str, layers.Layer] = field(repr=False)


def lower(source: Source, folding: Folding, options: CppOptions) -> Design:
    """Turn a network into processes."""
    return _Lowering(source, folding, options).design()


class _Lowering:
    def __init__(self, source: Source, folding: Folding, options: CppOptions) -> None:
        self.source, self.folding, self.options = source, folding, options
        self.names = Names(options.top)
        self.ports = [self.names.new(name) for name in (*source.inputs, *source.outputs)]
        self.processes: list[Process] = []
        self.streams: list[Stream] = []
        self.joins: set[str] = set()
        self.headers: dict[str, layers.Layer] = {}
        self.ready: dict[str, list[Stream]] = {}
        """Of each tensor the streams that nobody reads yet."""
        uses = [name for node in source.nodes for name in node.sources]
        self.uses = Counter([*uses, *source.outputs])

    def design(self) -> Design:
        arrays = self.options.interface == "array"
        inputs, outputs = [], []
        for name, port in zip(self.source.inputs, self.ports, strict=False):
            signal = self.source.signals[name]
            lanes = self.folding.lanes(signal.groups, signal.count)
            stream = self.stream(signal, lanes, name=None if arrays else port)
            if arrays:
                call = f"tetrit::load<{signal.groups}, {signal.count}>({port}, {{writes}})"
                self.through("load", "", call, (), (stream,), stream.beats)
            inputs.append(Port(signal=signal, name=port, stream=stream))
            self.provide(name, stream)
        for node in self.source.nodes:
            self.node(node)
        for name, port in zip(self.source.outputs, self.ports[len(inputs) :], strict=True):
            signal = self.source.signals[name]
            lanes = self.folding.lanes(signal.groups, signal.count)
            stream = self.shaped(self.ready[name].pop(), signal.groups, signal.count, lanes)
            if arrays:
                call = f"tetrit::store<{signal.groups}, {signal.count}>({{reads}}, {port})"
                self.through("store", "", call, (stream,), (), stream.beats)
            else:
                stream = self.last_to_port(stream, port)
            outputs.append(Port(signal=signal, name=port, stream=stream))
        edge = {port.stream.name for port in (*inputs, *outputs)} if not arrays else set()
        return Design(
            inputs=tuple(inputs),
            outputs=tuple(outputs),
            processes=tuple(self.processes),
            streams=tuple(stream for stream in self.streams if stream.name not in edge),
            joins=frozenset(self.joins),
            headers=self.headers,
        )

    def last_to_port(self, stream: Stream, port: str) -> Stream:
        """Let the process that gives a stream write to a port instead; one that copies, where none does."""
        named = replace(stream, name=port)
        if not any(stream in process.outputs for process in self.processes):
            self.streams.append(named)
            call = f"tetrit::fork<{stream.beats}>({{reads}}, {{writes}})"
            self.through("fork", "", call, (stream,), (named,), stream.beats)
            return named
        self.exchange(stream, named)
        return named

    def exchange(self, stream: Stream, other: Stream) -> None:
        """Put a stream in the place of one that nobody reads yet."""
        for place, process in enumerate(self.processes):
            if stream in process.outputs:
                outputs = tuple(other if s == stream else s for s in process.outputs)
                self.processes[place] = replace(process, outputs=outputs)
        self.streams[self.streams.index(stream)] = other

    def stream(self, signal: Signal, lanes: int, *, name: str | None = None, count: int | None = None) -> Stream:
        """Return a new stream of a tensor's values; of other groups if `count` says so."""
        count = signal.count if count is None else count
        made = Stream(
            name=name or self.names.new(f"{signal.name}_s"),
            type=value_type(signal),
            bits=signal.bits,
            groups=signal.size // count,
            count=count,
            lanes=lanes,
        )
        self.streams.append(made)
        return made

    def like(self, stream: Stream, groups: int, count: int, lanes: int, hint: str) -> Stream:
        """Return a new stream of values like those of another."""
        made = replace(stream, name=self.names.new(hint), groups=groups, count=count, lanes=lanes)
        self.streams.append(made)
        return made

    def through(
        self,
        kind: str,
        layer: str,
        call: str,
        inputs: Sequence[Stream],
        outputs: Sequence[Stream],
        steps: int,
        *,
        interval: int = 1,
        depth: int | None = None,
        pattern: Callable[[], Patterns] | None = None,
    ) -> None:
        """Add a process."""
        self.processes.append(
            Process(
                name=f"{layer or (inputs or outputs)[0].name} {kind}",
                kind=kind,
                layer=layer,
                call=call,
                inputs=tuple(inputs),
                outputs=tuple(outputs),
                steps=steps,
                interval=interval,
                depth=depth_of(kind) if depth is None else depth,
                pattern=pattern or patterns.through(steps, len(inputs), len(outputs)),
            )
        )

    def provide(self, name: str, stream: Stream) -> None:
        """Let a tensor's takers have a stream each."""
        uses = self.uses[name]
        if uses == 1:
            self.ready[name] = [stream]
            return
        hints = [f"{stream.name}_{place + 1}" for place in range(uses)]
        copies = [self.like(stream, stream.groups, stream.count, stream.lanes, hint) for hint in hints]
        self.through(
            "fork", "", f"tetrit::fork<{stream.beats}>({{reads}}, {{writes}})", (stream,), copies, stream.beats
        )
        self.ready[name] = copies

    def shaped(self, stream: Stream, groups: int, count: int, lanes: int) -> Stream:
        """Bring a stream into other groups and lanes, by as few processes as it takes."""
        if stream.count == count or (stream.even and count % lanes == 0):
            if stream.count != count:  # all beats are full: groups do not matter
                stream = self.regrouped(stream, 1, groups * count)
                found = self.resized(stream, lanes)
                return self.regrouped(found, groups, count)
            return self.resized(stream, lanes)
        if not stream.even:
            stream = self.resized(stream, math.gcd(stream.lanes, stream.count))
        even = math.gcd(lanes, count)
        stream = self.resized(self.regrouped(stream, 1, groups * count), even)
        return self.resized(self.regrouped(stream, groups, count), lanes)

    def regrouped(self, stream: Stream, groups: int, count: int) -> Stream:
        """Take the same beats as other groups."""
        made = replace(stream, groups=groups, count=count)
        self.exchange(stream, made)
        return made

    def resized(self, stream: Stream, lanes: int) -> Stream:
        """Bring a stream to other lanes, over a common divisor where neither divides the other."""
        if stream.lanes == lanes:
            return stream
        if stream.lanes % lanes and lanes % stream.lanes:
            stream = self.resized(stream, math.gcd(stream.lanes, lanes))
        groups, count, old = stream.groups, stream.count, stream.lanes
        out = self.like(stream, groups, count, lanes, f"{stream.name}_x{lanes}")
        kind = "narrow" if old > lanes else "widen"
        make = patterns.narrow if old > lanes else patterns.widen
        call = f"tetrit::{kind}<{stream.type}, {groups}, {count}, {old}, {lanes}>({{reads}}, {{writes}})"
        steps = groups * -(-count // min(old, lanes))
        self.through(kind, "", call, (stream,), (out,), steps, pattern=make(groups, count, old, lanes))
        return out

    def node(self, node: IntegerNode | CodesProduct) -> None:
        """Add the processes of a node."""
        if isinstance(node, Product | CodesProduct):
            self.product(node)
        elif isinstance(node, MaxPool | AveragePool):
            self.pool(node)
        elif isinstance(node, Sum):
            self.sum(node)
        elif isinstance(node, Lookup):
            self.lookup(node)
        elif isinstance(node, Concat):
            self.concat(node)
        elif isinstance(node, Reshape):
            signal = self.source.signals[node.output]
            stream = self.ready[node.input].pop()
            lanes = math.gcd(stream.lanes, signal.count)
            self.provide(node.output, self.shaped(stream, signal.groups, signal.count, lanes))
        else:
            raise InvalidValueError(f"node '{node.name}': there is no C++ for a {type(node).__name__}")

    def slide(self, found: Map, name: str, node: str, stream: Stream, lanes: int, padding: int) -> Stream:
        """Add the window in front of a product or a pool."""
        lanes_in = self.folding.map_lanes(found)
        stream = self.shaped(stream, found.height * found.width, found.channels, lanes_in)
        out = self.like(stream, found.positions * found.groups, found.k, lanes, f"{name}_window")
        self.headers[name].add(layers.map_text(found, stream.type, lanes_in, lanes, padding))
        self.through(
            "slide",
            node,
            f"tetrit::slide<{name}::Map>({{reads}}, {{writes}})",
            (stream,),
            (out,),
            found.pixels,
            interval=found.interval(lanes_in, lanes),
            pattern=patterns.slide(found, lanes_in, lanes),
        )
        return out

    def product(self, node: Product | CodesProduct) -> None:
        size = product_size(node, self.source.signals)
        tile_k, tile_n = self.folding.tiles[node.name]
        signal, out = self.source.signals[node.input], self.source.signals[node.output]
        name = self.names.new(node.name)
        layer = layers.product(node, name, size, (tile_k, tile_n), signal, out, self.source.acc_bits.get(node.name, 2))
        self.headers[name] = layer
        stream = self.ready[node.input].pop()
        if size.map is not None:
            stream = self.slide(size.map, name, node.name, stream, tile_k, 0)
        else:
            stream = self.shaped(stream, size.vectors, size.k, tile_k)
        result = self.stream(out, tile_n, count=size.n)
        self.through(
            "product",
            node.name,
            f"{name}::run({{reads}}, {{writes}})",
            (stream,),
            (result,),
            size.cycles(tile_k, tile_n),
            depth=depth_of("product", products=tile_k, finish=layer.finish_depth),
            pattern=patterns.product(size, tile_k, tile_n),
        )
        self.provide(node.output, result)

    def pool(self, node: MaxPool | AveragePool) -> None:
        size, lanes = pool_size(node), self.folding.pool_lanes(node)
        signal, out = self.source.signals[node.input], self.source.signals[node.output]
        name = self.names.new(node.name)
        self.headers[name] = layers.pool(node, name, size, lanes, signal, out, self.source.acc_bits.get(node.name, 2))
        stream = self.ready[node.input].pop()
        if size.map is not None:
            padding = -(2 ** (signal.bits - 1)) if isinstance(node, MaxPool) else 0
            stream = self.slide(size.map, name, node.name, stream, lanes, padding)
        else:
            stream = self.shaped(stream, size.places, size.channels, lanes)
        result = self.stream(out, lanes)
        kind = "max pool" if isinstance(node, MaxPool) else "average pool"
        beats = size.channels // lanes
        self.through(
            kind,
            node.name,
            f"tetrit::{kind.replace(' ', '_')}<{name}::Pool>({{reads}}, {{writes}})",
            (stream,),
            (result,),
            size.positions * size.places * beats,
            pattern=patterns.pool(size.positions, size.places, beats),
        )
        self.provide(node.output, result)

    def sum(self, node: Sum) -> None:
        out = self.source.signals[node.output]
        lanes = self.folding.lanes(out.groups, out.count)
        name = self.names.new(node.name)
        streams = [self.shaped(self.ready[x].pop(), out.groups, out.count, lanes) for x in node.inputs]
        result = self.stream(out, lanes)
        self.headers[name] = layers.sum_of(node, name, lanes, out, self.source.acc_bits.get(node.name, 2))
        factors = ", ".join(map(str, node.multipliers))
        call = f"tetrit::add<{name}::Join, {factors}>({{writes}}, {{reads}})"
        self.joins.update(stream.name for stream in streams)
        self.through("add", node.name, call, streams, (result,), result.beats)
        self.provide(node.output, result)

    def lookup(self, node: Lookup) -> None:
        signal, out = self.source.signals[node.input], self.source.signals[node.output]
        lanes = self.folding.lanes(out.groups, out.count)
        name = self.names.new(node.name)
        stream = self.shaped(self.ready[node.input].pop(), out.groups, out.count, lanes)
        result = self.stream(out, lanes)
        self.headers[name] = layers.lookup(node, name, lanes, signal, out)
        call = f"tetrit::look_up<{name}::Table>({{reads}}, {{writes}}, {name}::table)"
        self.through("look up", node.name, call, (stream,), (result,), result.beats)
        self.provide(node.output, result)

    def concat(self, node: Concat) -> None:
        out = self.source.signals[node.output]
        axis = node.axis % len(out.shape)
        groups = math.prod(out.shape[:axis])
        counts = [math.prod(self.source.signals[x].shape[axis:]) for x in node.inputs]
        lanes = self.folding.lanes(groups, sum(counts), within=math.gcd(*counts, out.count))
        streams = [
            self.shaped(self.ready[x].pop(), groups, count, lanes) for x, count in zip(node.inputs, counts, strict=True)
        ]
        total, first = streams[0], counts[0]
        for place, (stream, count) in enumerate(zip(streams[1:], counts[1:], strict=True)):
            self.joins.update((total.name, stream.name))
            last = place == len(streams) - 2
            shape = (out.groups, out.count) if last else (groups, first + count)
            result = self.like(stream, *shape, lanes, f"{out.name}_s")
            beats = first // lanes, count // lanes
            call = f"tetrit::concatenate<{groups}, {beats[0]}, {beats[1]}>({{reads}}, {{writes}})"
            steps = groups * sum(beats)
            pattern = patterns.concatenate(groups, *beats)
            self.through("concatenate", node.name, call, (total, stream), (result,), steps, pattern=pattern)
            total, first = result, first + count
        self.provide(node.output, total)
