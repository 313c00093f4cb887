"""Modelled against gate-level energy on operands that no coefficient was fitted to, for every machine and dataflow.

Run it as ``python bench/cross_validation.py``: it fills in the tables of docs/coefficients.md, the same bytes each
time. It trains three small networks, maps about fifty arrays and runs products on their netlists: some twenty minutes.
``--only shift``, ``simd`` or ``array`` measures one machine; ``--quick`` measures a few of its variants, prints what it
finds and writes no page.
"""

import argparse
import itertools
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from _layers import Layer, layers
from tqdm import tqdm

from tetrit import rtl
from tetrit.flow import characterise, simd_energy
from tetrit.flow.simd_array import measure_array
from tetrit.flow.stimuli import Stimulus
from tetrit.hardware import DATAFLOWS, WEIGHT_FORMATS, ShiftArray, SimdEngine
from tetrit.hardware.simd_engine import SIMD_FORMATS
from tetrit.rtl import SimdMac, SimdReadout, synthesize
from tetrit.rtl.simd.array import SimdArray
from tetrit.sim import Workload
from tetrit.sim.cost import Prices, SimdPrices
from tetrit.sim.cost.simd_switching import drained, sampled
from tetrit.sim.shift import best_mapping, cycles, events
from tetrit.sim.shift.tiles import tile_list
from tetrit.sim.simd import SimdSimulator

PAGE = Path("docs/coefficients.md")
SYNTHETIC = (
    ("normal", Stimulus(name="normal", vectors=24, act_zeros=0.0, signed=True, spread=0.15, normal_weights=True)),
    ("uniform", Stimulus(name="uniform", vectors=24, act_zeros=0.0, signed=True, spread=3.0)),
    ("sparse", Stimulus(name="sparse", vectors=24, act_zeros=0.8, spread=0.3, normal_weights=True, weight_zeros=0.6)),
)
"""Operands drawn from another seed than those of the fit."""
_SEED = 20_000
_ARRAY_PAIRS = (*((name, name) for name in SIMD_FORMATS), ("posit8_0", "fp4_e2m1"), ("posit16_1", "posit8_0"))
_PARTS = ("elements", "read-outs", "skew and control")
TARGET = 0.10


@dataclass(frozen=True, kw_only=True)
class Case:
    """A product on a machine: errors of the model as shares of the netlist's energy."""

    machine: str
    variant: str
    operands: str
    real: bool
    own: float
    unknown: float


def shift_machines(*, quick: bool) -> Iterator[tuple[str, ShiftArray]]:
    """Yield the arrays that are tried, each with the group that it is reported in."""
    eight = ShiftArray(rows=8, cols=8)
    for dataflow in DATAFLOWS:
        base = eight.replace(dataflow=dataflow)
        for name in WEIGHT_FORMATS[:2] if quick else WEIGHT_FORMATS:
            yield "8 x 8, int8", base.replace(weight_format=name)
        if quick:
            continue
        for rows, cols in ((4, 4), (16, 4), (4, 16), (16, 16)):
            for name in ("szt", "pot4", "posit4_1"):
                yield f"{rows} x {cols}, int8", base.replace(rows=rows, cols=cols, weight_format=name)
        for act_format, acc_bits in (("int4", 20), ("int16", 36)):
            for name in ("szt", "pot4"):
                wide = base.replace(weight_format=name, act_format=act_format, acc_bits=acc_bits)
                yield f"8 x 8, {act_format}, {acc_bits}-bit sums", wide


def shift(real: list[Layer], *, quick: bool) -> Iterator[Case]:
    """Yield the cases of all arrays."""
    for group, machine in tqdm(list(shift_machines(quick=quick)), desc="shift arrays", file=sys.stderr):
        yield from shift_cases(group, machine, real)


