"""The choice: exact or not at all in integers, within a tolerance elsewhere, cheaper on the machine, and the reason."""

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tetrit import hardware
from tetrit.errors import InvalidValueError
from tetrit.hls.integer import IntegerGraph, IntegerTensor, Product, Window
from tetrit.hls.winograd import Choice, WinogradProduct, apply, choose, conv2d_exact, transform
from tetrit.hls.winograd.cost import additions, digits, planes, shares, tiled_cost
from tetrit.sim import Workload
from tetrit.sim.simd import cycles as simd_cycles

LAYER = Window(in_shape=(16, 16, 32), kernel=(3, 3), padding=(1, 1, 1, 1))
SHIFT = hardware.load("shift_16x16")
SIMD = hardware.load("simd_8x8")


@given(st.integers(-(2**40), 2**40))
def test_digits_are_those_of_the_sparsest_signed_binary(number):
    """Against the recursive definition: odd numbers end in the digit that makes the rest a multiple of four."""
    count, rest = 0, number
    while rest:
        if rest & 1:
            rest -= 2 - rest % 4
            count += 1
        rest //= 2
    assert digits(number) == count


def test_additions_of_f23():
    f = transform(2, 3).integer
    assert additions(f.b) == 4
    assert additions(f.a) == 4


@pytest.mark.parametrize(
    ("values", "weights", "count"),
    [
        ([-1, 0, 1], [-1, 0, 1], 1),
        ([-2, 0, 2], [-1, 0, 1], 1),
        (range(-3, 4), [-1, 0, 1], 2),
        (range(-9, 10), [-1, 0, 1], 4),
        (range(-9, 10), [-4, -2, -1, 0, 1, 2, 4], 2),
        ([0], [-2, -1, 1, 2], 2),
        (range(-100, 101), [-1, 1], None),
        ([], [-1, 1], 1),
    ],
)
def test_planes(values, weights, count):
    assert planes(values, weights) == count


def test_ternary_weights_are_no_longer_ternary():
    """F(2x2,3x3): counted over all kernels that a place of the tile can have, by brute force."""
    f = transform(2, 3)
    rng = np.random.default_rng(0)
    kernels = rng.integers(-1, 2, (200_000, 3, 3))
    found = np.abs(f.integer.g.astype(int) @ kernels @ f.integer.g.T.astype(int))
    ternary, powers = shares([-1, 0, 1], f, f)
    assert abs((found <= 1).mean() - ternary) < 2e-3
    assert abs(((found & (found - 1)) == 0).mean() - powers) < 2e-3
    assert 0.7 < ternary < 0.75
    assert found.max() == 9


def test_useless_on_a_shift_array_and_says_why():
    choice = choose(LAYER, 32, act_format="int8", weight_format="szt", machine=SHIFT, schemes=[(2, "standard")])
    [candidate] = choice.candidates
    assert choice.schemes is None
    assert candidate.exact
    assert candidate.cost.passes == 4
    assert candidate.cost.cycles > choice.direct.cycles
    assert candidate.cost.products == 16 * 4 * 64 * 32 * 32
    assert choice.reason == (
        "direct: F(2x2,3x3) standard: exact with operands of 10 and 5 bits; of transformed weights only 72 % are -1, 0 "
        "or 1 and 91 % zero or a power of two, they reach 9 and take 4 weights of szt each: "
        f"{candidate.cost.cycles:,} cycles against {choice.direct.cycles:,} directly, a ratio of "
        f"{choice.direct.cycles / candidate.cost.cycles:.2f}"
    )


def test_given_weights_may_take_fewer_planes():
    zeros = np.zeros((4, 32, 3, 3), np.int64)
    zeros[:, :, 1, 1] = 1  # G of a single tap has entries of one magnitude
    choice = choose(
        LAYER, 32, act_format="int8", weight_format="szt", machine=SHIFT, schemes=[(2, "standard")], weight=zeros
    )
    assert choice.candidates[0].cost.passes == 1


