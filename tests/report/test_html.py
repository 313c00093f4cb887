"""The page: self-contained, well-formed, complete, and safe against names that look like markup."""

import html
import re
import xml.etree.ElementTree as ElementTree

import pytest

from tetrit.errors import InvalidValueError
from tetrit.report import canonical, plots
from tetrit.report.html import render

FIGURES = [
    "accuracy", "training", "weight_codes", "layers", "roofline", "energy", "energy_map", "area", "area_map",
    "szt_vs_ternary", "verify",
]  # fmt: skip
SECTIONS = ["accuracy", "layers", "energy", "area", "verify", "training", "machine", "assumptions", "run"]


def page_of(sample, figures=()):
    data = canonical.plain(sample)
    return render(data, plots.draw(data, figures))


@pytest.fixture(scope="module")
def page(unchanged):
    return page_of(unchanged, plots.NAMES)


def parse(page):
    assert page.startswith("<!DOCTYPE html>\n<html")
    return ElementTree.fromstring(page.removeprefix("<!DOCTYPE html>\n"))


def text_of(page):
    without = re.sub(r"<(style|svg)\b.*?</\1>", "", page, flags=re.DOTALL)
    return html.unescape(re.sub(r"<[^>]*>", " ", without))


def test_page_is_well_formed_with_unique_ids(page):
    ids = [element.attrib["id"] for element in parse(page).iter() if "id" in element.attrib]
    assert len(ids) == len(set(ids))


def test_page_refers_to_nothing_outside_itself(page):
    assert page.count("<script") == 1
    assert "@import" not in page
    assert not re.search(r"url\((?!#)", page)
    ids = set(re.findall(r'\bid="([^"]*)"', page))
    targets = re.findall(r'\b(?:src|href|srcset|action|data|poster)="([^"]*)"', page)
    assert len(targets) > 100
    outside = {target for target in targets if not target.startswith("#")}
    assert {target.partition(",")[0] for target in outside} == {"data:", "data:text/csv;charset=utf-8;base64"}
    assert {target[1:] for target in targets if target.startswith("#")} <= ids
    assert set(re.findall(r"https?://[^\s\"'<>)]*", page)) == {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }
    assert not re.search(r'(?<!xmlns)(?<!xmlns:xlink)="https?://', page)
    assert "default-src 'none'" in page


def test_page_has_every_section_figure_and_layer(page, sample):
    root = parse(page)
    ids = {element.attrib.get("id") for element in root.iter()}
    assert {f"{section}-section" for section in SECTIONS} <= ids
    assert {f"figure-{name}" for name in FIGURES} <= ids
    text = text_of(page)
    for layer in sample["layers"]:
        assert text.count(layer["name"]) >= 4
        for event, count in layer["events"].items():
            assert event in text and f"{count:,}" in text
    for bench in sample["verify"]["testbenches"]:
        assert bench["name"] in text
    for assumption in sample["assumptions"]:
        assert all(value in text for value in assumption.values())
    for entry in (
        *sample["sources"],
        *sample["energy_uj"]["breakdown"],
        *sample["area_mm2"]["breakdown"],
        *sample["timings"]["seconds"],
    ):
        assert entry in text
    for result in sample["synthesis"]:
        assert result["library"] in text
        assert all(cell in text for cell in result["cells"])
        assert all(step in text for step in result["critical_path"])


def test_headline_numbers_come_first(page):
    tiles = text_of(page[page.index('class="tiles"') : page.index('id="accuracy-section"')])
    words = " ".join(tiles.split())
    assert "accuracy 97.11 % integers on the machine; float 98.22 %" in words
    assert "cycles per image 72.79 727.9 ns at 100 MHz" in words
    assert "energy per image 1.711 nJ synthesised and modelled" in words
    assert "area 0.536 mm² synthesised and modelled" in words
    assert "RTL mismatches 0 ✓ verified: all of 6 benches, 66,420 outputs" in words


