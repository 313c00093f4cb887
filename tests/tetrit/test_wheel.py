"""The wheel holds the whole package and nothing else, and works without the source tree."""

import ast
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def rooms():
    """The list of setup.py, read without running it."""
    for node in ast.parse((ROOT / "setup.py").read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "ROOMS":
            return ast.literal_eval(node.value)
    raise AssertionError("setup.py has no ROOMS")


def sources():
    """Every file of the package: path in the installed package -> path in the tree."""
    found = {}
    for folder, name in [("tetrit", "tetrit"), *((room, f"tetrit/{room}") for room in rooms())]:
        for path in (ROOT / folder).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                found[f"{name}/{path.relative_to(ROOT / folder).as_posix()}"] = path
    return found


def packages():
    return sorted(
        name.removesuffix("/__init__.py").replace("/", ".") for name in sources() if name.endswith("/__init__.py")
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Build from a copy, so that a `build/` of earlier builds cannot fill gaps."""
    copy = tmp_path_factory.mktemp("source")
    for folder in ("tetrit", *rooms()):
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, copy)
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, copy]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = out.iterdir()
    return built


@pytest.fixture(scope="module")
def environment(wheel, tmp_path_factory):
    """A new environment with the wheel in it; the dependencies come from this one, its editable install does not."""
    folder = tmp_path_factory.mktemp("environment") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    python = folder / "bin" / "python"
    install = [sys.executable, "-m", "pip", "--quiet", "--python", python, "install", "--no-deps", "--no-index", wheel]
    subprocess.run(install, check=True, capture_output=True)
    (site,) = folder.glob("lib/python*/site-packages")
    # a plain path in a .pth file is searched, but the .pth files that lie there (the editable install's) are not run
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n" + sysconfig.get_path("platlib") + "\n")
    return folder


def test_every_top_level_package_is_a_room():
    found = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tetrit", "tests"}
    assert found == set(rooms())


def test_the_wheel_holds_every_file_of_the_package_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
        assert held == set(sources())
        for name, path in sources().items():
            assert archive.read(name) == path.read_bytes(), name


def test_its_metadata_names_licence_and_extras(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = (archive.read(n).decode() for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        assert any(re.search(r"\.dist-info/.*LICENSE$", name) for name in archive.namelist())
    assert "License-Expression: Apache-2.0\n" in metadata
    assert "Requires-Python: >=3.11\n" in metadata
    extras = {"run", "rtl", "fpga", "hls", "explore", "train", "test", "docs", "all"}
    assert set(re.findall(r"^Provides-Extra: (.+)$", metadata, re.M)) == extras


def test_every_package_imports_from_the_wheel_alone(environment, tmp_path):
    code = (
        "import importlib, sys\n"
        "for name in sys.argv[2:]:\n"
        "    module = importlib.import_module(name)\n"
        "    assert module.__file__.startswith(sys.argv[1]), (name, module.__file__)\n"
    )
    command = [environment / "bin" / "python", "-I", "-c", code, environment, *packages()]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert {"tetrit", "tetrit.cli", "tetrit.formats", "tetrit.hardware", "tetrit.rtl"} <= set(packages())


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--help"], "Usage: tetrit "),
        (["formats", "szt"], "code "),
        (["machines", "shift_8x8"], "kind = "),
        (["rtl", "SZTDecoder"], ""),
    ],
)
def test_the_program_works_from_the_wheel_alone(environment, tmp_path, arguments, expected):
    command = [environment / "bin" / "tetrit", *arguments]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env={"PATH": "/usr/bin:/bin"})
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(expected)
    assert list(tmp_path.iterdir()) == []