def shift_cases(group: str, machine: ShiftArray, real: list[Layer]) -> Iterator[Case]:
    """Yield a case for every layer and every synthetic product."""
    array = synthesize(rtl.build("ShiftPEArray", machine))
    products: list[tuple[str, bool, Any]] = [(layer.name, True, layer.on_shift(machine)) for layer in real]
    for place, (name, stimulus) in enumerate(SYNTHETIC):
        rng = np.random.default_rng([_SEED, place])
        x = stimulus.acts(machine.activations, stimulus.vectors, 48, rng)
        weight = stimulus.weights(machine.weights, 48, 24, rng).astype(np.uint8)
        products.append((name, False, (x, weight, np.zeros(24, dtype=np.int64))))
    unknown = Prices.modelled(machine)
    for name, is_real, (x, weight, bias) in products:
        workload = Workload(m=x.shape[0], k=x.shape[1], n=weight.shape[1])
        mapping = best_mapping(workload, machine)
        measured = characterise.measure(machine, array, x, weight, bias, mapping).total_pj
        tiles = tile_list(workload, mapping)
        nonzero = int(np.count_nonzero(machine.weights.integers[weight]))
        happened = events.of_tiles(
            workload, tiles, machine, active=workload.m * nonzero, n_cycles=cycles.count_tiles(tiles, machine)
        )
        own = Prices.of_operands(x, weight, bias, mapping, machine)
        yield Case(
            machine=f"shift array, {machine.dataflow.replace('_', ' ')}",
            variant=f"{group}; {machine.weight_format}",
            operands=name,
            real=is_real,
            own=own.breakdown(happened, machine)["array"] / measured - 1.0,
            unknown=unknown.breakdown(happened, machine)["array"] / measured - 1.0,
        )


def simd(real: list[Layer], *, quick: bool) -> Iterator[Case]:
    """Yield the cases of every pair of formats: as many steps and results as a product has, of those that are run."""
    pairs = list(itertools.product(SIMD_FORMATS[:1] if quick else SIMD_FORMATS, repeat=2))
    with tqdm(total=2 * len(pairs), desc="SIMD engine", file=sys.stderr) as bar:
        for gating in (True, False):
            one = SimdEngine(rows=1, cols=1, gating=gating)
            element, readout = synthesize(SimdMac(one)), synthesize(SimdReadout(one))
            for pair in pairs:
                for named in _operands(real, *pair):
                    yield _simd_case(one.replace(rows=8, cols=8), element, readout, *pair, *named)
                bar.update()


def simd_arrays(real: list[Layer], *, quick: bool) -> Iterator[Case]:
    """Yield the cases of whole arrays, with everything around elements and read-outs, on small products."""
    for size in (2,) if quick else (2, 4):
        machine = SimdEngine(rows=size, cols=size)
        array = synthesize(SimdArray(machine))
        for pair in tqdm(_ARRAY_PAIRS, desc=f"SIMD array {size} x {size}", file=sys.stderr):
            for layer in real:
                x, weight = layer.on_simd(*pair)
                x, weight = x[:8], weight[:, :8]
                run = measure_array(array, machine, x, weight, *pair)
                assert not run.mismatches, "the netlist computes what the simulator does"
                simulator = SimdSimulator(machine).load(weight, weight_format=pair[1])
                happened = simulator.matmul(x, act_format=pair[0], out_format=pair[0]).events
                errors = [
                    sum(prices.breakdown(happened, machine)[part] for part in _PARTS) / run.total_pj - 1.0
                    for prices in (
                        SimdPrices.of_operands(x, weight, machine, *pair),
                        SimdPrices.modelled(machine, *pair),
                    )
                ]
                yield Case(
                    machine="SIMD array",
                    variant=f"{size} x {size}, {pair[0]} x {pair[1]}",
                    operands=layer.name,
                    real=True,
                    own=errors[0],
                    unknown=errors[1],
                )


def _operands(real: list[Layer], act: str, weight: str) -> Iterator[tuple[str, bool, Any, Any]]:
    for layer in real:
        yield layer.name, True, *layer.on_simd(act, weight)
    for name, stimulus in (
        ("normal", simd_energy.STIMULI[4]),
        ("sparse", simd_energy.STIMULI[10]),
    ):
        yield name, False, *stimulus.operands(act, weight, _SEED)


