"""Which figures a report has, what each is called, what it shows in words, and where its numbers come from."""

__all__ = ["NAMES", "Plot", "draw"]

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure

from tetrit.report import style
from tetrit.report.figures import analog, costs, network, rounding, silicon, treemap
from tetrit.report.numbers import origin

_Report = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Plot:
    """One finished figure.

    Attributes
    ----------
    name : str
        Name of the PNG file without its suffix, and id within the page.
    title : str
        Heading.
    alt : str
        What is to be seen, for those who cannot see it.
    origin : str
        Where the numbers come from.
    tables : tuple of str
        Names of the tables that hold its numbers, see `tetrit.report.tables`.
    png : bytes
        The figure on white.
    svg : str
        The figure as an element for the page, in the page's colours.
    """

    name: str
    title: str
    alt: str
    origin: str
    tables: tuple[str, ...]
    png: bytes
    svg: str


@dataclass(frozen=True, kw_only=True)
class _Kind:
    """What `Plot` says of a figure, and the functions that draw it and tell its origin."""

    name: str
    title: str
    alt: str
    tables: tuple[str, ...]
    draw: Callable[[_Report], Figure | None]
    origin: Callable[[_Report], str]


def _cycles_origin(report: _Report) -> str:
    benches = [b for b in report.get("verify", {}).get("testbenches", []) if b.get("cycles_rtl") is not None]
    if not benches:
        return "modelled; not compared with the RTL in this run"
    equal = sum(b["cycles_rtl"] == b.get("cycles_model") for b in benches)
    cases = sum(b.get("cases", 0) for b in benches)
    return f"modelled; equal to the RTL's cycles in {equal} of {len(benches)} test benches" + (
        f" ({cases:,} cases)" if cases else ""
    )


def _area_origin(report: _Report) -> str:
    kinds = list(report.get("area_mm2", {}).get("sources", {}).values())
    return origin(kinds + ["synthesised"] * bool(report.get("synthesis")))


def _priced(*path: str) -> Callable[[_Report], str]:
    """Return a function that tells the origin of the block at `path`."""

    def tell(report: _Report) -> str:
        for key in path:
            report = report[key]
        return origin(report["sources"].values())

    return tell


def _chips(report: _Report) -> str:
    return f"simulated; {report['crossbar']['chips']:,} chips"


