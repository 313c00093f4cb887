"""Slices: in every cycle the outputs of the design as emitted, for designs that fit; all others stay as they are."""

from functools import partial

import numpy as np
import pytest
from amaranth import Array, Module, Mux, Signal
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from tetrit.rtl import to_verilog
from tetrit.verify import tools
from tetrit.verify.batch import BatchModel, build_library, sliced
from tetrit.verify.batch.slicing import in_lanes
from tetrit.verify.batch.stitching import StitchedModel
from tetrit.verify.building import ports


class Element(wiring.Component):
    """Passes a word on and adds it up, in registers with and without a reset, one of which starts at 5."""

    fault = False

    def __init__(self, registered=True):
        self.registered = registered
        super().__init__({"enable": In(1), "clear": In(1), "i": In(6), "o": Out(6), "total": Out(11), "one": Out(1)})

    def elaborate(self, platform):
        m = Module()
        total = Signal(11, init=5)
        m.d.comb += self.one.eq(1)
        with m.If(self.enable):
            m.d.sync += [self.o.eq(self.i), total.eq(Mux(self.clear, 0, total + self.i * self.o + self.fault))]
        m.d.comb += self.total.eq(total) if self.registered else self.total.eq(total ^ self.i)
        return m


class Buffered(Element):
    """The same, through a memory."""

    def elaborate(self, platform):
        m = super().elaborate(platform)
        m.submodules.memory = store = memory.Memory(shape=6, depth=4, init=[])
        port, reading = store.write_port(), store.read_port()
        m.d.comb += [port.addr.eq(self.i), port.data.eq(self.i), port.en.eq(self.enable), reading.en.eq(1)]
        m.d.sync += self.o.eq(reading.data)
        return m


class Collector(wiring.Component):
    """A register for one of four totals, chosen outside: logic that only feeds this element."""

    def __init__(self):
        super().__init__({"i": In(11), "o": Out(11)})

    def elaborate(self, platform):
        m = Module()
        m.d.sync += self.o.eq(self.i)
        return m


