"""The C of a job program: its job list as a table, the host's copies and nodes, and the loop that runs them all."""

__all__ = ["driver", "header"]

import math
from collections.abc import Iterator

from tetrit.errors import InvalidValueError
from tetrit.hls.integer import AveragePool, Concat, Lookup, MaxPool, Reshape, Sum, Window
from tetrit.hls.jobs.place import Place
from tetrit.hls.jobs.program import JobProgram
from tetrit.hls.jobs.steps import Copy, HostNode, JobStep
from tetrit.sim.coprocessor import MatmulJob

_LOOPS = 3

_HEADER = """\
/* {name}: {n_jobs} jobs of the tetrit matrix co-processor, {batch} images a pass. */
#ifndef TETRIT_NETWORK_H
#define TETRIT_NETWORK_H

#include <stdint.h>

#define TETRIT_NETWORK_BATCH {batch}
/* Bytes of memory that the network uses, and those of memory.bin at its beginning. */
#define TETRIT_NETWORK_MEMORY_BYTES {memory_bytes}u
#define TETRIT_NETWORK_CONSTANT_BYTES {constant_bytes}u
/* What the co-processor's bus must see, at least. */
#define TETRIT_NETWORK_BUS_BYTES {bus_bytes}u

/* The platform gives these: registers of the co-processor, by offset. */
void tetrit_write_register(uint32_t offset, uint32_t value);
uint32_t tetrit_read_register(uint32_t offset);

/* Runs a pass. `memory` is the network's memory as the host sees it, `address` as the co-processor's bus does. Caches
   must be coherent. Returns 0, or 1 plus the number of the step whose job ended with an error. */
int tetrit_network_run(uint8_t *memory, uint64_t address);

/* Integers in memory: `index` counts those of an image, row by row, the channels of a pixel side by side. */
{accessors}
#endif
"""

