"""What the tests of the SIMD hardware share: a run on Amaranth's simulator, and exact rounding of integers."""

from types import SimpleNamespace

import numpy as np
import pytest
from amaranth.sim import Simulator

from tests.rtl.stepping import clocked
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
