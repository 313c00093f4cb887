"""Energy and area of analog-to-digital converters over bits, rate and node: the authority for fits of the ADC survey.

Energy of a conversion, after Andrulis et al. (arXiv 2404.06553)::

    SNDR  = 20 log10(2) bits + 10 log10(1.5)                     dB
    FOM_S = min(a0 + a1 ln(rate), b0 + b1 ceil(bits))            dB
    E     = 10**((SNDR - FOM_S) / 10) / 2 * exp(c0 + c1 ln(node) + c2 ln(bits) + residual)

with the residual at the 20 % quantile of B. Murmann's survey: a good converter. The upper bound has the median of the
survey in its place. The lower bound is the envelope of the best converters, as the survey itself draws it::

    E_best = max(floor, 10**((SNDR - FOM_best) / 10) / 2)
    FOM_best = F - 10 log10(sqrt(1 + (rate / corner)**2))        dB

which no energy goes below: the floor is what technology takes (Walden), the other what noise takes (Schreier). Area is
``exp(d0 + d1 ln(node) + d2 ln(rate) + d3 ln(E))``.

Assumptions of ours: a converter of b bits has b effective bits; below the survey's 4 bits, energy, bounds and area are
those of 4 bits in proportion to the bits.
"""

__all__ = ["AdcSurvey"]

import math
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Self

from tetrit import checks
from tetrit.errors import InvalidValueError
from tetrit.sim.cost.figure import Figure

_FIELDS: dict[str, dict[str, int]] = {
    "energy": {"rate_db": 2, "bits_db": 2, "ln_pj": 3, "residual": 0, "median_residual": 0},
    "best": {"foms_db": 0, "corner_hz": 0, "floor_pj": 0},
    "area": {"ln_um2": 4, "low_residual": 0, "median_residual": 0},
    "range": {"bits": 2, "rate_hz": 2, "node_nm": 2},
}
"""Of every section: its numbers, and how many of each; 0 is a single one."""