_DRIVER = """\
#include "{name}.h"

#include <string.h>

#include "tetrit_coprocessor.h"

typedef struct {{
    uint32_t m, k, n, mode, order;
    uint64_t a_base, w_base, c_base, p_base;
    uint32_t a_stride, w_stride, c_stride;
}} job_t;

typedef struct {{
    int64_t source; /* -1: the target is cleared */
    uint32_t target, block;
    uint32_t counts[{loops}], source_steps[{loops}], target_steps[{loops}]; /* the outermost loop first */
}} copy_t;

typedef struct {{
    uint32_t base, lead, cell, skip, width, channels, columns, image, bits;
}} place_t;

typedef struct {{
    uint8_t kind; /* 0: a job, 1: a copy, 2: a node of the host */
    uint16_t number;
}} step_t;

#define MODE(relu)                                                   \\
    (((uint32_t)(relu) << TETRIT_CP_MODE_RELU_SHIFT) |               \\
     (1u << TETRIT_CP_MODE_PARAMS_SHIFT) |                           \\
     (TETRIT_CP_CONTAINER_8 << TETRIT_CP_MODE_CONTAINER_SHIFT))

static const job_t jobs[] = {{
{jobs}
}};

static const copy_t copies[] = {{
{copies}
}};

static const step_t steps[] = {{
{steps}
}};

static uint32_t at(const place_t *p, uint32_t image, uint32_t index) {{
    uint32_t pixel = index / p->channels;
    uint32_t cell = p->lead + pixel / p->columns * p->width + pixel % p->columns;
    return p->base + image * p->image + cell * p->cell + p->skip + index % p->channels;
}}

static int32_t get(const uint8_t *memory, const place_t *p, uint32_t image, uint32_t index) {{
    int32_t code = memory[at(p, image, index)] & ((1 << p->bits) - 1);
    return code - ((code >> (p->bits - 1)) << p->bits);
}}

static void put(uint8_t *memory, const place_t *p, uint32_t image, uint32_t index, int32_t value) {{
    memory[at(p, image, index)] = (uint8_t)(value & ((1 << p->bits) - 1));
}}

static inline int32_t rounded(int64_t sum, int64_t multiplier, int shift, int32_t low, int32_t high) {{
    int64_t scaled = (((sum * multiplier) >> (shift > 63 ? 63 : shift - 1)) + 1) >> 1;
    return scaled < low ? low : scaled > high ? high : (int32_t)scaled;
}}

static void copy(uint8_t *memory, const copy_t *c) {{
    for (uint32_t i = 0; i < c->counts[0]; i++)
        for (uint32_t j = 0; j < c->counts[1]; j++)
            for (uint32_t k = 0; k < c->counts[2]; k++) {{
                const uint32_t *in = c->source_steps, *out = c->target_steps;
                uint32_t from = i * in[0] + j * in[1] + k * in[2];
                uint8_t *to = memory + c->target + i * out[0] + j * out[1] + k * out[2];
                if (c->source < 0)
                    memset(to, 0, c->block);
                else
                    memcpy(to, memory + c->source + from, c->block);
            }}
}}

{places}
{nodes}
static void address(uint32_t low, uint32_t high, uint64_t value) {{
    tetrit_write_register(low, (uint32_t)value);
    tetrit_write_register(high, (uint32_t)(value >> 32));
}}

static int run(const job_t *job, uint64_t base) {{
    uint32_t status;
    tetrit_write_register(TETRIT_CP_MODE, job->mode);
    tetrit_write_register(TETRIT_CP_SHIFT, 0);
    tetrit_write_register(TETRIT_CP_M, job->m);
    tetrit_write_register(TETRIT_CP_K, job->k);
    tetrit_write_register(TETRIT_CP_N, job->n);
    tetrit_write_register(TETRIT_CP_ORDER, job->order);
    address(TETRIT_CP_A_BASE_LOW, TETRIT_CP_A_BASE_HIGH, base + job->a_base);
    tetrit_write_register(TETRIT_CP_A_STRIDE, job->a_stride);
    address(TETRIT_CP_W_BASE_LOW, TETRIT_CP_W_BASE_HIGH, base + job->w_base);
    tetrit_write_register(TETRIT_CP_W_STRIDE, job->w_stride);
    address(TETRIT_CP_C_BASE_LOW, TETRIT_CP_C_BASE_HIGH, base + job->c_base);
    tetrit_write_register(TETRIT_CP_C_STRIDE, job->c_stride);
    address(TETRIT_CP_P_BASE_LOW, TETRIT_CP_P_BASE_HIGH, base + job->p_base);
    tetrit_write_register(TETRIT_CP_CONTROL, TETRIT_CP_CONTROL_START_MASK);
    do
        status = tetrit_read_register(TETRIT_CP_STATUS);
    while (!(status & (TETRIT_CP_STATUS_DONE_MASK | TETRIT_CP_STATUS_ERRORS)) || (status & TETRIT_CP_STATUS_BUSY_MASK));
    tetrit_write_register(TETRIT_CP_STATUS, status);
    return (status & TETRIT_CP_STATUS_DONE_MASK) ? 0 : 1;
}}

int tetrit_network_run(uint8_t *memory, uint64_t base) {{
    for (uint32_t i = 0; i < sizeof steps / sizeof *steps; i++) {{
        const step_t *step = &steps[i];
        if (step->kind == 0) {{
            if (run(&jobs[step->number], base)) return (int)i + 1;
        }} else if (step->kind == 1) {{
            copy(memory, &copies[step->number]);
        }} else {{
            switch (step->number) {{
{switch}
            }}
        }}
    }}
    return 0;
}}
{accessors}"""


def header(program: JobProgram, name: str) -> str:
    """Return the header: sizes, what the platform gives, and what may be called."""
    lines = []
    for tensor in program.graph.inputs:
        lines.append(
            f"void tetrit_set_{_c_name(tensor)}(uint8_t *memory, uint32_t image, uint32_t index, int32_t value);"
        )
    for tensor in program.graph.outputs:
        lines.append(f"int32_t tetrit_get_{_c_name(tensor)}(const uint8_t *memory, uint32_t image, uint32_t index);")
    return _HEADER.format(
        name=name,
        n_jobs=len(program.jobs),
        batch=program.batch,
        memory_bytes=program.memory_bytes,
        constant_bytes=len(program.constants),
        bus_bytes=program.unit.data_bytes,
        accessors="\n".join(lines),
    )


