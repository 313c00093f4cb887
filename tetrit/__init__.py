"""tetrit: low-bit neural networks from training to verified, costed hardware.

The subpackages are imported on use: `from tetrit import formats, sim`. Importing `tetrit` itself loads nothing else.
"""

from importlib.metadata import version as _version

__version__: str = _version("tetrit")
__all__ = ["__version__"]
