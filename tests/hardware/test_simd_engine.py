"""The SIMD engine's description: lanes, quires and widths that follow from formats, and errors that name the field."""

import dataclasses
import pickle
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tetrit import formats
from tetrit.hardware import Memory
from tetrit.hardware.simd_engine import SIMD_FORMATS, SimdEngine

PAIRS = list(product(SIMD_FORMATS, SIMD_FORMATS))


@pytest.mark.parametrize(("act_format", "weight_format"), PAIRS)
def test_lanes_and_quires_of_every_pair(act_format, weight_format):
    mode = SimdEngine(rows=2, cols=2).mode(act_format, weight_format)
    act, weight = formats.get(act_format), formats.get(weight_format)
    widest = max(act.bits, weight.bits)
    assert mode.lanes == {4: 4, 8: 2, 16: 1}[widest]
    assert mode.lane_quire_bits * mode.lanes == 128
    assert 2.0**mode.lsb_exponent == 2.0**act.lsb_exponent * 2.0**weight.lsb_exponent
    largest = act.max_value * weight.max_value / 2.0**mode.lsb_exponent
    assert mode.max_terms * int(largest) < 2 ** (mode.lane_quire_bits - 1) <= (mode.max_terms + 1) * int(largest)
    assert formats.accumulator_bits(act, weight, mode.max_terms) == mode.lane_quire_bits


def test_terms_of_the_quire_of_128_bits():
    """The square of the largest integer: 12, 256, 2**12, 2**56."""
    engine = SimdEngine(rows=1, cols=1)
    terms = {name: engine.mode(name, name).max_terms for name in SIMD_FORMATS}
    assert terms == {
        "fp4_e2m1": (2**31 - 1) // 144,
        "posit4_1": 2**15 - 1,
        "posit8_0": 2**39 - 1,
        "posit16_1": 2**15 - 1,
    }


@given(
    st.integers(1, 64),
    st.integers(1, 64),
    st.none() | st.integers(1, 600),
)
def test_words_hold_vectors(rows, cols, width):
    memory = Memory(width_bits=width)
    engine = SimdEngine(rows=rows, cols=cols, act_memory=memory, weight_memory=memory, result_memory=memory)
    for bits, word, words in (
        (16 * rows, engine.act_word_bits, engine.act_words),
        (16 * cols, engine.weight_word_bits, engine.weight_words),
        (16 * cols, engine.result_word_bits, engine.result_words),
    ):
        assert word == (bits if width is None else width)
        assert (words - 1) * word < bits <= words * word
    assert engine.act_vector_bits == 16 * rows
    assert engine.weight_vector_bits == engine.result_vector_bits == 16 * cols
    assert (engine.mac_latency, engine.readout_latency) == (3, 4)
    assert engine.pipeline_depth == cols + 3


def test_formats_are_kept_in_one_order_and_engines_are_values():
    one = SimdEngine(rows=2, cols=3, formats=["posit16_1", "fp4_e2m1"])
    assert one.formats == ("fp4_e2m1", "posit16_1")
    other = SimdEngine(rows=2, cols=3, formats=("fp4_e2m1", "posit16_1"))
    assert one == other
    assert hash(one) == hash(other)
    assert pickle.loads(pickle.dumps(one)) == one
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.rows = 5
    assert one.replace(rows=5).rows == 5


def test_a_narrow_quire_is_enough_for_narrow_formats():
    assert SimdEngine(rows=1, cols=1, formats=("fp4_e2m1",), quire_bits=40).mode("fp4_e2m1", "fp4_e2m1").max_terms == 3
    for formats_, least in ((("fp4_e2m1",), 40), (("posit4_1",), 72), (("posit8_0",), 56), (("posit16_1",), 120)):
        name = formats_[0]
        assert SimdEngine(rows=1, cols=1, formats=formats_, quire_bits=least).mode(name, name).max_terms > 0
        with pytest.raises(ValueError, match=r"^`quire_bits` must be at least \d+ for "):
            SimdEngine(rows=1, cols=1, formats=formats_, quire_bits=least - 8)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"rows": 0}, ValueError, "`rows` must be an integer from 1 to 4096, got 0"),
        ({"cols": 4097}, ValueError, "`cols` must be an integer from 1 to 4096, got 4097"),
        ({"rows": 2.5}, TypeError, "`rows` must be an integer, got 2.5"),
        ({"port_bits": 32}, ValueError, "`port_bits` must be 16, got 32"),
        ({"formats": "posit8_0"}, TypeError, "`formats` must be a list of names, got 'posit8_0'"),
        ({"formats": ()}, ValueError, "`formats` must name at least one format, and none twice, got ()"),
        (
            {"formats": ("posit8_0", "posit8_0")},
            ValueError,
            "`formats` must name at least one format, and none twice, got ('posit8_0', 'posit8_0')",
        ),
        ({"formats": ("posit8_1",)}, ValueError, "unknown formats 'posit8_1'; did you mean 'posit8_0'?"),
        ({"formats": (3,)}, TypeError, "`formats` must be one of fp4_e2m1, posit4_1, posit8_0, posit16_1, got 3"),
        ({"gating": 1}, TypeError, "`gating` must be true or false, got 1"),
        ({"quire_bits": 0}, ValueError, "`quire_bits` must be an integer from 8 to 1024, got 0"),
        ({"quire_bits": 130}, ValueError, "`quire_bits` must be a multiple of 8, got 130"),
        ({"quire_bits": 64}, ValueError, "`quire_bits` must be at least 72 for posit4_1 x posit4_1, got 64"),
        ({"quire_bits": 112}, ValueError, "`quire_bits` must be at least 114 for posit16_1 x posit16_1, got 112"),
        ({"mode_switch_cycles": -1}, ValueError, "`mode_switch_cycles` must be a non-negative integer, got -1"),
        ({"clock_mhz": 0}, ValueError, "`clock_mhz` must be above 0, got 0"),
        ({"act_memory": 3}, TypeError, "`act_memory` must be a Memory, got 3"),
        ({"result_memory": None}, TypeError, "`result_memory` must be a Memory, got None"),
    ],
)
def test_errors_name_the_field(changes, error, message):
    with pytest.raises(error) as caught:
        SimdEngine(rows=4, cols=4).replace(**changes)
    assert str(caught.value) == message


def test_a_pair_that_the_machine_lacks():
    engine = SimdEngine(rows=1, cols=1, formats=("fp4_e2m1", "posit8_0"))
    with pytest.raises(ValueError, match=r"^`act_format` must be one of fp4_e2m1, posit8_0, got 'posit16_1'$"):
        engine.mode("posit16_1", "fp4_e2m1")
    with pytest.raises(ValueError, match=r"^`weight_format` must be one of fp4_e2m1, posit8_0, got 'posit4_1'$"):
        engine.mode("fp4_e2m1", "posit4_1")
