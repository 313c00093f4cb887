"""Full tables: timing and energy of mapped netlists by them, against hand-computed chains and a slow reference."""

import re
from bisect import bisect_right
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from tetrit.errors import InvalidValueError
from tetrit.hardware.cell_tables import SetupArc, Table
from tetrit.hardware.technology import Technology
from tetrit.rtl import simulate
from tetrit.rtl.energy import cell_energies_fj, require_energy
from tetrit.rtl.flat import flatten
from tetrit.rtl.liberty import read
from tetrit.rtl.liberty_syntax import LibertyError
from tetrit.rtl.netlist import Instance, Module, Netlist, Port
from tetrit.rtl.tables import at
from tetrit.rtl.timing import analyse

SLEWS, LOADS = (10.0, 50.0, 400.0), (2.0, 20.0, 100.0)
HEAD = """library (tabled) {
  time_unit : "1ps"; voltage_unit : "1V"; leakage_power_unit : "1nW"; capacitive_load_unit (1, ff); nom_voltage : 2.0;
  lu_table_template (t) { variable_1 : input_net_transition; variable_2 : total_output_net_capacitance;
    index_1 ("10, 50, 400"); index_2 ("2, 20, 100"); }
  lu_table_template (s) { variable_1 : related_pin_transition; variable_2 : constrained_pin_transition;
    index_1 ("10, 90"); index_2 ("10, 50, 400"); }
  power_lut_template (p) { variable_1 : input_transition_time; index_1 ("10, 50, 400"); }
"""


def table(kind, formula, template="t", rows=SLEWS, columns=LOADS):
    """Write a table whose values are those of a formula of (slew, load)."""
    text = ", ".join('"' + ", ".join(f"{formula(y, x):.6f}" for x in columns) + '"' for y in rows)
    return f"{kind} ({template}) {{ values ({text}); }}"


def arc(pin, number, sense="", kind=""):
    """Write a timing group and a power group; `number` tells the tables of all arcs apart."""
    return (
        f'timing () {{ related_pin : "{pin}"; {sense} {kind}\n'
        + table("cell_rise", lambda slew, load: 20 + number + 0.2 * slew + (2 + 0.01 * slew) * load)
        + table("cell_fall", lambda slew, load: 15 + number + 0.1 * slew + (1.5 + 0.02 * slew) * load)
        + table("rise_transition", lambda slew, load: 8 + number + 0.3 * slew + 3 * load)
        + table("fall_transition", lambda slew, load: 6 + number + 0.2 * slew + 2.5 * load)
        + f'}} internal_power () {{ related_pin : "{pin}";\n'
        + table("rise_power", lambda slew, load: 3 + number + 0.05 * slew + 0.01 * load)
        + table("fall_power", lambda slew, load: -1 + number + 0.02 * slew + 0.02 * load)
        + "}\n"
    )


def gate(name, function, pins, sense):
    inputs = "".join(f"pin ({pin}) {{ direction : input; capacitance : {2 + i}; }}\n" for i, pin in enumerate(pins))
    arcs = "".join(arc(pin, i, f"timing_sense : {sense};") for i, pin in enumerate(pins))
    return (
        f"cell ({name}) {{ area : 4; cell_leakage_power : 0.5;\n{inputs}"
        f'pin (Y) {{ direction : output; function : "{function}";\n{arcs}}} }}\n'
    )


SETUP = table("rise_constraint", lambda y, x: 30 + y + 0.1 * x, "s", (10.0, 90.0), SLEWS) + table(
    "fall_constraint", lambda y, x: 60 + 0.5 * y + 0.3 * x, "s", (10.0, 90.0), SLEWS
)
HIDDEN = 'internal_power () { rise_power (p) { values ("1, 2, 9"); } fall_power (p) { values ("5, 6, 13"); } }'
FLOP = f"""cell (DFF) {{ area : 9; cell_leakage_power : 2;
  ff (S, SN) {{ clocked_on : "CK"; next_state : "D"; clear : "!R"; }}
  pin (CK) {{ direction : input; capacitance : 3; {HIDDEN} }}
  pin (D) {{ direction : input; capacitance : 2; {HIDDEN}
    timing () {{ related_pin : "CK"; timing_type : setup_rising; {SETUP} }} }}
  pin (R) {{ direction : input; capacitance : 5; }}
  pin (Q) {{ direction : output; function : "S";
    {arc("CK", 7, kind="timing_type : rising_edge;")}
    {arc("R", 90, kind="timing_type : clear;")} }} }}
"""
TEXT = (
    HEAD
    + gate("INV", "!A", "A", "negative_unate")
    + gate("BUF", "A", "A", "positive_unate")
    + gate("NAND", "!(A B)", "AB", "negative_unate")
    + gate("XOR", "A ^ B", "AB", "non_unate")
    + FLOP
    + "}\n"
)


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    path = tmp_path_factory.mktemp("tabled") / "tabled.lib"
    path.write_text(TEXT)
    return read(path)


