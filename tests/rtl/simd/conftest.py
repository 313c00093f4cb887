"""What the tests of the SIMD hardware share: a run on Amaranth's simulator, and exact rounding of integers."""

from types import SimpleNamespace

import numpy as np
import pytest
from amaranth.hdl import ClockDomain, Module
from amaranth.sim import Simulator

from tetrit import formats


def settle(component, rows, read):
    """Apply rows of inputs to a combinational component; return what `read` makes of it after each."""
    seen = []

    async def bench(context):
        for row in rows:
            for name, value in row.items():
                context.set(getattr(component, name), value)
            await context.delay(1e-9)
            seen.append(read(context, component))

    simulator = Simulator(component)
    simulator.add_testbench(bench)
    simulator.run()
    return seen


def clocked(component, rows, read):
    """Apply rows of inputs, one a cycle, after a reset; return what `read` makes of the component before each edge."""
    seen = []
    domain, top = ClockDomain("sync"), Module()
    top.domains.sync = domain
    top.submodules.dut = component

    async def tick(context):
        context.set(domain.clk, 1)
        await context.delay(1e-9)
        context.set(domain.clk, 0)
        await context.delay(1e-9)

    async def bench(context):
        context.set(domain.rst, 1)
        await tick(context)
        context.set(domain.rst, 0)
        before = {}
        for row in rows:
            for name, value in row.items():
                if before.get(name) != value:
                    context.set(getattr(component, name), value)
            before = row
            await context.delay(1e-9)
            seen.append(read(context, component))
            await tick(context)

    simulator = Simulator(top)
    simulator.add_testbench(bench)
    simulator.run()
    return seen


def code_of(integer, exponent, out_format):
    """Return the code of ``integer * 2**exponent``; rounded to odd to 53 bits first, which changes no code."""
    size = abs(integer)
    drop = max(0, size.bit_length() - 53)
    kept = (size >> drop) | int(size & ((1 << drop) - 1) != 0)
    value = np.ldexp(float(kept), exponent + drop)
    return int(formats.get(out_format).encode(np.array([-value if integer < 0 else value]))[0])


@pytest.fixture
def bench():
    return SimpleNamespace(settle=settle, clocked=clocked, code_of=code_of)
