"""What shift arrays and SIMD engines cost, with their scratchpads."""

__all__ = ["NODE_NM", "rows"]

import math

from tetrit.errors import InvalidValueError
from tetrit.flow.costing.rows import Row, Target, added, converted, times
from tetrit.hardware import Memory, ShiftArray, SimdEngine
from tetrit.hls.mapping import NetworkMapping, Traffic
from tetrit.sim.cost import Prices, SimdPrices
from tetrit.sim.cost.area import machine_area
from tetrit.sim.cost.figure import Figure, Origin
from tetrit.sim.cost.memory import MEMORY_NAMES, Sram, memories, price_origins, sram

NODE_NM, _VOLTAGE_V = 130.0, 1.2
"""Node and supply of the cells, and of the macros of memories."""

_SHIFT_EVENTS = {
    "pe_idle": "an element, clocked, no work",
    "pe_zero": "an element, zero weight",
    "pe_active": "an element, nonzero weight",
}
_SIMD_EVENTS = {
    "element_step": "an element, a step",
    "element_idle": "an element, clocked, no step",
    "readout": "a read-out, a result",
    "readout_idle": "a read-out, clocked, no result",
}
_ARRAY_ENERGY = ("array", "elements", "read-outs")


def rows(
    machine: ShiftArray | SimdEngine, mapped: NetworkMapping | None, target: Target, formats: tuple[str, str]
) -> tuple[list[Row], list[str], list[str]]:
    """Return the rows of a digital machine, what has no price, and what does not fit together."""
    if target.node_nm == NODE_NM and target.voltage_v not in (None, _VOLTAGE_V):
        raise InvalidValueError(
            f"`voltage_v` must be {_VOLTAGE_V:g} V at {NODE_NM:g} nm, the cells' own node, got {target.voltage_v:g}"
        )
    found = [*_area(machine, target), *_events(machine, target, formats)]
    scratchpads, warnings = _scratchpads(machine, target)
    found += scratchpads
    if mapped is not None:
        found += [*_latency(mapped, target), *_energy(machine, mapped, target, formats)]
    missing = ["requantisation and control: energy", "off-chip interface: area"]
    if isinstance(machine, ShiftArray) and Prices.modelled(machine).pe_zero_pj is None:
        missing.append(f"event `pe_zero`: {machine.weight_format} has no zero")
    if isinstance(machine, SimdEngine):
        missing.append("skew registers of the array: area and energy")
    if target.node_nm not in (None, NODE_NM):
        missing.append("leakage at another node than the library's: no factor is known")
    return found, missing, warnings


def _moved(figure: Figure, target: Target) -> Figure | None:
    return target.scaled(figure, NODE_NM, _VOLTAGE_V)


def _area(machine: ShiftArray | SimdEngine, target: Target) -> list[Row]:
    found = []
    there = {MEMORY_NAMES[name]: _at(entry, target) for name, entry in memories(machine).items()}
    for component, um2 in machine_area(machine).items():
        own = converted(um2, "mm2")
        if component in there:
            model = there[component]
            scaled = None if model is None else converted(model.area, "mm2")
        else:
            scaled = _moved(own, target)
        found.append(Row(quantity="area", component=component, own=own, scaled=scaled))
    return found


def _events(machine: ShiftArray | SimdEngine, target: Target, formats: tuple[str, str]) -> list[Row]:
    prices: Prices | SimdPrices
    if isinstance(machine, ShiftArray):
        prices, names = Prices.modelled(machine), _SHIFT_EVENTS
    else:
        prices, names = SimdPrices.modelled(machine, *formats), _SIMD_EVENTS
    found = []
    for event, component in names.items():
        price_pj = getattr(prices, f"{event}_pj")
        if price_pj is not None:
            own = Figure(value=price_pj, unit="pJ", origin="modelled", source=prices.source)
            found.append(Row(quantity="event", component=component, own=own, scaled=_moved(own, target)))
    return found


def _at(entry: tuple[Memory, int, int], target: Target) -> Sram | None:
    """Return the model of a scratchpad at the other node."""
    if target.node_nm is None or target.node_nm == NODE_NM:
        return None
    memory, word_bits, ports = entry
    return sram(
        memory.size_bytes,
        word_bits,
        ports=ports,
        node_nm=target.node_nm,
        voltage_v=target.voltage_v,
        table=target.table,
        process=target.process,
    )


def _stated(memory: Memory, word_bits: int, verb: str, origin: Origin) -> Figure:
    """Return the energy of a word as the machine's file has it."""
    per_bit = memory.read_pj_per_bit if verb == "read" else memory.write_pj_per_bit
    return Figure(value=per_bit * word_bits, unit="pJ", origin=origin, source=memory.energy_source or "not stated")


