# amaranth: UnusedElaboratable=no
"""FPGA figures: known circuits take what they must, and the multiplier-free array takes no multiplier."""

import pytest
from amaranth.hdl import Cat, Module, Mux, Signal, signed, unsigned
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from tetrit import hardware, rtl
from tetrit.errors import InvalidValueError, ToolError
from tetrit.rtl import fpga
from tetrit.rtl.fpga import map_fpga


class AllOf(wiring.Component):
    """Whether all bits are 1."""

    def __init__(self, width):
        super().__init__({"a": In(width), "y": Out(1)})

    def elaborate(self, platform):
        m = Module()
        m.d.comb += self.y.eq(self.a.all())
        return m


class Counter(wiring.Component):
    """Counts in `width` bits."""

    def __init__(self, width):
        super().__init__({"count": Out(width)})

    def elaborate(self, platform):
        m = Module()
        m.d.sync += self.count.eq(self.count + 1)
        return m


class Product(wiring.Component):
    """A registered product."""

    a: In(signed(18))
    b: In(signed(18))
    y: Out(signed(36))

    def elaborate(self, platform):
        m = Module()
        m.d.sync += self.y.eq(self.a * self.b)
        return m


class Store(wiring.Component):
    """1024 words of 18 bits: one block RAM of a 7 series' half, and one of an ECP5."""

    address: In(10)
    data: In(18)
    write: In(1)
    found: Out(18)

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = memory = Memory(shape=unsigned(18), depth=1024, init=[])
        writing, reading = memory.write_port(), memory.read_port()
        m.d.comb += [
            writing.addr.eq(self.address),
            writing.data.eq(self.data),
            writing.en.eq(self.write),
            reading.addr.eq(self.address),
            self.found.eq(reading.data),
        ]
        return m


class Late(wiring.Component):
    """A sum of many inputs: as `deep` says, one adder after another."""

    def __init__(self, deep):
        super().__init__({"x": In(16 * 8), "y": Out(16)})
        self.deep = deep

    def elaborate(self, platform):
        m = Module()
        total = self.x[:16]
        for k in range(1, self.deep):
            total = Mux(total[0], total + self.x[16 * k : 16 * k + 16], Cat(total[1:], total[0]))[:16]
        m.d.comb += self.y.eq(total)
        return m


@pytest.mark.parametrize(("width", "luts"), [(1, 0), (6, 1), (7, 2)])
def test_as_many_tables_as_a_function_needs(width, luts):
    found = map_fpga(AllOf(width))
    assert (found.luts, found.flip_flops, found.brams, found.dsps, found.fmax_mhz) == (luts, 0, 0, 0, None)


@pytest.mark.parametrize("family", fpga.FAMILIES)
def test_a_counter_has_its_flip_flops(family):
    found = map_fpga(Counter(16), family)
    assert (found.flip_flops, found.brams, found.dsps) == (16, 0, 0)
    assert found.luts >= 1
    assert found.name == "Counter" and found.family == family


@pytest.mark.parametrize("family", fpga.FAMILIES)
def test_a_product_takes_a_multiplier_and_a_memory_a_block(family):
    assert map_fpga(Product(), family).dsps == 1
    found = map_fpga(Store(), family)
    assert found.brams == (0.5 if family == "xilinx" else 1)
    assert found.dsps == 0


def test_the_clock_covers_paths_from_port_to_port():
    slow, fast = (map_fpga(Late(deep), "ecp5") for deep in (8, 2))
    assert slow.flip_flops == fast.flip_flops == 0
    assert 20 < 2.5 * slow.fmax_mhz < fast.fmax_mhz < 700


def test_the_same_seed_is_the_same_placement():
    machine = hardware.load(rtl.default_machine("ShiftPE"))
    first, again = (map_fpga(rtl.build("ShiftPE", machine), "ecp5", seed=3) for _ in range(2))
    assert first == again
    other = map_fpga(rtl.build("ShiftPE", machine), "ecp5", seed=4)
    assert other.luts == first.luts and other.fmax_mhz != first.fmax_mhz


@pytest.mark.parametrize("family", fpga.FAMILIES)
def test_the_shift_array_takes_no_multiplier(family):
    machine = hardware.load("shift_16x16").replace(rows=2, cols=2)
    found = map_fpga(rtl.build("ShiftPEArray", machine), family)
    assert found.dsps == 0
    assert found.luts > 4 * 20 and found.flip_flops > 4 * 20


def test_what_does_not_fit_is_refused():
    with pytest.raises(ToolError, match=r"^nextpnr failed: "):
        map_fpga(Memories(), "ecp5", size="25k")


class Memories(wiring.Component):
    """57 block RAMs, of which the smallest device has 56."""

    address: In(10)
    data: In(18 * 57)
    found: Out(18 * 57)

    def elaborate(self, platform):
        m = Module()
        for k in range(57):
            m.submodules[f"store_{k}"] = store = Store()
            m.d.comb += [
                store.address.eq(self.address),
                store.data.eq(self.data[18 * k : 18 * k + 18]),
                store.write.eq(1),
                self.found[18 * k : 18 * k + 18].eq(store.found),
            ]
        return m


def test_a_missing_tool_is_named(monkeypatch):
    monkeypatch.setattr(fpga, "find_spec", lambda name: None)
    with pytest.raises(ToolError, match=r"^nextpnr is missing: install the extra 'tetrit\[fpga\]', which brings the "):
        map_fpga(AllOf(2), "ecp5")


def test_bad_values():
    with pytest.raises(InvalidValueError, match="unknown family 'stratix'; known: ecp5, xilinx"):
        map_fpga(AllOf(2), "stratix")
    with pytest.raises(InvalidValueError, match="unknown size '12k'"):
        map_fpga(AllOf(2), "ecp5", size="12k")
    with pytest.raises(InvalidValueError, match="`seed`"):
        map_fpga(AllOf(2), seed=-1)
    with pytest.raises(TypeError):
        map_fpga(Signal(2))
