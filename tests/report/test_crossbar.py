"""The crossbar's part of a report: figures show its numbers, the page and the summary have it, others do without."""

import copy
import xml.etree.ElementTree as ElementTree

import jsonschema
import pytest

from tests.report.samples import crossbar, point
from tetrit import report
from tetrit.report import canonical, plots, style
from tetrit.report.figures import analog
from tetrit.report.html import render
from tetrit.report.validation import validate

NAMES = [
    "crossbar_accuracy", "drift", "effective_weights", "crossbar_layers", "crossbar_energy", "crossbar_energy_map"
]  # fmt: skip


@pytest.fixture
def both(sample):
    return {**sample, "crossbar": crossbar()}


@pytest.fixture(scope="module")
def page(unchanged):
    data = canonical.plain({**unchanged, "crossbar": crossbar()})
    return render(data, plots.draw(data, NAMES))


def texts(drawn):
    return [text.get_text() for axes in drawn.axes for text in axes.texts]


def test_the_sample_is_valid(both):
    jsonschema.validate(both, report.schema())
    canonical.check(both)


@pytest.mark.parametrize(
    "path",
    [
        ("machine",),
        ("accuracy", 0, "network"),
        ("drift", 0, "points", 0, "per_chip"),
        ("layers", 0, "clipped"),
        ("weights", 0, "map"),
        ("energy_uj",),
        ("noise_aware", "history"),
        ("noise_aware", "control"),
        ("noise_aware", "control", "accuracy"),
    ],
)
def test_nothing_may_be_missing_or_unknown(both, path):
    *parents, last = path
    for change in ("remove", "add"):
        broken = copy.deepcopy(both)
        at = broken["crossbar"]
        for key in parents:
            at = at[key]
        if change == "remove":
            del at[last]
        else:
            at["odd"] = 1
        assert not jsonschema.Draft202012Validator(report.schema()).is_valid(broken)


def test_figures_are_there_only_with_a_crossbar(both, sample):
    assert list(plots.draw(canonical.plain(both), {*NAMES, "crossbar_area_map"})) == NAMES
    with style.themed():
        assert all(
            f(sample) is None
            for f in (analog.accuracy, analog.drift, analog.weights, analog.layers, analog.energy, analog.energy_map)
        )


def test_accuracy_shows_every_stage_and_chip(both):
    with style.themed():
        drawn = analog.accuracy(both)
    axes = drawn.axes[0]
    assert texts(drawn) == ["98.44", "97.56", "97.33", "97.33", "97.11", "96.00", "94.50", "95.30", "96.30"]
    shown = [round(float(x), 2) for dots in axes.collections for x in dots.get_offsets()[:, 0]]
    assert {94.0, 95.0, 95.1, 95.5, 96.1, 96.5} <= set(shown)
    low, high = axes.get_xlim()
    assert low < 94.0 and high > 98.44


def test_drift_shows_means_and_bands(both):
    with style.themed():
        drawn = analog.drift(both)
    axes = drawn.axes[0]
    line = axes.get_lines()[0]
    assert list(line.get_ydata()) == pytest.approx([95.5, 92.0, 88.5])
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1 s", "1 d", "1 y"]
    band = axes.collections[0].get_paths()[0].vertices[:, 1]
    std = 100 * both["crossbar"]["drift"][0]["points"][2]["std"]
    assert band.min() == pytest.approx(88.5 - std)
    assert len({(line.get_color(), line.get_linestyle()) for line in axes.get_lines()}) == 7
    assert len({(line.get_marker(), line.get_linestyle()) for line in axes.get_lines()}) == 7  # without colour, too


def test_drift_needs_times(both):
    for line in both["crossbar"]["drift"]:
        line["points"] = []
    with style.themed():
        assert analog.drift(both) is None


def test_weights_share_one_scale(both):
    both["crossbar"]["weights"][1]["map"] = [[0.5]]
    with style.themed():
        drawn = analog.weights(both)
        meshes = [axes.collections[0] for axes in drawn.axes[:3]]
        assert {mesh.get_clim() for mesh in meshes} == {(0, 50.0)}
        for layer in both["crossbar"]["weights"]:
            layer["map"] = [[0.0]]
        assert analog.weights(both) is None