def test_integers_with_multipliers_of_any_width():
    choice = choose(LAYER, 32, act_format="int8", weight_format="int8")
    taken = [c for c in choice.candidates if c.taken]
    assert len(taken) == 1
    assert choice.schemes == taken[0].schemes
    assert taken[0].cost.work < choice.direct.work
    assert taken[0].cost.work == min(c.cost.work for c in choice.candidates if c.cost is not None)
    assert (taken[0].m, taken[0].widths.act_bits, taken[0].widths.weight_bits) == (2, 10, 12)
    wide = choose(
        Window(in_shape=(32, 32, 64), kernel=(3, 3), padding=(1, 1, 1, 1)), 64, act_format="int8", weight_format="int8"
    )
    assert wide.schemes == (transform(4, 3),) * 2  # more channels outweigh its transforms
    assert choice.direct.work == 256 * 288 * 32 * 64


def test_ternary_weights_without_multipliers_to_save_stay_direct():
    assert choose(LAYER, 32, act_format="int8", weight_format="szt").schemes is None


def test_tolerance_decides():
    tight, loose = (
        choose(LAYER, 32, act_format="float32", weight_format="float32", tolerance=limit) for limit in (4e-7, 1e-5)
    )
    assert tight.schemes == (transform(2, 3),) * 2
    assert loose.schemes == (transform(4, 3),) * 2
    assert "is beyond 4e-07" in next(c for c in tight.candidates if c.m == 4).verdict
    none = choose(LAYER, 32, act_format="float32", weight_format="float32", tolerance=0.0)
    assert none.schemes is None


def test_simd_cycles_are_those_of_its_model():
    choice = choose(
        LAYER,
        32,
        act_format="posit8_0",
        weight_format="posit8_0",
        machine=SIMD,
        tolerance=0.1,
        schemes=[(2, "standard")],
    )
    one = simd_cycles.count(Workload(m=64, k=32, n=32), SIMD, "posit8_0", "posit8_0")
    added = 64 * (32 * 32 + 32 * 24)  # tiles x (channels x 2 n x 4 + outputs x (n + m) x 4)
    assert choice.candidates[0].cost.additions == added
    assert choice.candidates[0].cost.cycles == 16 * one + added // 8
    assert choice.direct.cycles == simd_cycles.count(Workload(m=256, k=288, n=32), SIMD, "posit8_0", "posit8_0")
    assert (choice.schemes is not None) == (choice.candidates[0].cost.cycles < choice.direct.cycles)


def test_edges_cost_whole_tiles():
    cost = tiled_cost(
        Window(in_shape=(5, 6, 3), kernel=(3, 3)), 2, (transform(2, 3), transform(4, 3)), (8, 8, 16), None, ("", "")
    )
    assert cost.products == 2 * 4 * 6 * 3 * 2  # outputs of 3 x 4: two tiles down, one across


@pytest.mark.parametrize(
    ("window", "reason"),
    [
        (Window(in_shape=(8, 8, 4), kernel=(1, 1)), "direct: a kernel of one tap has no products to save"),
        (
            Window(in_shape=(8, 8, 4), kernel=(3, 3), stride=(2, 2)),
            "direct: tiles need stride and dilation of 1, got (2, 2) and (1, 1)",
        ),
        (
            Window(in_shape=(8, 8, 4), kernel=(3, 3), dilation=(2, 1)),
            "direct: tiles need stride and dilation of 1, got (1, 1) and (2, 1)",
        ),
    ],
)
def test_what_cannot_help(window, reason):
    choice = choose(window, 8, act_format="int8", weight_format="int8")
    assert (choice.schemes, choice.reason, choice.candidates) == (None, reason, ())


def test_converters_are_not_exact():
    crossbar = hardware.load("crossbar_256_pcm")
    choice = choose(LAYER, 32, act_format="int8", weight_format="int8", machine=crossbar)
    assert choice.reason == (
        "direct: 8-bit converters round the sum of every place of a tile: nothing is exact; and F(2x2,3x3) has 16 "
        "conversions in place of 4 where direct inputs fit one array"
    )


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"act_format": "int8", "weight_format": "fp4_e2m1"},
         "`act_format` and `weight_format` must be integers or one arithmetic, got int8 and fp4_e2m1"),
        ({"act_format": "float16", "weight_format": "float16"},
         "`tolerance` is needed for float16, which is not exact by tiles"),
        ({"act_format": "int8", "weight_format": "int8", "machine": SHIFT},
         "the machine takes int8 x szt, not int8 x int8"),
        ({"act_format": "int8", "weight_format": "int8", "machine": SIMD},
         "a SIMD engine has fp4_e2m1, posit4_1, posit8_0, posit16_1, not int8 x int8"),
        ({"act_format": "float16", "weight_format": "float16", "machine": SHIFT, "tolerance": 1},
         "the machine does not have float16"),
    ],
)  # fmt: skip
def test_refusals(arguments, text):
    with pytest.raises(InvalidValueError, match=f"^{re.escape(text)}$"):
        choose(LAYER, 32, **arguments)


