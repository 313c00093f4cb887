"""A trained network of mixed formats as a chain of jobs: each layer's results are the next one's activations."""

__all__ = ["PLAN", "Chain", "LayerCodes", "chain", "digits_layers"]

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from tetrit import formats
from tetrit.formats.real import RealFormat
from tetrit.hardware import SimdEngine
from tetrit.sim.coprocessor import Coprocessor, MatmulJob, load
from tetrit.train import digits, mlp

PLAN = (("posit8_0", "posit8_0"), ("posit8_0", "fp4_e2m1"), ("posit16_1", "posit16_1"))
"""Formats of activations and weights of each layer of the digit network."""

_SCALES = range(-3, 9)
"""Powers of two that weights may be scaled up by before they are rounded."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerCodes:
    """A layer as the co-processor computes it.

    Attributes
    ----------
    act_format, weight_format, out_format : str
        Formats of inputs, weights, outputs.
    weight : ndarray of int, shape (n_in, n_out)
        Codes.
    bias : list of int
        In units of the quire.
    shift : int
        What undoes the scale of the weights.
    relu : bool
        Whether the layer ends in a ReLU.
    """

    act_format: str
    weight_format: str
    out_format: str
    weight: npt.NDArray[Any]
    bias: list[int]
    shift: int
    relu: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class Chain:
    """Jobs that run one after the other in one memory.

    Attributes
    ----------
    jobs : tuple of MatmulJob
        In order.
    memory : ndarray of uint8
        Before the first one.
    """

    jobs: tuple[MatmulJob, ...]
    memory: npt.NDArray[np.uint8]

    def decode(self, codes: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Return what codes of the last job's results stand for."""
        values: npt.NDArray[np.float64] = _real(self.jobs[-1].out_format).decode(codes)
        return values


@lru_cache(maxsize=2)
def digits_layers(seed: int = 0, plan: tuple[tuple[str, str], ...] = PLAN) -> tuple[LayerCodes, ...]:
    """Return the network of ``examples/digits``, trained in float and rounded to the formats of `plan`."""
    config = mlp.Config(hidden=(128, 64), epochs=30)
    network = mlp.train_float(digits.load(), seed=seed, config=config).network
    outs = [act for act, _ in plan[1:]] + [plan[-1][0]]
    layers = []
    for layer, (act_name, weight_name), out_name in zip(network.layers, plan, outs, strict=True):
        act, weight = (_real(name) for name in (act_name, weight_name))
        errors = {
            scale: float(
                np.square(np.ldexp(weight.quantize(np.ldexp(layer.latent, scale)), -scale) - layer.latent).sum()
            )
            for scale in _SCALES
        }
        scale = min(errors, key=errors.__getitem__)
        unit = act.lsb_exponent + weight.lsb_exponent
        layers.append(
            LayerCodes(
                act_format=act_name,
                weight_format=weight_name,
                out_format=out_name,
                weight=weight.encode(np.ldexp(layer.latent, scale)),
                bias=[round(float(value) * 2.0 ** (scale - unit)) for value in layer.bias],
                shift=-scale,
                relu=layer.relu,
            )
        )
    return tuple(layers)


def chain(layers: Sequence[LayerCodes], x: npt.NDArray[np.float64], unit: Coprocessor, *, base: int = 0) -> Chain:
    """Return the jobs that send real inputs of shape (batch, n_in) through layers, and the memory for them.

    Buffers lie one after the other; the results of each job are left as the next one reads them.
    """
    assert isinstance(unit.machine, SimdEngine)
    first = layers[0]
    jobs: list[MatmulJob] = []
    at = base
    for index, layer in enumerate(layers):
        k, n = layer.weight.shape
        result_bits = None
        if index + 1 < len(layers):
            after = layers[index + 1]
            result_bits = unit.containers(after.act_format, after.weight_format).act_bits
        job = MatmulJob(
            m=len(x),
            k=k,
            n=n,
            act_format=layer.act_format,
            weight_format=layer.weight_format,
            out_format=layer.out_format,
            relu=layer.relu,
            shift=layer.shift,
            result_bits=result_bits,
        ).placed(unit, base=at)
        if jobs:
            job = job.replace(a_base=jobs[-1].c_base, a_stride=jobs[-1].c_stride)
        job.check(unit)
        jobs.append(job)
        at = -(-max(end for _, end in job.spans(unit).values()) // unit.data_bytes) * unit.data_bytes
    memory = np.zeros(at, dtype=np.uint8)
    codes = _real(first.act_format).encode(x)
    for job, layer in zip(jobs, layers, strict=True):
        given = codes if job is jobs[0] else np.zeros((job.m, job.k), dtype=np.int64)
        load(memory, job, unit, a=given, w=layer.weight, bias=np.array(layer.bias, dtype=object))
    for job, other in pairwise(jobs):
        assert (other.a_base, other.m, other.k) == (job.c_base, job.m, job.n)
    return Chain(jobs=tuple(jobs), memory=memory)


def _real(name: str) -> RealFormat:
    found = formats.get(name)
    assert isinstance(found, RealFormat)
    return found
