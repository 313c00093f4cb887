"""How the SIMD element is verified: codes through decoder and encoder, products and sums through quire and read-out."""

__all__ = ["code_jobs", "encoded", "mac_jobs", "pair_jobs"]

from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from tetrit import formats
from tetrit.hardware.simd_engine import MAC_LATENCY, READOUT_LATENCY, SIMD_FORMATS, LaneMode, SimdEngine
from tetrit.rtl.simd.modes import FORMAT_CODES
from tetrit.verify.suites.job import Job, lockstep_stimulus
from tetrit.verify.suites.simd_designs import BIAS_BITS, CodePath, MacPath, SimdDesigns

Ints = npt.NDArray[np.int64]

_STALLS, _GAPS = 0.05, 0.05
"""Shares of rows in which the element stands still, and in which no step is valid."""

_SLOTS = {1: (0,), 2: (0, 2), 4: (0, 1, 2, 3)}
_DEFAULT_WORDS = 400
"""Words of random sums per pair of formats."""

_MODE_PORTS = ("act_format", "weight_format", "out_format", "relu", "shift", "bias")


def code_jobs(designs: SimdDesigns, seed: int, cases: int | None) -> list[Job]:
    """Every code of every format in every lane of every mode, through decoder and encoder."""
    rng = np.random.default_rng([seed, 5])
    rows: list[dict[str, Any]] = []
    codes: list[Ints] = []
    for name in SIMD_FORMATS:
        bits = formats.get(name).bits
        negative_zero = formats.get(name).encode(np.array([-0.0])).astype(np.int64)[0]
        for lanes in (1, 2, 4):
            if bits * lanes > 16:
                continue
            for lane, slot in enumerate(_SLOTS[lanes]):
                code = rng.permutation(1 << bits)
                word = rng.integers(0, 1 << 16, size=len(code)) if bits < 16 else np.zeros(len(code), dtype=np.int64)
                shift = lane * 16 // lanes
                word = (word & ~(((1 << bits) - 1) << shift)) | (code << shift)
                flags = {"one": lanes == 1, "two": lanes == 2, "four": lanes == 4}
                rows.append({"word": word, "format": FORMAT_CODES[name], "slot": slot, **flags})
                codes.append(np.where(code == negative_zero, 0, code))
    inputs = {
        port: np.concatenate([np.broadcast_to(row[port], len(code)) for row, code in zip(rows, codes, strict=True)])
        for port in rows[0]
    }
    widths = {"word": 16, "format": 2, "slot": 2, "one": 1, "two": 1, "four": 1, "code": 16}
    return [
        Job(
            name="SIMD decoder and encoder",
            component="SimdCodes",
            design=partial(CodePath, designs.decoder, designs.encoder),
            bench="lockstep",
            stimulus=lockstep_stimulus(inputs, {"code": np.concatenate(codes)}, widths),
            gates=True,
        )
    ]


def pair_jobs(designs: SimdDesigns, seed: int, cases: int | None) -> list[Job]:
    """Every product of two 4-bit codes and of two posit8_0 codes, in every lane, through quire and read-out."""
    machine = SimdEngine(rows=1, cols=1)
    sums = _Sums(machine=machine, rng=np.random.default_rng([seed, 6]))
    for act in SIMD_FORMATS:
        for weight in SIMD_FORMATS:
            if formats.get(act).bits == formats.get(weight).bits < 16:
                sums.every_pair(machine.mode(act, weight))
    return [_job(designs, machine, sums, "SimdMac, every pair", gates=False)]


def mac_jobs(designs: SimdDesigns, seed: int, cases: int | None) -> list[Job]:
    """Make sums of random length of every pair of formats, `cases` words of each; fewer on gates."""
    made = []
    for index, gating in enumerate((True, False)):
        machine = SimdEngine(rows=1, cols=1, gating=gating)
        sums = _Sums(machine=machine, rng=np.random.default_rng([seed, 7, index]))
        for act in SIMD_FORMATS:
            for weight in SIMD_FORMATS:
                sums.random(machine.mode(act, weight), _DEFAULT_WORDS if cases is None else cases)
        made.append(_job(designs, machine, sums, f"SimdMac with{'' if gating else 'out'} gating", gates=False))
    small = SimdEngine(rows=1, cols=1)
    sums = _Sums(machine=small, rng=np.random.default_rng([seed, 9]))
    for pair in (("fp4_e2m1", "posit4_1"), ("posit8_0", "posit8_0"), ("posit16_1", "posit8_0")):
        sums.random(small.mode(*pair), 150)
    made.append(_job(designs, small, sums, "SimdMac, a few modes", gates=True))
    quick = SimdEngine(rows=1, cols=1, mode_switch_cycles=0)
    sums = _Sums(machine=quick, rng=np.random.default_rng([seed, 10]))
    for act, weight in sums.rng.choice(SIMD_FORMATS, size=(200, 2)).tolist():
        sums.random(quick.mode(act, weight), 4)
    made.append(_job(designs, quick, sums, "SimdMac, modes without a cycle between", gates=False))
    return made


