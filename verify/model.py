"""The authority for executable models: Verilog in, a cocotb-ready program out, built once per text and tools.

Verilator writes the C++, the compiler makes it a program; make is not involved. Only the ports of the top module are
visible to the bench, so that Verilator may optimise everything inside. The run-time library is compiled once per
toolchain.
"""

__all__ = ["Model", "build"]

import shutil
from dataclasses import dataclass
from pathlib import Path

from tetrit.verify.building import (
    CXX_FLAGS,
    VERILATOR_FLAGS,
    WAVES_FLAGS,
    Port,
    cached,
    call,
    compiled,
    identity,
    key,
    ports,
    runtime,
    verilate,
)
from tetrit.verify.tools import Toolchain
from tetrit.verify.waves.tap import COCOTB_SOURCE

_VERILATOR_FLAGS = ("--vpi", "--output-split", "0")
_HOT, _COLD = "-O1", "-O0"
_ONE_UNIT_BYTES = 60_000
"""Up to this size of the generated C++ one translation unit compiles faster than two."""


@dataclass(frozen=True, kw_only=True)
class Model:
    """An executable model.

    Attributes
    ----------
    top : str
        Name of the top module, and of the program.
    directory : Path
        Where the program is, and ``design.v``, from which it was made.
    ports : tuple of Port
        Ports of the top module.
    waves : bool
        Whether it can record waveforms.
    """

    top: str
    directory: Path
    ports: tuple[Port, ...] = ()
    waves: bool = False


def build(verilog: str, top: str, *, toolchain: Toolchain, directory: Path, waves: bool = False) -> Model:
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
    waves : bool
        Whether the model is to record waveforms where it is asked for them.

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
    options = _VERILATOR_FLAGS + (WAVES_FLAGS if waves else ())
    main = COCOTB_SOURCE if waves else ""
    digest = key(verilog, top, main, *VERILATOR_FLAGS, *options, *CXX_FLAGS, _HOT, _COLD, *identity(toolchain))
    folder = cached(
        directory,
        f"{top}-{digest}",
        lambda aside: _make(verilog, top, main, options, toolchain, directory, aside),
    )
    return Model(top=top, directory=folder, ports=tuple(ports(verilog, top)), waves=waves)


def _make(
    verilog: str,
    top: str,
    main: str,
    options: tuple[str, ...],
    toolchain: Toolchain,
    directory: Path,
    aside: Path,
) -> None:
    """Build the model into the directory `aside`; `main` comes before cocotb's program."""
    from cocotb_tools import config

    settings = _public_ports(verilog, top)
    made = verilate(verilog, top, options, toolchain, aside, settings=settings)
    work = aside / "work"
    library, headers = runtime(made, ("verilated.h", "verilated_vpi.h"), (*CXX_FLAGS, _HOT), toolchain, directory)
    cold = [*made.cold, config.share_dir / "lib" / "verilator" / "verilator.cpp"]
    if main:
        cold.insert(-1, work / "before_main.cpp")
        cold[-2].write_text(main, encoding="utf-8")
    if sum(path.stat().st_size for path in made.hot) <= _ONE_UNIT_BYTES:
        units = [(work / "all.cpp", [*made.hot, *cold], [_HOT])]
    else:
        units = [(work / "hot.cpp", made.hot, [_HOT]), (work / "cold.cpp", cold, [_COLD])]
    objects = [*compiled(units, (*CXX_FLAGS, *headers, f"-I{work}"), toolchain), *library]
    libs = config.libs_dir
    link = [toolchain.compiler, *map(str, objects), "-o", str(aside / top), f"-L{libs}", "-lcocotbvpi_verilator"]
    call("the linker", [*link, "-pthread", f"-Wl,-rpath,{libs}"], toolchain.environment)
    shutil.rmtree(work)


def _public_ports(verilog: str, top: str) -> str:
    """Write the Verilator configuration that shows the ports of `top`, and nothing else, to the bench."""
    lines = ["`verilator_config"]
    for port in ports(verilog, top):
        access = "rw" if port.is_input else "rd"
        lines.append(f'public_flat_{access} -module "{top}" -var "{port.name}"')
    return "\n".join(lines) + "\n"
