"""The authority for executable models: Verilog in, a cocotb-ready program out, built once per text and tools.

Verilator writes the C++, the compiler makes it a program; make is not involved. Only the ports of the top module are
visible to the bench, so that Verilator may optimise everything inside. The run-time library is compiled once per
toolchain.
"""

__all__ = ["Model", "build"]

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

_VERILATOR_FLAGS = (
    "-cc",
    "--make",
    "json",
    "--prefix",
    "Vtop",
    "--vpi",
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
    "0",
)
_CXX_FLAGS = (
    f"-std={CXX_STANDARD}",
    "-w",
    "-DVERILATOR=1",
    *(f"-DVM_{name}=0" for name in ("COVERAGE", "SC", "TIMING", "TRACE", "TRACE_FST", "TRACE_VCD", "TRACE_SAIF")),
)
_HOT, _COLD = "-O1", "-O0"
_ONE_UNIT_BYTES = 60_000
"""Up to this size of the generated C++ one translation unit compiles faster than two."""

_HEADER = "runtime.h"
_PRECOMPILED = '#include "verilated.h"\n#include "verilated_vpi.h"\n'

_PORT = re.compile(r"^\s*(input|output)\s+(?:(?:wire|reg|signed)\s+)*(?:\[\d+:\d+\]\s*)?(\w+)\s*;", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Model:
    """An executable model.

    Attributes
    ----------
    top : str
        Name of the top module, and of the program.
    directory : Path
        Where the program is, and ``design.v``, from which it was made.
    """

    top: str
    directory: Path


def build(verilog: str, top: str, *, toolchain: Toolchain, directory: Path) -> Model:
    """Make an executable model, or find the one that was made before.

    Safe to call from several processes at once: each builds aside and moves the result into place.

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

    Returns
    -------
    Model
        The model.

    Raises
    ------
    InvalidValueError
        If `top` is not in `verilog`, or `directory` cannot be written.
    ToolError
        If Verilator or the compiler fails; its first complaint is quoted.
    """
    directory = directory.resolve()
    key = _key(verilog, top, *_VERILATOR_FLAGS, *_CXX_FLAGS, _HOT, _COLD, *_identity(toolchain))
    return Model(
        top=top,
        directory=_cached(directory, f"{top}-{key}", lambda aside: _make(verilog, top, toolchain, directory, aside)),
    )


def _identity(toolchain: Toolchain) -> tuple[str, ...]:
    return (
        toolchain.verilator,
        toolchain.verilator_version,
        toolchain.compiler,
        toolchain.compiler_version,
        version("cocotb"),
    )


def _key(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:20]


def _cached(directory: Path, name: str, make: Callable[[Path], None]) -> Path:
    """Return ``directory/name``, having `make` fill it first if it does not exist."""
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


def _make(verilog: str, top: str, toolchain: Toolchain, directory: Path, aside: Path) -> None:
    """Build the model into the directory `aside`."""
    from cocotb_tools import config

    work = aside / "work"
    work.mkdir()
    (aside / "design.v").write_text(verilog, encoding="utf-8")
    (work / "ports.vlt").write_text(_public_ports(verilog, top), encoding="utf-8")
    command = [toolchain.verilator, *_VERILATOR_FLAGS, "--top-module", top, "--Mdir", str(work)]
    _call("Verilator", [*command, str(work / "ports.vlt"), str(aside / "design.v")], toolchain.environment)
    listing = json.loads((work / "Vtop.json").read_text(encoding="utf-8"))
    sources = {kind: [Path(p) for p in paths] for kind, paths in listing["sources"].items()}
    include = Path(listing["system"]["verilator_root"]) / "include"
    runtime = _runtime(sources["global"], include, toolchain, directory)
    flags = (*_CXX_FLAGS, "-include", str(runtime / _HEADER), f"-I{work}", f"-I{include}", f"-I{include / 'vltstd'}")

    hot = [*sources.get("classes_fast", ()), *sources.get("support_fast", ())]
    cold = [*sources.get("classes_slow", ()), *sources.get("support_slow", ())]
    cold.append(config.share_dir / "lib" / "verilator" / "verilator.cpp")
    if sum(path.stat().st_size for path in hot) <= _ONE_UNIT_BYTES:
        units = {"all": ([*hot, *cold], _HOT)}
    else:
        units = {"hot": (hot, _HOT), "cold": (cold, _COLD)}
    commands = []
    for name, (paths, optimisation) in units.items():
        unit = work / f"{name}.cpp"
        unit.write_text("".join(f'#include "{path}"\n' for path in paths), encoding="utf-8")
        commands.append([toolchain.compiler, *flags, optimisation, "-c", str(unit), "-o", str(unit.with_suffix(".o"))])
    with ThreadPoolExecutor(max_workers=len(commands)) as pool:
        for done in [pool.submit(_call, "the C++ compiler", line, toolchain.environment) for line in commands]:
            done.result()
    objects = [work / f"{name}.o" for name in units] + sorted(runtime.glob("*.o"))
    libs = config.libs_dir
    link = [toolchain.compiler, *map(str, objects), "-o", str(aside / top), f"-L{libs}", "-lcocotbvpi_verilator"]
    _call("the linker", [*link, "-pthread", f"-Wl,-rpath,{libs}"], toolchain.environment)
    shutil.rmtree(work)


def _runtime(sources: Sequence[Path], include: Path, toolchain: Toolchain, directory: Path) -> Path:
    """Compile Verilator's run-time library and the headers that every model starts with, or find them compiled."""

    def make(aside: Path) -> None:
        flags = (*_CXX_FLAGS, f"-I{include}", f"-I{include / 'vltstd'}", _HOT)
        (aside / _HEADER).write_text(_PRECOMPILED, encoding="utf-8")
        jobs = [(["-x", "c++-header"], aside / _HEADER, aside / f"{_HEADER}.gch")]
        jobs += [(["-c"], path, aside / f"{path.stem}.o") for path in sources]
        for mode, path, output in jobs:
            command = [toolchain.compiler, *flags, *mode, str(path), "-o", str(output)]
            _call("the C++ compiler", command, toolchain.environment)

    key = _key(*map(str, sources), _PRECOMPILED, *_CXX_FLAGS, _HOT, *_identity(toolchain))
    return _cached(directory, f"runtime-{key}", make)


def _public_ports(verilog: str, top: str) -> str:
    """Write the Verilator configuration that shows the ports of `top`, and nothing else, to the bench."""
    module = re.search(rf"^module {re.escape(top)}\b.*?^endmodule", verilog, re.MULTILINE | re.DOTALL)
    if module is None:
        raise InvalidValueError(f"`verilog` has no module '{top}'")
    lines = ["`verilator_config"]
    for direction, port in _PORT.findall(module[0]):
        access = "rw" if direction == "input" else "rd"
        lines.append(f'public_flat_{access} -module "{top}" -var "{port}"')
    return "\n".join(lines) + "\n"


def _call(what: str, command: Sequence[str], environment: dict[str, str]) -> None:
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
