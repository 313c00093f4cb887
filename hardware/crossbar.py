"""The analog crossbar described, with every count of slices, columns and levels that the simulator derives from it."""

__all__ = ["CROSSBAR_WEIGHTS", "DRIVES", "MAPPINGS", "READOUTS", "Crossbar", "resistance"]

import math
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np

from tetrit import checks, formats
from tetrit.errors import InvalidValueError
from tetrit.hardware.converters import Adc, Dac
from tetrit.hardware.device import MOST_BENT, Device
from tetrit.hardware.ramp import RampAdc

MAPPINGS: tuple[str, ...] = ("differential", "offset")
READOUTS: tuple[str, ...] = ("analog", "digital")
DRIVES: tuple[str, ...] = ("one_sided", "two_sided")
COMPENSATIONS: tuple[str, ...] = ("none", "global")
MOST_SLICES = 16
CROSSBAR_WEIGHTS: tuple[str, ...] = (
    *("szt", "int2_symmetric", "pot2", "pot3", "pot4", "pot3z", "pot4z", "posit4_1"),
    *(f"int{bits}" for bits in range(2, 17)),
)
CROSSBAR_ACTS: tuple[str, ...] = tuple(f"{sign}int{bits}" for sign in ("", "u") for bits in range(2, 17))


@dataclass(frozen=True, kw_only=True)
class Crossbar:
    """Arrays of cells that multiply by Ohm's law and add by Kirchhoff's, between converters.

    A weight is an integer of its format, cut into `n_slices` digits of `bits_per_cell` bits, least significant first;
    every digit is the level of one cell, and the level l of a cell is the conductance
    ``g_min + l (g_max - g_min) / (2**bits_per_cell - 1)``. *Differential*: the digits of positive weights sit in one
    column, those of negative ones in its neighbour, and the columns' currents are subtracted, before the converter
    (``readout`` analog) or after it (digital). *Offset*: the weights are shifted until none is negative, and a
    reference column in each array holds the shift, whose current is subtracted before the converter or after it alike.
    What cells at `g_min_siemens` would carry never reaches a converter (assumption of ours where columns are converted
    one by one: a dummy column takes it off).

    Inputs are integers, streamed as digits of `dac_bits` bits, least significant first; the lower digits are unsigned,
    the last one carries the sign of a two's-complement number. Shift-and-add of the converted results over the digits
    of weights and inputs is digital and exact.

    Attributes
    ----------
    rows, cols : int
        Cells of one array, physical; larger matrices are tiled over several.
    device : Device or str
        The cell, or the name of a preset or the path of a TOML file.
    weight_format : str
        One of `CROSSBAR_WEIGHTS`.
    act_format : str
        ``int2`` .. ``int16``, ``uint2`` .. ``uint16``.
    mapping : {"differential", "offset"}
    readout : {"analog", "digital"}
        Where the two columns of a differential pair, or an output's column and the reference, are subtracted.
    bits_per_cell : int
        1..8.
    slices : int or None
        Digits of a weight; None: as many as it needs.
    dac_bits : int or None
        Bits of an input digit, 1 (bit serial) to 16; None: the whole input in one.
    adc_bits : int or None
        Bits of the output converters, 1..24; None: no conversion, currents are taken as they are and `adc` is not
        used.
    dac, adc : Dac, Adc
        Ranges and errors of the converters.
    ramp : RampAdc or None
        Nonlinear ramp converters in place of `adc`, so that a result is a value of the ramp's function; each array has
        its own, in columns beyond `cols`. It needs `adc_bits` None, an `adc` without errors, cells with a conductance,
        and a column's current that is the whole product, see `parts_of_sum`.
    r_row_ohm, r_col_ohm : float
        Resistance of a wire segment from cell to cell, along rows and along columns.
    r_driver_ohm, r_sense_ohm : float
        Resistance of a row's driver and of a column's sense amplifier.
    drive : {"one_sided", "two_sided"}
        Whether rows are driven at their first column only, or at both ends.
    g_min_siemens, g_max_siemens : float or None
        Conductance window in use, within the device's; None: all of it.
    read_voltage_v : float
        Voltage of the largest input digit; at most `MOST_BENT` times the device's `sinh_volt`.
    read_time_s : float
        Integration time of a read; sets the bandwidth of its noise.
    temperature_k : float
        Of the array while it is read.
    time_s : float
        Time from programming to reading, for drift; `engine.at` changes it.
    drift_compensation : {"none", "global"}
        ``global``: results are scaled by the ratio of the array's summed response at programming and now (one
        calibration product with all inputs on; Le Gallo et al. 2018).
    stuck_on, stuck_off : float
        Shares of cells that stay at the upper, or at the lower, end of the window, whatever is programmed.
    spare_cols : int
        Columns of each array kept free, for outputs that hit faulty cells; a multiple of `columns_per_output`.
    clock_mhz : float
        Of converters and digital part.
    settle_cycles : int
        Cycles from a new input digit to settled currents.
    """

    rows: int
    cols: int
    device: Device | str = "ideal"
    weight_format: str = "int8"
    act_format: str = "int8"
    mapping: str = "differential"
    readout: str = "analog"
    bits_per_cell: int = 4
    slices: int | None = None
    dac_bits: int | None = 8
    adc_bits: int | None = 8
    dac: Dac = field(default_factory=Dac)
    adc: Adc = field(default_factory=Adc)
    r_row_ohm: float = 0.0
    r_col_ohm: float = 0.0
    r_driver_ohm: float = 0.0
    r_sense_ohm: float = 0.0
    drive: str = "one_sided"
    g_min_siemens: float | None = None
    g_max_siemens: float | None = None
    read_voltage_v: float = 0.2
    read_time_s: float = 250e-9
    temperature_k: float = 300.0
    time_s: float = 0.0
    drift_compensation: str = "none"
    stuck_on: float = 0.0
    stuck_off: float = 0.0
    spare_cols: int = 0
    clock_mhz: float = 100.0
    settle_cycles: int = 1
    ramp: RampAdc | None = None

    def __post_init__(self) -> None:
        if isinstance(self.device, str):
            self._set("device", Device.load(self.device))
        for name, kind in (("device", Device), ("dac", Dac), ("adc", Adc)):
            if not isinstance(getattr(self, name), kind):
                raise TypeError(f"`{name}` must be a {kind.__name__}, got {getattr(self, name)!r}")
        for name, least, greatest in (("rows", 1, 65536), ("cols", 1, 65536), ("bits_per_cell", 1, 8)):
            self._set(name, checks.integer(name, getattr(self, name), minimum=least, maximum=greatest))
        for name, greatest in (("slices", MOST_SLICES), ("dac_bits", 16), ("adc_bits", 24)):
            if getattr(self, name) is not None:
                self._set(name, checks.integer(name, getattr(self, name), maximum=greatest))
        for name, known in (
            ("weight_format", CROSSBAR_WEIGHTS),
            ("act_format", CROSSBAR_ACTS),
            ("mapping", MAPPINGS),
            ("readout", READOUTS),
            ("drive", DRIVES),
            ("drift_compensation", COMPENSATIONS),
        ):
            checks.choice(name, getattr(self, name), known)
        for name, line, n_lines in (
            ("r_row_ohm", "row", self.rows),
            ("r_col_ohm", "column", self.cols),
            ("r_driver_ohm", "row", self.rows),
            ("r_sense_ohm", "column", self.cols),
        ):
            self._set(name, resistance(name, getattr(self, name), line, n_lines))
        for name in ("time_s", "stuck_on", "stuck_off"):
            self._set(name, checks.real(name, getattr(self, name), minimum=0.0))
        for name in ("read_voltage_v", "read_time_s", "temperature_k", "clock_mhz"):
            self._set(name, checks.real(name, getattr(self, name), minimum=0.0, exclusive=True))
        for name in ("spare_cols", "settle_cycles"):
            self._set(name, checks.integer(name, getattr(self, name), minimum=0))
        if self.stuck_on + self.stuck_off > 1:
            raise InvalidValueError(
                f"`stuck_on` + `stuck_off` must be at most 1, got {self.stuck_on + self.stuck_off:g}"
            )
        self._check_window()
        self._check_slices()
        if self.cell.capacitance_farad is not None and self.has_wires:
            raise InvalidValueError("a charge-domain array has no wire resistance here: `r_..._ohm` must all be 0")
        bend = self.cell.sinh_volt
        if bend is not None and self.read_voltage_v > MOST_BENT * bend:
            raise InvalidValueError(
                f"`read_voltage_v` must be at most {MOST_BENT:g} times the `sinh_volt` of '{self.cell.name}', "
                f"{bend:g} V, got {self.read_voltage_v:g}"
            )
        if self.ramp is not None:
            self._check_ramp()

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def _check_window(self) -> None:
        cell = self.cell
        if cell.capacitance_farad is not None:
            if self.bits_per_cell != 1:
                raise InvalidValueError(f"`bits_per_cell` of a charge-domain cell must be 1, got {self.bits_per_cell}")
            if self.g_min_siemens is not None or self.g_max_siemens is not None:
                raise InvalidValueError("a charge-domain cell's conductances follow from its capacitance")
            return
        for name in ("g_min_siemens", "g_max_siemens"):
            given = getattr(self, name)
            if given is not None:
                self._set(name, checks.real(name, given, minimum=0.0))
                if not cell.g_min_siemens <= given <= cell.g_max_siemens:
                    raise InvalidValueError(
                        f"`{name}` must be within {cell.g_min_siemens:g}..{cell.g_max_siemens:g} S, the window of "
                        f"'{cell.name}', got {given:g}"
                    )
        low, high = self.window
        if not low < high:
            raise InvalidValueError(f"`g_min_siemens` must be below `g_max_siemens`, got {low:g} and {high:g}")

    def _check_slices(self) -> None:
        if self.slices is not None and self.slices * self.bits_per_cell < self.weight_bits:
            raise InvalidValueError(
                f"`slices` x `bits_per_cell` must be at least {self.weight_bits} to hold {self.weight_format} with "
                f"the {self.mapping} mapping, got {self.slices} x {self.bits_per_cell}"
            )
        if self.spare_cols % self.columns_per_output:
            raise InvalidValueError(
                f"`spare_cols` must be a multiple of {self.columns_per_output}, the columns of an output, "
                f"got {self.spare_cols}"
            )
        if self.outputs_per_array < 1:
            needed = self.columns_per_output + self.reserved_cols
            raise InvalidValueError(
                f"`cols` must be at least {needed}: {self.columns_per_output} for an output and {self.reserved_cols} "
                f"reserved, got {self.cols}"
            )

    def _check_ramp(self) -> None:
        if not isinstance(self.ramp, RampAdc):
            raise TypeError(f"`ramp` must be a RampAdc, got {self.ramp!r}")
        if self.adc_bits is not None:
            raise InvalidValueError(
                f"`adc_bits` must be None with a `ramp`, which converts in their place, got {self.adc_bits}"
            )
        if self.adc != Adc():
            raise InvalidValueError("`adc` must be left out with a `ramp`, which converts in its place")
        if self.cell.capacitance_farad is not None:
            raise InvalidValueError(f"a `ramp` needs cells with a conductance; '{self.cell.name}' is charge-domain")
        if self.parts_of_sum is not None:
            raise InvalidValueError(f"a ramp converter would apply its function to parts of a sum: {self.parts_of_sum}")

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some fields changed, validated again."""
        return replace(self, **changes)

    @property
    def cell(self) -> Device:
        """The device, loaded."""
        assert isinstance(self.device, Device)
        return self.device

    @property
    def weights(self) -> formats.RealFormat:
        """The weight format."""
        found = formats.get(self.weight_format)
        assert isinstance(found, formats.RealFormat)
        return found

    @property
    def activations(self) -> formats.RealFormat:
        """The activation format."""
        found = formats.get(self.act_format)
        assert isinstance(found, formats.RealFormat)
        return found

    @property
    def window(self) -> tuple[float, float]:
        """Smallest and largest conductance in use, in siemens at 300 K."""
        if self.cell.capacitance_farad is not None:
            return 0.0, self.cell.capacitance_farad / self.read_time_s
        low, high = self.g_min_siemens, self.g_max_siemens
        return (
            self.cell.g_min_siemens if low is None else low,
            self.cell.g_max_siemens if high is None else high,
        )

    @property
    def level_siemens(self) -> float:
        """Conductance between neighbouring levels of a cell."""
        low, high = self.window
        return (high - low) / ((1 << self.bits_per_cell) - 1)

    @property
    def offset(self) -> int:
        """What is added to every weight before it is cut into digits; 0 with differential pairs."""
        return max(0, -int(_finite(self.weights).min())) if self.mapping == "offset" else 0

    @property
    def weight_bits(self) -> int:
        """Bits of the integer that is cut into digits: the magnitude, or the shifted weight."""
        integers = _finite(self.weights)
        if self.mapping == "offset":
            return max(1, int(integers.max() + self.offset).bit_length())
        return int(np.abs(integers).max()).bit_length()

    @property
    def n_slices(self) -> int:
        """Digits of a weight."""
        return -(-self.weight_bits // self.bits_per_cell) if self.slices is None else self.slices

    @property
    def columns_per_output(self) -> int:
        """Physical columns that an output takes."""
        return self.n_slices * (2 if self.mapping == "differential" else 1)

    @property
    def reserved_cols(self) -> int:
        """Columns of each array that hold no output: spare ones, and those of the offset."""
        return self.spare_cols + (self.n_slices if self.mapping == "offset" else 0)

    @property
    def spare_outputs(self) -> int:
        """Outputs that fit into the spare columns of one array."""
        return self.spare_cols // self.columns_per_output

    @property
    def outputs_per_array(self) -> int:
        """Outputs that fit into the columns of one array."""
        return max(self.cols - self.reserved_cols, 0) // self.columns_per_output

    @property
    def input_digits(self) -> tuple[int, ...]:
        """Bits of every input digit, least significant first."""
        bits = self.activations.bits
        width = bits if self.dac_bits is None else min(self.dac_bits, bits)
        return (*([width] * (-(-bits // width) - 1)), bits - width * (-(-bits // width) - 1))

    @property
    def parts_of_sum(self) -> str | None:
        """Why a converted current is only a part of the product of an array; None where it is all of it."""
        if self.readout != "analog":
            return f"{self.mapping} mapping with {self.readout} readout subtracts columns after the conversion"
        if self.n_slices > 1:
            return f"a weight has {self.n_slices} slices"
        if len(self.input_digits) > 1:
            return f"an input has {len(self.input_digits)} digits"
        return None

    @property
    def has_wires(self) -> bool:
        """Whether any resistance lies between drivers, cells and sense amplifiers."""
        return max(self.r_row_ohm, self.r_col_ohm, self.r_driver_ohm, self.r_sense_ohm) > 0


def resistance(name: str, ohm: Any, line: str, n_lines: int) -> float:
    """Return a resistance as a float; an infinite one is an error that names the `n_lines` lines that would float.

    Examples
    --------
    >>> resistance("r_driver_ohm", 50, "row", 64)
    50.0
    """
    if isinstance(ohm, float) and ohm == math.inf:
        lines = f"{line} 0" if n_lines == 1 else f"{line}s 0 to {n_lines - 1}"
        raise InvalidValueError(f"`{name}` must be finite, got inf: {lines} would float")
    return checks.real(name, ohm, minimum=0.0)


def _finite(found: formats.RealFormat) -> Any:
    """Integers of all codes that are numbers."""
    return found.integers[~np.isnan(found.values)]
