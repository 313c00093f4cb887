"""Off-chip memory by its kind: the authority for energy and bandwidth of DRAM that a machine is connected to."""

__all__ = ["OffChip", "kinds"]

from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from tetrit import checks
from tetrit.hardware import Memory
from tetrit.sim.cost.figure import Figure


@dataclass(frozen=True, kw_only=True)
class OffChip:
    """One channel, module or stack of DRAM.

    Attributes
    ----------
    kind : str
        One of `kinds`.
    energy : Figure
        Of a bit, read or written (the same: our assumption), in pJ/bit.
    bandwidth : Figure
        Peak, in GB/s (1e9 bytes).
    latency : Figure
        In ns.

    Examples
    --------
    >>> from tetrit.sim.cost.offchip import OffChip
    >>> OffChip.of("hbm2").energy.value
    3.92
    >>> OffChip.of("lpddr4").memory(clock_mhz=100.0).width_bits
    1024
    """

    kind: str
    energy: Figure
    bandwidth: Figure
    latency: Figure

    @classmethod
    def of(cls, kind: str) -> "OffChip":
        """Return a kind of DRAM by its name.

        Raises
        ------
        UnknownNameError
            No such kind; the message suggests the nearest.
        """
        row = _table()[checks.choice("off-chip memory", kind, kinds())]
        latency = _table()["latency"]
        return cls(
            kind=kind,
            energy=Figure(
                value=row["pj_per_bit"],
                unit="pJ/bit",
                origin=row["origin"],
                source=row["source"],
                low=row["low"],
                high=row["high"],
            ),
            bandwidth=Figure(
                value=row["rate_mt_s"] * row["width_bits"] / 8e3,
                unit="GB/s",
                origin="published",
                source=f"{row['rate_mt_s']} MT/s x {row['width_bits']} bits, the standard's rate",
            ),
            latency=Figure(value=latency["ns"], unit="ns", origin="assumed", source=latency["source"]),
        )

    def memory(self, clock_mhz: float) -> Memory:
        """Return it as a machine at a clock sees it: bits a cycle, cycles of latency, energy.

        Peak bandwidth, and so the least time (our assumption); parts of a bit in a cycle are dropped.
        """
        clock_mhz = checks.real("clock_mhz", clock_mhz, minimum=0.0, exclusive=True)
        return Memory(
            size_bytes=1 << 36,
            width_bits=max(1, int(self.bandwidth.value * 8e3 / clock_mhz)),
            latency_cycles=-int(-self.latency.value * clock_mhz * 1e-3 // 1),
            read_pj_per_bit=self.energy.value,
            write_pj_per_bit=self.energy.value,
            energy_source=f"{self.kind}: {self.energy.source}",
        )


def kinds() -> tuple[str, ...]:
    """Return the kinds of off-chip memory that have figures."""
    return tuple(sorted(name for name in _table() if name != "latency"))


@cache
def _table() -> dict[str, Any]:
    text = (resources.files("tetrit.sim.cost") / "offchip.toml").read_text(encoding="utf-8")
    return checks.parse_toml("offchip.toml", text)