def test_outputs_must_fit_the_groups():
    window = Window(in_shape=(8, 8, 4), kernel=(3, 3), groups=4)
    with pytest.raises(InvalidValueError, match=r"^`outputs` must be a multiple of the 4 groups, got 6$"):
        choose(window, 6, act_format="int8", weight_format="int8")


def _graph(groups: int, rng: np.random.Generator) -> IntegerGraph:
    first = Window(in_shape=(9, 8, 4), kernel=(3, 3), padding=(1, 0, 1, 2), groups=groups)
    second = Window(in_shape=(*first.out_shape_hw, 6), kernel=(2, 3))
    nodes, tensors = [], [IntegerTensor(name="x", shape=first.in_shape, format="int8", scale=1.0)]
    for name, source, window, n in (("a", "x", first, 6), ("b", "a", second, 5)):
        shape = (window.k, n) if window.groups == 1 else (window.groups, window.k, n // window.groups)
        nodes.append(
            Product(
                name=name,
                input=source,
                output=name,
                weight=rng.integers(0, 256, shape).astype(np.uint8),
                weight_format="int8",
                bias=rng.integers(-999, 999, n),
                multiplier=np.full(n, 300),
                shift=np.full(n, 18),
                relu=name == "a",
                window=window,
            )
        )
        tensors.append(IntegerTensor(name=name, shape=(*window.out_shape_hw, n), format="int8", scale=1.0))
    return IntegerGraph(name="net", inputs=("x",), outputs=("b",), nodes=tuple(nodes), tensors=tensors)


def _always(node: Product, window: Window) -> Choice:
    """Take tiles of 4 x 2 outputs, whatever they cost."""
    found = choose(window, node.n, act_format="int8", weight_format="int8")
    return replace(found, schemes=(transform(4, window.kernel[0]), transform(2, window.kernel[1])))


@pytest.mark.parametrize("groups", [1, 2])
def test_networks_give_the_same_bits(groups):
    rng = np.random.default_rng(groups)
    graph = _graph(groups, rng)
    made, choices = apply(graph, _always)
    assert [type(node) for node in made.nodes] == [WinogradProduct] * 2
    assert list(choices) == ["a", "b"]
    x = rng.integers(-128, 128, (3, 9, 8, 4))
    assert (made.run(x)["b"] == graph.run(x)["b"]).all()
    assert np.abs(graph.run(x)["b"]).max() > 20


def test_networks_keep_what_is_not_chosen():
    graph = _graph(1, np.random.default_rng(0))
    made, choices = apply(graph, lambda node, window: choose(window, node.n, act_format="int8", weight_format="szt"))
    assert [type(node) for node in made.nodes] == [Product] * 2
    assert all(choice.reason.startswith("direct: ") for choice in choices.values())


def test_a_node_refuses_other_kernels():
    graph = _graph(1, np.random.default_rng(0))
    node = graph.nodes[0]
    values = {name: getattr(node, name) for name in node.__dataclass_fields__}
    text = "node 'a': `vertical` and `horizontal` must be for kernels of (3, 3), got 2 and 3 taps"
    with pytest.raises(InvalidValueError, match=f"^{re.escape(text)}$"):
        WinogradProduct(**values, vertical=transform(2, 2), horizontal=transform(2, 3))


def test_a_choice_of_integers_is_exact_on_its_widths():
    choice = choose(LAYER, 32, act_format="int8", weight_format="int8")
    rng = np.random.default_rng(0)
    x, w = rng.choice([-128, 127], (1, 32, 7, 7)), rng.choice([-128, 127], (2, 32, 3, 3))
    for candidate in choice.candidates:
        if candidate.cost is not None:
            found = conv2d_exact(x, w, *candidate.schemes, act=(-128, 127), weight=(-128, 127))
            assert np.abs(found).max() < 2 ** (candidate.widths.direct_acc_bits - 1)
