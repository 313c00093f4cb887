"""A job program as files: the authority for what software and test benches find in them."""

__all__ = ["files"]

import json
from typing import Any

from tetrit.hls.jobs.c_text import driver, header
from tetrit.hls.jobs.place import Place
from tetrit.hls.jobs.program import JobProgram
from tetrit.hls.jobs.steps import Copy, HostNode, JobStep, Step

_NAME = "network"
_JOB = ("m", "k", "n", "relu", "order", "a_base", "a_stride", "w_base", "w_stride", "c_base", "c_stride", "p_base")
_COPY = ("source", "target", "block", "counts", "source_steps", "target_steps")

_README = """\
# {name}: a network as a job list of the tetrit matrix co-processor

{batch} images a pass: {n_jobs} jobs, {n_copies} copies and {n_nodes} nodes of the host, in {memory_bytes} bytes of
memory.

| file | what it is |
|---|---|
| `memory.bin` | weights and parameters, {constant_bytes} bytes: the beginning of the memory, from the first pass on |
| `memory.hex` | the same for `$readmemh`: a word of {data_bits} bits a line |
| `network.json` | jobs, copies, nodes of the host, places of all tensors, memory map |
| `network.h`, `network.c` | the job list as a table of register values, the host's steps, and a driver |
| `tetrit_coprocessor.h` | registers, as `tetrit rtl coprocessor --header` writes them |

Memory is little endian; on the co-processor's bus it begins at a multiple of {data_bytes} bytes. A platform gives
`tetrit_write_register` and `tetrit_read_register`, writes the integers of the inputs with `tetrit_set_{input}`,
calls `tetrit_network_run` for a pass, and reads those of the outputs with `tetrit_get_{output}`:

```c
#include "network.h"

void tetrit_write_register(uint32_t offset, uint32_t value) {{
    *(volatile uint32_t *)(REGISTERS + offset) = value;
}}

uint32_t tetrit_read_register(uint32_t offset) {{
    return *(volatile uint32_t *)(REGISTERS + offset);
}}
```

## Places of tensors

Pixel (y, x) of image b begins at `base + (lead + (b * height + y) * width + x) * cell + skip`; its channels lie side
by side, a byte each. Tensors share memory when their lives do not meet.
"""


def files(program: JobProgram, register_header: str | None = None) -> dict[str, str | bytes]:
    """Return the files of a program by name.

    Parameters
    ----------
    program : JobProgram
        What they hold.
    register_header : str, optional
        The text of ``tetrit_coprocessor.h``; without it this file is left out.
    """
    made: dict[str, str | bytes] = {
        "README.md": _readme(program),
        "memory.bin": program.constants,
        "memory.hex": _hex(program),
        "network.json": json.dumps(_table(program), indent=1) + "\n",
        "network.h": header(program, _NAME),
        "network.c": driver(program, _NAME),
    }
    if register_header is not None:
        made["tetrit_coprocessor.h"] = register_header
    return made


def _readme(program: JobProgram) -> str:
    return _README.format(
        name=program.graph.name,
        batch=program.batch,
        n_jobs=len(program.jobs),
        n_copies=sum(isinstance(step, Copy) for step in program.steps),
        n_nodes=sum(isinstance(step, HostNode) for step in program.steps),
        memory_bytes=f"{program.memory_bytes:,}",
        constant_bytes=f"{len(program.constants):,}",
        data_bits=program.unit.data_bits,
        data_bytes=program.unit.data_bytes,
        input=program.graph.inputs[0],
        output=program.graph.outputs[0],
    )


def _hex(program: JobProgram) -> str:
    size = program.unit.data_bytes
    data = program.constants + bytes(-len(program.constants) % size)
    return "".join(f"{data[at : at + size][::-1].hex()}\n" for at in range(0, len(data), size))


def _table(program: JobProgram) -> dict[str, Any]:
    """Return the program as JSON has it."""
    machine = program.unit.machine
    return {
        "network": program.graph.name,
        "batch": program.batch,
        "unit": {
            "rows": machine.rows,
            "cols": machine.cols,
            "data_bits": program.unit.data_bits,
            "address_bits": program.unit.address_bits,
        },
        "memory_bytes": program.memory_bytes,
        "constant_bytes": len(program.constants),
        "steps": [_step(step) for step in program.steps],
        "tensors": {
            name: {"shape": list(tensor.shape), "scale": tensor.scale, "place": _place(program.places[name])}
            for name, tensor in program.graph.tensors.items()
        },
        "memory": [
            {"name": part.name, "kind": part.kind, "address": part.address, "bytes": part.n_bytes}
            for part in program.segments
        ],
    }


def _step(step: Step) -> dict[str, Any]:
    named = {"name": step.name, "node": step.node}
    if isinstance(step, JobStep):
        return {"kind": "job", **named, **{field: getattr(step.job, field) for field in _JOB}}
    if isinstance(step, Copy):
        values = {field: getattr(step, field) for field in _COPY}
        return {"kind": "copy", **named, **{key: list(v) if isinstance(v, tuple) else v for key, v in values.items()}}
    assert isinstance(step, HostNode)
    return {
        "kind": type(step.operation).__name__,
        **named,
        "sources": [_place(place) for place in step.sources],
        "target": _place(step.target),
    }


def _place(place: Place) -> dict[str, Any]:
    fields = ("base", "lead", "height", "width", "cell", "skip", "batch")
    return {"shape": list(place.shape), **{field: getattr(place, field) for field in fields}}
