"""The authority for the Verilog text of a component: deterministic Verilog-2005, one module per distinct component."""

__all__ = ["to_verilog"]

import re

from amaranth.lib import wiring

from tetrit.rtl import yosys
from tetrit.rtl.hierarchy import lower


def to_verilog(component: wiring.Component, name: str) -> str:
    """Return the Verilog-2005 text of an Amaranth component.

    The text depends on the component and `name` alone: no source paths, dates, tool versions or hash order. Each
    distinct component becomes one module, named after its class and instantiated wherever it occurs; its ports are
    those of its signature, in that order (nested members joined by ``__``), then ``clk`` and ``rst`` where it has
    registers. Registers carry their initial values.

    Parameters
    ----------
    component : amaranth.lib.wiring.Component
        The design.
    name : str
        Name of the top module, a Verilog identifier.

    Returns
    -------
    str
        The modules, children before parents; the top module is the last.

    Raises
    ------
    TypeError
        If `component` is no Amaranth component.
    InvalidValueError
        If `name` is no identifier, or the component has no ports.
    ToolError
        If Yosys is missing or fails.

    Examples
    --------
    >>> from amaranth.hdl import Module
    >>> from amaranth.lib.wiring import Component, In, Out
    >>> class Inverter(Component):
    ...     a: In(1)
    ...     y: Out(1)
    ...
    ...     def elaborate(self, platform):
    ...         m = Module()
    ...         m.d.comb += self.y.eq(~self.a)
    ...         return m
    >>> print(to_verilog(Inverter(), "inverter"), end="")
    module inverter(a, y);
      input a;
      wire a;
      output y;
      wire y;
      assign y = ~ a;
    endmodule
    """
    design = lower(component, name)
    files = {module: f"{number}.v" for number, module in enumerate(design.modules)}
    script = "read_rtlil in.il\nproc\nopt_clean\nopt_merge\nopt_clean\nopt_dff -simple-dffe\nopt_clean -purge\n"
    script += "".join(f"select {module}\nwrite_verilog -noattr -selected {file}\n" for module, file in files.items())
    texts = yosys.run(script, {"in.il": design.rtlil}, tuple(files.values()))
    return "\n".join(_without_banner(texts[file]) for file in files.values())


def _without_banner(text: str) -> str:
    """Drop the generator's comment, which names its version."""
    return re.sub(r"\A/\*.*?\*/\s*", "", text, flags=re.DOTALL)
