"""Tables of the figures that analog costs come from, for the manual: converters, circuits around an array, cells."""

from tetrit.sim.cost import AnalogPrices, Figure
from tetrit.sim.cost.adc import AdcSurvey
from tetrit.sim.cost.peripherals import Peripherals, cell_costs

NODE_NM = 32.0
"""At which machines are compared: ISAAC's."""

RATE_HZ = 12.5e6
"""Of the converters of the table: 8 cycles of 100 MHz."""

SABERI_PJ = {4: 0.79, 5: 0.99, 6: 1.20, 7: 1.42, 8: 1.67, 9: 1.969078145, 10: 2.379022742}
"""ISAAC's converter at other widths as hwcomponents-library's isaac.py scales it, after Saberi et al. 2011."""


def bounds(figure: Figure, form: str, factor: float = 1.0) -> str:
    """Return a value with its bounds."""
    text = format(figure.value * factor, form)
    if figure.low is None or figure.high is None:
        return text
    return f"{text} ({format(figure.low * factor, form)} to {format(figure.high * factor, form)})"


def table(header: list[str], rows: list[list[str]]) -> str:
    """Return a table in Markdown."""
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def adc_table() -> str:
    """Return energy and area of converters by their bits, beside the default prices' scaling."""
    survey, isaac = AdcSurvey.survey(), AnalogPrices.modelled()
    rows = []
    for bits in (1, 2, 3, *range(4, 13)):
        where = {"bits": bits, "rate_hz": RATE_HZ, "node_nm": NODE_NM}
        energy, area = survey.energy_pj(**where), survey.area_um2(**where)
        scaled = isaac.adc_conversion_pj * 2.0 ** (bits - isaac.adc_bits)
        saberi = SABERI_PJ.get(bits)
        rows.append(
            [
                str(bits),
                bounds(energy, ".2f"),
                f"{scaled:.2f}",
                "" if saberi is None else f"{saberi:.2f}",
                bounds(area, ",.0f"),
            ]
        )
    return table(["bits", "pJ, survey", "pJ, ISAAC x 2^bits", "pJ, ISAAC after Saberi", "um2, survey"], rows)


def peripherals_table() -> str:
    """Return the committed circuits at their own nodes."""
    found = Peripherals.committed()
    rows = []
    for name in ("dac", "integrator", "shift_add", "register"):
        part = getattr(found, name)
        low, high = part.bounds_nm or (part.node_nm, part.node_nm)
        edges = [
            "" if figure.low is None else f"{figure.low:.3g} to {figure.high:.3g}"
            for figure in (part.energy, part.area)
        ]
        rows.append(
            [
                f"`{name}`, {part.bits} bit{'s' if part.bits > 1 else ''}",
                f"{part.node_nm:g}",
                f"{part.energy.value:.3g}",
                edges[0],
                f"{part.area.value:.3g}",
                edges[1],
                f"{low:g}, {high:g}" if edges[0] else "",
                part.energy.origin,
                part.energy.source,
            ]
        )
    header = ["circuit", "nm", "pJ", "pJ of others", "um2", "um2 of others", "their nm", "origin", "source"]
    return table(header, rows)


def cells_table() -> str:
    """Return the committed cells."""
    rows = []
    for name in ("pcm", "rram", "flash", "sram"):
        cell = cell_costs(name)
        for text, figure in (("F2", cell.area_f2), ("pJ a pulse", cell.pulse_pj), ("pulses", cell.pulses)):
            edges = "" if figure.low is None else f"{figure.low:g} to {figure.high:g}"
            rows.append([f"{name}, {text}", f"{figure.value:g}", edges, figure.origin, figure.source])
    return table(["cell", "value", "bounds", "origin", "source"], rows)