def test_every_table_row_has_as_many_cells_as_its_head(page):
    for table in parse(page).iter("table"):
        counts = {len(row) for row in table.iter("tr")}
        assert len(counts) == 1


def test_every_figure_says_its_origin(page):
    figures = list(parse(page).iter("figure"))
    assert len(figures) == 11
    for figure in figures:
        (origin,) = [element.text for element in figure.iter("span") if element.attrib["class"] == "origin"]
        assert origin
        assert figure.find("div").attrib["aria-label"]


def test_page_follows_light_dark_phone_and_print(page):
    assert 'name="viewport" content="width=device-width, initial-scale=1"' in page
    assert "@media (prefers-color-scheme: dark)" in page
    assert "@media (max-width: 600px)" in page
    assert "@media print" in page


def test_failures_are_shown(sample):
    bench = sample["verify"]["testbenches"][0]
    bench |= {"passed": False, "mismatches": 12, "message": "row 3: expected -7, got 9"}
    sample["verify"]["mismatches"] = 12
    page = page_of(sample)
    text = " ".join(text_of(page).split())
    assert "RTL mismatches 12 ✗ 1 failed of 6 benches, 66,420 outputs" in text
    assert "✗ FAIL" in text and "row 3: expected -7, got 9" in text
    assert 'class="tile bad"' in page and 'class="tile good"' not in page


def test_blocks_of_steps_that_were_not_run_are_left_out(sample):
    for block in ("verify", "synthesis", "szt_vs_ternary", "roofline", "area_mm2", "energy_uj", "energy_per_image_nj"):
        del sample[block]
    for layer in sample["layers"]:
        del layer["energy_pj"], layer["breakdown"]
    page = page_of(sample)
    ids = {element.attrib.get("id") for element in parse(page).iter()}
    assert not {"energy-section", "area-section"} & ids
    assert "This run did not simulate the RTL." in text_of(page)


@pytest.mark.parametrize(
    "name",
    ["<script>alert(1)</script>", "'\"><img src=x onerror=alert(1)>", "]]>-->&{{ 7*7 }}", "\x00\x1b\x7f\ufffe\x85ok"],
)
def test_hostile_names_stay_text(sample, name):
    def spoil(block):
        """Put the name into every free text, and beside every key of a free table."""
        if isinstance(block, dict):
            spoiled = {key: spoil(value) for key, value in block.items()}
            return spoiled | (
                {name: next(iter(spoiled.values()))} if "array" in block or "load" in block or "mac" in block else {}
            )
        if isinstance(block, list):
            return [spoil(item) for item in block]
        return block + name if isinstance(block, str) and block not in KEPT else block

    KEPT = {"tetrit-report/2", "synthesised", "modelled", "rtl", "gates", "activations", "compute", "results"}
    data = canonical.plain(spoil(sample))
    page = render(data, {})
    root = parse(page)
    assert [element.tag for element in root.iter() if element.tag in ("script", "img")] == ["script"]
    assert not [key for element in root.iter() for key in element.attrib if key.startswith("on")]
    visible = "".join(root.find("body").itertext())
    shown = re.sub("[\x00\x1b\x7f\ufffe\x85]", "\N{REPLACEMENT CHARACTER}", name)
    assert visible.count(shown) > 60


def test_page_depends_on_the_content_only(sample):
    page = page_of(sample)
    shuffled = {key: sample[key] for key in reversed(sample)}
    shuffled["energy_uj"]["breakdown"] = dict(reversed(sample["energy_uj"]["breakdown"].items()))
    assert page_of(shuffled) == page


def test_configuration_is_shown_as_toml(page):
    assert '[network.params]\nthreshold = "0.7 mean"' in html.unescape(page)


def test_configuration_that_toml_lacks_is_refused(sample):
    sample["config"]["nothing"] = None
    message = r"^`report\.config` must hold only what a TOML file can: text, numbers, booleans, lists, tables$"
    with pytest.raises(InvalidValueError, match=message):
        render(canonical.plain(sample), {})
