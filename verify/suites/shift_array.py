"""How the array is verified: random products, tilings and memories against the simulator's results and cycles."""

__all__ = ["array_case", "jobs", "payload_bits", "read_latency"]

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from tetrit import formats
from tetrit.hardware import Memory, ShiftArray
from tetrit.sim import Mapping, ShiftEngine, Workload
from tetrit.sim.shift import streams
from tetrit.sim.shift.tiles import tile_list
from tetrit.verify.suites.designs import Designs
from tetrit.verify.suites.job import Case, Feed, Job, stream_stimulus
from tetrit.verify.words import to_words

Ints = npt.NDArray[np.int64]

DEFAULT_CASES = 240
_LONGEST_SUM = 40
_SOURCES = ("weights", "activations", "partials")


@dataclass(frozen=True, kw_only=True)
class _Shape:
    """An array to be built: size, formats, width and latency of its three memories; whether its netlist runs too."""

    size: tuple[int, int]
    formats: tuple[str, str]
    dataflow: Any
    widths: tuple[int | None, int | None, int | None] = (None, None, None)
    latencies: tuple[int, int, int] = (0, 0, 0)
    gates: bool = False

    def machine(self) -> ShiftArray:
        act_format, weight_format = self.formats
        memories = [
            Memory(width_bits=width, latency_cycles=latency)
            for width, latency in zip(self.widths, self.latencies, strict=True)
        ]
        return ShiftArray(
            rows=self.size[0],
            cols=self.size[1],
            act_format=act_format,
            weight_format=weight_format,
            acc_bits=formats.accumulator_bits(act_format, weight_format, _LONGEST_SUM) + 1,
            dataflow=self.dataflow,
            weight_memory=memories[0],
            act_memory=memories[1],
            acc_memory=memories[2],
        )


_WS, _OS = "weight_stationary", "output_stationary"
_SHAPES = (
    _Shape(size=(4, 4), formats=("int8", "szt"), dataflow=_WS, gates=True),
    _Shape(size=(3, 5), formats=("int4", "int2_symmetric"), dataflow=_WS, widths=(4, 8, 24), latencies=(2, 0, 3)),
    _Shape(size=(6, 2), formats=("int8", "pot3"), dataflow=_WS, widths=(1, 16, None), latencies=(0, 5, 1)),
    _Shape(size=(2, 3), formats=("int5", "posit4_1"), dataflow=_WS, widths=(64, 7, 11)),
    _Shape(size=(1, 1), formats=("int8", "pot4z"), dataflow=_WS, widths=(3, 3, 9), latencies=(1, 1, 1)),
    _Shape(size=(3, 3), formats=("int8", "szt"), dataflow=_OS, gates=True),
    _Shape(size=(4, 5), formats=("int8", "szt"), dataflow=_OS, widths=(4, 8, 20), latencies=(0, 3, 2)),
    _Shape(size=(5, 2), formats=("int6", "pot4"), dataflow=_OS, widths=(None, 15, None), latencies=(4, 0, 0)),
    _Shape(size=(2, 4), formats=("int8", "pot3z"), dataflow=_OS, widths=(5, 64, 33)),
    _Shape(size=(1, 1), formats=("int3", "pot2"), dataflow=_OS, latencies=(1, 0, 2)),
)


