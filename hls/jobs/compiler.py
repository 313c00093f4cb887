"""From an integer graph to jobs: ways are weighed against each other, addresses given, constants laid out."""

__all__ = ["compile_jobs"]

from collections.abc import Mapping

import numpy as np

from tetrit import checks
from tetrit.errors import InvalidValueError
from tetrit.hardware import ShiftArray
from tetrit.hls.integer import IntegerGraph
from tetrit.hls.jobs.drafts import Buffer, Costs, Draft, HostDraft, Move, Spot, Work
from tetrit.hls.jobs.forms import form
from tetrit.hls.jobs.layout import Choice
from tetrit.hls.jobs.memory import Constants, Segment, allocate
from tetrit.hls.jobs.place import Place, aligned
from tetrit.hls.jobs.planner import Plan, options, plan
from tetrit.hls.jobs.program import JobProgram
from tetrit.hls.jobs.steps import Copy, HostNode, JobStep, Step
from tetrit.sim.coprocessor import Coprocessor, MatmulJob
from tetrit.sim.coprocessor.image import records, to_rows

_SWEEPS = 3
"""Times that each node's way is chosen anew, the others' being kept."""


def compile_jobs(
    graph: IntegerGraph,
    unit: Coprocessor,
    *,
    batch: int,
    host_cycles_per_byte: float = 1.0,
    ways: Mapping[str, str] | None = None,
) -> JobProgram:
    """Compile an integer graph into jobs of the co-processor and steps of the host beside it.

    Contract: the program leaves every tensor of the graph in memory, integer for integer.

    Products, sums of branches whose multipliers have a common factor that leaves weights, and average pools are jobs;
    all else is computed by the host. A convolution reads its feature map in one of these ways:

    ``direct``
        Windows straight from the map, in which the pixels between two rows of a window have weights of 0: no copy.
    ``strips``
        From a copy in which each cell has the pixels of a column of the window: one copy for each row of the kernel.
    ``patches``
        From a copy of what lies under each window.
    ``whole``
        One window over all of an image, as it lies.

    Copies and clearings are done by a job of weights 0 and 1 where that is cheaper than by the host. Each node has the
    way with which the whole costs least, found by choosing one node's way after the other.

    Parameters
    ----------
    graph : IntegerGraph
        Of tensors of the machine's activation format; wider formats are refused.
    unit : Coprocessor
        With a `ShiftArray`, whose containers of activations have 8 bits.
    batch : int
        Images of a pass.
    host_cycles_per_byte : float
        What a byte costs that the host copies, clears, or reads and writes to compute a node, in cycles of the
        co-processor: for the choice only, and our assumption.
    ways : mapping of str to str, optional
        Ways that are not to be chosen: name of a node -> way, as above, ``"pairs"`` (a sum as a job) or ``"host"``.

    Returns
    -------
    JobProgram

    Raises
    ------
    TypeError
        If the unit is no shift array's.
    InvalidValueError
        A node or a tensor that the machine cannot compute or hold; the message names it.

    Examples
    --------
    >>> import numpy as np
    >>> from tetrit.hardware import Memory, ShiftArray
    >>> from tetrit.hls.integer import IntegerGraph, IntegerTensor, Product, Window
    >>> from tetrit.hls.jobs import compile_jobs
    >>> from tetrit.sim.coprocessor import Coprocessor
    >>> one = np.ones(1, np.int64)
    >>> blur = Product(
    ...     name="blur", input="x", output="y", weight=np.ones((9, 1), np.uint8), weight_format="szt", bias=0 * one,
    ...     multiplier=one, shift=3 * one, relu=False, window=Window(in_shape=(4, 4, 1), kernel=(3, 3)),
    ... )
    >>> shapes = {"x": (4, 4, 1), "y": (2, 2, 1)}
    >>> tensors = [IntegerTensor(name=n, shape=s, format="int8", scale=1.0) for n, s in shapes.items()]
    >>> graph = IntegerGraph(name="blur", inputs=("x",), outputs=("y",), nodes=(blur,), tensors=tensors)
    >>> unit = Coprocessor(machine=ShiftArray(rows=4, cols=4, dataflow="output_stationary"))
    >>> program = compile_jobs(graph, unit, batch=1)
    >>> program.run(np.arange(16).reshape(1, 4, 4, 1))["y"].ravel().tolist()
    [6, 7, 10, 11]
    """
    if not isinstance(graph, IntegerGraph):
        raise TypeError(f"`graph` must be an IntegerGraph, got {graph!r}")
    if not isinstance(unit, Coprocessor) or not isinstance(unit.machine, ShiftArray):
        raise TypeError("`unit` must be a Coprocessor with a ShiftArray: integer graphs are for integer hardware")
    batch = checks.integer("batch", batch)
    rate = checks.real("host_cycles_per_byte", host_cycles_per_byte, minimum=0.0)
    machine = unit.machine
    if unit.containers(machine.act_format, machine.weight_format).act_bits != 8:
        raise InvalidValueError(f"`unit` must hold activations in bytes, got {machine.act_format}")
    for name, tensor in graph.tensors.items():
        if tensor.bits > 8:
            raise InvalidValueError(
                f"tensor '{name}' must have at most 8 bits, got {tensor.format}: requantise it to {machine.act_format}"
            )
    costs = Costs(unit=unit, host_cycles_per_byte=rate)
    chosen = _chosen(graph, unit, batch, costs, dict(ways or {}))
    return _assembled(graph, unit, batch, chosen)


