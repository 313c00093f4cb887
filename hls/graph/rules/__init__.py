"""Shape rules, one per operator; importing the package registers all of them."""

__all__ = ["RULES", "Fact"]

from tetrit.hls.graph.rules import elementwise, layout, products  # noqa: F401  (they register their rules)
from tetrit.hls.graph.rules.common import RULES, Fact
