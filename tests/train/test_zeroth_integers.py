"""Zeroth-order training in integers in PyTorch: the golden bits, no matter which path; restoring, states, training."""

import copy
import doctest
import io
import math
import re

import numpy as np
import pytest
import torch
from torch import nn

from tetrit.errors import InvalidValueError
from tetrit.estimators.zeroth import IntegerSPSA, reference, step_seed
from tetrit.estimators.zeroth import integer_cross_entropy as golden_loss
from tetrit.estimators.zeroth.counter import key_of
from tetrit.train.zeroth import ElasticZO, IntegerZerothOrder, ZerothOrder, _noise, integer_cross_entropy, integers

INTEGERS = [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64]


@pytest.fixture(autouse=True)
def one_thread():
    """Arrays this small gain nothing from threads, and lose much on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(params=["kernel", "tensors"])
def path(request, monkeypatch):
    """Both ways to the same numbers: the golden kernels, and the rule that other devices run."""
    if request.param == "tensors":
        monkeypatch.setattr(IntegerZerothOrder, "_golden", lambda self, tensor: False)
        monkeypatch.setattr(_noise, "_PIECE", 7)  # several pieces
    return request.param


def signed(word):
    return word - 2**64 if word >= 2**63 else word


@pytest.mark.parametrize(("reach", "share"), [(1, 0.0), (15, 0.33), (127, 0.5), (3, 1.0)])
@pytest.mark.parametrize("seed", [0, 2**64 - 1])
def test_the_tensor_rule_has_the_golden_noise(reach, share, seed):
    spsa = IntegerSPSA(reach=reach, zero_share=share)
    wanted = spsa.direction((50_000,), seed=seed, offset=12345)
    got = _noise.integer_noise(50_000, reach, spsa.rest, key=signed(key_of(seed)), offset=12345, device="cpu")
    np.testing.assert_array_equal(got.numpy(), wanted)
    assert len(np.unique(wanted)) == (1 if share == 1.0 else 2 * reach + 1)


@pytest.mark.parametrize("bits", [1, 2, 7])
@pytest.mark.parametrize("reach", [1, 15, 127])
@pytest.mark.parametrize("times", [-1, 0, 1, torch.tensor(-1), torch.tensor(1)])
def test_the_tensor_rule_is_the_reference(reach, bits, times, monkeypatch):
    """For every code, -128 included, in several pieces and in any order in memory."""
    monkeypatch.setattr(_noise, "_PIECE", 50)
    start = torch.arange(-128, 128, dtype=torch.int8).reshape(16, 16)
    spsa = IntegerSPSA(reach=reach, update_bits=bits)
    for shift in {0, spsa.shift}:
        wanted = reference.integer_added(
            start.numpy(), int(times), reach=reach, zero_share=0.33, shift=shift, seed=3, offset=9
        )
        rule = {"reach": reach, "rest": spsa.rest, "shift": shift, "seed": 3, "offset": 9}
        got = torch.empty_like(start)
        _noise.add_integer_noise(got, start, times, **rule)
        np.testing.assert_array_equal(got.numpy(), wanted)
        turned = start.T.contiguous().T  # elements count in the order of the shape all the same
        _noise.add_integer_noise(turned, turned, times, **rule)
        np.testing.assert_array_equal(turned.numpy(), wanted)


def some(shape, seed):
    return np.random.default_rng(seed).integers(-127, 128, shape).astype(np.int8)


def test_steps_are_those_of_the_golden_rule(path):
    """Two groups with their own update bits and one numbering; weights at the border; a tensor in another order."""
    arrays = [some((4, 5), 0), some((7,), 1), some((2, 3), 2), np.array(5, np.int8), np.zeros((0, 3), np.int8)]
    arrays[1][:] = 127
    params = [torch.from_numpy(a.copy()) for a in arrays]
    params[0] = params[0].T.contiguous().T
    targets = [some(a.shape, 3 + k).astype(np.int64) for k, a in enumerate(arrays)]

    def loss(weights):
        return sum(int(np.abs(w.astype(np.int64) - t).sum()) for w, t in zip(weights, targets, strict=True))

    groups = [{"params": params[:2]}, {"params": params[2:], "update_bits": 1}]
    optimiser = IntegerZerothOrder(groups, reach=31, zero_share=0.2, update_bits=3, seed=6)
    rules = [IntegerSPSA(reach=31, zero_share=0.2, update_bits=bits) for bits in (3, 3, 1, 1, 1)]
    offsets = np.cumsum([0, *(a.size for a in arrays[:-1])]).tolist()
    moved = 0
    for step in range(40):
        seed = step_seed(6, step)

        def at(times, seed=seed):
            pairs = zip(rules, arrays, offsets, strict=True)
            return loss([rule.perturbed(w, times, seed=seed, offset=k) for rule, w, k in pairs])

        losses = at(1), at(-1)
        sign = rules[0].sign(*losses)
        before = [a.copy() for a in arrays]
        for rule, w, k in zip(rules, arrays, offsets, strict=True):
            rule.updated(w, sign, seed=seed, offset=k, out=w)
        got = optimiser.step(lambda: torch.tensor(loss([p.numpy() for p in params])))
        assert got.dtype == torch.float64
        assert float(got) == sum(losses) / 2
        for p, a, b in zip(params, arrays, before, strict=True):
            np.testing.assert_array_equal(p.numpy(), a)
            moved += int((a != b).sum())
    assert moved > 300
    assert params[0].stride() == (1, 4)


def test_parameters_of_modules(path):
    layer = nn.Linear(3, 2, bias=False)
    layer.weight = nn.Parameter(torch.ones(2, 3, dtype=torch.int8), requires_grad=False)
    optimiser = IntegerZerothOrder(layer.parameters(), zero_share=0.0)
    before = layer.weight.clone()
    version = layer.weight._version
    loss = optimiser.step(lambda: layer.weight.long().sum())
    assert not torch.equal(layer.weight, before)
    assert layer.weight._version > version
    assert not loss.requires_grad


@pytest.mark.parametrize(
    ("plus", "minus", "sign"),
    [
        (torch.tensor(2**63 - 1), torch.tensor(-(2**63)), 1),  # their difference is no int64
        (torch.tensor([-(2**63)]), torch.tensor([[2**63 - 1]]), -1),
        (torch.tensor(7), torch.tensor(7), 0),
        (torch.tensor(200, dtype=torch.uint8), torch.tensor(201, dtype=torch.uint8), -1),
        (torch.tensor(2.0**-149), torch.tensor(0.0), 1),
        (torch.tensor(math.inf), torch.tensor(math.inf), 0),
        (torch.tensor(math.nan), torch.tensor(0.0), 0),
    ],
)
def test_only_the_sign_of_the_difference_counts(plus, minus, sign, path):
    w = torch.zeros(50, dtype=torch.int8)
    optimiser = IntegerZerothOrder([w], seed=1)
    losses = iter((plus, minus))
    optimiser.step(lambda: next(losses))
    np.testing.assert_array_equal(w, IntegerSPSA().updated(np.zeros(50, np.int8), sign, seed=step_seed(1, 0)))
    assert optimiser.param_groups[0]["steps"] == 1
    assert bool(w.any()) == bool(sign)


def test_a_state_dict_and_a_schedule_of_the_bits():
    def loss(w):
        return lambda: (w.long() - 3).abs().sum()

    w = torch.from_numpy(some((30,), 0))
    optimiser = IntegerZerothOrder([w], seed=4, update_bits=4)
    for step in range(6):
        optimiser.param_groups[0]["update_bits"] = 4 - step // 2
        optimiser.step(loss(w))
    buffer = io.BytesIO()
    torch.save(optimiser.state_dict(), buffer)
    buffer.seek(0)
    v, u = w.clone(), w.clone()
    resumed = IntegerZerothOrder([v], seed=99)
    resumed.load_state_dict(torch.load(buffer, weights_only=True))
    assert resumed.state_dict() == optimiser.state_dict()
    for parameter, each in ((w, optimiser), (v, resumed), (u, IntegerZerothOrder([u], seed=4, update_bits=2))):
        for _ in range(3):
            each.step(loss(parameter))
    assert torch.equal(w, v)
    assert not torch.equal(w, u)  # the number of steps matters, and it is in the state
    assert copy.deepcopy(optimiser).state_dict() == optimiser.state_dict()


@pytest.mark.parametrize("call", [0, 1])
def test_an_error_in_the_closure_leaves_the_weights(call, path):
    w = torch.arange(-128, 128, dtype=torch.int8)
    optimiser = IntegerZerothOrder([w], reach=127)
    seen = []

    def closure():
        seen.append(w.clone())
        if len(seen) > call:
            raise KeyboardInterrupt
        return w.sum()

    with pytest.raises(KeyboardInterrupt):
        optimiser.step(closure)
    assert torch.equal(w, torch.arange(-128, 128, dtype=torch.int8))
    assert not torch.equal(seen[0], w)
    assert optimiser.param_groups[0]["steps"] == 0


@pytest.mark.parametrize("exponent", [-24, -12, -5, 0, 4])
@pytest.mark.parametrize("classes", [1, 2, 10, 1000, 4096])
def test_the_tensor_loss_is_the_golden_one(exponent, classes):
    rng = np.random.default_rng(classes)
    reach = int(min(2.0 ** (8 - exponent), 2**31 - 1))
    logits = rng.integers(-reach, reach + 1, (30, classes))
    logits[0] = 0
    logits[1:3] = 2**31 - 1
    logits[2, 0] = -(2**31) + 1
    labels = rng.integers(0, classes, 30)
    wanted = golden_loss(logits, labels, exponent=exponent)
    a, y = torch.from_numpy(logits), torch.from_numpy(labels)
    for got in (
        integers.cross_entropy(a.int(), y.int(), exponent),
        integers.cross_entropy(a, y, exponent),
        integer_cross_entropy(a.int(), y.to(torch.int16), exponent=exponent),
    ):
        assert got.dtype == torch.int64
        np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("dtype", INTEGERS)
def test_the_loss_of_every_kind_of_integer(dtype):
    logits, labels = torch.tensor([[7, 3], [1, 100]], dtype=dtype), torch.tensor([1, 0])
    wanted = golden_loss([[7, 3], [1, 100]], [1, 0], exponent=-2)
    for x in (logits, logits.T.contiguous().T):
        np.testing.assert_array_equal(integer_cross_entropy(x, labels.to(dtype), exponent=-2), wanted)
        np.testing.assert_array_equal(integers.cross_entropy(x, labels.to(dtype), -2), wanted)
    assert integer_cross_entropy(logits[:0], labels[:0], exponent=-2).shape == (0,)
    assert integers.cross_entropy(logits[:0], labels[:0], -2).shape == (0,)


def test_the_loss_compiles_in_one_graph():
    logits, labels = torch.tensor([[70, 3], [1, 100]], dtype=torch.int32), torch.tensor([1, 1])

    @torch.compile(backend="eager", fullgraph=True)
    def total(logits, labels):
        return integer_cross_entropy(logits, labels, exponent=-4).sum()

    assert int(total(logits, labels)) == int(golden_loss(logits.numpy(), labels.numpy(), exponent=-4).sum())


@pytest.mark.parametrize("make", [IntegerZerothOrder, ZerothOrder])
def test_nothing_waits_for_the_device(make):
    """Tensors of the device 'meta' have no contents: whatever reads one raises an error."""
    dtype = torch.int8 if make is IntegerZerothOrder else torch.float32
    w = torch.empty(20, 3, dtype=dtype, device="meta")
    x = torch.empty(8, 20, dtype=torch.int32, device="meta")
    labels = torch.empty(8, dtype=torch.int64, device="meta")
    optimiser = make([w])
    mean = optimiser.step(lambda: integer_cross_entropy(x @ w.int(), labels, exponent=-9).sum())
    assert mean.device.type == "meta"
    assert optimiser.param_groups[0]["steps"] == 1
    with pytest.raises(RuntimeError, match="meta"):
        mean.item()


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (
            lambda w: IntegerZerothOrder([w], reach=128),
            InvalidValueError,
            "`reach` must be an integer from 1 to 127, got 128",
        ),
        (
            lambda w: IntegerZerothOrder([w], zero_share=-0.5),
            InvalidValueError,
            "`zero_share` must be at least 0, got -0.5",
        ),
        (
            lambda w: IntegerZerothOrder([w], update_bits=8),
            InvalidValueError,
            "`update_bits` must be an integer from 1 to 7, got 8",
        ),
        (
            lambda w: IntegerZerothOrder([{"params": [w], "update_bits": 0}]),
            InvalidValueError,
            "`update_bits` must be an integer from 1 to 7, got 0",
        ),
        (
            lambda w: IntegerZerothOrder([w], seed=-1),
            InvalidValueError,
            f"`seed` must be an integer from 0 to {2**64 - 1}, got -1",
        ),
        (lambda w: IntegerZerothOrder([w.float()]), TypeError, "`params` must be int8 tensors, got torch.float32"),
        (
            lambda w: IntegerZerothOrder([w]).step(lambda: 3),
            TypeError,
            "the closure must return a tensor of one element, got int",
        ),
        (
            lambda w: IntegerZerothOrder([w]).step(lambda: w),
            TypeError,
            "the closure must return a tensor of one element, got shape (3,)",
        ),
        (
            lambda w: integer_cross_entropy(w.float(), w, exponent=0),
            TypeError,
            "`logits` must be a tensor of integers, got torch.float32",
        ),
        (
            lambda w: integer_cross_entropy(w, [1], exponent=0),
            TypeError,
            "`labels` must be a tensor of integers, got list",
        ),
        (
            lambda w: integer_cross_entropy(w[None], torch.tensor([3]), exponent=0),
            InvalidValueError,
            "`labels` must be from 0 to 2, got 3",
        ),
        (
            lambda w: integer_cross_entropy(torch.tensor([[2**31, 0]]), torch.tensor([0]), exponent=0),
            InvalidValueError,
            f"`logits` must have magnitudes below 2^31, got {2**31}",
        ),
    ],
)
def test_bad_arguments(call, error, text):
    with pytest.raises(error, match="^" + re.escape(text) + "$"):
        call(torch.ones(3, dtype=torch.int8))


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize(
    ("logits", "labels", "exponent", "text"),
    [
        ((3,), (1,), 0, "`logits` must have 2 dimensions, got 1"),
        ((1, 3), (1, 1), 0, "`labels` must have 1 dimensions, got 2"),
        (
            (1, 3),
            (2,),
            0,
            "`logits` must have one row for each of 2 labels and at least one class, got shape (1, 3)",
        ),
        (
            (1, 0),
            (1,),
            0,
            "`logits` must have one row for each of 1 labels and at least one class, got shape (1, 0)",
        ),
        ((1, 3), (1,), 5, "`exponent` must be an integer from -24 to 4, got 5"),
    ],
)
def test_bad_shapes(device, logits, labels, exponent, text):
    a, y = (torch.zeros(shape, dtype=torch.int32, device=device) for shape in (logits, labels))
    with pytest.raises(InvalidValueError, match="^" + re.escape(text) + "$"):
        integer_cross_entropy(a, y, exponent=exponent)


def clusters():
    """Three clouds of int8 points."""
    rng = np.random.default_rng(4)
    labels = rng.integers(0, 3, 240)
    centres = rng.integers(-60, 61, (3, 6))
    x = np.clip(centres[labels] + rng.integers(-20, 21, (240, 6)), -127, 127)
    return torch.from_numpy(x).int(), torch.from_numpy(labels)


def test_a_training_in_integers_alone(path, monkeypatch):
    """Two layers: int8 weights and activations, int32 accumulators, integer loss and update, and it learns."""
    monkeypatch.setattr(_noise, "_PIECE", 1 << 20)
    x, labels = clusters()
    rng = np.random.default_rng(0)
    first = torch.from_numpy(rng.integers(-40, 41, (6, 8)).astype(np.int8))
    last = torch.zeros(8, 3, dtype=torch.int8)

    def logits():
        hidden = ((x @ first.int()) >> 6).clamp(0, 127)
        return hidden @ last.int()

    def loss():
        return integer_cross_entropy(logits(), labels, exponent=-11).sum()

    start = int(loss())
    assert start == pytest.approx(240 * math.log2(3) * 2**16, rel=1e-3)
    optimiser = IntegerZerothOrder([first, last])
    for _ in range(300):
        optimiser.step(loss)
    assert first.dtype == last.dtype == torch.int8
    assert int(loss()) < 0.35 * start
    assert float((logits().argmax(1) == labels).float().mean()) > 0.9


def test_elastic_with_integers_below_and_floats_above():
    """Training the int8 layer too gets further than its random codes with the same last layer."""
    x, labels = clusters()

    def train(below):
        torch.manual_seed(0)
        first = torch.from_numpy(np.random.default_rng(1).integers(-3, 4, (6, 4)).astype(np.int8))
        last = nn.Linear(4, 3)
        zeroth = IntegerZerothOrder([first], reach=7, update_bits=2, seed=2)
        trainer = ElasticZO(zeroth, torch.optim.SGD(last.parameters(), lr=0.2))
        kept = first.clone()
        losses = []
        for _ in range(150):
            features = lambda: (x @ first.int()).clamp(0, 2**10)  # noqa: E731
            losses.append(float(trainer.step(features, lambda h: nn.functional.cross_entropy(last(h / 2**8), labels))))
            if not below:
                first.copy_(kept)
        assert below == (not torch.equal(first, kept))
        assert last.weight.grad is not None
        return losses

    learned, frozen = train(True), train(False)
    assert learned[0] == frozen[0]
    assert np.mean(learned[-10:]) < 0.5 * learned[0]
    assert np.mean(learned[-10:]) < 0.8 * np.mean(frozen[-10:])


def test_documented_examples():
    result = doctest.testmod(integers)
    assert result.failed == 0
    assert result.attempted > 8