def _chosen(graph: IntegerGraph, unit: Coprocessor, batch: int, costs: Costs, fixed: dict[str, str]) -> Plan:
    """Return the cheapest plan that choosing one node's way after the other leads to."""
    assert isinstance(unit.machine, ShiftArray)
    known = {node.name: options(form(node, graph.tensors, unit.machine)) for node in graph.nodes}
    for name, way in fixed.items():
        checks.choice("ways", name, known)
        known[name] = [choice for choice in known[name] if choice.way == way]
        if not known[name]:
            raise InvalidValueError(f"`ways`: node '{name}' cannot be computed as '{way}'")
    choices, best, least = _first(graph, unit, batch, costs, known)
    for _ in range(_SWEEPS):
        before = least
        for name, ways in known.items():
            for choice in ways:
                if choice == choices[name]:
                    continue
                tried = {**choices, name: choice}
                found = _tried(graph, unit, batch, tried, costs)
                cost = _cost(found, costs)
                if cost < least:
                    assert found is not None
                    choices, best, least = tried, found, cost
        if least == before:
            break
    return best


def _first(
    graph: IntegerGraph, unit: Coprocessor, batch: int, costs: Costs, known: Mapping[str, list[Choice]]
) -> tuple[dict[str, Choice], Plan, float]:
    """Return a plan that is possible: each node's first way, or the next where that is refused."""
    choices = {name: ways[0] for name, ways in known.items()}
    for name, ways in known.items():
        for choice in ways:
            found = _tried(graph, unit, batch, {**choices, name: choice}, costs)
            if found is not None:
                return {**choices, name: choice}, found, _cost(found, costs)
    plan(graph, unit, batch, choices, costs)  # says what is wrong
    raise AssertionError("a plan was refused, and then was not")


def _tried(
    graph: IntegerGraph, unit: Coprocessor, batch: int, choices: Mapping[str, Choice], costs: Costs
) -> Plan | None:
    try:
        return plan(graph, unit, batch, choices, costs)
    except InvalidValueError:
        return None


def _cost(found: Plan | None, costs: Costs) -> float:
    return float("inf") if found is None else sum(costs.of(draft) for draft in found.drafts)


def _assembled(graph: IntegerGraph, unit: Coprocessor, batch: int, chosen: Plan) -> JobProgram:
    """Give addresses, and make steps of drafts."""
    constants = Constants()
    step = unit.data_bytes
    addresses = {id(draft): _constants(draft, constants, unit) for draft in chosen.drafts if isinstance(draft, Work)}
    nothing = constants.add("zeros", "parameters", np.zeros(step, np.uint8), step)
    lives = _lives(graph, chosen)
    end = allocate([(buffer, *life) for buffer, life in lives.items()], aligned(constants.end, step))
    image = bytearray(constants.end)
    for segment, data in zip(constants.segments, constants.data, strict=True):
        image[segment.address : segment.address + len(data)] = data
    segments = [
        *constants.segments,
        *(
            Segment(name=b.name, kind="activations", address=b.address, n_bytes=b.n_bytes, first=first, last=last)
            for b, (first, last) in lives.items()
        ),
    ]
    return JobProgram(
        graph=graph,
        unit=unit,
        batch=batch,
        steps=tuple(_step(draft, addresses.get(id(draft)), nothing, unit) for draft in chosen.drafts),
        places={name: _placed(pair) for name, pair in chosen.places.items()},
        segments=tuple(sorted(segments, key=lambda segment: (segment.address, segment.first))),
        constants=bytes(image),
        memory_bytes=aligned(end, step),
        choices=chosen.choices,
    )


