"""Treemaps: the tiles fill their box, in proportion, and never overlap."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tetrit.report import canonical, style
from tetrit.report.figures import treemap

BOX = (3.0, -2.0, 40.0, 25.0)
SIZES = st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=12).map(lambda sizes: sorted(sizes, reverse=True))


def overlap(a, b):
    wide = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    high = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    return max(wide, 0) * max(high, 0)


@given(SIZES)
def test_tiles_fill_the_box_in_proportion_without_overlap(sizes):
    tiles = treemap.squarify(sizes, BOX)
    whole = BOX[2] * BOX[3]
    for size, (x, y, width, height) in zip(sizes, tiles, strict=True):
        assert width * height == pytest.approx(whole * size / math.fsum(sizes), rel=1e-6)
        assert x >= BOX[0] - 1e-9 and x + width <= BOX[0] + BOX[2] + 1e-6
        assert y >= BOX[1] - 1e-9 and y + height <= BOX[1] + BOX[3] + 1e-6
    shared = [overlap(a, b) for place, a in enumerate(tiles) for b in tiles[:place]]
    assert sum(shared) <= 1e-6 * whole


def test_rows_are_filled_for_as_long_as_that_makes_tiles_squarer():
    """Sizes 6, 6, 4, 3, 2, 2, 1 in a box of 6 x 4, by hand: 6 + 6 as a column 3 wide, 4 + 3 as a row 7/3 high."""
    tiles = treemap.squarify([6, 6, 4, 3, 2, 2, 1], (0, 0, 6, 4))
    assert tiles[:2] == [(0, 0, 3, 2), (0, 2, 3, 2)]
    assert tiles[2] == pytest.approx((3, 0, 12 / 7, 7 / 3))
    assert tiles[3] == pytest.approx((3 + 12 / 7, 0, 9 / 7, 7 / 3))


def drawn_areas(figure):
    return [bar.get_width() * bar.get_height() for bar in figure.axes[0].patches if bar.get_facecolor()[3] > 0]


def test_components_are_as_large_as_their_energy(sample):
    with style.themed():
        areas = drawn_areas(treemap.energy(canonical.plain(sample)))
    spent = sorted(sample["energy_uj"]["breakdown"].values(), reverse=True)
    whole = math.fsum(spent)
    assert [area / math.fsum(areas) for area in areas] == pytest.approx([value / whole for value in spent])


def test_tiny_components_are_named_below(sample):
    block = sample["area_mm2"]
    block["breakdown"] = {"array": 1.0, "speck": 1e-6}
    block["parts"] = {"array": {"PE": 0.75, "control": 0.25}}
    with style.themed():
        figure = treemap.area(canonical.plain(sample))
    assert len(drawn_areas(figure)) == 1
    written = {text.get_text() for text in figure.axes[0].texts}
    assert {"A array\n1 mm², 100.0 %", "PE 0.75", "control 0.25"} <= written
    assert "not named above: B speck < 0.1 %" in figure.get_supxlabel()


def test_nothing_to_show_is_no_figure(sample):
    sample["area_mm2"]["breakdown"] = {"array": 0.0}
    for layer in sample["layers"]:
        del layer["breakdown"]
    assert treemap.area(sample) is None
    assert treemap.energy(sample) is None
    assert treemap.areas({}) is None
