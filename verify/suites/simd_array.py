"""How the SIMD array is verified: random products, formats and memories against the simulator's results and cycles."""

__all__ = ["array_jobs", "jobs", "payload_bits", "product_case"]

from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from tetrit import formats
from tetrit.hardware import Memory
from tetrit.hardware.simd_engine import SIMD_FORMATS, SimdEngine
from tetrit.rtl.simd.array import TileMode
from tetrit.rtl.simd.modes import FORMAT_CODES
from tetrit.sim import Workload
from tetrit.sim.simd import cycles, quire_matmul
from tetrit.sim.simd.streams import pack
from tetrit.verify.suites.job import Case, Feed, Job, stream_stimulus
from tetrit.verify.suites.simd_designs import SimdDesigns
from tetrit.verify.suites.simd_status import status_jobs
from tetrit.verify.words import pack_fields, to_words

Ints = npt.NDArray[np.int64]

DEFAULT_CASES = 200
_SIZES = ((2, 2, None, None), (2, 3, 16, 20), (3, 1, None, None), (1, 2, 32, 7))
"""Rows, columns, and widths of the words of operands and of results."""

_SOURCES = ("weights", "activations", "tiles")


def jobs(designs: SimdDesigns, seed: int, cases: int | None) -> list[Job]:
    """Return all jobs of the array."""
    return array_jobs(designs, seed, cases) + status_jobs(designs, seed, cases)


