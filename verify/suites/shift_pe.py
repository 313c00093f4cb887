"""How the processing element is verified: every weight code times every int8 activation, against the formats."""

__all__ = ["jobs"]

from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from tetrit import formats
from tetrit.hardware import DATAFLOWS
from tetrit.hardware.shift_array import WEIGHT_FORMATS
from tetrit.verify.suites.designs import DecodedPE, Designs
from tetrit.verify.suites.job import Job, lockstep_stimulus

_ACT_BITS = 8
_GATE_FORMATS = ("szt", "pot4")
_STALLS = 0.1  # share of rows in which the element stands still
_GAPS = 0.1  # share of rows without a valid step, output stationary


def jobs(designs: Designs, seed: int, cases: int | None) -> list[Job]:
    """One job per weight format and dataflow."""
    made = []
    for index, name in enumerate(WEIGHT_FORMATS):
        weights = formats.get(name)
        assert isinstance(weights, formats.RealFormat)
        # two bits fewer than three products need, so that sums wrap
        acc_bits = formats.accumulator_bits(formats.get(f"int{_ACT_BITS}"), weights, 1)
        for dataflow in DATAFLOWS:
            rng = np.random.default_rng([seed, 2, index])
            make = _weight_stationary if dataflow == "weight_stationary" else _output_stationary
            made.append(
                Job(
                    name=f"ShiftPE {name} {dataflow}",
                    component="ShiftPE",
                    design=partial(DecodedPE, designs.pe, weights, _ACT_BITS, acc_bits, dataflow),
                    bench="lockstep",
                    stimulus=make(weights.integers, weights.bits, acc_bits, rng),
                    gates=name in _GATE_FORMATS,
                )
            )
    return made


def _every_pair(n_codes: int, rng: np.random.Generator) -> list[tuple[int, npt.NDArray[np.int64]]]:
    """Return every code, each with every activation in random order."""
    acts = np.arange(-(2 ** (_ACT_BITS - 1)), 2 ** (_ACT_BITS - 1))
    return [(int(code), rng.permutation(acts)) for code in rng.permutation(n_codes)]


class _Recorder:
    """Collects rows of inputs and expected outputs; an output of None is not yet known and does not count."""

    def __init__(self, widths: dict[str, int]) -> None:
        self.widths = widths
        self.inputs: list[dict[str, int]] = []
        self.outputs: list[dict[str, int | None]] = []

    def row(self, inputs: dict[str, int], outputs: dict[str, int | None]) -> None:
        self.inputs.append(inputs)
        self.outputs.append(outputs)

    def stimulus(self) -> dict[str, npt.NDArray[Any]]:
        ports = list(self.outputs[0])
        return lockstep_stimulus(
            {port: [row[port] for row in self.inputs] for port in self.inputs[0]},
            {port: [row[port] or 0 for row in self.outputs] for port in ports},
            self.widths,
            {port: [row[port] is not None for row in self.outputs] for port in ports},
        )


def _weight_stationary(
    integers: npt.NDArray[np.int64], code_bits: int, acc_bits: int, rng: np.random.Generator
) -> dict[str, npt.NDArray[Any]]:
    """Load each code into the idle bank while the other one works, wait a little, then send it every activation."""
    acc, n_codes = 2**acc_bits, len(integers)
    one_bit = ("enable", "load_in", "load_bank_in", "bank_in", "load_out", "load_bank_out", "bank_out")
    widths = dict.fromkeys(one_bit, 1) | {"act_in": _ACT_BITS, "act_out": _ACT_BITS, "code": code_bits}
    recorder = _Recorder(widths | {"sum_in": acc_bits, "sum_out": acc_bits})
    registers: dict[str, int | None] = dict.fromkeys(("act", "sum", "load", "load_bank", "bank"))
    banks: list[int | None] = [None, None]
    bank = 0

    def row(act: int, *, load: int | None = None, enable: bool = True) -> None:
        """Add a row; `load` is the code that goes to the idle bank, None for noise on the weight port."""
        inputs = {
            "enable": int(enable),
            "act_in": act,
            "sum_in": int(rng.integers(acc)),
            "bank_in": bank,
            "load_in": int(load is not None),
            "load_bank_in": int(rng.integers(2)) if load is None else 1 - bank,
            "code": int(rng.integers(n_codes)) if load is None else load,
        }
        recorder.row(inputs, {f"{name}_out": value for name, value in registers.items()})
        if not enable:
            return
        weight = banks[bank]
        registers["sum"] = None if weight is None else (inputs["sum_in"] + weight * act) % acc
        registers.update(act=act, bank=bank, load=inputs["load_in"], load_bank=inputs["load_bank_in"])
        if load is not None:
            banks[1 - bank] = int(integers[load])

    def any_act() -> int:
        return int(rng.integers(-(2 ** (_ACT_BITS - 1)), 2 ** (_ACT_BITS - 1)))

    for code, acts in _every_pair(n_codes, rng):
        row(any_act(), load=code)
        for _ in range(int(rng.integers(4))):
            row(any_act())
        bank = 1 - bank
        for act in acts.tolist():
            if rng.random() < _STALLS:
                row(any_act(), load=int(rng.integers(n_codes)), enable=False)
            row(act)
    row(0)
    return recorder.stimulus()


def _output_stationary(
    integers: npt.NDArray[np.int64], code_bits: int, acc_bits: int, rng: np.random.Generator
) -> dict[str, npt.NDArray[Any]]:
    """Send every pair as one step of sums of random length, with gaps and stalls."""
    acc = 2**acc_bits
    widths = dict.fromkeys(("enable", "valid_in", "last_in", "valid_out", "last_out"), 1)
    widths |= {"act_in": _ACT_BITS, "act_out": _ACT_BITS, "code": code_bits, "result": acc_bits}
    recorder = _Recorder(widths)
    registers: dict[str, int | None] = {"act_out": None, "valid_out": 0, "last_out": None, "result": None}
    total = 0

    def row(act: int, code: int, *, valid: bool, last: bool, enable: bool = True) -> None:
        nonlocal total
        inputs = {"enable": int(enable), "act_in": act, "code": code, "valid_in": int(valid), "last_in": int(last)}
        recorder.row(inputs, dict(registers))
        if not enable:
            return
        registers.update(act_out=act, valid_out=int(valid), last_out=int(last))
        if valid:
            total = (total + int(integers[code]) * act) % acc
            if last:
                registers["result"] = total
                total = 0

    pairs = [(code, act) for code, acts in _every_pair(len(integers), rng) for act in acts.tolist()]
    for index in rng.permutation(len(pairs)).tolist():
        code, act = pairs[index]
        if rng.random() < _GAPS:
            row(act, int(rng.integers(len(integers))), valid=False, last=bool(rng.random() < 0.5))
        if rng.random() < _STALLS:
            row(act, int(rng.integers(len(integers))), valid=True, last=True, enable=False)
        row(act, code, valid=True, last=bool(rng.random() < 0.3))
    row(0, 0, valid=False, last=False)
    return recorder.stimulus()
