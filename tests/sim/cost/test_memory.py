"""The model of SRAM: fits redone, formulas redone, held against published figures, pricing of machines, refusals."""

import tomllib
from importlib import resources
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tetrit import hardware
from tetrit.errors import InvalidValueError
from tetrit.hardware import Memory, ShiftArray, SimdEngine
from tetrit.sim.cost.anchors import anchors
from tetrit.sim.cost.area import machine_area
from tetrit.sim.cost.memory import memories, priced, sram, sram_um2, unpriced
from tetrit.sim.cost.scaling import NodeTable

TABLE = tomllib.loads((resources.files("tetrit.sim.cost") / "memory.toml").read_text())
ERRORS = {  # of the model, by source: least and greatest, in per cent, as docs/cost.md states them
    ("Horowitz", "read_pj"): (-12, 23),
    ("Jouppi", "read_pj"): (-89, -16),
    ("CACTI", "read_pj"): (12, 255),
    ("CACTI", "write_pj"): (72, 227),
    ("CACTI", "area_um2"): (3, 60),
    ("CACTI", "access_ns"): (12, 865),
    ("IHP", "read_pj"): (1, 2),
    ("IHP", "write_pj"): (-2, -1),
    ("IHP", "access_ns"): (-6, -5),
    ("IHP", "area_um2"): (-1, 0),
    ("OpenRAM", "area_um2"): (-46, -45),
}


@pytest.fixture(scope="module")
def held():
    return anchors()


@pytest.mark.parametrize(
    ("quantity", "constants", "terms"),
    [
        ("read_pj", TABLE["energy_pj"]["read"], lambda rows, bits: (1, bits, 2 * bits * np.sqrt(rows))),
        ("write_pj", TABLE["energy_pj"]["write"], lambda rows, bits: (1, bits, 2 * bits * np.sqrt(rows))),
        ("access_ns", TABLE["access_ns"]["read"], lambda rows, bits: (1, np.sqrt(rows), 2 * bits)),
    ],
)
def test_constants_are_the_least_squares_of_relative_errors_through_the_macros(quantity, constants, terms):
    wanted = np.array([macro[quantity] for macro in TABLE["macros"]])
    design = np.array([terms(macro["words"] / 2, macro["bits"]) for macro in TABLE["macros"]], dtype=float)
    fitted, *_ = np.linalg.lstsq(design / wanted[:, None], np.ones(len(wanted)), rcond=None)
    assert fitted == pytest.approx(constants, rel=2e-3)
    assert np.abs(design @ constants / wanted - 1).max() < 0.03


def test_a_second_port_is_a_factor():
    one, two = (sram(8192, 64, ports=ports) for ports in (1, 2))
    assert two.area.value == pytest.approx(1.96 * one.area.value)
    assert two.read.value == pytest.approx(1.21 * one.read.value)
    assert two.write.value == pytest.approx(1.21 * one.write.value)
    assert two.access.value == pytest.approx(1.16 * one.access.value)
    assert two.leakage.value == pytest.approx(0.0194642 / 0.0120859 * one.leakage.value)


def test_macros_leak_in_proportion_to_their_bits():
    for macro in TABLE["macros"]:
        bits = macro["words"] * macro["bits"]
        assert macro["leakage_nw"] / bits == pytest.approx(TABLE["leakage_nw_per_bit"]["one_port"], rel=1e-4)


def test_one_macro_is_the_formula():
    found = sram(8192, 64)
    assert (found.banks, found.macros) == (1, 1)
    assert found.read.value == pytest.approx(4.829 + 0.06031 * 64 + 0.028407 * 128 * 512**0.5)
    assert found.write.value == pytest.approx(6.8724 + 0.06509 * 64 + 0.034638 * 128 * 512**0.5)
    assert found.access.value == pytest.approx(1.8224 + 0.10519 * 512**0.5 + 0.0018985 * 128)
    assert found.area.value == pytest.approx((56.96 + 11.24 * 64) * (46.22 + 0.28344 * 1024))
    assert found.leakage.value == pytest.approx(0.0120859 * 65536)
    assert (found.read.origin, found.area.origin) == ("modelled", "published")


