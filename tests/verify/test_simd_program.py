"""A program of the SIMD engine on the Verilated array: all codes, all cycles, other formats; a broken one fails."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from tetrit import formats, hardware, hls, sim, verify
from tetrit.errors import InvalidValueError
from tetrit.verify import simd_program
from tetrit.verify.suites.simd_array import product_case

SIZES = (9, 5, 4, 3)
PAIRS = (("posit8_0", "fp4_e2m1"), ("fp4_e2m1", "fp4_e2m1"), ("posit16_1", "posit16_1"))


@pytest.fixture(scope="module")
def program():
    rng = np.random.default_rng(0)
    memory = hardware.Memory(latency_cycles=2)
    machine = hardware.SimdEngine(rows=1, cols=2, act_memory=memory, weight_memory=memory)
    layers = []
    for index, ((n_in, n_out), (act, weight)) in enumerate(zip(pairwise(SIZES), PAIRS, strict=True)):
        fmt = formats.get(weight)
        codes = rng.integers(0, 2**fmt.bits, size=(n_in, n_out)).astype(fmt.code_dtype)
        codes[np.isnan(fmt.values[codes])] = 0
        layers.append(
            sim.QuantizedLinear(
                name=f"fc{index}",
                weight=codes,
                weight_format=weight,
                weight_scale=2.0 ** rng.integers(-2, 0, size=n_out),
                bias=rng.normal(size=n_out),
                in_format=act,
                in_scale=1.0,
                out_format=PAIRS[index + 1][0] if index < 2 else "posit8_0",
                out_scale=1.0,
                relu=index < 2,
            )
        )
    return hls.compile_network(layers, machine, batch=6)


@pytest.fixture(scope="module")
def images(program):
    return program.encode(np.random.default_rng(1).normal(size=(6, SIZES[0])))


@pytest.fixture(scope="module")
def model(build_dir, program):
    return verify.build_simd_array(program.machine, build_dir=build_dir)


def test_every_code_and_every_cycle(build_dir, program, images, model):
    results = verify.run_simd_program(program, images, build_dir=build_dir, model=model)
    assert [result.name for result in results] == ["fc0 on SimdArray", "fc1 on SimdArray", "fc2 on SimdArray"]
    assert all(result.passed and result.mismatches == 0 and result.message == "" for result in results)
    assert [result.cycles_rtl for result in results] == [run.run.cycles for run in sim.execute.execute(program, images)]
    assert all(result.cycles_rtl == result.cycles_model for result in results)


def test_an_array_that_computes_something_else_fails_in_that_layer_only(build_dir, program, images, model, monkeypatch):
    """What it is fed differs in one bias from what the results are expected of."""

    def other(machine, a, b, bias, **options):
        right = product_case(machine, a, b, bias, **options)
        wrong = product_case(machine, a, b, bias - (1 << 3), **options)
        return replace(right, feeds=wrong.feeds) if options["pair"] == PAIRS[1] else right

    monkeypatch.setattr(simd_program, "product_case", other)
    results = verify.run_simd_program(program, images, build_dir=build_dir, model=model)
    assert [result.passed for result in results] == [True, False, True]
    assert "results word" in results[1].message
    assert "case" not in results[1].message


def test_a_bias_beyond_the_bench_is_refused(build_dir, program, images):
    layer = program.layers[0]
    bias = np.array([2**63, *layer.bias[1:].tolist()], dtype=object)
    wide = replace(program, layers=(replace(layer, bias=bias), *program.layers[1:]))
    with pytest.raises(InvalidValueError, match=r"^layer 'fc0': a bias needs more than the 64 bits of the bench$"):
        verify.run_simd_program(wide, images, build_dir=build_dir)