def test_layers_show_both_machines(both):
    with style.themed():
        drawn = analog.layers(both)
    [axes] = drawn.axes
    wanted = []
    for digital, chip in zip(both["layers"], both["crossbar"]["layers"], strict=True):
        wanted += [digital["cycles"] / 450 / 100, chip["cycles"] / 450 / 100]
    assert [bar.get_width() for bar in axes.patches] == pytest.approx(wanted)


def test_the_page_has_the_section(page):
    root = ElementTree.fromstring(page.removeprefix("<!DOCTYPE html>\n"))
    ids = [element.attrib["id"] for element in root.iter() if "id" in element.attrib]
    assert len(ids) == len(set(ids))
    assert {"crossbar-section", *(f"figure-{name}" for name in NAMES)} <= set(ids)
    assert 'href="#crossbar-section"' in page
    for text in (
        "256 × 256 arrays of pcm cells",
        "seeds 4 to 5",
        "0.016 %",
        "<td>compensated</td>",
        "92.00 %",
        "20 more epochs",
        "97.55 % on it",
    ):
        assert text in page, text


FIGURES = [
    {"name": "area", "value": 0.5, "unit": "mm2", "origin": "modelled", "source": "sum", "low": 0.25, "high": 1.0},
    {"name": "area, ADC", "value": 4e5, "unit": "um2", "origin": "modelled", "source": "a survey"},
    {"name": "area, cells", "value": 0.1, "unit": "mm2", "origin": "assumed", "source": "the square of F"},
    {"name": "TOPS/W", "value": 12.5, "unit": "TOPS/W", "origin": "modelled", "source": "2 operations a MAC"},
]


def test_figures_of_the_crossbar_are_a_table_a_map_and_tiles(both):
    both["crossbar"]["figures"] = FIGURES
    validate(both)
    data = canonical.plain(both)
    drawn = plots.draw(data, {"crossbar_area_map"})
    assert drawn["crossbar_area_map"].origin == "modelled and assumed"
    with style.themed():
        areas = [bar.get_width() * bar.get_height() for bar in analog.area_map(data).axes[0].patches]
    assert areas[0] / areas[1] == pytest.approx(4)
    page = render(data | {"figures": [FIGURES[3] | {"value": 3.5}]}, drawn)
    tiles = page[: page.index('id="accuracy-section"')]
    assert '<dt>crossbar, area</dt><dd class="value">0.5 <small>mm²</small>' in tiles
    assert '<dt>TOPS/W</dt><dd class="value">3.5 <small>TOPS/W</small>' in tiles
    assert '<dt>crossbar, TOPS/W</dt><dd class="value">12.5 <small>TOPS/W</small>' in tiles
    assert '<th scope="row">area, cells</th><td class="n" data-v="0.1">0.1</td><td>mm²</td>' in page


def test_the_page_without_times_compensation_or_training(both):
    block = both["crossbar"]
    del block["noise_aware"]
    block["drift"] = []
    block["chips"] = 1
    block["machine"] |= {"adc_bits": "none", "dac_bits": "none"}
    data = canonical.plain(both)
    page = render(data, plots.draw(data, {"drift"}))
    assert "figure-drift" not in page
    assert "1 chip, seed 4" in " ".join(page.split())
    assert "no ADC" in page


def test_the_summary_has_the_chips(both, sample):
    lines = report.summary(both).splitlines()
    assert "  crossbar (2 chips)                 accuracy     std" in lines
    assert "  + real cells: fresh chips           94.50 %  0.71 %" in lines
    assert "  fresh chips, trained on, no noise   95.30 %  0.28 %" in lines
    assert "  mean accuracy after                     1 s     1 d     1 y" in lines
    assert "  noise-aware, compensated             95.5 %  92.0 %  88.5 %" in lines
    assert "crossbar" not in report.summary(sample)


def test_the_summary_shows_five_of_many_times(both):
    for line in both["crossbar"]["drift"]:
        line["points"] = [point(float(t), [0.9, 0.9]) for t in range(9)]
    assert any(
        line.split() == ["mean", "accuracy", "after", "0", "s", "2", "s", "4", "s", "6", "s", "8", "s"]
        for line in report.summary(both).splitlines()
    )
    for line in both["crossbar"]["drift"]:
        line["points"] = []
    assert "mean accuracy" not in report.summary(both)
