"""The authority for one simulation: arrays in, a cocotb bench on an executable model, arrays out.

The bench runs in a process of its own, with an environment cleared of whatever could steer cocotb from outside; arrays
pass through ``.npz`` files. Run as a module, this file is that process.
"""

__all__ = ["simulate"]

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from tetrit.errors import ToolError

if TYPE_CHECKING:
    import numpy.typing as npt

    from tetrit.verify.model import Model
    from tetrit.verify.waves.tap import Tap

STIMULUS, OBSERVED, FOLDER_VARIABLE = "stimulus.npz", "observed.npz", "TETRIT_BENCH_FOLDER"
END_CYCLE_VARIABLE = "TETRIT_BENCH_END_CYCLE"
"""The cycle with which a bench is to end, whatever is left to do."""

_LOG, _RESULTS = "log.txt", "results.xml"
_STEERING = ("COCOTB", "GPI_", "PYGPI_", "PYTEST_", "VERILATOR_", "WAVES", "GUI")


def simulate(
    model: "Model", bench: str, stimulus: Mapping[str, Any], tap: "Tap | None" = None
) -> "dict[str, npt.NDArray[Any]]":
    """Run a bench on a model.

    Parameters
    ----------
    model : Model
        From `tetrit.verify.model.build`.
    bench : str
        Name of a module of `tetrit.verify.benches`.
    stimulus : mapping of str to ndarray
        What that bench wants; see there.
    tap : Tap, optional
        A window that is recorded, of a model that was built for it; the simulation ends with the window.

    Returns
    -------
    dict of str to ndarray
        What the bench observed; see there.

    Raises
    ------
    ToolError
        If the simulation ended without an observation, for a reason other than a wrong design.
    """
    import numpy as np

    with tempfile.TemporaryDirectory(prefix="tetrit-bench-") as name:
        folder = Path(name)
        np.savez(folder / STIMULUS, **stimulus)
        environment = {k: v for k, v in os.environ.items() if not k.startswith(_STEERING)}
        environment["COCOTB_REWRITE_ASSERTION_FILES"] = ""  # else cocotb loads pytest with all its plugins
        environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
        command = [sys.executable, "-P", "-m", "tetrit.verify.simulate", str(model.directory.resolve()), model.top]
        command += [bench, name]
        with ExitStack() as stack:
            if tap is not None:
                from tetrit.verify.waves.tap import piped

                variables = stack.enter_context(piped(tap))
                command.append(variables.pop(""))
                environment |= {**variables, END_CYCLE_VARIABLE: str(tap.end)}
            done = subprocess.run(
                command,
                env=environment,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
            )
        if not (folder / OBSERVED).exists():
            raise ToolError(f"the simulation of {model.top} under cocotb broke off: {_reason(folder, done.stderr)}")
        with np.load(folder / OBSERVED) as observed:
            return dict(observed)


def _reason(folder: Path, stderr: str) -> str:
    """Find out why a simulation left no observation."""
    if (folder / _RESULTS).exists():
        for case in ElementTree.parse(folder / _RESULTS).iter():
            if case.tag in ("failure", "error"):
                text = case.get("message") or case.get("error_msg") or case.text or ""
                if text.strip():
                    return text.strip().splitlines()[-1]
    log = (folder / _LOG).read_text(encoding="utf-8", errors="replace") if (folder / _LOG).exists() else ""
    lines = [line.strip() for line in (log + "\n" + stderr).splitlines() if line.strip()]
    return next((line for line in reversed(lines) if "rror" in line), lines[-1] if lines else "it said nothing")


def _main(directory: str, top: str, bench: str, folder: str, waves: str = "") -> None:
    from cocotb_tools.runner import get_runner

    get_runner("verilator").test(
        test_module=f"tetrit.verify.benches.{bench}",
        hdl_toplevel=top,
        hdl_toplevel_lang="verilog",
        build_dir=directory,
        test_dir=folder,
        results_xml=str(Path(folder, _RESULTS)),
        log_file=str(Path(folder, _LOG)),
        test_args=[
            "+verilator+rand+reset+2",
            "+verilator+seed+1",
            *(["--trace", "--trace-file", waves] if waves else []),
        ],
        extra_env={FOLDER_VARIABLE: folder},
        seed=1,
    )


if __name__ == "__main__":
    _main(*sys.argv[1:])
