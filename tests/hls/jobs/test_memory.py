"""Memory: what lives at the same time lies apart, constants are kept once, jobs stay in what they may touch."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.hls.jobs.networks import Net, random_net, small_unit
from tetrit.hls.integer import Window
from tetrit.hls.jobs import Copy, HostNode, JobStep, compile_jobs
from tetrit.hls.jobs.drafts import Buffer, Move, collapsed
from tetrit.hls.jobs.memory import allocate
from tetrit.hls.jobs.place import Place


@pytest.mark.parametrize("seed", range(12))
def test_what_lives_at_the_same_time_lies_apart(unit, seed):
    program = compile_jobs(random_net(np.random.default_rng(seed)), unit, batch=2)
    parts = program.segments
    for index, one in enumerate(parts):
        assert one.address % unit.data_bytes == 0
        assert one.address + one.n_bytes <= program.memory_bytes
        for other in parts[index + 1 :]:
            together = one.first <= other.last and other.first <= one.last
            apart = one.address + one.n_bytes <= other.address or other.address + other.n_bytes <= one.address
            assert apart or not together, f"seed {seed}: {one} and {other}"


@pytest.mark.parametrize("seed", range(12))
def test_steps_touch_only_buffers_that_live(unit, seed):
    program = compile_jobs(random_net(np.random.default_rng(seed)), unit, batch=2)
    for number, step in enumerate(program.steps):
        alive = [part for part in program.segments if part.first <= number <= part.last]

        def inside(low, high, kinds, alive=alive):
            return any(
                part.kind in kinds and part.address <= low and high <= part.address + part.n_bytes for part in alive
            )

        if isinstance(step, JobStep):
            spans = step.job.spans(unit)
            assert inside(*spans["a"], ("activations", "parameters")), step
            assert inside(*spans["w"], ("weights",)), step
            assert inside(*spans["p"], ("parameters",)), step
            assert inside(*spans["c"], ("activations",)), step
        elif isinstance(step, Copy):
            reach = [sum((n - 1) * by for n, by in zip(step.counts, steps, strict=True)) + step.block
                     for steps in (step.target_steps, step.source_steps)]  # fmt: skip
            assert inside(step.target, step.target + reach[0], ("activations",)), step
            assert step.source is None or inside(step.source, step.source + reach[1], ("activations",)), step
        else:
            assert isinstance(step, HostNode)
            for place in (*step.sources, step.target):
                addresses = place.addresses()
                assert inside(int(addresses.min()), int(addresses.max()) + 1, ("activations",)), step


def test_equal_constants_lie_there_once(unit):
    rng = np.random.default_rng(0)
    net = Net(rng, 6, 6, 8)
    for _ in range(3):
        net.conv(8, (3, 3), padding=(1, 1, 1, 1))
    program = compile_jobs(net.graph(), unit, batch=1, host_cycles_per_byte=1000.0)
    movers = {step.job.w_base for step in program.jobs if not step.macs and "strip" in step.name}
    moving = [step for step in program.jobs if not step.macs and "strip" in step.name]
    assert len(moving) >= 3
    assert len(movers) == 1


def test_buffers_share_memory(unit):
    rng = np.random.default_rng(0)
    net = Net(rng, 8, 8, 8)
    for _ in range(5):
        net.conv(8, (3, 3) if net.last.shape[0] > 4 else (1, 1))
    program = compile_jobs(net.graph(), unit, batch=2)
    buffers = sum(part.n_bytes for part in program.segments if part.kind == "activations")
    assert program.memory_bytes - len(program.constants) < buffers


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 200), st.integers(0, 9), st.integers(0, 5)), min_size=1, max_size=12))
def test_allocation_never_overlaps_and_reuses(given_lives):
    lives = [
        (Buffer(name=str(i), n_bytes=size), first, first + length)
        for i, (size, first, length) in enumerate(given_lives)
    ]
    end = allocate(lives, 128)
    for index, (one, first, last) in enumerate(lives):
        assert one.address >= 128
        assert one.address % 64 == 0
        assert one.address + one.n_bytes <= end
        for other, begun, done in lives[index + 1 :]:
            if first <= done and begun <= last:
                assert one.address + one.n_bytes <= other.address or other.address + other.n_bytes <= one.address


def test_buffers_one_after_the_other_in_time_share_all_of_their_memory():
    sizes = (100, 64, 1, 640)
    lives = [(Buffer(name=str(i), n_bytes=size), i, i) for i, size in enumerate(sizes)]
    assert allocate(lives, 128) == 128 + max(sizes)
    assert {buffer.address for buffer, _, _ in lives} == {128}


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_a_copy_with_fewer_loops_copies_the_same(data):
    counts = tuple(data.draw(st.lists(st.integers(1, 4), min_size=0, max_size=3)))
    block = data.draw(st.integers(1, 5))
    steps = []
    for _ in range(2):
        size, made = block, []
        for count in reversed(counts):
            size += data.draw(st.sampled_from([0, 0, 0, 3]))
            made.insert(0, size)
            size *= count
        steps.append(tuple(made))
    buffers = Buffer(name="a", n_bytes=1000), Buffer(name="b", n_bytes=1000, address=1000)

    def move():
        return Move(
            name="", node="", counts=counts, source_steps=steps[0], target_steps=steps[1], source=(buffers[0], 0),
            target=(buffers[1], 0), block=block,
        )  # fmt: skip

    rng = np.random.default_rng(0)
    start = rng.integers(0, 256, 2000).astype(np.uint8)
    results = []
    for found in (move(), collapsed(move())):
        memory = start.copy()
        Copy(
            name="", node="", counts=found.counts, source_steps=found.source_steps, target_steps=found.target_steps,
            source=0, target=1000, block=found.block,
        ).perform(memory)  # fmt: skip
        results.append((memory, found.n_bytes, len(found.counts)))
    np.testing.assert_array_equal(results[0][0], results[1][0])
    assert results[0][1] == results[1][1]
    assert results[1][2] <= results[0][2]


def test_places_read_what_they_write():
    place = Place(shape=(3, 2, 5), height=4, width=3, lead=4, batch=2, cell=16, skip=8, base=64, bits=6)
    memory = np.zeros(64 + place.n_bytes, np.uint8)
    values = np.random.default_rng(0).integers(-32, 32, (2, 3, 2, 5))
    place.write(memory, values)
    np.testing.assert_array_equal(place.read(memory), values)
    for image in range(2):
        for y in range(3):
            for x in range(2):
                at = 64 + (4 + (image * 4 + y) * 3 + x) * 16 + 8
                np.testing.assert_array_equal(memory[at : at + 5], values[image, y, x] & 63)
    assert np.count_nonzero(memory) == np.count_nonzero(values)
    window = Window(in_shape=(3, 2, 5), kernel=(2, 2), padding=(0, 0, 1, 1))
    assert place.last_window(window) == (4 + 2) * 3 + 2


def test_the_narrowest_bus_and_the_widest():
    rng = np.random.default_rng(1)
    for bits in (32, 256):
        unit = small_unit(rows=2, cols=2).replace(data_bits=bits)
        net = Net(rng, 5, 5, 4)
        net.conv(8, (3, 3), padding=(1, 1, 1, 1))
        net.conv(8, (3, 3), (2, 2))
        net.head(3)
        program = compile_jobs(net.graph(), unit, batch=2)
        x = rng.integers(-128, 128, (2, 5, 5, 4))
        np.testing.assert_array_equal(program.run(x)["fc"], net.graph().run(x)["fc"])
