"""Tables of coefficients: what is read, what is refused, and what they price."""

import itertools

import pytest

from tetrit.errors import InvalidValueError
from tetrit.hardware import DATAFLOWS, WEIGHT_FORMATS
from tetrit.hardware.simd_engine import SIMD_FORMATS
from tetrit.sim.cost.coefficients import Coefficients
from tetrit.sim.cost.simd_switching import ELEMENT, READOUT
from tetrit.sim.cost.switching import MOVEMENTS

VARIANT = {"dataflow": "weight_stationary", "weight_format": "szt"}
ROW = VARIANT | {"netlist": "abc", "worst_fit": 0.02, "pj": {"sum": 0.5, "carry": 0.25}}
TABLE = {"source": "mine", "coefficients": [ROW]}


def test_energy_is_counts_times_prices():
    found = Coefficients.from_dict(TABLE, VARIANT)
    assert found.energy_pj({"sum": 4, "carry": 2.0}) == 2.5
    assert found.energy_pj({}) == 0.0
    assert (found.source, found.netlist, found.worst_fit) == ("mine", "abc", 0.02)


def test_all_events_without_a_price_are_named_at_once():
    found = Coefficients.from_dict(TABLE, VARIANT)
    with pytest.raises(InvalidValueError, match=r"^events without a price: `act`, `edge`$"):
        found.energy_pj({"act": 1, "sum": 1, "edge": 2, "load": 0})


def test_every_variant_has_coefficients_for_all_that_moves_in_it():
    for dataflow, weight_format in itertools.product(DATAFLOWS, WEIGHT_FORMATS):
        found = Coefficients.committed("sg13g2.toml", {"dataflow": dataflow, "weight_format": weight_format})
        assert set(found.pj) <= set(MOVEMENTS)
        assert found.worst_fit < 0.05
        assert len(found.netlist.split()) == 2
        assert found.source.startswith("tetrit characterise: fitted to 8 x 8 and 3 x 5 arrays mapped to sg13g2")
    netlists = set()
    names = {
        *ELEMENT,
        *(f"readout_{name}" for name in READOUT),
        "element_idle",
        "readout_idle",
        "edge_cycle",
        "edge_clock",
    }
    for gating, act, weight in itertools.product((True, False), SIMD_FORMATS, SIMD_FORMATS):
        variant = {"gating": gating, "act_format": act, "weight_format": weight}
        found = Coefficients.committed("simd_sg13g2.toml", variant)
        assert set(found.pj) == names
        assert found.worst_fit < 0.08
        netlists.add(found.netlist)
    assert len(netlists) == 2


@pytest.mark.parametrize(
    ("table", "text"),
    [
        ([], "t: `coefficients` must be a list of tables, as `tetrit characterise` writes"),
        ({"price": []}, "t: `coefficients` must be a list of tables, as `tetrit characterise` writes"),
        ({"coefficients": [3]}, "t: coefficients 1: must be a table, got 3"),
        (
            {"coefficients": [{"dataflow": "weight_stationary"}]},
            "t: coefficients 1: `weight_format`, `netlist`, `worst_fit`, `pj` are missing",
        ),
        ({"coefficients": [{k: v for k, v in ROW.items() if k != "pj"}]}, "t: coefficients 1: `pj` is missing"),
        (
            {"coefficients": [ROW | {"prices": 1}]},
            "t: coefficients 1: unknown key 'prices'; known: dataflow, netlist, pj, weight_format, worst_fit",
        ),
        (
            {"coefficients": [ROW | {"pj": {"sum": -1.0}}]},
            "t: coefficients 1: `sum` must be at least 0, got -1",
        ),
        ({"coefficients": [ROW | {"pj": 3}]}, "t: coefficients 1: `pj` must be a table, got 3"),
        ({"coefficients": [ROW | {"pj": {"sum": "x"}}]}, "t: coefficients 1: `sum` must be a number, got 'x'"),
        ({"coefficients": [ROW | {"netlist": 3}]}, "t: coefficients 1: `netlist` must be a string, got 3"),
        (
            {"coefficients": [ROW | {"weight_format": "pot2"}]},
            "t: there are no coefficients for dataflow weight_stationary, weight_format szt",
        ),
    ],
)
def test_bad_tables_are_refused_in_one_line(table, text):
    with pytest.raises(InvalidValueError) as caught:
        Coefficients.from_dict(table, VARIANT, where="t")
    assert str(caught.value) == text


def test_a_file_is_named_where_it_is_wrong(tmp_path):
    path = tmp_path / "mine.toml"
    with pytest.raises(InvalidValueError, match=f"^cannot read price table '{path}': No such file or directory$"):
        Coefficients.load(path, VARIANT)
    path.write_text("source = 3\ncoefficients = [")
    with pytest.raises(InvalidValueError, match=f"^{path}: not valid TOML: "):
        Coefficients.load(path, VARIANT)
    path.write_text(
        'source = "s"\n[[coefficients]]\ngating = true\nnetlist = "n"\nworst_fit = 0.0\n[coefficients.pj]\nx = 1\n'
    )
    assert Coefficients.load(path, {"gating": True}).energy_pj({"x": 2}) == 2.0
    with pytest.raises(InvalidValueError, match=f"^{path}: there are no coefficients for gating false$"):
        Coefficients.load(path, {"gating": False})
