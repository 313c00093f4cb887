"""Training of low-bit networks: data, a plain-numpy trainer around the golden estimators, export to integers."""

__all__ = ["digits", "export", "mlp", "network"]

from tetrit.train import digits, export, mlp, network
