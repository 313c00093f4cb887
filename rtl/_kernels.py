"""The authority for the compiled loops over flat netlists: topological order, arrival times, cycle-based simulation."""

__all__ = ["arrivals", "interpolate", "propagate", "simulate", "topological_order"]

from typing import Any, TypeAlias

import numba as nb
import numpy as np
from numpy.typing import NDArray

Ints: TypeAlias = NDArray[np.signedinteger[Any]]
Bits: TypeAlias = NDArray[np.uint8]
Tables: TypeAlias = NDArray[np.uint64]
Flags: TypeAlias = NDArray[np.bool_]
Times: TypeAlias = NDArray[np.float64]

_MAX_ROUNDS = 64  # of asynchronous clear and preset in one cycle


@nb.njit(cache=True)
def topological_order(
    is_logic: Flags, in_start: Ints, in_nets: Ints, out_start: Ints, out_nets: Ints, n_nets: int
) -> Ints:
    """Return the logic cells, each after the logic cells that drive it; fewer than all where there is a loop."""
    n_cells = len(is_logic)
    driver = np.full(n_nets, -1, dtype=np.int32)
    for cell in range(n_cells):
        if is_logic[cell]:
            for k in range(out_start[cell], out_start[cell + 1]):
                driver[out_nets[k]] = cell
    fan_start = np.zeros(n_cells + 1, dtype=np.int64)
    waiting = np.zeros(n_cells, dtype=np.int32)
    for cell in range(n_cells):
        if is_logic[cell]:
            for k in range(in_start[cell], in_start[cell + 1]):
                source = driver[in_nets[k]]
                if source >= 0:
                    fan_start[source + 1] += 1
                    waiting[cell] += 1
    for cell in range(n_cells):
        fan_start[cell + 1] += fan_start[cell]
    fan = np.empty(fan_start[n_cells], dtype=np.int32)
    fill = fan_start[:-1].copy()
    for cell in range(n_cells):
        if is_logic[cell]:
            for k in range(in_start[cell], in_start[cell + 1]):
                source = driver[in_nets[k]]
                if source >= 0:
                    fan[fill[source]] = cell
                    fill[source] += 1
    order = np.empty(n_cells, dtype=np.int32)
    count = 0
    for cell in range(n_cells):
        if is_logic[cell] and waiting[cell] == 0:
            order[count] = cell
            count += 1
    done = 0
    while done < count:
        cell = order[done]
        done += 1
        for k in range(fan_start[cell], fan_start[cell + 1]):
            sink = fan[k]
            waiting[sink] -= 1
            if waiting[sink] == 0:
                order[count] = sink
                count += 1
    return order[:count]


@nb.njit(cache=True)
def arrivals(
    order: Ints, in_start: Ints, in_nets: Ints, out_start: Ints, out_nets: Ints, out_delay: Times, arrival: Times
) -> Ints:
    """Propagate arrival times in place; return, per net, the net that decided it (-1: a start).

    `arrival` holds the start times of nets that flip-flops or ports drive and -inf elsewhere.
    """
    before = np.full(len(arrival), -1, dtype=np.int32)
    for cell in order:
        latest = -np.inf
        cause = -1
        for k in range(in_start[cell], in_start[cell + 1]):
            net = in_nets[k]
            if arrival[net] > latest:
                latest = arrival[net]
                cause = net
        for k in range(out_start[cell], out_start[cell + 1]):
            net = out_nets[k]
            arrival[net] = latest + out_delay[k]
            before[net] = cause
    return before


@nb.njit(cache=True)
def _at(table: int, x: float, y: float, xs: Times, n_x: Ints, ys: Times, n_y: Ints, values: Times) -> float:
    """Return a table's value at (x, y): linear between its points and, along its last stretch, beyond them."""
    i, j = 0, 0
    while i < n_x[table] - 2 and x > xs[table, i + 1]:
        i += 1
    while j < n_y[table] - 2 and y > ys[table, j + 1]:
        j += 1
    along = 0.0
    if n_x[table] > 1:
        along = (x - xs[table, i]) / (xs[table, i + 1] - xs[table, i])
    low = values[table, i, j]
    if n_x[table] > 1:
        low += along * (values[table, i + 1, j] - low)
    if n_y[table] == 1:
        return low
    high = values[table, i, j + 1]
    if n_x[table] > 1:
        high += along * (values[table, i + 1, j + 1] - high)
    return low + (y - ys[table, j]) / (ys[table, j + 1] - ys[table, j]) * (high - low)


@nb.njit(cache=True)
def interpolate(tables: Ints, x: Times, y: Times, xs: Times, n_x: Ints, ys: Times, n_y: Ints, values: Times) -> Times:
    """Return the value of ``tables[k]`` at ``(x[k], y[k])`` for all k."""
    found = np.empty(len(tables))
    for k in range(len(tables)):
        found[k] = _at(tables[k], x[k], y[k], xs, n_x, ys, n_y, values)
    return found


