"""The pages in a real browser: silent, offline, sortable, usable by keyboard, on a phone, in the dark and on paper."""

import os
import re
import subprocess
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe

from tests.browser import chromium
from tests.report import samples
from tetrit.report import canonical, differences, plots, tables
from tetrit.report.export import table_csv
from tetrit.report.html import render, render_differences

SCHEMES = ("light", "dark")
WIDTHS = (375, 768, 1280)
FIGURES = [
    {"name": "area", "value": 0.5, "unit": "mm2", "origin": "modelled", "source": "sum", "low": 0.25, "high": 1.0},
    {"name": "area, ADC", "value": 4e5, "unit": "um2", "origin": "modelled", "source": "a survey"},
    {"name": "area, cells", "value": 0.1, "unit": "mm2", "origin": "assumed", "source": "the square of F"},
]


def everything():
    """A report with a crossbar, further figures, blocks of another program, and a failed bench."""
    report = samples.digital() | {"crossbar": samples.crossbar() | {"figures": FIGURES}, "figures": FIGURES}
    report["extra"] = {"mine": {"answer": 42}, "list": [1, {"a": "x" * 300}]}
    report["verify"]["testbenches"][0] |= {"passed": False, "mismatches": 3, "message": "row 3: -7 is not 9"}
    report["layers"][0]["name"] = "a layer with a name that is as long as those of exported graphs"
    return canonical.plain(report)


@pytest.fixture(scope="module")
def report():
    return everything()


@pytest.fixture(scope="module")
def urls(report, tmp_path_factory):
    """Addresses of the page of the report, of the same without its figures, and of its differences from another."""
    folder = tmp_path_factory.mktemp("pages")
    found = differences(canonical.plain(samples.digital()), report)
    pages = {
        "report": render(report, plots.draw(report)),
        "tables": render(report, {}),
        "difference": render_differences(found, ("runs/a", "runs/b")),
    }
    for name, text in pages.items():
        (folder / f"{name}.html").write_text(text, encoding="utf-8")
    return {name: (folder / f"{name}.html").as_uri() for name in pages}


@pytest.fixture(scope="module")
def browser():
    with chromium.launched() as launched:
        yield launched


@pytest.fixture
def open_page(browser, urls):
    """Open a page as a reader has it, offline; at the end it must have asked for nothing and complained of nothing."""
    contexts, watches = [], []

    def open_(name="report", width=1280, scheme="light", **settings):
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True, **settings
        )
        contexts.append(context)
        page = context.new_page()
        watches.append((urls[name], chromium.Watch(page)))
        page.goto(urls[name])
        return page

    yield open_
    for context in contexts:
        context.close()
    for url, watch in watches:
        assert [each for each in watch.requests if not each.startswith("data:")] == [url]
        assert watch.complaints == []


def column(page, table, place):
    return page.locator(f"#table-{table} tbody tr > :nth-child({place})").all_inner_texts()


def test_everything_is_there(open_page, report):
    page = open_page()
    sizes = page.locator("figure .drawing svg").evaluate_all(
        "all => all.map(each => [each.getBoundingClientRect().width, each.getBoundingClientRect().height])"
    )
    drawn = page.locator("figure").evaluate_all("all => all.map(each => each.id)")
    assert len(sizes) == len(drawn)
    assert all(width > 250 and height > 60 for width, height in sizes)
    assert set(drawn) == {f"figure-{name}" for name in plots.NAMES if name != "formats"}
    shown = page.locator("table[id]").evaluate_all("all => all.map(each => each.id)")
    hidden = {"training", "summary", "weight_errors", "crossbar_energy_layers"}  # behind their figures, or the tiles
    assert set(shown) == {f"table-{name}" for name in tables.build(report) if name not in hidden}
    targets = page.locator("nav a").evaluate_all("all => all.map(each => each.getAttribute('href'))")
    assert len(targets) == 11
    assert all(page.locator(target).count() == 1 for target in targets)


@pytest.mark.parametrize("key", ["click", "Enter", "Space"])
def test_tables_sort_by_mouse_and_keyboard(open_page, report, key):
    page = open_page("tables")
    head = page.locator("#table-layers thead th", has_text=re.compile("^MAC$"))
    button = head.get_by_role("button")

    def press():
        if key == "click":
            button.click()
        else:
            button.focus()
            page.keyboard.press(key)

    original = [layer["name"] for layer in report["layers"]]
    ascending = [layer["name"] for layer in sorted(report["layers"], key=lambda layer: layer["macs"])]
    descending = [layer["name"] for layer in sorted(report["layers"], key=lambda layer: -layer["macs"])]
    assert len({tuple(order) for order in (original, ascending, descending)}) > 1
    assert column(page, "layers", 1) == original and head.get_attribute("aria-sort") is None
    for order, said in ((ascending, "ascending"), (descending, "descending"), (original, None)):
        press()
        assert column(page, "layers", 1) == order
        assert head.get_attribute("aria-sort") == said
        assert page.locator("[aria-sort]").count() == (said is not None)
        assert page.get_by_role("status").inner_text() == (
            f"sorted by MAC, {said}" if said else "in the original order"
        )
    assert page.locator("#table-layers tfoot th").inner_text() == "total"


