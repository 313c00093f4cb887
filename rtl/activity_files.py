"""The authority for which reader an activity file needs: SAIF or VCD, told by its first letter."""

__all__ = ["read_activity"]

from pathlib import Path

from tetrit.rtl.activity import Activity
from tetrit.rtl.interchange import opened
from tetrit.rtl.netlist import Netlist
from tetrit.rtl.saif import read_saif
from tetrit.rtl.vcd import read_vcd


def read_activity(
    path: str | Path, netlist: Netlist, *, scope: str | None = None, period_ns: float | None = None
) -> Activity:
    """Read the activity of a netlist from a SAIF or VCD file; parameters and errors are those of `read_saif`."""
    first = ""
    with opened(path) as file:
        for line in file:
            first = line.strip()[:1]
            if first:
                break
    reader = read_vcd if first == "$" else read_saif
    return reader(path, netlist, scope=scope, period_ns=period_ns)