@dataclass(frozen=True, kw_only=True)
class AdcSurvey:
    """Fits of a survey of converters.

    Attributes
    ----------
    rate_db, bits_db : tuple of float
        a0, a1 and b0, b1 of the module's formulas.
    ln_pj : tuple of float
        c0, c1, c2.
    residual, median_residual : float
        Of the value, and of its upper bound; the first is not above the second.
    foms_db, corner_hz, floor_pj : float
        F, corner and floor of the best converters.
    ln_um2 : tuple of float
        d0, d1, d2, d3.
    low_area_residual, median_area_residual : float
        Added to the exponent for the bounds of the area; the first not above 0, the second not below.
    bits, rate_hz, node_nm : tuple of float
        (least, greatest) of what the survey spans; beyond it nothing is extrapolated but bits below the least.
    energy_source, best_source, area_source : str

    Examples
    --------
    >>> adc = AdcSurvey.survey()
    >>> energy = adc.energy_pj(bits=8, rate_hz=12.5e6, node_nm=32)
    >>> f"{energy.value:.2f} pJ, {energy.low:.2f} to {energy.high:.2f}"
    '1.71 pJ, 0.27 to 7.24'
    >>> f"{adc.area_um2(bits=8, rate_hz=12.5e6, node_nm=32).value:.0f} um2"
    '2705 um2'
    """

    rate_db: tuple[float, float]
    bits_db: tuple[float, float]
    ln_pj: tuple[float, float, float]
    residual: float
    median_residual: float
    foms_db: float
    corner_hz: float
    floor_pj: float
    ln_um2: tuple[float, float, float, float]
    low_area_residual: float
    median_area_residual: float
    bits: tuple[float, float]
    rate_hz: tuple[float, float]
    node_nm: tuple[float, float]
    energy_source: str
    best_source: str
    area_source: str

    def __post_init__(self) -> None:
        for name, n in (("rate_db", 2), ("bits_db", 2), ("ln_pj", 3), ("ln_um2", 4)):
            object.__setattr__(self, name, _numbers(name, getattr(self, name), n))
        for name in ("bits", "rate_hz", "node_nm"):
            low, high = _numbers(name, getattr(self, name), 2)
            if not 0 < low < high:
                raise InvalidValueError(f"`{name}` must have 0 < least < greatest, got {low:g} and {high:g}")
            object.__setattr__(self, name, (low, high))
        for name in ("residual", "median_residual", "foms_db", "low_area_residual", "median_area_residual"):
            object.__setattr__(self, name, checks.real(name, getattr(self, name)))
        for name in ("corner_hz", "floor_pj"):
            object.__setattr__(self, name, checks.real(name, getattr(self, name), minimum=0.0, exclusive=True))
        if self.residual > self.median_residual:
            raise InvalidValueError(
                f"`residual` must be at most `median_residual`, got {self.residual:g} and {self.median_residual:g}"
            )
        if not self.low_area_residual <= 0 <= self.median_area_residual:
            raise InvalidValueError(
                "`low_area_residual` must be at most 0 and `median_area_residual` at least 0, "
                f"got {self.low_area_residual:g} and {self.median_area_residual:g}"
            )

    @classmethod
    def survey(cls) -> Self:
        """Return the committed fits."""
        return cls.from_dict(_table(), where="adc.toml")

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a TOML file like the committed ``adc.toml``.

        Raises
        ------
        InvalidValueError
            The file cannot be read; or sections or keys are missing, all of them listed, unknown or wrong. The message
            begins with the file.
        """
        return cls.from_dict(checks.read_toml("ADC table", Path(path)), where=str(path))

    @classmethod
    def from_dict(cls, table: Any, *, where: str = "adc") -> Self:
        """Return the fits of a table of the sections ``energy``, ``best``, ``area`` and ``range``."""
        sections = checks.keys(where, table, _FIELDS)
        known = {name: (*fields, "source") if name != "range" else tuple(fields) for name, fields in _FIELDS.items()}
        rows = {name: checks.keys(f"{where}: {name}", sections.get(name, {}), known[name]) for name in known}
        missing = [f"{name}.{key}" for name, keys in known.items() for key in keys if key not in rows[name]]
        if missing:
            raise InvalidValueError(f"{where}: missing: {', '.join(missing)}")
        energy, best, area = rows["energy"], rows["best"], rows["area"]
        sources = {f"{name}_source": rows[name]["source"] for name in ("energy", "best", "area")}
        for name, source in sources.items():
            if not isinstance(source, str) or not source:
                raise InvalidValueError(f"{where}: `{name}` must be a text, got {source!r}")
        try:
            return cls(
                **{key: energy[key] for key in _FIELDS["energy"]},
                **{key: best[key] for key in _FIELDS["best"]},
                **{key: rows["range"][key] for key in _FIELDS["range"]},
                ln_um2=area["ln_um2"],
                low_area_residual=area["low_residual"],
                median_area_residual=area["median_residual"],
                **sources,
            )
        except (TypeError, ValueError) as error:
            raise InvalidValueError(f"{where}: {error}") from None

    def energy_pj(self, *, bits: int, rate_hz: float, node_nm: float) -> Figure:
        """Return the energy of a conversion in pJ: a good converter's, between the best known and the survey's median.

        Parameters
        ----------
        bits : int
            1 to the survey's most.
        rate_hz : float
            Conversions a second of one converter.
        node_nm : float
            Technology.

        Raises
        ------
        TypeError
            An argument of the wrong kind.
        InvalidValueError
            An argument outside what the survey spans.
        """
        enob, share, rate_hz, node_nm = self._checked(bits, rate_hz, node_nm)
        best = self._best_pj(enob, rate_hz)
        good, median = (self._fit_pj(enob, rate_hz, node_nm, r) for r in (self.residual, self.median_residual))
        value = max(good, best)
        return Figure(
            value=share * value,
            unit="pJ",
            origin="modelled",
            source=f"{self.energy_source}; low: {self.best_source}; high: median of that survey"
            + (f"; {bits} of {enob} bits in proportion: assumption" if share < 1 else ""),
            low=share * best,
            high=share * max(median, value),
        )

    def area_um2(self, *, bits: int, rate_hz: float, node_nm: float) -> Figure:
        """Return the area of a converter in um2: of the smaller ones, up to the survey's median; see `energy_pj`."""
        enob, share, rate_hz, node_nm = self._checked(bits, rate_hz, node_nm)
        energy = self.energy_pj(bits=enob, rate_hz=rate_hz, node_nm=node_nm).value
        d0, d1, d2, d3 = self.ln_um2
        exponent = d0 + d1 * math.log(node_nm) + d2 * math.log(rate_hz) + d3 * math.log(energy)
        return Figure(
            value=share * math.exp(exponent),
            unit="um2",
            origin="modelled",
            source=f"{self.area_source}; low: 5 % of the survey; high: its median",
            low=share * math.exp(exponent + self.low_area_residual),
            high=share * math.exp(exponent + self.median_area_residual),
        )

    def _checked(self, bits: int, rate_hz: float, node_nm: float) -> tuple[int, float, float, float]:
        """Return the bits that the survey is asked for, and the share of them that is wanted; rate and node."""
        least, most = (int(edge) for edge in self.bits)
        bits = checks.integer("bits", bits, maximum=most)
        found = []
        for name, value, (low, high) in (("rate_hz", rate_hz, self.rate_hz), ("node_nm", node_nm, self.node_nm)):
            number = checks.real(name, value)
            if not low <= number <= high:
                raise InvalidValueError(
                    f"`{name}` must be within {low:g} and {high:g}, the ADC survey's, got {number:g}"
                )
            found.append(number)
        return max(bits, least), min(1.0, bits / least), found[0], found[1]

    def _fit_pj(self, enob: int, rate_hz: float, node_nm: float, residual: float) -> float:
        (a0, a1), (b0, b1), (c0, c1, c2) = self.rate_db, self.bits_db, self.ln_pj
        foms_db = min(a0 + a1 * math.log(rate_hz), b0 + b1 * math.ceil(enob))
        scale = math.exp(c0 + c1 * math.log(node_nm) + c2 * math.log(enob) + residual)
        return float(0.5 * 10.0 ** ((_sndr_db(enob) - foms_db) / 10) * scale)

    def _best_pj(self, enob: int, rate_hz: float) -> float:
        foms_db = self.foms_db - 5.0 * math.log10(1.0 + (rate_hz / self.corner_hz) ** 2)
        return max(self.floor_pj, float(0.5e12 * 10.0 ** ((_sndr_db(enob) - foms_db) / 10)))


def _sndr_db(enob: float) -> float:
    return 20 * math.log10(2) * enob + 10 * math.log10(1.5)


def _numbers(name: str, row: Any, n: int) -> tuple[float, ...]:
    if not isinstance(row, tuple | list) or len(row) != n:
        raise InvalidValueError(f"`{name}` must be {n} numbers, got {row!r}")
    return tuple(checks.real(name, value) for value in row)


@cache
def _table() -> dict[str, Any]:
    text = (resources.files("tetrit.sim.cost") / "adc.toml").read_text(encoding="utf-8")
    return checks.parse_toml("adc.toml", text)
