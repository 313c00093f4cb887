"""The authority for executable models: Verilog in, a cocotb-ready program out, built once per text and tools.

Verilator writes the C++, the compiler makes it a program; make is not involved. Only the ports of the top module are
visible to the bench, so that Verilator may optimise everything inside. The run-time library is compiled once per
toolchain.
"""

__all__ = ["Model", "build"]

import json
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tetrit.verify.building import cached, call, identity, key, ports
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
    digest = key(verilog, top, *_VERILATOR_FLAGS, *_CXX_FLAGS, _HOT, _COLD, *identity(toolchain))
    return Model(
        top=top,
        directory=cached(directory, f"{top}-{digest}", lambda aside: _make(verilog, top, toolchain, directory, aside)),
    )


def _make(verilog: str, top: str, toolchain: Toolchain, directory: Path, aside: Path) -> None:
    """Build the model into the directory `aside`."""
    from cocotb_tools import config

    work = aside / "work"
    work.mkdir()
    (aside / "design.v").write_text(verilog, encoding="utf-8")
    (work / "ports.vlt").write_text(_public_ports(verilog, top), encoding="utf-8")
    command = [toolchain.verilator, *_VERILATOR_FLAGS, "--top-module", top, "--Mdir", str(work)]
    call("Verilator", [*command, str(work / "ports.vlt"), str(aside / "design.v")], toolchain.environment)
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
        for done in [pool.submit(call, "the C++ compiler", line, toolchain.environment) for line in commands]:
            done.result()
    objects = [work / f"{name}.o" for name in units] + sorted(runtime.glob("*.o"))
    libs = config.libs_dir
    link = [toolchain.compiler, *map(str, objects), "-o", str(aside / top), f"-L{libs}", "-lcocotbvpi_verilator"]
    call("the linker", [*link, "-pthread", f"-Wl,-rpath,{libs}"], toolchain.environment)
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
            call("the C++ compiler", command, toolchain.environment)

    digest = key(*map(str, sources), _PRECOMPILED, *_CXX_FLAGS, _HOT, *identity(toolchain))
    return cached(directory, f"runtime-{digest}", make)


def _public_ports(verilog: str, top: str) -> str:
    """Write the Verilator configuration that shows the ports of `top`, and nothing else, to the bench."""
    lines = ["`verilator_config"]
    for port in ports(verilog, top):
        access = "rw" if port.is_input else "rd"
        lines.append(f'public_flat_{access} -module "{top}" -var "{port.name}"')
    return "\n".join(lines) + "\n"