def jobs(designs: Designs, seed: int, cases: int | None) -> list[Job]:
    """One job per array; `cases` counts the cases whose cycles must be exact, over all arrays."""
    total = DEFAULT_CASES if cases is None else cases
    made = []
    for index, shape in enumerate(_SHAPES):
        machine = shape.machine()
        rng = np.random.default_rng([seed, 4, index])
        exact = -(-total // len(_SHAPES))
        made.append(
            Job(
                name=f"ShiftPEArray {machine.rows}x{machine.cols} {machine.act_format} x {machine.weight_format} "
                f"{machine.dataflow}{_memories(shape)}",
                component="ShiftPEArray",
                design=partial(designs.array, machine),
                bench="streams",
                stimulus=stream_stimulus(
                    _cases(machine, exact, rng),
                    payload_bits(machine),
                    latency=read_latency(machine),
                    depth=machine.rows + machine.cols,
                    seed=int(rng.integers(2**31)),
                ),
                gates=shape.gates,
            )
        )
    return made


def _memories(shape: _Shape) -> str:
    if shape.widths == (None, None, None) and shape.latencies == (0, 0, 0):
        return ""
    words = "/".join("full" if width is None else str(width) for width in shape.widths)
    return f", memories {words} bits, {'/'.join(map(str, shape.latencies))} cycles"


def payload_bits(machine: ShiftArray) -> dict[str, int]:
    """Width of each stream's payload: a memory word and `last`."""
    return {
        "weights": machine.weight_word_bits + 1,
        "activations": machine.act_word_bits + 1,
        "partials": machine.acc_word_bits + 1,
        "results": machine.acc_word_bits + 1,
    }


def read_latency(machine: ShiftArray) -> dict[str, int]:
    """Read latency of the memory behind each source."""
    return {
        "weights": machine.weight_memory.latency_cycles,
        "activations": machine.act_memory.latency_cycles,
        "partials": machine.acc_memory.latency_cycles,
    }


def array_case(
    machine: ShiftArray, x: Ints, weight: npt.NDArray[np.uint8], bias: Ints, mapping: Mapping, **options: Any
) -> Case:
    """Return the case of one matrix product: words from the simulator's streams, cycles from its cycle model.

    Partial sums that continue a tile are not given: the bench returns the design's own results.

    Parameters
    ----------
    machine : ShiftArray
        The array.
    x : ndarray of int64, shape (m, k)
        Activations.
    weight : ndarray of uint8, shape (k, n)
        Codes.
    bias : ndarray of int64, shape (n,)
        Start of the sums.
    mapping : Mapping
        Tiles.
    **options
        Further fields of the `Case`.
    """
    run = ShiftEngine(machine).load(weight).matmul(x, bias=bias, mapping=mapping)
    vectors = streams(x, weight, bias, mapping, machine)
    shape = Workload(m=x.shape[0], k=x.shape[1], n=weight.shape[1])
    assert np.array_equal(_assembled(vectors.results, shape, mapping), run.output), "the simulator's streams are wrong"
    bits = payload_bits(machine)
    acc = (machine.acc_bits, bits["partials"] - 1)
    per_vector = machine.acc_words
    word = np.arange(per_vector, dtype=np.int64)
    source = vectors.partials_from[:, np.newaxis]
    feeds = {
        "weights": Feed(
            words=to_words(vectors.weights, machine.weights.bits, bits["weights"] - 1, vectors.weights_last)
        ),
        "activations": Feed(
            words=to_words(
                vectors.activations, machine.activations.bits, bits["activations"] - 1, vectors.activations_last
            )
        ),
        "partials": Feed(
            words=to_words(vectors.partials, *acc, vectors.partials_last),
            returns=np.where(source < 0, -1, source * per_vector + word).ravel(),
            until=np.where(source < 0, -1, source * per_vector + np.full_like(word, per_vector - 1)).ravel(),
        ),
    }
    return Case(
        feeds=feeds,
        expected={"results": to_words(vectors.results, *acc, vectors.partials_last)},
        cycles=run.cycles,
        **options,
    )


def _assembled(results: Ints, workload: Workload, mapping: Mapping) -> Ints:
    """Return the product, shape (m, n), that the result vectors of all tiles make up."""
    tiles = tile_list(workload, mapping)
    output = np.zeros((workload.m, workload.n), dtype=np.int64)
    done = 0
    for tile in range(len(tiles)):
        m, n = int(tiles.m_start[tile]), int(tiles.n_start[tile])
        rows, columns = int(tiles.m_size[tile]), int(tiles.n_size[tile])
        output[m : m + rows, n : n + columns] = results[done : done + rows, :columns]
        done += rows
    return output


def _cases(machine: ShiftArray, exact: int, rng: np.random.Generator) -> list[Case]:
    """Return cases in random order: without waits, with waits, and broken off by a reset."""
    cases = [_random_case(machine, rng, reset=bool(rng.random() < 0.3)) for _ in range(exact)]
    for _ in range(max(3, exact // 2)):
        idle = {name: float(rng.choice([0.0, 0.1, 0.5, 0.9])) for name in (*_SOURCES, "results")}
        cases.append(_random_case(machine, rng, reset=bool(rng.random() < 0.3), idle=idle))
    for number in range(max(3, exact // 4)):
        idle = dict.fromkeys((*_SOURCES, "results"), 0.3 if number % 2 else 0.0)
        cases.append(_random_case(machine, rng, cut=int(rng.integers(1, 60)), idle=idle))
    return [cases[index] for index in rng.permutation(len(cases))]


def _random_case(machine: ShiftArray, rng: np.random.Generator, **options: Any) -> Case:
    """Return a product of random shape, tiling, values and bias; small, and now and then at the ends of the ranges."""
    stationary = machine.dataflow == _WS
    m = int(rng.integers(1, 20 if stationary else 3 * machine.rows + 1))
    k = int(rng.integers(1, min(_LONGEST_SUM, 3 * machine.rows if stationary else 20) + 1))
    n = int(rng.integers(1, 3 * machine.cols + 1))
    mapping = Mapping(
        tile_m=_tile(m if stationary else machine.rows, rng),
        tile_k=_tile(machine.rows if stationary else k, rng),
        tile_n=_tile(machine.cols, rng),
        order=rng.choice(["mnk", "mkn"]),
    )
    low, high = int(machine.activations.integers.min()), int(machine.activations.integers.max())
    valid = np.flatnonzero(~np.isnan(machine.weights.values))
    x = rng.choice([low, high], size=(m, k)) if rng.random() < 0.2 else rng.integers(low, high + 1, size=(m, k))
    weight = rng.choice(valid, size=(k, n)).astype(np.uint8)
    largest = 2 ** (machine.acc_bits - 3)
    bias = rng.integers(-largest, largest, size=n)
    return array_case(machine, x, weight, bias, mapping, **options)


def _tile(largest: int, rng: np.random.Generator) -> int:
    """Return the size of a tile in one dimension: every second time the largest, else any."""
    return largest if rng.random() < 0.5 else int(rng.integers(1, largest + 1))
