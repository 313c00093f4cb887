"""The page on analog costs: its tables are what the code gives, always the same; the slow ones by one entry each."""

import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs" / "analog_cost.md"


@pytest.fixture(scope="module")
def bench():
    sys.path.insert(0, str(ROOT / "bench"))
    import break_even

    sys.path.remove(str(ROOT / "bench"))
    return break_even


@pytest.fixture(scope="module")
def page():
    marks = re.findall(r"<!-- ([a-z -]+) -->\n(.*?)\n<!-- end of \1 -->", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    return dict(marks)


@pytest.mark.parametrize("name", ["adc", "peripherals", "cells"])
def test_tables_of_figures_are_up_to_date(bench, page, name):
    made = getattr(bench, f"{name}_table")
    assert page[name] == made() == made()


def test_the_largest_arrays_are_as_on_the_page(bench, page):
    codes, x = bench.codes_and_inputs()
    point = bench.measure(1024, 8, codes, x, (6,))[6]

    def entry(name):
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in page[name].splitlines()]
        assert rows[0][-1] == "1024 x 1024"
        return next(row[-1] for row in rows if row[0] == "6")

    assert entry("energy").strip("*") == bench.bounds(point.mac_pj, ",.0f", 1e3)
    assert entry("isaac") == f"{1e3 * point.isaac_pj:,.0f}"
    assert entry("error") == f"{100 * point.error:.1f} %"
    assert entry("area") == bench.bounds(point.area_mm2, ".2f")
    assert point.mac_pj.low < point.mac_pj.value < point.mac_pj.high


def test_every_table_of_the_page_is_made_by_the_bench(page):
    assert set(page) == {
        "adc", "peripherals", "cells", "digital", "energy", "isaac", "error", "break-even with memories",
        "break-even of arrays", "inputs", "area", "density", "digital density",
    }  # fmt: skip
    assert all(text.startswith("| ") for text in page.values())
