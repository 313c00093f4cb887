"""Mapping onto crossbars: cycles and events of the engine, copies within the arrays there are, energy of cells."""

import numpy as np
import pytest

from tetrit import hardware, sim
from tetrit.errors import InvalidValueError
from tetrit.hls.mapping.crossbar import solve
from tetrit.hls.mapping.layer import Settings
from tetrit.sim import Workload

CROSSBARS = ("crossbar_128_rram", "crossbar_256_pcm", "crossbar_256_sram", "crossbar_ideal")
HEALTHY = {"stuck_on": 0.0, "stuck_off": 0.0}


@pytest.mark.parametrize("preset", CROSSBARS)
def test_cycles_and_priced_events_are_those_of_the_engine(preset):
    machine = hardware.load(preset).replace(rows=32, cols=64, r_row_ohm=0.0, r_col_ohm=0.0, **HEALTHY)
    machine = machine.replace(r_driver_ohm=0.0, r_sense_ohm=0.0)
    rng = np.random.default_rng(4)
    top = 2**machine.weights.bits
    engine = sim.build(machine).load(rng.integers(0, top, (70, 50)))
    x = rng.integers(machine.activations.integers.min(), machine.activations.integers.max() + 1, (400, 70))
    if machine.adc_bits is not None and machine.adc.range.startswith("calibrated"):
        engine.calibrate(x)
    run = engine.matmul(x, read_noise="off")
    found = solve(Workload(m=400, k=70, n=50), machine, Settings(off_chip=None))
    assert found.cycles == run.cycles
    assert found.tiling.arrays == len(engine.arrays.cells)
    for name, energy in run.breakdown.items():
        if name != "cells":
            assert found.breakdown[name] == pytest.approx(energy, rel=1e-12)
    # evenly distributed operands are what the estimate of the cells assumes; programming is not exact
    assert found.breakdown["cells"] == pytest.approx(run.breakdown["cells"], rel=0.1)


def test_copies_share_the_vectors_and_no_more_are_taken_than_help():
    machine = hardware.load("crossbar_256_pcm")
    workload = Workload(m=10, k=300, n=200)  # 2 x 2 arrays
    one = solve(workload, machine, Settings())
    assert (one.tiling.copies, one.tiling.arrays) == (1, 4)
    per_vector = (one.array_cycles - 1) // 10
    for arrays, copies, share in (
        (4, 1, 10),
        (7, 1, 10),
        (8, 2, 5),
        (12, 3, 4),
        (16, 4, 3),
        (20, 5, 2),
        (36, 5, 2),
        (4000, 10, 1),
    ):
        found = solve(workload, machine, Settings(arrays=arrays))
        assert (found.tiling.copies, found.array_cycles) == (copies, share * per_vector + 1)
        assert found.breakdown == one.breakdown
        assert found.optimal
    with pytest.raises(
        InvalidValueError,
        match=r"^`arrays` must be at least 4 for 300 x 200 weights on arrays of 256 x 256 cells, got 3$",
    ):
        solve(workload, machine, Settings(arrays=3))


def test_weights_stay_and_activations_move():
    memory = hardware.Memory(width_bits=64, latency_cycles=5, read_pj_per_bit=1.0, write_pj_per_bit=2.0)
    found = solve(Workload(m=10, k=300, n=200), hardware.load("crossbar_256_pcm"), Settings(off_chip=memory))
    assert vars(found.traffic["off-chip memory"]) == {"read_bytes": 3000, "write_bytes": 2000}
    assert found.off_chip_cycles == 375 + 250 + 5
    assert found.breakdown["off-chip memory"] == 8 * (3000 + 2 * 2000)
