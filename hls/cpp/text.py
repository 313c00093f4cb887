"""The files around the layers: top function, test bench, scripts and manual."""

__all__ = ["build_script", "golden_text", "manual", "network_header", "network_source", "test_bench", "vitis_script"]

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from tetrit.hls.cpp.lower import Design, Port
from tetrit.hls.cpp.options import CppOptions
from tetrit.hls.cpp.report import table


def _parameters(design: Design, options: CppOptions) -> str:
    if options.interface == "array":
        inputs = [f"const {port.stream.type} {port.name}[{port.signal.size}]" for port in design.inputs]
        outputs = [f"{port.stream.type} {port.name}[{port.signal.size}]" for port in design.outputs]
    else:
        inputs = [f"tetrit::stream<{port.stream.beat}>& {port.name}" for port in design.inputs]
        outputs = [f"tetrit::stream<{port.stream.beat}>& {port.name}" for port in design.outputs]
    indent = ",\n" + " " * (len(options.top) + 6)
    return indent.join((*inputs, *outputs))


def network_header(design: Design, options: CppOptions) -> str:
    """Return the header that declares the top function."""
    notes = "".join(
        f"//   {port.name}: {port.signal.format}, shape {port.signal.shape}, {_way(port, options)}\n"
        for port in (*design.inputs, *design.outputs)
    )
    return (
        "// The top function: one input of the network a call. Feature maps go row by row, the channels of a pixel "
        f'side by side.\n{notes}#ifndef NETWORK_H\n#define NETWORK_H\n\n#include "tetrit/route.h"\n\n'
        f"void {options.top}({_parameters(design, options)});\n\n#endif\n"
    )


def _way(port: Port, options: CppOptions) -> str:
    stream = port.stream
    if options.interface == "array":
        return f"an array of {port.signal.size}"
    return f"{stream.beats} beat(s) of {stream.lanes} value(s)"


def network_source(design: Design, options: CppOptions, depths: Mapping[str, int]) -> str:
    """Return the top function: its streams and processes."""
    includes = "".join(f'#include "layers/{name}.h"\n' for name in design.headers)
    mode = "ap_memory" if options.interface == "array" else "axis"
    ports = (*design.inputs, *design.outputs)
    body = "".join(f"#pragma HLS INTERFACE {mode} port={port.name}\n" for port in ports)
    if options.interface == "array":
        body += "".join(
            f"#pragma HLS ARRAY_RESHAPE variable={port.name} cyclic factor={port.stream.lanes} dim=1\n"
            for port in ports
            if port.stream.lanes > 1
        )
    body += "#pragma HLS DATAFLOW\n"
    for stream in design.streams:
        body += f'  tetrit::stream<{stream.beat}> {stream.name}("{stream.name}");\n'
        body += f"#pragma HLS STREAM variable={stream.name} depth={depths[stream.name]}\n"
    body += "\n" if design.streams else ""
    body += "".join(f"  {process.statement}\n" for process in design.processes)
    return f'#include "network.h"\n\n{includes}\nvoid {options.top}({_parameters(design, options)}) {{\n{body}}}\n'


def test_bench(design: Design, options: CppOptions) -> str:
    """Return a program that runs golden vectors and compares every bit of every output."""
    declared, read, before, after, compare = "", "", "", "", ""
    for port in design.inputs:
        declared += f"static {port.stream.type} {port.name}[{port.signal.size}];\n"
        read += f"    if (!read_values(golden, {port.name})) return broken(path);\n"
        before += _edge(port, "load")
    for port in design.outputs:
        declared += (
            f"static {port.stream.type} {port.name}[{port.signal.size}], {port.name}_golden[{port.signal.size}];\n"
        )
        read += f"    if (!read_values(golden, {port.name}_golden)) return broken(path);\n"
        after += _edge(port, "store")
        compare += f'    wrong += compared("{port.name}", vector, {port.name}, {port.name}_golden);\n'
    ports = (*design.inputs, *design.outputs)
    if options.interface == "array":
        streams, before, after = "", "", ""
        call = ", ".join(port.name for port in ports)
    else:
        streams = "".join(f'    tetrit::stream<{p.stream.beat}> {p.name}_port("{p.name}");\n' for p in ports)
        call = ", ".join(f"{port.name}_port" for port in ports)
    values = sum(port.signal.size for port in design.outputs)
    return _BENCH.format(
        declared=declared,
        values=values,
        read=read,
        run=f"{streams}{before}    {options.top}({call});\n{after}",
        compare=compare,
    )


def _edge(port: Port, verb: str) -> str:
    shape = f"{port.signal.groups}, {port.signal.count}"
    names = [port.name, f"{port.name}_port"]
    return f"    tetrit::{verb}<{shape}>({', '.join(names if verb == 'load' else names[::-1])});\n"


