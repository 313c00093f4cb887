"""A report read back from its folder."""

__all__ = ["read"]

import json
from pathlib import Path
from typing import Any

from tetrit.errors import InvalidValueError
from tetrit.report.canonical import check_version
from tetrit.report.validation import validate


def read(path: Path | str) -> dict[str, Any]:
    """Return the report that a run has left.

    Blocks and keys that this version does not know are accepted and kept.

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
        If there is none, it is no report of this version, or it is damaged: what is wrong, and where.
    """
    file = Path(path)
    file = file / "report.json" if file.is_dir() else file
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidValueError(f"no report can be read at '{file}': {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise InvalidValueError(f"'{file}' is no report: not JSON: {error}") from None
    if not isinstance(found, dict):
        raise InvalidValueError(f"'{file}' is no report: it must be a JSON object")
    try:
        check_version(found)
        validate(found)
    except InvalidValueError as error:
        raise InvalidValueError(f"'{file}' is no report: {error}") from None
    return found
