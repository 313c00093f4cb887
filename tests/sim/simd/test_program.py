"""Programs of the SIMD engine: codes are those of exact fractions, columns of one shift run together, and what the
machine cannot do is refused in one line."""

import dataclasses
import re
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tetrit import formats, hardware, hls, sim
from tetrit.errors import InvalidValueError
from tetrit.hardware import SIMD_FORMATS
from tetrit.sim.execute import execute
from tetrit.sim.simd import cycles
from tetrit.sim.simd.execute import products
from tetrit.sim.simd.reference import code_of, value_of

MACHINE = hardware.SimdEngine(rows=2, cols=3)


def codes(rng, name, shape):
    """Random codes without NaR."""
    fmt = formats.get(name)
    usable = np.flatnonzero(~np.isnan(fmt.values))
    return rng.choice(usable, size=shape).astype(fmt.code_dtype)


def layer(
    rng, n_in, n_out, *, name="fc", act="posit8_0", weight="posit8_0", out="posit8_0", relu=False, scales=(-2, 3)
):
    return sim.QuantizedLinear(
        name=name,
        weight=codes(rng, weight, (n_in, n_out)),
        weight_format=weight,
        weight_scale=2.0 ** rng.integers(*scales, size=n_out),
        bias=rng.normal(size=n_out),
        in_format=act,
        in_scale=0.5,
        out_format=out,
        out_scale=0.25,
        relu=relu,
    )


def exact(given_layer, x):
    """Codes out for codes in, in exact arithmetic, with the bias rounded to the unit of the products."""
    unit = Fraction(2) ** (
        formats.get(given_layer.in_format).lsb_exponent + formats.get(given_layer.weight_format).lsb_exponent
    )
    out = np.empty((len(x), given_layer.weight.shape[1]), dtype=np.int64)
    for row, column in np.ndindex(out.shape):
        scale = Fraction(given_layer.in_scale) * Fraction(given_layer.weight_scale[column])
        terms = zip(x[row].tolist(), given_layer.weight[:, column].tolist(), strict=True)
        total = sum(
            (value_of(a, given_layer.in_format) * value_of(w, given_layer.weight_format) for a, w in terms), Fraction(0)
        )
        total += round(Fraction(given_layer.bias[column]) / (scale * unit)) * unit
        total = max(total, Fraction(0)) if given_layer.relu else total
        out[row, column] = code_of(total * scale / Fraction(given_layer.out_scale), given_layer.out_format)
    return out


@given(data=st.data())
def test_every_code_is_the_exact_one(data):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    act, weight, out, last = (data.draw(st.sampled_from(SIMD_FORMATS)) for _ in range(4))
    k, n, m = (data.draw(st.integers(1, 6)) for _ in range(3))
    one = layer(rng, k, n, name="one", act=act, weight=weight, out=out, relu=True)
    two = dataclasses.replace(layer(rng, n, 3, name="two", act=out, weight=weight, out=last), in_scale=one.out_scale)
    program = hls.compile_network([one, two], MACHINE, batch=m)
    x = codes(rng, act, (m, k))
    runs = execute(program, x)
    wanted = exact(one, x)
    assert runs[0].output.tolist() == wanted.tolist()
    assert runs[1].output.tolist() == exact(two, wanted).tolist()


def test_columns_that_share_a_shift_are_one_product_and_all_products_add_up():
    rng = np.random.default_rng(0)
    one = dataclasses.replace(layer(rng, 10, 7), weight_scale=np.array([1, 0.5, 1, 0.25, 0.5, 1, 1]))
    [run] = execute(hls.compile_network([one], MACHINE, batch=5), codes(rng, "posit8_0", (5, 10)))
    assert [(part.shift, part.columns.tolist(), part.switched) for part, _ in run.products] == [
        (-1, [3], True),
        (0, [1, 4], False),
        (1, [0, 2, 5, 6], False),
    ]
    counts = [cycles.count(sim.Workload(m=5, k=10, n=n), MACHINE, "posit8_0", "posit8_0") for n in (1, 2, 4)]
    assert [done.cycles for _, done in run.products] == [counts[0] + MACHINE.mode_switch_cycles, *counts[1:]]
    assert run.run.cycles == sum(counts) + MACHINE.mode_switch_cycles == run.run.events["cycles"]
    assert run.run.events["mac"] == 5 * 10 * 7
    assert run.run.events["mode_switch"] == 1
    assert run.run.utilization == 350 / (run.run.cycles * 6 * 2)


