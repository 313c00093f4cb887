"""What analog crossbars cost, with their converters."""

__all__ = ["NODE_NM", "rows"]

from collections import Counter

from tetrit.errors import InvalidValueError
from tetrit.flow.costing.rows import Row, Target, converted
from tetrit.hardware import Crossbar
from tetrit.hls.mapping import NetworkMapping
from tetrit.sim.cost import AnalogPrices
from tetrit.sim.cost.crossbar_area import crossbar_area
from tetrit.sim.cost.figure import Figure
from tetrit.sim.cost.scaling import NodeTable
from tetrit.sim.crossbar import cycles
from tetrit.sim.crossbar.mapping import Layout

NODE_NM = 32.0
"""Node of most figures of converters that are at hand."""


def rows(machine: Crossbar, mapped: NetworkMapping | None, target: Target) -> tuple[list[Row], list[str], list[str]]:
    """Return the rows of crossbars, what has no price, and what does not fit together."""
    if target.table is not NodeTable.modelled() or target.voltage_v is not None or target.process != "hp":
        raise InvalidValueError(
            "what surrounds a crossbar is scaled by the committed table at nominal supplies (hp): give the node alone"
        )
    there = target.node_nm if target.node_nm != NODE_NM else None
    arrays = 1 if mapped is None else sum(layer.mapping.arrays * layer.runs for layer in mapped.layers)
    own_area = crossbar_area(machine, arrays=arrays, node_nm=NODE_NM)
    area = {} if there is None else crossbar_area(machine, arrays=arrays, node_nm=there)
    found = [
        Row(
            quantity="area",
            component=f"{name}, {arrays:,} {'array' if arrays == 1 else 'arrays'}",
            own=figure,
            scaled=area.get(name),
        )
        for name, figure in own_area.items()
    ]
    prices = AnalogPrices.survey(machine, node_nm=NODE_NM)
    moved = None if there is None else AnalogPrices.survey(machine, node_nm=there)
    events = dict(prices.figures)
    scaled = {} if moved is None else dict(moved.figures)
    ramps = () if machine.ramp is not None else ("ramp_comparison", "ramp_cell_read")
    found += [
        Row(quantity="event", component=event.replace("_", " "), own=figure, scaled=scaled.get(event))
        for event, figure in events.items()
        if event not in ramps
    ]
    missing = [
        "requantisation, bias and control: area and energy",
        "memories for activations: area and energy",
        "programming: its energy, which comes once",
        "leakage",
    ]
    if mapped is not None:
        found += [_latency(mapped), *_energy(machine, mapped, prices, moved)]
        if there is not None:
            missing.append("latency at another node: converters do not follow the delay of gates")
    return found, missing, []


def _latency(mapped: NetworkMapping) -> Row:
    own = Figure(
        value=mapped.latency_us, unit="us", origin="modelled", source="cycle model of tetrit.sim at the machine's clock"
    )
    return Row(quantity="latency", component="network", own=own)


def _energy(machine: Crossbar, mapped: NetworkMapping, prices: AnalogPrices, moved: AnalogPrices | None) -> list[Row]:
    events: Counter[str] = Counter()
    cells_pj = 0.0
    for layer in mapped.layers:
        product = layer.workload
        layout = Layout(machine=machine, n_in=product.k * layer.packed, n_out=product.n * layer.packed)
        for event, count in cycles.events(layout).items():
            events[event] += count * product.m * layer.runs
        cells_pj += layer.breakdown["cells"]
    own = prices.figures_of(events, machine, cells_pj=cells_pj)
    scaled = {} if moved is None else moved.figures_of(events, machine, cells_pj=cells_pj)
    return [
        Row(
            quantity="energy",
            component=name,
            own=converted(figure, "uJ"),
            scaled=converted(scaled[name], "uJ") if name in scaled else None,
        )
        for name, figure in own.items()
    ]
