"""How the weight decoder is verified: every code of every weight format, against the values of the formats."""

__all__ = ["jobs"]

from functools import partial

import numpy as np

from tetrit import formats
from tetrit.hardware import WEIGHT_FORMATS
from tetrit.rtl.weights import DecodedWeight
from tetrit.verify.suites.designs import Designs
from tetrit.verify.suites.job import Job, lockstep_stimulus

_GATE_FORMATS = ("szt", "int2_symmetric", "pot4z", "posit4_1")


def jobs(designs: Designs, seed: int, cases: int | None) -> list[Job]:
    """One job per weight format; codes that stand for no number are left out, since the simulator refuses them."""
    made = []
    for name in WEIGHT_FORMATS:
        weights = formats.get(name)
        assert isinstance(weights, formats.RealFormat)
        codes = np.flatnonzero(~np.isnan(weights.values))
        integers = weights.integers[codes]
        _, exponents = np.frexp(np.abs(integers))
        fields = {
            "negate": (integers < 0).astype(np.int64),
            "nonzero": (integers != 0).astype(np.int64),
            "shift": np.maximum(exponents - 1, 0).astype(np.int64),
        }
        layout = DecodedWeight(weights)
        packed = sum(fields[field] << layout[field].offset for field in layout.members)
        made.append(
            Job(
                name=f"WeightDecoder {name}",
                component="WeightDecoder",
                design=partial(designs.weight_decoder, weights),
                bench="lockstep",
                stimulus=lockstep_stimulus(
                    {"code": codes}, {"weight": packed}, {"code": weights.bits, "weight": layout.size}
                ),
                gates=name in _GATE_FORMATS,
            )
        )
    return made
