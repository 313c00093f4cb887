"""From PyTorch: graphs compute what modules compute, and what has no ONNX form is listed."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils._pytree import tree_leaves

from tetrit import hls
from tetrit.errors import InvalidValueError
from tetrit.train.models.gpt import GPT
from tetrit.train.models.lenet import LeNet
from tetrit.train.models.lstm import LSTM
from tetrit.train.models.mlp import MLP
from tetrit.train.models.resnet import ResNet
from tetrit.train.models.vgg import VGG
from tetrit.train.qat import Plan, Rule, prepare


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def check(module, example, *, bound=2e-6, shapes=True):
    """Return the graph, whose results on other inputs are those of the module."""
    torch.manual_seed(1)
    graph = hls.from_torch(module, example)
    args = example if isinstance(example, tuple) else (example,)
    fresh = tuple(torch.flip(a, (0, -1)) * 2 if a.is_floating_point() else torch.flip(a, (0, -1)) for a in args)
    training = module.training
    with torch.no_grad():
        wanted = tree_leaves(module.eval()(*fresh))
    module.train(training)
    inputs = {value.name: array.numpy() for value, array in zip(graph.inputs, fresh, strict=True)}
    found = graph.run(inputs)
    wanted = [each for each in wanted if each is not None]
    assert len(graph.outputs) == len(wanted)
    for name, values in zip(graph.outputs, wanted, strict=True):
        assert graph.values[name].shape == tuple(values.shape) == found[name].shape
        size = max(1.0, float(values.abs().max())) if values.is_floating_point() else 1.0
        assert np.abs(found[name] - values.numpy()).max() <= bound * size
    return graph


SYMBOLS = torch.randint(0, 20, (2, 5), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    "make, example",
    [
        (lambda: MLP(n_in=16, hidden=(8, 6), classes=4), normal(3, 1, 4, 4)),
        (lambda: LeNet(shape=(1, 8, 8), channels=(3, 4), kernel=3, hidden=(8,), classes=4), normal(2, 1, 8, 8)),
        (
            lambda: VGG(shape=(1, 8, 8), widths=(4, 6), depth=1, hidden=(8,), dropout=0.2, classes=4),
            normal(2, 1, 8, 8),
        ),
        (lambda: ResNet(channels=1, widths=(4, 6), blocks=1, classes=4), normal(2, 1, 8, 8)),
        (lambda: GPT(symbols=20, context=5, layers=2, heads=2, width=8, dropout=0.1), SYMBOLS),
        (lambda: LSTM(symbols=20, layers=2, width=6), SYMBOLS),
    ],
    ids=["mlp", "lenet", "vgg", "resnet", "gpt", "lstm"],
)
def test_our_own_models(make, example):
    torch.manual_seed(0)
    module = make()
    for part in module.modules():  # statistics that are not those of a fresh module
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.running_mean)
            nn.init.uniform_(part.running_var, 0.5, 2.0)
            nn.init.uniform_(part.weight, -1.0, 1.0)
    check(module, example)
    assert module.training  # as it was


class Convolutions(nn.Module):
    def __init__(self):
        super().__init__()
        self.signal = nn.Conv1d(2, 4, 3, stride=2, padding=1, dilation=2, groups=2)
        self.same = nn.Conv2d(3, 4, (3, 2), padding="same", bias=False)
        self.depthwise = nn.Conv2d(4, 4, 3, padding=1, groups=4)
        self.back = nn.ConvTranspose2d(4, 2, 3, stride=2, padding=1, output_padding=1)
        self.slopes = nn.PReLU(4)
        self.norm = nn.GroupNorm(2, 4)

    def forward(self, x, s):
        x = self.slopes(self.depthwise(torch.relu_(self.same(x))))
        x = self.norm(x)
        pools = (
            functional.max_pool2d(x, 3, 2, 1, ceil_mode=True),
            functional.avg_pool2d(x, 2, padding=1, count_include_pad=False),
            functional.adaptive_avg_pool2d(x, (3, 2)),
            functional.adaptive_max_pool2d(x, 1),
            functional.interpolate(x, scale_factor=2),
            functional.pad(x, (1, 2, 0, 1), value=0.5),
        )
        return self.back(x), self.signal(s), pools


def test_convolutions_and_pools():
    torch.manual_seed(0)
    check(Convolutions(), (normal(2, 3, 6, 6), normal(2, 2, 9)))


class Functions(nn.Module):
    def forward(self, x):
        functions = (
            *(torch.sigmoid, torch.tanh, functional.gelu, functional.silu, functional.hardswish, functional.mish),
            *(functional.hardsigmoid, functional.leaky_relu, functional.elu, functional.selu, functional.softplus),
            *(functional.relu6, torch.abs, torch.exp, torch.square, functional.celu),
        )
        made = [function(x) for function in functions]
        made.append(functional.gelu(x, approximate="tanh"))
        made.append(x.clamp(-0.5, 0.7) + x.clamp_min(0.1) - 2 * x / 3 + (1 - x) ** 2)
        made.append(torch.where(x > 0, x, -x.exp()).masked_fill(x.abs() > 1.5, 0.25))
        made.append(torch.maximum(x, x * 0.5) * torch.rsqrt(x.square() + 1))
        return made


def test_functions_of_single_numbers():
    check(Functions(), normal(3, 4))


class Moves(nn.Module):
    def forward(self, x, places):
        y = x.permute(0, 2, 1).reshape(2, -1).unsqueeze(1)
        parts = x.split([1, 3], 1)
        return {
            "cat": torch.cat([y, y * 2], 1).squeeze(1),
            "stack": torch.stack(x.unbind(2), 1),
            "slice": x[:, 1:, ::2] + x[:, -1:, :5:2],
            "select": x[:, 0].t(),
            "parts": (parts[0].expand(2, 3, 5), parts[1].sum((1, 2)), x.chunk(2, 1)[1].mean(1, keepdim=True)),
            "reduced": (x.amax(1), x.mean(), x.norm(dim=2), x.softmax(1), functional.log_softmax(x, -1), x.cumsum(1)),
            "gathered": torch.gather(x, 2, places).flatten(1).repeat(1, 2),
            "constant": x + torch.arange(5.0) * torch.ones(4, 1),
        }


def test_what_moves_joins_and_reduces():
    places = torch.randint(0, 5, (2, 4, 3), generator=torch.Generator().manual_seed(0))
    check(Moves(), (normal(2, 4, 5), places))


@pytest.mark.parametrize(
    "make, example",
    [
        (lambda: nn.LSTM(3, 4, 2, batch_first=True, bidirectional=True), normal(2, 5, 3)),
        (lambda: nn.LSTM(3, 4, bias=False), (normal(5, 2, 3), (normal(1, 2, 4), normal(1, 2, 4, seed=1)))),
        (lambda: nn.GRU(3, 4, 2, bidirectional=True), (normal(5, 2, 3), normal(4, 2, 4))),
        (lambda: nn.MultiheadAttention(8, 2, batch_first=True), (normal(2, 3, 8), normal(2, 5, 8), normal(2, 5, 8))),
        (lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, activation="gelu"), normal(2, 3, 8)),
    ],
    ids=["lstm", "lstm-states", "gru", "attention", "encoder"],
)
def test_recurrent_layers_and_attention(make, example):
    torch.manual_seed(0)
    module = make()
    if isinstance(example, tuple) and isinstance(example[1], tuple):
        inner = module

        class Wrapped(nn.Module):
            def __init__(self):
                super().__init__()
                self.inner = inner

            def forward(self, x, h, c):
                return self.inner(x, (h, c))

        module, example = Wrapped(), (example[0], *example[1])
    check(module, example)


class Attending(nn.Module):
    def forward(self, q, k, mask):
        attend = functional.scaled_dot_product_attention
        return (
            attend(q, k, k, is_causal=True, scale=0.3),
            attend(q, k, k, attn_mask=mask),
            attend(q, k, k, attn_mask=mask > 0),
        )


def test_masks_of_attention():
    mask = normal(4, 4)
    mask[:, 0] = 1.0  # no place may attend to nothing
    graph = hls.from_torch(Attending(), (normal(2, 2, 4, 3), normal(2, 2, 4, 3, seed=1), mask))
    args = normal(2, 2, 4, 3, seed=2), normal(2, 2, 4, 3, seed=3), mask
    found = graph.run({value.name: a.numpy() for value, a in zip(graph.inputs, args, strict=True)})
    for name, wanted in zip(graph.outputs, Attending()(*args), strict=True):
        assert np.abs(found[name] - wanted.numpy()).max() < 1e-6


def test_names_are_those_of_the_modules():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3))
    graph = hls.from_torch(net, {"input": normal(2, 1, 4, 4)}, name="little")
    assert graph.name == "little"
    assert [(node.name, node.op) for node in graph.nodes] == [
        *(("0", "Conv"), ("1", "BatchNormalization"), ("2", "Relu"), ("3", "Flatten"), ("4", "Gemm"))
    ]
    wanted = {name for name in net.state_dict() if not name.endswith("num_batches_tracked")}
    assert set(graph.constants) == wanted
    assert all((graph.constants[name] == net.state_dict()[name].numpy()).all() for name in wanted)
    assert [value.name for value in graph.inputs] == ["input"]


class Odd(nn.Module):
    def forward(self, x):
        y = torch.linalg.inv(x)
        return y @ torch.fft.fft(x).real


class Branching(nn.Module):
    def forward(self, x):
        return x[x > 0]


class Deciding(nn.Module):
    def forward(self, x):
        return x + 1 if x.sum() > 0 else x


def test_a_branch_that_depends_on_values_is_named_and_torch_says_nothing_itself(capfd):
    with pytest.raises(InvalidValueError) as found:
        hls.from_torch(Deciding(), normal(3))
    text = str(found.value)
    assert text.startswith("torch.export cannot trace Deciding at ") and "test_from_torch.py:" in text
    assert text.endswith("; shapes and branches must not depend on values")
    assert "\n" not in text
    assert capfd.readouterr() == ("", "")


def test_all_unknown_operators_are_listed_with_their_lines():
    with pytest.raises(InvalidValueError) as found:
        hls.from_torch(Odd(), normal(3, 3))
    text = str(found.value)
    assert text.startswith("'Odd' has 2 operators without an ONNX form: aten.linalg_inv.default at ")
    assert text.count("test_from_torch.py:") == 2
    assert "; aten.fft_fft.default at " in text
    assert text.endswith(": it is not supported")


def test_a_prepared_module_is_sent_to_its_checkpoint():
    x = normal(4, 3)
    rule = Rule(match="*", weight="szt", activation={"name": "lsq", "format": "int8"})
    module = prepare(nn.Sequential(nn.Linear(3, 2)), Plan(rules=(rule,)), example=x)
    with pytest.raises(InvalidValueError) as found:
        hls.from_torch(module, x)
    assert str(found.value).endswith(
        ": it quantises; take the float module, and `hls.load` for what training made of it"
    )


@pytest.mark.parametrize(
    "module, example, error, text",
    [
        (Branching(), normal(3), ValueError, None),
        (nn.BatchNorm1d(3, track_running_stats=False), normal(2, 3), ValueError, None),
        (nn.Linear(3, 2).bfloat16(), normal(2, 3).bfloat16(), ValueError, None),
        (nn.Linear(3, 2), [[1.0]], TypeError, "`example` must be tensors, got list"),
        (nn.Linear(3, 2), (), ValueError, "`example` must have at least one tensor"),
        ("net", normal(3), TypeError, "`module` must be a torch.nn.Module, got str"),
    ],
    ids=["branch", "norm", "bfloat16", "list", "nothing", "string"],
)
def test_refusals(module, example, error, text):
    with pytest.raises(error) as found:
        hls.from_torch(module, example)
    assert "\n" not in str(found.value)
    if text is not None:
        assert str(found.value) == text


def test_nothing_is_imported_before_it_is_needed():
    import subprocess
    import sys

    code = "import sys, tetrit.hls; tetrit.hls.from_torch; sys.exit('torch' in sys.modules or 'onnx' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
