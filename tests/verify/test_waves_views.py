"""View files: GTKWave's beside what pyvcd writes, and the groups that are found in a hierarchy."""

import io

import pytest
from vcd.gtkw import GTKWSave

from tetrit.verify.waves.vcd import Signal
from tetrit.verify.waves.views import Group, gtkwave, layout, surfer


def signal(path: str, bits: int = 1, *, named: bool = False) -> Signal:
    scope, _, name = path.rpartition(".")
    return Signal(scope=scope, name=name, bits=bits, range=f"[{bits - 1}:0]" if bits > 1 else "", named=named)


GROUPS = [
    Group(name="bench", signals=(signal("bench.cycle", 40), signal("bench.mismatch")), open=True),
    Group(name="part, one of 2", signals=(signal("Top.part_0.word", 16), signal("Top.part_0.on")), open=False),
]


@pytest.mark.parametrize(("marker", "start"), [(None, 50), (812, 612), (100, 50)])
def test_save_files_are_those_of_pyvcd(marker: int | None, start: int) -> None:
    out = io.StringIO()
    save = GTKWSave(out)
    save.dumpfile("a.fst", abspath=False)
    save.size(1500, 950)
    save.timestart(start)
    save.zoom_markers(-5.643856, -1 if marker is None else marker)
    save.signals_width(300)
    save.sst_expanded(True)
    save.treeopen("Top")
    formats = iter(["dec", "bin", "hex", "bin"])
    for group in GROUPS:
        with save.group(group.name, closed=not group.open):
            for each in group.signals:
                save.trace(f"{each.path}{each.range}", datafmt=next(formats))
    assert gtkwave(GROUPS, "a.fst", (50, 2000), marker) == out.getvalue()


def test_values_with_names_are_shown_by_them() -> None:
    groups = [Group(name="control", signals=(signal("Top.state", 2, named=True),), open=True)]
    assert "@100000028\nTop.state[1:0]\n" in gtkwave(groups, "a.fst", (0, 9), None)


def test_surfer_gets_what_is_open() -> None:
    assert surfer(GROUPS, None) == (
        "divider_add bench\nvariable_add bench.cycle\nvariable_add bench.mismatch\nzoom_fit\n"
    )
    assert surfer(GROUPS, 812).endswith("zoom_fit\ncursor_set 812\n")


def test_groups_of_a_hierarchy() -> None:
    names = [
        "bench.cycle", "U.clk", "U.rst", "U.in__valid", "U.in__ready", "U.m_axi_awaddr", "U.m_axi_awid",
        "U.s_axil_rdata", "U.busy", "U.reader_step", "U.$signal", "U.word.data", "U.reader.step", "U.pe_0_0.result",
        "U.pe_0_1.result", "U.pe_0_10.result", "U.pe_0_2.result", "U.reader.bank_1.full",
    ]  # fmt: skip
    signals = [signal(name) for name in names]
    fields = Signal(scope="U", name="word.data", bits=1, range="")
    signals[names.index("U.word.data")] = fields
    ports = ["in__valid", "in__ready", "m_axi_awaddr", "m_axi_awid", "s_axil_rdata"]
    found = [(group.name, [each.path for each in group.signals], group.open) for group in layout(signals, "U", ports)]
    assert found == [
        ("bench", ["bench.cycle"], True),
        ("clock and reset", ["U.clk", "U.rst"], True),
        ("stream in", ["U.in__valid", "U.in__ready"], True),
        ("m_axi AW", ["U.m_axi_awaddr"], True),
        ("s_axil R", ["U.s_axil_rdata"], False),
        ("control", ["U.busy"], True),
        ("pe_0_0, one of 4", ["U.pe_0_0.result"], True),
        ("accumulators of pe", [f"U.pe_0_{n}.result" for n in (0, 1, 2, 10)], False),
        ("reader.bank_1", ["U.reader.bank_1.full"], False),
        ("reader", ["U.reader.step"], False),
    ]
