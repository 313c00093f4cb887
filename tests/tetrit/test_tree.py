"""Rules of the whole source tree that no linter knows."""

import ast
import re
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
HIDDEN = {"build", "dist"}


def files(pattern):
    """Paths in the tree that match, without what was built or installed there."""
    return sorted(
        path
        for path in ROOT.rglob(pattern)
        if not any(part.startswith(".") or part in HIDDEN for part in path.relative_to(ROOT).parts[:-1])
        and "__pycache__" not in path.parts
        and not any(part.endswith(".egg-info") for part in path.parts)
    )


MODULES = [path for path in files("*.py") if path.relative_to(ROOT).parts[0] not in ("tests", "bench", "docs")]


def jitted(tree):
    """Calls and decorators of numba in a module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name | ast.Attribute) and ast.unparse(node).split(".")[-1] in (
            "njit",
            "jit",
            "vectorize",
        ):
            yield node


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_compiled_code_is_in_kernels_and_without_fastmath(path):
    tree = ast.parse(path.read_text())
    if path.name != "_kernels.py":
        assert list(jitted(tree)) == []
    assert [node.arg for node in ast.walk(tree) if isinstance(node, ast.keyword) and node.arg == "fastmath"] == []


def test_tools_know_every_room():
    subprocess.run([sys.executable, ROOT / "tools" / "tree.py"], check=True)
    tree = ROOT / "build" / "tree" / "tetrit"
    linked = {path.relative_to(tree).parts[0] for path in tree.glob("*/__init__.py")}
    found = [*ROOT.glob("*/__init__.py"), *ROOT.glob("tetrit/*/__init__.py")]
    assert linked == {path.parent.name for path in found} - {"tetrit"}


def test_the_import_rules_place_every_room():
    rules = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (layers,) = (rule["layers"] for rule in rules if rule["type"] == "layers")
    placed = {name.strip() for layer in layers for name in layer.split("|")}
    inside = {path.stem for path in ROOT.glob("tetrit/*.py")} | {
        path.parent.name for path in ROOT.glob("tetrit/*/__init__.py")
    }
    rooms = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tetrit"}
    assert placed == {f"tetrit.{name}" for name in (inside | rooms) - {"__init__"}}


def pins():
    """Names in constraints.txt -> versions."""
    found = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            requirement = Requirement(line)
            found.setdefault(canonicalize_name(requirement.name), []).append(requirement)
    return found


def needed():
    """Every installed distribution that some extra of tetrit needs, directly or not."""
    own = distribution("tetrit")
    todo = [("tetrit", extra) for extra in own.metadata.get_all("Provides-Extra")]
    seen = set()
    while todo:
        name, extra = todo.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        try:
            requirements = distribution(name).requires or []
        except PackageNotFoundError:  # of an extra that is not installed here
            continue
        for requirement in map(Requirement, requirements):
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                todo += [(canonicalize_name(requirement.name), e) for e in ("", *requirement.extras)]
    return sorted({name for name, _ in seen} - {"tetrit"})


def test_everything_that_is_needed_is_pinned():
    known = pins()
    assert [name for name in needed() if name not in known and not re.match(r"nvidia-|cuda-|triton$", name)] == []


def test_what_is_installed_is_what_is_pinned():
    for name in needed():
        try:
            installed = distribution(name).version
        except PackageNotFoundError:
            continue
        wanted = [r for r in pins().get(name, ()) if r.marker is None or r.marker.evaluate()]
        if wanted:
            assert wanted[0].specifier.contains(installed), f"{name} {installed} is installed, {wanted[0]} is pinned"


def test_no_registry_host_and_no_machine_path_is_named():
    # split, so that this file is not itself a find
    hosts = "|".join(("pypi" + r"\.org", "python" + r"hosted\.org", "registry" + r"\.npmjs", "deb" + r"\.debian"))
    paths = "/" + "work/|/" + r"root/|/" + r"opt/|/home/\w"
    forbidden = re.compile(f"{hosts}|(?<![\\w.~-])(?:{paths})")
    for path in [*files("*"), ROOT / ".ci" / "run", ROOT / ".pre-commit-config.yaml"]:
        if path.is_file() and path.suffix not in (".png", ".svg", ".ico"):
            match = forbidden.search(path.read_text(errors="replace"))
            assert match is None, f"{path.relative_to(ROOT)} names {match[0]}"
