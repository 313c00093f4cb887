"""Estimates: every loop's pattern against the loop itself, times against a slow recurrence, depths against deadlock."""

import json

import numpy as np
import pytest

from tetrit.errors import InvalidValueError
from tetrit.hls.cpp import CppOptions, patterns, to_hls_cpp
from tetrit.hls.cpp.folding import fold
from tetrit.hls.cpp.geometry import Map, ProductSize
from tetrit.hls.cpp.lower import lower
from tetrit.hls.cpp.report import report_of
from tetrit.hls.cpp.source import source_of
from tetrit.hls.cpp.timing import times
from tetrit.hls.integer import IntegerGraph, IntegerTensor, Sum, Window


def ceil(a, b):
    return -(-a // b)


def beats_of(pattern):
    return list(zip(pattern.step.tolist(), pattern.offset.tolist(), strict=True))


@pytest.mark.parametrize(
    ("vectors", "groups", "k", "n", "tile_k", "tile_n"), [(3, 2, 7, 5, 3, 2), (1, 1, 4, 4, 4, 4), (2, 1, 1, 3, 1, 1)]
)
def test_a_products_pattern_is_its_loop_nest(vectors, groups, k, n, tile_k, tile_n):
    reads, writes, step = [], [], 0
    for _ in range(vectors):
        for _ in range(groups):
            for step_n in range(ceil(n, tile_n)):
                for step_k in range(ceil(k, tile_k)):
                    if step_n == 0:
                        reads.append((step, 0))
                    if step_k == ceil(k, tile_k) - 1:
                        writes.append((step, 0))
                    step += 1
    size = ProductSize(vectors=vectors, groups=groups, k=k, n=n)
    [read], [written] = patterns.product(size, tile_k, tile_n)()
    assert (beats_of(read), beats_of(written), size.cycles(tile_k, tile_n)) == (reads, writes, step)


WINDOWS = [
    Window(in_shape=(5, 6, 3), kernel=(3, 2), stride=(2, 3), padding=(1, 0, 2, 1), dilation=(1, 2)),
    Window(in_shape=(4, 4, 4), kernel=(2, 2), groups=2),
    Window(in_shape=(9, 1, 2), kernel=(3, 1), stride=(2, 1), padding=(1, 0, 0, 0)),
    Window(in_shape=(1, 9, 2), kernel=(1, 3), stride=(1, 2)),
]


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("lanes", [(1, 2), (2, 5)])
def test_a_windows_pattern_is_its_loop_nest(window, lanes):
    found = Map.of(window)
    reads, writes, step = [], [], 0
    positions = 0
    for y in range(found.rows):
        for x in range(found.columns):
            if 0 <= y - found.top < found.height and 0 <= x - found.left < found.width:
                reads += [(step, beat) for beat in range(ceil(found.channels, lanes[0]))]
            below, beside = y - found.reach[0] + 1, x - found.reach[1] + 1
            if below >= 0 and beside >= 0 and below % found.stride_y == 0 and beside % found.stride_x == 0:
                writes += [(step, beat) for beat in range(found.groups * ceil(found.k, lanes[1]))]
                positions += 1
            step += 1
    [read], [written] = patterns.slide(found, *lanes)()
    assert (beats_of(read), beats_of(written), found.pixels) == (reads, writes, step)
    assert positions == found.positions == window.positions and found.k == window.k
    assert found.columns > 1 or found.rows == 1


@pytest.mark.parametrize(("groups", "count", "few", "many"), [(3, 7, 2, 6), (1, 8, 1, 8), (2, 5, 5, 10)])
def test_patterns_of_other_widths_are_their_loops(groups, count, few, many):
    reads, writes, step = [], [], 0
    for _ in range(groups):
        for beat in range(ceil(count, few)):
            if beat % (many // few) == 0:
                reads.append((step, 0))
            writes.append((step, 0))
            step += 1
    [read], [written] = patterns.narrow(groups, count, many, few)()
    assert (beats_of(read), beats_of(written)) == (reads, writes)
    writes = [
        (group * ceil(count, few) + beat, 0)
        for group in range(groups)
        for beat in range(ceil(count, few))
        if beat % (many // few) == many // few - 1 or beat == ceil(count, few) - 1
    ]
    [read], [written] = patterns.widen(groups, count, few, many)()
    assert (beats_of(read), beats_of(written)) == ([(i, 0) for i in range(step)], writes)
    assert len(writes) == groups * ceil(count, many)


def test_patterns_of_pools_and_of_concatenation_are_their_loops():
    [read], [written] = patterns.pool(2, 3, 2)()
    assert beats_of(read) == [(i, 0) for i in range(12)]
    assert beats_of(written) == [(4, 0), (5, 0), (10, 0), (11, 0)]
    [first, second], [written] = patterns.concatenate(2, 1, 2)()
    assert beats_of(first) == [(0, 0), (3, 0)] and beats_of(second) == [(1, 0), (2, 0), (4, 0), (5, 0)]
    assert beats_of(written) == [(i, 0) for i in range(6)]


def slow_times(processes, inputs):
    """The recurrence of `tetrit.hls.cpp.timing`, one step after the other."""
    ready = {stream.name: list(range(stream.beats)) for stream in inputs}
    occupied = {}
    for process in processes:
        reads, writes = process.pattern()
        starts = []
        for step in range(process.steps):
            start = starts[-1] + process.interval if starts else 0
            for stream, pattern in zip(process.inputs, reads, strict=True):
                for beat in np.flatnonzero(pattern.step == step):
                    start = max(start, ready[stream.name][beat] - int(pattern.offset[beat]))
            starts.append(start)
        for stream, pattern in zip(process.inputs, reads, strict=True):
            taken = [starts[s] + o for s, o in beats_of(pattern)]
            given = ready[stream.name]
            occupied[stream.name] = max(
                sum(g <= cycle for g in given) - sum(t < cycle for t in taken) for cycle in set(given)
            )
        for stream, pattern in zip(process.outputs, writes, strict=True):
            ready[stream.name] = [starts[s] + o + process.depth for s, o in beats_of(pattern)]
    return ready, occupied


def designed(graph, **options):
    chosen = CppOptions(**options)
    source = source_of(graph)
    folding = fold(source, chosen)
    design = lower(source, folding, chosen)
    return design, *report_of(design, folding, chosen)


@pytest.mark.parametrize("name", ["cnn", "odd"])
def test_times_are_those_of_the_slow_recurrence(name, request):
    design, report, depths = designed(request.getfixturevalue(name))
    ready, occupied = slow_times(design.processes, [port.stream for port in design.inputs])
    found, waiting, last = times(design.processes, [port.stream for port in design.inputs])
    assert report["latency_cycles"] == max(ready[port.stream.name][-1] for port in design.outputs) + 1
    assert {name: waiting[name] for name in occupied} == occupied
    assert all(last[port.stream.name] == ready[port.stream.name][-1] for port in design.outputs)
    assert report["interval_cycles"] == max(process.cycles for process in design.processes)
    assert report["latency_cycles"] > report["interval_cycles"] and len(found) == len(design.processes)
    assert all(depths[name] >= max(occupied[name], 2) for name in depths)


def finishes(design, depths):
    """Run all processes with streams of bounded depth, in no particular time; return whether all get to their end."""
    room = {**{port.stream.name: 10**9 for port in (*design.inputs, *design.outputs)}, **depths}
    held = dict.fromkeys(room, 0)
    for port in design.inputs:
        held[port.stream.name] = port.stream.beats
    todo = []
    for process in design.processes:
        reads, writes = process.pattern()
        acts = []
        for kind, streams, patterns_ in ((0, process.inputs, reads), (1, process.outputs, writes)):
            for stream, pattern in zip(streams, patterns_, strict=True):
                acts += [(step, kind, offset, stream.name) for step, offset in beats_of(pattern)]
        todo.append(sorted(acts)[::-1])
    moved = True
    while moved:
        moved = False
        for acts in todo:
            while acts:
                _, kind, _, name = acts[-1]
                if held[name] == (room[name] if kind else 0):
                    break
                held[name] += 1 if kind else -1
                acts.pop()
                moved = True
    return not any(todo)


@pytest.mark.parametrize("name", ["cnn", "odd"])
def test_streams_are_deep_enough_and_no_deeper_for_nothing(name, request):
    design, _, depths = designed(request.getfixturevalue(name))
    assert finishes(design, depths)
    shallow = {name: 2 if name in design.joins else depth for name, depth in depths.items()}
    assert not finishes(design, shallow)  # where branches meet, the short one must wait in its stream


def test_layers_are_folded_to_the_interval_with_the_fewest_products(cnn):
    source = source_of(cnn)
    sizes = {"conv1": (64, 9, 6, 100), "conv2": (16, 54, 12, 64), "conv3": (16, 108, 12, 36), "fc": (1, 108, 10, 0)}
    for interval in (400, 2000, 20000):
        tiles = fold(source, CppOptions(interval=interval)).tiles
        for name, (vectors, k, n, pixels) in sizes.items():
            fits = [
                a * b
                for a in range(1, k + 1)
                for b in range(1, n + 1)
                if k % a == 0 == n % b and vectors * (k // a) * (n // b) <= interval and pixels * (k // a) <= interval
            ]
            assert np.prod(tiles[name]) == min(fits), (interval, name)
    default = fold(source, CppOptions())
    assert default.interval == 16 * 108 * 12 // 64  # the largest layer at 64 products a cycle
    fastest = fold(source, CppOptions(interval=1))
    assert fastest.interval == 100  # the padded pixels of the first window
    chosen = fold(source, CppOptions(unroll={"conv2": (7, 5)}))
    assert chosen.tiles["conv2"] == (7, 5) and chosen.tiles["conv3"] == default.tiles["conv3"]


def test_a_faster_network_has_more_products_and_a_smaller_interval(cnn):
    reports = [designed(cnn, interval=interval)[1] for interval in (8000, 2000, 500)]
    intervals = [report["interval_cycles"] for report in reports]
    assert intervals == sorted(intervals, reverse=True) and intervals[0] > 2 * intervals[-1]
    work = [sum(layer.get("tile_k", 0) * layer.get("tile_n", 0) for layer in report["layers"]) for report in reports]
    assert work == sorted(work) and work[0] < work[-1]
    for report in reports:
        assert report["inputs_per_second"] == pytest.approx(100e6 / report["interval_cycles"])
        assert report["latency_us"] == report["latency_cycles"] / 100


def test_a_product_by_hand(shift_program, tmp_path):
    """One beat a cycle in; 64 inputs by 8, 20 outputs by 4: the first sum after 8 steps, the last after 40."""
    options = CppOptions(unroll={"fc1": (8, 4), "fc2": (20, 10)}, interval=64)
    project = to_hls_cpp(shift_program("szt"), tmp_path / "net", options=options)
    steps = {process["name"]: process for process in project.report["processes"]}
    fc1 = steps["fc1 product"]
    assert (fc1["cycles"], fc1["depth"]) == (8 * 5, 3 + 3 + 1 + 4)
    # beats of 1 come in cycles 0 to 63; the one that fills a beat of 8 is passed on a cycle later
    assert fc1["first_read"] == 7 + 1 and fc1["first_written"] == 63 + 1 + 11
    assert fc1["last_written"] == 64 + 32 + 11
    assert project.report["layers"][0]["latency_cycles"] == 64 + 32 + 11 - 8 + 1
    fc2 = steps["fc2 product"]
    assert fc2["cycles"] == 1 and fc2["depth"] == 3 + 5 + 1 + 4
    assert json.loads((project.folder / "report.json").read_text()) == project.report


def test_too_many_steps_are_refused_before_they_are_laid_out():
    tensors = [IntegerTensor(name=name, shape=(2**12, 2**13, 1), format="int8", scale=1.0) for name in "xy"]
    node = Sum(name="double", inputs=("x", "x"), output="y", multipliers=(1, 1), shift=1, relu=False)
    graph = IntegerGraph(name="large", inputs=("x",), outputs=("y",), nodes=(node,), tensors=tensors)
    with pytest.raises(InvalidValueError, match=r"^'x fork' takes 33554432 steps an input, beyond the 16777216 that"):
        designed(graph)
