"""The page ``report.html``: one file that opens offline, made from the plain report, its tables and its figures."""

__all__ = ["render", "render_differences"]

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import jinja2
import tomli_w
from markupsafe import Markup

from tetrit import __version__
from tetrit.errors import InvalidValueError
from tetrit.report.canonical import schema
from tetrit.report.difference import Difference
from tetrit.report.export import table_csv
from tetrit.report.numbers import in_unit, nice_unit, origin, percent, significant
from tetrit.report.plots import Plot
from tetrit.report.tables import Table, build, compared
from tetrit.report.words import NETWORKS

_CONTROL = re.compile("[^\t\n\x20-\x7e\xa0-\ufffd\U00010000-\U0010ffff]")  # what neither HTML nor XML may hold

_SECTIONS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("accuracy", "accuracy", ()),
    ("formats", "formats", ("formats",)),
    ("layers", "layers", ()),
    ("coprocessor", "co-processor", ("coprocessor",)),
    ("energy", "energy", ("energy_uj",)),
    ("area", "area and timing", ("area_mm2", "synthesis")),
    ("crossbar", "crossbar", ("crossbar",)),
    ("verify", "verification", ()),
    ("training", "training", ()),
    ("further", "further figures", ("figures", "extra")),
    ("machine", "machine and configuration", ()),
    ("assumptions", "assumptions and sources", ()),
    ("run", "this run", ()),
)
"""Sections of the page: name, title, and the blocks of which one is needed."""


def render(report: Mapping[str, Any], plots: Mapping[str, Plot]) -> str:
    """Return the page.

    Contract: equal reports give equal text; the page refers to nothing outside itself, its one script, which sorts
    tables, is the only one that its own security policy lets run, and it is also XML. It is complete without the
    script. A block that the schema does not know, or one of ``extra``, is shown as it is.

    Parameters
    ----------
    report : mapping
        Plain report, see ``schema/report-v2.json``.
    plots : mapping of str to Plot
        The figures of the same report.

    Returns
    -------
    str
        HTML 5.
    """
    others = [(name, block) for name, block in report.items() if name not in schema()["properties"]]
    others += report.get("extra", {}).items()
    shown = {*report, *(["extra"] if others else [])}
    return _page(
        "report.html.j2",
        version=report["tetrit"],
        report=report,
        plots=plots,
        drawings={name: Markup(plot.svg) for name, plot in plots.items()},  # our own drawing: texts are outlines
        tables=build(report),
        sections=[(name, title) for name, title, needs in _SECTIONS if not needs or shown & {*needs}],
        others=others,
        config=_toml(report["config"]),
    )


def render_differences(found: Sequence[Difference], names: tuple[str, str]) -> str:
    """Return the page of how two reports differ.

    Contract: that of `render`.

    Parameters
    ----------
    found : sequence of Difference
        See `tetrit.report.differences`.
    names : tuple of str
        What to call the two reports.

    Returns
    -------
    str
        HTML 5.
    """
    tables = compared(found)
    return _page("difference.html.j2", version=__version__, plots={}, tables=tables, names=names, count=len(found))


def _page(template: str, **content: Any) -> str:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("tetrit.report", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"num": significant, "percent": percent, "origin": origin, "unit": nice_unit}
    environment.filters |= {"csv_uri": _csv_uri, "as_json": _as_json}
    environment.globals |= {"in_unit": in_unit, "networks": NETWORKS}
    script = f"//<![CDATA[\n{environment.get_template('report.js').render()}\n//]]>"  # as XML, too
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    page = environment.get_template(template).render(**content, script=Markup(script), script_hash=f"sha256-{digest}")
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", page) + "\n"


def _csv_uri(table: Table) -> str:
    """Return the table's data as a link to itself, since the page is one file."""
    return f"data:text/csv;charset=utf-8;base64,{base64.b64encode(table_csv(table).encode()).decode()}"


def _as_json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def _toml(config: Mapping[str, Any]) -> str:
    try:
        return tomli_w.dumps(config)
    except TypeError:
        raise InvalidValueError(
            "`report.config` must hold only what a TOML file can: text, numbers, booleans, lists, tables"
        ) from None
