"""Running matrix products on a SIMD engine: codes in and out, cycles, events."""

__all__ = ["MULTIPLIER_BITS", "SimdSimulator"]

from collections.abc import Mapping
from functools import partial
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np
import numpy.typing as npt

from tetrit import checks
from tetrit.errors import InvalidValueError
from tetrit.hardware.simd_engine import SIMD_FORMATS, SimdEngine
from tetrit.sim.cost.simd import SimdPrices
from tetrit.sim.program import Workload
from tetrit.sim.run import Run
from tetrit.sim.simd import cycles
from tetrit.sim.simd.events import of_shape
from tetrit.sim.simd.operands import Operand
from tetrit.sim.simd.quire import quire_product

MULTIPLIER_BITS = {1: 13, 2: 6, 4: 2}
"""Bits of a significand that a lane's part of the shared multiplier takes, by the number of lanes; the widest of the
formats that lane can have: Posit(16,1), Posit(8,0), E2M1."""


@runtime_checkable
class _Quantized(Protocol):
    codes: npt.NDArray[Any]
    format: str


class SimdSimulator:
    """A `SimdEngine` that can be loaded with weights and run.

    Parameters
    ----------
    machine : SimdEngine
        What to simulate.
    prices : SimdPrices, optional
        Energy per event, whatever the formats and operands; by default those of each product's own, see
        `SimdPrices.of_operands`.
    """

    def __init__(self, machine: SimdEngine, prices: SimdPrices | None = None) -> None:
        if not isinstance(machine, SimdEngine):
            raise TypeError(f"`machine` must be a SimdEngine, got {machine!r}")
        if prices is not None and not isinstance(prices, SimdPrices):
            raise TypeError(f"`prices` of a SimdEngine must be SimdPrices, got {prices!r}")
        self.machine = machine
        self.prices = prices
        self._weight: Operand | None = None

    def load(self, weight: Any, *, weight_format: str | None = None) -> Self:
        """Load weight codes.

        Parameters
        ----------
        weight : Quantized or array_like of int, shape (n_in, n_out)
            Codes. The scale of a `Quantized` rides beside: apply it once to the output.
        weight_format : str, optional
            Their format, one of the machine's; a `Quantized` says its own.

        Returns
        -------
        SimdSimulator
            Itself.

        Raises
        ------
        TypeError
            Codes that are no integers, or no format.
        InvalidValueError
            A format that the machine lacks or that is not the codes' own; a wrong shape; a code out of range.
        """
        codes, name = self._codes("weight", weight, weight_format)
        self._weight = Operand.of("weight", codes, name)
        return self

    def matmul(
        self,
        x: Any,
        *,
        out_format: str,
        act_format: str | None = None,
        bias: npt.ArrayLike | None = None,
        relu: bool = False,
        shift: int = 0,
        switched: bool = False,
    ) -> Run:
        """Multiply activations with the loaded weights.

        Parameters
        ----------
        x : Quantized or array_like of int, shape (batch, n_in)
            Codes of activations.
        out_format : str
            One of ``fp4_e2m1``, ``posit4_1``, ``posit8_0``, ``posit16_1``: what the read-out rounds to.
        act_format : str, optional
            Format of `x`, one of the machine's; a `Quantized` says its own.
        bias, relu, shift
            See `quire_matmul`; the bias is in units of the quire, and within `quire_bits` of the machine.
        switched : bool
            Whether the machine worked on another pair of formats before, and has to be set to this one.

        Returns
        -------
        Run
            `output` holds codes of `out_format`, shape (batch, n_out). `breakdown` is modelled from what these operands
            move, unless the engine has `prices`.

        Raises
        ------
        TypeError
            `x` or `bias` that are no integers, or no format.
        InvalidValueError
            Formats that the machine lacks, shapes that do not match, codes or `shift` out of range, a bias or sums of
            so many terms that the quire may not hold them, NaR in a sum that goes to FP4, or no weights loaded.

        Examples
        --------
        >>> import numpy as np
        >>> from tetrit.hardware.simd_engine import SimdEngine
        >>> from tetrit.sim.simd import SimdSimulator
        >>> engine = SimdSimulator(SimdEngine(rows=2, cols=2))
        >>> engine = engine.load([[2, 10], [4, 2]], weight_format="fp4_e2m1")  # ((1, -1), (2, 1))
        >>> run = engine.matmul([[0x60, 0x40]], act_format="posit8_0", out_format="posit8_0")  # (2, 1)
        >>> [hex(code) for code in run.output[0]], run.cycles  # (4, -1)
        (['0x70', '0xc0'], 11)
        """
        if self._weight is None:
            raise InvalidValueError("no weights are loaded; call `load` first")
        weight = self._weight
        codes, name = self._codes("x", x, act_format, "act_format")
        acts = Operand.of("x", codes, name)
        if acts.codes.shape[1] != len(weight.codes):
            raise InvalidValueError(f"`x` must have shape (batch, {len(weight.codes)}), got {acts.codes.shape}")
        checks.choice("out_format", out_format, SIMD_FORMATS)
        machine, pair = self.machine, (acts.format.name, weight.format.name)
        mode = machine.mode(*pair)
        output = quire_product(acts, weight, mode, out_format, bias=bias, relu=relu, shift=shift)
        workload = Workload(m=output.shape[0], k=acts.codes.shape[1], n=output.shape[1])
        n_cycles = cycles.count(workload, machine, *pair) + (machine.mode_switch_cycles if switched else 0)
        events = self.events(acts, weight, n_cycles, switched=switched)
        if self.prices is None:
            price = partial(_breakdown, acts, weight, machine, events)
        else:
            price = partial(self.prices.breakdown, events, machine)
        return Run(
            output=output,
            cycles=n_cycles,
            utilization=workload.macs / (n_cycles * machine.rows * machine.cols * mode.lanes),
            bound=cycles.bound(workload, machine, *pair, n_cycles),
            events=events,
            price=price,
        )

    def _codes(
        self, argument: str, given: Any, format_name: str | None, format_argument: str = "weight_format"
    ) -> tuple[Any, str]:
        """Return codes and format of an operand, which may say its format itself."""
        if isinstance(given, _Quantized):
            if format_name is not None and format_name != given.format:
                raise InvalidValueError(f"`{argument}` is {given.format}, `{format_argument}` says {format_name}")
            given, format_name = given.codes, given.format
        if format_name is None:
            raise TypeError(f"`{format_argument}` is needed: `{argument}` holds plain codes")
        if format_name not in self.machine.formats:
            raise InvalidValueError(
                f"`{format_argument}` must be one of {', '.join(self.machine.formats)}, got '{format_name}'"
            )
        return given, format_name

    def events(self, acts: Operand, weight: Operand, n_cycles: int, *, switched: bool = False) -> dict[str, int]:
        """Return the countable acts of a product.

        - ``mac``: a product that was asked for; ``mac_zero``: one of these that is zero.
        - ``element_step``: an element taking a word of either operand; ``decode`` counts each of the two words,
          ``quire_add`` each lane, also those that the last word of a sum leaves empty.
        - ``element_gated``: an element in a cycle in which it takes no step; ``element_idle`` in its place without
          gating, when the clock runs on.
        - ``multiplier_cell``: in an element step, a one-bit cell of the shared multiplier within reach of the lanes'
          significands. A product of two powers of two, Posit(4,1) with itself, needs none if the machine has gating.
          ``multiplier_cell_gated``: the other cells, if the machine has gating, whose operands are held at zero.
        - ``readout``: a result rounded. ``act_read_word``, ``weight_read_word``, ``result_write_word``: a word of a
          memory. ``mode_switch``: the array set to other formats.
        """
        machine = self.machine
        (m, k), n = acts.codes.shape, weight.codes.shape[1]
        workload, pair = Workload(m=m, k=k, n=n), (acts.format.name, weight.format.name)
        lanes = machine.mode(*pair).lanes
        n_steps = cycles.steps(workload, machine, *pair)
        taken = m * n * n_steps
        nonzero = int(np.count_nonzero(_real(acts), axis=0) @ np.count_nonzero(_real(weight), axis=1))
        bits = MULTIPLIER_BITS[lanes]
        used = 0 if machine.gating and pair == ("posit4_1", "posit4_1") else lanes * bits * bits
        all_cells = max(count * width * width for count, width in MULTIPLIER_BITS.items())
        return of_shape(workload, machine, n_steps=n_steps, n_cycles=n_cycles) | {
            "mac": workload.macs,
            "mac_zero": workload.macs - nonzero,
            "decode": 2 * taken,
            "multiplier_cell": taken * used,
            "multiplier_cell_gated": taken * (all_cells - used) if machine.gating else 0,
            "quire_add": taken * lanes,
            "mode_switch": int(switched),
        }


def _breakdown(acts: Operand, weight: Operand, machine: SimdEngine, events: Mapping[str, int]) -> dict[str, float]:
    """Return the energy of a product at the prices of its own operands."""
    pair = (acts.format.name, weight.format.name)
    return SimdPrices.of_operands(acts.codes, weight.codes, machine, *pair).breakdown(events, machine)


def _real(operand: Operand) -> npt.NDArray[np.bool_]:
    """Return which codes are not zero."""
    values: npt.NDArray[np.bool_] = (operand.format.values != 0)[operand.codes]
    return values