class Chain(wiring.Component):
    """A chain of `length` elements, and a collector for every four of them."""

    def __init__(self, length, element=Element):
        self.length, self.element = length, element
        super().__init__(
            {
                "enable": In(1),
                "clear": In(1),
                "i": In(6),
                "which": In(2),
                "o": Out(6),
                "collected": Out(length // 4 * 11),
                "ones": Out(length),
            }
        )

    def elaborate(self, platform):
        m = Module()
        elements = []
        for number in range(self.length):
            m.submodules[f"element_{number}"] = element = self.element()
            before = elements[-1].o if elements else self.i
            m.d.comb += [element.enable.eq(self.enable), element.clear.eq(self.clear), element.i.eq(before)]
            m.d.comb += self.ones[number].eq(element.one)
            elements.append(element)
        m.d.comb += self.o.eq(elements[-1].o)
        for number in range(self.length // 4):
            m.submodules[f"collector_{number}"] = collector = Collector()
            four = Array(element.total for element in elements[4 * number : 4 * number + 4])
            m.d.comb += [
                collector.i.eq(four[self.which]),
                self.collected.word_select(number, 11).eq(collector.o),
            ]
        return m


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return tmp_path_factory.mktemp("slices")


@pytest.fixture(scope="module")
def run(directory):
    """Return outputs in every cycle of inputs that rest now and then, so that slices settle and wake."""
    rng = np.random.default_rng(0)
    cycles = 600
    resting = (np.arange(cycles) // 50) % 3 == 2
    inputs = {
        "enable": rng.random(cycles) < 0.9,
        "clear": (rng.random(cycles) < 0.02) & ~resting,
        "i": np.where(resting, 0, rng.integers(0, 64, cycles)),
        "which": np.where(resting, 1, rng.integers(0, 4, cycles)),
    }
    rows = {name: np.asarray(values, dtype=np.uint8) for name, values in inputs.items()}

    def outputs(verilog):
        return BatchModel(build_library(verilog, "dut", toolchain=tools.find(), directory=directory)).run(rows)

    return outputs


@pytest.mark.parametrize("length", [32, 70])
def test_slices_do_what_the_design_does_in_every_cycle(run, directory, length):
    verilog = to_verilog(Chain(length), "dut")
    made = sliced(verilog, "dut", directory=directory)
    assert made.count("_slice_0 (") == 2  # elements, and collectors with the choice before them
    assert ("Element_slice_1 (" in made) == (length > 64)
    assert "module Element(" not in made
    plain, fast = run(verilog), run(made)
    assert plain.keys() == fast.keys() == {"o", "collected", "ones"}
    for name, values in plain.items():
        np.testing.assert_array_equal(fast[name], values)
    assert len(np.unique(plain["o"])) > 60


def test_a_fault_of_the_design_stays_in_its_slice(run, directory, monkeypatch):
    whole = run(to_verilog(Chain(32), "dut"))
    monkeypatch.setattr(Element, "fault", True)
    broken = to_verilog(Chain(32), "dut")
    plain, fast = run(broken), run(sliced(broken, "dut", directory=directory))
    assert (fast["collected"] != whole["collected"]).any()
    np.testing.assert_array_equal(fast["collected"], plain["collected"])


@pytest.mark.parametrize(
    ("length", "element"),
    [(31, Element), (32, Buffered), (32, lambda: Element(registered=False))],
    ids=["too few", "memory", "output that is no register"],
)
def test_what_does_not_fit_is_left_as_it_is(directory, length, element):
    made = sliced(to_verilog(Chain(length, element), "dut"), "dut", directory=directory)
    assert "Element_slice" not in made
    assert "Buffered_slice" not in made


def test_the_text_is_the_same_each_time(directory, tmp_path):
    verilog = to_verilog(Chain(32), "dut")
    assert sliced(verilog, "dut", directory=directory) == sliced(verilog, "dut", directory=tmp_path)


class Delayed(wiring.Component):
    """Forgets after 15 rows, or, if `ever` is set, never; a wide output and a combinational one."""

    def __init__(self):
        super().__init__({"i": In(9), "ever": In(1), "o": Out(64), "same": Out(1), "sum": Out(13), "age": Out(4)})

    def elaborate(self, platform):
        m = Module()
        before = Signal(9, reset_less=True)
        m.d.sync += [before.eq(self.i), self.o.eq((self.i << 55) | before), self.age.eq(self.age + (self.age != 15))]
        m.d.sync += self.sum.eq(Mux(self.ever, self.sum, 0) + self.i)
        m.d.comb += self.same.eq(before == self.i)
        return m


@pytest.fixture(scope="module")
def stitched(directory):
    verilog = to_verilog(Delayed(), "dut")
    build = partial(build_library, top="dut", toolchain=tools.find(), directory=directory)
    lanes = in_lanes(verilog, "dut", directory=directory)
    return StitchedModel(build(lanes), ports(verilog, "dut"), lambda: build(verilog))


@pytest.mark.parametrize(
    ("ever", "rows", "fitted"),
    [(lambda n: np.zeros(n), 9_999, True), (lambda n: np.ones(n), 70_000, False), (lambda n: np.zeros(n), 100, False)],
    ids=["parts fit", "sums over all rows", "too few rows"],
)
def test_parts_of_a_sequence_give_what_the_whole_gives(stitched, ever, rows, fitted):
    rng = np.random.default_rng(rows)
    inputs = {"i": rng.integers(0, 512, rows), "ever": ever(rows).astype(np.uint8)}
    outputs = ["o", "same", "sum"]
    found = stitched.run(inputs, outputs=outputs)
    assert stitched.fitted == fitted
    expected = BatchModel(stitched.whole()).run(inputs, outputs=outputs)
    for name in outputs:
        assert found[name].dtype == expected[name].dtype
        np.testing.assert_array_equal(found[name][1:], expected[name][1:])
    model = np.cumsum(inputs["i"]) if ever(1)[0] else inputs["i"]
    np.testing.assert_array_equal(found["sum"][1:], model[:-1] % (1 << 13))