def test_banks_are_joined_by_wires_and_wide_words_wake_macros_side_by_side():
    deep, wide = sram(65536, 64), sram(65536, 256)
    assert (deep.banks, deep.macros, wide.banks, wide.macros) == (4, 4, 1, 4)
    bank = sram(16384, 64)
    side_mm = (deep.area.value * 1e-6) ** 0.5
    wires = 64 + (13 + 2) * 2  # data to one bank, address and control on a tree to four
    wire_pj = 0.5 * wires * side_mm * 1.87 * 0.2 * 1.2**2
    assert deep.read.value == pytest.approx(bank.read.value + wire_pj)
    resistance = 0.022 / (2 * 0.13 * 4 * 0.13)  # ohm per um
    ps_per_mm = 1.67 * (48.2 * resistance * 0.2e-3) ** 0.5 * 1e3
    assert deep.access.value == pytest.approx(bank.access.value + side_mm * ps_per_mm * 1e-3)
    assert wide.read.value == pytest.approx(4 * sram(16384, 64).read.value)
    assert wide.area.value == pytest.approx(deep.area.value)


def test_shares_are_of_the_read_and_of_the_area():
    one, deep = sram(8192, 64), sram(1 << 20, 64, node_nm=45)
    parts = {"control": 4.829, "periphery": 0.06031 * 64, "bit lines": 0.028407 * 128 * 512**0.5, "wires": 0.0}
    assert one.read_shares == pytest.approx({name: pj / one.read.value for name, pj in parts.items()})
    assert sum(deep.read_shares.values()) == pytest.approx(1)
    assert deep.read_shares["wires"] > 0.7 > deep.read_shares["bit lines"] > deep.read_shares["control"]
    assert one.cells_share == pytest.approx(11.24 * 0.28344 * 65536 / one.area.value)
    assert sram(512, 64).cells_share < one.cells_share < 1


def test_another_node_scales_gates_and_not_wires():
    table = NodeTable.modelled()
    factor = table.factor("energy", 130, 45, from_voltage_v=1.2, to_voltage_v=0.9).value
    bank, deep = (sram(size, 64, node_nm=45, voltage_v=0.9) for size in (16384, 65536))
    assert bank.read.value == pytest.approx(sram(16384, 64).read.value * factor)
    assert bank.area.value == pytest.approx(sram(16384, 64).area.value * table.factor("area", 130, 45).value)
    side_mm = (deep.area.value * 1e-6) ** 0.5
    assert deep.read.value - bank.read.value == pytest.approx(0.5 * 94 * side_mm * 1.87 * 0.2 * 0.9**2)
    assert bank.leakage is None
    assert bank.area.origin == "modelled"
    assert "scaled from 130 to 45 nm by 0.155" in bank.area.source


def test_every_published_figure_lies_in_the_bounds(held):
    assert len(held) > 80
    for anchor in held:
        low, high = anchor.modelled.low, anchor.modelled.high
        if low is not None:
            assert low <= anchor.value <= high, anchor


def test_errors_are_those_that_the_manual_states(held):
    for (source, quantity), (least, greatest) in ERRORS.items():
        found = [100 * a.error for a in held if a.source.startswith(source) and a.quantity == quantity]
        assert least <= min(found) < least + 1.5 or len(found) == 1
        assert greatest - 1.5 < max(found) <= greatest or len(found) == 1
        assert least <= min(found) <= max(found) <= greatest
    stated = {source for source, _ in ERRORS}
    assert {anchor.source.split()[0].rstrip(",") for anchor in held if not anchor.fitted} == stated


@given(
    size=st.integers(64, 1 << 22),
    bits=st.integers(1, 512),
    node=st.sampled_from([None, 90, 28, 7]),
    ports=st.integers(1, 2),
)
def test_more_costs_more_and_bounds_hold_the_value(size, bits, node, ports):
    small, large = (sram(bytes_, bits, node_nm=node, ports=ports) for bytes_ in (size, 2 * size))
    for name in ("area", "read", "write", "access"):
        one, two = getattr(small, name), getattr(large, name)
        assert one.low <= one.value <= one.high
        assert one.value <= two.value * (1 + 1e-9)
    assert small.write.value > small.read.value


