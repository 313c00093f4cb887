"""Each type of layer: what it computes, what its gradients are, and that nothing goes past its quantisers."""

import copy
import re

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from tetrit import estimators
from tetrit.errors import InvalidValueError
from tetrit.estimators.adaptive import Tequila
from tetrit.train.qat import Plan, Rule, low_bit_layers, prepare, preparing, quantized_weights

LSQ = {"name": "lsq", "format": "int8"}

LAYERS = {
    "linear": (lambda: nn.Linear(6, 5), (4, 6), 0),
    "linear without bias, 3-d": (lambda: nn.Linear(6, 5, bias=False), (4, 3, 6), 0),
    "conv1d": (lambda: nn.Conv1d(4, 6, 3, padding=1, stride=2), (2, 4, 9), 0),
    "conv2d": (lambda: nn.Conv2d(4, 6, 3, padding=1, groups=2), (2, 4, 5, 5), 0),
    "conv2d reflect": (lambda: nn.Conv2d(4, 6, 3, padding=1, padding_mode="reflect", dilation=1), (2, 4, 5, 5), 0),
    "conv2d same": (lambda: nn.Conv2d(4, 6, (3, 1), padding="same", bias=False), (2, 4, 5, 5), 0),
    "conv3d": (lambda: nn.Conv3d(2, 3, 2), (2, 2, 3, 3, 3), 0),
    "conv_transpose1d": (lambda: nn.ConvTranspose1d(4, 6, 3, stride=2, output_padding=1), (2, 4, 5), 1),
    "conv_transpose2d": (lambda: nn.ConvTranspose2d(4, 6, 3, groups=2, padding=1), (2, 4, 5, 5), 1),
    "conv_transpose3d": (lambda: nn.ConvTranspose3d(2, 3, 2), (2, 2, 3, 3, 3), 1),
}


def plan(weight=None, activation=None):
    return Plan(rules=(Rule(match="*", weight=weight or {"name": "szt", "axis": "output"}, activation=activation),))


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", LAYERS)
def test_layer_computes_with_golden_values_and_gradients(name):
    make, shape, axis = LAYERS[name]
    torch.manual_seed(1)
    plain, x = make(), drawn(*shape)
    layer = prepare(copy.deepcopy(plain), plan(activation=LSQ), example=x)
    e = estimators.get("szt", axis=axis)
    latent = plain.weight.detach().clone()
    step = layer.input_quantizer.estimator
    assert step.step == pytest.approx(estimators.get("lsq", format="int8").start(x.numpy())[0].step, rel=1e-7)

    # the plain layer, given golden values, is the reference
    plain.weight.data = torch.from_numpy(e(latent.numpy()).values).float()
    x_values = torch.from_numpy(step(x.numpy()).values).float().requires_grad_()
    expected = plain(x_values)
    x = x.requires_grad_()
    y = layer(x)
    assert torch.equal(y, expected)

    grad = drawn(*y.shape, seed=2)
    y.backward(grad)
    expected.backward(grad)
    golden = e.backward(latent.numpy(), plain.weight.grad.numpy())
    assert torch.equal(layer.weight.grad, torch.from_numpy(golden))
    if plain.bias is not None:
        assert torch.equal(layer.bias.grad, plain.bias.grad)
    by_input = step.backward(x.detach().numpy(), x_values.grad.numpy())
    assert torch.equal(x.grad, torch.from_numpy(by_input))
    by_step = step.parameter_gradients(x.detach().numpy(), x_values.grad.numpy())["step"]
    assert layer.input_quantizer.step.grad == torch.as_tensor(by_step, dtype=torch.float32)


def test_output_axis_of_every_type():
    for make, _, axis in LAYERS.values():
        layer = prepare(make(), plan())
        q = next(iter(quantized_weights(layer)))[1]
        assert q.scale.size == layer.weight.shape[axis] == q.scale.shape[axis]


def test_input_axis_of_n_of_m_sparsity():
    for make, axis in ((lambda: nn.Linear(8, 4), 1), (lambda: nn.ConvTranspose1d(8, 4, 3), 0)):
        layer = prepare(make(), plan({"name": "sr_ste", "along": "input"}))
        values = next(iter(quantized_weights(layer)))[1].values
        groups = np.moveaxis(values, axis, -1).reshape(-1, 4)
        assert ((groups != 0).sum(1) <= 2).all()
        assert (groups != 0).any()


def test_transposed_convolution_takes_an_output_size():
    layer = nn.ConvTranspose2d(3, 2, 3, stride=2)
    x = drawn(1, 3, 4, 4)
    assert layer(x, output_size=[10, 10]).shape == prepare(layer, plan())(x, output_size=[10, 10]).shape


def test_embedding():
    torch.manual_seed(0)
    plain = nn.Embedding(7, 4, padding_idx=2)
    latent = plain.weight.detach().numpy().copy()
    layer = prepare(copy.deepcopy(plain), plan())
    indices = torch.tensor([[0, 2], [2, 5]])
    values = estimators.get("szt", axis=0)(latent).values
    assert torch.equal(layer(indices), torch.from_numpy(values).float()[indices])
    layer(indices).sum().backward()
    assert layer.weight.grad[0].any() and not layer.weight.grad[2].any()


