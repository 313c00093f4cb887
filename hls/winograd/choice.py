"""Whether a convolution is done by tiles: only where it is exact enough and cheaper, with the reason in numbers."""

__all__ = ["SCHEMES", "Candidate", "Choice", "choose"]

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tetrit import checks, formats
from tetrit.errors import InvalidValueError
from tetrit.hardware import Crossbar, Machine, ShiftArray, SimdEngine
from tetrit.hls.integer.window import Window
from tetrit.hls.winograd import analysis
from tetrit.hls.winograd.cost import MOST_PLANES, Cost, direct_cost, planes, shares, tiled_cost
from tetrit.hls.winograd.execute import FLOATS
from tetrit.hls.winograd.transform import Transform, transform
from tetrit.hls.winograd.widths import Widths, two_complement, widths

SCHEMES: tuple[tuple[int, str], ...] = (
    (2, "standard"),
    (4, "standard"),
    (4, "nova"),
    (6, "halves"),
    (6, "nova"),
    (8, "nova"),
)
"""Outputs a tile, and points, that are considered; points without a set for the kernel's size are left out."""

_WIDEST_ACT = 16
"""Of a shift array's activations."""

_SAMPLE = (24, 32, 32)
"""Height or width, channels and outputs of the random layer that errors are measured on, at most."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A transform that was considered.

    Attributes
    ----------
    m : int
    points : str
    schemes : tuple of Transform
        Along height and width.
    exact : bool
        Whether every result is that of the direct convolution.
    error : float or None
        Root mean square error relative to the results, measured; None for integers.
    cost : Cost or None
        None where it cannot be done at all.
    widths : Widths or None
        Of integers.
    verdict : str
        Why it is taken, or not.
    taken : bool
    """

    m: int
    points: str
    schemes: tuple[Transform, Transform]
    exact: bool
    error: float | None
    cost: Cost | None
    widths: Widths | None
    verdict: str
    taken: bool = False


@dataclass(frozen=True, kw_only=True)
class Choice:
    """How a convolution is done.

    Attributes
    ----------
    schemes : tuple of Transform or None
        Along height and width; None: directly.
    reason : str
        One sentence, with its numbers.
    direct : Cost
    candidates : tuple of Candidate
        All that were considered.
    """

    schemes: tuple[Transform, Transform] | None
    reason: str
    direct: Cost
    candidates: tuple[Candidate, ...]


