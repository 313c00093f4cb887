"""What noise-aware training refuses, with whole error texts."""

import re
from collections import OrderedDict

import pytest
import torch
from torch import nn

from tetrit.errors import InvalidValueError
from tetrit.hardware import Adc, Crossbar, Device
from tetrit.train import Plan, Ramp, Rule, calibrate, noise_aware, prepare, set_crossbar, set_noise

PCM = Crossbar(rows=32, cols=32, device="pcm", bits_per_cell=8, adc=Adc(range="calibrated"), time_s=60.0)


PLAN = Plan(rules=(Rule(match="*", weight={"name": "ste", "format": "int8", "axis": "output"}),))


def mlp():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(40, 12), nn.ReLU(), nn.Linear(12, 5, bias=False))


NONE_THERE = "`model` must have layers on a crossbar, got none; use `noise_aware` before"
NO_NOISE = "unknown noise 'none'; known: extended, graph, injection"


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: noise_aware(3, PCM), TypeError, "`model` must be an nn.Module, got int"),
        (lambda: noise_aware(mlp(), "pcm"), TypeError, "`crossbar` must be a Crossbar, got str"),
        (lambda: noise_aware(mlp(), PCM, 3), TypeError, "`plan` must be a Plan, got int"),
        (lambda: noise_aware(mlp(), PCM, ramp=1), TypeError, "`ramp` must be a Ramp, got int"),
        (
            lambda: noise_aware(nn.ReLU(), PCM),
            InvalidValueError,
            "`model` must have a Linear, Conv1d or Conv2d layer without groups, got none",
        ),
        (
            lambda: noise_aware(noise_aware(mlp(), PCM), PCM),
            InvalidValueError,
            "`model` must not be on a crossbar already; use `set_crossbar` to change the machine",
        ),
        (
            lambda: noise_aware(mlp(), PCM, Plan(rules=(Rule(match="*", weight="ste", activation="lsq"),))),
            InvalidValueError,
            "rule '*' must have no `activation`: the crossbar's converters quantise the inputs",
        ),
        (
            lambda: noise_aware(mlp(), PCM, Plan(rules=(Rule(match="*", weight="szt"),))),
            InvalidValueError,
            "layer '0' has szt weights, the crossbar takes int8",
        ),
        (
            lambda: noise_aware(nn.Conv2d(4, 4, 3, groups=2), PCM, Plan(rules=(Rule(match="*", weight="ste"),))),
            InvalidValueError,
            "layer '' has 2 groups, which no crossbar here takes; keep it in float",
        ),
        (
            lambda: noise_aware(mlp(), PCM, redraw="chip", cells="statistics"),
            InvalidValueError,
            "`cells` must be 'each' where a chip is kept (`redraw` = 'chip')",
        ),
        (
            lambda: noise_aware(mlp(), PCM.replace(stuck_on=0.1), cells="statistics"),
            InvalidValueError,
            "`cells` must be 'each' for a crossbar with stuck cells",
        ),
        (
            lambda: noise_aware(mlp(), PCM.replace(weight_format="posit4_1")),
            InvalidValueError,
            "there is no default estimator for posit4_1 weights; give a `plan`",
        ),
        (
            lambda: Ramp(start=0.5, full=0.25),
            InvalidValueError,
            "a ramp must have quantise <= start <= full <= 1, got 0, 0.5, 0.25",
        ),
        (
            lambda: noise_aware(mlp(), PCM).eval()(torch.zeros(1, 40)),
            InvalidValueError,
            "layer '0' knows no range of its inputs yet: train, or call `calibrate`",
        ),
        (
            lambda: set_noise(mlp(), "float"),
            InvalidValueError,
            NONE_THERE,
        ),
        (
            lambda: noise_aware(mlp(), PCM, Plan(rules=(Rule(match="*", weight={"name": "lsq", "format": "int8"}),))),
            InvalidValueError,
            "layer '0': the estimator 'lsq' must give the largest magnitude of every output the same integer; "
            "use 'ste', 'szt' or 'pot' with axis = 'output'",
        ),
        (
            lambda: noise_aware(mlp(), PCM, Plan(rules=(Rule(match="*", weight={"name": "ste", "format": "int8"}),))),
            InvalidValueError,
            "layer '0': the estimator 'ste' must give the largest magnitude of every output the same integer; "
            "use 'ste', 'szt' or 'pot' with axis = 'output'",
        ),
        (lambda: noise_aware(mlp(), PCM, noise="none"), InvalidValueError, NO_NOISE),
        (
            lambda: noise_aware(mlp(), PCM, noise="graph", redraw="chip"),
            InvalidValueError,
            "`noise` = 'graph' takes no `redraw` = 'chip'; 'extended' does",
        ),
        (
            lambda: noise_aware(mlp(), PCM.replace(mapping="offset"), noise="injection"),
            InvalidValueError,
            "`noise` = 'injection' takes no `mapping` = 'offset'; 'extended' does",
        ),
        (
            lambda: noise_aware(mlp(), PCM.replace(stuck_on=0.1), noise="graph"),
            InvalidValueError,
            "`noise` = 'graph' takes no `cells` = 'each'; 'extended' does",
        ),
        (
            lambda: noise_aware(mlp(), PCM.replace(adc=Adc(gain_sigma=0.1)), noise="graph"),
            InvalidValueError,
            "`noise` = 'graph' takes no errors of `dac` or `adc`; 'extended' does",
        ),
        (
            lambda: noise_aware(mlp(), PCM.replace(device=Device(sinh_volt=0.2)), noise="graph"),
            InvalidValueError,
            "`noise` = 'graph' takes no `sinh_volt` of the device; 'extended' does",
        ),
        (
            lambda: set_crossbar(noise_aware(mlp(), PCM), PCM.replace(stuck_off=0.1)),
            InvalidValueError,
            "`cells` must be 'each' for a crossbar with stuck cells",
        ),
        (lambda: calibrate(mlp(), torch.zeros(1, 40)), InvalidValueError, NONE_THERE),
        (
            lambda: noise_aware(prepare(mlp(), PLAN).to("meta"), PCM),
            InvalidValueError,
            "layer '0' must have values, its weights are on the device 'meta'",
        ),
    ],
)
def test_errors(make, error, text):
    with pytest.raises(error, match=f"^{re.escape(text)}$"):
        make()


