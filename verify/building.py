"""The authority for what every executable model needs: ports read from Verilog, a cache of results, tools that are run.

A result is kept in a folder that is named after everything it depends on, made aside and moved into place, so that
several processes may build the same at once.
"""

__all__ = ["Port", "cached", "call", "identity", "key", "ports"]

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from tetrit.errors import InvalidValueError, ToolError
from tetrit.verify.tools import Toolchain

_PORT = re.compile(
    r"^\s*(?P<direction>input|output)\s+(?:(?:wire|reg|signed)\s+)*(?:\[(?P<high>\d+):(?P<low>\d+)\]\s*)?(?P<name>\w+)\s*;",
    re.MULTILINE,
)


@dataclass(frozen=True, kw_only=True)
class Port:
    """A port of a module.

    Attributes
    ----------
    name : str
        As in Verilog.
    is_input : bool
        Its direction.
    bits : int
        Its width.
    """

    name: str
    is_input: bool
    bits: int


def ports(verilog: str, top: str) -> list[Port]:
    r"""Return the ports of module `top`, in the order of their declarations.

    Raises
    ------
    InvalidValueError
        If there is no such module.

    Examples
    --------
    >>> ports("module dut(a, y);\n  input [3:0] a;\n  output y;\nendmodule", "dut")[0]
    Port(name='a', is_input=True, bits=4)
    """
    module = re.search(rf"^module {re.escape(top)}\b.*?^endmodule", verilog, re.MULTILINE | re.DOTALL)
    if module is None:
        raise InvalidValueError(f"`verilog` has no module '{top}'")
    found: dict[str, Port] = {}
    listed = set(re.findall(r"\w+", module[0][: module[0].index(";")]))
    for match in _PORT.finditer(module[0]):  # functions of the module have inputs too, declared after the ports
        bits = int(match["high"] or 0) - int(match["low"] or 0) + 1
        if match["name"] in listed:
            found.setdefault(match["name"], Port(name=match["name"], is_input=match["direction"] == "input", bits=bits))
    return list(found.values())


def identity(toolchain: Toolchain) -> tuple[str, ...]:
    """Return what tells one set of tools from another."""
    return (
        toolchain.verilator,
        toolchain.verilator_version,
        toolchain.compiler,
        toolchain.compiler_version,
        version("cocotb"),
    )


def key(*parts: str) -> str:
    """Return a short name that no other parts have."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:20]


def cached(directory: Path, name: str, make: Callable[[Path], None]) -> Path:
    """Return ``directory/name``, having `make` fill it first if it does not exist.

    Raises
    ------
    InvalidValueError
        If `directory` cannot be written.
    """
    final = directory / name
    if final.is_dir():
        return final
    try:
        directory.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=".tmp-", dir=directory))
    except OSError as error:
        raise InvalidValueError(f"cannot write to `build_dir` '{directory}': {error.strerror}") from None
    try:
        make(aside)
        try:
            aside.rename(final)
        except OSError:
            if not final.is_dir():  # else another process was faster with the same
                raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return final


def call(what: str, command: Sequence[str], environment: dict[str, str]) -> None:
    """Run one program; raise ToolError with its first complaint if it fails."""
    try:
        done = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace"
        )
    except OSError as error:
        raise ToolError(f"{what} does not run: {error.strerror} ({os.fspath(command[0])})") from None
    if done.returncode != 0:
        lines = [line.strip() for line in (done.stderr + "\n" + done.stdout).splitlines() if line.strip()]
        complaint = next(
            (line for line in lines if "rror" in line), lines[0] if lines else f"exit code {done.returncode}"
        )
        raise ToolError(f"{what} failed: {complaint}")
