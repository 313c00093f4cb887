"""What signed zeros cost in gates: the decoders, and nothing else."""

import pytest

from tetrit import hardware
from tetrit.rtl import ShiftPE, ShiftPEArray, SZTDecoder, WeightDecoder, synthesize


def array(weight_format, dataflow):
    machine = hardware.ShiftArray(rows=4, cols=3, weight_format=weight_format, dataflow=dataflow)
    return machine, synthesize(ShiftPEArray(machine))


@pytest.mark.parametrize("dataflow", hardware.DATAFLOWS)
def test_datapath_equals_that_of_twos_complement_ternary(dataflow):
    """Every module but the decoders has the same cells, and the whole differs by one decoder per column."""
    machine, szt = array("szt", dataflow)
    _, ternary = array("int2_symmetric", dataflow)
    decoders = ("WeightDecoder", "SZTDecoder")
    assert {name: module.cells for name, module in szt.modules.items() if name not in decoders} == {
        name: module.cells for name, module in ternary.modules.items() if name not in decoders
    }
    per_column = szt.modules["WeightDecoder"].total_area_um2 - ternary.modules["WeightDecoder"].total_area_um2
    assert szt.area_um2 - ternary.area_um2 == pytest.approx(machine.cols * per_column)
    assert per_column > 0


def test_a_wider_weight_costs_a_wider_datapath():
    """The comparison above can tell: the same element for shifting weights is larger."""
    areas = {}
    for name in ("szt", "pot3"):
        machine = hardware.ShiftArray(rows=1, cols=1, weight_format=name)
        areas[name] = synthesize(ShiftPE(machine.weights, 8, 24, "weight_stationary")).area_um2
    assert areas["pot3"] > 1.02 * areas["szt"]


def test_one_and_gate_reaches_the_datapath():
    """The decoder is an AND for `negate`, and the gate of the sign of zero, which the array leaves open."""
    assert sum(synthesize(SZTDecoder()).cells.values()) == 2
    weights = hardware.ShiftArray(rows=1, cols=1).weights
    flat = synthesize(WeightDecoder(weights), hierarchical=False)
    assert dict(flat.cells) == {"sg13g2_and2_1": 1}
