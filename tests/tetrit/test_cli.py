"""The frame of the command line: commands, lazy imports, and how errors leave it."""

import os
import re
import signal
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import pytest

from tetrit import hardware

PROGRAM = Path(sys.executable).parent / "tetrit"
HEAVY = ("numpy", "numba", "scipy", "torch", "amaranth", "cocotb", "pyosys", "matplotlib", "sklearn", "jinja2")


def test_help_lists_every_command_and_each_has_its_own(tetrit):
    modules = {path.stem for path in Path(sys.modules["tetrit.cli"].__file__).parent.glob("[a-z]*.py")}
    assert set(sys.modules["tetrit.cli"].COMMANDS) == modules
    listing = tetrit("--help")
    assert listing.code == 0
    for name in modules:
        line = re.search(rf"^  {name} +(\S.*)$", listing.out, re.M)
        assert line is not None
        assert line[1].endswith("."), "the summary is cut off"
        page = tetrit(name, "--help")
        assert page.code == 0
        assert page.out.startswith(f"Usage: tetrit {name} ")


def test_version(tetrit):
    assert tetrit("--version").out == f"tetrit {version('tetrit')}\n"


def test_no_arguments_show_the_help(tetrit):
    outcome = tetrit()
    assert outcome.code == 2
    assert outcome.out == tetrit("--help").out


@pytest.mark.parametrize("code", ["import tetrit", "from tetrit.cli import main; main(['--help'])"])
def test_nothing_heavy_is_imported_before_it_is_used(code):
    code += f"; import sys; print(sorted(set({HEAVY!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["formts"], "unknown command 'formts'; did you mean 'formats'?"),
        (["--nope"], "No such option '--nope'."),
        (["formats", "szt", "more"], "Got unexpected extra argument (more)"),
        (["run", "x.toml"], "Missing option '--out'."),
        (["rtl"], "COMPONENT is missing; `tetrit rtl --list` lists them"),
    ],
)
def test_wrong_usage_is_one_line(tetrit, arguments, message):
    outcome = tetrit(*arguments)
    assert (outcome.code, outcome.out, outcome.err) == (2, "", f"tetrit: error: {message}\n")


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (KeyboardInterrupt(), 130, "\ntetrit: error: interrupted\n"),
        (PermissionError(13, "Permission denied", "/a/b"), 2, "tetrit: error: /a/b: Permission denied\n"),
        (OSError("the disk is on fire"), 2, "tetrit: error: the disk is on fire\n"),
        (
            ModuleNotFoundError("No module named 'pyosys'", name="pyosys.libyosys"),
            2,
            "tetrit: error: this needs the package 'pyosys', which is not installed: pip install 'tetrit[rtl]'\n",
        ),
    ],
)
def test_errors_leave_as_one_line(tetrit, monkeypatch, error, code, message):
    def fail():
        raise error

    monkeypatch.setattr(hardware, "presets", fail)
    outcome = tetrit("machines")
    assert (outcome.code, outcome.out, outcome.err) == (code, "", message)


@pytest.mark.parametrize("sigint", [signal.default_int_handler, signal.SIG_IGN])
def test_sigterm_ends_in_order(tetrit, monkeypatch, sigint):
    """Also where SIGINT is ignored, as in background jobs of a shell."""
    cleaned = []

    def terminated():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(60)
        finally:
            cleaned.append(True)

    monkeypatch.setattr(hardware, "presets", terminated)
    before = signal.signal(signal.SIGINT, sigint)
    try:
        outcome = tetrit("machines")
    finally:
        signal.signal(signal.SIGINT, before)
    assert (outcome.code, outcome.out, outcome.err) == (143, "", "\ntetrit: error: interrupted\n")
    assert cleaned
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_sigterm_that_is_not_ours_is_left_alone(tetrit, monkeypatch):
    seen = []

    def terminated():
        os.kill(os.getpid(), signal.SIGTERM)
        raise KeyboardInterrupt

    def theirs(number, frame):
        seen.append(number)

    monkeypatch.setattr(hardware, "presets", terminated)
    before = signal.signal(signal.SIGTERM, theirs)
    try:
        assert tetrit("machines").code == 130
        assert signal.getsignal(signal.SIGTERM) is theirs
    finally:
        signal.signal(signal.SIGTERM, before)
    assert seen == [signal.SIGTERM]


@pytest.mark.parametrize(
    "error", [ZeroDivisionError("a mistake of ours"), ModuleNotFoundError("ours too", name="tetrit.x")]
)
def test_mistakes_of_ours_are_not_dressed_up(tetrit, monkeypatch, error):
    def fail():
        raise error

    monkeypatch.setattr(hardware, "presets", fail)
    with pytest.raises(type(error), match=rf"^{error}$"):
        tetrit("machines")


def test_debug_adds_the_traceback(tetrit, monkeypatch):
    monkeypatch.setenv("TETRIT_DEBUG", "1")
    outcome = tetrit("formts")
    assert outcome.code == 2
    assert outcome.err.startswith("Traceback (most recent call last):\n")
    assert outcome.err.endswith("tetrit: error: unknown command 'formts'; did you mean 'formats'?\n")


def test_the_installed_program_answers():
    done = subprocess.run([PROGRAM, "formts"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "tetrit: error: unknown command 'formts'; did you mean 'formats'?\n"


@pytest.mark.parametrize("name", ["szt", "posit16_1"])  # less and more than a buffer
def test_a_closed_pipe_ends_quietly(name):
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([PROGRAM, "formats", name], stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_knows_the_commands(shell):
    environment = os.environ | {
        "_TETRIT_COMPLETE": f"{shell}_complete",
        "COMP_WORDS": "tetrit for" if shell != "fish" else "tetrit",
        "COMP_CWORD": "1" if shell != "fish" else "for",
    }
    done = subprocess.run([PROGRAM], capture_output=True, text=True, env=environment, check=True)
    assert "formats" in done.stdout
    assert "machines" not in done.stdout
