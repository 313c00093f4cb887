"""The page ``report.html``: one file that opens offline, made from the plain report and its figures."""

__all__ = ["render"]

import re
from collections.abc import Mapping
from typing import Any

import jinja2
import tomli_w
from markupsafe import Markup

from tetrit.errors import InvalidValueError
from tetrit.report.numbers import (
    code_order,
    duration,
    estimator_label,
    in_unit,
    origin,
    origin_of,
    percent,
    significant,
)
from tetrit.report.plots import Plot
from tetrit.report.words import COMPENSATIONS, NETWORKS, row_title

_CONTROL = re.compile("[^\t\n\x20-\x7e\xa0-\ufffd\U00010000-\U0010ffff]")  # what neither HTML nor XML may hold


def render(report: Mapping[str, Any], plots: Mapping[str, Plot]) -> str:
    """Return the page.

    Contract: equal reports give equal text; the page refers to nothing outside itself, has no script, and is also XML.

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
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("tetrit.report", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"num": significant, "percent": percent, "estimator": estimator_label, "origin": origin}
    environment.globals |= {"in_unit": in_unit, "code_order": code_order, "origin_of": origin_of}
    environment.globals |= {"networks": NETWORKS, "compensations": COMPENSATIONS}
    environment.globals |= {"row_title": row_title, "duration": duration}
    template = environment.get_template("report.html.j2")
    drawings = {name: Markup(plot.svg) for name, plot in plots.items()}  # our own drawing, in which texts are outlines
    page = template.render(report=report, plots=plots, drawings=drawings, config=_toml(report["config"]))
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", page) + "\n"


def _toml(config: Mapping[str, Any]) -> str:
    try:
        return tomli_w.dumps(config)
    except TypeError:
        raise InvalidValueError(
            "`report.config` must hold only what a TOML file can: text, numbers, booleans, lists, tables"
        ) from None
