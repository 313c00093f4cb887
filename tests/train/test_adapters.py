"""The callbacks, inside loops that call them in the order of Lightning 2 and transformers 4 and 5."""

import math
import re
import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch
from torch import nn

from tetrit.errors import InvalidValueError, ToolError
from tetrit.train.adapters import huggingface, lightning
from tetrit.train.qat import Plan, Rule, prepare

X = torch.randn(8, 4, generator=torch.Generator().manual_seed(0))


def network():
    return prepare(nn.Sequential(nn.Linear(4, 2)), Plan(rules=(Rule(match="*", weight="reste"),)))


class Callback:
    """The part of Lightning's that matters."""

    def on_train_start(self, trainer, pl_module): ...

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx): ...

    def state_dict(self):
        return {}

    def load_state_dict(self, state_dict): ...


class TrainerCallback:
    """The part of transformers' that matters."""

    def on_train_begin(self, args, state, control, **kwargs): ...

    def on_optimizer_step(self, args, state, control, **kwargs): ...

    def on_step_end(self, args, state, control, **kwargs): ...


def stand_in(monkeypatch, name, **content):
    module = ModuleType(name)
    module.__dict__.update(content)
    monkeypatch.setitem(sys.modules, name, module)


@pytest.fixture(params=["lightning.pytorch", "pytorch_lightning"])
def lightning_callback(request, monkeypatch):
    for name in ("lightning", "lightning.pytorch", "pytorch_lightning"):
        monkeypatch.setitem(sys.modules, name, None)
    if request.param == "lightning.pytorch":
        stand_in(monkeypatch, "lightning")
    stand_in(monkeypatch, request.param, Callback=Callback)
    yield lightning.TetritCallback
    vars(lightning).pop("TetritCallback", None)


@pytest.fixture
def hugging_callback(monkeypatch):
    stand_in(monkeypatch, "transformers", TrainerCallback=TrainerCallback)
    yield huggingface.TetritCallback
    vars(huggingface).pop("TetritCallback", None)


def fit(callback, model, *, batches, accumulate=1, first=0, total=None):
    """Train as Lightning does: gradients of several batches added, callbacks after each batch."""
    steps = (first + batches) // accumulate if total is None else total
    trainer = SimpleNamespace(global_step=first // accumulate, estimated_stepping_batches=steps)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    callback.on_train_start(trainer, model)
    seen = []
    for batch in range(batches):
        seen.append(model[0].weight_quantizer.progress)
        if batch % accumulate == 0:
            optimizer.zero_grad()
        model(X).square().mean().backward()
        if batch % accumulate == accumulate - 1:
            optimizer.step()
            trainer.global_step += 1
        callback.on_train_batch_end(trainer, model, None, X, batch)
    return seen


def test_lightning_steps_with_the_optimiser(lightning_callback):
    assert fit(lightning_callback(), network(), batches=4) == [0.0, 0.25, 0.5, 0.75]


def test_lightning_does_not_count_batches_that_are_only_added_up(lightning_callback):
    callback = lightning_callback()
    assert fit(callback, network(), batches=8, accumulate=2) == [0.0, 0.0, 0.25, 0.25, 0.5, 0.5, 0.75, 0.75]
    assert callback.schedule.progress == 1.0


def test_lightning_goes_on_from_a_checkpoint(lightning_callback):
    callback = lightning_callback()
    assert callback.state_dict() == {}
    fit(callback, network(), batches=2, total=8)
    again = lightning_callback()
    again.load_state_dict(callback.state_dict())
    assert fit(again, network(), batches=2, first=2, total=8) == [0.25, 0.375]


def test_lightning_needs_an_end(lightning_callback):
    text = "`total_steps` must be given to a training without an end, got inf"
    with pytest.raises(InvalidValueError, match=f"^{re.escape(text)}$"):
        fit(lightning_callback(), network(), batches=1, total=math.inf)
    assert fit(lightning_callback(total_steps=2), network(), batches=2, total=math.inf) == [0.0, 0.5]


def test_lightning_refuses_a_network_without_quantisers(lightning_callback):
    with pytest.raises(InvalidValueError, match=r"^`model` must have quantisers, got none; prepare it before$"):
        fit(lightning_callback(), nn.Sequential(nn.Linear(4, 2)), batches=1)


def test_classes_are_those_of_the_packages(lightning_callback, hugging_callback):
    assert issubclass(lightning_callback, Callback) and issubclass(hugging_callback, TrainerCallback)
    assert lightning.TetritCallback is lightning_callback
    assert huggingface.TetritCallback is hugging_callback
    assert hugging_callback.__module__ == "tetrit.train.adapters.huggingface"


@pytest.mark.parametrize("begin", [0, 3])
def test_hugging_face_steps_before_gradients_are_cleared(hugging_callback, begin):
    model, callback = network(), hugging_callback()
    state = SimpleNamespace(global_step=begin, max_steps=6)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    callback.on_train_begin(None, state, None, model=model, processing_class=None)
    seen = []
    for _ in range(begin, 6):
        seen.append(model[0].weight_quantizer.progress)
        model(X).square().mean().backward()
        optimizer.step()
        assert model[0].weight.grad is not None
        callback.on_optimizer_step(None, state, None, model=model, optimizer=optimizer)
        optimizer.zero_grad()
        state.global_step += 1
        callback.on_step_end(None, state, None, model=model)
    assert seen == [step / 6 for step in range(begin, 6)]
    assert callback.schedule.progress == 1.0


@pytest.mark.parametrize(
    ("module", "names", "text"),
    [
        (
            lightning,
            ("lightning", "lightning.pytorch", "pytorch_lightning"),
            "the callback for Lightning needs the package lightning: pip install lightning",
        ),
        (
            huggingface,
            ("transformers",),
            "the callback for Hugging Face needs transformers: pip install transformers",
        ),
    ],
)
def test_missing_packages(module, names, text, monkeypatch):
    for name in names:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ToolError, match=f"^{re.escape(text)}$"):
        _ = module.TetritCallback
    with pytest.raises(AttributeError, match=r"has no attribute 'Callback'$"):
        _ = module.Callback
