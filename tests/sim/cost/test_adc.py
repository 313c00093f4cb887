"""The ADC survey's fits: against the authors' own code, against the envelope by hand, and what is refused."""

import math
import re

import pytest

from tetrit.errors import InvalidValueError
from tetrit.sim.cost.adc import AdcSurvey

SURVEY = AdcSurvey.survey()

# bits, rate in Hz, node in nm; pJ and um2 that get_energy and get_area of hwcomponents-adc 1.0.21 give
REFERENCE = [
    (4, 1e6, 32, 0.923749333095, 1424.5145662),
    (6, 12.5e6, 28, 0.828629760528, 1906.23502202),
    (8, 12.5e6, 32, 1.71371196977, 2705.05115718),
    (8, 1.2e9, 32, 1.84860889434, 6313.14456931),
    (10, 1e8, 65, 12.5427112837, 14442.814295),
    (12, 2e9, 16, 57.2344315582, 9711.10031457),
    (9, 5e7, 130, 32.6425275655, 33768.5119237),
    (14, 1e6, 180, 433.175365374, 49858.8084129),
]


@pytest.mark.parametrize(("bits", "rate_hz", "node_nm", "energy_pj", "area_um2"), REFERENCE)
def test_the_fits_are_those_of_the_authors_code(bits, rate_hz, node_nm, energy_pj, area_um2):
    where = {"bits": bits, "rate_hz": rate_hz, "node_nm": node_nm}
    best = envelope_pj(bits, rate_hz)
    assert SURVEY.energy_pj(**where).value == pytest.approx(max(energy_pj, best), rel=1e-9)
    if energy_pj > best:
        assert SURVEY.area_um2(**where).value == pytest.approx(area_um2, rel=1e-9)


def envelope_pj(bits, rate_hz):
    """The survey's own notebooks: the three smallest energies, and the figure of merit's roll-off."""
    foms = 10 ** (186.72331722916883 / 10) / math.hypot(1.0, rate_hz / 46734517.05669982)
    sndr = 1.5 * 4.0**bits
    return max((0.19 + 0.3 + 0.3116666666666666) / 3, sndr / (2 * foms) * 1e12)


@pytest.mark.parametrize("bits", [4, 8, 10, 12, 17])
@pytest.mark.parametrize("rate_hz", [1e3, 46734517.05669982, 1e10])
def test_the_lower_bound_is_the_envelope_of_the_best(bits, rate_hz):
    found = SURVEY.energy_pj(bits=bits, rate_hz=rate_hz, node_nm=90)
    assert found.low == pytest.approx(envelope_pj(bits, rate_hz), rel=1e-6)
    assert found.low <= found.value <= found.high


def test_no_energy_goes_below_the_best_at_a_small_node():
    found = SURVEY.energy_pj(bits=4, rate_hz=1e6, node_nm=4)
    assert found.value == found.low == pytest.approx(0.26722222)


def test_the_median_converter_takes_four_times_as_much():
    found = SURVEY.energy_pj(bits=8, rate_hz=12.5e6, node_nm=32)
    assert found.high / found.value == pytest.approx(math.exp(1.4702022133784405 - 0.02962233))
    area = SURVEY.area_um2(bits=8, rate_hz=12.5e6, node_nm=32)
    assert area.low / area.value == pytest.approx(math.exp(-0.66604206))
    assert area.high / area.value == pytest.approx(math.exp(1.62537262))


def test_energy_and_area_grow_with_bits_rate_and_node():
    for quantity in ("energy_pj", "area_um2"):
        figure = getattr(SURVEY, quantity)
        for line in (
            [figure(bits=b, rate_hz=1e8, node_nm=32).value for b in range(1, 18)],
            [figure(bits=9, rate_hz=10.0**e, node_nm=32).value for e in range(3, 11)],
            [figure(bits=9, rate_hz=1e8, node_nm=nm).value for nm in (7, 16, 32, 65, 130, 350)],
        ):
            assert line == sorted(line)
            assert line[-1] > line[0]


def test_few_bits_are_those_of_four_in_proportion():
    four, one = (SURVEY.energy_pj(bits=b, rate_hz=1e7, node_nm=65) for b in (4, 1))
    assert (one.low, one.value, one.high) == (four.low / 4, four.value / 4, four.high / 4)
    assert one.source.endswith("; 1 of 4 bits in proportion: assumption")
    assert "in proportion" not in four.source
    areas = [SURVEY.area_um2(bits=b, rate_hz=1e7, node_nm=65).value for b in (4, 2)]
    assert areas[1] == areas[0] / 2


