"""Block quantisers: codes, scales and gradients against the slow reference and the formats, corners, errors."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tetrit import formats
from tetrit.errors import InvalidValueError, UnknownNameError
from tetrit.estimators import Quantized
from tetrit.estimators._kernels import CHUNK
from tetrit.estimators.blocks import DFP, BlockQuantizer, reference

FLOATS = [np.float16, np.float32, np.float64]
KINDS = {
    "mxfp4": {"element": "e2m1", "bits": 4},
    "nvfp4": {"element": "e2m1", "bits": 4, "kind": "e4m3"},
    "bfp12": {"element": "int", "bits": 4},
}
every = pytest.mark.parametrize("name", [*KINDS, "dfp16"])


def latents(dtype):
    bound = float(np.finfo(dtype).max) if np.finfo(dtype).bits < 64 else 1e300
    tame = st.sampled_from([0.0, -0.0, 0.5, -0.5, 1.0, -1.0, 0.25, 6.0, -3.0, 7.5])
    shapes = hnp.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=8)
    wild = st.floats(-bound, bound, width=np.finfo(dtype).bits)
    return hnp.arrays(dtype, shapes, elements=st.one_of(tame, st.floats(-8, 8, width=16), wild))


def assert_equals_reference(q, codes, scales, format):
    np.testing.assert_array_equal(q.codes, codes)
    np.testing.assert_array_equal(q.scale.reshape(-1), [float(s) for s in scales])
    assert q.scale.dtype == np.float64
    assert q.format == format


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("dtype", FLOATS)
@given(data=st.data())
def test_forward_equals_the_reference(data, dtype, name):
    w = data.draw(latents(dtype))
    block = data.draw(st.integers(1, 5))
    e = BlockQuantizer(format=name, block=block, tensor_scale=False)
    codes, _, scales = reference.block_forward(w, block=block, **KINDS[name])
    q = e(w)
    assert_equals_reference(q, codes, scales, "int4_symmetric" if name == "bfp12" else "fp4_e2m1")
    assert q.block == block
    assert e.forward(w).tobytes() == q.values.tobytes()


@pytest.mark.parametrize("dtype", FLOATS)
@given(data=st.data())
def test_the_tensor_scale_is_that_of_the_format(data, dtype):
    w = data.draw(latents(dtype))
    e = BlockQuantizer(format="nvfp4", block=3)
    unit = formats.get("nvfp4").tensor_scale(w)
    codes, _, scales = reference.block_forward(w, block=3, unit=unit, **KINDS["nvfp4"])
    assert_equals_reference(e(w), codes, scales, "fp4_e2m1")


@pytest.mark.parametrize("bits", [2, 4, 8, 9, 16])
@given(data=st.data())
def test_dfp_equals_the_reference(data, bits):
    w = data.draw(latents(np.float32))
    codes, _, scales = reference.block_forward(w, element="int", bits=bits, block=None)
    q = DFP(bits=bits)(w)
    assert_equals_reference(q, codes, scales, f"int{bits}_symmetric")
    assert q.scale.shape == ()
    assert q.block is None
    assert DFP(bits=bits).forward(w).tobytes() == q.values.tobytes()


@pytest.mark.parametrize("n", [CHUNK - 1, CHUNK + 1, 3 * CHUNK + 5])
def test_dfp_is_the_rule_of_the_paper(n):
    w = np.random.default_rng(n).normal(size=n)
    q = DFP()(w)
    exponent = np.floor(np.log2(np.abs(w).max())) - 14
    assert float(q.scale) == 2.0**exponent
    np.testing.assert_array_equal(q.codes.view(np.int16), np.clip(np.rint(w / 2.0**exponent), -32767, 32767))
    other = BlockQuantizer(format="dfp16")(w)
    assert other.codes.tobytes() == q.codes.tobytes()
    assert other.scale == q.scale


@every
@pytest.mark.parametrize("shape", [(), (0, 3), (3, 0), (7,), (4, 50), (2, 3, 70)])
def test_values_are_the_formats_in_every_dtype_and_layout(name, shape):
    e = BlockQuantizer(format=name, tensor_scale=False)
    w = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    wanted = np.asarray(formats.get(name).quantize(w))
    q = e(w)
    assert q.values.tobytes() == wanted.tobytes()
    for dtype in FLOATS:
        for out in (np.empty(shape, dtype), np.empty(shape[::-1], dtype).T, np.empty((*shape, 2), dtype)[..., 0]):
            for write in (q.dequantize, lambda out: e.forward(w, out=out)):
                out[...] = 7
                assert write(out) is out
                np.testing.assert_array_equal(out, wanted.astype(dtype))
    same = w.copy()
    assert e.forward(same, out=same) is same
    np.testing.assert_array_equal(same, wanted.astype(np.float32))


@every
def test_without_clip_the_gradient_passes(name):
    w, g = np.random.default_rng(2).normal(size=(2, 5, 33))
    np.testing.assert_array_equal(BlockQuantizer(format=name).backward(w, g), g)
    np.testing.assert_array_equal(BlockQuantizer(format=name).backward(w * np.nan, g), g)
    np.testing.assert_array_equal(DFP().backward(w, g), g)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", KINDS)
@given(data=st.data())
def test_with_clip_it_ends_where_elements_saturate(data, dtype, name):
    w = data.draw(latents(dtype))
    block = data.draw(st.integers(1, 5))
    g = data.draw(hnp.arrays(dtype, w.shape, elements=st.floats(-1000, 1000, width=16)))
    _, _, scales = reference.block_forward(w, block=block, **KINDS[name])
    top = 6 if name != "bfp12" else 7
    limits = np.array([float(s * top) for s in scales])
    if w.ndim:
        per_row = -(-w.shape[-1] // block)
        limits = limits.reshape(*w.shape[:-1], per_row)
        limits = np.repeat(limits, block, axis=-1)[..., : w.shape[-1]]
    wanted = np.where(np.abs(w.astype(np.float64)) <= limits.reshape(w.shape), g, 0).astype(dtype)
    e = BlockQuantizer(format=name, block=block, tensor_scale=False, clip=True)
    got = e.backward(w, g)
    assert got.dtype == dtype
    np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("block", [1, 3, CHUNK - 1, CHUNK + 1, None])
def test_clip_in_rows_longer_than_a_chunk(block):
    w = np.random.default_rng(3).normal(size=(2, 2 * CHUNK + 3)).astype(np.float32)
    w[:, ::100] *= 40
    for name in ("mxfp4", "dfp16"):
        e = BlockQuantizer(format=name, block=block, clip=True)
        q = e(w)
        real = q.scale if q.block is None else np.repeat(q.scale, q.block, axis=1)[:, : w.shape[1]]
        wanted = np.abs(w) <= formats.get(q.format).max_value * real
        got = e.backward(w, np.ones(w.shape))
        np.testing.assert_array_equal(got, wanted)
        assert name == "dfp16" or 0 < (got == 0).mean() < 0.5


def test_quantized_with_blocks():
    codes = np.random.default_rng(4).integers(0, 16, (3, 5, 37)).astype(np.uint8)
    scale = np.random.default_rng(5).random((3, 5, 5)) + 0.5
    wanted = formats.get("fp4_e2m1").decode(codes) * np.repeat(scale, 8, axis=-1)[..., :37]
    q = Quantized(codes=codes, scale=scale, format="fp4_e2m1", block=8)
    np.testing.assert_array_equal(q.values, wanted)
    for view in (np.asfortranarray(codes), np.flip(np.flip(codes).copy())):
        np.testing.assert_array_equal(Quantized(codes=view, scale=scale, format="fp4_e2m1", block=8).values, wanted)
    out = np.empty(codes.shape, np.float32)
    assert q.dequantize(out) is out
    np.testing.assert_array_equal(out, wanted.astype(np.float32))
    single = Quantized(codes=codes[0, 0, 0], scale=np.array(2.0), format="fp4_e2m1", block=8)
    assert single.values.shape == ()
    with pytest.raises(
        InvalidValueError, match=r"^`out` must have shape \(3, 5, 37\) and dtype float32, got \(3,\) and"
    ):
        q.dequantize(np.empty(3, np.float32))


def test_several_channel_axes_decode_as_by_broadcasting():
    rng = np.random.default_rng(6)
    for shape, scale in (((3, 4, 20), (3, 4, 1)), ((2, 3, 4, 20), (1, 3, 4, 1)), ((3, 4, 5, 20), (3, 1, 5, 1))):
        codes, s = rng.integers(0, 16, shape).astype(np.uint8), rng.random(scale) + 0.5
        wanted = formats.get("int4").decode(codes) * s
        np.testing.assert_array_equal(Quantized(codes=codes, scale=s, format="int4").values, wanted)


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: BlockQuantizer(format="int4"), UnknownNameError, None),
        (lambda: BlockQuantizer(format="mxfp6"), UnknownNameError, "unknown format 'mxfp6'; did you mean 'mxfp4'?"),
        (lambda: BlockQuantizer(block=0), InvalidValueError, "`block` must be a positive integer, got 0"),
        (lambda: BlockQuantizer(block=2.0), TypeError, "`block` must be an integer, got 2.0"),
        (lambda: BlockQuantizer(clip=1), TypeError, "`clip` must be True or False, got 1"),
        (lambda: BlockQuantizer(tensor_scale=None), TypeError, "`tensor_scale` must be True or False, got None"),
        (lambda: DFP(bits=17), InvalidValueError, "`bits` must be an integer from 2 to 16, got 17"),
    ],
)
def test_bad_parameters(make, error, text):
    pattern = "^unknown format 'int4'; known: bfp12, dfp16, mxfp4, nvfp4$" if text is None else f"^{re.escape(text)}$"
    with pytest.raises(error, match=pattern):
        make()
