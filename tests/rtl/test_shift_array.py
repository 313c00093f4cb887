"""The array on Amaranth's own simulator against the golden streams and the cycle model."""

import numpy as np
import pytest
from amaranth.sim import Simulator

from tetrit import hardware
from tetrit.rtl import ShiftPEArray
from tetrit.sim import Mapping, Workload
from tetrit.sim.shift import cycles, streams


def words(vectors, bits, word_bits, ends):
    """Cut vectors (rows of signed or unsigned elements) into memory words with their `last` flags."""
    mask = (1 << bits) - 1
    per_vector = -(-vectors.shape[1] * bits // word_bits)
    result = []
    for vector, end in zip(vectors, ends, strict=True):
        packed = sum((int(v) & mask) << (i * bits) for i, v in enumerate(vector))
        for index in range(per_vector):
            word = (packed >> (index * word_bits)) & ((1 << word_bits) - 1)
            result.append((word, bool(end) and index == per_vector - 1))
    return result


def simulate(machine, run):
    """Return the result vectors and the cycle count of an array fed with `run`, memories never idle."""
    dut = ShiftPEArray(machine)
    width = {name: len(getattr(dut, name).payload.data) for name in ("weights", "activations", "partials", "results")}
    waiting = {
        "weights": words(run.weights, machine.weights.bits, width["weights"], run.weights_last),
        "activations": words(run.activations, machine.activations.bits, width["activations"], run.activations_last),
    }
    first = {"weights": machine.weight_memory.latency_cycles, "activations": machine.act_memory.latency_cycles}
    acc_latency = machine.acc_memory.latency_cycles
    half = 1 << (machine.acc_bits - 1)
    count = 0
    results: list[np.ndarray] = []
    finished: list[int] = []  # cycle in which each result's last word left
    partial_words: list[tuple[int, bool]] = []
    next_partial = 0

    async def bench(ctx):
        nonlocal count, next_partial, partial_words
        parts: list[int] = []
        sent = dict.fromkeys(waiting, 0)
        ctx.set(dut.results.ready, 1)
        while len(results) < len(run.results):
            for name, items in waiting.items():
                port = getattr(dut, name)
                offered = count >= first[name] and sent[name] < len(items)
                ctx.set(port.valid, offered)
                if offered:
                    word, last = items[sent[name]]
                    ctx.set(port.payload, {"data": word, "last": last})
            if not partial_words and next_partial < len(run.partials):
                origin = run.partials_from[next_partial]
                ready_at = acc_latency if origin < 0 else None
                if origin >= 0 and origin < len(finished):
                    ready_at = finished[origin] + 1 + acc_latency
                if ready_at is not None and count >= ready_at:
                    vector = run.partials[next_partial] if origin < 0 else results[origin]
                    partial_words = words(
                        vector[np.newaxis], machine.acc_bits, width["partials"], [run.partials_last[next_partial]]
                    )
                    next_partial += 1
            ctx.set(dut.partials.valid, bool(partial_words))
            if partial_words:
                word, last = partial_words[0]
                ctx.set(dut.partials.payload, {"data": word, "last": last})
            for name in waiting:
                port = getattr(dut, name)
                sent[name] += ctx.get(port.valid) & ctx.get(port.ready)
            if ctx.get(dut.partials.valid) & ctx.get(dut.partials.ready):
                partial_words = partial_words[1:]
            if ctx.get(dut.results.valid):
                parts.append(ctx.get(dut.results.payload.data))
                if len(parts) == machine.acc_words:
                    packed = sum(part << (i * width["results"]) for i, part in enumerate(parts))
                    lanes = [(packed >> (c * machine.acc_bits)) & (2 * half - 1) for c in range(machine.cols)]
                    results.append(np.array([(lane ^ half) - half for lane in lanes]))
                    finished.append(count)
                    parts = []
            await ctx.tick()
            count += 1
            assert count < 100_000, "the array hangs"

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return np.array(results), count


CASES = [
    (dataflow, weight_format, seed)
    for dataflow in hardware.DATAFLOWS
    for weight_format in ("szt", "int2_symmetric", "pot3", "pot4z", "posit4_1")
    for seed in range(3)
]


@pytest.mark.parametrize(("dataflow", "weight_format", "seed"), CASES)
def test_values_and_cycles_equal_the_models(dataflow, weight_format, seed):
    rng = np.random.default_rng([seed, len(weight_format)])
    rows, cols = (int(n) for n in rng.integers(1, 5, size=2))
    width = [None, 7, 16, 24]
    machine = hardware.ShiftArray(
        rows=rows,
        cols=cols,
        dataflow=dataflow,
        weight_format=weight_format,
        weight_memory=hardware.Memory(width_bits=width[rng.integers(4)], latency_cycles=int(rng.integers(3))),
        act_memory=hardware.Memory(width_bits=width[rng.integers(4)], latency_cycles=int(rng.integers(3))),
        acc_memory=hardware.Memory(width_bits=width[rng.integers(4)], latency_cycles=int(rng.integers(3))),
    )
    for _ in range(2):
        m, k, n = (int(v) for v in rng.integers(1, 12, size=3))
        stationary = dataflow == "weight_stationary"
        mapping = Mapping(
            tile_m=int(rng.integers(1, (m if stationary else rows) + 1)),
            tile_k=int(rng.integers(1, (rows if stationary else k) + 1)),
            tile_n=int(rng.integers(1, cols + 1)),
            order=["mnk", "mkn"][rng.integers(2)],
        )
        x = rng.integers(-128, 128, size=(m, k))
        usable = np.flatnonzero(~np.isnan(machine.weights.values)).astype(np.uint8)
        weight = rng.choice(usable, size=(k, n))
        bias = rng.integers(-1000, 1000, size=n)
        run = streams(x, weight, bias, mapping, machine)
        values, count = simulate(machine, run)
        np.testing.assert_array_equal(values, run.results)
        assert count == cycles.count(Workload(m=m, k=k, n=n), mapping, machine)