@nb.njit(cache=True)
def propagate(
    order: Ints,
    launch: bool,
    ideal_slew: float,
    in_start: Ints,
    in_nets: Ints,
    out_start: Ints,
    out_nets: Ints,
    out_kind: Ints,
    load: Times,
    arc_start: Ints,
    arc_pin: Ints,
    arc_from: Ints,
    arc_to: Ints,
    arc_delay: Ints,
    arc_slew: Ints,
    xs: Times,
    n_x: Ints,
    ys: Times,
    n_y: Ints,
    values: Times,
    arrival: Times,
    slew: Times,
    before: Ints,
) -> None:
    """Propagate arrival times and transitions of rising (row 0) and falling edges (row 1) through cells, in place.

    Arcs that `launch` start at time 0 with a transition of `ideal_slew`, others at their input's; the latest arrival
    and the slowest transition win. `before` is the edge and net that decided: ``edge * n_nets + net``.
    """
    n_nets = arrival.shape[1]
    for cell in order:
        for k in range(out_start[cell], out_start[cell + 1]):
            out = out_nets[k]
            for arc in range(arc_start[out_kind[k]], arc_start[out_kind[k] + 1]):
                net = in_nets[in_start[cell] + arc_pin[arc]]
                edge, to = arc_from[arc], arc_to[arc]
                start = 0.0 if launch else arrival[edge, net]
                if start == -np.inf:
                    continue
                came = ideal_slew if launch else slew[edge, net]
                at = start + _at(arc_delay[arc], load[out], came, xs, n_x, ys, n_y, values)
                if at > arrival[to, out]:
                    arrival[to, out] = at
                    before[to, out] = -1 if launch else edge * n_nets + net
                if arc_slew[arc] >= 0:
                    shape = _at(arc_slew[arc], load[out], came, xs, n_x, ys, n_y, values)
                    slew[to, out] = max(slew[to, out], shape)


@nb.njit(cache=True)
def _settle(
    values: Bits, order: Ints, in_start: Ints, in_nets: Ints, out_start: Ints, out_nets: Ints, out_table: Tables
) -> None:
    for cell in order:
        index = 0
        first = in_start[cell]
        for k in range(first, in_start[cell + 1]):
            index |= nb.int64(values[in_nets[k]]) << (k - first)
        for k in range(out_start[cell], out_start[cell + 1]):
            values[out_nets[k]] = (out_table[k] >> nb.uint64(index)) & nb.uint64(1)


@nb.njit(cache=True)
def _lookup(values: Bits, table: Any, nets: Ints, first: Any, last: Any) -> Any:
    index = 0
    for k in range(first, last):
        index |= nb.int64(values[nets[k]]) << (k - first)
    return (table >> nb.uint64(index)) & nb.uint64(1)


@nb.njit(cache=True)
def simulate(
    values: Bits,
    order: Ints,
    in_start: Ints,
    in_nets: Ints,
    out_start: Ints,
    out_nets: Ints,
    out_table: Tables,
    flops: Ints,
    flop_data: Tables,
    flop_clear: Tables,
    flop_preset: Tables,
    flop_inverted: Bits,
    flop_clock: Ints,
    gates: Ints,
    gate_table: Tables,
    gate_parent: Ints,
    input_nets: Ints,
    stimulus: Bits,
    output_nets: Ints,
    outputs: Bits,
    n_warmup: int,
    toggles: Ints,
    ones: Ints,
    clock_counts: Ints,
) -> None:
    """Simulate one cycle per row of `stimulus`; all state is in `values`.

    A cycle: the inputs change, the logic settles, outputs are sampled, then the clock ticks once. `flop_clock` and
    `gate_parent` count clocks: 0 ticks always, 1 + g where gate g is enabled. Toggles and ticks are counted from cycle
    `n_warmup` on, against the settled values of the cycle before, and `ones` the cycles in which a net is 1.
    """
    n_flops = len(flops)
    n_gates = len(gates)
    state = np.zeros(n_flops, dtype=np.uint8)
    ticks = np.zeros(n_gates + 1, dtype=np.bool_)
    ticks[0] = True
    previous = values.copy()
    for cycle in range(stimulus.shape[0]):
        for k in range(len(input_nets)):
            values[input_nets[k]] = stimulus[cycle, k]
        changed, rounds = True, 0
        while changed and rounds < _MAX_ROUNDS:
            changed = False
            rounds += 1
            for f in range(n_flops):
                cell = flops[f]
                for k in range(out_start[cell], out_start[cell + 1]):
                    values[out_nets[k]] = state[f] ^ flop_inverted[k]
            _settle(values, order, in_start, in_nets, out_start, out_nets, out_table)
            for f in range(n_flops):
                cell = flops[f]
                first, last = in_start[cell], in_start[cell + 1]
                if flop_clear[f] != 0 and _lookup(values, flop_clear[f], in_nets, first, last):
                    forced = 0
                elif flop_preset[f] != 0 and _lookup(values, flop_preset[f], in_nets, first, last):
                    forced = 1
                else:
                    continue
                if state[f] != forced:
                    state[f] = forced
                    changed = True
        for k in range(len(output_nets)):
            outputs[cycle, k] = values[output_nets[k]]
        if cycle > 0 and cycle >= n_warmup:
            for net in range(len(values)):
                toggles[net] += values[net] != previous[net]
                ones[net] += values[net]
        previous[:] = values
        for g in range(n_gates):
            cell = gates[g]
            enabled = _lookup(values, gate_table[g], in_nets, in_start[cell], in_start[cell + 1])
            ticks[1 + g] = ticks[gate_parent[g]] and enabled != 0
        if cycle >= n_warmup:
            for k in range(n_gates + 1):
                clock_counts[k] += ticks[k]
        for f in range(n_flops):
            if ticks[flop_clock[f]]:
                cell = flops[f]
                first, last = in_start[cell], in_start[cell + 1]
                state[f] = _lookup(values, flop_data[f], in_nets, first, last)
                if flop_clear[f] != 0 and _lookup(values, flop_clear[f], in_nets, first, last):
                    state[f] = 0
                elif flop_preset[f] != 0 and _lookup(values, flop_preset[f], in_nets, first, last):
                    state[f] = 1
