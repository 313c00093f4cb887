"""What the shared datapath is measured against: one element per format, and one with a datapath for each lane width."""

__all__ = ["UnionMac", "single_format"]

from amaranth import Const, Module, Signal, Value
from amaranth.lib import data

from tetrit import checks, formats
from tetrit.hardware.simd_engine import SIMD_FORMATS, SimdEngine
from tetrit.rtl.simd.datapath import SimdDatapath
from tetrit.rtl.simd.mac import SimdMac
from tetrit.rtl.simd.modes import LANE_BITS, LaneFlags


def single_format(name: str, n_terms: int | None = None, *, gating: bool = True) -> SimdMac:
    """Return an element for one format, with as many products per cycle as the engine's in that format.

    Nothing in it is shared among formats; synthesis should flatten it, so that what the format does not need goes.

    Parameters
    ----------
    name : str
        Of `tetrit.hardware.simd_engine.SIMD_FORMATS`.
    n_terms : int, optional
        Products that each lane's quire must hold; by default the quire has the engine's 128 bits.
    gating : bool
        As of the engine.
    """
    checks.choice("name", name, SIMD_FORMATS)
    machine = SimdEngine(rows=1, cols=1, formats=(name,), gating=gating)
    if n_terms is not None:
        lanes = machine.mode(name, name).lanes
        width = formats.accumulator_bits(name, name, checks.integer("n_terms", n_terms))
        machine = machine.replace(quire_bits=-(-width * lanes // 8) * 8)
    return SimdMac(machine)


class UnionMac(SimdMac):
    """A `SimdMac` with a datapath of its own for one, two and four lanes; they share operand registers and quires.

    Parameters, members, latency and results are those of `SimdMac`. With gating, a datapath whose lanes are not in use
    sees zeros and is not clocked.
    """

    def products(self, m: Module, lanes: data.View, product_lanes: data.View) -> tuple[Value, Value, Value]:
        """Build the datapaths, and choose the one in use."""
        width = self.machine.quire_bits
        magnitude, negative, nar = Signal(width), Signal(4), Signal()
        for kind in self.kinds:
            fitting = tuple(name for name in self.machine.formats if formats.get(name).bits <= LANE_BITS[kind])
            m.submodules[f"datapath_{kind}"] = path = SimdDatapath(self.machine.replace(formats=fitting), [kind])
            used = getattr(lanes, kind)
            seen = used.replicate(self.machine.port_bits) if self.machine.gating else Const(-1, self.machine.port_bits)
            m.d.comb += [
                path.enable.eq(self.enable),
                path.step.eq(self.valid_out & used),
                path.mode.eq(self.mode),
                path.lanes.eq(LaneFlags().const({kind: 1})),
                path.product_lanes.eq(LaneFlags().const({kind: 1})),
                path.act.eq(self.act_out & seen),
                path.weight.eq(self.weight_out & seen),
            ]
            with m.If(getattr(product_lanes, kind)):
                m.d.comb += [magnitude.eq(path.magnitude), negative.eq(path.negative), nar.eq(path.nar)]
        return magnitude, negative, nar
