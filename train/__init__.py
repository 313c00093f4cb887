"""Training of low-bit networks: quantisers, hooks and loops for PyTorch, and a plain-numpy trainer without it.

PyTorch is imported with the first name that needs it.
"""

__all__ = [
    "ElasticZO",
    "IntegerZerothOrder",
    "LowBitLayer",
    "NoiseAwareLayer",
    "Plan",
    "Quantizer",
    "Ramp",
    "Rule",
    "Schedule",
    "StochasticUnit",
    "ZerothOrder",
    "calibrate",
    "choose_formats",
    "crossbar_layers",
    "digits",
    "empirical_fisher",
    "export",
    "fold_batchnorm",
    "format_plan",
    "hessian_traces",
    "integers",
    "leave_one_out_baseline",
    "low_bit_layers",
    "mlp",
    "network",
    "new_chip",
    "noise_aware",
    "one_shot",
    "perturbations",
    "prepare",
    "psa_loss",
    "quantized_weights",
    "quantizer",
    "reinforce_loss",
    "set_crossbar",
    "set_noise",
]

from importlib import import_module
from typing import Any

from tetrit.errors import ToolError
from tetrit.train import digits, integers, mlp, network

_TORCH = {
    "ElasticZO": "zeroth",
    "IntegerZerothOrder": "zeroth",
    "LowBitLayer": "qat",
    "NoiseAwareLayer": "noise",
    "Plan": "qat",
    "Quantizer": "quantizers",
    "Ramp": "noise",
    "Rule": "qat",
    "Schedule": "schedule",
    "StochasticUnit": "units",
    "ZerothOrder": "zeroth",
    "calibrate": "noise",
    "choose_formats": "mixed",
    "crossbar_layers": "noise",
    "empirical_fisher": "sensitivity",
    "export": "exporting",
    "fold_batchnorm": "qat",
    "format_plan": "mixed",
    "hessian_traces": "sensitivity",
    "leave_one_out_baseline": "units",
    "low_bit_layers": "qat",
    "new_chip": "noise",
    "noise_aware": "noise",
    "one_shot": "searching",
    "perturbations": "sensitivity",
    "prepare": "qat",
    "psa_loss": "units",
    "quantized_weights": "qat",
    "quantizer": "quantizers",
    "reinforce_loss": "units",
    "set_crossbar": "noise",
    "set_noise": "noise",
}
"""Names that need PyTorch, and the module of this room that has each."""


def __getattr__(name: str) -> Any:
    if name not in _TORCH:
        raise AttributeError(f"module 'tetrit.train' has no attribute {name!r}")
    try:
        return getattr(import_module(f"tetrit.train.{_TORCH[name]}"), name)
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise ToolError("training in PyTorch needs torch: pip install 'tetrit[train]'") from None