@pytest.mark.parametrize(
    ("changed", "error", "text"),
    [
        ({"bits": 18}, InvalidValueError, "`bits` must be an integer from 1 to 17, got 18"),
        ({"bits": 0}, InvalidValueError, "`bits` must be an integer from 1 to 17, got 0"),
        ({"bits": 8.0}, TypeError, "`bits` must be an integer, got 8.0"),
        ({"rate_hz": 2e10}, InvalidValueError, "`rate_hz` must be within 1000 and 1e+10, the ADC survey's, got 2e+10"),
        ({"rate_hz": float("nan")}, InvalidValueError, "`rate_hz` must be finite, got nan"),
        ({"node_nm": 3}, InvalidValueError, "`node_nm` must be within 4 and 1000, the ADC survey's, got 3"),
        ({"node_nm": "32"}, TypeError, "`node_nm` must be a number, got '32'"),
    ],
)
@pytest.mark.parametrize("quantity", ["energy_pj", "area_um2"])
def test_what_the_survey_does_not_span_is_refused(quantity, changed, error, text):
    with pytest.raises(error, match=f"^{re.escape(text)}$"):
        getattr(SURVEY, quantity)(**{"bits": 8, "rate_hz": 1e7, "node_nm": 32} | changed)


TABLE = """
[energy]
rate_db = [213.0, -2.9]
bits_db = [128.0, 3.2]
ln_pj = [26.0, 1.9, -2.8]
residual = -1.5
median_residual = 0.0
source = "mine"
[best]
foms_db = 186.0
corner_hz = 5e7
floor_pj = 0.1
source = "mine too"
[area]
ln_um2 = [0.0, 0.0, 0.0, 0.0]
low_residual = -1.0
median_residual = 1.0
source = "square"
[range]
bits = [2, 10]
rate_hz = [1e3, 1e9]
node_nm = [10, 200]
"""


def test_a_users_fits_replace_the_committed_ones(tmp_path):
    path = tmp_path / "adc.toml"
    path.write_text(TABLE)
    mine = AdcSurvey.load(path)
    area = mine.area_um2(bits=2, rate_hz=1e6, node_nm=32)
    assert (area.value, area.low, area.high) == (1.0, math.exp(-1.0), math.exp(1.0))
    assert area.source == "square; low: 5 % of the survey; high: its median"
    with pytest.raises(InvalidValueError, match=r"^`bits` must be an integer from 1 to 10, got 11$"):
        mine.energy_pj(bits=11, rate_hz=1e6, node_nm=32)


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("floor_pj = 0.1\n", "", "{path}: missing: best.floor_pj"),
        (TABLE[TABLE.index("[area]") : TABLE.index("[range]")], "", "{path}: missing: area.ln_um2, area.low_residual, "
         "area.median_residual, area.source"),
        ("floor_pj", "floor", "{path}: best: unknown key 'floor'; did you mean 'floor_pj'?"),
        ("floor_pj = 0.1", "floor_pj = 0", "{path}: `floor_pj` must be above 0, got 0"),
        ("[0.0, 0.0, 0.0, 0.0]", "[0.0, 0.0]", "{path}: `ln_um2` must be 4 numbers, got [0.0, 0.0]"),
        ("[2, 10]", "[10, 2]", "{path}: `bits` must have 0 < least < greatest, got 10 and 2"),
        ("median_residual = 0.0", "median_residual = -2.0", "{path}: `residual` must be at most `median_residual`, "
         "got -1.5 and -2"),
        ("low_residual = -1.0", "low_residual = 1.0", "{path}: `low_area_residual` must be at most 0 and "
         "`median_area_residual` at least 0, got 1 and 1"),
        ('"mine"', "3", "{path}: `energy_source` must be a text, got 3"),
    ],
)  # fmt: skip
def test_wrong_fits_are_refused(tmp_path, old, new, text):
    path = tmp_path / "adc.toml"
    path.write_text(TABLE.replace(old, new))
    with pytest.raises(InvalidValueError) as caught:
        AdcSurvey.load(path)
    assert str(caught.value).startswith(text.format(path=path))