def driver(program: JobProgram, name: str) -> str:
    """Return the driver.

    Raises
    ------
    InvalidValueError
        A node of the host that has no C.
    """
    jobs = [step for step in program.steps if isinstance(step, JobStep)]
    copies = [step for step in program.steps if isinstance(step, Copy)]
    nodes = [step for step in program.steps if isinstance(step, HostNode)]
    places: dict[Place, str] = {}
    functions = [text for number, step in enumerate(nodes) for text in _node(number, step, program, places)]
    ends: list[str] = []
    for tensor in program.graph.inputs:
        place = _place(program.places[tensor], places)
        ends += [
            "",
            f"void tetrit_set_{_c_name(tensor)}(uint8_t *memory, uint32_t image, uint32_t index, int32_t value) {{",
        ]
        ends += [f"    put(memory, &{place}, image, index, value);", "}"]
    for tensor in program.graph.outputs:
        place = _place(program.places[tensor], places)
        ends += ["", f"int32_t tetrit_get_{_c_name(tensor)}(const uint8_t *memory, uint32_t image, uint32_t index) {{"]
        ends += [f"    return get(memory, &{place}, image, index);", "}"]
    numbers = {id(step): number for kind in (jobs, copies, nodes) for number, step in enumerate(kind)}
    kinds = {JobStep: 0, Copy: 1, HostNode: 2}
    return _DRIVER.format(
        name=name,
        loops=_LOOPS,
        jobs="\n".join(f"    {_job(step.job)}, /* {_comment(step.name)} */" for step in jobs),
        copies="\n".join(f"    {_copy(step)}, /* {_comment(step.name)} */" for step in copies)
        or f"    {{0, 0, 0, {{{', '.join('0' * _LOOPS)}}}, {{0}}, {{0}}}},",
        steps="\n".join(
            f"    {{{kinds[type(step)]}, {numbers[id(step)]}}}, /* {_comment(step.name)} */" for step in program.steps
        ),
        places="\n".join(f"static const place_t {label} = {_place_text(place)};" for place, label in places.items()),
        nodes="\n".join(functions),
        switch="\n".join(f"            case {number}: node_{number}(memory); break;" for number in range(len(nodes)))
        or "            default: break;",
        accessors="\n".join([*ends, ""]),
    )


def _comment(text: str) -> str:
    return text.replace("*/", "* /").replace("/*", "/ *")


def _c_name(name: str) -> str:
    return "".join(char if char.isascii() and char.isalnum() else "_" for char in name)


def _job(job: MatmulJob) -> str:
    bases = ", ".join(f"{base:#x}" for base in (job.a_base, job.w_base, job.c_base, job.p_base))
    strides = f"{job.a_stride}, {job.w_stride}, {job.c_stride}"
    return f"{{{job.m}, {job.k}, {job.n}, MODE({int(job.relu)}), {int(job.order == 'nm')}, {bases}, {strides}}}"


def _copy(step: Copy) -> str:
    missing = _LOOPS - len(step.counts)
    rows = [
        (1,) * missing + step.counts,
        (0,) * missing + step.source_steps,
        (0,) * missing + step.target_steps,
    ]
    arrays = ", ".join(f"{{{', '.join(map(str, row))}}}" for row in rows)
    source = -1 if step.source is None else step.source
    return f"{{{source}, {step.target:#x}, {step.block}, {arrays}}}"


def _place(place: Place, places: dict[Place, str]) -> str:
    return places.setdefault(place, f"place_{len(places)}")


def _place_text(place: Place) -> str:
    _, columns, channels = place.shape
    fields = (
        place.base,
        place.lead,
        place.cell,
        place.skip,
        place.width,
        channels,
        columns,
        place.image_bytes,
        place.bits,
    )
    return f"{{{', '.join(map(str, fields))}}}"


