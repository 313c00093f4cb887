"""The simulator: values of `quire_matmul` within its own quire, events that add up, words as they cross the ports."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tetrit import estimators, formats
from tetrit.hardware import Memory
from tetrit.hardware.simd_engine import SIMD_FORMATS, SimdEngine
from tetrit.sim import Workload
from tetrit.sim.simd import SimdSimulator, cycles, quire_matmul, reference
from tetrit.sim.simd.operands import Operand
from tetrit.sim.simd.streams import streams

PAIRS = [(one, other) for one in SIMD_FORMATS for other in SIMD_FORMATS]


def codes(rng, name, shape):
    values = formats.get(name).values
    return rng.choice(np.flatnonzero(~np.isnan(values)), shape)


@pytest.mark.parametrize(("act_format", "weight_format"), PAIRS)
def test_values_cycles_and_events(act_format, weight_format):
    rng = np.random.default_rng(3)
    machine = SimdEngine(rows=4, cols=3, act_memory=Memory(width_bits=24), result_memory=Memory(width_bits=16))
    x, weight = codes(rng, act_format, (6, 11)), codes(rng, weight_format, (11, 7))
    bias = rng.integers(-1000, 1000, 7)
    engine = SimdSimulator(machine).load(weight, weight_format=weight_format)
    run = engine.matmul(x, act_format=act_format, out_format="posit16_1", bias=bias, relu=True, shift=-1)
    expected = quire_matmul(x, weight, act_format, weight_format, "posit16_1", bias=bias, relu=True, shift=-1)
    np.testing.assert_array_equal(run.output, expected)
    assert run.cycles == cycles.count(Workload(m=6, k=11, n=7), machine, act_format, weight_format)
    lanes = machine.mode(act_format, weight_format).lanes
    n_steps = -(-11 // lanes)
    e = run.events
    values = formats.get(act_format).values[x], formats.get(weight_format).values[weight]
    zero = sum(values[0][i, k] * values[1][k, j] == 0 for i in range(6) for k in range(11) for j in range(7))
    assert (e["cycles"], e["mac"], e["mac_zero"]) == (run.cycles, 6 * 11 * 7, zero)
    assert e["element_step"] == 6 * 7 * n_steps
    assert e["element_step"] + e["element_gated"] == run.cycles * 12
    assert (e["decode"], e["quire_add"]) == (2 * e["element_step"], lanes * e["element_step"])
    assert e["multiplier_cell"] + e["multiplier_cell_gated"] == 169 * e["element_step"]
    cells = 0 if act_format == weight_format == "posit4_1" else {1: 13**2, 2: 2 * 6**2, 4: 4 * 2**2}[lanes]
    assert e["multiplier_cell"] == cells * e["element_step"]
    assert e["readout"] == 6 * 7
    assert e["act_read_word"] == 6 * n_steps * 3  # 6 tiles, 64 bits in words of 24
    assert e["weight_read_word"] == 6 * n_steps
    assert e["result_write_word"] == 6 * 3 * 3
    assert e["mode_switch"] == 0
    assert run.utilization == 6 * 11 * 7 / (run.cycles * 12 * lanes)


def test_without_gating_idle_elements_are_clocked_and_nothing_is_held():
    machine = SimdEngine(rows=4, cols=4, gating=False)
    run = (
        SimdSimulator(machine)
        .load([[1]], weight_format="posit4_1")
        .matmul([[1]], act_format="posit4_1", out_format="fp4_e2m1")
    )
    assert "element_gated" not in run.events
    assert run.events["element_idle"] == 16 * run.cycles - 1
    assert (run.events["multiplier_cell"], run.events["multiplier_cell_gated"]) == (16, 0)


def test_significand_widths_are_those_of_the_formats():
    from tetrit.sim.simd.engine import MULTIPLIER_BITS

    widths = {name: int(np.abs(formats.get(name).significand).max()).bit_length() for name in SIMD_FORMATS}
    assert widths == {"fp4_e2m1": 2, "posit4_1": 1, "posit8_0": 6, "posit16_1": 13}
    assert MULTIPLIER_BITS == {1: 13, 2: 6, 4: 2}


def test_a_switch_of_formats_costs_its_cycles():
    engine = SimdSimulator(SimdEngine(rows=2, cols=2, mode_switch_cycles=5)).load([[1]], weight_format="posit8_0")
    before = engine.matmul([[1]], act_format="posit8_0", out_format="posit8_0")
    after = engine.matmul([[1]], act_format="posit8_0", out_format="posit8_0", switched=True)
    assert (after.cycles, after.events["mode_switch"]) == (before.cycles + 5, 1)


def test_energy_is_that_of_elements_read_outs_and_memories_that_have_a_price():
    machine = SimdEngine(
        rows=2,
        cols=2,
        weight_memory=Memory(read_pj_per_bit=0.5),
        result_memory=Memory(width_bits=16, write_pj_per_bit=0.25),
    )
    run = (
        SimdSimulator(machine)
        .load([[1]] * 6, weight_format="posit8_0")
        .matmul([[1] * 6], act_format="posit8_0", out_format="posit8_0")
    )
    assert list(run.breakdown) == ["elements", "read-outs", "skew and control", "weight memory", "result memory"]
    assert run.breakdown["weight memory"] == 3 * 32 * 0.5
    assert run.breakdown["result memory"] == 2 * 16 * 0.25
    assert run.energy_pj == sum(run.breakdown.values())


def test_quantized_tensors_bring_their_formats():
    rng = np.random.default_rng(0)
    weight = estimators.Quantized(codes=codes(rng, "posit8_0", (3, 2)), scale=np.ones(()), format="posit8_0")
    x = estimators.Quantized(codes=codes(rng, "fp4_e2m1", (4, 3)), scale=np.ones(()), format="fp4_e2m1")
    run = SimdSimulator(SimdEngine(rows=2, cols=2)).load(weight).matmul(x, out_format="posit8_0")
    assert run.output.tolist() == quire_matmul(x.codes, weight.codes, "fp4_e2m1", "posit8_0", "posit8_0").tolist()
    with pytest.raises(ValueError, match=r"^`weight` is posit8_0, `weight_format` says fp4_e2m1$"):
        SimdSimulator(SimdEngine(rows=2, cols=2)).load(weight, weight_format="fp4_e2m1")


@pytest.mark.parametrize(("quire_bits", "most"), [(120, 127), (200, 2**87 - 1)])
def test_another_quire_holds_more_or_fewer_terms_and_another_bias(quire_bits, most):
    machine = SimdEngine(rows=1, cols=1, quire_bits=quire_bits)
    k = 128
    weight = np.full((k, 1), 0x7FFF)
    engine = SimdSimulator(machine).load(weight, weight_format="posit16_1")
    ends = {"act_format": "posit16_1", "out_format": "posit16_1"}
    if k > most:
        with pytest.raises(
            ValueError,
            match=r"^sums of 128 products put 128 into a quire of 120 bits \(1 a word\), "
            r"which holds any 127 of posit16_1 x posit16_1$",
        ):
            engine.matmul(weight.T, **ends)
    else:
        bias = np.array([2**180 - k * 2**112], dtype=object)
        run = engine.matmul(weight.T, bias=bias, shift=-64, **ends)
        assert run.output.tolist() == [[reference.code_of(reference.value_of(0x7FFF, "posit16_1"), "posit16_1")]]
        assert engine.matmul(weight.T, bias=-bias - 2 * k * 2**112, shift=-64, **ends).output.tolist() == [[0x8001]]
    with pytest.raises(
        ValueError, match=rf"^`bias` must be within -2\*\*{quire_bits - 1} to 2\*\*{quire_bits - 1} - 1"
    ):
        engine.load([[1]], weight_format="posit16_1").matmul(
            [[1]], bias=np.array([2 ** (quire_bits - 1)], dtype=object), **ends
        )


@given(
    st.sampled_from(PAIRS),
    st.tuples(st.integers(1, 4), st.integers(1, 4)),
    st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 9)),
    st.integers(0, 2**32),
)
def test_words_unpacked_as_an_element_would_give_the_results(pair, size, shape, seed):
    """Every element multiplies what crosses its row and column, lane by lane; the sums are the results."""
    rng = np.random.default_rng(seed)
    (m, k, n), machine = shape, SimdEngine(rows=size[0], cols=size[1])
    x, weight = codes(rng, pair[0], (m, k)), codes(rng, pair[1], (k, n))
    output = quire_matmul(x, weight, *pair, "posit16_1")
    sent = streams(Operand.of("x", x, pair[0]), Operand.of("weight", weight, pair[1]), output, machine)
    mode = machine.mode(*pair)
    lane_bits = 16 // mode.lanes
    left, above = (
        (words[:, :, None] >> np.arange(0, 16, lane_bits)) & ((1 << lane_bits) - 1)
        for words in (sent.activations, sent.weights)
    )
    integers = [formats.get(name).integers.astype(object) for name in pair]
    assert left.max() < 2 ** formats.get(pair[0]).bits
    assert above.max() < 2 ** formats.get(pair[1]).bits
    schedule = cycles.schedule(Workload(m=m, k=k, n=n), machine, *pair)
    assert len(schedule.steps) == len(left) == len(above) == len(sent.last)
    assert len(schedule.results) == len(sent.results) == len(sent.results_last)
    ends = np.flatnonzero(sent.last) + 1
    starts = np.concatenate(([0], ends[:-1]))
    row = 0
    for start, end, column in zip(starts, ends, sent.first_columns, strict=True):
        totals = np.einsum("srl,scl->rc", integers[0][left[start:end]], integers[1][above[start:end]])
        height = int(np.flatnonzero(sent.results_last[row:])[0]) + 1
        width = min(machine.cols, n - column)
        for i in range(height):
            for j in range(width):
                bias = np.array([totals[i, j]], dtype=object)
                code = quire_matmul([[0]], [[0]], *pair, "posit16_1", bias=bias)
                assert int(code[0, 0]) == sent.results[row + i, j]
        row += height
    assert row == len(sent.results)


def test_refusals():
    machine = SimdEngine(rows=2, cols=2, formats=("posit8_0", "fp4_e2m1"))
    engine = SimdSimulator(machine)
    ends = {"act_format": "posit8_0", "out_format": "posit8_0"}
    with pytest.raises(TypeError, match=r"^`machine` must be a SimdEngine, got 3$"):
        SimdSimulator(3)
    with pytest.raises(ValueError, match=r"^no weights are loaded; call `load` first$"):
        engine.matmul([[1]], **ends)
    with pytest.raises(TypeError, match=r"^`weight_format` is needed: `weight` holds plain codes$"):
        engine.load([[1]])
    with pytest.raises(ValueError, match=r"^`weight_format` must be one of fp4_e2m1, posit8_0, got 'posit16_1'$"):
        engine.load([[1]], weight_format="posit16_1")
    with pytest.raises(ValueError, match=r"^`weight` must be codes of fp4_e2m1, 0 to 15, got 16 at \(0, 1\)$"):
        engine.load([[1, 16]], weight_format="fp4_e2m1")
    engine.load([[1], [2]], weight_format="fp4_e2m1")
    with pytest.raises(TypeError, match=r"^`act_format` is needed: `x` holds plain codes$"):
        engine.matmul([[1, 2]], out_format="posit8_0")
    with pytest.raises(ValueError, match=r"^`act_format` must be one of fp4_e2m1, posit8_0, got 'posit4_1'$"):
        engine.matmul([[1, 2]], act_format="posit4_1", out_format="posit8_0")
    with pytest.raises(ValueError, match=r"^`x` must have shape \(batch, 2\), got \(1, 3\)$"):
        engine.matmul([[1, 2, 3]], **ends)
    with pytest.raises(ValueError, match=r"^unknown out_format 'int8'; did you mean 'posit8_0'\?$"):
        engine.matmul([[1, 2]], act_format="posit8_0", out_format="int8")
    with pytest.raises(ValueError, match=r"^result \(0, 0\) is NaR, and `out_format` fp4_e2m1 has no code for that$"):
        engine.matmul([[1, 128]], act_format="posit8_0", out_format="fp4_e2m1")
