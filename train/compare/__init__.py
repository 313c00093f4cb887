"""Comparisons of weight estimators: tasks x estimators x seeds at equal budget; `run` alone imports torch."""

__all__ = ["NOTES", "CompareConfig", "Entry", "load_config", "markdown", "run", "tables", "to_csv", "to_json"]

from tetrit.train.compare.comparing import run
from tetrit.train.compare.config import CompareConfig, Entry, load_config
from tetrit.train.compare.results import to_json
from tetrit.train.compare.tables import NOTES, markdown, tables, to_csv
