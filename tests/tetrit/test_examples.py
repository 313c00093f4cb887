"""Whatever is shown is run: the examples of every docstring, and the Python and shell of README and manual."""

import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import tetrit

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
ROOMS = ("formats", "hardware", "estimators", "sim", "rtl", "verify", "hls", "train", "report", "flow", "cli")


def modules():
    names = ["tetrit.checks", "tetrit.errors", "tetrit.parallel"]
    for room in ROOMS:
        package = importlib.import_module(f"tetrit.{room}")
        names.append(package.__name__)
        names += [found.name for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")]
    return [name for name in names if ".benches." not in name]  # those run inside the simulator


@pytest.mark.parametrize("name", modules())
def test_docstring_examples(name):
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert result.failed == 0


def test_there_are_docstring_examples():
    finder = doctest.DocTestFinder()
    found = sum(len(test.examples) for name in modules() for test in finder.find(importlib.import_module(name)))
    assert found > 100


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_of_the_manual_runs(page, capsys):
    for block in re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
        exec(compile(block, page.name, "exec"), {})  # noqa: S102  our own pages


def test_readme_shows_what_a_run_prints():
    """The block has the shape of today's summary: the same rows, layers and columns; its figures are a real run's."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    [shown] = re.findall(r"^```text\n(digits\n.*?)^```", text, re.MULTILINE | re.DOTALL)
    for row in ("accuracy", "cycles", "latency", "energy", "area", "ShiftPEArray", "szt datapath", "verified"):
        assert re.search(rf"^  {row} ", shown, re.MULTILINE)
    assert "0 mismatches" in shown
    assert tetrit.__version__
