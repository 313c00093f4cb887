"""Scaling between nodes: the printed table, polynomials against numpy, bounds, refusals, tables of the user's."""

import tomllib
from importlib import resources

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tetrit.errors import InvalidValueError, UnknownNameError
from tetrit.sim.cost import Figure
from tetrit.sim.cost.scaling import QUANTITIES, NodeTable, scale

TABLE = tomllib.loads((resources.files("tetrit.sim.cost") / "nodes.toml").read_text())
NODES = [node["nm"] for node in TABLE["node"]]
MATRIX = {  # table 4 of the paper as two public transcriptions have it: area at `row`, times this, is area at `column`
    130: {90: 0.44, 65: 0.23, 45: 0.16, 32: 0.072, 20: 0.033, 16: 0.03, 14: 0.027, 10: 0.016, 7: 0.0092},
    45: {130: 6.4, 90: 2.8, 65: 1.5, 32: 0.46, 20: 0.21, 16: 0.19, 14: 0.17, 10: 0.1, 7: 0.059},
    16: {130: 34, 90: 15, 65: 7.9, 45: 5.3, 32: 2.4, 20: 1.1, 14: 0.91, 10: 0.54, 7: 0.31},
}
ANY_NODE = st.floats(7, 180)
ANY_QUANTITY = st.sampled_from(["area", "delay", "energy"])


def table():
    return NodeTable.modelled()


def figure(**changes):
    return Figure(**{"value": 10.0, "unit": "pJ", "origin": "synthesised", "source": "a netlist"} | changes)


def user_table(**changes):
    nodes = [
        {"nm": 100, "area": 4.0, "hp": {"voltage_v": 1.0, "delay": [2.0], "energy": [8.0, 0.0, 0.0]}},
        {"nm": 50, "area": 1.0, "hp": {"voltage_v": 0.5, "delay": [1.0], "energy": [8.0, 0.0, 0.0]}},
    ]
    return {"source": "mine", "error": {"area": 0.1, "delay": 0.2, "energy": 0.3}, "node": nodes} | changes


@pytest.mark.parametrize("row", MATRIX)
def test_areas_are_those_of_the_printed_matrix_within_its_rounding(row):
    for column, printed in MATRIX[row].items():
        assert table().factor("area", row, column).value == pytest.approx(printed, rel=0.07)


@pytest.mark.parametrize("process", ["hp", "lp"])
def test_delay_and_energy_are_the_polynomials_at_nominal_supplies(process):
    for quantity in ("delay", "energy"):
        levels = {}
        for node in TABLE["node"]:
            curves = node.get(process, node["hp"])
            levels[node["nm"]] = np.polyval(curves[quantity], curves["voltage_v"])
        for start in (180, 130, 45, 7):
            for end in NODES:
                found = table().factor(quantity, start, end, process=process).value
                assert found == pytest.approx(levels[end] / levels[start], rel=1e-12)


def test_a_given_supply_is_where_the_polynomials_are_evaluated():
    ends = {entry["nm"]: entry["hp"] for entry in TABLE["node"]}
    wanted = np.polyval(ends[45]["energy"], 0.9) / np.polyval(ends[130]["energy"], 1.2)
    found = table().factor("energy", 130, 45, from_voltage_v=1.2, to_voltage_v=0.9).value
    assert found == pytest.approx(wanted, rel=1e-12)
    assert table().factor("area", 130, 45, from_voltage_v=1.2).value == table().factor("area", 130, 45).value


@given(quantity=ANY_QUANTITY, nodes=st.tuples(ANY_NODE, ANY_NODE, ANY_NODE))
def test_factors_multiply_and_bounds_hold_them(quantity, nodes):
    a, b, c = nodes
    there, on, whole = (table().factor(quantity, *pair) for pair in ((a, b), (b, c), (a, c)))
    assert there.value * on.value == pytest.approx(whole.value, rel=1e-9)
    assert there.value * table().factor(quantity, b, a).value == pytest.approx(1.0, rel=1e-9)
    assert whole.low <= whole.value <= whole.high
    assert whole.high / whole.value == pytest.approx((1 + TABLE["error"][quantity]) ** np.sqrt(whole.steps), rel=1e-9)


@given(quantity=st.sampled_from(["area", "energy"]), share=st.floats(0, 1), place=st.integers(0, len(NODES) - 2))
def test_between_two_nodes_lies_between_their_factors(quantity, share, place):
    above, below = NODES[place], NODES[place + 1]
    node = above ** (1 - share) * below**share
    least, greatest = sorted(table().factor(quantity, 130, end).value for end in (above, below))
    found = table().factor(quantity, 130, min(max(node, below), above)).value
    assert least * (1 - 1e-9) <= found <= greatest * (1 + 1e-9)


