"""Co-processors with one plausible mistake each; a bench that passes one of them proves nothing."""

__all__ = ["BROKEN_COPROCESSORS"]

from typing import Any

from amaranth import Module, Signal

from tetrit.rtl.coprocessor import MatmulCoprocessor


class WholeWords(MatmulCoprocessor):
    """Whole words are written, also at the ends of rows."""

    def elaborate(self, platform: object) -> Module:
        """Set all strobes."""
        m = super().elaborate(platform)
        m.d.comb += self.m_axi_wstrb.eq(~0)
        return m


class LastOfAll(MatmulCoprocessor):
    """Every word is marked as its burst's last."""

    def elaborate(self, platform: object) -> Module:
        """Set the mark."""
        m = super().elaborate(platform)
        m.d.comb += self.m_axi_wlast.eq(1)
        return m


class Impatient(MatmulCoprocessor):
    """An address that is not taken at once is withdrawn for a cycle."""

    def elaborate(self, platform: object) -> Module:
        """Let the offer pause after each cycle in which it was refused."""
        m = super().elaborate(platform)
        refused = Signal()
        m.d.sync += refused.eq(self.m_axi_arvalid & ~self.m_axi_arready)
        with m.If(refused):
            m.d.comb += self.m_axi_arvalid.eq(0)
        return m


class Mute(MatmulCoprocessor):
    """There is no interrupt."""

    def elaborate(self, platform: object) -> Module:
        """Hold the line low."""
        m = super().elaborate(platform)
        m.d.comb += self.irq.eq(0)
        return m


class Trusting(MatmulCoprocessor):
    """Responses to reads are not looked at."""

    def _connect_buses(self, m: Module, registers: Any, reader: Any, writer: Any) -> None:
        super()._connect_buses(m, registers, reader, writer)
        m.d.comb += reader.rresp.eq(0)


class Endless(MatmulCoprocessor):
    """Codes beyond the end of the reduction count."""

    def _connect_data(self, m: Module, stores: dict[str, Any], *parts: Any) -> None:
        super()._connect_data(m, stores, *parts)
        m.d.comb += [stores[name].tail.eq(~0) for name in ("acts", "weights")]


class Hoarding(MatmulCoprocessor):
    """Chunks of the job before count as fetched."""

    def _control(self, m: Module, flush: Signal, *parts: Any) -> None:
        super()._control(m, Signal(name="ignored"), *parts)


class Hesitant(MatmulCoprocessor):
    """Rows of results are taken in every other cycle at most."""

    def _connect_data(self, m: Module, stores: dict[str, Any], *parts: Any) -> None:
        super()._connect_data(m, stores, *parts)
        fifo = parts[3]
        turn = Signal(name="turn")
        m.d.sync += turn.eq(~turn)
        with m.If(turn):
            m.d.comb += [fifo.i.valid.eq(0), self._path.rows.ready.eq(0)]


BROKEN_COPROCESSORS: dict[str, type[MatmulCoprocessor]] = {
    "whole_words": WholeWords,
    "last_of_all": LastOfAll,
    "impatient": Impatient,
    "mute": Mute,
    "trusting": Trusting,
    "endless": Endless,
    "hoarding": Hoarding,
    "hesitant": Hesitant,
}
