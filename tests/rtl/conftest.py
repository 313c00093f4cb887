"""Small components of known behaviour, a golden run on Amaranth's simulator, and the Yosys runner for proofs."""

from types import SimpleNamespace

import numpy as np
import pytest
from amaranth.hdl import ClockDomain, ClockSignal, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator


class Inverter(wiring.Component):
    a: In(1)
    y: Out(1)

    def elaborate(self, platform):
        m = Module()
        m.d.comb += self.y.eq(~self.a)
        return m


class Adder(wiring.Component):
    def __init__(self, bits=8):
        self.bits = bits
        super().__init__({"a": In(signed(bits)), "b": In(signed(bits)), "y": Out(signed(bits + 1))})

    def elaborate(self, platform):
        m = Module()
        m.d.comb += self.y.eq(self.a + self.b)
        return m


class Counter(wiring.Component):
    def __init__(self, bits=4):
        self.bits = bits
        super().__init__({"enable": In(1), "count": Out(bits)})

    def elaborate(self, platform):
        m = Module()
        with m.If(self.enable):
            m.d.sync += self.count.eq(self.count + 1)
        return m


class ShiftRegister(wiring.Component):
    def __init__(self, length=8):
        self.length = length
        super().__init__({"d": In(1), "q": Out(length)})

    def elaborate(self, platform):
        m = Module()
        stages = [Signal(name=f"stage_{i}", reset_less=True) for i in range(self.length)]
        for before, after in zip([self.d, *stages], stages, strict=False):
            m.d.sync += after.eq(before)
        for i, stage in enumerate(stages):
            m.d.comb += self.q[i].eq(stage)
        return m


class Element(wiring.Component):
    """Like a processing element: enabled registers, a selected operand, an adder."""

    def __init__(self, bits=8, acc_bits=16):
        self.bits, self.acc_bits = bits, acc_bits
        super().__init__(
            {
                "enable": In(1),
                "code": In(2),
                "a": In(signed(bits)),
                "total": In(signed(acc_bits)),
                "a_out": Out(signed(bits)),
                "total_out": Out(signed(acc_bits)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        addend = Signal(signed(self.bits + 1))
        m.d.comb += addend.eq(Mux(self.code[0], Mux(self.code[1], -self.a, self.a), 0))
        with m.If(self.enable):
            m.d.sync += [self.a_out.eq(self.a), self.total_out.eq(self.total + addend)]
        return m


class Grid(wiring.Component):
    """rows x cols elements; a row feeds sums down, a column passes operands on."""

    def __init__(self, rows=2, cols=2):
        self.rows, self.cols = rows, cols
        super().__init__({"enable": In(1), "code": In(2), "a": In(8 * rows), "totals": Out(16 * cols)})

    def elaborate(self, platform):
        m = Module()
        grid = [[Element() for _ in range(self.cols)] for _ in range(self.rows)]
        for i, row in enumerate(grid):
            for j, element in enumerate(row):
                m.submodules[f"element_{i}_{j}"] = element
                m.d.comb += [
                    element.enable.eq(self.enable),
                    element.code.eq(self.code),
                    element.a.eq(row[j - 1].a_out if j else self.a.word_select(i, 8)),
                    element.total.eq(grid[i - 1][j].total_out if i else 0),
                ]
        for j in range(self.cols):
            m.d.comb += self.totals.word_select(j, 16).eq(grid[-1][j].total_out)
        return m


class Table(wiring.Component):
    """A memory with a write port and a synchronous read port."""

    def __init__(self):
        super().__init__({"address": In(3), "write": In(1), "data_in": In(4), "data": Out(4)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = memory = Memory(shape=4, depth=8, init=[])
        write, read = memory.write_port(), memory.read_port()
        m.d.comb += [
            write.addr.eq(self.address),
            write.data.eq(self.data_in),
            write.en.eq(self.write),
            read.addr.eq(self.address),
            self.data.eq(read.data),
        ]
        return m


class Wires(wiring.Component):
    """No logic at all: outputs are inputs and constants."""

    a: In(4)
    y: Out(4)
    z: Out(3)

    def elaborate(self, platform):
        m = Module()
        m.d.comb += [self.y.eq(self.a[::-1]), self.z.eq(5)]
        return m


class Enclosing(wiring.Component):
    """A parent of anything: `wrap` may transform the child; the child's ports are passed up."""

    def __init__(self, child, wrap=lambda child, enclosing: child):
        self.child, self.wrap = child, wrap
        super().__init__({"gate": In(1), **child.signature.members})

    def elaborate(self, platform):
        m = Module()
        m.submodules.child = self.wrap(self.child, self)
        for name, member in self.child.signature.members.items():
            own, inner = getattr(self, name), getattr(self.child, name)
            m.d.comb += inner.eq(own) if member.flow == In else own.eq(inner)
        return m


class OwnDomain(wiring.Component):
    """A counter in a domain that the component makes itself, with an asynchronous reset."""

    tick: In(1)
    clear: In(1)
    count: Out(3)

    def elaborate(self, platform):
        m = Module()
        m.domains.own = own = ClockDomain(local=True, async_reset=True)
        m.d.comb += [own.clk.eq(ClockSignal("sync")), own.rst.eq(self.clear)]
        m.d.own += self.count.eq(self.count + self.tick)
        return m


def ports(component):
    """Return direction and value of every port, by the name that it has in Verilog."""
    found = {}
    for path, member, value in component.signature.flatten(component):
        found["__".join(map(str, path))] = (member.flow, Value.cast(value))
    return found


def golden(component, inputs, outputs):
    """Run a component on Amaranth's simulator: inputs change, outputs are read, the clock ticks.

    The input named ``rst`` drives the reset of the clock domain ``sync``. Outputs are read as unsigned integers.
    """
    found = {name: [] for name in outputs}
    n_cycles = len(next(iter(inputs.values())))
    domain = ClockDomain("sync")
    top = Module()
    top.domains.sync = domain
    top.submodules.dut = component
    keep = Signal()
    top.d.sync += keep.eq(~keep)
    values = {name: value for name, (_, value) in ports(component).items()} | {"rst": domain.rst}

    async def bench(context):
        for cycle in range(n_cycles):
            for name, stream in inputs.items():
                context.set(values[name], int(stream[cycle]))
            await context.delay(1e-9)
            for name in outputs:
                found[name].append(int(context.get(values[name])) & ((1 << len(values[name])) - 1))
            await context.delay(1e-9)
            context.set(domain.clk, 1)
            await context.delay(1e-9)
            context.set(domain.clk, 0)
            await context.delay(1e-9)

    simulator = Simulator(top)
    simulator.add_testbench(bench)
    simulator.run()
    return {name: np.array(values) for name, values in found.items()}


def stimulus(component, rng, n_cycles, *, rst=True):
    """Random values for every input of a component, with a reset at the start and now and then."""
    inputs = {}
    for name, (flow, value) in ports(component).items():
        if flow == In:
            inputs[name] = rng.integers(0, 1 << len(value), n_cycles)
    if rst:
        inputs["rst"] = (rng.random(n_cycles) < 0.05).astype(np.int64)
        inputs["rst"][:2] = 1
    return inputs


@pytest.fixture
def designs():
    return SimpleNamespace(
        Adder=Adder,
        Counter=Counter,
        Element=Element,
        Enclosing=Enclosing,
        Grid=Grid,
        Inverter=Inverter,
        OwnDomain=OwnDomain,
        ShiftRegister=ShiftRegister,
        Table=Table,
        Wires=Wires,
        golden=golden,
        stimulus=stimulus,
    )
