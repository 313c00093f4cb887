"""Which figures a report has, what each is called, what it shows in words, and where its numbers come from."""

__all__ = ["NAMES", "Plot", "draw"]

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure

from tetrit.report import style
from tetrit.report.figures import analog, costs, network, rounding, silicon
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
    png : bytes
        The figure on white.
    svg : str
        The figure as an element for the page, in the page's colours.
    """

    name: str
    title: str
    alt: str
    origin: str
    png: bytes
    svg: str


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


_FIGURES: tuple[tuple[str, str, str, Callable[[_Report], Figure | None], Callable[[_Report], str]], ...] = (
    (
        "accuracy",
        "Accuracy by arithmetic and estimator",
        "Mean accuracy, with one dot per seed: float network, this run's network in float and in integer arithmetic, "
        "every estimator.",
        network.accuracy,
        lambda report: f"measured on {report['accuracy']['n_test']:,} held-out images",
    ),
    (
        "formats",
        "Accuracy by formats of the layers",
        "Accuracy of this run's network and of networks with one format everywhere, rounded without and with training.",
        rounding.formats,
        lambda report: f"measured in codes on {report['accuracy']['n_test']:,} held-out images",
    ),
    ("training", "Training curves", "Loss and accuracy over the epochs.", network.training, lambda report: "measured"),
    (
        "weight_codes",
        "Weight codes",
        "Share of each weight code, the two zeros apart, in every layer.",
        network.weight_codes,
        lambda report: "counted in the trained network",
    ),
    (
        "layers",
        "Cycles and utilisation by layer",
        "Cycles of every layer with the ideal number inside, and the share of processing elements that are busy.",
        costs.layers,
        _cycles_origin,
    ),
    (
        "roofline",
        "Roofline",
        "Speed of every layer against its arithmetic intensity, below the limits of the array and of its memories.",
        costs.roofline,
        lambda report: "modelled",
    ),
    (
        "energy",
        "Energy by component and layer",
        "Energy of every component, and of every layer stacked from the same components.",
        costs.energy,
        lambda report: origin(report["energy_uj"]["sources"].values()),
    ),
    (
        "area",
        "Area by component and module",
        "Area by component, and of the largest synthesised component by module.",
        silicon.area,
        _area_origin,
    ),
    (
        "szt_vs_ternary",
        "What the signed zero costs",
        "Area of the array with signed-zero-ternary and with two's-complement ternary weights, decoders apart.",
        silicon.szt_vs_ternary,
        lambda report: "synthesised",
    ),
    (
        "verify",
        "Cycles of the RTL against the model",
        "For every test bench the cycles of the RTL and of the model.",
        silicon.verify,
        lambda report: "hardware: Verilog in Verilator, or its mapped gates",
    ),
    (
        "crossbar_accuracy",
        "Accuracy: digital machine and crossbar",
        "Accuracy of the digital run, and of the crossbar as converters, wires and cells become real one after the "
        "other, with one dot per chip.",
        analog.accuracy,
        lambda report: f"simulated; {report['crossbar']['chips']:,} chips",
    ),
    (
        "drift",
        "Accuracy over time",
        "Mean accuracy of the chips at several times after programming, with bands of one standard deviation over the "
        "chips, with and without drift compensation.",
        analog.drift,
        lambda report: f"simulated; {report['crossbar']['chips']:,} chips",
    ),
    (
        "effective_weights",
        "What wires do to the weights",
        "Error of the effective weights of every layer with perfect cells and real wires, by blocks of inputs and "
        "outputs.",
        analog.weights,
        lambda report: "simulated; the wires' network solved exactly",
    ),
    (
        "crossbar_layers",
        "Time by layer on both machines",
        "Time of every layer per image on the digital machine and on the crossbar, each at its own clock.",
        analog.layers,
        lambda report: "modelled",
    ),
    (
        "crossbar_energy",
        "Energy of the crossbar by component and layer",
        "Energy of every component of the crossbar, and of every layer stacked from the same components.",
        analog.energy,
        lambda report: origin(report["crossbar"]["energy_uj"]["sources"].values()),
    ),
)

NAMES = tuple(name for name, *_ in _FIGURES)


def draw(report: _Report) -> dict[str, Plot]:
    """Draw every figure that the report has numbers for.

    Contract: equal reports give equal bytes.

    Parameters
    ----------
    report : mapping
        Plain report, see ``schema/report-v2.json``.

    Returns
    -------
    dict of str to Plot
        By name: ``accuracy``, ``formats``, ``training``, ``weight_codes``, ``layers``, ``roofline``, ``energy``,
        ``area``, ``szt_vs_ternary``, ``verify``, ``crossbar_accuracy``, ``drift``, ``effective_weights``,
        ``crossbar_layers``, ``crossbar_energy``, in this order.
    """
    plots: dict[str, Plot] = {}
    with style.themed():
        for name, title, alt, function, origin_of in _FIGURES:
            drawn = function(report)
            if drawn is not None:
                png, svg = style.png(drawn), style.svg(drawn, name)
                plots[name] = Plot(name=name, title=title, alt=alt, origin=origin_of(report), png=png, svg=svg)
    return plots
