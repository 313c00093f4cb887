"""Time and events of products on a crossbar: the authority for its cycle count."""

__all__ = ["bound", "conversion_rounds", "conversions", "events", "per_vector"]

from tetrit.sim.crossbar.mapping import Layout


def conversions(layout: Layout, j: int) -> int:
    """Return the conversions that the arrays (..., `j`) need for one input digit: one a column, or a merged pair."""
    machine = layout.machine
    if machine.adc_bits is None:
        return 0
    outputs = layout.outputs(j)
    digital = machine.readout == "digital"
    columns: int = (outputs.stop - outputs.start) * machine.n_slices * (layout.polarities if digital else 1)
    return columns + (machine.n_slices if machine.mapping == "offset" and digital else 0)


def conversion_rounds(layout: Layout) -> int:
    """Return how often the busiest converter converts for one input digit."""
    most = max(conversions(layout, j) for j in range(layout.col_arrays))
    return min(most, layout.machine.adc.columns_per_adc)


def per_vector(layout: Layout) -> int:
    """Return the cycles of an input vector: its digits one after the other, each settling and then converted.

    Every array has its own converters and works beside the others; drivers wait for the conversion. The digital
    additions keep up with the converters and are hidden behind them, but for the last of a batch, which takes one cycle
    more.
    """
    machine = layout.machine
    converting = 0 if machine.ramp is None else machine.ramp.conversion_cycles  # of all columns at once
    if machine.adc_bits is not None:
        cycles = machine.adc_bits if machine.adc.conversion_cycles is None else machine.adc.conversion_cycles
        converting = conversion_rounds(layout) * cycles
    return len(machine.input_digits) * max(machine.settle_cycles + converting, 1)


def bound(layout: Layout) -> str:
    """Return what takes most of the time: ``converters`` or ``settling``."""
    settling = layout.machine.settle_cycles * len(layout.machine.input_digits)
    return "settling" if 2 * settling >= per_vector(layout) else "converters"


def events(layout: Layout) -> dict[str, int]:
    """Return the countable acts of an input vector.

    ``dac_conversion``: an input digit of a row, for all arrays with that input; ``driver``: a row of an array driven;
    ``cell_read``: a cell with a weight on a driven row; ``adc_conversion``; ``shift_add``: a converted result added.
    Those of ramp converters are in `tetrit.sim.crossbar.ramp.Ramps.events`; their results are added to nothing.
    """
    machine = layout.machine
    products = len(machine.input_digits)
    arrays = range(layout.col_arrays)
    references = machine.n_slices if machine.mapping == "offset" else 0
    columns = layout.n_out * machine.columns_per_output + layout.col_arrays * references
    converted = sum(conversions(layout, j) for j in arrays) * layout.row_arrays
    groups = machine.n_slices * (layout.polarities if machine.readout == "digital" else 1)
    added = converted if machine.adc_bits is not None else layout.n_out * groups * layout.row_arrays
    return {
        "dac_conversion": products * layout.n_in,
        "driver": products * layout.n_in * layout.col_arrays,
        "cell_read": products * layout.n_in * columns,
        "adc_conversion": products * converted,
        "shift_add": products * added if machine.ramp is None else 0,
    }
