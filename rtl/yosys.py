"""The authority for running Yosys: a script in a process of its own, its log captured, a failure told in one line."""

__all__ = ["require", "run"]

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from tetrit.errors import ToolError

SCRIPT_NAME = "script.ys"
_RUNNER = f"from pyosys import libyosys as ys; ys.run_pass('script {SCRIPT_NAME}', ys.Design())"


def require() -> None:
    """Raise ToolError if the ``pyosys`` wheel is missing."""
    if find_spec("pyosys") is None:
        raise ToolError("Yosys is missing: install the extra 'tetrit[rtl]', which brings the 'pyosys' wheel")


def run(script: str, files: Mapping[str, str] | None = None, outputs: tuple[str, ...] = ()) -> dict[str, str]:
    r"""Run a Yosys script in an empty directory and return the files that it wrote.

    Yosys ends its whole process on an error, so it runs in a child process of this interpreter; nothing is printed.

    Parameters
    ----------
    script : str
        Yosys commands, one per line; file names are relative to the working directory.
    files : mapping of str to str, optional
        Name and text of every input file.
    outputs : tuple of str
        Names of the files to read back.

    Returns
    -------
    dict of str to str
        Text of every file named in `outputs`.

    Raises
    ------
    ToolError
        If the ``pyosys`` wheel is missing, or Yosys reports an error (its one relevant line is quoted).

    Examples
    --------
    >>> design = {"in.il": "module \\top\nend\n"}
    >>> run("read_rtlil in.il\nwrite_rtlil out.il", design, ("out.il",))["out.il"].count("module")
    1
    """
    require()
    with tempfile.TemporaryDirectory(prefix="tetrit-yosys-") as folder:
        directory = Path(folder)
        for name, text in (files or {}).items():
            (directory / name).write_text(text, encoding="utf-8")
        (directory / SCRIPT_NAME).write_text(script, encoding="utf-8")
        done = subprocess.run(
            [sys.executable, "-I", "-c", _RUNNER],
            cwd=directory,
            env={**os.environ, "TMPDIR": folder},
            capture_output=True,
            text=True,
            errors="replace",
        )
        if done.returncode != 0:
            raise ToolError(f"Yosys failed: {_reason(done.stdout, done.stderr, done.returncode)}")
        missing = [name for name in outputs if not (directory / name).exists()]
        if missing:
            raise ToolError(f"Yosys failed: it wrote no '{missing[0]}'")
        return {name: (directory / name).read_text(encoding="utf-8") for name in outputs}


def _reason(stdout: str, stderr: str, code: int) -> str:
    """Pick the line of a failed run that says why."""
    lines = [line.strip() for line in (*stderr.splitlines(), *stdout.splitlines()) if line.strip()]
    for line in lines:
        if line.startswith("ABC: ") and ("Error: " in line or "cannot be used" in line):
            return line
    for line in lines:
        if line.startswith("ERROR: "):
            return line.removeprefix("ERROR: ")
    if code < 0:
        return f"it was ended by signal {-code}"
    return lines[-1] if lines else f"exit code {code}"
