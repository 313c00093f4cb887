"""What takes sums from a crossbar refuses one whose ramps give values of a function: one line, before any work."""

import re

import numpy as np
import pytest

from tetrit import hardware, hls, sim
from tetrit.errors import InvalidValueError
from tetrit.flow.crossbar_config import read_crossbar
from tetrit.hardware import Crossbar, RampAdc

MACHINE = Crossbar(rows=64, cols=32, bits_per_cell=8, dac_bits=None, adc_bits=None)
RAMP = MACHINE.replace(ramp=RampAdc(bits=3))
MESSAGE = (
    "a network cannot be compiled for a crossbar with a `ramp`: its results are values of a function, not sums to be "
    "requantised; `tetrit.sim.build` runs such a machine layer by layer"
)


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ramp.toml").write_text(hardware.to_toml(RAMP))
    (tmp_path / "plain.toml").write_text(hardware.to_toml(MACHINE))
    return tmp_path / "config.toml"


def test_networks_are_not_compiled():
    layer = sim.QuantizedLinear(
        name="one",
        weight=np.ones((2, 2), np.uint8),
        weight_format="int8",
        weight_scale=np.ones(2),
        bias=np.zeros(2),
        in_format="int8",
        in_scale=1.0,
        out_format="int8",
        out_scale=1.0,
        relu=False,
    )
    hls.compile_network([layer], MACHINE, batch=1)
    hls.check_machine(MACHINE)
    hls.check_machine(hardware.ShiftArray(rows=4, cols=4))
    with pytest.raises(InvalidValueError, match=f"^{re.escape(MESSAGE)}$"):
        hls.compile_network([layer], RAMP, batch=1)


def test_a_run_refuses_it(tetrit, path):
    read_crossbar("x: [crossbar]", {"path": "plain.toml"}, path.parent)
    with pytest.raises(InvalidValueError, match=rf"^x: \[crossbar\]: {re.escape(MESSAGE)}$"):
        read_crossbar("x: [crossbar]", {"path": "ramp.toml"}, path.parent)
    with pytest.raises(InvalidValueError, match=rf"^x: \[crossbar\]: {re.escape(MESSAGE)}$"):
        read_crossbar("x: [crossbar]", {"path": "plain.toml", "changes": {"ramp": {}}}, path.parent)
    path.write_text("[machine]\npreset = 'shift_16x16'\n[crossbar]\npath = 'ramp.toml'\n")
    outcome = tetrit("run", path, "--out", "out")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == f"tetrit: error: {path}: [crossbar]: {MESSAGE}\n"


def test_a_montecarlo_analysis_refuses_it(tetrit, path):
    train = "[train]\nestimator = { name = 'ste', format = 'int8' }\n"
    path.write_text(f"{train}[crossbar]\npath = 'ramp.toml'\n")
    outcome = tetrit("montecarlo", path)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == f"tetrit: error: {path}: [crossbar]: {MESSAGE}\n"
    path.write_text(
        f"{train}[crossbar]\npath = 'plain.toml'\n[[corner]]\nname = 'ramps'\nchanges = {{ ramp = {{ }} }}\n"
    )
    outcome = tetrit("montecarlo", path)
    assert (outcome.code, outcome.out) == (2, "")
    text = f"{path}: corner 1 ('ramps'): `ramp` must be the same in all corners"
    assert outcome.err == f"tetrit: error: {text}\n"


def test_training_refuses_it():
    import torch

    from tetrit import train

    message = r"^`crossbar` must have no `ramp`: layers cannot train on its converters$"
    with pytest.raises(InvalidValueError, match=message):
        train.noise_aware(torch.nn.Sequential(torch.nn.Linear(4, 4)), RAMP)
    model = train.noise_aware(torch.nn.Sequential(torch.nn.Linear(4, 4)), MACHINE)
    train.set_crossbar(model, MACHINE.replace(time_s=5.0))
    with pytest.raises(InvalidValueError, match=r"^`crossbar` must keep `ramp` = None, got RampAdc\("):
        train.set_crossbar(model, RAMP)
