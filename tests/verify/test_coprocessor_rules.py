"""The watch over AXI: each breach is found, in words, and what is right is not."""

from types import SimpleNamespace

import pytest

from tetrit.verify.benches.coprocessor_rules import Rules

SIGNALS = {
    "m_axi_ar": ("addr", "len", "size", "burst"),
    "m_axi_aw": ("addr", "len", "size", "burst"),
    "m_axi_w": ("data", "strb", "last"),
    "m_axi_r": ("last",),
    "m_axi_b": (),
    "s_axil_b": ("resp",),
    "s_axil_r": ("data", "resp"),
}


class Port:
    """A signal of 64 bits."""

    def __init__(self):
        self.value = 0

    def __len__(self):
        return 64


class Bus:
    """Rules, and the signals that they watch."""

    def __init__(self):
        names = ["rst"]
        for channel, fields in SIGNALS.items():
            names += [f"{channel}{field}" for field in ("valid", "ready", *fields)]
        self.dut = SimpleNamespace(**{name: Port() for name in names})
        self.rules = Rules(self.dut, burst_beats=4)
        self.rules.spans = [(0, 0x10000)]

    def cycle(self, **values):
        for port in vars(self.dut).values():
            port.value = 0
        for name, value in values.items():
            getattr(self.dut, name).value = value
        self.rules.step()
        found, self.rules.complaints = self.rules.complaints, []
        return found


@pytest.fixture
def bus():
    return Bus()


def burst(letter, address=0x100, length=0, size=3, kind=1, ready=1):
    name = f"m_axi_a{letter}"
    return {
        f"{name}valid": 1,
        f"{name}ready": ready,
        f"{name}addr": address,
        f"{name}len": length,
        f"{name}size": size,
        f"{name}burst": kind,
    }


def word(data=5, last=0, ready=1):
    return {"m_axi_wvalid": 1, "m_axi_wready": ready, "m_axi_wdata": data, "m_axi_wstrb": 255, "m_axi_wlast": last}


def test_a_read_and_a_write_that_keep_the_rules(bus):
    assert bus.cycle(**burst("r", length=1, ready=0)) == []
    assert bus.cycle(**burst("r", length=1)) == []
    assert not bus.rules.quiet
    assert bus.cycle(m_axi_rvalid=1, m_axi_rready=1) == []
    assert bus.cycle(m_axi_rvalid=1, m_axi_rready=1, m_axi_rlast=1) == []
    assert bus.rules.quiet
    assert bus.cycle(**burst("w", length=1), **word()) == []
    assert bus.cycle(**word(last=1, ready=0)) == []
    assert bus.cycle(**word(last=1)) == []
    assert not bus.rules.quiet
    assert bus.cycle(m_axi_bvalid=1, m_axi_bready=1) == []
    assert bus.rules.quiet


def test_data_may_come_before_their_address(bus):
    assert bus.cycle(**word()) == []
    assert bus.cycle(**burst("w", length=1)) == []
    assert bus.cycle(**word(last=1)) == []


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"kind": 0}, "at 0x100 is no incrementing burst of whole beats"),
        ({"size": 2}, "at 0x100 is no incrementing burst of whole beats"),
        ({"address": 0x104}, "at 0x104 is not aligned"),
        ({"length": 4}, "at 0x100 has 5 beats"),
        ({"address": 0xFF0, "length": 2}, "at 0xff0 crosses 4 KiB"),
    ],
)
@pytest.mark.parametrize("letter", ["r", "w"])
def test_bursts(bus, letter, fields, text):
    assert bus.cycle(**burst(letter, **fields)) == [f"m_axi_a{letter} {text}"]


def test_a_burst_may_end_at_4_kib(bus):
    assert bus.cycle(**burst("r", address=0xFE0, length=3)) == []


def test_only_the_jobs_own_bytes_are_read(bus):
    bus.rules.spans = [(0x100, 0x108)]
    assert bus.cycle(**burst("r", length=0)) == []
    assert bus.cycle(**burst("r", length=1)) == ["m_axi_ar reads 0x100 to 0x110, which is not the job's"]


@pytest.mark.parametrize(
    ("first", "second", "text"),
    [
        (burst("r", ready=0), {}, "m_axi_ar drops valid before ready"),
        (burst("r", ready=0), burst("r", address=0x108), "m_axi_ar changes its payload before ready"),
        (word(ready=0), word(data=6, ready=0), "m_axi_w changes its payload before ready"),
        ({"s_axil_rvalid": 1}, {}, "s_axil_r drops valid before ready"),
        ({"s_axil_bvalid": 1}, {"s_axil_bvalid": 1, "s_axil_bresp": 2}, "s_axil_b changes its payload before ready"),
    ],
)
def test_an_offer_stands(bus, first, second, text):
    bus.cycle(**first)
    assert text in bus.cycle(**second)


def test_a_reset_ends_an_offer(bus):
    bus.cycle(**burst("r", ready=0))
    assert bus.cycle(rst=1) == []
    assert bus.cycle() == []


def test_the_last_beat(bus):
    bus.cycle(**burst("w", length=1))
    assert bus.cycle(**word(last=1)) == ["wlast is not at the burst's end"]
    assert bus.cycle(**word()) == ["wlast is missing at the burst's end"]


def test_the_last_beat_before_its_address(bus):
    assert bus.cycle(**word(last=1)) == []
    assert not bus.rules.quiet
    assert bus.cycle(**burst("w", length=1)) == ["wlast is not at the burst's end"]
