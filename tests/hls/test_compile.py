"""Compilation: the integer program computes what the real-valued quantised layers mean."""

import dataclasses

import numpy as np
import pytest

from tetrit import hardware, hls, sim
from tetrit.sim.execute import execute


def layer(rng, name, n_in, n_out, *, weight_format="szt", in_scale=1.0, out_scale=1.0, last=False):
    usable = np.flatnonzero(~np.isnan(hardware.ShiftArray(rows=1, cols=1, weight_format=weight_format).weights.values))
    return sim.QuantizedLinear(
        name=name,
        weight=rng.choice(usable, size=(n_in, n_out)).astype(np.uint8),
        weight_format=weight_format,
        weight_scale=rng.uniform(0.01, 0.1, n_out),
        bias=rng.normal(0, 0.5, n_out),
        in_format="int8",
        in_scale=in_scale,
        out_format="int16" if last else "int8",
        out_scale=out_scale,
        relu=not last,
    )


@pytest.mark.parametrize("weight_format", ["szt", "pot3", "posit4_1"])
@pytest.mark.parametrize("dataflow", hardware.DATAFLOWS)
def test_integers_follow_the_real_network(weight_format, dataflow):
    rng = np.random.default_rng(7)
    machine = hardware.ShiftArray(rows=8, cols=8, weight_format=weight_format, dataflow=dataflow, acc_bits=28)
    layers = [
        layer(rng, "hidden", 20, 12, weight_format=weight_format, in_scale=1 / 16, out_scale=0.05),
        layer(rng, "output", 12, 5, weight_format=weight_format, in_scale=0.05, out_scale=0.001, last=True),
    ]
    x = rng.integers(0, 17, size=(30, 20))
    program = hls.compile_network(layers, machine, batch=30)
    runs = execute(program, x)
    acts = x
    for quantised, run in zip(layers, runs, strict=True):
        values = machine.weights.values[quantised.weight] * quantised.weight_scale
        real = acts * quantised.in_scale @ values + quantised.bias
        wanted = real / quantised.out_scale
        low, high = (0, 127) if quantised.relu else (-(2**15), 2**15 - 1)
        # half a unit of rounding, half an accumulator unit of bias rounding, and the dyadic error 2^-16
        unit = quantised.in_scale * quantised.weight_scale * 2.0**machine.weights.lsb_exponent / quantised.out_scale
        slack = 0.5 + 0.5 * unit + np.abs(wanted) * 2.0**-16 + 1e-9
        assert (np.abs(np.clip(wanted, low, high) - run.output) <= slack).all()
        acts = run.output
    assert runs[0].run.cycles > 0
    assert [run.layer.name for run in runs] == ["hidden", "output"]


def test_refusals_name_the_layer():
    rng = np.random.default_rng(0)
    machine = hardware.ShiftArray(rows=4, cols=4)
    one, two = layer(rng, "one", 6, 5), layer(rng, "two", 4, 3, last=True)
    with pytest.raises(ValueError, match=r"^layer 'two' takes 4 inputs, layer 'one' gives 5$"):
        hls.compile_network([one, two], machine, batch=1)
    with pytest.raises(ValueError, match=r"^layer 'one': `weight_format` is szt, the machine takes pot2$"):
        hls.compile_network([one], machine.replace(weight_format="pot2"), batch=1)
    three = layer(rng, "three", 5, 3, in_scale=0.5, last=True)
    with pytest.raises(
        ValueError, match=r"^layer 'three' takes int8 in units of 0.5, layer 'one' gives int8 in units of 1$"
    ):
        hls.compile_network([one, three], machine, batch=1)
    with pytest.raises(ValueError, match=r"^a network needs at least one layer$"):
        hls.compile_network([], machine, batch=1)
    with pytest.raises(ValueError, match=r"^`bias` of layer `one` must be finite, got nan at index \(0,\)$"):
        dataclasses.replace(one, bias=np.full(5, np.nan))
    with pytest.raises(ValueError, match=r"^`weight_scale` of layer 'one' must be positive$"):
        dataclasses.replace(one, weight_scale=np.zeros(5))