def _job(designs: SimdDesigns, machine: SimdEngine, sums: "_Sums", name: str, *, gates: bool) -> Job:
    return Job(
        name=name,
        component="SimdMac",
        design=partial(MacPath, designs.mac, designs.readout, machine),
        bench="lockstep",
        stimulus=sums.stimulus(),
        gates=gates,
        batch=not gates,
    )


@dataclass(kw_only=True, eq=False)
class _Sums:
    """Collects rows of sums, with gaps, stalls and changes of mode between them."""

    machine: SimdEngine
    rng: np.random.Generator
    inputs: list[dict[str, int]] = field(default_factory=list)
    results: list[tuple[int, bool, int, dict[str, int], LaneMode]] = field(default_factory=list)
    steps: int = 0  # enabled cycles so far

    def random(self, mode: LaneMode, words: int) -> None:
        """Add sums of 1 to 12 words, now and then of the largest numbers or with NaR, some of which cancel."""
        act, weight = formats.get(mode.act_format), formats.get(mode.weight_format)
        left = words
        while left > 0:
            count = min(left, int(self.rng.integers(1, 13)))
            left -= count
            pairs = [self._codes(act, (count, mode.lanes)), self._codes(weight, (count, mode.lanes))]
            if count % 2 == 0 and self.rng.random() < 0.3:  # all but the last pair cancels
                for codes, fmt, negate in ((pairs[0], act, True), (pairs[1], weight, False)):
                    again = fmt.encode(-fmt.values[codes[::2]]) if negate else codes[::2]
                    codes[1::2] = again
                pairs[0][-1] = self._codes(act, (mode.lanes,))
            self._sum(mode, *pairs)

    def every_pair(self, mode: LaneMode) -> None:
        """Add every product of two codes as a sum of its own, all in each lane."""
        act, weight = formats.get(mode.act_format), formats.get(mode.weight_format)
        pairs = [self.rng.permutation(1 << (act.bits + weight.bits)) for _ in range(mode.lanes)]
        for row in np.stack(pairs, axis=-1):
            self._sum(mode, row[np.newaxis] >> weight.bits, row[np.newaxis] & ((1 << weight.bits) - 1))

    def _codes(self, fmt: formats.Format, shape: tuple[int, ...]) -> Ints:
        """Return codes without NaR mostly, at times at the ends of the range only."""
        valid = np.flatnonzero(~np.isnan(fmt.values))
        if self.rng.random() < 0.2:
            valid = valid[np.isin(np.abs(fmt.values[valid]), [fmt.max_value, fmt.min_positive])]
        codes = self.rng.choice(valid, size=shape)
        if self.rng.random() < 0.1:
            codes.flat[int(self.rng.integers(codes.size))] = self.rng.integers(1 << fmt.bits)
        return codes.astype(np.int64)

    def _row(self, **given: int) -> None:
        noise = {"act_in": 1 << 16, "weight_in": 1 << 16, "last_in": 2}
        drawn = {name: int(self.rng.integers(end)) for name, end in noise.items() if name not in given}
        self.inputs.append(drawn | given)
        self.steps += given["enable"]

    def _sum(self, mode: LaneMode, acts: Ints, weights: Ints) -> None:
        """Add the rows of one sum of codes of shape (words, lanes), and what it gives."""
        told = {
            "act_format": FORMAT_CODES[mode.act_format],
            "weight_format": FORMAT_CODES[mode.weight_format],
            "out_format": int(self.rng.integers(4)),
            "relu": int(self.rng.random() < 0.2),
            "shift": int(self.rng.integers(-8, 9)) if self.rng.random() < 0.7 else int(self.rng.integers(-64, 64)),
            "bias": int(self.rng.integers(-1 << 20, 1 << 20)) if self.rng.random() < 0.3 else 0,
        }
        if self.inputs and any(self.inputs[-1][name] != told[name] for name in ("act_format", "weight_format")):
            for _ in range(self.machine.mode_switch_cycles):
                held = {name: self.inputs[-1][name] for name in _MODE_PORTS}
                self._row(enable=1, valid_in=0, **held)
        shifts = np.arange(mode.lanes, dtype=np.int64) * (16 // mode.lanes)
        words = [(codes << shifts).sum(axis=1) for codes in (acts, weights)]
        for index, (act, weight) in enumerate(zip(*(column.tolist() for column in words), strict=True)):
            while self.rng.random() < _STALLS:
                self._row(enable=0, valid_in=int(self.rng.integers(2)), **told)
            while index and self.rng.random() < _GAPS:
                self._row(enable=1, valid_in=0, **told)
            last = int(index == len(acts) - 1)
            self._row(enable=1, valid_in=1, last_in=last, act_in=act, weight_in=weight, **told)
        a, w = formats.get(mode.act_format), formats.get(mode.weight_format)
        nar = bool(np.isnan(a.values[acts]).any() or np.isnan(w.values[weights]).any())
        products = a.integers[acts].astype(object) * w.integers[weights].astype(object)
        width = 1 << mode.lane_quire_bits
        lanes = [int(total) for total in products.sum(axis=0)]
        quire = sum((total % width) << (lane * mode.lane_quire_bits) for lane, total in enumerate(lanes))
        self.results.append((self.steps, nar, quire, told | {"total": sum(lanes) + told["bias"]}, mode))

    def stimulus(self) -> dict[str, npt.NDArray[Any]]:
        """Return all rows; a result counts in the rows in which it is at the element's, or the read-out's, output."""
        for _ in range(MAC_LATENCY + READOUT_LATENCY + 1):
            self._row(enable=1, valid_in=0, **{name: self.inputs[-1][name] for name in _MODE_PORTS})
        enables = np.array([row["enable"] for row in self.inputs])
        before = np.cumsum(enables) - enables  # enabled cycles before each row
        first = np.searchsorted(before, np.arange(self.steps + 1))  # the first row after so many
        n_rows, width = len(self.inputs), self.machine.quire_bits // 4
        expected = {name: np.zeros(n_rows, dtype=np.int64) for name in (*(f"quire_{i}" for i in range(4)), "nar")}
        expected |= {name: np.zeros(n_rows, dtype=np.int64) for name in ("code", "lost")}
        checked = {name: np.zeros(n_rows, dtype=np.bool_) for name in expected}
        codes = encoded(self.results)
        for (step, nar, quire, told, _), code in zip(self.results, codes, strict=True):
            row = first[step + MAC_LATENCY - 1]
            expected["nar"][row], checked["nar"][row] = nar, True
            for index in range(4):
                expected[f"quire_{index}"][row] = (quire >> (index * width)) & ((1 << width) - 1)
                checked[f"quire_{index}"][row] = not nar
            row = first[step + MAC_LATENCY + READOUT_LATENCY - 1]
            expected["code"][row], checked["code"][row] = code, True
            expected["lost"][row], checked["lost"][row] = nar and told["out_format"] == 0, True
        bits = dict.fromkeys(("enable", "valid_in", "last_in", "relu", "nar", "lost"), 1)
        bits |= dict.fromkeys(("act_format", "weight_format", "out_format"), 2)
        bits |= {"act_in": 16, "weight_in": 16, "shift": 7, "bias": BIAS_BITS, "code": 16}
        bits |= {f"quire_{index}": width for index in range(4)}
        inputs = {name: [row[name] for row in self.inputs] for name in self.inputs[0]}
        return lockstep_stimulus(inputs, expected, bits, checked)


def encoded(results: list[tuple[int, bool, int, dict[str, int], LaneMode]]) -> list[int]:
    """Return the code of each result; sums are rounded to odd to 53 bits first, which changes no code."""
    values = np.zeros(len(results))
    for index, (_, _, _, told, mode) in enumerate(results):
        total = 0 if told["relu"] and told["total"] < 0 else told["total"]
        size = abs(total)
        drop = max(0, size.bit_length() - 53)
        kept = (size >> drop) | int(size & ((1 << drop) - 1) != 0)
        value = np.ldexp(float(kept), mode.lsb_exponent + told["shift"] + drop)
        values[index] = -value if total < 0 else value
    out = np.array([told["out_format"] for _, _, _, told, _ in results])
    codes = np.zeros(len(results), dtype=np.int64)
    for name, selector in FORMAT_CODES.items():
        fmt = formats.get(name)
        codes[out == selector] = fmt.encode(values[out == selector])
        nar = 0b1111 if not fmt.has_nan else int(fmt.encode(np.array([np.nan]))[0])
        codes[(out == selector) & [poisoned for _, poisoned, _, _, _ in results]] = nar
    return [int(code) for code in codes]
