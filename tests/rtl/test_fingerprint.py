"""Fingerprints of fragments: equal for equal hardware only, and without effect on what is emitted."""

import pytest
from amaranth.hdl import Array, Module, Mux, ResetInserter, Signal
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from tetrit.rtl import hierarchy, to_verilog


class Leaf(wiring.Component):
    def __init__(self, kind="plain", number=0):
        self.kind, self.number = kind, number
        super().__init__({"a": In(4), "b": In(4), "y": Out(4)})

    def elaborate(self, platform):
        m = Module()
        a, b = self.a, self.b
        state = Signal(
            4, init=self.number if self.kind == "init" else 3, name=f"s{self.number * (self.kind == 'name')}"
        )
        m.d.sync += state.eq(a ^ b)
        if self.kind == "operator":
            m.d.comb += self.y.eq(state + a if self.number else state - a)
        elif self.kind == "constant":
            m.d.comb += self.y.eq(state + self.number)
        elif self.kind == "slice":
            m.d.comb += self.y.eq(state[self.number :])
        elif self.kind == "order":
            m.d.comb += self.y.eq(Mux(a[0], state, b) if self.number else Mux(a[0], b, state))
        elif self.kind == "switch":
            with m.Switch(a), m.Case(self.number):
                m.d.comb += self.y.eq(b)
        elif self.kind == "choice":
            m.d.comb += self.y.eq(Array([a, b, state, a & b][self.number :])[a[0]])
        elif self.kind == "layout":
            view = Signal(data.StructLayout({f"f{self.number}": 4}), name="view")
            m.d.comb += [view.eq(a), self.y.eq(view.as_value())]
        elif self.kind == "memory":
            m.submodules.memory = store = memory.Memory(shape=4, depth=4, init=[self.number])
            m.d.comb += self.y.eq(store.read_port(domain="comb").data)
        elif self.kind == "inner":
            m.submodules.inner = inner = Leaf("constant", self.number)
            m.d.comb += [inner.a.eq(a), inner.b.eq(b), self.y.eq(inner.y)]
        else:
            m.d.comb += self.y.eq(state)
        return m


class Pair(wiring.Component):
    def __init__(self, kind, numbers, reset=False):
        self.kind, self.numbers, self.reset = kind, numbers, reset
        super().__init__({"a": In(4), "b": In(4), "clear": In(1), "y": Out(8)})

    def elaborate(self, platform):
        m = Module()
        for index, number in enumerate(self.numbers):
            leaf = Leaf(self.kind, number)
            m.submodules[f"leaf_{index}"] = ResetInserter(self.clear)(leaf) if self.reset and index else leaf
            m.d.comb += [leaf.a.eq(self.a), leaf.b.eq(self.b), self.y[4 * index : 4 * index + 4].eq(leaf.y)]
        return m


KINDS = [
    "name", "init", "operator", "constant", "slice", "order", "switch", "choice", "layout", "memory", "inner"
]  # fmt: skip


def texts(component, monkeypatch):
    shared = to_verilog(component(), "top")
    with monkeypatch.context() as patch:
        patch.setattr(hierarchy, "fingerprint", lambda fragment, ports: None)
        apart = to_verilog(component(), "top")
    return shared, apart


@pytest.mark.parametrize("numbers", [(1, 1), (0, 1)], ids=["equal", "unequal"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_text_is_that_without_fingerprints(kind, numbers, monkeypatch):
    shared, apart = texts(lambda: Pair(kind, numbers), monkeypatch)
    assert shared == apart


def test_what_is_added_around_a_component_counts(monkeypatch):
    shared, apart = texts(lambda: Pair("plain", (0, 0), reset=True), monkeypatch)
    assert shared == apart
    assert shared.count("module Leaf") == 2


def test_equal_components_are_emitted_once(monkeypatch):
    calls = []
    emit = hierarchy._Lowering._emit
    monkeypatch.setattr(hierarchy._Lowering, "_emit", lambda *args, **more: calls.append(1) or emit(*args, **more))
    for kind, numbers, count in (
        ("plain", (0, 0), 2),
        ("constant", (0, 1), 3),
        ("inner", (1, 1), 3),
        ("memory", (0, 0), 3),
    ):
        calls.clear()
        to_verilog(Pair(kind, numbers), "top")
        assert len(calls) == count
