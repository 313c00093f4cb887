"""Whatever is shown is run: the examples of every docstring, and the Python and shell of README and manual."""

import doctest
import importlib
import pkgutil
import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
ROOMS = (*runpy.run_path(str(ROOT / "tools" / "tree.py"))["rooms"](), "flow", "montecarlo", "explore", "cli")


def modules():
    names = ["tetrit.checks", "tetrit.errors", "tetrit.parallel", "tetrit.processes", "tetrit.statistics"]
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
