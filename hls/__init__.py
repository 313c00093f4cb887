"""From networks to programs: compilation onto machines."""

__all__ = ["compile_network"]

from tetrit.hls.compile import compile_network
