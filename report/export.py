r"""Tables of a report for other programs: CSV and JSON with raw values and all digits, LaTeX as people read them."""

__all__ = ["FORMATS", "table_csv", "table_json", "table_latex"]

import csv
import io
import unicodedata
from collections.abc import Callable, Mapping

from tetrit.report.canonical import to_json
from tetrit.report.tables import Table

_SPECIAL = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}"}
_SPECIAL |= {">": r"\textgreater{}", "|": r"\textbar{}", '"': r"\textquotedbl{}"}
_SPECIAL |= {character: f"\\{character}" for character in "&%$#_{}"}
_SPECIAL |= {"µ": r"\textmu{}", "×": r"$\times$", "±": r"$\pm$", "²": r"$^2$", "°": r"\textdegree{}", "–": "--"}
_SPECIAL |= {"✓": r"$\surd$", "✗": r"$\times$", "\N{HORIZONTAL ELLIPSIS}": r"\dots{}"}


def table_csv(table: Table) -> str:
    """Return a head and one line for each row: raw values, all digits, empty where there is none; no total.

    Parameters
    ----------
    table : Table
        See `tetrit.report.tables`.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([each.key for each in table.columns])
    writer.writerows(table.rows)
    return out.getvalue()


def table_json(table: Table) -> str:
    """Return ``{"columns": [{"key", "title"}], "rows": [{key: value}], "title"}`` with raw values and null for none.

    Parameters
    ----------
    table : Table
        See `tetrit.report.tables`.
    """
    keys = [each.key for each in table.columns]
    return to_json(
        {
            "title": table.title,
            "columns": [{"key": each.key, "title": each.title} for each in table.columns],
            "rows": [dict(zip(keys, row, strict=True)) for row in table.rows],
        }
    )


def table_latex(table: Table) -> str:
    r"""Return a ``tabular`` for the package booktabs, with the texts and units that the page shows.

    Parameters
    ----------
    table : Table
        See `tetrit.report.tables`. Characters that LaTeX has no plain way to write become ``?``.
    """
    sides = "".join("r" if each.numeric else "p{6cm}" if each.prose else "l" for each in table.columns)
    lines = [
        rf"% {_escaped(table.title)}",
        rf"\begin{{tabular}}{{{sides}}}",
        r"\toprule",
        _line([each.title for each in table.columns]),
        r"\midrule",
        *(_line(row) for row in table.texts),
    ]
    if table.total:
        lines += [r"\midrule", _line(table.total_texts)]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


FORMATS: Mapping[str, Callable[[Table], str]] = {"csv": table_csv, "json": table_json, "tex": table_latex}
"""How a table is written, by the suffix of its file."""


def _line(cells: list[str]) -> str:
    return " & ".join(map(_escaped, cells)) + r" \\"


def _escaped(text: str) -> str:
    return "".join(_SPECIAL.get(character) or _ascii(character) for character in " ".join(text.split()))


def _ascii(character: str) -> str:
    plain = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
    return plain if plain.isprintable() and plain else "?"