def test_a_scaled_figure_says_how_and_keeps_its_bounds_inside():
    given_figure = figure(low=8.0, high=15.0)
    found = scale(given_figure, 130, 65, from_voltage_v=1.2)
    factor = table().factor("energy", 130, 65, from_voltage_v=1.2)
    assert (found.value, found.unit, found.origin) == (10 * factor.value, "pJ", "modelled")
    assert (found.low, found.high) == (8 * factor.low, 15 * factor.high)
    assert found.source == (
        f"a netlist; scaled from 130 to 65 nm by {factor.value:.3g} ({factor.low:.3g} to {factor.high:.3g}): "
        "A. Stillmaker and B. Baas, Integration 58 (2017) 74-81"
    )
    assert scale(figure(origin="assumed"), 130, 65).origin == "assumed"


def test_the_same_node_leaves_a_figure_as_it_is_but_not_another_supply():
    assert scale(figure(), 45, 45) == figure()
    assert scale(figure(), 45, 45, from_voltage_v=1.0, to_voltage_v=0.9).value < 10


def test_what_is_not_known_is_refused():
    for unit in ("nW", "MHz", "TOPS/W"):
        wanted = ", ".join(QUANTITIES)
        with pytest.raises(InvalidValueError, match=f"^a figure in {unit} is not scaled; units that are: {wanted}$"):
            scale(figure(unit=unit), 130, 45)
    for node, text in ((5, "5"), (181, "181")):
        text = f"`to_nm` must be from 7 to 180 nm, where the table of nodes ends, got {text}"
        with pytest.raises(InvalidValueError, match=f"^{text}$"):
            scale(figure(), 130, node)
    with pytest.raises(InvalidValueError, match=r"^`from_nm` must be from 7 to 180 nm"):
        scale(figure(), 250, 45)
    with pytest.raises(InvalidValueError, match=r"^`to_voltage_v` must be from 0.8 to 1.1 V at 45 nm \(hp\), got 0.5$"):
        scale(figure(), 130, 45, to_voltage_v=0.5)
    with pytest.raises(InvalidValueError, match=r"^`from_voltage_v` must be finite, got nan$"):
        scale(figure(), 130, 45, from_voltage_v=float("nan"))
    with pytest.raises(UnknownNameError, match="unknown process 'hx'; did you mean 'hp'"):
        scale(figure(), 130, 45, process="hx")
    with pytest.raises(TypeError, match=r"^`figure` must be a Figure, got 3.0$"):
        scale(3.0, 130, 45)


def test_a_users_table_takes_the_place_of_the_committed_one(tmp_path):
    mine = NodeTable.from_dict(user_table())
    assert scale(figure(unit="mm2"), 100, 50, table=mine).value == pytest.approx(2.5)
    assert scale(figure(unit="ns"), 100, 50, table=mine).value == pytest.approx(5.0)
    assert scale(figure(), 100, 50, table=mine).value == pytest.approx(2.5)
    path = tmp_path / "nodes.toml"
    path.write_text((resources.files("tetrit.sim.cost") / "nodes.toml").read_text())
    assert NodeTable.load(path) == NodeTable.modelled()


def _without(table, key):
    return {name: value for name, value in table.items() if name != key}


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (_without(user_table(), "source"), "mine.toml: `source` is missing"),
        (user_table(source=""), "mine.toml: `source` must say where the figures come from, got ''"),
        (user_table(error={"area": 0.1, "delay": 0.1}), "mine.toml: [error]: `energy` is missing"),
        (
            user_table(error={"area": -1, "delay": 0.1, "energy": 0}),
            "mine.toml: [error]: `area` must be at least 0, got -1",
        ),
        (user_table(node=[]), "mine.toml: `node` must be a list of two or more tables"),
        (
            user_table(node=user_table()["node"][::-1]),
            "mine.toml: nodes must come from the largest to the smallest, each once",
        ),
        (user_table(node=[{"nm": 100, "area": 4.0}] * 2), "mine.toml: node 1: `hp` is missing"),
        (
            user_table(node=[user_table()["node"][0] | {"area": 0}, user_table()["node"][1]]),
            "mine.toml: node 1: `area` must be above 0, got 0",
        ),
        (
            user_table(node=[user_table()["node"][0], user_table()["node"][1] | {"hp": {"voltage_v": 1.0}}]),
            "mine.toml: node 2: [hp]: `delay` is missing",
        ),
        (
            user_table(
                node=[
                    user_table()["node"][0],
                    {"nm": 50, "area": 1, "hp": {"voltage_v": 1.0, "delay": [1.0, -1.0], "energy": [1.0]}},
                ]
            ),
            "mine.toml: node 2: [hp] `delay` must be above 0 at 0.8 to 1.1 of `voltage_v`",
        ),
        (
            user_table(
                node=[
                    user_table()["node"][0],
                    {"nm": 50, "area": 1, "hp": {"voltage_v": 1.0, "delay": "fast", "energy": [1.0]}},
                ]
            ),
            "mine.toml: node 2: [hp]: `delay` must be a list of 1 to 6 coefficients, got 'fast'",
        ),
        (user_table(nodes=3), "mine.toml: unknown key 'nodes'; did you mean 'node'?"),
    ],
)
def test_bad_tables_are_one_line(made, text):
    with pytest.raises(InvalidValueError) as refused:
        NodeTable.from_dict(made, where="mine.toml")
    assert str(refused.value) == text
