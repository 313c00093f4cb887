"""A report read back from its folder."""

__all__ = ["read"]

import json
from pathlib import Path
from typing import Any

from tetrit.errors import InvalidValueError
from tetrit.report.canonical import check


def read(path: Path | str) -> dict[str, Any]:
    """Return the report that a run has left.

    Parameters
    ----------
    path : path-like
        ``report.json``, or the folder that it lies in.

    Returns
    -------
    dict
        See ``schema/report-v2.json``.

    Raises
    ------
    InvalidValueError
        If there is none, or it is no report of this version.
    """
    file = Path(path)
    file = file / "report.json" if file.is_dir() else file
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidValueError(f"no report can be read at '{file}': {error.strerror}") from None
    except ValueError as error:
        raise InvalidValueError(f"'{file}' is no report: not JSON: {error}") from None
    if not isinstance(found, dict):
        raise InvalidValueError(f"'{file}' is no report: it must be a JSON object")
    try:
        check(found)
    except InvalidValueError as error:
        raise InvalidValueError(f"'{file}' is no report: {error}") from None
    return found
