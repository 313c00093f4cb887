"""The networks: shapes, what may depend on what, and equality with torch's own modules where there are any."""

import re

import pytest
import torch
from torch import nn
from torch.nn import functional

from tetrit.errors import InvalidValueError
from tetrit.train.models import GPT, LSTM, MLP, MODELS, VGG, LeNet, ResNet
from tetrit.train.models.gpt import Attention
from tetrit.train.models.lstm import Cell
from tetrit.train.models.specs import ImageSpec

SMALL = {
    "gpt": GPT(context=6, layers=2, heads=2, width=8),
    "lenet": LeNet(channels=(2, 3), kernel=3, hidden=(5,)),
    "lstm": LSTM(context=6, layers=2, width=8),
    "mlp": MLP(hidden=(7,)),
    "resnet": ResNet(widths=(3, 5), blocks=2),
    "vgg": VGG(widths=(3, 4), depth=2, hidden=(6,), dropout=0.1),
}
IMAGES = [name for name in SMALL if isinstance(SMALL[name], ImageSpec)]
TEXTS = [name for name in SMALL if name not in IMAGES]


def build(name, seed=0):
    torch.manual_seed(seed)
    spec = SMALL[name]
    return spec.build((2, 9, 11), 4) if name in IMAGES else spec.build(13)


def an_input(name, batch=3):
    torch.manual_seed(1)
    return torch.randn(batch, 2, 9, 11) if name in IMAGES else torch.randint(13, (batch, 6))


def test_every_model_is_tested():
    assert SMALL.keys() == MODELS.keys()
    assert all(type(SMALL[name]) is MODELS[name] for name in SMALL)


@pytest.mark.parametrize("name", SMALL)
def test_shapes_and_gradients(name):
    model, x = build(name), an_input(name)
    y = model(x)
    assert y.shape == ((3, 4) if name in IMAGES else (3, 6, 13))
    y.square().sum().backward()
    for path, parameter in model.named_parameters():
        assert parameter.grad is not None, path
        assert torch.isfinite(parameter.grad).all(), path
        # the key's offset moves all scores of a query alike, which the softmax does not see
        if not path.endswith("key.bias"):
            assert parameter.grad.abs().max() > 0, path


@pytest.mark.parametrize("name", SMALL)
def test_the_start_follows_the_seed(name):
    one, same, other = (build(name, seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(one[key], same[key]) for key in one)
    assert any(not torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("name", SMALL)
def test_items_of_a_batch_do_not_see_each_other(name):
    model, x = build(name).eval(), an_input(name)
    changed = x.clone()
    changed[2] = 1 if name in TEXTS else 7.0
    with torch.no_grad():
        assert torch.equal(model(x)[:2], model(changed)[:2])


@pytest.mark.parametrize("name", TEXTS)
def test_no_symbol_is_seen_before_its_time(name):
    model, x = build(name).eval(), an_input(name)
    with torch.no_grad():
        for time in range(6):
            changed = x.clone()
            changed[:, time] = (x[:, time] + 1) % 13
            same = (model(x) - model(changed)).abs().amax((0, 2)) < 1e-7
            assert same[:time].all()
            assert not same[time:].any()


@pytest.mark.parametrize("name", TEXTS)
def test_shorter_stretches_give_the_same_beginning(name):
    model, x = build(name).eval(), an_input(name)
    with torch.no_grad():
        torch.testing.assert_close(model(x)[:, :4], model(x[:, :4]))


@pytest.mark.parametrize("name", SMALL)
def test_weight_matrices_are_in_linear_and_convolution_layers(name):
    """What `tetrit.train.prepare` can find: embeddings and normalisations apart, no module holds weights of its own."""
    for module in build(name).modules():
        if not isinstance(module, nn.Linear | nn.Conv2d | nn.Embedding | nn.BatchNorm2d | nn.LayerNorm):
            assert not list(module.parameters(recurse=False))
            assert type(module) not in (nn.LSTM, nn.MultiheadAttention)


def test_attention_is_torchs():
    torch.manual_seed(0)
    ours = Attention(width=12, heads=3)
    theirs = nn.MultiheadAttention(12, 3, batch_first=True)
    with torch.no_grad():
        projections = (ours.query, ours.key, ours.value)
        for projection in projections:
            nn.init.normal_(projection.bias)
        theirs.in_proj_weight.copy_(torch.cat([projection.weight for projection in projections]))
        theirs.in_proj_bias.copy_(torch.cat([projection.bias for projection in projections]))
        theirs.out_proj.load_state_dict(ours.out.state_dict())
        x = torch.randn(2, 5, 12)
        mask = nn.Transformer.generate_square_subsequent_mask(5)
        expected, _ = theirs(x, x, x, attn_mask=mask, is_causal=True, need_weights=False)
        torch.testing.assert_close(ours(x), expected)


def test_the_cell_is_torchs():
    torch.manual_seed(0)
    ours = Cell(n_in=5, width=4)
    theirs = nn.LSTM(5, 4, batch_first=True)
    with torch.no_grad():
        theirs.weight_ih_l0.copy_(ours.from_input.weight)
        theirs.weight_hh_l0.copy_(ours.from_state.weight)
        theirs.bias_ih_l0.copy_(ours.from_input.bias)
        theirs.bias_hh_l0.zero_()
        assert ours.from_input.bias.tolist() == [0.0] * 4 + [1.0] * 4 + [0.0] * 8
        x = torch.randn(3, 7, 5)
        torch.testing.assert_close(ours(x), theirs(x)[0])


def test_a_block_adds_its_input():
    model = build("resnet").eval()
    block = model.stages[1]
    nn.init.zeros_(block.second[1].weight)
    x = torch.randn(1, 3, 4, 4)
    with torch.no_grad():
        assert torch.equal(block(x), functional.relu(x))


def test_dropout_is_where_it_should_be():
    model = VGG(hidden=(6, 5), dropout=0.5).build((1, 8, 8), 3)
    assert [type(layer).__name__ for layer in model.head] == [
        *("Linear", "ReLU", "Dropout", "Linear", "ReLU", "Dropout", "Linear")
    ]


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: MLP(hidden=(3, 0)), InvalidValueError, "`hidden` must be an integer from 1 to 65536, got 0"),
        (lambda: MLP(hidden=3), TypeError, "`hidden` must be a list of integers, got 3"),
        (lambda: LeNet(channels=(3,)), InvalidValueError, "`channels` must have 2 entries, got 1"),
        (lambda: LeNet(kernel=4), InvalidValueError, "`kernel` must be odd, got 4"),
        (lambda: VGG(widths=()), InvalidValueError, "`widths` must have 1 to 64 entries, got 0"),
        (lambda: VGG(dropout=1.0), InvalidValueError, "`dropout` must be at least 0 and below 1, got 1"),
        (lambda: ResNet(blocks=2.0), TypeError, "`blocks` must be an integer, got 2.0"),
        (lambda: GPT(heads=3), InvalidValueError, "`width` must be a multiple of `heads`, 3, got 64"),
        (lambda: GPT(context=0), InvalidValueError, "`context` must be an integer from 1 to 65536, got 0"),
        (lambda: LSTM(width=True), TypeError, "`width` must be an integer, got True"),
        (
            lambda: LeNet().build((1, 3, 8), 2),
            InvalidValueError,
            "images of 3 x 8 pixels are too small to be halved 2 times",
        ),
        (
            lambda: VGG().build((1, 8, 7), 2),
            InvalidValueError,
            "images of 8 x 7 pixels are too small to be halved 3 times",
        ),
    ],
)
def test_wrong_sizes_are_refused(make, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        make()
