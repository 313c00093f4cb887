"""The formats' part of a report: figure, page and summary have it, and say what energy has no price."""

import copy

import jsonschema
import pytest

from tetrit import report
from tetrit.report import canonical, html, plots
from tetrit.report.figures import rounding


def network(name, bits, rounded, trained):
    return {
        "name": name,
        "formats": ["posit8_0", "fp4_e2m1", "fp4_e2m1"],
        "mean_bits": bits,
        "weight_bytes": 12608.0,
        "cycles": 716462,
        "post_training": rounded,
        "trained": trained,
        "post_training_per_seed": [rounded],
        "trained_per_seed": [trained],
    }


@pytest.fixture
def coded(sample):
    """The sample as a run on a SIMD engine, whose energy has no price."""
    made = copy.deepcopy(sample)
    del made["energy_uj"], made["energy_per_image_nj"], made["roofline"], made["szt_vs_ternary"]
    for layer in made["layers"]:
        del layer["energy_pj"], layer["breakdown"]
    made["accuracy"]["by_estimator"] = []
    made["formats"] = {
        "candidates": ["fp4_e2m1", "posit8_0"],
        "chosen": True,
        "mean_bits": 6.0,
        "calibration_images": 512,
        "layers": [
            {"name": f"fc{i}", "act": "posit8_0", "weight": "fp4_e2m1", "out": "posit16_1", "losses": [8e-3, 1.6e-5]}
            for i in (1, 2, 3)
        ],
        "networks": [
            network("this run", 5.92, 0.9777, 0.9844),
            network("fp4_e2m1 everywhere", 4.0, 0.9755, 0.9822),
            network("posit8_0 everywhere", 8.0, 0.98, 0.98),
        ],
    }
    return made


def test_the_block_is_in_the_schema(coded, sample):
    jsonschema.validate(coded, report.schema())
    canonical.check(coded)
    wrong = copy.deepcopy(coded)
    wrong["formats"]["networks"][0]["bits"] = 4
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(wrong, report.schema())
    assert "formats" not in sample


def test_the_figure_shows_both_accuracies_of_every_network(coded, sample):
    assert rounding.formats(sample) is None
    [axes] = rounding.formats(canonical.plain(coded)).axes
    assert [text.get_text() for text in axes.get_yticklabels()] == [
        "this run",
        "fp4_e2m1 everywhere",
        "posit8_0 everywhere",
    ]
    spots = [collection.get_offsets()[0].tolist() for collection in axes.collections]
    wanted = [[97.77, 0], [98.44, 0], [97.55, 1], [98.22, 1], [98.0, 2], [98.0, 2]]
    assert spots == [pytest.approx(spot) for spot in wanted]
    low, high = axes.get_xlim()
    assert low < 97.55 < 98.44 < high


def test_page_and_summary(coded, sample):
    data = canonical.plain(coded)
    page = html.render(data, plots.draw(data, {"formats"}))
    assert 'id="formats-section"' in page
    assert 'id="figure-formats"' in page
    assert "not priced; events are counted" in page
    assert "codes on the machine; float" in page
    text = report.summary(data)
    assert "  energy     " in text
    assert "not priced" in text
    assert "98.44 % " not in text.splitlines()[0]
    assert "fp4_e2m1 everywhere     4  716,462  97.55 %     98.22 %" in text
    plain = canonical.plain(sample)
    assert "formats-section" not in html.render(plain, {})
    assert "on the machine (integers)" in report.summary(plain)