LINEAR = r"the input of layer 'layer' must have shape \(\.\.\., 40\), got "
IMAGES = r"the input of layer 'layer' must have shape \(\[n,\] 2, height, width\), got "
SMALL = r"the input of layer 'layer', of shape %s, is smaller than the kernel's reach"


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    ("make", "shape", "text"),
    [
        (lambda: nn.Linear(40, 8), (4, 41), LINEAR + re.escape("(4, 41)")),
        (lambda: nn.Linear(40, 8), (4, 3, 39), LINEAR + re.escape("(4, 3, 39)")),
        (lambda: nn.Linear(40, 8), (), LINEAR + re.escape("()")),
        (lambda: nn.Conv2d(2, 4, 3), (4, 3, 8, 8), IMAGES + re.escape("(4, 3, 8, 8)")),
        (lambda: nn.Conv2d(2, 4, 3), (8, 8), IMAGES + re.escape("(8, 8)")),
        (lambda: nn.Conv2d(2, 4, 5, padding=1), (4, 2, 2, 9), SMALL % re.escape("(4, 2, 2, 9)")),
        (lambda: nn.Conv2d(2, 4, 3), (4, 2, 1, 1), SMALL % re.escape("(4, 2, 1, 1)")),
        (lambda: nn.Conv1d(2, 4, 3), (4, 2, 2), SMALL % re.escape("(4, 2, 2)")),
    ],
)
def test_inputs_of_another_shape(make, shape, text, training):
    """Compiled loops would read and write beyond their arrays."""
    model = noise_aware(nn.Sequential(OrderedDict(layer=make())), PCM).train(training)
    limit = model.layer.input_limit.clone()
    with pytest.raises(InvalidValueError, match=f"^{text}$"):
        model(torch.zeros(shape))
    assert torch.equal(model.layer.input_limit, limit)


def test_weights_of_another_shape():
    layer = noise_aware(nn.Sequential(nn.Linear(40, 8)), PCM)[0]
    layer(torch.randn(3, 40))
    with pytest.raises(InvalidValueError, match=r"^`values` must have shape \(8, 40\), got \(8, 41\)$"):
        layer.hardware_forward(torch.zeros(3, 40), torch.zeros(8, 41))
    with pytest.raises(InvalidValueError, match=r"^`bias` must have shape \(8,\), got \(7,\)$"):
        layer.hardware_forward(torch.zeros(3, 40), torch.zeros(8, 40), torch.zeros(7))
