"""The training loop behind `tetrit train`: configuration, steps, checkpoints, metrics; `run` alone imports torch."""

__all__ = ["Interrupted", "LoopConfig", "Settings", "load_config", "run"]

from tetrit.errors import Interrupted
from tetrit.train.loop.config import LoopConfig, load_config
from tetrit.train.loop.settings import Settings
from tetrit.train.loop.start import run
