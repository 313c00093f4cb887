"""Random integer networks, and co-processors small enough to run many of them."""

import numpy as np

from tetrit import formats
from tetrit.hardware import Memory, ShiftArray
from tetrit.hls.integer import (
    AveragePool,
    Concat,
    IntegerGraph,
    IntegerTensor,
    Lookup,
    MaxPool,
    Product,
    Reshape,
    Sum,
    Window,
)
from tetrit.sim.coprocessor import Coprocessor


def small_unit(weight_format="szt", rows=3, cols=4, **fields):
    memories = {
        "weight_memory": Memory(size_bytes=1024),
        "act_memory": Memory(size_bytes=1024),
        "acc_memory": Memory(size_bytes=64),
    }
    machine = ShiftArray(
        rows=rows, cols=cols, dataflow="output_stationary", weight_format=weight_format, **memories, **fields
    )
    return Coprocessor(machine=machine)


def tensor(name, *shape, format="int8"):
    return IntegerTensor(name=name, shape=shape, format=format, scale=1.0)


def layer(rng, name, source, k, n, window=None, *, groups=1, relu=True, weight_format="szt"):
    known = formats.get(weight_format)
    usable = np.flatnonzero(np.isfinite(known.values))
    shape = (groups, k, n // groups) if groups > 1 else (k, n)
    spread = float(np.abs(known.integers[usable]).max()) * np.sqrt(k)
    return Product(
        name=name,
        input=source,
        output=name,
        weight=rng.choice(usable, size=shape).astype(np.uint8),
        weight_format=weight_format,
        bias=rng.integers(-50, 50, n),
        multiplier=rng.integers(2**14, 2**15, n),
        shift=np.full(n, 15 + int(np.log2(spread) / 2)),
        relu=relu,
        window=window,
    )


class Net:
    """A chain of nodes on one feature map."""

    def __init__(self, rng, height, width, channels, weight_format="szt"):
        self.rng, self.weight_format = rng, weight_format
        self.tensors, self.nodes = [tensor("x", height, width, channels)], []

    @property
    def last(self):
        return self.tensors[-1]

    def add(self, node, *shape):
        self.nodes.append(node)
        self.tensors.append(tensor(node.output, *shape))

    def conv(self, n, kernel, stride=(1, 1), padding=(0, 0, 0, 0), dilation=(1, 1), groups=1, relu=True):
        window = Window(
            in_shape=self.last.shape, kernel=kernel, stride=stride, padding=padding, dilation=dilation, groups=groups
        )
        name = f"conv{len(self.nodes)}"
        made = layer(
            self.rng, name, self.last.name, window.k, n, window, groups=groups, relu=relu,
            weight_format=self.weight_format,
        )  # fmt: skip
        self.add(made, *window.out_shape_hw, n)

    def sum(self, other, factors, relu=True):
        names = (other.name, self.last.name)
        shape = self.last.shape
        node = Sum(
            name=f"sum{len(self.nodes)}",
            inputs=names,
            output=f"sum{len(self.nodes)}",
            multipliers=factors,
            shift=10,
            relu=relu,
        )
        self.add(node, *shape)

    def pool(self, kind, size):
        window = Window(in_shape=self.last.shape, kernel=(size, size), stride=(size, size))
        named = {"name": f"{kind}{len(self.nodes)}", "input": self.last.name, "output": f"{kind}{len(self.nodes)}"}
        node = (
            MaxPool(**named, window=window)
            if kind == "max"
            else AveragePool(**named, window=window, multiplier=2**14, shift=15)
        )
        self.add(node, *window.out_shape_hw, window.channels)

    def head(self, n):
        size = self.last.size
        self.add(Reshape(name="flat", input=self.last.name, output="flat"), size)
        self.add(layer(self.rng, "fc", "flat", size, n, relu=False, weight_format=self.weight_format), n)

    def lookup(self):
        name = f"lookup{len(self.nodes)}"
        table = self.rng.permutation(256) - 128
        self.add(Lookup(name=name, input=self.last.name, output=name, table=table), *self.last.shape)

    def concat(self, other):
        name, shape = f"concat{len(self.nodes)}", self.last.shape
        node = Concat(name=name, inputs=(other.name, self.last.name), output=name)
        self.add(node, *shape[:2], shape[2] + other.shape[2])

    def graph(self, *outputs):
        return IntegerGraph(
            name="net",
            inputs=("x",),
            outputs=outputs or (self.last.name,),
            nodes=tuple(self.nodes),
            tensors=self.tensors,
        )


def random_net(rng):
    """Return a graph of a few nodes: convolutions of many shapes, residual sums, pools, a lookup, a head."""
    height, width = (int(n) for n in rng.integers(4, 8, 2))
    net = Net(rng, height, width, int(rng.choice([1, 3, 8, 12])))
    for _ in range(int(rng.integers(1, 4))):
        before, (height, width, channels) = net.last, net.last.shape
        kind = rng.choice(
            ["conv", "residual", "max", "average", "depthwise", "lookup", "concat"], p=[0.3, 0.2, *[0.1] * 5]
        )
        if kind == "conv":
            kernel = tuple(int(n) for n in rng.integers(1, min(4, min(height, width) + 1), 2))
            padding = tuple(int(n) for n in rng.integers(0, 2, 4)) if rng.random() < 0.5 else (0, 0, 0, 0)
            stride = tuple(int(n) for n in rng.integers(1, 3, 2))
            net.conv(int(rng.choice([3, 8, 16])), kernel, stride, padding)
        elif kind in ("residual", "concat"):
            net.conv(channels, (3, 3), padding=(1, 1, 1, 1), relu=False)
            if kind == "concat":
                net.concat(before)
            else:
                factor = int(rng.integers(1, 1000))
                net.sum(before, (factor, factor if rng.random() < 0.7 else factor + 1), relu=bool(rng.random() < 0.5))
        elif kind == "depthwise" and channels > 1:
            size = min(3, height, width)
            net.conv(channels, (size, size), groups=channels)
        elif kind in ("max", "average"):
            net.pool(kind, min(2, height, width))
        else:
            net.lookup()
    if rng.random() < 0.6:
        net.head(5)
    return net.graph()
