"""How a network's layers simulate their chips: modes of computing, when chips change, how noise comes in."""

__all__ = ["CELLS", "MODES", "NOISES", "REDRAWS", "WIRES", "Mode", "Ramp", "Settings"]

from dataclasses import dataclass
from typing import Any, Literal

from tetrit import checks
from tetrit.errors import InvalidValueError
from tetrit.hardware import Crossbar, Dac
from tetrit.noise import MAX_SEED

Mode = Literal["float", "quantised", "noisy"]
MODES: tuple[Mode, ...] = ("float", "quantised", "noisy")
REDRAWS = ("batch", "epoch", "chip")
CELLS = ("statistics", "each")
NOISES = ("extended", "graph", "injection")
WIRES = ("lumped", "exact")


@dataclass(frozen=True, kw_only=True)
class Ramp:
    """How the noise comes in while a network trains: first in float, then quantised, then with more and more noise.

    Attributes
    ----------
    quantise : float, default 0
        Share of the training before weights and inputs are quantised.
    start, full : float, default 0
        Shares of the training at which noise begins, and is all there; linear in between.

    Raises
    ------
    InvalidValueError
        Unless ``0 <= quantise <= start <= full <= 1``.

    Examples
    --------
    >>> ramp = Ramp(quantise=0.25, start=0.5, full=1.0)
    >>> [ramp.at(progress) for progress in (0.125, 0.25, 0.75, 1.0)]
    [('float', 0.0), ('quantised', 0.0), ('noisy', 0.5), ('noisy', 1.0)]
    """

    quantise: float = 0.0
    start: float = 0.0
    full: float = 0.0

    def __post_init__(self) -> None:
        for name in ("quantise", "start", "full"):
            object.__setattr__(self, name, checks.real(name, getattr(self, name), minimum=0.0))
        if not self.quantise <= self.start <= self.full <= 1:
            raise InvalidValueError(
                f"a ramp must have quantise <= start <= full <= 1, got {self.quantise:g}, {self.start:g}, {self.full:g}"
            )

    def at(self, progress: float) -> tuple[Mode, float]:
        """Return what a layer computes at this share of the training, and the scale of its noise."""
        if progress < self.quantise:
            return "float", 0.0
        if progress < self.start:
            return "quantised", 0.0
        if progress >= self.full:
            return "noisy", 1.0
        scale = (progress - self.start) / (self.full - self.start)
        return ("noisy", scale) if scale > 0 else ("quantised", 0.0)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How the layers of a network simulate their chips; see `tetrit.train.noise_aware`."""

    machine: Crossbar
    noise: str = "extended"
    redraw: str = "batch"
    cells: str = "statistics"
    seed: int = 0
    refresh_every: int = 200
    wires: str = "lumped"
    ramp: Ramp = Ramp()

    def __post_init__(self) -> None:
        if not isinstance(self.machine, Crossbar):
            raise TypeError(f"`crossbar` must be a Crossbar, got {type(self.machine).__name__}")
        if self.machine.ramp is not None:
            raise InvalidValueError("`crossbar` must have no `ramp`: layers cannot train on its converters")
        if not isinstance(self.ramp, Ramp):
            raise TypeError(f"`ramp` must be a Ramp, got {type(self.ramp).__name__}")
        checks.choice("noise", self.noise, NOISES)
        checks.choice("redraw", self.redraw, REDRAWS)
        checks.choice("cells", self.cells, CELLS)
        checks.choice("wires", self.wires, WIRES)
        object.__setattr__(self, "seed", checks.integer("seed", self.seed, minimum=0, maximum=MAX_SEED))
        object.__setattr__(self, "refresh_every", checks.integer("refresh_every", self.refresh_every))
        if self.redraw != "batch" and self.cells != "each":
            raise InvalidValueError(f"`cells` must be 'each' where a chip is kept (`redraw` = '{self.redraw}')")
        if self.cells == "statistics" and (self.machine.stuck_on or self.machine.stuck_off):
            raise InvalidValueError("`cells` must be 'each' for a crossbar with stuck cells")
        if self.noise != "extended":
            self._check_graph()

    def _check_graph(self) -> None:
        """Refuse what noise in the graph does not have."""
        machine = self.machine
        refused = {
            f"`redraw` = '{self.redraw}'": self.redraw != "batch",
            f"`cells` = '{self.cells}'": self.cells != "statistics",
            f"`mapping` = '{machine.mapping}'": machine.mapping != "differential",
            "errors of `dac` or `adc`": machine.dac != Dac() or machine.adc.replace(**_IDEAL) != machine.adc,
            "`sinh_volt` of the device": machine.cell.sinh_volt is not None,
        }
        for what, there in refused.items():
            if there:
                raise InvalidValueError(f"`noise` = '{self.noise}' takes no {what}; 'extended' does")


_IDEAL: dict[str, Any] = {
    "offset_sigma_lsb": 0.0,
    "gain_sigma": 0.0,
    "dnl_sigma_lsb": 0.0,
    "inl_lsb": (),
    "capacitor_sigma": 0.0,
}
