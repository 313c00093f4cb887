"""A memory cell described: its conductance window, and everything that moves a conductance away from its target."""

__all__ = ["BOLTZMANN", "CHARGE", "MOST_BENT", "REFERENCE_K", "Device", "devices"]

import math
from dataclasses import dataclass, fields, replace
from importlib import resources
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt

from tetrit import checks
from tetrit.errors import InvalidValueError, unknown_name

Floats = npt.NDArray[np.float64]
Distribution = Literal["normal", "lognormal"]
DISTRIBUTIONS: tuple[Distribution, ...] = ("normal", "lognormal")

BOLTZMANN = 1.380649e-23
"""J/K, exact since the SI of 2019."""

CHARGE = 1.602176634e-19
"""Charge of the electron in C, exact since the SI of 2019."""

REFERENCE_K = 300.0
"""Temperature at which a device's conductances are stated."""

MOST_BENT = 20.0
"""Largest read voltage over v0 of a curved cell: there it conducts 12 million times better than at small voltage."""

_LEAST_RATIO = 1e-12  # of g / g_max in powers and logarithms, so that an empty cell has finite figures


@dataclass(frozen=True, kw_only=True)
class Device:
    """A cell whose conductance is a weight. The class without further arguments is perfect.

    The four methods are the model: what a subclass overrides, the simulator uses. They take and return arrays.
    Written first and read later, a conductance goes through: programming error, times the factors of cycle and device,
    verified or not; drift; temperature; noise at every read.

    Attributes
    ----------
    name : str
        For reports.
    g_min_siemens, g_max_siemens : float
        Conductance window, at 300 K. Zero weights sit at `g_min_siemens`.
    capacitance_farad : float or None
        For charge-domain cells: the unit capacitor, with its mismatch as `device_spread`. The cell then carries
        ``C / read_time`` as its conductance (the switched-capacitor equivalent), or nothing; it takes 1 bit, and sees
        no wire resistance. Its window follows from that and not from the two fields above.
    program_sigma_siemens : tuple of float
        Coefficients c0, c1, c2, ... of the programming error's standard deviation, ``sum of c_k (g / g_max)**k``.
    write_cycles : int
        Most programming attempts per cell; 1 programs once and does not verify.
    write_tolerance_siemens : float or None
        Write-verify stops at the first attempt whose error is at most this, and else keeps the last one; for
        `write_cycles` above 1.
    device_spread, cycle_spread : float
        Relative spread of the conductance from device to device (drawn once per chip and cell) and from cycle to cycle
        (drawn again at every programming attempt).
    device_distribution, cycle_distribution : {"normal", "lognormal"}
        Of the factor that multiplies the conductance: ``1 + s z``, or ``exp(s z)``, for a standard normal z.
    drift_start_s : float
        t0 of the drift law ``g(t) = g ((t + t0) / t0)**-nu``: the age of a cell at t = 0, when it is as programmed.
    drift_mean, drift_sigma : tuple of float or None
        (slope, offset, least, greatest) of the mean and the standard deviation of nu, each
        ``clip(slope ln(g / g_max) + offset, least, greatest)``; nu is drawn per cell, and its magnitude taken. None: no
        drift.
    flicker : tuple of float or None
        (c, e, greatest) of the 1/f read noise, ``sigma = g Q sqrt(ln((t + t0 + t_read) / (2 t_read)))`` with
        ``Q = min(c / (g_programmed / g_max)**e, greatest)``. None: no 1/f noise.
    thermal, shot : bool
        Whether the cell's current has thermal noise ``4 k T g B`` (charge domain: ``k T C`` of charge per cell) and
        shot noise ``2 q |I| B``, with the bandwidth ``B = 1 / (2 t_read)``.
    temperature_per_k : float
        Relative change of conductance per kelvin above 300 K; below, the same with the other sign.
    sinh_volt : float or None
        v0 of the current-voltage curve ``I = g v0 sinh(V / v0)``, for voltages up to `MOST_BENT` v0; None: ohmic.
    source : str
        Where these figures come from, and which are assumptions of ours.

    Examples
    --------
    >>> import numpy as np
    >>> from tetrit.hardware import Device
    >>> pcm = Device.load("pcm")
    >>> sigma = pcm.program_sigma(np.array([0.0, 12.5e-6, 25e-6]))
    >>> [f"{s * 1e6:.4f} uS" for s in sigma]
    ['0.2635 uS', '0.9527 uS', '1.0554 uS']
    """

    name: str = "ideal"
    g_min_siemens: float = 0.0
    g_max_siemens: float = 25e-6
    capacitance_farad: float | None = None
    program_sigma_siemens: tuple[float, ...] = ()
    write_cycles: int = 1
    write_tolerance_siemens: float | None = None
    device_spread: float = 0.0
    device_distribution: Distribution = "normal"
    cycle_spread: float = 0.0
    cycle_distribution: Distribution = "normal"
    drift_start_s: float = 20.0
    drift_mean: tuple[float, float, float, float] | None = None
    drift_sigma: tuple[float, float, float, float] | None = None
    flicker: tuple[float, float, float] | None = None
    thermal: bool = False
    shot: bool = False
    temperature_per_k: float = 0.0
    sinh_volt: float | None = None
    source: str = "perfect cell"

    def __post_init__(self) -> None:
        for name in ("name", "source"):
            if not isinstance(getattr(self, name), str):
                raise TypeError(f"`{name}` must be a string, got {getattr(self, name)!r}")
        for name in ("thermal", "shot"):
            if not isinstance(getattr(self, name), bool):
                raise TypeError(f"`{name}` must be true or false, got {getattr(self, name)!r}")
        for name in ("g_min_siemens", "device_spread", "cycle_spread"):
            self._set(name, checks.real(name, getattr(self, name), minimum=0.0))
        self._set(
            "g_max_siemens",
            checks.real("g_max_siemens", self.g_max_siemens, minimum=self.g_min_siemens, exclusive=True),
        )
        for name in ("capacitance_farad", "write_tolerance_siemens", "sinh_volt"):
            if getattr(self, name) is not None:
                self._set(name, checks.real(name, getattr(self, name), minimum=0.0, exclusive=True))
        self._set("drift_start_s", checks.real("drift_start_s", self.drift_start_s, minimum=0.0, exclusive=True))
        self._set("temperature_per_k", checks.real("temperature_per_k", self.temperature_per_k))
        self._set("write_cycles", checks.integer("write_cycles", self.write_cycles, maximum=1000))
        for name in ("device_distribution", "cycle_distribution"):
            checks.choice(name, getattr(self, name), DISTRIBUTIONS)
        self._set("program_sigma_siemens", _numbers("program_sigma_siemens", self.program_sigma_siemens))
        for name, n in (("drift_mean", 4), ("drift_sigma", 4), ("flicker", 3)):
            if getattr(self, name) is not None:
                self._set(name, _numbers(name, getattr(self, name), n))
        for name in ("drift_mean", "drift_sigma"):
            row = getattr(self, name)
            if row is not None and not 0 <= row[2] <= row[3]:
                raise InvalidValueError(f"`{name}` must have 0 <= least <= greatest, got {row[2]:g} and {row[3]:g}")
        if (self.drift_mean is None) != (self.drift_sigma is None):
            raise InvalidValueError("`drift_mean` and `drift_sigma` belong together, only one is given")
        if self.flicker is not None and min(self.flicker) < 0:
            raise InvalidValueError(f"`flicker` must have no negative number, got {list(self.flicker)}")
        if (self.write_cycles > 1) != (self.write_tolerance_siemens is not None):
            raise InvalidValueError("`write_cycles` above 1 and `write_tolerance_siemens` belong together")
        if self.capacitance_farad is not None:
            self._check_capacitor()

    def _check_capacitor(self) -> None:
        """Refuse what describes a conductance: the errors of a capacitor are its mismatch and its kTC noise."""
        for name in ("program_sigma_siemens", "cycle_spread", "drift_mean", "flicker", "shot", "sinh_volt"):
            if getattr(self, name):
                raise InvalidValueError(f"a cell with `capacitance_farad` has no `{name}`, got {getattr(self, name)}")
        if self.write_cycles > 1:
            raise InvalidValueError(f"a cell with `capacitance_farad` has 1 as `write_cycles`, got {self.write_cycles}")

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some fields changed, validated again."""
        return replace(self, **changes)

    @property
    def on_off_ratio(self) -> float:
        """Largest over smallest conductance; infinite where the smallest is 0."""
        return math.inf if self.g_min_siemens == 0 else self.g_max_siemens / self.g_min_siemens

    def program_sigma(self, g_siemens: Floats) -> Floats:
        """Return the standard deviation in siemens of one programming attempt at targets `g_siemens`."""
        sigma: Floats = np.polynomial.polynomial.polyval(
            g_siemens / self.g_max_siemens, np.array(self.program_sigma_siemens or (0.0,))
        )
        return np.maximum(sigma, 0.0)

    def drift_statistics(self, g_siemens: Floats) -> tuple[Floats, Floats]:
        """Return mean and standard deviation of the drift exponent nu for targets `g_siemens`."""
        if self.drift_mean is None or self.drift_sigma is None:
            return np.zeros_like(g_siemens), np.zeros_like(g_siemens)
        log_ratio = np.log(self._ratio(g_siemens))
        mean, sigma = (
            np.clip(slope * log_ratio + offset, least, greatest)
            for slope, offset, least, greatest in (self.drift_mean, self.drift_sigma)
        )
        return mean, sigma

    def flicker_sigma(self, g_siemens: Floats, programmed_siemens: Floats, time_s: float, read_time_s: float) -> Floats:
        """Return the standard deviation in siemens of 1/f noise, read `time_s` after programming.

        Parameters
        ----------
        g_siemens, programmed_siemens : array of float64
            Conductances at the time of the read, and as they were programmed.
        time_s, read_time_s : float
            Time since programming, and of integration.
        """
        if self.flicker is None:
            return np.zeros_like(g_siemens)
        coefficient, exponent, greatest = self.flicker
        q = np.minimum(coefficient / self._ratio(programmed_siemens) ** exponent, greatest)
        octaves = math.log(max((time_s + self.drift_start_s + read_time_s) / (2 * read_time_s), 1.0))
        return np.asarray(g_siemens * q * math.sqrt(octaves))

    def at_temperature(self, g_siemens: Floats, temperature_k: float) -> Floats:
        """Return conductances at a temperature, from those at 300 K; never negative."""
        return np.maximum(g_siemens * (1.0 + self.temperature_per_k * (temperature_k - REFERENCE_K)), 0.0)

    def _ratio(self, g_siemens: Floats) -> Floats:
        return np.maximum(g_siemens / self.g_max_siemens, _LEAST_RATIO)

    @classmethod
    def from_dict(cls, table: Any, *, where: str = "device") -> Self:
        """Build a device from a table of its fields; errors begin with `where`.

        Without a name it is called "custom", and the source of its figures "not stated". What may be None may be
        "none".
        """
        values = checks.keys(where, table, [field.name for field in fields(cls)])
        for field in fields(cls):
            if field.default is None and values.get(field.name) == "none":
                values[field.name] = None
        values = {"name": "custom", "source": "not stated"} | values
        try:
            return cls(**values)
        except (TypeError, ValueError) as error:
            raise InvalidValueError(f"{where}: {error}") from None

    @classmethod
    def load(cls, source: str | Path) -> Self:
        """Load a device.

        Parameters
        ----------
        source : str or Path
            Name of a device that comes with tetrit, or path of a TOML file of `Device`'s fields (anything that ends in
            ``.toml``).

        Raises
        ------
        UnknownNameError
            No device of that name; the message suggests the nearest.
        InvalidValueError
            The file cannot be read, is not TOML, or a field is wrong; the message names file and field.
        """
        path = Path(source)
        if path.suffix == ".toml":
            return cls.from_dict(checks.read_toml("device file", path), where=str(path))
        if str(source) not in devices():
            raise unknown_name("device", str(source), devices())
        text = (resources.files("tetrit.hardware") / "devices" / f"{source}.toml").read_text(encoding="utf-8")
        where = f"device {source}"
        return cls.from_dict(checks.parse_toml(where, text), where=where)


def devices() -> tuple[str, ...]:
    """Names of the devices that come with tetrit, sorted."""
    folder = resources.files("tetrit.hardware") / "devices"
    return tuple(sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml")))


def _numbers(name: str, row: Any, n: int | None = None) -> tuple[float, ...]:
    if not isinstance(row, tuple | list):
        raise TypeError(f"`{name}` must be {'numbers' if n is None else f'{n} numbers'}, got {row!r}")
    if n is not None and len(row) != n:
        raise InvalidValueError(f"`{name}` must be {n} numbers, got {len(row)}")
    return tuple(checks.real(name, value) for value in row)
