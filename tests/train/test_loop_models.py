"""Every network goes through the whole loop: float, quantised, interrupted; and what it can learn, it learns."""

import os
import signal

import pytest
import torch

from tetrit.train.loop import Interrupted, run
from tetrit.train.models import MODELS

SIZES = {
    "gpt": "context = 8\nlayers = 1\nheads = 2\nwidth = 8\n",
    "lenet": "channels = [2, 3]\nkernel = 3\nhidden = [6]\n",
    "lstm": "context = 8\nwidth = 8\n",
    "mlp": "hidden = [8]\n",
    "resnet": "widths = [3, 4]\n",
    "vgg": "widths = [3, 4]\ndepth = 1\nhidden = [6]\n",
}
PLAN = """
[quantize]
float_epochs = 1
fold_batchnorm = {fold}
[[quantize.layer]]
match = "*"
weight = {{ name = "szt", axis = "output" }}
"""


def text_of(name, texts, *, train, fold="false"):
    data = texts["text" if name in ("gpt", "lstm") else "images"]
    return f'{data}[model]\nname = "{name}"\n{SIZES[name]}[train]\n{train}\n{PLAN.format(fold=fold)}'


def test_every_model_is_tested():
    assert SIZES.keys() == MODELS.keys()


@pytest.mark.parametrize(
    ("name", "fold"), [*((name, "false") for name in sorted(SIZES)), ("vgg", "true"), ("resnet", "true")]
)
def test_float_then_ternary_interrupted_in_between(config, texts, tmp_path, name, fold):
    chosen = config(text_of(name, texts, train="steps = 3\nbatch = 60", fold=fold))

    metrics = run(chosen, tmp_path / "whole")
    assert list(metrics["results"]) == ["float", "quantized"]
    weights = metrics["history"][-1]["weights"]
    float_parameters = metrics["model"]["parameters"]
    assert 0.4 * float_parameters < weights["all"]["weights"] <= float_parameters
    assert all(0.0 < figures["zero"] < 1.0 for figures in weights.values())

    def stop(phase, step):
        if (phase, step) == ("quantized", 2):
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted):
        run(chosen, tmp_path / "out", after_step=stop)
    run(chosen, tmp_path / "out", resume=True)
    for file in ("metrics.json", "config.json"):
        assert (tmp_path / "out" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()
    one, two = (torch.load(tmp_path / path / "model.pt", weights_only=True) for path in ("out", "whole"))
    assert one.keys() == two.keys()
    tensors = [key for key in one if isinstance(one[key], torch.Tensor)]
    assert tensors
    assert all(torch.equal(one[key], two[key]) for key in tensors)


@pytest.mark.parametrize(("name", "least"), [("gpt", 0.5), ("lstm", 0.5)])
def test_a_repeated_sentence_is_learned(config, texts, tmp_path, name, least):
    sizes = SIZES[name].replace("width = 8", "width = 32")
    text = texts["text"] + f'[model]\nname = "{name}"\n{sizes}[train]\nsteps = 150\nbatch = 16\nrate = 0.01\n'
    metrics = run(config(text), tmp_path / "out")
    assert metrics["results"]["float"]["test"]["accuracy"] > least
