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

from tetrit.verify.benches import files


def _ports(arrays: dict[str, Any], prefix: str) -> dict[str, Any]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


@cocotb.test()
async def lockstep(dut: Any) -> None:
    """Apply every row; compare every output that counts."""
    arrays = files.load()
    inputs, expected, checked = (_ports(arrays, prefix) for prefix in ("in_", "expected_", "check_"))
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

    observed = {f"out_{port}": seen for port, (_, seen) in zip(expected, samplers, strict=True)}
    wrong = np.zeros(rows, dtype=bool)
    messages = []
    for port, values in expected.items():
        bad = (observed[f"out_{port}"] != values) & checked.get(port, True)
        wrong |= bad
        for row in np.flatnonzero(bad)[:3]:
            given = ", ".join(f"{name}={array[row]}" for name, array in inputs.items())
            messages.append(f"row {row} ({given}): {port} is {observed[f'out_{port}'][row]}, expected {values[row]}")
    files.save({**observed, "wrong": wrong}, messages)
    files.report(messages)
