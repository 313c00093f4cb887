"""At which scale an array is best rounded to a format."""

__all__ = ["GREATEST_EXPONENT", "LEAST_EXPONENT", "best_scales"]

from tetrit.estimators.scales.search import GREATEST_EXPONENT, LEAST_EXPONENT, best_scales
