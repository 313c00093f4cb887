"""The registers of the co-processor as hardware: an AXI4-Lite slave built from the table."""

__all__ = ["OKAY", "SLVERR", "RegisterFile"]

from collections.abc import Mapping

from amaranth import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from tetrit.rtl.coprocessor.registers import ADDRESS_BITS, ERRORS, REGISTERS, Access, Field, Register, register

OKAY, SLVERR = 0b00, 0b10


def _shape(field: Field) -> object:
    return signed(field.width) if field.signed else field.width


def _settings() -> data.StructLayout:
    """Return a structure of what the host writes: all registers with such fields, each a structure of these."""
    found = {}
    for entry in REGISTERS:
        fields = {field.name: _shape(field) for field in entry.accessible(Access.WRITE)}
        if fields:
            found[entry.member] = data.StructLayout(fields)
    return data.StructLayout(found)


def counter_names() -> tuple[str, ...]:
    """Return the names of the counters of 64 bits, lower case."""
    return tuple(
        entry.member.removesuffix("_low")
        for entry in REGISTERS
        if entry.name.endswith("_LOW") and entry.accessible(Access.READ)
    )


class RegisterFile(wiring.Component):
    """AXI4-Lite slave of 32 bits that holds `REGISTERS`.

    One write and one read at a time. A write is taken when address and data are both there, and acts in the cycle
    after; its response, and the data of a read, are there in that cycle too. Answered with SLVERR, without effect:
    addresses that have no register, writes of registers that have nothing to write, and of locked ones while a job
    runs.

    Parameters
    ----------
    constants : mapping of str to mapping of str to int
        Register and field name to value, for every field that is fixed when the hardware is built.

    Members
    -------
    awaddr, awvalid, awready, wdata, wstrb, wvalid, wready, bresp, bvalid, bready
        Writes.
    araddr, arvalid, arready, rdata, rresp, rvalid, rready
        Reads.
    settings : Out(struct of structs)
        What the host has written, by register and field.
    start, abort : Out(1)
        For one cycle.
    busy : In(1)
        A job runs.
    ended : In(1), outcome : In(struct)
        A job ends in this cycle, with these bits of `STATUS`.
    counters : In(struct of 64 bits each)
        Values of the counters.
    irq : Out(1)
        The interrupt line; high as long as an enabled bit of `STATUS` is set.
    """

    def __init__(self, constants: Mapping[str, Mapping[str, int]]) -> None:
        self.constants = constants
        super().__init__(
            {
                "awaddr": In(ADDRESS_BITS),
                "awvalid": In(1),
                "awready": Out(1),
                "wdata": In(32),
                "wstrb": In(4),
                "wvalid": In(1),
                "wready": Out(1),
                "bresp": Out(2),
                "bvalid": Out(1),
                "bready": In(1),
                "araddr": In(ADDRESS_BITS),
                "arvalid": In(1),
                "arready": Out(1),
                "rdata": Out(32),
                "rresp": Out(2),
                "rvalid": Out(1),
                "rready": In(1),
                "settings": Out(_settings()),
                "start": Out(1),
                "abort": Out(1),
                "busy": In(1),
                "ended": In(1),
                "outcome": In(data.StructLayout({f.name: 1 for f in register("STATUS").accessible(Access.CLEAR)})),
                "counters": In(data.StructLayout(dict.fromkeys(counter_names(), 64))),
                "irq": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build both channels and the fields."""
        m = Module()
        status = Signal(self.outcome.shape())
        kept = Signal(32)  # the high half of the counter whose low half was read last
        self._write(m, status)
        self._read(m, status, kept)
        with m.If(self.ended):
            m.d.sync += status.eq(self.outcome)
        with m.If(self.start):
            m.d.sync += status.eq(0)
        control = self.settings.control
        errors = Cat(status[name] for name in ERRORS)
        m.d.comb += self.irq.eq((control.irq_done & status.done) | (control.irq_error & errors.any()))
        return m

    def _write(self, m: Module, status: data.View) -> None:
        """Build the write channel."""
        taken, found = Signal(), Signal()
        mask, locked = Signal(32), Signal()
        m.d.comb += [
            taken.eq(self.awvalid & self.wvalid & (~self.bvalid | self.bready)),
            self.awready.eq(taken),
            self.wready.eq(taken),
            mask.eq(Cat(bit.replicate(8) for bit in self.wstrb)),
            locked.eq(self.busy | self.start),
        ]
        with m.If(self.bready):
            m.d.sync += self.bvalid.eq(0)
        m.d.sync += [self.start.eq(0), self.abort.eq(0)]
        bits = self.wdata & mask
        with m.Switch(self.awaddr[2:]):
            for entry in REGISTERS:
                fields = entry.accessible(Access.WRITE, Access.PULSE, Access.CLEAR)
                if not fields:
                    continue
                with m.Case(entry.offset // 4):
                    m.d.comb += found.eq(~locked if entry.locked else 1)
                    with m.If(taken & found):
                        for field in fields:
                            place = slice(field.low, field.low + field.width)
                            if field.access is Access.WRITE:
                                held = Value.cast(self.settings[entry.member][field.name])
                                new = (self.wdata[place] & mask[place]) | (held & ~mask[place])
                                m.d.sync += held.eq(new)
                            elif field.access is Access.CLEAR:
                                with m.If(bits[place]):
                                    m.d.sync += status[field.name].eq(0)
                        if entry.name == "CONTROL":
                            begin, end = (bits[field.low] for field in entry.accessible(Access.PULSE))
                            m.d.sync += [self.start.eq(begin & ~locked), self.abort.eq(end & ~begin & locked)]
        with m.If(taken):
            m.d.sync += [self.bvalid.eq(1), self.bresp.eq(Mux(found, OKAY, SLVERR))]

    def _read(self, m: Module, status: data.View, kept: Signal) -> None:
        """Build the read channel."""
        taken = Signal()
        m.d.comb += [taken.eq(self.arvalid & (~self.rvalid | self.rready)), self.arready.eq(taken)]
        with m.If(self.rready):
            m.d.sync += self.rvalid.eq(0)
        with m.If(taken):
            m.d.sync += [self.rvalid.eq(1), self.rdata.eq(0), self.rresp.eq(SLVERR)]
            with m.Switch(self.araddr[2:]):
                for entry in REGISTERS:
                    with m.Case(entry.offset // 4):
                        m.d.sync += self.rresp.eq(OKAY)
                        for field in entry.fields:
                            place = self.rdata[field.low : field.low + field.width]
                            m.d.sync += place.eq(self._value(entry, field, status, kept))
                        if entry.accessible(Access.READ) and entry.name.endswith("_LOW"):
                            m.d.sync += kept.eq(self.counters[entry.member.removesuffix("_low")][32:])

    def _value(self, entry: Register, field: Field, status: data.View, kept: Signal) -> Value | int:
        """Return what a field reads as."""
        if field.access is Access.CONSTANT:
            return self.constants[entry.name][field.name]
        if field.access is Access.WRITE:
            return Value.cast(self.settings[entry.member][field.name])
        if field.access is Access.CLEAR:
            return Value.cast(status[field.name])
        if field.access is Access.PULSE:
            return 0
        if entry.name == "STATUS":
            return self.busy
        if entry.name.endswith("_HIGH"):
            return kept
        return Value.cast(self.counters[entry.member.removesuffix("_low")])[:32]
