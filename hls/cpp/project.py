"""Folders of C++: the authority for what is written, and how: in full or not at all, and the same every time."""

__all__ = ["CppProject", "to_hls_cpp"]

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tetrit.errors import InvalidValueError
from tetrit.hls.cpp import text
from tetrit.hls.cpp.folding import fold
from tetrit.hls.cpp.lower import lower
from tetrit.hls.cpp.options import CppOptions
from tetrit.hls.cpp.report import report_of
from tetrit.hls.cpp.source import Source, source_of

_SAMPLES = 16


@dataclass(frozen=True, kw_only=True, eq=False)
class CppProject:
    """A folder of C++ that was written.

    Attributes
    ----------
    folder : Path
        Where it is.
    report : dict
        What ``report.json`` there holds: estimates of interval and latency, per layer and for the whole.
    """

    folder: Path
    report: dict[str, Any]


def to_hls_cpp(
    network: Any,
    folder: str | os.PathLike[str],
    *,
    inputs: npt.ArrayLike | Mapping[str, npt.ArrayLike] | None = None,
    options: CppOptions | None = None,
) -> CppProject:
    """Write a network as C++17 for high-level synthesis, with a test bench, scripts and estimates.

    Contract: what the code computes equals the golden run, bit for bit, for all inputs within their formats. The same
    network, inputs and options give the same files, byte for byte. The folder is there in full or not at all.

    Parameters
    ----------
    network : Program, SimdProgram or IntegerGraph
        A `Program` must be one for a shift array.
    folder : path
        Not there yet, or empty.
    inputs : array_like of int, or mapping of str to array_like, optional
        Inputs for the golden vectors, with the batch first, as the golden run takes them; by name where there are
        several. By default 16, drawn evenly from what inputs can be, the same every time.
    options : CppOptions, optional
        Folding, ports, names.

    Returns
    -------
    CppProject

    Raises
    ------
    TypeError
        No such network or options.
    InvalidValueError
        A program for a crossbar, a format without a decoder in C++, inputs that do not fit, a folder that is not empty
        or cannot be written, options that name layers that there are not.

    Notes
    -----
    The structure, folded matrix products between streams, is that of FINN (Umuroglu et al., arXiv 1612.07119); the
    library, the exact decoding of formats and the model of times are ours.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from tetrit import hardware, hls, sim
    >>> from tetrit.hls.cpp import to_hls_cpp
    >>> layer = sim.QuantizedLinear(
    ...     name="fc", weight=np.array([[1, 3], [2, 1]], np.uint8), weight_format="szt", weight_scale=np.ones(2),
    ...     bias=np.zeros(2), in_format="int8", in_scale=1.0, out_format="int8", out_scale=2.0, relu=False,
    ... )
    >>> program = hls.compile_network([layer], hardware.ShiftArray(rows=2, cols=2), batch=1)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     project = to_hls_cpp(program, folder, inputs=[[5, 7]])
    ...     print((project.folder / "golden.txt").read_text())
    1
    5 7
    3 1
    <BLANKLINE>
    """
    if options is None:
        options = CppOptions()
    elif not isinstance(options, CppOptions):
        raise TypeError(f"`options` must be CppOptions, got {options!r}")
    source = source_of(network)
    target = _free(Path(folder).resolve())
    folding = fold(source, options)
    design = lower(source, folding, options)
    report, depths = report_of(design, folding, options)
    given = _given(source, inputs)
    golden = source.golden(given)
    files: dict[str, str] = {
        "README.md": text.manual(design, options, report),
        "build.sh": text.build_script(),
        "golden.txt": text.golden_text([given[n] for n in source.inputs], [golden[n] for n in source.outputs]),
        "network.cpp": text.network_source(design, options, depths),
        "network.h": text.network_header(design, options),
        "report.json": json.dumps(report, indent=2) + "\n",
        "run_hls.tcl": text.vitis_script(options),
        "testbench.cpp": text.test_bench(design, options),
        **{f"layers/{name}.h": header.text() for name, header in design.headers.items()},
    }
    library = resources.files("tetrit.hls.cpp") / "library" / "tetrit"
    for header in sorted(library.iterdir(), key=lambda item: item.name):
        files[f"tetrit/{header.name}"] = header.read_text(encoding="utf-8")
    _write(target, files)
    return CppProject(folder=target, report=report)


def _free(folder: Path) -> Path:
    """Return the folder if it is not there or empty."""
    try:
        if folder.exists() and not folder.is_dir():
            raise InvalidValueError(f"cannot write C++ to '{folder}': it is no folder")
        if folder.exists() and any(folder.iterdir()):
            raise InvalidValueError(f"cannot write C++ to '{folder}': it is not empty")
    except OSError as error:
        raise InvalidValueError(f"cannot write C++ to '{folder}': {error.strerror or error}") from None
    return folder


def _given(source: Source, inputs: Any) -> dict[str, npt.NDArray[Any]]:
    if inputs is None:
        return source.samples(_SAMPLES)
    if not isinstance(inputs, Mapping):
        if len(source.inputs) != 1:
            raise InvalidValueError(f"`inputs` must be given by name: {', '.join(source.inputs)}")
        inputs = {source.inputs[0]: inputs}
    if set(inputs) != set(source.inputs):
        odd = sorted(set(inputs) ^ set(source.inputs))[0]
        raise InvalidValueError(f"`inputs`: '{odd}' is {'unknown' if odd in inputs else 'missing'}")
    arrays = {}
    for name in source.inputs:
        signal, array = source.signals[name], np.asarray(inputs[name])
        if array.dtype.kind not in "iu":
            raise TypeError(f"`inputs` must be integers, got {array.dtype}")
        if array.ndim == 0 or array.shape[1:] != signal.shape or not len(array):
            shape = ", ".join(["batch", *map(str, signal.shape)])
            raise InvalidValueError(f"`inputs` for '{name}' must have shape ({shape}), got {array.shape}")
        low = 0 if signal.codes else -(2 ** (signal.bits - 1))
        high = low + 2**signal.bits - 1
        if array.min() < low or array.max() > high:
            raise InvalidValueError(
                f"`inputs` for '{name}' must be within {low}..{high} ({signal.format}), got "
                f"{int(array.min())}..{int(array.max())}"
            )
        arrays[name] = array.astype(np.int64)
    return arrays


def _write(folder: Path, files: Mapping[str, str]) -> None:
    """Write all files into a folder beside the target, which then takes its place in one step."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        try:
            for name, content in sorted(files.items()):
                path = made / name
                path.parent.mkdir(exist_ok=True)
                path.write_text(content, encoding="utf-8", newline="\n")
            (made / "build.sh").chmod(0o755)
            made.chmod(0o755)
            if folder.exists():
                folder.rmdir()  # empty, or this fails
            made.replace(folder)
        except BaseException:
            shutil.rmtree(made, ignore_errors=True)
            raise
    except OSError as error:
        raise InvalidValueError(f"cannot write C++ to '{folder}': {error.strerror or error}") from None