def array_jobs(designs: SimdDesigns, seed: int, cases: int | None) -> list[Job]:
    """One job per array; `cases` counts the cases whose cycles must be exact, over all arrays."""
    total = DEFAULT_CASES if cases is None else cases
    made = []
    for index, (rows, cols, operand_bits, result_bits) in enumerate(_SIZES):
        machine = SimdEngine(
            rows=rows,
            cols=cols,
            weight_memory=Memory(width_bits=operand_bits),
            act_memory=Memory(width_bits=operand_bits),
            result_memory=Memory(width_bits=result_bits),
            gating=index % 2 == 0,
        )
        rng = np.random.default_rng([seed, 8, index])
        exact = -(-total // len(_SIZES))
        chosen = [_random_case(machine, rng) for _ in range(exact)]
        for number in range(max(3, exact // 2)):
            idle = {name: float(rng.choice([0.0, 0.1, 0.5])) for name in (*_SOURCES, "results")}
            cut = int(rng.integers(1, 60)) if number % 3 == 2 else -1
            chosen.append(_random_case(machine, rng, idle=idle, cut=cut))
        chosen += [_in_sequence([_random_case(machine, rng) for _ in range(4)]) for _ in range(max(3, exact // 4))]
        made.append(
            Job(
                name=f"SimdArray {rows}x{cols}"
                + (f", words of {operand_bits} and {result_bits} bits" if operand_bits else ""),
                component="SimdArray",
                design=partial(designs.array, machine),
                bench="streams",
                stimulus=stream_stimulus(
                    [chosen[number] for number in rng.permutation(len(chosen))],
                    payload_bits(machine),
                    depth=rows + cols + machine.mac_latency + machine.readout_latency,
                    seed=int(rng.integers(2**31)),
                ),
                gates=False,
            )
        )
    return made


def payload_bits(machine: SimdEngine) -> dict[str, int]:
    """Width of each stream's payload."""
    return {
        "weights": machine.weight_word_bits + 1,
        "activations": machine.act_word_bits + 1,
        "tiles": TileMode(machine).size,
        "results": machine.result_word_bits + 1,
    }


def product_case(
    machine: SimdEngine,
    a: npt.NDArray[Any],
    b: npt.NDArray[Any],
    bias: Ints,
    *,
    pair: tuple[str, str],
    out_format: str,
    relu: bool,
    shift: int,
    **options: Any,
) -> Case:
    """Return the case of one product after a reset: codes from `quire_matmul`, cycles from the cycle model.

    Parameters
    ----------
    machine : SimdEngine
        The array.
    a, b : ndarray of int, shape (m, k), (k, n)
        Codes.
    pair : tuple of str
        Their formats.
    bias, out_format, relu, shift
        As of `quire_matmul`.
    **options
        Further fields of the `Case`.
    """
    (m, k), n = a.shape, b.shape[1]
    rows, cols = machine.rows, machine.cols
    down, across = -(-m // rows) * rows - m, -(-n // cols) * cols - n
    a, b = np.pad(a, ((0, down), (0, 0))), np.pad(b, ((0, 0), (0, across)))
    bias = np.pad(bias, (0, across))
    output = quire_matmul(a, b, *pair, out_format, bias=bias, relu=relu, shift=shift)
    lanes = machine.mode(*pair).lanes
    row_words, column_words = pack(a, lanes), pack(b.T, lanes)
    acts, weights, tiles, results, ends = [], [], [], [], []
    for top in range(0, m, rows):
        used = min(rows, m - top)
        for left in range(0, n, cols):
            acts.append(row_words[top : top + rows].T)
            weights.append(column_words[left : left + cols].T)
            tiles.append((used - 1, bias[left : left + cols]))
            results.append(output[top : top + used, left : left + cols])
            ends.append(np.arange(used) == used - 1)
    n_steps = row_words.shape[1]
    last = np.tile(np.arange(n_steps) == n_steps - 1, len(tiles))
    formed = [FORMAT_CODES[name] for name in (*pair, out_format)]
    fields: list[tuple[npt.ArrayLike, int]] = [(np.full(len(tiles), code), 2) for code in formed]
    fields += [(np.full(len(tiles), int(relu)), 1), (np.full(len(tiles), shift), 7)]
    fields.append((np.array([row for row, _ in tiles]), max(1, (rows - 1).bit_length())))
    fields += [(np.array([biases[column] for _, biases in tiles]), machine.quire_bits) for column in range(cols)]
    first = Workload(m=m, k=k, n=n)
    switched = pair != (SIMD_FORMATS[0], SIMD_FORMATS[0])  # what a reset sets
    return Case(
        feeds={
            "weights": Feed(words=to_words(np.concatenate(weights), 16, machine.weight_word_bits, last)),
            "activations": Feed(words=to_words(np.concatenate(acts), 16, machine.act_word_bits, last)),
            "tiles": Feed(words=pack_fields(fields)),
        },
        expected={
            "results": to_words(np.concatenate(results), 16, machine.result_word_bits, np.concatenate(ends)),
        },
        cycles=cycles.count(first, machine, *pair) + switched * machine.mode_switch_cycles,
        **options,
    )


def _in_sequence(cases: list[Case]) -> Case:
    """Return products one right after the other, whose formats may differ, as one case of unpredicted length."""
    feeds = {name: Feed(words=np.concatenate([case.feeds[name].words for case in cases])) for name in cases[0].feeds}
    return Case(feeds=feeds, expected={"results": np.concatenate([case.expected["results"] for case in cases])})


def _random_case(machine: SimdEngine, rng: np.random.Generator, **options: Any) -> Case:
    """Return a product of random shape, formats, codes and bias."""
    m, n = (int(rng.integers(1, 3 * size + 1)) for size in (machine.rows, machine.cols))
    k = int(rng.integers(1, 30))
    pair = (str(rng.choice(SIMD_FORMATS)), str(rng.choice(SIMD_FORMATS)))
    out_format = str(rng.choice(SIMD_FORMATS))
    operands = []
    for name, shape in zip(pair, ((m, k), (k, n)), strict=True):
        fmt = formats.get(name)
        codes = np.arange(1 << fmt.bits)
        if out_format == "fp4_e2m1" or rng.random() < 0.7:
            codes = codes[~np.isnan(fmt.values)]
        operands.append(rng.choice(codes, size=shape))
    return product_case(
        machine,
        operands[0],
        operands[1],
        rng.integers(-(1 << 12), 1 << 12, size=n),
        pair=pair,
        out_format=out_format,
        relu=bool(rng.random() < 0.3),
        shift=int(rng.integers(-10, 11)),
        **options,
    )