def choose(
    window: Window,
    outputs: int,
    *,
    act_format: str,
    weight_format: str,
    machine: Machine | None = None,
    tolerance: float | None = None,
    schemes: Sequence[tuple[int, str]] = SCHEMES,
    x: npt.ArrayLike | None = None,
    weight: npt.ArrayLike | None = None,
    adders: int | None = None,
    seed: int = 0,
) -> Choice:
    """Choose Winograd's convolution where it is exact enough and cheaper than the direct one.

    Integers (``int8``, ``szt``, ``pot3`` ...) are convolved exactly or not at all. Other formats, and ``float32``,
    ``float16`` and ``bf16``, must stay within `tolerance`.

    Parameters
    ----------
    window : Window
        Shapes of the convolution.
    outputs : int
        Channels of the output.
    act_format, weight_format : str
        Of inputs and weights, both integers or both the same arithmetic.
    machine : ShiftArray, SimdEngine or Crossbar, optional
        What it runs on: costs are then its cycles. Without a machine, multipliers of any width are taken to be had, and
        costs are one-bit cells of multipliers and adders at work.
    tolerance : float, optional
        Largest root mean square error relative to that of the results; needed for other formats than integers.
    schemes : sequence of (int, str)
        Outputs a tile, and names of points.
    x, weight : array_like, optional
        Data as `conv2d` takes them, for errors and for the planes of weights; by default random ones, positive inputs
        and normally distributed weights, and all values that weights may have.
    adders : int, optional
        Additions of transforms in a cycle; by default one for each column of the machine (our assumption: no machine of
        ours has such adders yet).
    seed : int
        Of the random data.

    Returns
    -------
    Choice

    Raises
    ------
    InvalidValueError
        Formats that do not go together or that the machine lacks, no tolerance where one is needed, outputs that the
        groups do not divide.

    Examples
    --------
    >>> from tetrit import hardware
    >>> layer = Window(in_shape=(32, 32, 64), kernel=(3, 3), padding=(1, 1, 1, 1))
    >>> choice = choose(layer, 64, act_format="int8", weight_format="szt", machine=hardware.load("shift_16x16"))
    >>> choice.schemes is None
    True
    """
    outputs = checks.integer("outputs", outputs)
    if outputs % window.groups:
        raise InvalidValueError(f"`outputs` must be a multiple of the {window.groups} groups, got {outputs}")
    count = machine.cols if adders is None and machine is not None else 1 if adders is None else adders
    judge = _judge(
        window, outputs, act_format, weight_format, machine, tolerance, x, weight, checks.integer("adders", count), seed
    )
    unfit = _unfit(window, machine)
    if unfit:
        return Choice(schemes=None, reason=f"direct: {unfit}", direct=judge.direct, candidates=())
    found = []
    for m, points in schemes:
        try:
            pair = (transform(m, window.kernel[0], points), transform(m, window.kernel[1], points))
        except InvalidValueError:
            continue
        found.append(judge.candidate(m, points, pair))
    allowed = [c for c in found if c.taken and c.cost is not None]
    best = min(allowed, key=lambda c: c.cost.decisive if c.cost is not None else 0, default=None)
    if best is None:
        reasons = "; ".join(f"{_name(c)}: {c.verdict}" for c in found) or "no points for this kernel"
        return Choice(schemes=None, reason=f"direct: {reasons}", direct=judge.direct, candidates=tuple(found))
    kept = tuple(c if c is best or not c.taken else replace(c, taken=False) for c in found)
    return Choice(schemes=best.schemes, reason=f"{_name(best)}: {best.verdict}", direct=judge.direct, candidates=kept)


def _name(candidate: Candidate) -> str:
    m, (r, s) = candidate.m, (scheme.r for scheme in candidate.schemes)
    return f"F({m}x{m},{r}x{s}) {candidate.points}"


def _unfit(window: Window, machine: Machine | None) -> str:
    """Return why no transform can help, or nothing."""
    if window.kernel == (1, 1):
        return "a kernel of one tap has no products to save"
    if window.stride != (1, 1) or window.dilation != (1, 1):
        return f"tiles need stride and dilation of 1, got {window.stride} and {window.dilation}"
    if isinstance(machine, Crossbar) and machine.adc_bits is not None:
        r, s = window.kernel
        return (
            f"{machine.adc_bits}-bit converters round the sum of every place of a tile: nothing is exact; and "
            f"F(2x2,{r}x{s}) has {(r + 1) * (s + 1)} conversions in place of 4 where direct inputs fit one array"
        )
    return ""


@dataclass(frozen=True, kw_only=True)
class _Judge(ABC):
    """What the candidates of one convolution have in common."""

    window: Window
    outputs: int
    formats: tuple[str, str]
    machine: Machine | None
    adders: int
    direct: Cost

    @abstractmethod
    def candidate(self, m: int, points: str, schemes: tuple[Transform, Transform]) -> Candidate:
        """Return one transform, judged."""

    def cheaper(self, cost: Cost) -> tuple[bool, str]:
        """Return whether a cost is below the direct one, and both in words."""
        unit = "one-bit cells" if cost.cycles is None else "cycles"
        ratio = self.direct.decisive / cost.decisive
        text = f"{cost.decisive:,} {unit} against {self.direct.decisive:,} directly, a ratio of {ratio:.2f}"
        return cost.decisive < self.direct.decisive, text