def test_memories_without_prices_get_the_models():
    machine = ShiftArray(rows=8, cols=8, weight_memory=Memory(latency_cycles=3), act_memory=Memory(read_pj_per_bit=1.0))
    found = priced(machine)
    model = sram(32768, machine.weight_word_bits)
    assert found.weight_memory == machine.weight_memory.replace(
        read_pj_per_bit=model.read.value / machine.weight_word_bits,
        write_pj_per_bit=model.write.value / machine.weight_word_bits,
        energy_source=model.read.source,
    )
    assert found.act_memory is machine.act_memory
    ports = sram(32768, machine.acc_word_bits, ports=2)
    assert found.acc_memory.latency_cycles == 1
    assert found.acc_memory.read_pj_per_bit == ports.read.value / machine.acc_word_bits
    assert priced(found) is found
    fast = priced(machine.replace(clock_mhz=1000.0))
    assert fast.acc_memory.latency_cycles == -int(-ports.access.value // 1) > 1


def test_machines_with_prices_stay_as_they_are_unless_asked():
    for name in hardware.presets():
        machine = hardware.load(name)
        assert priced(machine) is machine
        again = priced(unpriced(machine))
        for memory, *_ in memories(again).values():
            assert memory.energy_source.startswith("fit through the macros of IHP Open PDK, sg13g2_sram")
    with pytest.raises(TypeError, match=r"^`machine` must be a ShiftArray, a SimdEngine or a Crossbar, got 3$"):
        priced(3)


def test_areas_of_arrays_are_the_lines_of_the_table():
    machine = ShiftArray(rows=6, cols=10, act_format="int6", acc_bits=20)
    found = machine_area(machine)
    assert found["processing elements"].value == pytest.approx(60 * (356.9806 + 73.0305 * 6 + 110.1931 * 20))
    terms = (1205.8635, 13.924 * 36, 35.5689 * 200, 382.2103 * 20, 26.8258 * 6 * 36, 51.3265 * 20 * 100)
    assert found["skew, decoders and gearboxes"].value == pytest.approx(sum(terms))
    assert found["requantisers"].value == pytest.approx(10 * (25.2239 + 208.0158 * 20 + 69.9917 * 20 * 16))
    engine = machine_area(SimdEngine(rows=2, cols=3))
    assert engine["elements"].value == pytest.approx(6 * (38575.0197 + 297.4207 * 128))
    assert engine["read-outs"].value == pytest.approx(3 * (12271.1274 + 306.2473 * 128))


def test_areas_of_machines_have_their_scratchpads_last():
    for machine, names in (
        (ShiftArray(rows=4, cols=4), ["weight memory", "activation memory", "accumulator memory"]),
        (SimdEngine(rows=2, cols=2), ["weight memory", "activation memory", "result memory"]),
    ):
        found = machine_area(machine)
        assert list(found)[-3:] == names
        for (memory, bits, ports), name in zip(memories(machine).values(), names, strict=True):
            assert found[name].value == sram_um2(memory, bits, ports=ports)
        assert all(part.unit == "um2" for part in found.values())


def test_area_of_a_memory_is_the_macros_that_it_takes():
    for bits, size in product((16, 64, 100, 384), (512, 32768, 100_000)):
        words = -(-8 * size // bits)
        across, along = -(-bits // 64), -(-words // 2048)
        one = (56.96 + 11.24 * bits / across) * (46.22 + 0.28344 * words / along)
        assert sram_um2(Memory(size_bytes=size), bits) == pytest.approx(across * along * one, rel=1e-12)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"size_bytes": 0}, "`size_bytes` must be an integer from 1 to 134217728, got 0"),
        ({"size_bytes": 1 << 28}, "`size_bytes` must be an integer from 1 to 134217728, got 268435456"),
        ({"word_bits": 1 << 15}, "`word_bits` must be an integer from 1 to 16384, got 32768"),
        ({"ports": 3}, "`ports` must be an integer from 1 to 2, got 3"),
        ({"node_nm": 5}, "`node_nm` must be from 7 to 180 nm, where the table of nodes ends, got 5"),
        ({"voltage_v": 1.0}, "`voltage_v` must be 1.2 V at 130 nm, where the macros are, got 1"),
        ({"node_nm": 28, "voltage_v": 1.2}, "`voltage_v` must be from 0.72 to 0.99 V at 28 nm (hp), got 1.2"),
    ],
)
def test_bad_memories_are_refused(arguments, text):
    with pytest.raises(InvalidValueError) as refused:
        sram(**{"size_bytes": 1024, "word_bits": 32} | arguments)
    assert str(refused.value) == text
