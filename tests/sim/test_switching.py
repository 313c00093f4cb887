"""What moves in a shift array, against one that is stepped register by register in plain Python."""

import itertools

import numpy as np
import pytest

from tetrit.hardware import DATAFLOWS, WEIGHT_FORMATS, ShiftArray
from tetrit.sim import Mapping, Workload
from tetrit.sim.cost import Prices
from tetrit.sim.cost.coefficients import Coefficients
from tetrit.sim.cost.switching import MOVEMENTS, movement, resting
from tetrit.sim.shift import best_mapping, cycles, events
from tetrit.sim.shift.tiles import tile_list


def case(seed, machine, m, k, n):
    rng = np.random.default_rng(seed)
    values = machine.activations.integers
    codes = np.flatnonzero(~np.isnan(machine.weights.values))
    x = rng.integers(values.min(), values.max() + 1, (m, k)) * rng.integers(0, 2, (m, k))
    return x, rng.choice(codes, (k, n)).astype(np.uint8), rng.integers(-500, 500, n)


def bits_changed(one, other, width):
    return ((one ^ other) & ((1 << width) - 1)).bit_count()


class Element:
    """What one element forms of an activation, a weight and a sum, as integers."""

    def __init__(self, machine):
        self.machine = machine
        largest = max(abs(int(i)) for i in machine.weights.integers)
        self.product_bits = machine.activations.bits + largest.bit_length() - 1
        self.state = None
        self.count = dict.fromkeys(("act", "shifted", "addend", "sum", "carry"), 0)

    def take(self, act, weight, total):
        shifted = act * max(abs(weight), 1)
        masked = shifted if weight else 0
        addend = ~masked if weight < 0 else masked
        result = total + act * weight
        new = {"act": act, "shifted": shifted, "addend": addend, "sum": result, "carry": total ^ addend ^ result}
        widths = {
            "act": self.machine.activations.bits,
            "shifted": self.product_bits,
            "addend": self.product_bits,
            "sum": self.machine.acc_bits,
            "carry": self.machine.acc_bits,
        }
        if self.state is not None:
            for name, width in widths.items():
                self.count[name] += bits_changed(self.state[name], new[name], width)
        self.state = new
        return result


def stepped(x, weight, bias, mapping, machine):
    """Return what changes in the elements of an array, tile by tile and vector by vector."""
    x, bias = x.tolist(), bias.tolist()
    integers = [[int(machine.weights.integers[code]) for code in row] for row in weight]
    empty = int(machine.weights.integers[0])
    m, k, n = len(x), len(integers), len(bias)
    grid = {place: Element(machine) for place in itertools.product(range(machine.rows), range(machine.cols))}
    tiles = tile_list(Workload(m=m, k=k, n=n), mapping)
    for tile in range(len(tiles)):
        m0, k0, n0 = (int(a[tile]) for a in (tiles.m_start, tiles.k_start, tiles.n_start))
        mt, kt, nt = (int(a[tile]) for a in (tiles.m_size, tiles.k_size, tiles.n_size))

        def act(i, j, m0=m0, k0=k0, mt=mt, kt=kt):
            return x[m0 + i][k0 + j] if i < mt and j < kt else 0

        def of(j, c, k0=k0, n0=n0, kt=kt, nt=nt):
            return (integers[k0 + j][n0 + c] if c < nt else empty) if j < kt else 0

        if machine.dataflow == "weight_stationary":
            for i in range(mt):
                for c in range(machine.cols):
                    done = sum(x[m0 + i][j] * integers[j][n0 + c] for j in range(k0)) + bias[n0 + c] if c < nt else 0
                    for r in range(machine.rows):
                        done = grid[r, c].take(act(i, r), of(r, c), done)
        else:
            for r, c in grid:
                total = 0
                for j in range(kt):
                    total = grid[r, c].take(act(r, j), of(j, c), total)
    return {name: sum(element.count[name] for element in grid.values()) for name in grid[0, 0].count}


@pytest.mark.parametrize("weight_format", WEIGHT_FORMATS)
@pytest.mark.parametrize("dataflow", DATAFLOWS)
def test_small_products_of_equal_tiles_are_followed_exactly(dataflow, weight_format):
    machine = ShiftArray(rows=3, cols=4, dataflow=dataflow, weight_format=weight_format, acc_bits=24)
    for seed, (m, k, n) in enumerate(((6, 6, 8), (3, 2, 3), (1, 3, 8))):
        x, weight, bias = case(seed, machine, m, k, n)
        tile_m, tile_k = (m, 3) if dataflow == "weight_stationary" else (3, k)
        mapping = Mapping(tile_m=min(m, tile_m), tile_k=min(k, tile_k), tile_n=min(n, 4))
        found = movement(x, weight, bias, mapping, machine)
        for name, count in stepped(x, weight, bias, mapping, machine).items():
            assert found[name] == pytest.approx(count, rel=1e-9), (name, seed)