@pytest.mark.parametrize("fields", [{"max_norm": 1.0}, {"sparse": True}])
def test_embedding_that_cannot_be(fields):
    with pytest.raises(InvalidValueError, match=r"^layer '0' must not have `max_norm` or `sparse` to be quantised$"):
        prepare(nn.Sequential(nn.Embedding(3, 4, **fields)), plan())


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("sizes", [{}, {"kdim": 4, "vdim": 10}, {"bias": False}])
@pytest.mark.parametrize("need_weights", [False, True])
@pytest.mark.parametrize("masks", ["none", "bool", "float", "3-d"])
def test_attention_is_that_of_torch_on_golden_weights(batch_first, sizes, need_weights, masks):
    torch.manual_seed(0)
    plain = nn.MultiheadAttention(8, 2, batch_first=batch_first, **sizes).double()
    if plain.in_proj_bias is not None:
        nn.init.normal_(plain.in_proj_bias)
        nn.init.normal_(plain.out_proj.bias)
    layer = prepare(copy.deepcopy(plain), plan())
    assert sorted(low_bit_layers(layer)) == ["", "out_proj"]
    e = estimators.get("szt", axis=0)
    for name, latent in plain.named_parameters():
        if name.endswith("weight"):
            latent.data = torch.from_numpy(e(latent.detach().numpy()).values)
    q, k, v = (drawn(3, 5, n, seed=i).double() for i, n in enumerate((8, sizes.get("kdim", 8), sizes.get("vdim", 8))))
    if not batch_first:
        q, k, v = (x.transpose(0, 1) for x in (q, k, v))
    forbidden = torch.ones(5, 5, dtype=torch.bool).triu(1)
    padding = torch.zeros(3, 5, dtype=torch.bool)
    padding[1, 4] = True
    more = {
        "none": {},
        "bool": {"attn_mask": forbidden, "key_padding_mask": padding},
        "float": {"attn_mask": forbidden.double() * -3.0},
        "3-d": {"attn_mask": drawn(6, 5, 5).double()},
    }[masks]
    y, shares = layer(q, k, v, need_weights=need_weights, **more)
    expected, expected_shares = plain(q, k, v, need_weights=need_weights, **more)
    torch.testing.assert_close(y, expected, rtol=1e-12, atol=1e-12)
    if need_weights:
        torch.testing.assert_close(shares, expected_shares, rtol=1e-12, atol=1e-12)
    else:
        assert shares is None


def test_attention_to_itself_quantises_its_input_once_and_the_mixture_too():
    torch.manual_seed(0)
    attention = prepare(nn.MultiheadAttention(8, 2), plan(activation=LSQ), example=(drawn(5, 8),) * 3)
    calls = []
    for name in ("input_quantizer", "out_proj.input_quantizer"):
        attention.get_submodule(name).register_forward_hook(lambda *_, name=name: calls.append(name))
    x = drawn(5, 8)
    y, shares = attention(x, x, x, average_attn_weights=False)
    assert calls == ["input_quantizer", "out_proj.input_quantizer"]
    assert y.shape == (5, 8) and shares.shape == (2, 5, 5)
    attention(x, drawn(5, 8, seed=1), drawn(5, 8, seed=2))
    assert calls[2:] == ["input_quantizer"] * 3 + ["out_proj.input_quantizer"]


def test_rules_for_the_output_projection_of_an_attention():
    model = nn.ModuleDict({"a": nn.MultiheadAttention(8, 2), "b": nn.MultiheadAttention(8, 2)})
    rules = (Rule(match="a.out_proj"), Rule(match="a", weight="szt"), Rule(match="b.out_proj", weight="ste"))
    prepare(model, Plan(rules=rules))
    assert [name for name, _ in quantized_weights(model)] == ["a.in_proj_weight", "b.out_proj.weight"]
    x = drawn(5, 8)
    model["b"].out_proj.weight_quantizer.register_forward_hook(lambda *_: torch.zeros(8, 8))
    assert torch.equal(model["b"](x, x, x)[0], model["b"].out_proj.bias.expand(5, 8))


def test_attention_that_cannot_be():
    text = "layer '0' must not have `add_bias_kv` or `add_zero_attn` to be quantised"
    for fields in ({"add_bias_kv": True}, {"add_zero_attn": True}):
        with pytest.raises(InvalidValueError, match=f"^{re.escape(text)}$"):
            prepare(nn.Sequential(nn.MultiheadAttention(8, 2, **fields)), plan())


