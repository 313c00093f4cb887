"""The ports of the co-processor, named as AXI names them."""

__all__ = ["BUS", "LITE", "bus_ports", "lite_ports"]

from typing import Any

from amaranth.lib.wiring import In, Out

from tetrit.rtl.coprocessor.geometry import Geometry
from tetrit.rtl.coprocessor.registers import ADDRESS_BITS

LITE = "s_axil_"
"""What the names of the register bus begin with."""

BUS = "m_axi_"
"""What the names of the memory bus begin with."""


def lite_ports() -> dict[str, Any]:
    """Return the ports of an AXI4-Lite slave of 32 bits."""
    ports = {
        "awaddr": In(ADDRESS_BITS),
        "awprot": In(3),
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
        "arprot": In(3),
        "arvalid": In(1),
        "arready": Out(1),
        "rdata": Out(32),
        "rresp": Out(2),
        "rvalid": Out(1),
        "rready": In(1),
    }
    return {LITE + name: port for name, port in ports.items()}


def bus_ports(geometry: Geometry) -> dict[str, Any]:
    """Return the ports of an AXI4 master with one identifier."""
    address = {
        "id": Out(1),
        "addr": Out(geometry.address_bits),
        "len": Out(8),
        "size": Out(3),
        "burst": Out(2),
        "lock": Out(1),
        "cache": Out(4),
        "prot": Out(3),
        "valid": Out(1),
        "ready": In(1),
    }
    ports = {f"aw{name}": port for name, port in address.items()}
    ports |= {
        "wdata": Out(geometry.data_bits),
        "wstrb": Out(geometry.bus_bytes),
        "wlast": Out(1),
        "wvalid": Out(1),
        "wready": In(1),
        "bid": In(1),
        "bresp": In(2),
        "bvalid": In(1),
        "bready": Out(1),
    }
    ports |= {f"ar{name}": port for name, port in address.items()}
    ports |= {
        "rid": In(1),
        "rdata": In(geometry.data_bits),
        "rresp": In(2),
        "rlast": In(1),
        "rvalid": In(1),
        "rready": Out(1),
    }
    return {BUS + name: port for name, port in ports.items()}