@dataclass(frozen=True, kw_only=True)
class _Integers(_Judge):
    """Exactly, or not at all."""

    act: tuple[int, int]
    weight: tuple[int, ...]
    given: npt.NDArray[np.int64] | None

    def candidate(self, m: int, points: str, schemes: tuple[Transform, Transform]) -> Candidate:
        channels = self.window.channels // self.window.groups
        needed = widths(*schemes, act=self.act, weight=(min(self.weight), max(self.weight)), channels=channels)

        def told(verdict: str, cost: Cost | None = None, *, taken: bool = False) -> Candidate:
            return Candidate(
                m=m, points=points, schemes=schemes, exact=True, error=None, cost=cost, widths=needed, verdict=verdict,
                taken=taken,
            )  # fmt: skip

        if max(needed.acc_bits, needed.output_bits) > 63:
            return told(f"exact sums need {max(needed.acc_bits, needed.output_bits)} bits, 63 can be had")
        machine, passes, why = self.machine, 1, ""
        if isinstance(machine, ShiftArray):
            found = self._planes(schemes)
            ternary, powers = shares(self.weight, *schemes)
            why = (
                f"of transformed weights only {100 * ternary:.0f} % are -1, 0 or 1 and {100 * powers:.0f} % zero or a "
                f"power of two, they reach {self._reach(schemes)} and take "
            )
            if needed.act_bits > _WIDEST_ACT:
                return told(f"transformed inputs need {needed.act_bits} bits, a shift array has {_WIDEST_ACT} at most")
            if found is None:
                return told(f"{why}more than {MOST_PLANES} weights of {self.formats[1]} each")
            passes, why = found, f"{why}{found} weights of {self.formats[1]} each: "
            machine = machine.replace(
                act_format=f"int{max(needed.act_bits, machine.activations.bits)}",
                acc_bits=min(63, max(machine.acc_bits, needed.acc_bits)),
            )
        cost = tiled_cost(
            self.window,
            self.outputs,
            schemes,
            (needed.act_bits, needed.weight_bits, needed.acc_bits),
            machine,
            self.formats,
            passes=passes,
            adders=self.adders,
        )
        good, text = self.cheaper(cost)
        return told(
            f"exact with operands of {needed.act_bits} and {needed.weight_bits} bits; {why}{text}", cost, taken=good
        )

    def _reach(self, schemes: tuple[Transform, Transform]) -> int:
        """Return the largest magnitude of a transformed weight."""
        v, h = (int(np.abs(scheme.integer.g).sum(axis=1).max()) for scheme in schemes)
        return v * h * max(abs(weight) for weight in self.weight)

    def _planes(self, schemes: tuple[Transform, Transform]) -> int | None:
        """Return how many weights of the machine's format a transformed weight takes."""
        assert isinstance(self.machine, ShiftArray)
        v, h = (scheme.integer.g for scheme in schemes)
        if self.given is not None:
            rows = self.given.reshape(-1, *self.given.shape[-2:]).astype(object)
            reached = {int(value) for kernel in rows for value in (v @ kernel @ h.T).reshape(-1)}
        else:
            top = self._reach(schemes)
            reached = set(range(-top, top + 1))
        known = self.machine.weights
        return planes(reached, known.integers[np.isfinite(known.values)].tolist())


@dataclass(frozen=True, kw_only=True)
class _Rounded(_Judge):
    """Within a tolerance, measured on data."""

    tolerance: float
    x: npt.NDArray[np.float64]
    w: npt.NDArray[np.float64]
    bits: tuple[int, int, int]

    def candidate(self, m: int, points: str, schemes: tuple[Transform, Transform]) -> Candidate:
        found = analysis.measure(self.x, self.w, *schemes, arithmetic=self.formats[0], padding=0, groups=1)
        cost = tiled_cost(
            self.window, self.outputs, schemes, self.bits, self.machine, self.formats, exact=False, adders=self.adders
        )
        good, text = self.cheaper(cost)
        error = f"root mean square error {found.rms:.2g} ({found.direct_rms:.2g} directly)"
        within = found.rms <= self.tolerance
        verdict = f"{error} {'is within' if within else 'is beyond'} {self.tolerance:g}; {text}"
        return Candidate(
            m=m, points=points, schemes=schemes, exact=False, error=found.rms, cost=cost, widths=None, verdict=verdict,
            taken=within and good,
        )  # fmt: skip