def test_sorting_is_by_size_with_what_is_missing_last_and_texts_by_number(open_page, report):
    page = open_page("tables")
    heads = page.locator("#table-crossbar_accuracy thead button")
    for _ in range(2):
        heads.nth(2).click()  # std
        found = column(page, "crossbar_accuracy", 3)
        numbers = [float(text.removesuffix(" %")) for text in found if text != "–"]
        assert 0 < len(numbers) < len(found)
        assert found[len(numbers) :] == ["–"] * (len(found) - len(numbers))
        assert numbers == sorted(numbers, reverse=page.locator("[aria-sort=descending]").count() == 1)
    page.locator("#table-layers thead button").nth(2).click()  # k: 64, 128, 64
    assert column(page, "layers", 3) == ["64", "64", "128"]
    page.locator("#table-layers thead button").first.click()
    assert column(page, "layers", 1) == sorted(layer["name"] for layer in report["layers"])
    assert page.locator("#table-layers [aria-sort]").count() == 1


def test_without_scripts_the_page_is_complete_and_has_no_dead_buttons(open_page):
    page = open_page("tables", java_script_enabled=False)
    assert page.locator("#table-layers tbody tr").count() == 3
    assert page.locator("button").count() == 0


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", ["report", "difference"])
def test_the_page_never_scrolls_sideways_and_wide_boxes_can_be_scrolled_by_keyboard(open_page, name, width):
    page = open_page(name, width=width)
    page.locator("details").evaluate_all("all => all.forEach(each => { each.open = true; })")
    page.evaluate("() => new Promise(requestAnimationFrame)")  # toggled
    assert page.evaluate("document.documentElement.scrollWidth") == width
    boxes = page.locator(".scroll, pre").evaluate_all(
        "all => all.map(box => [box.scrollWidth > box.clientWidth + 1, box.tabIndex, box.getAttribute('role')])"
    )
    assert all(stop == (0 if wide else -1) and role == "region" for wide, stop, role in boxes)
    if (name, width) == ("report", 375):
        wide = page.locator("#table-layers").locator("..")
        wide.focus()
        page.keyboard.press("ArrowRight")
        page.wait_for_function("box => box.scrollLeft > 0", arg=wide.element_handle())


def test_the_keyboard_finds_its_way(open_page):
    page = open_page("tables")
    page.keyboard.press("Tab")
    skip = page.locator(":focus")
    assert skip.inner_text() == "Skip to the report"
    page.wait_for_function("() => document.activeElement.getBoundingClientRect().top >= 0")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.keyboard.press("Tab")
    focused = page.locator(":focus")
    assert focused.evaluate("each => document.querySelector('main').contains(each)")
    assert focused.evaluate("each => getComputedStyle(each).outlineStyle") == "solid"


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("name", ["report", "difference"])
def test_accessibility_rules_and_contrast(open_page, name, scheme):
    page = open_page(name, scheme=scheme)
    page.locator("details").evaluate_all("all => all.forEach(each => { each.open = true; })")
    # a drawing is one image, of outlines without texts: its thousands of elements would only take time
    page.locator("figure svg").evaluate_all("all => all.forEach(each => each.replaceChildren())")
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    passed = {rule["id"] for rule in found.response["passes"]}
    assert {"color-contrast", "heading-order", "landmark-one-main", "region", "skip-link", "td-headers-attr"} <= passed


def luminance(colour):
    channels = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_figures_follow_the_scheme_with_contrast(open_page, scheme):
    page = open_page(scheme=scheme)
    surface = page.locator("#energy-section").evaluate("each => getComputedStyle(each).backgroundColor")
    assert (luminance(surface) > 0.5) == (scheme == "light")
    for variable in ("ink", "muted"):
        fills = page.locator(f"figure svg [style*='fill: var(--{variable})']").evaluate_all(
            "all => all.map(each => getComputedStyle(each).fill)"
        )
        assert len(fills) > 50
        for fill in set(fills):
            light, dark = sorted((luminance(fill), luminance(surface)), reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= 4.5, (variable, fill)


def test_the_page_prints_on_white_paper(open_page):
    page = open_page(width=703, scheme="dark")  # the width of A4 between its margins
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert luminance(page.locator("h1").evaluate("each => getComputedStyle(each).color")) < 0.1
    for gone in ("nav", ".skip", ".data", "details"):
        assert not page.locator(gone).first.is_visible(), gone
    edges = page.locator("table").evaluate_all("all => all.map(each => each.getBoundingClientRect().right)")
    assert max(edges) <= 703
    paper = page.pdf(format="A4", print_background=True, prefer_css_page_size=True)
    assert 5 <= len(re.findall(rb"/Type\s*/Page\b", paper)) <= 25


def test_the_data_of_a_figure_and_of_a_table_can_be_saved(open_page, report):
    page = open_page()
    found = tables.build(report)
    for place, name in (("#figure-training", "training"), ("#table-layers", "layers")):
        with page.expect_download() as saved:
            page.locator(f"{place} a[download='{name}.csv']").click()
        assert saved.value.suggested_filename == f"{name}.csv"
        assert saved.value.path().read_text(encoding="utf-8") == table_csv(found[name])


def test_a_missing_browser_is_an_error_that_says_what_to_do(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: None)
    message = r"^none of chromium, chromium-browser, google-chrome is installed: run `sh tools/chromium\.sh`$"
    with pytest.raises(FileNotFoundError, match=message):
        chromium.command()


def test_the_script_that_installs_it_is_quiet_where_it_is_and_says_what_to_install_where_it_cannot(tmp_path):
    script = Path(__file__).parents[2] / "tools" / "chromium.sh"
    for path, said in ((os.environ["PATH"], ""), (str(tmp_path), "Chromium could not be installed: the tests in ")):
        done = subprocess.run(["/bin/sh", script], env={"PATH": path}, capture_output=True, text=True, check=True)
        assert done.stdout.startswith(said) and bool(done.stdout) == bool(said)
        assert done.stderr == ""
