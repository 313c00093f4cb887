"""The authority for batch models as shared libraries: Verilog in, a library out, built once per text and tools."""

__all__ = ["Library", "build_library"]

import json
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tetrit.verify.batch.source import rows_source
from tetrit.verify.building import Port, cached, call, identity, key, ports
from tetrit.verify.tools import CXX_STANDARD, Toolchain

_VERILATOR_FLAGS = (
    "-cc",
    "--make",
    "json",
    "--prefix",
    "Vtop",
    "-O3",
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
    "--output-split",
    "100000",
    "--output-split-cfuncs",
    "2000",
)
_CXX_FLAGS = (
    f"-std={CXX_STANDARD}",
    "-w",
    "-fPIC",
    "-fvisibility=hidden",
    "-DVERILATOR=1",
    *(f"-DVM_{name}=0" for name in ("COVERAGE", "SC", "TIMING", "TRACE", "TRACE_FST", "TRACE_VCD", "TRACE_SAIF")),
)
_COLD = "-O0"
_NAME = "libdut.so"
_DRIVER = "driver.cpp"
_HEADER = "runtime.h"

_ONE_UNIT_BYTES, _ONE_HOT_BYTES = 60_000, 300_000
"""Up to these sizes of the generated C++ one translation unit compiles fastest, or one beside the cold parts."""


@dataclass(frozen=True, kw_only=True)
class Library:
    """A batch model that is built.

    Attributes
    ----------
    path : Path
        The shared library; beside it ``design.v``, from which it was made.
    ports : tuple of Port
        Ports of the top module.
    """

    path: Path
    ports: tuple[Port, ...]


def build_library(
    verilog: str,
    top: str,
    *,
    toolchain: Toolchain,
    directory: Path,
    optimisation: int = 1,
    driver: str | None = None,
) -> Library:
    """Make a batch model, or find the one that was made before.

    Safe to call from several processes at once.

    Parameters
    ----------
    verilog : str
        All modules.
    top : str
        Name of the top module.
    toolchain : Toolchain
        From `tetrit.verify.tools.find`.
    directory : Path
        Cache; made if it does not exist.
    optimisation : {1, 2, 3}
        Of the C++ compiler. 1 is built soonest; 3 pays for runs of minutes.
    driver : str, optional
        C++ in place of that of `tetrit.verify.batch.source.rows_source`; it may include ``Vtop.h``.

    Returns
    -------
    Library
        What was built.

    Raises
    ------
    InvalidValueError
        If `top` is not in `verilog`, or `directory` cannot be written.
    ToolError
        If Verilator or the compiler fails; its first complaint is quoted.
    """
    found = ports(verilog, top)
    text = rows_source(found) if driver is None else driver
    flags = (*_CXX_FLAGS, f"-O{optimisation}")
    digest = key(verilog, top, text, *_VERILATOR_FLAGS, *flags, _COLD, *identity(toolchain))
    folder = cached(
        directory.resolve(),
        f"{top}-batch-{digest}",
        lambda aside: _make(verilog, top, text, f"-O{optimisation}", toolchain, directory.resolve(), aside),
    )
    return Library(path=folder / _NAME, ports=tuple(found))


def _make(
    verilog: str, top: str, driver: str, optimisation: str, toolchain: Toolchain, directory: Path, aside: Path
) -> None:
    """Build the library into the directory `aside`."""
    work = aside / "work"
    work.mkdir()
    (aside / "design.v").write_text(verilog, encoding="utf-8")
    command = [toolchain.verilator, *_VERILATOR_FLAGS, "--top-module", top, "--Mdir", str(work)]
    call("Verilator", [*command, str(aside / "design.v")], toolchain.environment)
    listing = json.loads((work / "Vtop.json").read_text(encoding="utf-8"))
    sources = {kind: [Path(path) for path in paths] for kind, paths in listing["sources"].items()}
    include = Path(listing["system"]["verilator_root"]) / "include"
    runtime = _runtime(sources["global"], include, optimisation, toolchain, directory)
    (work / _DRIVER).write_text(driver, encoding="utf-8")
    hot = [*sources.get("classes_fast", ()), *sources.get("support_fast", ()), work / _DRIVER]
    cold = [*sources.get("classes_slow", ()), *sources.get("support_slow", ())]
    flags = (*_CXX_FLAGS, "-include", str(runtime / _HEADER), f"-I{work}", f"-I{include}", f"-I{include / 'vltstd'}")
    size = sum(path.stat().st_size for path in hot)
    if size <= _ONE_UNIT_BYTES:
        grouped = [([*hot, *cold], optimisation)]
    elif size <= _ONE_HOT_BYTES:
        grouped = [(hot, optimisation), (cold, _COLD)]
    else:
        grouped = [*(([path], optimisation) for path in hot), (cold, _COLD)]
    units = []
    for number, (paths, level) in enumerate(grouped):
        units.append((work / f"unit_{number}.cpp", level))
        units[-1][0].write_text("".join(f'#include "{path}"\n' for path in paths), encoding="utf-8")
    _compile(units, flags, toolchain)
    objects = [str(path.with_suffix(".o")) for path, _ in units] + [str(path) for path in sorted(runtime.glob("*.o"))]
    link = [toolchain.compiler, "-shared", *objects, "-o", str(aside / _NAME), "-pthread"]
    call("the linker", link, toolchain.environment)
    shutil.rmtree(work)


def _runtime(sources: Sequence[Path], include: Path, optimisation: str, toolchain: Toolchain, directory: Path) -> Path:
    """Compile Verilator's run-time library and its header, or find them compiled."""

    def make(aside: Path) -> None:
        flags = (*_CXX_FLAGS, f"-I{include}", f"-I{include / 'vltstd'}")
        header = aside / _HEADER
        header.write_text('#include "verilated.h"\n', encoding="utf-8")
        precompile = [toolchain.compiler, *flags, optimisation, "-x", "c++-header", str(header), "-o", f"{header}.gch"]
        call("the C++ compiler", precompile, toolchain.environment)
        copies = [aside / path.name for path in sources]
        for source, copy in zip(sources, copies, strict=True):
            copy.write_text(f'#include "{source}"\n', encoding="utf-8")
        _compile([(copy, optimisation) for copy in copies], flags, toolchain)

    digest = key(*map(str, sources), *_CXX_FLAGS, optimisation, *identity(toolchain))
    return cached(directory, f"runtime-batch-{digest}", make)


def _compile(units: Sequence[tuple[Path, str]], flags: Sequence[str], toolchain: Toolchain) -> None:
    """Compile every file, two at a time, to an object beside it."""

    def one(unit: tuple[Path, str]) -> None:
        path, optimisation = unit
        command = [toolchain.compiler, *flags, optimisation, "-c", str(path), "-o", str(path.with_suffix(".o"))]
        call("the C++ compiler", command, toolchain.environment)

    with ThreadPoolExecutor(max_workers=2) as pool:
        list(pool.map(one, units))