def _simd_case(
    machine: SimdEngine, element: Any, readout: Any, act: str, weight: str, name: str, is_real: bool, x: Any, w: Any
) -> Case:
    mode, single = machine.mode(act, weight), machine.replace(rows=1, cols=1)
    steps, results = len(x) * w.shape[1] * -(-x.shape[1] // mode.lanes), len(x) * w.shape[1]
    words = sampled(x, w, mode, machine)
    quires = drained(x, w, mode, machine)
    per_step = simd_energy.measure_element(element, single, words) / len(words.last)
    per_result = simd_energy.measure_readout(readout, single, words, quires, [0] * len(quires)) / len(quires)
    measured = steps * per_step + results * per_result

    def error(prices: SimdPrices) -> float:
        return (steps * prices.element_step_pj + results * prices.readout_pj) / measured - 1.0

    return Case(
        machine=f"SIMD engine, {'with' if machine.gating else 'without'} gating",
        variant=f"{act} x {weight}",
        operands=name,
        real=is_real,
        own=error(SimdPrices.of_operands(x, w, machine, act, weight)),
        unknown=error(SimdPrices.modelled(machine, act, weight)),
    )


def _row(label: str, cases: list[Case]) -> str:
    own = np.array([case.own for case in cases])
    unknown = np.array([case.unknown for case in cases])
    worst = cases[int(np.abs(own).argmax())]
    return (
        f"| {label} | {len(cases)} | {_spread(own)} | {100 * float((np.abs(own) <= TARGET).mean()):.1f} "
        f"| {worst.operands} | {_spread(unknown)} |"
    )


def _spread(errors: Any) -> str:
    sizes = np.abs(errors)
    figures = (np.median(sizes), np.quantile(sizes, 0.9), sizes.max())
    return " | ".join([*(f"{100 * float(figure):.1f}" for figure in figures), f"{100 * float(errors.mean()):+.1f}"])


_HEAD = (
    "| {} | products | median | 90 % | worst | bias | within 10 % | worst operands | median | 90 % | worst | bias |",
    "| --- | ---: | ---: | ---: | ---: | ---: | ---: | --- | ---: | ---: | ---: | ---: |",
)


def to_markdown(cases: list[Case]) -> str:
    """Return the tables of one kind of machine: all, by variant, by operands, and the products that are missed."""
    lines = [line.format("all") for line in _HEAD]
    machines = list(dict.fromkeys(case.machine for case in cases))
    for machine in machines:
        for real, title in ((True, "layers of networks"), (False, "synthetic operands")):
            found = [case for case in cases if case.machine == machine and case.real == real]
            lines += [_row(f"{machine}: {title}", found)] if found else []
    for machine in machines:
        own = [case for case in cases if case.machine == machine]
        lines += ["", *(line.format(machine) for line in _HEAD)]
        for variant in dict.fromkeys(case.variant for case in own):
            lines.append(_row(variant, [case for case in own if case.variant == variant]))
    lines += ["", *(line.format("operands") for line in _HEAD)]
    for operands in dict.fromkeys(case.operands for case in cases):
        lines.append(_row(operands, [case for case in cases if case.operands == operands]))
    missed = sorted((case for case in cases if abs(case.own) > TARGET), key=lambda case: -abs(case.own))
    lines += ["", f"Beyond 10 %: {len(missed)} of {len(cases)} products{':' if missed else '.'}"]
    lines += (
        ["", *(f"- {c.machine}, {c.variant}, {c.operands}: {100 * c.own:+.1f} %" for c in missed)] if missed else []
    )
    return "\n".join(lines)


def fill(kind: str, text: str) -> None:
    """Put tables in their place on the page."""
    begin, end = (f"<!-- {kind}: {side} -->" for side in ("begin", "end"))
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(f"{page.split(begin)[0]}{begin}\n\n{text}\n\n{end}{page.split(end)[1]}", encoding="utf-8")
    print(f"{kind}: written to {PAGE}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("shift", "simd", "array"))
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    real = layers()
    for kind, run in (("shift", shift), ("simd", simd), ("array", simd_arrays)):
        if args.only in (None, kind):
            text = to_markdown(list(run(real, quick=args.quick)))
            if args.quick:
                print(text)
            else:
                fill(kind, text)


if __name__ == "__main__":
    main()
