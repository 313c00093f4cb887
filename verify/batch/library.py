"""The authority for batch models as shared libraries: Verilog in, a library out, built once per text and tools."""

__all__ = ["Library", "build_library"]

import shutil
from dataclasses import dataclass
from pathlib import Path

from tetrit.verify.batch.source import rows_source
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

_VERILATOR_FLAGS = ("-O3", "--output-split", "100000", "--output-split-cfuncs", "2000")
_CXX_FLAGS = (*CXX_FLAGS, "-fPIC", "-fvisibility=hidden")
_COLD = "-O0"
_NAME = "libdut.so"
_DRIVER = "driver.cpp"

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
    waves : bool
        Whether it can record waveforms.
    """

    path: Path
    ports: tuple[Port, ...]
    waves: bool = False


def build_library(
    verilog: str,
    top: str,
    *,
    toolchain: Toolchain,
    directory: Path,
    optimisation: int = 1,
    driver: str | None = None,
    waves: bool = False,
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
    waves : bool
        Whether the model is to record waveforms; a `driver` must do so by itself, with what
        `tetrit.verify.batch.source.with_waves` puts before it.

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
    text = rows_source(found, waves=waves) if driver is None else driver
    options = _VERILATOR_FLAGS + (WAVES_FLAGS if waves else ())
    flags = (*_CXX_FLAGS, f"-O{optimisation}")
    digest = key(verilog, top, text, *VERILATOR_FLAGS, *options, *flags, _COLD, *identity(toolchain))
    folder = cached(
        directory.resolve(),
        f"{top}-batch-{digest}",
        lambda aside: _make(verilog, top, text, options, flags, toolchain, directory.resolve(), aside),
    )
    return Library(path=folder / _NAME, ports=tuple(found), waves=waves)


def _make(
    verilog: str,
    top: str,
    driver: str,
    options: tuple[str, ...],
    flags: tuple[str, ...],
    toolchain: Toolchain,
    directory: Path,
    aside: Path,
) -> None:
    """Build the library into the directory `aside`."""
    made = verilate(verilog, top, options, toolchain, aside)
    work = aside / "work"
    *common, optimisation = flags
    library, headers = runtime(made, ("verilated.h",), flags, toolchain, directory)
    (work / _DRIVER).write_text(driver, encoding="utf-8")
    hot = [*made.hot, work / _DRIVER]
    size = sum(path.stat().st_size for path in hot)
    if size <= _ONE_UNIT_BYTES:
        grouped = [([*hot, *made.cold], optimisation)]
    elif size <= _ONE_HOT_BYTES:
        grouped = [(hot, optimisation), (made.cold, _COLD)]
    else:
        grouped = [*(([path], optimisation) for path in hot), (made.cold, _COLD)]
    units = [(work / f"unit_{number}.cpp", paths, [level]) for number, (paths, level) in enumerate(grouped)]
    objects = [*compiled(units, (*common, *headers, f"-I{work}"), toolchain), *library]
    link = [toolchain.compiler, "-shared", *map(str, objects), "-o", str(aside / _NAME), "-pthread"]
    call("the linker", link, toolchain.environment)
    shutil.rmtree(work)
