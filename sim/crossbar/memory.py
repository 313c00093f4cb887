"""Whether a layer fits into memory, estimated before anything is allocated."""

__all__ = ["check_memory", "needed_bytes"]

from tetrit.errors import InvalidValueError
from tetrit.hardware import Crossbar
from tetrit.sim.crossbar.arrays import columns_of, padded
from tetrit.sim.crossbar.mapping import Layout
from tetrit.sim.crossbar.wires.effective import free_bytes

_CELL_BYTES = 41  # kept of every cell: target, as programmed, at first and now through wires, attempts, fault
_WORK_BYTES = 120  # for every cell of one array while it is programmed
_TABLE_BYTES = 24  # for every code of a converter with unequal steps


def needed_bytes(layout: Layout) -> int:
    """Return about how many bytes a loaded layer and a small batch take at most."""
    machine = layout.machine
    arrays, cells = layout.row_arrays * layout.col_arrays, machine.rows * machine.cols
    columns = columns_of(layout)
    depth = padded(min(machine.rows, layout.n_in))
    noisy = machine.cell.flicker is not None or machine.cell.shot
    panel = depth * columns * (4 + (6 if noisy else 0) + (6 if machine.cell.shot else 0))
    working = depth * columns * 8 * 5
    return (
        arrays * cells * _CELL_BYTES + cells * _WORK_BYTES + layout.row_arrays * panel + working + _table_bytes(layout)
    )


def _table_bytes(layout: Layout) -> int:
    machine, adc = layout.machine, layout.machine.adc
    if machine.adc_bits is None or not (adc.dnl_sigma_lsb or adc.inl_lsb or adc.capacitor_sigma):
        return 0
    converters: int = layout.row_arrays * layout.col_arrays * -(-machine.cols // adc.columns_per_adc)
    return converters * _TABLE_BYTES << machine.adc_bits


def _smaller(machine: Crossbar, free: int) -> str:
    """Say which square arrays would fit if an array alone does not, or that a layer has too many inputs."""
    side = max(machine.rows, machine.cols)
    while side > 1 and side * side * (_CELL_BYTES + _WORK_BYTES) > free:
        side //= 2
    if side * side >= machine.rows * machine.cols:
        return "no number of outputs would fit; load fewer inputs"
    return f"arrays of {side} x {side} cells would fit"


def check_memory(layout: Layout) -> None:
    """Raise an error that says what would fit unless a layer fits into the memory that is free."""
    free, needed = free_bytes(), needed_bytes(layout)
    if free is None or needed <= free:
        return
    if (tables := _table_bytes(layout)) > free:
        fitting = max(0, layout.machine.adc_bits or 0) - (tables // max(free, 1)).bit_length()
        raise InvalidValueError(
            f"the thresholds of all converters with unequal steps need about {tables / 1e9:.1f} GB of memory and "
            f"{free / 1e9:.1f} GB are free; `adc_bits` = {max(fitting, 1)} would fit, got {layout.machine.adc_bits}"
        )
    n_out = layout.n_out
    while n_out > 1 and needed_bytes(Layout(machine=layout.machine, n_in=layout.n_in, n_out=n_out)) > free:
        n_out //= 2
    raise InvalidValueError(
        f"{layout.n_in} x {layout.n_out} weights on arrays of {layout.machine.rows} x {layout.machine.cols} cells need "
        f"about {needed / 1e9:.1f} GB of memory and {free / 1e9:.1f} GB are free; "
        + (f"{layout.n_in} x {n_out} weights would fit" if n_out > 1 else _smaller(layout.machine, free))
    )