_KINDS = (
    _Kind(
        name="accuracy",
        title="Accuracy by arithmetic and estimator",
        alt="Mean accuracy, with one dot per seed: float network, this run's network in float and in integer "
        "arithmetic, every estimator.",
        tables=("accuracy", "estimators"),
        draw=network.accuracy,
        origin=lambda report: f"measured on {report['accuracy']['n_test']:,} held-out images",
    ),
    _Kind(
        name="formats",
        title="Accuracy by formats of the layers",
        alt="Accuracy of this run's network and of networks with one format everywhere, rounded without and with "
        "training.",
        tables=("format_networks",),
        draw=rounding.formats,
        origin=lambda report: f"measured in codes on {report['accuracy']['n_test']:,} held-out images",
    ),
    _Kind(
        name="training",
        title="Training curves",
        alt="Loss and accuracy over the epochs.",
        tables=("training",),
        draw=network.training,
        origin=lambda report: "measured",
    ),
    _Kind(
        name="weight_codes",
        title="Weight codes",
        alt="Share of each weight code, the two zeros apart, in every layer.",
        tables=("weight_codes",),
        draw=network.weight_codes,
        origin=lambda report: "counted in the trained network",
    ),
    _Kind(
        name="layers",
        title="Cycles and utilisation by layer",
        alt="Cycles of every layer, those that a machine without waiting would take apart, and the share of processing "
        "elements that are busy.",
        tables=("layers",),
        draw=costs.layers,
        origin=_cycles_origin,
    ),
    _Kind(
        name="roofline",
        title="Roofline",
        alt="Speed of every layer against its arithmetic intensity, below the limits of the array and of its memories.",
        tables=("roofline",),
        draw=costs.roofline,
        origin=lambda report: "modelled",
    ),
    _Kind(
        name="energy",
        title="Energy by component and layer",
        alt="Energy of every component, and of every layer stacked from the same components.",
        tables=("energy", "energy_layers"),
        draw=costs.energy,
        origin=_priced("energy_uj"),
    ),
    _Kind(
        name="energy_map",
        title="Map of the energy",
        alt="Treemap: the energy of every component, divided into that of the layers.",
        tables=("energy_layers",),
        draw=treemap.energy,
        origin=_priced("energy_uj"),
    ),
    _Kind(
        name="area",
        title="Area by component and module",
        alt="Area by component, and of the largest synthesised component by module.",
        tables=("area", "modules"),
        draw=silicon.area,
        origin=_area_origin,
    ),
    _Kind(
        name="area_map",
        title="Map of the area",
        alt="Treemap: the area of every component, divided into that of its modules.",
        tables=("area",),
        draw=treemap.area,
        origin=_priced("area_mm2"),
    ),
    _Kind(
        name="szt_vs_ternary",
        title="What the signed zero costs",
        alt="Area of the array with signed-zero-ternary and with two's-complement ternary weights, decoders apart.",
        tables=("szt_vs_ternary",),
        draw=silicon.szt_vs_ternary,
        origin=lambda report: "synthesised",
    ),
    _Kind(
        name="verify",
        title="Cycles of the RTL against the model",
        alt="For every test bench the cycles of the RTL and of the model.",
        tables=("verify",),
        draw=silicon.verify,
        origin=lambda report: "hardware: Verilog in Verilator, or its mapped gates",
    ),
    _Kind(
        name="crossbar_accuracy",
        title="Accuracy: digital machine and crossbar",
        alt="Accuracy of the digital run, and of the crossbar as converters, wires and cells become real one after the "
        "other, with one dot per chip.",
        tables=("crossbar_accuracy",),
        draw=analog.accuracy,
        origin=_chips,
    ),
    _Kind(
        name="drift",
        title="Accuracy over time",
        alt="Mean accuracy of the chips at several times after programming, with bands of one standard deviation over "
        "the chips, with and without drift compensation.",
        tables=("drift",),
        draw=analog.drift,
        origin=_chips,
    ),
    _Kind(
        name="effective_weights",
        title="What wires do to the weights",
        alt="Error of the effective weights of every layer with perfect cells and real wires, by blocks of inputs and "
        "outputs.",
        tables=("weight_errors",),
        draw=analog.weights,
        origin=lambda report: "simulated; the wires' network solved exactly",
    ),
    _Kind(
        name="crossbar_layers",
        title="Time by layer on both machines",
        alt="Time of every layer per image on the digital machine and on the crossbar, each at its own clock.",
        tables=("crossbar_layers",),
        draw=analog.layers,
        origin=lambda report: "modelled",
    ),
    _Kind(
        name="crossbar_energy",
        title="Energy of the crossbar by component and layer",
        alt="Energy of every component of the crossbar, and of every layer stacked from the same components.",
        tables=("crossbar_energy", "crossbar_energy_layers"),
        draw=analog.energy,
        origin=_priced("crossbar", "energy_uj"),
    ),
    _Kind(
        name="crossbar_energy_map",
        title="Map of the crossbar's energy",
        alt="Treemap: the energy of every component of the crossbar, divided into that of the layers.",
        tables=("crossbar_energy_layers",),
        draw=analog.energy_map,
        origin=_priced("crossbar", "energy_uj"),
    ),
    _Kind(
        name="crossbar_area_map",
        title="Map of the crossbar's area",
        alt="Treemap: the area of every component of the crossbar.",
        tables=("crossbar_figures",),
        draw=analog.area_map,
        origin=lambda report: origin(
            entry["origin"] for entry in report["crossbar"]["figures"] if entry["name"].startswith("area, ")
        ),
    ),
)

NAMES = tuple(kind.name for kind in _KINDS)


def draw(report: _Report, names: Container[str] = NAMES) -> dict[str, Plot]:
    """Draw the figures that the report has numbers for.

    Contract: equal reports give equal bytes.

    Parameters
    ----------
    report : mapping
        Plain report, see ``schema/report-v2.json``.
    names : container of str
        Those of the figures to draw.

    Returns
    -------
    dict of str to Plot
        By name, in the order of `NAMES`.
    """
    plots: dict[str, Plot] = {}
    with style.themed():
        for kind in _KINDS:
            drawn = kind.draw(report) if kind.name in names else None
            if drawn is not None:
                plots[kind.name] = Plot(
                    name=kind.name,
                    title=kind.title,
                    alt=kind.alt,
                    origin=kind.origin(report),
                    tables=kind.tables,
                    png=style.png(drawn),  # first: it fixes the layout
                    svg=style.svg(drawn, kind.name),
                )
    return plots
