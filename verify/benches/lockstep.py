"""Bench for ports without handshake: one row of inputs per cycle, outputs sampled in the same cycle.

Stimulus: ``in_PORT`` and ``expected_PORT``, unsigned integers of shape (rows,), and ``check_PORT``, booleans, where an
output counts only in some rows. Outputs of row t are those that the design shows while the inputs of row t are applied,
before the clock edge that ends the row; a design without clock settles instead. Observed: ``out_PORT``, and ``wrong``,
booleans.
"""

__all__: list[str] = []

from typing import Any

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge, Timer

from tetrit.verify.benches import comparing, files


@cocotb.test()
async def lockstep(dut: Any) -> None:
    """Apply every row; compare every output that counts."""
    arrays = files.load()
    inputs, expected, checked = (comparing.ports(arrays, prefix) for prefix in ("in_", "expected_", "check_"))
    drivers = [(getattr(dut, port), [int(v) for v in values]) for port, values in inputs.items()]
    samplers = [(getattr(dut, port), np.zeros_like(values)) for port, values in expected.items()]
    rows = len(drivers[0][1])

    if hasattr(dut, "clk"):
        Clock(dut.clk, 2, "step").start(start_high=False)
        step: Any = RisingEdge(dut.clk)
        for signal, _ in drivers:
            signal.value = 0
        dut.rst.value = 1
        await step
        dut.rst.value = 0
    else:
        step = Timer(1, "step")
    for row in range(rows):
        for signal, values in drivers:
            signal.value = values[row]
        await step
        for signal, seen in samplers:
            seen[row] = int(signal.value)

    observed, messages = comparing.compare_rows(
        inputs, expected, checked, {port: seen for port, (_, seen) in zip(expected, samplers, strict=True)}
    )
    files.save(observed, messages)
    files.report(messages)
