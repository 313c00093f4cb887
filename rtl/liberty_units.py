"""The authority for the numbers of liberty files: units, figures within reason, and tables over load and transition."""

__all__ = ["Units"]

import math
import re

from tetrit.errors import InvalidValueError
from tetrit.hardware.cell_tables import Table
from tetrit.rtl.liberty_syntax import Group, LibertyError

_PREFIXES = {"f": 1e-15, "p": 1e-12, "n": 1e-9, "u": 1e-6, "m": 1e-3, "": 1.0, "k": 1e3}
_LOADS = ("total_output_net_capacitance", "equal_or_opposite_output_net_capacitance")
_SLEWS = ("input_net_transition", "input_transition_time")
_FIRST = (*_LOADS, "related_pin_transition")
_SECOND = (*_SLEWS, "constrained_pin_transition")

# beyond these a figure is in a unit other than the file says: no cell of any library is near them (our assumption)
_MOST_VOLT = 20.0


class Units:
    """Units of a library and the reading of its numbers.

    Parameters
    ----------
    library : Group
        The library.
    path : str
        Its file, for errors.

    Raises
    ------
    LibertyError
        If a unit is not of its kind, or the supply is missing or beyond reason.
    """

    def __init__(self, library: Group, path: str):
        self.path = path
        self.time_ps = self._scale(library, "time_unit", "1ns", "s") / 1e-12
        self.volt = self._scale(library, "voltage_unit", "1V", "V")
        self.leakage_nw = self._scale(library, "leakage_power_unit", "1nW", "W") / 1e-9
        load = library.attributes.get("capacitive_load_unit", ("1", "pf"))
        if len(load) != 2 or load[1].lower() not in ("ff", "pf"):
            raise self.error(library, "capacitive_load_unit", "must be a number and ff or pf")
        self.load_ff = self._float(library, "capacitive_load_unit", load[0]) * (
            1000.0 if load[1].lower() == "pf" else 1.0
        )
        if not (0 < self.load_ff < math.inf):
            raise self.error(library, "capacitive_load_unit", f"must be above 0, got {load[0]}")
        self.voltage_v = self.number(library, "nom_voltage", 0.0) * self.volt
        if not (0 < self.voltage_v < math.inf):
            raise LibertyError(f"{path}:{library.line}: library has no positive 'nom_voltage'")
        if self.voltage_v > _MOST_VOLT:
            raise self.error(
                library,
                "nom_voltage",
                f"is {self.voltage_v:g} V, beyond reason ({_MOST_VOLT:g} V): is 'voltage_unit' right?",
            )
        self.energy_fj = self.load_ff * self.volt**2
        self._templates = {
            group.arguments[0]: group for group in library.groups if group.name.endswith("template") and group.arguments
        }

    def error(self, group: Group, name: str, text: str) -> LibertyError:
        """Return the error about an attribute, with its line."""
        return LibertyError(f"{self.path}:{group.lines.get(name, group.line)}: '{name}' {text}")

    def number(self, group: Group, name: str, default: float) -> float:
        """Return an attribute in the file's own unit."""
        return self._float(group, name, group.get(name)) if name in group.attributes else default

    def amount(self, group: Group, name: str, scale: float, most: float, unit: str, hint: str) -> float | None:
        """Return an attribute times `scale`, from 0 to `most`; None where it is missing."""
        if name not in group.attributes:
            return None
        value = self._float(group, name, group.get(name)) * scale
        if not value >= 0:
            raise self.error(group, name, f"must not be negative, got {group.get(name)}")
        if value > most:
            raise self.error(group, name, f"is {value:g} {unit}, beyond reason ({most:g} {unit}){hint}")
        return value

    def table(self, group: Group, scale: float) -> Table:
        """Return a table, its values times `scale`; one of a single number has one point on either axis."""
        values = self._numbers(group, "values")
        template = self._templates.get(group.arguments[0] if group.arguments else "", group)
        axes: list[tuple[str, list[float]]] = []
        for number in ("1", "2", "3"):
            index = self._numbers(group, f"index_{number}") or self._numbers(template, f"index_{number}")
            variable = template.get(f"variable_{number}")
            if index and (variable or "variable_1" not in template.attributes):
                axes.append((variable or (_SLEWS[0] if number == "1" else _LOADS[0]), index))
        size = math.prod(len(index) for _, index in axes)
        if len(values) != size:
            raise self.error(group, "values", f"must have as many numbers as its indices ask for, got {len(values)}")
        if not values or not all(map(math.isfinite, values)):
            raise self.error(group, "values", "must be finite numbers")
        found: dict[bool, tuple[float, ...]] = {}
        for variable, index in axes:
            if (variable not in _FIRST and variable not in _SECOND) or (variable in _FIRST) in found:
                raise self.error(group, "values", f"depends on '{variable}', which is not supported in this place")
            unit = self.load_ff if variable in _LOADS else self.time_ps
            found[variable in _FIRST] = tuple(point * unit for point in index)
        x, y = found.get(True, (0.0,)), found.get(False, (0.0,))
        if axes and axes[0][0] in _FIRST:
            rows = [values[i * len(y) : (i + 1) * len(y)] for i in range(len(x))]
        else:
            rows = [values[i :: len(x)] for i in range(len(x))]
        try:
            return Table(x=x, y=y, values=tuple(tuple(value * scale for value in row) for row in rows))
        except InvalidValueError:
            raise self.error(group, "values", "must have indices of rising numbers") from None

    def _numbers(self, group: Group, name: str) -> list[float]:
        texts = group.attributes.get(name, ())
        return [self._float(group, name, word) for text in texts for word in re.split(r"[,\s]+", text.strip()) if word]

    def _float(self, group: Group, name: str, text: str) -> float:
        try:
            return float(text)
        except ValueError:
            raise self.error(group, name, f"must be a number, got '{text}'") from None

    def _scale(self, group: Group, name: str, default: str, unit: str) -> float:
        text = group.get(name, default)
        match = re.fullmatch(rf"\s*([\d.]+)\s*([fpnumk]?){unit}\s*", text, re.IGNORECASE)
        if match is None:
            raise self.error(group, name, f"must be a number and a unit of {unit}, got '{text}'")
        scale = self._float(group, name, match[1]) * _PREFIXES[match[2].lower()]
        if not scale > 0:
            raise self.error(group, name, f"must be above 0, got '{text}'")
        return scale
