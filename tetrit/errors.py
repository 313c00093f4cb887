"""The errors for wrong input and missing tools; the command line makes each one line and exit code 2."""

__all__ = ["Interrupted", "InvalidValueError", "TetritError", "ToolError", "UnknownNameError", "unknown_name"]

import difflib
from collections.abc import Iterable


class TetritError(Exception):
    """Base of every error that a user can cause and mend."""


class InvalidValueError(TetritError, ValueError):
    """A value of the right kind but outside what is allowed."""


class UnknownNameError(InvalidValueError):
    """A name that is none of the known ones."""


class ToolError(TetritError, RuntimeError):
    """An external tool (compiler, Verilator, Yosys) is missing, too old, or failed."""


class Interrupted(KeyboardInterrupt):
    """Long work was interrupted by Ctrl-C; the message says where, and it can be resumed from there."""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UnknownNameError:
    """Build the error for an unknown `name`, suggesting the nearest known ones.

    Parameters
    ----------
    kind : str
        What the name was meant for, e.g. ``"format"``.
    name : str
        The name as given.
    known : iterable of str
        The names that exist.

    Returns
    -------
    UnknownNameError
        To be raised by the caller.
    """
    names = sorted(known)
    plain = {known.lower(): known for known in reversed(names)}
    wanted = name.lower()
    starts = [text for text in sorted(plain, key=len) if len(wanted) > 1 and text.startswith(wanted)]
    near = [plain[text] for text in starts or difflib.get_close_matches(wanted, plain, n=1, cutoff=0.5)]
    hint = f"did you mean '{near[0]}'?" if near else "known: " + ", ".join(names)
    return UnknownNameError(f"unknown {kind} '{name}'; {hint}")