def design(library, ports, cells, n_nets):
    """Build a one-module netlist; ports are (name, direction, nets), cells (type, pins)."""
    module = Module(
        name="top",
        ports=tuple(Port(name=name, direction=direction, nets=nets) for name, direction, nets in ports),
        cells=tuple(
            Instance(name=f"u{i}", type=kind, pins=tuple((pin, (net,)) for pin, net in pins.items()))
            for i, (kind, pins) in enumerate(cells)
        ),
        children=(),
        net_names=("0", "1", *(f"n{i}" for i in range(2, n_nets))),
    )
    return Netlist(top="top", modules=(module,), technology=library)


def slow(table, x, y):
    """Interpolate, and extrapolate along the last two points, with no array."""

    def place(axis, value):
        return 0 if len(axis) == 1 else min(max(bisect_right(axis, value) - 1, 0), len(axis) - 2)

    def between(axis, i, value, low, high):
        return low + (high - low) * (value - axis[i]) / (axis[i + 1] - axis[i])

    i, j = place(table.x, x), place(table.y, y)
    rows = [
        row[j] if len(table.y) == 1 else between(table.y, j, y, row[j], row[j + 1]) for row in table.values[i : i + 2]
    ]
    return rows[0] if len(table.x) == 1 else between(table.x, i, x, *rows)


@pytest.mark.parametrize("shape", [(3, 4), (1, 4), (3, 1), (1, 1), (2, 2)])
def test_values_between_and_beyond_the_points(shape):
    rng = np.random.default_rng(5)
    x, y = (tuple(np.cumsum(rng.random(n) + 0.1).tolist()) for n in shape)
    table = Table(x=x, y=y, values=tuple(map(tuple, rng.normal(size=shape).tolist())))
    points = rng.uniform(-2, 5, (2, 200))
    points[:, : min(shape)] = [x[: min(shape)], y[: min(shape)]]
    expected = [slow(table, a, b) for a, b in points.T]
    assert at(table, *points) == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert at(table, np.array(x), np.full(len(x), y[-1])) == pytest.approx([row[-1] for row in table.values])


def test_tables_are_checked_and_compared():
    good = Table(x=(1.0, 2.0), y=(3.0,), values=((4.0,), (5.0,)))
    assert good == replace(good) and hash(good) == hash(replace(good))
    assert good != replace(good, values=((4.0,), (6.0,)))
    with pytest.raises(InvalidValueError, match=r"^`x` must be rising numbers, got \(2.0, 1.0\)$"):
        replace(good, x=(2.0, 1.0))
    with pytest.raises(InvalidValueError, match=r"^`values` must have 2 rows of 1 numbers$"):
        replace(good, values=((4.0, 5.0),))
    sg13g2 = Technology.load("sg13g2")
    with pytest.raises(InvalidValueError, match=rf"^`tables` must be those of {len(sg13g2.cells)} cells, got 2$"):
        sg13g2.replace(tables=(None, None))


