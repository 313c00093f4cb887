"""The port trace drives the mapped netlist: its results must be the golden ones, in exactly the scheduled cycles."""

import numpy as np
import pytest

from tetrit import hardware
from tetrit.rtl import ShiftPEArray, simulate, synthesize
from tetrit.sim import Mapping, Workload
from tetrit.sim.shift import cycles, streams
from tetrit.sim.shift.tiles import tile_list
from tetrit.sim.shift.trace import port_trace


def result_vectors(activity, machine):
    payload, valid = activity.outputs["results__payload"], activity.outputs["results__valid"][:, 0].astype(bool)
    words = payload[valid, :-1].reshape(-1, machine.acc_words * (payload.shape[1] - 1))
    lanes = words[:, : machine.acc_vector_bits].reshape(-1, machine.cols, machine.acc_bits).astype(np.int64)
    weights = 1 << np.arange(machine.acc_bits, dtype=np.int64)
    weights[-1] *= -1
    return lanes @ weights, np.flatnonzero(valid)


@pytest.mark.parametrize("dataflow", hardware.DATAFLOWS)
@pytest.mark.parametrize("widths", [(None, None, None), (6, 8, 24)])
def test_netlist_follows_the_schedule(dataflow, widths):
    rng = np.random.default_rng(5)
    memories = [hardware.Memory(width_bits=width, latency_cycles=index) for index, width in enumerate(widths)]
    machine = hardware.ShiftArray(
        rows=3,
        cols=4,
        acc_bits=18,
        dataflow=dataflow,
        weight_memory=memories[0],
        act_memory=memories[1],
        acc_memory=memories[2],
    )
    x, weight, bias = (
        rng.integers(-128, 128, (7, 8)),
        rng.integers(0, 4, (8, 6)).astype(np.uint8),
        rng.integers(-9, 9, 6),
    )
    mapping = Mapping(tile_m=3, tile_k=3, tile_n=4)
    run = streams(x, weight, bias, mapping, machine)
    plan = cycles.schedule(tile_list(Workload(m=7, k=8, n=6), mapping), machine)
    assert plan.cycles == cycles.count(Workload(m=7, k=8, n=6), mapping, machine)
    structure = synthesize(ShiftPEArray(machine)).structure
    trace = port_trace(run, plan, machine)
    vectors, when = result_vectors(simulate(structure, trace), machine)
    np.testing.assert_array_equal(vectors, run.results)
    np.testing.assert_array_equal(when[machine.acc_words - 1 :: machine.acc_words], plan.results)
    broken = trace | {"activations__payload": np.roll(trace["activations__payload"], 1, axis=0)}
    assert not np.array_equal(result_vectors(simulate(structure, broken), machine)[0], run.results)
