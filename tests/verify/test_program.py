"""A compiled network on the Verilated array: all outputs, all cycles, both dataflows."""

from itertools import pairwise

import numpy as np
import pytest

from tetrit import hardware, sim, verify
from tetrit.hls import compile_network
from tetrit.verify.broken import BROKEN
from tetrit.verify.suites.designs import Designs

BATCH = 9
SIZES = (11, 7, 3)


def program(dataflow):
    rng = np.random.default_rng(3)
    layers = [
        sim.QuantizedLinear(
            name=f"fc{index}",
            weight=rng.integers(0, 4, size=(n_in, n_out)).astype(np.uint8),
            weight_format="szt",
            weight_scale=rng.uniform(0.01, 0.03, size=n_out),
            bias=rng.normal(size=n_out),
            in_format="int8",
            in_scale=0.05,
            out_format="int8" if index == 0 else "int16",
            out_scale=0.05 if index == 0 else 0.001,
            relu=index == 0,
        )
        for index, (n_in, n_out) in enumerate(pairwise(SIZES))
    ]
    memory = hardware.Memory(width_bits=24, latency_cycles=2)
    machine = hardware.ShiftArray(rows=4, cols=3, dataflow=dataflow, act_memory=memory, acc_memory=memory)
    return compile_network(layers, machine, batch=BATCH), rng.integers(-128, 128, size=(BATCH, SIZES[0]))


@pytest.mark.parametrize("dataflow", hardware.DATAFLOWS)
def test_every_output_and_every_cycle_of_a_network(build_dir, dataflow):
    compiled, x = program(dataflow)
    results = verify.run_program(compiled, x, build_dir=build_dir)
    assert [result.name for result in results] == [
        "fc0 on ShiftPEArray",
        "fc1 on ShiftPEArray",
        "fc0 on Requantizer",
        "fc1 on Requantizer",
    ]
    assert all(result.passed and result.mismatches == 0 and result.message == "" for result in results)
    assert all(result.cycles_rtl == result.cycles_model for result in results)
    assert [result.vectors for result in results[2:]] == [BATCH * n for n in SIZES[1:]]


def test_a_broken_array_fails_in_its_own_layers_only(build_dir):
    compiled, x = program("weight_stationary")
    results = verify.run_program(compiled, x, build_dir=build_dir, designs=Designs(array=BROKEN.array))
    assert [result.passed for result in results] == [False, False, True, True]
    assert all("results word" in result.message and "case" not in result.message for result in results[:2])
