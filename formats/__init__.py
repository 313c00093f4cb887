"""Number formats: codes, their exact values, rounding and packing.

`get` returns a format by name; `Format` says what all formats can do.

Examples
--------
>>> from tetrit import formats
>>> szt = formats.get("szt")
>>> codes = szt.encode([0.9, -0.1, -1.3])
>>> codes.tolist(), szt.decode(codes).tolist()
([1, 2, 3], [1.0, -0.0, -1.0])
>>> formats.pack(codes, szt.bits).hex()
'39'
"""

from tetrit.formats.base import Format
from tetrit.formats.block import BlockFormat
from tetrit.formats.codebooks import Codebook, codebook, codebook_name
from tetrit.formats.fairy import Fairy
from tetrit.formats.integers import Integer
from tetrit.formats.minifloat import Minifloat
from tetrit.formats.packing import pack, unpack
from tetrit.formats.posit import Posit
from tetrit.formats.powers import Power
from tetrit.formats.real import RealFormat
from tetrit.formats.registry import block_format, block_names, get, names
from tetrit.formats.ternary import SignedZeroTernary
from tetrit.formats.widths import accumulator_bits

__all__ = [
    "BlockFormat",
    "Codebook",
    "Fairy",
    "Format",
    "Integer",
    "Minifloat",
    "Posit",
    "Power",
    "RealFormat",
    "SignedZeroTernary",
    "accumulator_bits",
    "block_format",
    "block_names",
    "codebook",
    "codebook_name",
    "get",
    "names",
    "pack",
    "unpack",
]