def test_tables_are_read_as_they_stand(library):
    flop = dict(zip((cell.name for cell in library.cells), library.tables, strict=True))["DFF"]
    (clocked,) = flop.timing  # the arc of the clear pin launches nothing in a cycle
    assert (clocked.pin, clocked.output, clocked.sense) == ("CK", "Q", "non_unate")
    assert clocked.delay_rise.x == LOADS and clocked.delay_rise.y == SLEWS
    assert clocked.delay_rise.values[1][2] == pytest.approx(27 + 0.2 * 400 + (2 + 0.01 * 400) * 20)
    assert clocked.slew_fall.values[2][0] == pytest.approx(13 + 0.2 * 10 + 2.5 * 100)
    (setup,) = flop.setup
    assert isinstance(setup, SetupArc) and setup.pin == "D"
    assert setup.rise.x == (10.0, 90.0) and setup.rise.y == SLEWS
    assert setup.rise.values[1] == pytest.approx([30 + 90 + 0.1 * y for y in SLEWS])
    assert [(arc.pin, arc.related) for arc in flop.power] == [("CK", ""), ("D", ""), ("Q", "CK")]
    assert library.cell("DFF").input_energy_fj == (("CK", 4.0), ("D", 4.0))  # means of 2 and 6 at 50 ps
    inverter = library.cell("INV").outputs[0]
    assert inverter.energy_fj == pytest.approx((3 + 2.5 + 0.2 - 1 + 1 + 0.4) / 2)  # medians: those at 20 fF
    assert inverter.delay_ps_per_ff == pytest.approx((2.5 + 2.5) / 2)


def test_an_inverter_chain_by_hand(library):
    chain = design(
        library,
        [("a", "input", (2,)), ("y", "output", (4,))],
        [("INV", {"A": 2, "Y": 3}), ("INV", {"A": 3, "Y": 4})],
        5,
    )
    wire = library.wire_cap_ff_per_fanout
    inner, last = 2 + wire, wire
    # a rises -> n3 falls -> y rises
    fell = 15 + 0.1 * 50 + (1.5 + 0.02 * 50) * inner
    slew = 6 + 0.2 * 50 + 2.5 * inner
    rising = fell + 20 + 0.2 * slew + (2 + 0.01 * slew) * last
    # a falls -> n3 rises -> y falls
    rose = 20 + 0.2 * 50 + (2 + 0.01 * 50) * inner
    slew = 8 + 0.3 * 50 + 3 * inner
    falling = rose + 15 + 0.1 * slew + (1.5 + 0.02 * slew) * last
    timing = analyse(flatten(chain))
    assert timing.delay_ns * 1000 == pytest.approx(max(rising, falling), rel=1e-9)
    assert [step.net for step in timing.path] == ["a", "n3", "n4"]
    assert timing.path[1].arrival_ns * 1000 == pytest.approx(fell if rising > falling else rose, rel=1e-9)


def test_register_to_register_with_the_librarys_setup(library):
    cells = [("DFF", {"CK": 2, "D": 4, "R": 1, "Q": 3}), ("BUF", {"A": 3, "Y": 4})]
    timing = analyse(flatten(design(library, [("clk", "input", (2,)), ("q", "output", (3,))], cells, 5)))
    wire = library.wire_cap_ff_per_fanout
    q, d = 2 + 2 * wire, 2 + wire
    ends = []
    for base, steep, per_slew, transition, slope, setup in (
        ((20, 2), 0.2, 0.01, (8, 0.3), 3, lambda slew: 30 + 50 + 0.1 * slew),
        ((15, 1.5), 0.1, 0.02, (6, 0.2), 2.5, lambda slew: 60 + 0.5 * 50 + 0.3 * slew),
    ):
        launch = base[0] + 7 + steep * 50 + (base[1] + per_slew * 50) * q
        slew = transition[0] + 7 + transition[1] * 50 + slope * q
        arrival = launch + base[0] + steep * slew + (base[1] + per_slew * slew) * d
        ends.append(arrival + setup(transition[0] + transition[1] * slew + slope * d))
    assert timing.delay_ns * 1000 == pytest.approx(max(ends), rel=1e-9)
    assert timing.end == "u0.D"
    bare = replace(library, tables=tuple(replace(tables, setup=()) for tables in library.tables))
    without = analyse(flatten(design(bare, [("clk", "input", (2,)), ("q", "output", (3,))], cells, 5)))
    assert without.delay_ns == pytest.approx(without.path[-1].arrival_ns + library.setup_ps / 1000)


EDGES = {
    "positive_unate": lambda to: (to,),
    "negative_unate": lambda to: (1 - to,),
    "non_unate": lambda to: (0, 1),
}


