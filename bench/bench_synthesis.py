"""Verilog, synthesis and gate-level simulation of a shift array, beside plain Yosys and Amaranth's simulator.

Run it as ``python bench/bench_synthesis.py``; ``--size`` sets rows and columns, ``--repeats`` the repeats, in which
ours and the peer's alternate; times are medians. The peers:

- Verilog: Amaranth's own lowering, one module per instance, written by the same Yosys;
- synthesis: the same Yosys and library on that lowering, each instance mapped on its own (``synth``, ``dfflibmap``,
  ``abc`` with its default script), without clock gates, buffers or timing;
- simulation: Amaranth's simulator on the design itself; ours runs the mapped gates and counts their toggles.

Writes build/bench/synthesis.json.
"""

import argparse
import json
from typing import Any

import numpy as np
from _common import interleaved, write
from amaranth.back import rtlil
from amaranth.hdl import Value
from amaranth.lib.wiring import In
from amaranth.sim import Simulator

from tetrit.hardware import ShiftArray
from tetrit.hardware.technology import Technology
from tetrit.rtl import build, to_verilog, yosys
from tetrit.rtl.activity import simulate
from tetrit.rtl.flat import flatten
from tetrit.rtl.liberty_text import to_liberty
from tetrit.rtl.synthesis import synthesize

N_CYCLES = 300


def peer_verilog(component: Any) -> str:
    text = rtlil.convert(component, name="top", emit_src=False)
    script = "read_rtlil in.il\nproc\nopt_clean\nwrite_verilog -noattr out.v"
    return yosys.run(script, {"in.il": text}, ("out.v",))["out.v"]


def peer_area(component: Any) -> float:
    files = {
        "in.il": rtlil.convert(component, name="top", emit_src=False),
        "cells.lib": to_liberty(Technology.load("sg13g2")),
        "flop.v": "module \\$_DFF_P_ (input C, D, output Q);\n"
        "sg13g2_dfrbpq_1 _TECHMAP_REPLACE_ (.CLK(C), .D(D), .RESET_B(1'b1), .Q(Q));\nendmodule\n",
    }
    script = (
        "read_rtlil in.il\nsynth -top top -noabc\nsetattr -unset init w:*\ndfflegalize -cell $_DFF_P_ x\n"
        "techmap -map flop.v\nabc -liberty cells.lib\nopt_clean -purge\ntee -o area.json stat -json -liberty cells.lib"
    )
    return float(json.loads(yosys.run(script, files, ("area.json",))["area.json"])["design"]["area"])


def amaranth_cycles(component: Any, inputs: dict[str, np.ndarray]) -> None:
    async def bench(context: Any) -> None:
        for cycle in range(N_CYCLES):
            for name, values in inputs.items():
                target = component
                for part in name.split("__"):
                    target = getattr(target, part)
                context.set(Value.cast(target), int(values[cycle]))
            await context.tick()

    simulator = Simulator(component)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()


def stimulus(component: Any) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    found = {}
    for path, member, signal in component.signature.flatten(component):
        if member.flow == In:
            bits = rng.integers(0, 2, (N_CYCLES, len(Value.cast(signal))))
            found["__".join(map(str, path))] = np.array([sum(int(b) << i for i, b in enumerate(row)) for row in bits])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    machine = ShiftArray(rows=args.size, cols=args.size, act_format="int8", weight_format="szt", acc_bits=20)

    def fresh() -> Any:
        return build("ShiftPEArray", machine)

    ours = synthesize(fresh())
    component = fresh()
    inputs = stimulus(component)
    simulate(ours.structure, inputs)
    sizes = {"verilog_bytes": len(to_verilog(component, "top")), "peer_verilog_bytes": len(peer_verilog(fresh()))}
    times = interleaved(
        {
            "verilog": lambda: to_verilog(fresh(), "top"),
            "verilog, Amaranth + Yosys": lambda: peer_verilog(fresh()),
            "synthesis": lambda: synthesize(fresh()),
            "synthesis, plain Yosys": lambda: peer_area(fresh()),
            "simulation": lambda: simulate(ours.structure, inputs),
            "simulation, Amaranth": lambda: amaranth_cycles(fresh(), inputs),
        },
        args.repeats,
    )
    figures = {
        **sizes,
        "cells": flatten(ours.structure).n_cells,
        "area_um2": ours.area_um2,
        "peer_area_um2": peer_area(fresh()),
        "delay_ns": ours.delay_ns,
        "cycles_simulated": N_CYCLES,
    }
    print(f"ShiftPEArray {args.size} x {args.size}, szt weights, int8 activations, medians of {args.repeats}")
    for name, seconds in times.items():
        print(f"  {name:30} {seconds:9.3f} s")
    for name, figure in figures.items():
        print(f"  {name:30} {figure:12.1f}")
    write("synthesis", {"size": args.size, "seconds": times, "figures": figures})


if __name__ == "__main__":
    main()
