"""The authority for what every executable model needs: ports read from Verilog, a cache of results, tools that are run.

A result is kept in a folder that is named after everything it depends on, made aside and moved into place, so that
several processes may build the same at once.
"""

__all__ = [
    "CXX_FLAGS",
    "VERILATOR_FLAGS",
    "WAVES_FLAGS",
    "Port",
    "Verilated",
    "cached",
    "call",
    "compiled",
    "identity",
    "key",
    "ports",
    "runtime",
    "verilate",
]

import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from tetrit.errors import InvalidValueError, ToolError
from tetrit.verify.tools import CXX_STANDARD, Toolchain

VERILATOR_FLAGS = (
    "-cc",
    "--make",
    "json",
    "--prefix",
    "Vtop",
    "--no-timing",
    "--no-assert",
    "--quiet",
    "-Wno-fatal",
    "-Wno-lint",
    "-Wno-style",
    "--x-assign",
    "unique",
    "--x-initial",
    "unique",
)
CXX_FLAGS = (
    f"-std={CXX_STANDARD}",
    "-w",
    "-DVERILATOR=1",
    *(f"-DVM_{name}=0" for name in ("COVERAGE", "SC", "TIMING", "TRACE", "TRACE_FST", "TRACE_VCD", "TRACE_SAIF")),
)
WAVES_FLAGS = ("--trace-vcd", "--trace-max-width", "0")
"""What Verilator is told besides where a model is to record waveforms: signals of any width are traced."""

_HEADER = "runtime.h"
_TRACING = "verilated_vcd_c.cpp"

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


@dataclass(frozen=True, kw_only=True)
class Verilated:
    """C++ that Verilator has written.

    Attributes
    ----------
    hot, cold : list of Path
        What runs in every cycle, and what runs once.
    library : list of Path
        Verilator's run-time library, the same for all designs.
    include : Path
        Its headers.
    """

    hot: list[Path]
    cold: list[Path]
    library: list[Path]
    include: Path


def verilate(
    verilog: str, top: str, flags: Sequence[str], toolchain: Toolchain, aside: Path, *, settings: str | None = None
) -> Verilated:
    """Write ``design.v`` to the folder `aside`, and its C++ to ``work`` there; `settings` are Verilator's own."""
    work = aside / "work"
    work.mkdir()
    files = [aside / "design.v"]
    files[0].write_text(verilog, encoding="utf-8")
    if settings is not None:
        files.insert(0, work / "settings.vlt")
        files[0].write_text(settings, encoding="utf-8")
    command = [toolchain.verilator, *VERILATOR_FLAGS, *flags, "--top-module", top, "--Mdir", str(work)]
    call("Verilator", [*command, *map(str, files)], toolchain.environment)
    listing = json.loads((work / "Vtop.json").read_text(encoding="utf-8"))
    sources = {kind: [Path(path) for path in paths] for kind, paths in listing["sources"].items()}
    return Verilated(
        hot=[*sources.get("classes_fast", ()), *sources.get("support_fast", ())],
        cold=[*sources.get("classes_slow", ()), *sources.get("support_slow", ())],
        library=sources["global"],
        include=Path(listing["system"]["verilator_root"]) / "include",
    )


def runtime(
    made: Verilated, headers: Sequence[str], flags: Sequence[str], toolchain: Toolchain, directory: Path
) -> tuple[list[Path], tuple[str, ...]]:
    """Compile Verilator's run-time library, and headers that every unit begins with, or find them compiled.

    What only models with waveforms need is kept apart, so that these and others share all else.

    Returns
    -------
    list of Path
        Objects to link.
    tuple of str
        Flags with which units find all headers.
    """
    inner = (f"-I{made.include}", f"-I{made.include / 'vltstd'}")
    text = "".join(f'#include "{header}"\n' for header in headers)
    tracing = [path for path in made.library if path.name == _TRACING]
    common = [path for path in made.library if path not in tracing]

    def library(aside: Path, sources: Sequence[Path]) -> None:
        compiled([(aside / path.name, [path], ()) for path in sources], (*flags, *inner), toolchain)

    def make(aside: Path) -> None:
        header = aside / _HEADER
        header.write_text(text, encoding="utf-8")
        command = [toolchain.compiler, *flags, *inner, "-x", "c++-header", str(header), "-o", f"{header}.gch"]
        call("the C++ compiler", command, toolchain.environment)
        library(aside, common)

    folder = cached(directory, f"runtime-{key(*map(str, common), text, *flags, *identity(toolchain))}", make)
    objects = sorted(folder.glob("*.o"))
    if tracing:
        name = f"runtime-{key(*map(str, tracing), *flags, *identity(toolchain))}"
        objects += sorted(cached(directory, name, lambda aside: library(aside, tracing)).glob("*.o"))
    return objects, ("-include", str(folder / _HEADER), *inner)


def compiled(
    units: Sequence[tuple[Path, Sequence[Path], Sequence[str]]], flags: Sequence[str], toolchain: Toolchain
) -> list[Path]:
    """Compile units, two at a time: a file to write, the files that it includes, and its flags; return the objects."""

    def one(unit: tuple[Path, Sequence[Path], Sequence[str]]) -> Path:
        path, included, own = unit
        path.write_text("".join(f'#include "{file}"\n' for file in included), encoding="utf-8")
        built = path.with_suffix(".o")
        command = [toolchain.compiler, *flags, *own, "-c", str(path), "-o", str(built)]
        call("the C++ compiler", command, toolchain.environment)
        return built

    with ThreadPoolExecutor(max_workers=2) as pool:
        return list(pool.map(one, units))
