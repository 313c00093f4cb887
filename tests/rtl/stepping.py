"""A run of a clocked component on Amaranth's simulator, for tests that look at every cycle."""

from amaranth.hdl import ClockDomain, Module
from amaranth.sim import Simulator


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