def _words(machine: ShiftArray | SimdEngine, target: Target) -> dict[str, dict[str, tuple[Figure, Figure | None]]]:
    """Return the energy of a word of each scratchpad, read and written, at both nodes."""
    found, origins = {}, price_origins(machine)
    for field, (memory, word_bits, ports) in memories(machine).items():
        model, there = sram(memory.size_bytes, word_bits, ports=ports), _at((memory, word_bits, ports), target)
        entry: dict[str, tuple[Figure, Figure | None]] = {}
        for verb in ("read", "write"):
            if origins[MEMORY_NAMES[field]] == "modelled":
                entry[verb] = getattr(model, verb), None if there is None else getattr(there, verb)
            else:
                own = _stated(memory, word_bits, verb, origins[MEMORY_NAMES[field]])
                entry[verb] = own, _moved(own, target)
        found[field] = entry
    return found


def _scratchpads(machine: ShiftArray | SimdEngine, target: Target) -> tuple[list[Row], list[str]]:
    found, late = [], []
    clock = Figure(value=1e3 / machine.clock_mhz, unit="ns", origin="assumed", source="the machine's `clock_mhz`")
    found.append(Row(quantity="time", component="clock period", own=clock, scaled=_moved(clock, target)))
    words = _words(machine, target)
    for field, (memory, word_bits, ports) in memories(machine).items():
        name = MEMORY_NAMES[field]
        model, there = sram(memory.size_bytes, word_bits, ports=ports), _at((memory, word_bits, ports), target)
        for verb, (own, scaled) in words[field].items():
            component = f"{name}, {word_bits} bits {'read' if verb == 'read' else 'written'}"
            found.append(Row(quantity="event", component=component, own=own, scaled=scaled))
        found.append(
            Row(
                quantity="time",
                component=f"{name}, access",
                own=model.access,
                scaled=None if there is None else there.access,
            )
        )
        assert model.leakage is not None
        found.append(Row(quantity="leakage", component=name, own=model.leakage))
        cycles = max(1, memory.latency_cycles)
        if model.access.value > cycles * clock.value:
            late.append(
                f"{name}: an access takes {model.access.value:.3g} ns at {NODE_NM:g} nm, longer than its latency of "
                f"{cycles * clock.value:.3g} ns at {machine.clock_mhz:g} MHz"
            )
    return found, late


def _latency(mapped: NetworkMapping, target: Target) -> list[Row]:
    """Return the time of a network, on the machine's clock and on one that is faster by the delay factor."""
    period_us = 1.0 / mapped.machine.clock_mhz
    own = Figure(
        value=mapped.latency_us, unit="us", origin="modelled", source="cycle model of tetrit.sim at the machine's clock"
    )
    scaled = _moved(Figure(value=1.0, unit="us", origin="modelled", source=own.source), target)
    if scaled is not None:
        assert scaled.low is not None and scaled.high is not None
        at = {
            factor: period_us * sum(max(layer.array_cycles * factor, layer.off_chip_cycles) for layer in mapped.layers)
            for factor in (scaled.value, scaled.low, scaled.high)
        }
        scaled = Figure(
            value=at[scaled.value],
            unit="us",
            origin="modelled",
            source=f"{scaled.source}; off-chip memory as fast as before",
            low=at[scaled.low],
            high=at[scaled.high],
        )
    return [Row(quantity="latency", component="network", own=own, scaled=scaled)]


def _energy(
    machine: ShiftArray | SimdEngine, mapped: NetworkMapping, target: Target, formats: tuple[str, str]
) -> list[Row]:
    found = []
    source = (
        Prices.modelled(machine).source
        if isinstance(machine, ShiftArray)
        else SimdPrices.modelled(machine, *formats).source
    )
    for component in _ARRAY_ENERGY:
        if component in mapped.breakdown:
            own = Figure(value=mapped.breakdown[component] * 1e-6, unit="uJ", origin="modelled", source=source)
            found.append(Row(quantity="energy", component=component, own=own, scaled=_moved(own, target)))
    words = _words(machine, target)
    for field, (_, word_bits, _) in memories(machine).items():
        name = MEMORY_NAMES[field]
        moved = mapped.traffic.get(name, Traffic(read_bytes=0, write_bytes=0))
        counts = {"read": 8 * moved.read_bytes / word_bits, "write": 8 * moved.write_bytes / word_bits}
        ends: list[Figure | None] = []
        for place in (0, 1):
            parts = [(words[field][verb][place], counts[verb]) for verb in counts]
            if any(figure is None for figure, _ in parts):
                ends.append(None)
                continue
            energies = [times(figure, 1e-6 * count, "uJ") for figure, count in parts if figure is not None]
            ends.append(added(energies, energies[0].source))
        assert ends[0] is not None
        found.append(Row(quantity="energy", component=name, own=ends[0], scaled=ends[1]))
    assert all(math.isfinite(row.own.value) for row in found)
    return found
