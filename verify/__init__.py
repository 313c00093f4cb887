"""Proving that the RTL equals the golden models: cocotb benches on Verilator, for emitted Verilog and mapped netlists.

Names are imported on use, so that a bench inside the simulator loads nothing but itself.
"""

__all__ = [
    "BenchResult",
    "Proof",
    "build_simd_array",
    "components",
    "prove",
    "run",
    "run_program",
    "run_simd_program",
    "selected",
]

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tetrit.verify.campaign import components, run, selected
    from tetrit.verify.formal import Proof, prove
    from tetrit.verify.program import run_program
    from tetrit.verify.results import BenchResult
    from tetrit.verify.simd_program import build_simd_array, run_simd_program

_HOMES = {
    "BenchResult": "results",
    "Proof": "formal",
    "build_simd_array": "simd_program",
    "components": "campaign",
    "prove": "formal",
    "run": "campaign",
    "run_program": "program",
    "run_simd_program": "simd_program",
    "selected": "campaign",
}


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name not in _HOMES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
