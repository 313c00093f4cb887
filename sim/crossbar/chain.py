"""The signal chain of a product: inputs to voltages, currents with their noise, codes, and their digital sum.

A block of vectors goes through the whole chain on one thread, for all panels and input digits, while its data are in
the cache. Every vector is on its own, so that any split gives the same bits.
"""

__all__ = ["Chain", "Done", "ReadNoise"]

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from tetrit import noise
from tetrit.parallel import run_each, threads
from tetrit.sim.crossbar import _kernels
from tetrit.sim.crossbar.arrays import Arrays, Panel, padded
from tetrit.sim.crossbar.converters import dac_table
from tetrit.sim.crossbar.noise import drawn_currents
from tetrit.sim.crossbar.nonlinear import nonlinear_currents
from tetrit.sim.crossbar.products import ROWS, WIDTH, PackedMatrix, PackedVariances, filled, input_scale
from tetrit.sim.crossbar.ramp import Ramps
from tetrit.sim.crossbar.readout import Readout
from tetrit.sim.crossbar.stages import Buffers, Inputs, Operands, Stage, Variances

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Matrix = npt.NDArray[Any]
ReadNoise = Literal["output", "output_float32", "per_cell", "off"]

_DAC, _READ, _CELLS = 2, 4, 5  # which quantity a key draws, see `arrays.ARRAY`
_ROWS = 48  # vectors of a block at least: for fewer, weights come from memory too often
_BLOCK = 4_000_000  # multiplications that are worth a block of their own, about 0.1 ms
_ELEMENT = 150  # multiplications that take as long as the rest of the chain for a current


@dataclass(frozen=True, kw_only=True, eq=False)
class Done:
    """What a batch gave: results, conversions out of range, and the energy that cells took, in pJ."""

    output: Floats
    clipped: int
    cells_pj: float


@dataclass(frozen=True, kw_only=True, eq=False)
class _Drive:
    """How panel `panel` is driven with input digit `digit`: a step is `volt` volts, and `largest` steps are the most.

    `inputs` says the rest.
    """

    panel: int
    digit: int
    volt: float
    largest: float
    inputs: Inputs


@dataclass(frozen=True, kw_only=True, eq=False)
class _Matrices:
    """A panel made ready for products: its inner dimension filled up to a multiple of 64.

    Attributes
    ----------
    weights : PackedMatrix, shape (depth, n_columns)
    variances : PackedMatrix, shape (depth, n_columns) or (2 depth, n_columns), or None
        For the squares of inputs, and below it, where there is shot noise, for their magnitudes.
    packed : PackedVariances or None
        The same.
    thermal : array of float64, shape (n_columns,), or float
        See `Panel`.
    row_siemens : array of float64, shape (depth,)
        See `Panel`.
    compensation : array of float64, shape (n_out,)
    """

    weights: PackedMatrix
    variances: PackedMatrix | None
    packed: PackedVariances | None
    thermal: Floats | float
    row_siemens: Floats
    compensation: Floats

    @property
    def dtype(self) -> Any:
        """Kind of currents: float64 where sums are integers beyond those that float32 holds."""
        return self.weights.tiles.dtype

    @property
    def depth(self) -> int:
        """Inner dimension."""
        return len(self.row_siemens)

    @property
    def inputs(self) -> int:
        """Inner dimension of variances."""
        return 0 if self.variances is None else self.variances.tiles.shape[1]