def random_logic(library, rng, n_inputs=5, n_cells=40):
    kinds = ["INV", "BUF", "NAND", "XOR"]
    cells = []
    for i in range(n_cells):
        cell = library.cell(kinds[rng.integers(len(kinds))])
        nets = {pin: int(rng.integers(2, 2 + n_inputs + i)) for pin in cell.pins}
        cells.append((cell.name, {**nets, "Y": 2 + n_inputs + i}))
    ends = tuple(range(2 + n_inputs, 2 + n_inputs + n_cells))
    ports = [("a", "input", tuple(range(2, 2 + n_inputs))), ("y", "output", ends)]
    return cells, design(library, ports, cells, 2 + n_inputs + n_cells)


def reference(library, cells, n_inputs):
    """Return loads, and functions for arrival and transition of an edge of a net, by plain recursion."""
    tables = dict(zip((cell.name for cell in library.cells), library.tables, strict=True))
    load = dict.fromkeys(range(2 + n_inputs + len(cells)), 0.0)
    for name, pins in cells:
        for pin, cap in library.cell(name).inputs:
            load[pins[pin]] += cap + library.wire_cap_ff_per_fanout
        load[pins["Y"]] += library.wire_cap_ff_per_fanout

    def through(net, to, kind):
        name, pins = cells[net - 2 - n_inputs]
        for arc in tables[name].timing:
            lookup = getattr(arc, f"{kind}_{('rise', 'fall')[to]}")
            for edge in EDGES[arc.sense](to):
                yield pins[arc.pin], edge, slow(lookup, load[net], slew(pins[arc.pin], edge))

    @cache
    def slew(net, to):
        return 50.0 if net < 2 + n_inputs else max(value for _, _, value in through(net, to, "slew"))

    @cache
    def arrival(net, to):
        if net < 2 + n_inputs:
            return 0.0
        return max(arrival(source, edge) + value for source, edge, value in through(net, to, "delay"))

    return load, slew, arrival


def test_random_logic_against_a_recursive_search(library):
    rng = np.random.default_rng(12)
    for _ in range(10):
        cells, netlist = random_logic(library, rng)
        _, _, arrival = reference(library, cells, 5)
        expected = max(arrival(net, edge) for net in range(7, 47) for edge in (0, 1))
        assert analyse(flatten(netlist)).delay_ns * 1000 == pytest.approx(expected, rel=1e-9)


def test_energy_of_random_logic_against_a_slow_count(library):
    rng = np.random.default_rng(13)
    cells, netlist = random_logic(library, rng)
    load, slew, _ = reference(library, cells, 5)
    found = simulate(netlist, {"a": rng.integers(0, 32, 100)})
    toggles = found.toggles[netlist_nets(found, netlist)]
    tables = dict(zip((cell.name for cell in library.cells), library.tables, strict=True))
    total = 0.0
    for name, pins in cells:
        net = pins["Y"]
        energies, weights = [], []
        for arc in tables[name].power:
            shape = (slew(pins[arc.related], 0) + slew(pins[arc.related], 1)) / 2
            energies.append((slow(arc.rise, load[net], shape) + slow(arc.fall, load[net], shape)) / 2)
            weights.append(toggles[pins[arc.related]])
        inside = np.average(energies, weights=weights) if sum(weights) else 0.0
        total += toggles[net] * (inside + load[net] * library.voltage_v**2 / 2)
    assert found.energy(1.0).by_kind["logic"] == pytest.approx(total / 99 / 1000, rel=1e-9)
    assert total > 0


def netlist_nets(found, netlist):
    """Return the design's net for each net of its only module."""
    (placed,) = found.flat.instances
    return placed.nets[: len(netlist.modules[0].net_names)]


