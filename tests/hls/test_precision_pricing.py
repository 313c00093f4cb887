"""Prices of layers: those of the machines' own simulators, and no others."""

import numpy as np
import pytest

from tetrit import hardware, sim
from tetrit.errors import InvalidValueError
from tetrit.hls import layer_costs
from tetrit.hls.precision.pricing import price_source

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("weight_format", ["szt", "pot2", "pot4z"])
def test_a_shift_array(weight_format):
    machine = hardware.load("shift_8x8").replace(weight_format=weight_format, acc_bits=32)
    codes = machine.weights.encode(RNG.normal(size=(20, 9)))
    x = RNG.integers(-128, 128, size=(5, 20))
    run = sim.build(machine).load(codes).matmul(x)
    bits = machine.weights.bits
    wanted = {"size_bits": 180 * bits, "bops": 900 * bits * 8, "cycles": run.cycles, "energy_pj": run.energy_pj}
    assert layer_costs(machine, codes, x) == wanted
    still = layer_costs(machine, codes, np.zeros_like(x))
    assert {name: still[name] for name in wanted if name != "energy_pj"} == {
        name: cost for name, cost in wanted.items() if name != "energy_pj"
    }
    assert still["energy_pj"] < wanted["energy_pj"]
    assert "tetrit characterise" in price_source(machine)


@pytest.mark.parametrize("pair", [("fp4_e2m1", "fp4_e2m1"), ("posit8_0", "posit4_1"), ("posit16_1", "posit16_1")])
def test_a_simd_engine(pair):
    machine = hardware.load("simd_4x4")
    codes, x = RNG.integers(0, 8, size=(20, 9)), RNG.integers(0, 8, size=(5, 20))
    run = sim.build(machine).load(codes, weight_format=pair[1]).matmul(x, act_format=pair[0], out_format=pair[0])
    found = layer_costs(machine, codes, x, act_format=pair[0], weight_format=pair[1])
    assert (found["cycles"], found["energy_pj"]) == (run.cycles, run.energy_pj)
    assert "memories:" in price_source(machine)


@pytest.mark.parametrize("adc_bits", [4, 8])
def test_a_crossbar(adc_bits):
    machine = hardware.load("crossbar_256_sram").replace(adc_bits=adc_bits)
    codes, x = RNG.integers(0, 16, size=(20, 9)), RNG.integers(-128, 128, size=(5, 20))
    run = sim.build(machine).load(codes).matmul(x)
    found = layer_costs(machine, codes, x)
    assert (found["cycles"], found["energy_pj"]) == (run.cycles, run.energy_pj)
    assert "ISAAC" in price_source(machine)


def test_groups_add_up():
    machine = hardware.load("shift_8x8")
    codes, x = RNG.integers(0, 4, size=(3, 6, 4)), RNG.integers(0, 9, size=(3, 5, 6))
    each = [layer_costs(machine, w, a) for w, a in zip(codes, x, strict=True)]
    found = layer_costs(machine, codes, x)
    assert found == pytest.approx({name: sum(one[name] for one in each) for name in found}, rel=1e-12)


@pytest.mark.parametrize(
    ("machine", "changes", "error", "message"),
    [
        (3, {}, TypeError, r"^`machine` must be a ShiftArray, a SimdEngine or a Crossbar, got 3$"),
        (
            "shift_8x8",
            {"weight_format": "szt"},
            InvalidValueError,
            r"^a ShiftArray has its own formats: `replace` these",
        ),
        ("simd_4x4", {}, InvalidValueError, r"^`weight_format` and `act_format` must be given for a SimdEngine$"),
        (
            "shift_8x8",
            {"x": np.zeros((2, 3), int)},
            InvalidValueError,
            r"^`weight` and `x` must have the same groups and inputs, got shapes \(1, 4, 4\) and \(1, 2, 3\)$",
        ),
        (
            "shift_8x8",
            {"weight": np.zeros(3, int)},
            InvalidValueError,
            r"^`weight` must be a matrix, or a stack of one for each group, got shape \(3,\)$",
        ),
    ],
)
def test_errors(machine, changes, error, message):
    given = {"weight": np.zeros((4, 4), int), "x": np.zeros((2, 4), int)} | changes
    with pytest.raises(error, match=message):
        layer_costs(hardware.load(machine) if isinstance(machine, str) else machine, **given)