_BENCH = """// Runs the golden vectors, and compares every output with the golden run's. Exit code 0: all equal.
#include <cstdio>

#include "network.h"

{declared}
template <class Value, int COUNT>
static bool read_values(std::FILE* golden, Value (&values)[COUNT]) {{
  for (int i = 0; i < COUNT; ++i) {{
    long long value = 0;
    if (std::fscanf(golden, "%lld", &value) != 1) return false;
    values[i] = Value(value);
  }}
  return true;
}}

template <class Value, int COUNT>
static long compared(const char* name, long vector, const Value (&found)[COUNT], const Value (&wanted)[COUNT]) {{
  long wrong = 0;
  for (int i = 0; i < COUNT; ++i) {{
    if (found[i] == wanted[i]) continue;
    if (++wrong == 1) {{
      std::printf("vector %ld: %s[%d] is %lld, golden %lld\\n", vector, name, i, (long long)found[i].to_int64(),
                  (long long)wanted[i].to_int64());
    }}
  }}
  return wrong;
}}

static int broken(const char* path) {{
  std::fprintf(stderr, "%s is missing or cut short\\n", path);
  return 2;
}}

int main(int argc, char** argv) {{
  const char* path = argc > 1 ? argv[1] : "golden.txt";
  std::FILE* golden = std::fopen(path, "r");
  long vectors = 0, wrong = 0;
  if (golden == nullptr || std::fscanf(golden, "%ld", &vectors) != 1) return broken(path);
  for (long vector = 0; vector < vectors; ++vector) {{
{read}{run}{compare}  }}
  std::fclose(golden);
  std::printf("%ld vectors, %ld outputs, %ld mismatches\\n", vectors, vectors * {values}L, wrong);
  return wrong == 0 ? 0 : 1;
}}
"""


def golden_text(inputs: Iterable[npt.NDArray[Any]], outputs: Iterable[npt.NDArray[Any]]) -> str:
    """Return golden vectors: how many, then a line of inputs and a line of outputs for each."""
    sides = [
        np.concatenate([np.asarray(array).reshape(len(array), -1).astype(np.int64) for array in arrays], axis=1)
        for arrays in (list(inputs), list(outputs))
    ]
    lines = [str(len(sides[0]))]
    for row_in, row_out in zip(*(side.tolist() for side in sides), strict=True):
        lines += [" ".join(map(str, row_in)), " ".join(map(str, row_out))]
    return "\n".join(lines) + "\n"


def build_script() -> str:
    """Return the script that compiles and runs the test bench."""
    return """#!/bin/sh
# Compiles the test bench and runs it on the golden vectors.
#   ./build.sh                          with integers of this folder's own
#   AP_TYPES=/path/to/include ./build.sh   with ap_int, ap_fixed and hls::stream
set -eu
cd "$(dirname "$0")"
CXX=${CXX:-g++}
CXXFLAGS=${CXXFLAGS:--O2}
if [ -n "${AP_TYPES:-}" ]; then
  set -- -w -DTETRIT_AP_TYPES -isystem "$AP_TYPES"  # the headers themselves have warnings
else
  set -- -Wall -Wextra -Werror -Wno-unknown-pragmas
fi
$CXX -std=c++17 $CXXFLAGS "$@" -I. -o testbench testbench.cpp network.cpp
./testbench golden.txt
"""


def vitis_script(options: CppOptions) -> str:
    """Return the script for Vitis HLS."""
    return f"""# vitis_hls -f run_hls.tcl: simulation in C, synthesis; "cosim_design" would simulate the result
open_project -reset vitis
set_top {options.top}
add_files network.cpp -cflags "-std=c++17 -I."
add_files -tb testbench.cpp -cflags "-std=c++17 -I."
add_files -tb golden.txt
open_solution -reset solution -flow_target vivado
set_part {{{options.part}}}
create_clock -period {1e3 / options.clock_mhz:.4g} -name default
csim_design -argv "golden.txt"
csynth_design
exit
"""


def manual(design: Design, options: CppOptions, report: Mapping[str, Any]) -> str:
    """Return the README of the folder."""
    ports = "".join(
        f"- `{port.name}`: {port.signal.format}, shape {port.signal.shape}, {_way(port, options)}\n"
        for port in (*design.inputs, *design.outputs)
    )
    return f"""# Network in C++ for high-level synthesis

Written by tetrit. `./build.sh` compiles with g++ and compares with the golden run, bit for bit; `vitis_hls -f
run_hls.tcl` synthesises. The latter was not run when this was written.

| file | holds |
|---|---|
| `network.h`, `network.cpp` | the top function `{options.top}`: streams and processes |
| `layers/` | sizes, types, packed weights and constants of each layer |
| `tetrit/` | the library: loops with template parameters for sizes and tiles |
| `testbench.cpp`, `golden.txt` | inputs and what the golden run makes of them |
| `build.sh`, `run_hls.tcl` | g++ and Vitis HLS |
| `report.json` | estimates, in full |

Ports, one input of the network a call:

{ports}
## Estimates

By a model of ours, no tool's; `report.json` says how. At {report["clock_mhz"]:g} MHz one input every
{report["interval_cycles"]} cycles ({report["inputs_per_second"]:.0f} a second), bound by {report["bound"]}; latency
{report["latency_cycles"]} cycles.

{table(report)}"""