@pytest.mark.parametrize("dataflow", DATAFLOWS)
def test_large_products_and_unequal_tiles_are_sampled_within_a_few_percent(dataflow):
    machine = ShiftArray(rows=4, cols=12, dataflow=dataflow, weight_format="pot4z", acc_bits=30)
    x, weight, bias = case(5, machine, 90, 40, 24)
    mapping = best_mapping(Workload(m=90, k=40, n=24), machine)
    found, wanted = movement(x, weight, bias, mapping, machine), stepped(x, weight, bias, mapping, machine)
    for name, count in wanted.items():
        assert found[name] == pytest.approx(count, rel=0.05), name


@pytest.mark.parametrize("dataflow", DATAFLOWS)
def test_the_clock_ticks_in_every_cycle_and_more_where_weights_or_sums_are_stored(dataflow):
    machine = ShiftArray(rows=3, cols=5, dataflow=dataflow, weight_format="szt", act_format="int6", acc_bits=20)
    x, weight, bias = case(2, machine, 4, 6, 5)
    mapping = best_mapping(Workload(m=4, k=6, n=5), machine)
    n_cycles = cycles.count_tiles(tile_list(Workload(m=4, k=6, n=5), mapping), machine)
    found, still = movement(x, weight, bias, mapping, machine), resting(machine)
    assert found["edge_cycle"] == n_cycles
    assert found["edge_clock"] == n_cycles * still["edge_clock"]
    if dataflow == "weight_stationary":  # activation, sum, three flags; a decoded weight of two bits for each load
        assert still["pe_clock"] == 15 * (6 + 20 + 3)
        assert found["pe_clock"] == n_cycles * still["pe_clock"] + 6 * 5 * 2
        assert still["edge_clock"] == 6 * 3 + (2 * 20 + 2) * 10
        assert found["load"] == 6 * 5
    else:  # activation, weight, two flags; a sum for each step, and a finished one for each tile
        assert still["pe_clock"] == 15 * (6 + 2 + 2)
        assert found["pe_clock"] == n_cycles * still["pe_clock"] + 15 * 20 * (2 * 6 + 2)
        assert still["edge_clock"] == 6 * 3 + (2 * 20 + 2) * 10 + 5 * 20


@pytest.mark.parametrize("dataflow", DATAFLOWS)
def test_what_stands_still_changes_nothing(dataflow):
    machine = ShiftArray(rows=4, cols=4, dataflow=dataflow)
    x, weight = np.zeros((8, 4), np.int64), np.full((4, 4), 1, np.uint8)
    mapping = best_mapping(Workload(m=8, k=4, n=4), machine)
    found = movement(x, weight, np.zeros(4, np.int64), mapping, machine)
    assert set(found) <= set(MOVEMENTS)
    moving = {name for name, count in found.items() if count} - {"pe_clock", "edge_clock", "edge_cycle", "gearbox"}
    assert moving <= {"load", "stored"}


@pytest.mark.parametrize("weight_format", ["szt", "pot3", "posit4_1"])
@pytest.mark.parametrize("dataflow", DATAFLOWS)
def test_events_times_the_prices_of_a_product_are_its_own_energy(dataflow, weight_format):
    machine = ShiftArray(rows=4, cols=4, dataflow=dataflow, weight_format=weight_format, acc_bits=30)
    x, weight, bias = case(9, machine, 20, 10, 7)
    workload = Workload(m=20, k=10, n=7)
    mapping = best_mapping(workload, machine)
    tiles = tile_list(workload, mapping)
    active = 20 * int(np.count_nonzero(machine.weights.integers[weight]))
    happened = events.of_tiles(workload, tiles, machine, active=active, n_cycles=cycles.count_tiles(tiles, machine))
    known = Coefficients.committed("sg13g2.toml", {"dataflow": dataflow, "weight_format": weight_format})
    prices = Prices.of_operands(x, weight, bias, mapping, machine)
    wanted = known.energy_pj(movement(x, weight, bias, mapping, machine))
    assert prices.breakdown(happened, machine)["array"] == pytest.approx(wanted, rel=1e-9)
    assert prices.source.endswith("; for the operands of this product")
    assert (prices.pe_zero_pj is None) == (weight_format == "pot3")


def test_prices_for_unknown_operands_are_those_of_typical_ones():
    machine = ShiftArray(rows=8, cols=8)
    prices = Prices.modelled(machine)
    assert prices.pe_zero_pj < prices.pe_active_pj
    assert Prices.modelled(machine.replace(clock_mhz=50.0)) == prices
    doubled = {"dataflow": "weight_stationary", "weight_format": "szt"}
    known = Coefficients.committed("sg13g2.toml", doubled)
    twice = Coefficients(pj={name: 2 * pj for name, pj in known.pj.items()}, netlist="", worst_fit=0.0, source="twice")
    found = Prices.modelled(machine, coefficients=twice)
    assert found.pe_active_pj == pytest.approx(2 * prices.pe_active_pj)
    assert found.pe_idle_pj == pytest.approx(2 * prices.pe_idle_pj)
    assert found.source.startswith("twice; ")