def test_registers_pay_for_their_clock_and_data_pins(library):
    """D toggles every cycle and so does Q, a cycle later: hidden energy at CK and D, the arc of CK at Q, by hand."""
    cells = [("DFF", {"CK": 2, "D": 3, "R": 1, "Q": 4})]
    netlist = design(library, [("clk", "input", (2,)), ("d", "input", (3,)), ("q", "output", (4,))], cells, 5)
    found = simulate(netlist, {"d": np.arange(12) % 2}, n_warmup=2)
    wire = library.wire_cap_ff_per_fanout
    energy = found.energy(8.0)
    inside = (3 + 7 + 0.05 * 50 + 0.01 * wire - 1 + 7 + 0.02 * 50 + 0.02 * wire) / 2
    hidden = (2 + 6) / 2
    assert energy.by_kind["registers"] == pytest.approx((inside + wire * 4 / 2 + hidden) / 1000)
    assert energy.by_kind["clock"] == pytest.approx(((3 + wire) * 4 + 2 * hidden) / 1000)
    assert energy.by_kind["inputs"] == pytest.approx((2 + wire) * 4 / 2 / 1000)
    assert energy.by_kind["leakage"] == pytest.approx(2 * 8.0 * 1e-6)
    switched, clocked = cell_energies_fj(found.flat, found.toggles, found.ticks, found.clock_of)
    assert switched.sum() / 10_000 == pytest.approx(energy.by_kind["registers"])
    assert clocked.sum() / 10_000 == pytest.approx(energy.by_kind["clock"])
    lines = replace(netlist, technology=library.replace(tables=()))
    reduced = replace(found, flat=flatten(lines)).energy(8.0)
    assert reduced.by_kind["clock"] == pytest.approx(energy.by_kind["clock"])  # tables and reduction agree at 50 ps
    median = (3 + 7 + 2.5 + 0.2 - 1 + 7 + 1 + 0.4) / 2
    assert reduced.by_kind["registers"] == pytest.approx((median + wire * 4 / 2 + hidden) / 1000)


def test_without_activity_only_leakage_and_the_clock_cost(library):
    cells = [("DFF", {"CK": 2, "D": 4, "R": 1, "Q": 3}), ("BUF", {"A": 3, "Y": 4})]
    netlist = design(library, [("clk", "input", (2,)), ("x", "input", (5,)), ("q", "output", (3,))], cells, 6)
    energy = simulate(netlist, {"x": [0, 0, 0]}).energy(2.0)
    assert energy.by_kind["logic"] == energy.by_kind["registers"] == energy.by_kind["inputs"] == 0
    assert energy.by_kind["leakage"] == pytest.approx((2 + 0.5) * 2.0 * 1e-6)
    clock = ((3 + library.wire_cap_ff_per_fanout) * 4 + 2 + 6) / 1000
    assert energy.total_pj == pytest.approx(energy.by_kind["leakage"] + clock)


def test_a_library_without_energies_gives_area_and_timing_but_no_energy(tmp_path):
    path = tmp_path / "dry.lib"
    path.write_text(re.sub(r"(rise|fall)_power \(t\) \{[^}]*\}", "", TEXT))
    library = read(path)
    assert library.unpriced == ("BUF", "DFF", "INV", "NAND", "XOR")
    _, netlist = random_logic(library, np.random.default_rng(1))
    assert analyse(flatten(netlist)).delay_ns > 0
    found = simulate(netlist, {"a": [0, 31, 5]})
    message = (
        "dry.lib states no internal power or no leakage of BUF, INV, NAND and 1 more: area and timing can be computed "
        "with it, energy cannot"
    )
    with pytest.raises(LibertyError, match=f"^{re.escape(message)}$"):
        found.energy(1.0)
    with pytest.raises(
        LibertyError, match=r"^dry.lib states no internal power or no leakage of BUF, DFF, INV and 2 more"
    ):
        require_energy(library)


def test_a_library_without_leakage_gives_no_energy(tmp_path):
    path = tmp_path / "tight.lib"
    path.write_text(TEXT.replace("area : 4; cell_leakage_power : 0.5;", "area : 4;"))
    library = read(path)
    assert library.unpriced == ("BUF", "INV", "NAND", "XOR")
    chain = design(library, [("a", "input", (2,)), ("y", "output", (3,))], [("INV", {"A": 2, "Y": 3})], 4)
    require_energy(library)  # its flip-flop has what is needed
    with pytest.raises(
        LibertyError, match=r"^tight.lib states no internal power or no leakage of INV: area and timing"
    ):
        simulate(chain, {"a": [0, 1]}).energy(1.0)
    path.write_text(path.read_text().replace("nom_voltage", "default_cell_leakage_power : 0.25; nom_voltage"))
    library = read(path)
    assert library.unpriced == () and library.cell("INV").leakage_nw == 0.25 and library.cell("DFF").leakage_nw == 2
