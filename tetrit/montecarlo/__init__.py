"""Monte-Carlo analysis of a trained network on analog crossbars: chips x corners x times."""

__all__ = ["MonteCarloConfig", "load_config", "markdown", "run", "to_csv", "to_json"]

from tetrit.montecarlo.config import MonteCarloConfig, load_config
from tetrit.montecarlo.results import to_json
from tetrit.montecarlo.running import run
from tetrit.montecarlo.tables import markdown, to_csv
