"""How much each layer of a PyTorch network minds a format: sensitivities measured, estimated and guessed."""

__all__ = [
    "Perturbation",
    "TraceEstimate",
    "empirical_fisher",
    "hessian_traces",
    "perturbations",
    "rank_correlation",
    "scores",
    "synflow",
]

from tetrit.train.sensitivity.fisher import empirical_fisher
from tetrit.train.sensitivity.hessian import TraceEstimate, hessian_traces
from tetrit.train.sensitivity.perturbation import Perturbation, perturbations
from tetrit.train.sensitivity.proxies import synflow
from tetrit.train.sensitivity.scores import rank_correlation, scores