def test_the_array_is_set_to_other_formats_only_where_they_change():
    rng = np.random.default_rng(1)
    pairs = [("fp4_e2m1", "fp4_e2m1"), ("posit8_0", "fp4_e2m1"), ("posit8_0", "fp4_e2m1"), ("posit8_0", "posit8_0")]
    outs = [act for act, _ in pairs[1:]] + ["posit16_1"]
    made = [
        dataclasses.replace(
            layer(rng, 4, 4, name=f"fc{i}", act=act, weight=weight, out=out, scales=(0, 1)), in_scale=1.0, out_scale=1.0
        )
        for i, ((act, weight), out) in enumerate(zip(pairs, outs, strict=True))
    ]
    program = hls.compile_network(made, MACHINE, batch=1)
    assert [[part.switched for part in parts] for parts in products(program.layers)] == [
        [False],
        [True],
        [False],
        [True],
    ]


def test_real_values_go_in_and_come_out():
    rng = np.random.default_rng(2)
    program = hls.compile_network([layer(rng, 3, 2)], MACHINE, batch=1)
    assert program.encode([[0.25, -0.5, 1.0]]).tolist() == formats.get("posit8_0").encode([[0.5, -1.0, 2.0]]).tolist()
    assert program.decode(formats.get("posit8_0").encode([4.0])).tolist() == [1.0]


def test_large_biases_keep_every_bit():
    """In units of 2^-56 and beyond int64."""
    one = layer(np.random.default_rng(3), 2, 2, act="posit16_1", weight="posit16_1", out="posit16_1")
    one = dataclasses.replace(one, bias=np.array([4096.0 + 2.0**-30, -1.0]), weight_scale=np.ones(2))
    [compiled] = hls.compile_network([one], MACHINE, batch=1).layers
    assert compiled.bias.tolist() == [2 * (4096 * 2**56 + 2**26), -2 * 2**56]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"weight_scale": np.array([1.0, 0.3])},
            "`weight_scale` must be a power of two on a SimdEngine, got 0.3 at output 1",
        ),
        ({"in_scale": 3.0}, "`in_scale` must be a power of two on a SimdEngine, got 3"),
        ({"out_scale": 0.1}, "`out_scale` must be a power of two on a SimdEngine, got 0.1"),
        ({"in_format": "int8"}, "`in_format` is int8, the machine takes fp4_e2m1, posit4_1, posit8_0"),
        ({"out_format": "posit16_1"}, "`out_format` is posit16_1, the machine takes fp4_e2m1, posit4_1, posit8_0"),
        ({"weight": np.array([[128, 0]], np.uint8)}, "`weight` has NaR among its codes"),
        ({"out_scale": 2.0**70}, "output 0 needs a shift of -71 from its scales, the machine has -64 to 63"),
        ({"bias": np.array([0.0, 2.0**120])}, "`bias` must be within -2**127 to 2**127 - 1, the quire's range"),
        (
            {"weight": np.zeros((2**17, 2), np.uint8)},
            "sums of 131072 products put 65536 into a quire of 40 bits (2 a word)",
        ),
    ],
)
def test_what_the_machine_lacks_is_said_in_one_line_with_the_layers_name(changes, message):
    machine = MACHINE.replace(formats=("fp4_e2m1", "posit4_1", "posit8_0"), quire_bits=80 if "sums" in message else 128)
    good = layer(np.random.default_rng(4), 1, 2, scales=(0, 1))
    assert hls.compile_network([good], machine, batch=1).layers[0].name == "fc"
    with pytest.raises(InvalidValueError, match=f"^layer 'fc': {re.escape(message)}") as caught:
        hls.compile_network([dataclasses.replace(good, **changes)], machine, batch=1)
    assert "\n" not in str(caught.value)


def test_layers_that_do_not_fit_each_other_or_their_input_are_refused():
    rng = np.random.default_rng(5)
    one, two = layer(rng, 3, 2, name="one"), layer(rng, 2, 2, name="two")
    with pytest.raises(InvalidValueError, match=r"^layer 'two' takes posit8_0 in units of 0.5, layer 'one' gives"):
        hls.compile_network([one, two], MACHINE, batch=1)
    program = hls.compile_network([one], MACHINE, batch=1)
    with pytest.raises(InvalidValueError, match=r"^layer 'one': `x` must have shape \(batch, 3\), got \(1, 2\)$"):
        execute(program, np.zeros((1, 2), np.uint8))
    with pytest.raises(TypeError, match=r"^`machine` must be a ShiftArray, a Crossbar or a SimdEngine, got 3$"):
        hls.compile_network([one], 3, batch=1)
