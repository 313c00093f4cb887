"""`make` says in one line what is missing, and leaves with code 2, before anything is set up."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DEBIAN = "on Debian or Ubuntu: apt-get install"
PYTHON = Path(sys.base_prefix) / "bin" / "python3"


@pytest.fixture
def machine(tmp_path):
    """A bare machine: a copy of the Makefile and what it reads, and a search path with just the programs put there."""
    tree = tmp_path / "tree"
    (tree / "tools").mkdir(parents=True)
    for name in ("Makefile", "constraints.txt", "pyproject.toml", "setup.py", "tools/preflight.sh"):
        shutil.copy(ROOT / name, tree / name)
    path = tmp_path / "bin"
    path.mkdir()
    for tool in ("sh", "echo", "sed", "printf", "perl", "make", "c++"):
        found = shutil.which(tool)
        if found:
            (path / tool).symlink_to(found)
    script(path / "python3", f'exec "{PYTHON}" "$@"')
    return tree, path


def script(path, body):
    path.unlink(missing_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


def make(machine, target, *arguments):
    tree, path = machine
    command = [shutil.which("make"), "--no-print-directory", target, *arguments]
    # the compiler finds its own parts by its real path; nothing else is reachable
    return subprocess.run(command, cwd=tree, capture_output=True, text=True, env={"PATH": str(path)})


def refused(machine, target="sim", *arguments):
    done = make(machine, target, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert not (machine[0] / ".venv").exists()
    match = re.fullmatch(r"Makefile:\d+: \*\*\* (.+)\.  Stop\.\n", done.stderr)
    assert match is not None, done.stderr
    return match[1]


def preflight(machine, *arguments):
    tree, path = machine
    command = ["/bin/sh", tree / "tools" / "preflight.sh", *arguments]
    return subprocess.run(command, cwd=tree, capture_output=True, text=True, env={"PATH": str(path)}).stdout


def test_a_good_machine_passes(machine):
    assert preflight(machine, "", "simulate", "headers") == "ok python3\n"


def test_no_python(machine):
    (machine[1] / "python3").unlink()
    assert refused(machine) == (
        "tetrit needs Python 3.11 or newer, "
        "found none (tried: .venv/bin/python python3 python3.13 python3.12 python3.11); "
        f"{DEBIAN} python3 python3-venv python3-dev, or name one: make PYTHON=/path/to/python3"
    )


def test_old_python(machine):
    # a Python that says, and behaves as if, it were 3.9
    script(machine[1] / "python3", 'case "$2" in *print*) echo 3.9.2 ;; *) exit 1 ;; esac')
    assert refused(machine).startswith("tetrit needs Python 3.11 or newer, found only: python3 is 3.9.2; ")


def test_a_newer_python_beside_an_old_one_is_found(machine):
    (machine[1] / "python3").rename(machine[1] / "python3.12")
    script(machine[1] / "python3", 'case "$2" in *print*) echo 3.9.2 ;; *) exit 1 ;; esac')
    assert preflight(machine, "", "simulate") == "ok python3.12\n"


def test_a_chosen_python_is_the_only_one_tried(machine):
    assert refused(machine, "sim", "PYTHON=/no/python").startswith(
        "tetrit needs Python 3.11 or newer, found none (tried: /no/python); "
    )


def test_no_venv(machine):
    version = ".".join(map(str, sys.version_info[:2]))
    script(machine[1] / "python3", f'case "$2" in *ensurepip*) exit 1 ;; esac\nexec "{PYTHON}" "$@"')
    message = f"python3 cannot make virtual environments (no venv or ensurepip); {DEBIAN} python{version}-venv"
    assert refused(machine) == message


@pytest.mark.parametrize("tool", ["make", "perl"])
def test_no_tool(machine, tool):
    (machine[1] / tool).unlink()
    assert refused(machine) == f"{tool} is missing (Verilator's builds run it); {DEBIAN} {tool}"


def test_no_compiler(machine):
    (machine[1] / "c++").unlink()
    assert refused(machine) == f"a C++ compiler is missing (tried: c++ g++ clang++); {DEBIAN} g++"


def test_old_compiler(machine):
    script(machine[1] / "c++", "echo \"error: unrecognized option '-std=c++17'\" >&2; exit 1")
    assert refused(machine) == f"the C++ compiler 'c++' is too old or broken (it refuses a C++17 program); {DEBIAN} g++"


def test_no_headers(machine):
    version = ".".join(map(str, sys.version_info[:2]))
    script(machine[1] / "python3", f'case "$2" in *Python.h*) exit 1 ;; esac\nexec "{PYTHON}" "$@"')
    assert preflight(machine, "", "simulate") == "ok python3\n"
    message = f"python3 has no headers (Python.h; a test oracle is compiled); {DEBIAN} python{version}-dev"
    assert refused(machine, "test") == message


def test_no_shared_library(machine):
    version = ".".join(map(str, sys.version_info[:2]))
    script(machine[1] / "python3", f'case "$2" in *INSTSONAME*) exit 1 ;; esac\nexec "{PYTHON}" "$@"')
    assert refused(machine) == (
        f"python3 has no shared library libpython{version} (cocotb loads it into the simulator); "
        f"{DEBIAN} libpython{version}"
    )


def test_help_needs_nothing_and_lists_every_target(machine):
    done = make(machine, "help")
    phony = re.search(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(), re.M)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.findall(r"^  (\w+)", done.stdout, re.M) == phony[1].split()
