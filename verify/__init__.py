"""Proving that the RTL equals the golden models: cocotb benches on Verilator, for emitted Verilog and mapped netlists.

Names are imported on use, so that a bench inside the simulator loads nothing but itself.
"""

__all__ = ["BenchResult", "components", "run", "run_program"]

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tetrit.verify.campaign import components, run
    from tetrit.verify.program import run_program
    from tetrit.verify.results import BenchResult

_HOMES = {"BenchResult": "results", "components": "campaign", "run": "campaign", "run_program": "program"}


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name not in _HOMES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
