"""Off-chip memory and wires: every kind cited and bounded, what a machine sees, the wire that synthesis takes."""

import pytest

from tetrit.errors import InvalidValueError, UnknownNameError
from tetrit.hardware import Technology
from tetrit.sim.cost import wires
from tetrit.sim.cost.offchip import OffChip, kinds


@pytest.mark.parametrize("kind", kinds())
def test_every_kind_has_a_cited_energy_with_bounds_and_its_standards_bandwidth(kind):
    found = OffChip.of(kind)
    assert found.energy.low < found.energy.value < found.energy.high
    assert found.energy.unit == "pJ/bit"
    assert found.energy.origin == ("assumed" if kind == "ddr5" else "published")
    rate, width = found.bandwidth.source.split(" MT/s x ")
    assert found.bandwidth.value == int(rate) * int(width.split()[0]) / 8000


def test_kinds_are_in_the_order_of_their_energy():
    energy = {kind: OffChip.of(kind).energy.value for kind in kinds()}
    assert energy["hbm2"] < energy["lpddr5"] < energy["lpddr4"] < energy["ddr4"] < energy["ddr3"]
    assert (energy["hbm2"], energy["gddr5"]) == (3.92, 14.0)


def test_a_machine_sees_the_bits_of_a_cycle_and_whole_cycles_of_latency():
    memory = OffChip.of("hbm2").memory(clock_mhz=1000.0)
    assert memory.width_bits == 2048  # 256 GB/s
    assert memory.latency_cycles == 100
    assert OffChip.of("ddr4").memory(clock_mhz=333.0).latency_cycles == 34
    assert memory.read_pj_per_bit == memory.write_pj_per_bit == 3.92
    assert memory.energy_source.startswith("hbm2: M. O'Connor et al.")
    assert OffChip.of("ddr3").memory(clock_mhz=1e9).width_bits == 1


def test_unknown_kinds_and_clocks_are_refused():
    with pytest.raises(UnknownNameError, match=r"^unknown off-chip memory 'hbm4'; did you mean 'hbm[23]'\?$"):
        OffChip.of("hbm4")
    with pytest.raises(InvalidValueError, match=r"^`clock_mhz` must be above 0, got 0$"):
        OffChip.of("hbm2").memory(clock_mhz=0)


def test_synthesis_takes_twenty_micrometres_of_wire_a_fan_out():
    technology = Technology.load("sg13g2")
    found = wires.cap_per_fanout(technology)
    assert (found.value, found.origin) == (technology.wire_cap_ff_per_fanout, "assumed") == (4.0, "assumed")
    assert found.value / wires.CAP_PER_UM.value == pytest.approx(20)
    assert wires.cap_per_fanout(technology.replace(wire_cap_ff_per_fanout=8.0)).source.startswith("40 um of wire")
    assert wires.CAP_PER_UM.origin == "assumed"


def test_wires_get_slower_and_not_cheaper_at_smaller_nodes():
    assert wires.repeated_energy_pj_per_mm(1.0) == pytest.approx(0.374)
    assert wires.repeated_energy_pj_per_mm(0.5) == pytest.approx(0.374 / 4)
    slow = [wires.repeated_delay_ps_per_mm(node, 48.2 * node / 130) for node in (130, 45, 7)]
    assert slow == sorted(slow)
    with pytest.raises(InvalidValueError, match=r"^`voltage_v` must be above 0, got -1$"):
        wires.repeated_energy_pj_per_mm(-1)
    for arguments in ((0, 1), (1, 0)):
        with pytest.raises(InvalidValueError, match="must be above 0, got 0"):
            wires.repeated_delay_ps_per_mm(*arguments)