def _judge(
    window: Window,
    outputs: int,
    act_format: str,
    weight_format: str,
    machine: Machine | None,
    tolerance: float | None,
    x: npt.ArrayLike | None,
    weight: npt.ArrayLike | None,
    adders: int,
    seed: int,
) -> _Judge:
    names = (act_format, weight_format)
    common: dict[str, Any] = {
        "window": window, "outputs": outputs, "formats": names, "machine": machine, "adders": adders,
    }  # fmt: skip
    if all(_whole(name) for name in names):
        act, taps = (_real(name) for name in names)
        if isinstance(machine, SimdEngine):
            raise InvalidValueError(
                f"a SIMD engine has {', '.join(machine.formats)}, not {act_format} x {weight_format}"
            )
        if machine is not None and (machine.act_format, machine.weight_format) != names:
            raise InvalidValueError(
                f"the machine takes {machine.act_format} x {machine.weight_format}, not {act_format} x {weight_format}"
            )
        values = tuple(sorted({int(v) for v in taps.integers[np.isfinite(taps.values)]}))
        acc = formats.accumulator_bits(act, taps, window.k)
        bits = (act.bits, two_complement(values[0], values[-1]), acc)
        counted = None if isinstance(machine, Crossbar) else machine
        common |= {"machine": counted, "direct": direct_cost(window, outputs, bits, counted, names)}
        given = None if weight is None else np.asarray(weight, np.int64)
        low, high = int(act.integers.min()), int(act.integers.max())
        return _Integers(**common, act=(low, high), weight=values, given=given)
    if act_format != weight_format:
        raise InvalidValueError(
            f"`act_format` and `weight_format` must be integers or one arithmetic, got {act_format} and {weight_format}"
        )
    if machine is not None and not (isinstance(machine, SimdEngine) and act_format in machine.formats):
        raise InvalidValueError(f"the machine does not have {act_format}")
    if tolerance is None:
        raise InvalidValueError(f"`tolerance` is needed for {act_format}, which is not exact by tiles")
    tolerance = checks.real("tolerance", tolerance, minimum=0.0)
    size = FLOATS.get(act_format) or formats.get(act_format).bits
    common["direct"] = direct_cost(window, outputs, (size, size, 2 * size), machine, names)
    xs, ws = _data(window, outputs, x, weight, seed)
    return _Rounded(**common, tolerance=tolerance, x=xs, w=ws, bits=(size, size, 2 * size))


def _whole(name: str) -> bool:
    """Whether values of a format are integers that are not meant to be rounded: integers, and powers of two."""
    return name.startswith(("int", "uint", "szt", "pot"))


def _real(name: str) -> formats.RealFormat:
    found = formats.get(name)
    assert isinstance(found, formats.RealFormat)
    return found


def _data(
    window: Window, outputs: int, x: npt.ArrayLike | None, weight: npt.ArrayLike | None, seed: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return data to measure errors on: the given ones, or a random layer like the one in question, but small."""
    rng = np.random.default_rng(checks.integer("seed", seed, minimum=0))
    most, channels, filters = _SAMPLE
    own = window.channels // window.groups
    if weight is None:
        taps = rng.normal(size=(min(filters, outputs // window.groups), min(channels, own), *window.kernel))
    else:
        taps = np.asarray(weight, np.float64)
    if x is None:
        shape = [max(kernel, min(most, size)) for kernel, size in zip(window.kernel, window.in_shape[:2], strict=True)]
        data = np.maximum(rng.normal(size=(1, taps.shape[1], *shape)), 0.0)
    else:
        data = np.asarray(x, np.float64)
    return data, taps