class Chain:
    """The chain of one chip with its loaded arrays, at one time.

    Parameters
    ----------
    arrays : Arrays
    seed : int
    time_s : float
    ramps : Ramps, optional
        Converters of whole results, which other converters then leave as they are.
    """

    def __init__(self, arrays: Arrays, seed: int, time_s: float, ramps: Ramps | None = None) -> None:
        self.arrays, self.layout, self.machine, self.seed = arrays, arrays.layout, arrays.machine, seed
        self.readout, self.ramps = Readout(arrays, seed), ramps
        self._spare: list[dict[Any, Buffers]] = []
        self._stages: dict[ReadNoise, list[tuple[_Drive, Any]]] = {}
        panels, digits = range(self.layout.row_arrays), range(len(self.layout.digit_reach))
        self._drives = [[self._drive(i, digit) for i in panels] for digit in digits]
        self.move_to(time_s)

    def move_to(self, time_s: float) -> None:
        """Take the arrays as they are at a time."""
        self._panels = [self._prepared(self.arrays.panel(i, time_s)) for i in range(self.layout.row_arrays)]
        self.time_s = time_s
        self._stages.clear()

    def _drive(self, i: int, digit: int) -> _Drive:
        reach, widths = self.layout.digit_reach[digit], self.machine.input_digits
        last = digit == len(widths) - 1
        low = -reach if last and self.layout.signed else 0
        volt = self.machine.read_voltage_v / reach
        (table, powers), inputs = self._tables(i, low, reach - 1 if low < 0 else reach, volt), self.layout.rows(i)
        return _Drive(
            panel=i,
            digit=digit,
            volt=volt,
            largest=float(np.abs(table).max(initial=0.0)) or float(reach),
            inputs=Inputs(
                start=inputs.start,
                stop=inputs.stop,
                shift=sum(widths[:digit]),
                mask=-1 if last else 2 ** widths[digit] - 1,
                low=low,
                table=table,
                powers=powers,
            ),
        )

    def _tables(self, i: int, low: int, high: int, volt: float) -> tuple[npt.NDArray[np.float32], Floats]:
        """Return what the rows of a panel are driven with for every digit, in steps, and with what power."""
        inputs = self.layout.rows(i)
        n = inputs.stop - inputs.start
        applied = dac_table(self.machine.dac, low, high, n, key=noise.key(self.seed, _DAC, i))
        bend = self.machine.cell.sinh_volt
        if bend is None or self.machine.has_wires:
            applied = np.zeros((0, 0)) if applied is None else applied
            return applied.astype(np.float32), applied**2
        if applied is None:
            applied = np.tile(np.arange(low, high + 1, dtype=np.float64), (n, 1))
        # without wires, the cells' curve is one of the inputs
        currents = bend / volt * np.sinh(applied * (volt / bend))
        return currents.astype(np.float32), applied * currents

    def _prepared(self, panel: Panel) -> _Matrices:
        n, columns = panel.weights.shape
        depth = padded(n)
        exact = np.array_equal(panel.weights, np.rint(panel.weights))
        reach = np.abs(panel.weights).sum(axis=0).max() * max(self.layout.digit_reach)
        weights = np.zeros((depth, columns))
        weights[:n] = panel.weights  # float32 holds the halves at which codes change up to 2^23
        variances = None
        if panel.flicker is not None or panel.shot is not None:
            variances = np.zeros((depth * (1 if panel.shot is None else 2), columns), np.float32)
            if panel.flicker is not None:
                variances[:n] = panel.flicker
            if panel.shot is not None:
                variances[depth : depth + n] = panel.shot
        outputs = np.arange(self.layout.n_out) // self.machine.outputs_per_array
        return _Matrices(
            weights=PackedMatrix(weights, np.float64 if exact and reach >= 2**23 else np.float32),
            variances=None if variances is None else PackedMatrix(variances),
            packed=None if variances is None else PackedVariances(variances),
            thermal=0.0 if panel.thermal is None else panel.thermal,
            row_siemens=np.pad(panel.row_siemens, (0, depth - n)),
            compensation=panel.compensation[outputs],
        )

    def calibrate(self, x: Ints) -> None:
        """Choose the converters' steps from the currents of a batch, without noise."""
        self._stages.clear()
        for digit, drives in enumerate(self._drives):
            found = [np.empty((len(x), self.arrays.n_columns), panel.weights.tiles.dtype) for panel in self._panels]

            def task(rows: slice, drives: list[_Drive] = drives, found: list[Matrix] = found) -> None:
                for drive, currents in zip(drives, found, strict=True):
                    clean = self._clean(x[rows], drive)
                    self.readout.merge(clean)
                    currents[rows] = clean

            self._each_block(task, len(x))
            self.readout.calibrate(digit, found)

    def run(self, x: Ints, vector: int, read_noise: ReadNoise) -> Done:
        """Multiply a batch whose first vector has the number `vector`."""
        n = len(x)
        output, clipped, joules = np.zeros((n, self.layout.n_out)), np.zeros(n, np.int64), np.zeros(n)
        if read_noise not in self._stages:
            # a result adds up panel by panel, and the digits of each
            drives = [drive for panel in zip(*self._drives, strict=True) for drive in panel]
            self._stages[read_noise] = [(drive, self._stage(drive, read_noise).plain()) for drive in drives]
        stages = self._stages[read_noise]

        def task(rows: slice) -> None:
            part, first = x[rows], vector + rows.start
            try:
                spare = self._spare.pop()
            except IndexError:
                spare = {}
            for drive, stage in stages:
                dtype = self._panels[drive.panel].dtype
                if read_noise == "per_cell":
                    given = self._drawn(part, drive, first)
                elif self._bent:
                    given = self._clean(part, drive)
                else:
                    given = np.empty((0, self.arrays.n_columns), dtype)
                if dtype not in spare or len(spare[dtype].currents) < filled(len(part)) * self.arrays.n_columns:
                    spare[dtype] = self._buffers(filled(len(part)), dtype)
                _kernels.run(part, stage, given, first, tuple(spare[dtype]), joules[rows], clipped[rows], output[rows])
            self._spare.append(spare)
            if self.ramps is not None:
                self.ramps.convert(output[rows])

        self._each_block(task, n, whole=read_noise == "per_cell")
        return Done(output=output, clipped=int(clipped.sum()), cells_pj=float(joules.sum()) * 1e12)

    @property
    def _bent(self) -> bool:
        """Whether every vector has a network of its own to be solved."""
        return self.machine.cell.sinh_volt is not None and self.machine.has_wires

    def _each_block(self, task: Callable[[slice], None], n: int, *, whole: bool = False) -> None:
        """Call a task for all blocks of `n` vectors on several threads, or for all vectors at once."""
        depth = sum(panel.depth + panel.inputs + _ELEMENT for panel in self._panels)
        products = depth * self.arrays.n_columns * len(self._drives)
        tall, n_threads = filled(n) // ROWS, threads()
        n_blocks = -(-tall // max(_ROWS // ROWS, _BLOCK // (ROWS * products)))
        # as many for each thread, or one would wait for the other
        n_blocks = 1 if whole or self._bent else min(tall, -(-n_blocks // n_threads) * n_threads)

        def work(block: int) -> None:
            start, stop = (ROWS * (tall * i // n_blocks) for i in (block, block + 1))
            with np.errstate(over="ignore"):  # without the compiler, numpy warns of random words that wrap around
                task(slice(start, min(n, stop)))

        run_each(work, n_blocks)

    def _buffers(self, rows: int, dtype: Any) -> Buffers:
        """Return memory for a block."""
        depth, inputs = (max(sizes) for sizes in zip(*((p.depth, p.inputs) for p in self._panels), strict=True))
        return Buffers(
            volts=np.empty(rows * depth, dtype),
            currents=np.empty(rows * self.arrays.n_columns, dtype),
            counts=np.empty(rows * inputs, np.int16),
            squares=np.empty(rows * inputs, np.float32),
            variances=np.empty(rows * self.arrays.n_columns if inputs else 0, np.float32),
        )

    def _stage(self, drive: _Drive, read_noise: ReadNoise) -> Stage:
        panel = self._panels[drive.panel]
        return Stage(
            inputs=drive.inputs,
            operands=Operands(panel.weights.tiles, panel.row_siemens * (drive.volt**2 * self.machine.read_time_s)),
            variances=self._noise(drive, panel, read_noise),
            conversion=self.readout.conversion(drive.panel, drive.digit, panel.compensation, panel.dtype),
        )

    def _noise(self, drive: _Drive, panel: _Matrices, read_noise: ReadNoise) -> Variances:
        floor = self.readout.noise(drive.panel, drive.digit)
        if read_noise != "per_cell":
            floor = floor + panel.thermal / drive.volt**2
        counts, scale = np.empty((0, 0, WIDTH, 2), np.int16), np.empty((0, 0, WIDTH), np.float32)
        variances = np.empty((0, 0, WIDTH), np.float32)
        squares = magnitudes = 1.0
        if read_noise.startswith("output") and panel.variances is not None:
            variances = panel.variances.tiles
            if read_noise == "output" and panel.packed is not None:
                squares, magnitudes = input_scale(drive.largest**2), input_scale(drive.largest)
                factors = 1 / squares, 1 / (magnitudes * drive.volt)
                counts, scale = panel.packed.counts, panel.packed.scale(np.repeat(factors, panel.depth // 64))
        if read_noise == "off" or not (variances.size or floor.any()):
            floor = floor[:0]
        return Variances(
            floor=floor.astype(np.float32),
            counts=counts,
            scale=scale,
            variances=variances,
            square_scale=squares,
            magnitude_scale=magnitudes,
            per_volt=1.0 / drive.volt,
            key=np.uint64(noise.key(self.seed, _READ, drive.panel, drive.digit)),
        )

    def _volts(self, x: Ints, drive: _Drive) -> Matrix:
        """Return an input digit of a block in steps, filled up with zeros."""
        panel = self._panels[drive.panel]
        v = np.empty((filled(len(x)), panel.depth), panel.dtype)
        _kernels.driven(x, drive.inputs, v)
        return v

    def _clean(self, x: Ints, drive: _Drive) -> Matrix:
        """Return the currents of a block in units, without noise."""
        v, machine, n = self._volts(x, drive), self.machine, len(x)
        if not self._bent:
            return self._panels[drive.panel].weights.product(v)[:n]
        assert machine.cell.sinh_volt is not None
        baseline = machine.window[0] / machine.level_siemens
        currents = np.zeros((n, self.arrays.n_columns), v.dtype)
        driven, width = np.zeros((n, machine.rows)), drive.inputs.stop - drive.inputs.start
        driven[:, :width] = v[:n, :width]
        for j in range(self.layout.col_arrays):
            amperes = nonlinear_currents(
                self.arrays.cells[drive.panel, j].conductance(self.time_s, machine.temperature_k),
                driven * drive.volt,
                machine.cell.sinh_volt,
                machine.r_row_ohm,
                machine.r_col_ohm,
                machine.r_driver_ohm,
                machine.r_sense_ohm,
                drive=machine.drive,
            )
            units = amperes / (machine.level_siemens * drive.volt) - driven.sum(axis=1, keepdims=True) * baseline
            self.arrays.place(currents, drive.panel, j, units, -1.0)
        return currents

    def _drawn(self, x: Ints, drive: _Drive, first: int) -> Matrix:
        """Return the currents of a block with the noise of every cell drawn, vector by vector."""
        v, n = self._volts(x, drive)[:, : drive.inputs.stop - drive.inputs.start], len(x)
        noisy = np.zeros((n, self.arrays.n_columns))
        inputs = np.zeros(self.machine.rows)
        baseline = self.machine.window[0] / self.machine.level_siemens
        for j in range(self.layout.col_arrays):
            _, effective, variances = self.arrays.at(drive.panel, j, self.time_s)
            key = noise.key(self.seed, _CELLS, drive.panel, j, drive.digit)
            for b, row in enumerate(v[:n]):
                inputs[: len(row)] = row
                drawn = drawn_currents(
                    self.machine, variances, effective, inputs, drive.volt, key=key, vector=first + b
                )
                if self._bent:  # only the noise is that of the linear network
                    drawn -= inputs @ (effective / self.machine.level_siemens)
                else:
                    drawn -= row.sum(dtype=np.float64) * baseline
                self.arrays.place(noisy[b : b + 1], drive.panel, j, drawn[None], -1.0)
        if self._bent:
            noisy += self._clean(x, drive)
        return noisy.astype(v.dtype)