def _lives(graph: IntegerGraph, chosen: Plan) -> dict[Buffer, tuple[int, int]]:
    """Return the first and last step of each buffer; inputs are there before the first, outputs after the last."""
    lives: dict[Buffer, tuple[int, int]] = {chosen.places[name][0]: (-1, 0) for name in graph.inputs}
    for number, draft in enumerate(chosen.drafts):
        for buffer in draft.touches:
            lives[buffer] = (lives.get(buffer, (number, 0))[0], number)
    for name in graph.outputs:
        buffer = chosen.places[name][0]
        lives[buffer] = (lives.get(buffer, (-1, 0))[0], len(chosen.drafts))
    return lives


def _constants(draft: Work, constants: Constants, unit: Coprocessor) -> tuple[int, int, int]:
    """Return the addresses of a job's weights and parameters, and the stride of the weights."""
    given, step = draft.operands, unit.data_bytes
    bits = unit.containers(unit.machine.act_format, unit.machine.weight_format).weight_bits  # type: ignore[union-attr]
    rows = to_rows("w", given.weight.T[: 1 if given.same_weights else None].astype(np.int64), bits)
    stride = aligned(rows.shape[1], step)
    padded = np.pad(rows, ((0, 0), (0, stride - rows.shape[1])))
    weights = constants.add(f"weights of {draft.name}", "weights", padded, step)
    data = records(_job(draft, unit), unit, given.bias, given.multiplier, given.shift)
    return (
        weights,
        constants.add(f"parameters of {draft.name}", "parameters", data, step),
        (0 if given.same_weights else stride),
    )


def _job(draft: Work, unit: Coprocessor) -> MatmulJob:
    machine = unit.machine
    assert isinstance(machine, ShiftArray)
    k, n = draft.operands.weight.shape
    return MatmulJob(
        m=draft.m, k=k, n=n, act_format=machine.act_format, weight_format=machine.weight_format,
        out_format=machine.act_format, relu=draft.operands.relu, result_bits=8,
    )  # fmt: skip


def _step(draft: Draft, constants: tuple[int, int, int] | None, nothing: int, unit: Coprocessor) -> Step:
    named = {"name": draft.name, "node": draft.node, "gives": draft.gives}
    if isinstance(draft, Work):
        assert constants is not None
        weights, parameters, stride = constants
        job = _job(draft, unit).replace(
            a_base=nothing if draft.a is None else _address(draft.a), a_stride=draft.a_stride,
            w_base=weights, w_stride=stride, p_base=parameters,
            c_base=_address(draft.c), c_stride=draft.c_stride,
        )  # fmt: skip
        job.check(unit)
        return JobStep(**named, job=job, macs=draft.macs)  # type: ignore[arg-type]
    if isinstance(draft, Move):
        return Copy(
            **named,  # type: ignore[arg-type]
            counts=draft.counts,
            source_steps=draft.source_steps,
            target_steps=draft.target_steps,
            source=None if draft.source is None else _address(draft.source),
            target=_address(draft.target),
            block=draft.block,
        )
    assert isinstance(draft, HostDraft)
    return HostNode(
        **named,  # type: ignore[arg-type]
        operation=draft.operation,
        sources=tuple(_placed(pair) for pair in draft.sources),
        target=_placed(draft.target),
    )


def _address(spot: Spot) -> int:
    buffer, offset = spot
    return buffer.address + offset


def _placed(pair: tuple[Buffer, Place]) -> Place:
    buffer, place = pair
    return place.replace(base=buffer.address + place.base)