def _node(number: int, step: HostNode, program: JobProgram, places: dict[Place, str]) -> Iterator[str]:
    """Yield the lines of a node's function."""
    tensors, node = program.graph.tensors, step.operation
    out, sources = _place(step.target, places), [_place(place, places) for place in step.sources]
    tensor = tensors[node.output]
    low, high = tensor.low, tensor.high
    yield f"static void node_{number}(uint8_t *memory) {{ /* {_comment(node.name)} */"
    if isinstance(node, Lookup):
        yield f"    static const int8_t table[] = {{{', '.join(map(str, node.table.tolist()))}}};"
    yield f"    for (uint32_t image = 0; image < {program.batch}u; image++)"
    if isinstance(node, MaxPool | AveragePool):
        yield from _pool(node, node.window, out, sources[0], low, high, tensors[node.sources[0]].low)
        return
    if isinstance(node, Concat):
        yield from _concat(node, program, out, sources)
        return
    yield f"        for (uint32_t e = 0; e < {tensor.size}u; e++) {{"
    if isinstance(node, Sum):
        terms = " + ".join(
            f"(int64_t)({factor}) * get(memory, &{source}, image, e)"
            for factor, source in zip(node.multipliers, sources, strict=True)
        )
        yield f"            int64_t sum = {terms};"
        result = f"rounded(sum, 1, {node.shift}, {0 if node.relu else low}, {high})"
        yield f"            put(memory, &{out}, image, e, {result});"
    elif isinstance(node, Lookup):
        first = tensors[node.sources[0]].low
        yield f"            put(memory, &{out}, image, e, table[get(memory, &{sources[0]}, image, e) - ({first})]);"
    elif isinstance(node, Reshape):
        yield f"            put(memory, &{out}, image, e, get(memory, &{sources[0]}, image, e));"
    else:
        raise InvalidValueError(f"node '{node.name}': there is no C for a {type(node).__name__} on the host")
    yield "        }"
    yield "}"


def _pool(
    node: MaxPool | AveragePool, window: Window, out: str, source: str, low: int, high: int, least: int
) -> Iterator[str]:
    (height, width), (rows, columns, channels) = window.out_shape_hw, window.in_shape
    (kh, kw), (sy, sx), (dy, dx), (top, left) = window.kernel, window.stride, window.dilation, window.padding[:2]
    yield f"        for (int32_t y = 0; y < {height}; y++)"
    yield f"            for (int32_t x = 0; x < {width}; x++)"
    yield f"                for (int32_t c = 0; c < {channels}; c++) {{"
    yield f"                    int32_t found = {least if isinstance(node, MaxPool) else 0};"
    yield f"                    for (int32_t ky = 0; ky < {kh}; ky++)"
    yield f"                        for (int32_t kx = 0; kx < {kw}; kx++) {{"
    yield f"                            int32_t row = y * {sy} + ky * {dy} - {top};"
    yield f"                            int32_t column = x * {sx} + kx * {dx} - {left};"
    yield f"                            if (row < 0 || row >= {rows} || column < 0 || column >= {columns}) continue;"
    index = f"(row * {columns} + column) * {channels} + c"
    yield f"                            int32_t value = get(memory, &{source}, image, (uint32_t)({index}));"
    if isinstance(node, MaxPool):
        yield "                            if (value > found) found = value;"
    else:
        yield "                            found += value;"
    yield "                        }"
    result = "found" if isinstance(node, MaxPool) else f"rounded(found, {node.multiplier}, {node.shift}, {low}, {high})"
    yield f"                    put(memory, &{out}, image, (uint32_t)((y * {width} + x) * {channels} + c), {result});"
    yield "                }"
    yield "}"


def _concat(node: Concat, program: JobProgram, out: str, sources: list[str]) -> Iterator[str]:
    tensors = program.graph.tensors
    axis = node.axis % len(tensors[node.output].shape)
    whole, before = math.prod(tensors[node.output].shape[axis:]), 0
    yield "    {"
    for name, source in zip(node.inputs, sources, strict=True):
        part, size = math.prod(tensors[name].shape[axis:]), tensors[name].size
        index = f"e / {part}u * {whole}u + {before}u + e % {part}u"
        yield f"        for (uint32_t e = 0; e < {size}u; e++)"
        yield f"            put(memory, &{out}, image, {index}, get(memory, &{source}, image, e));"
        before += part
    yield "    }"
    yield "}"