@pytest.mark.parametrize("activation", [None, LSQ])
def test_transformer_of_torch_uses_quantised_weights_in_inference_too(activation):
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    model = nn.TransformerEncoder(layer, 2)
    x, padding = drawn(3, 5, 8), torch.zeros(3, 5, dtype=torch.bool)
    padding[:, 4:] = True
    prepare(model, plan(activation=activation), example=x)
    expected = model(x, src_key_padding_mask=padding).detach()  # training, no dropout
    model.eval()
    with torch.no_grad():
        got = model(x, src_key_padding_mask=padding)
    torch.testing.assert_close(got[:, :4], expected[:, :4], rtol=1e-5, atol=1e-6)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_without_care_torch_would_use_latent_weights(monkeypatch):
    """The test above would see it."""
    monkeypatch.setattr(preparing, "avoid_fast_paths", lambda model: None)
    with pytest.raises(AssertionError, match="not close"):
        test_transformer_of_torch_uses_quantised_weights_in_inference_too(None)


@pytest.fixture
def tequila(monkeypatch):
    monkeypatch.setitem(estimators._CLASSES, "tequila", Tequila)


@pytest.mark.parametrize(
    "make", [lambda: nn.Linear(6, 5), lambda: nn.Conv2d(6, 5, 2), lambda: nn.ConvTranspose2d(6, 5, 2)]
)
def test_dead_weights_of_tequila_add_a_bias_and_learn_by_it(make, tequila):
    torch.manual_seed(0)
    plain = make().double()
    layer = prepare(copy.deepcopy(plain), plan({"name": "tequila", "strength": 0.5, "outputs": "output"}))
    e = layer.weight_quantizer.estimator
    latent = plain.weight.detach().numpy().copy()
    x = drawn(3, 6, *(4,) * (latent.ndim - 2)).double()
    plain.weight.data = torch.from_numpy(e(latent).values)
    plain.bias.data += torch.from_numpy(e.bias(latent))
    y, expected = layer(x), plain(x)
    torch.testing.assert_close(y, expected, rtol=1e-12, atol=1e-12)
    grad = drawn(*y.shape, seed=3).double()
    y.backward(grad)
    expected.backward(grad)
    golden = e.backward(latent, plain.weight.grad.numpy(), grad_bias=plain.bias.grad.numpy())
    torch.testing.assert_close(layer.weight.grad, torch.from_numpy(golden), rtol=1e-12, atol=1e-12)
    assert (e(latent).codes == 0).any()


def test_tequila_needs_outputs(tequila):
    weight = {"name": "tequila", "outputs": 1}
    with pytest.raises(InvalidValueError, match=r"^layer '0': `outputs` of 'tequila' must be 0$"):
        prepare(nn.Sequential(nn.Linear(3, 3)), plan(weight))
    text = "layer '0' has no outputs that dead weights could add to: 'tequila' cannot be used"
    with pytest.raises(InvalidValueError, match=f"^{text}$"):
        prepare(nn.Sequential(nn.Embedding(3, 3)), plan("tequila"))


def test_latents_of_another_shape():
    """DenseShift trains several numbers for each weight."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 2))
    weights = [layer.weight.detach().numpy().copy() for layer in (model[0], model[2])]
    prepare(model, plan("denseshift"))
    x = drawn(3, 6)
    hidden = functional.linear(x, torch.from_numpy(model[0].weight_quantizer.codes(model[0].weight).values).float())
    hidden = torch.relu(hidden + model[0].bias)
    for layer, weight in zip((model[0], model[2]), weights, strict=True):
        started, latent = estimators.get("denseshift").start(weight)
        assert layer.weight.shape == latent.shape != weight.shape
        assert layer.weight_quantizer.estimator == started
        assert layer.weight_quantizer.codes(layer.weight).codes.shape == weight.shape
    model.eval()
    torch.testing.assert_close(torch.relu(model[0](x)), hidden)
    model(x).sum().backward()
    assert model[0].weight.grad.shape == model[0].weight.shape


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("need_weights", [True, False])
def test_causal_attention_needs_its_mask(training, need_weights):
    attention = prepare(nn.MultiheadAttention(4, 2), plan()).train(training)
    x = drawn(5, 2, 4)
    text = "`attn_mask` must be given with `is_causal`, which is no more than a hint about it"
    with pytest.raises(InvalidValueError, match=f"^{re.escape(text)}$"):
        attention(x, x, x, is_causal=True, need_weights=need_weights)
    mask = nn.Transformer.generate_square_subsequent_mask(5)
    y, _ = attention(x, x, x, is_causal=True, attn_mask=mask, need_weights=need_weights)
    other = x.clone()
    other[3:] += 1
    z, _ = attention(other, other, other, is_causal=True, attn_mask=mask, need_weights=need_weights)
    assert torch.allclose(y[:3], z[:3]) and not torch.allclose(y[3:], z[3:])


def test_errors_of_values_name_the_quantiser():
    model = prepare(nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2)), Plan(rules=(Rule(match="1", weight="szt"),)))
    with torch.no_grad():
        model[1].weight[0, 1] = torch.nan
    with pytest.raises(
        InvalidValueError, match=r"^'1\.weight_quantizer': `w` must be finite, got nan at index \(0, 1\)$"
    ):
        model(torch.ones(1, 3))
