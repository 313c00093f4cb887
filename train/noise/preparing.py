"""One call that puts a network on a crossbar, and those that say what its layers compute and which chip they have."""

__all__ = ["calibrate", "crossbar_layers", "new_chip", "noise_aware", "set_crossbar", "set_noise"]

from typing import Any

import numpy as np
import torch
from torch import nn

from tetrit import checks
from tetrit.errors import InvalidValueError
from tetrit.hardware import Crossbar
from tetrit.train.noise.extended import NoiseAwareLayer
from tetrit.train.noise.layers import NOISE_AWARE
from tetrit.train.noise.settings import MODES, Mode, Ramp, Settings
from tetrit.train.noise.simulation import Simulation
from tetrit.train.qat.layers import LOW_BIT, LowBitLayer, low_bit_layers
from tetrit.train.qat.passes import call, evaluating
from tetrit.train.qat.plan import Plan, Rule
from tetrit.train.qat.preparing import prepare

_TYPES = tuple(kind for kind, low_bit in LOW_BIT.items() if low_bit in NOISE_AWARE)


def noise_aware(
    model: nn.Module,
    crossbar: Crossbar,
    plan: Plan | None = None,
    *,
    noise: str = "extended",
    redraw: str = "batch",
    cells: str | None = None,
    seed: int = 0,
    refresh_every: int = 200,
    wires: str = "lumped",
    ramp: Ramp | None = None,
) -> nn.Module:
    """Let the layers of a network compute as a crossbar does, and learn as if it were perfect, in place.

    The extended straight-through estimator: ``y = f(x, W) + stopgrad(N(f, x, W) - f(x, W))``. Forward, every product is
    that of the simulated machine: inputs and weights in its formats, weights cut into digits and spread over arrays,
    programming error, spread, drift, temperature, stuck cells, wires, noise of every read, and converters that round
    and clip. Backward, the layer is `f`: the product of its input with its quantised weights, without any noise, and
    then the rule of the weights' estimator. What is saved for it is the input and the quantised weights.

    Layers are those of `prepare` (same objects, parameters and names), so optimisers, `Schedule`, exports and state
    dicts go on working, and no loop needs another line.

    Parameters
    ----------
    model : nn.Module
        Float, on its device already, or prepared before (then without `plan`). Linear, Conv1d and Conv2d layers
        without groups go onto the crossbar.
    crossbar : Crossbar
    plan : Plan, optional
        Estimators of the weights, which must give integers of the machine's `weight_format`, with one scale for each
        output (``axis="output"``; ``szt`` may have one for all). By default all layers that can be, with ``ste`` for
        integers, ``szt`` and ``pot``.
    noise : {"extended", "graph", "injection"}, default "extended"
        The others are the standard alternative, for comparison: noise in the graph, see `tetrit.train.noise.graph`.
    redraw : {"batch", "epoch", "chip"}, default "batch"
        When another chip is drawn: for every batch (every call of `model`, or of a layer outside of one), at every
        ``model.train()``, or never. In evaluation the chip stays the same, as `tetrit.sim` draws it (with ``epoch``
        that of the last one); see `new_chip`.
    cells : {"statistics", "each"}, optional
        ``each`` draws every cell; ``statistics`` draws the current of a weight's cells from a normal of their mean and
        variance, which needs one number a weight. By default the latter, but ``each`` where a chip lasts or cells are
        stuck.
    seed : int, default 0
    refresh_every : int, default 200
        Batches between two solutions of the wires, and draws of the converters' errors.
    wires : {"lumped", "exact"}, default "lumped"
        How wires are solved in training, see `tetrit.sim.crossbar.effective_conductance`.
    ramp : Ramp, optional
        How noise comes in along the progress that a `tetrit.train.Schedule` sets; by default all at once.

    Returns
    -------
    nn.Module
        `model`, the same object.

    Raises
    ------
    TypeError
        An argument of the wrong kind.
    InvalidValueError
        An option out of range; no layer, or one that cannot be on a crossbar; an estimator that does not fit the
        machine; or what `prepare` raises.

    Notes
    -----
    Source of the estimator: Feng et al., arXiv 2508.11940, of which the abstract gives the idea; the formula, and all
    of the forward pass, are **our reconstruction**. `f` takes the quantised weights, not the latent ones, and the input
    as it came: where the input is clipped, the gradient passes. Sums and rounding are in float32: integer results are
    exact up to 2^24.

    ``statistics``: the mean and the variance of what every cell adds are exact; that their sum is a normal is not, but
    for a device whose only error is one of programming that stays clear of 0. Wires count by the share of every cell's
    conductance that they leave in the mean, renewed every `refresh_every` batches; in evaluation they are solved
    exactly. Curved cells (`sinh_volt`) see the row's voltage.

    The input's range follows the largest magnitude of batches in training, the range of calibrated converters that of
    currents (looked at in each of the first 16 batches, then in every 16th); both are kept in evaluation, and batches
    that are not finite do not count. Bias is added digitally, in float.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from tetrit.hardware import load
    >>> from tetrit.train import noise_aware
    >>> _ = torch.manual_seed(0)
    >>> model = noise_aware(nn.Sequential(nn.Linear(4, 3)), load("crossbar_ideal"))
    >>> model(torch.ones(2, 4)).sum().backward()
    >>> model[0].weight.grad
    tensor([[2., 2., 2., 2.],
            [2., 2., 2., 2.],
            [2., 2., 2., 2.]])
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"`model` must be an nn.Module, got {type(model).__name__}")
    if not isinstance(crossbar, Crossbar):
        raise TypeError(f"`crossbar` must be a Crossbar, got {type(crossbar).__name__}")
    if cells is None:
        lasting = redraw != "batch" or crossbar.stuck_on > 0 or crossbar.stuck_off > 0
        cells = "each" if lasting else "statistics"
    settings = Settings(
        machine=crossbar,
        noise=noise,
        redraw=redraw,
        cells=cells,
        seed=seed,
        refresh_every=refresh_every,
        wires=wires,
        ramp=Ramp() if ramp is None else ramp,
    )
    prepared = any(isinstance(module, LowBitLayer) for module in model.modules())
    if prepared and plan is not None:
        raise InvalidValueError("`plan` must be left out for a model that has been prepared before")
    if any(isinstance(module, NoiseAwareLayer) for module in model.modules()):
        raise InvalidValueError("`model` must not be on a crossbar already; use `set_crossbar` to change the machine")
    if not prepared:
        plan = _default(model, crossbar) if plan is None else plan
        _check_plan(model, plan)
        prepare(model, plan)
    swaps: list[tuple[str, LowBitLayer, Simulation]] = []
    for name, layer in low_bit_layers(model).items():
        if "weight" in layer.weights and layer.quantizer_of("weight") is not None:
            swaps.append((name, layer, _simulation(name, layer, settings, len(swaps))))
    if not swaps:
        raise InvalidValueError("`model` must have a Linear, Conv1d or Conv2d layer with quantised weights, got none")
    for name, layer, simulation in swaps:
        _swap(name, layer, simulation)
    vars(model)["_on_crossbar"] = list(crossbar_layers(model).values())  # known without a search in every batch
    model.register_forward_pre_hook(_begin)
    model.register_forward_hook(_end, always_call=True)
    return model


def _begin(model: nn.Module, *args: Any) -> None:
    _tell(model, "begin")


def _end(model: nn.Module, *args: Any) -> None:
    _tell(model, "end")


def _tell(model: nn.Module, what: str) -> None:
    """Call a method of all layers, out of sight of a compiler."""
    if torch.compiler.is_compiling():
        _tell_unseen(model, what)
        return
    for layer in vars(model)["_on_crossbar"]:
        getattr(layer, what)()


@torch.compiler.disable
def _tell_unseen(model: nn.Module, what: str) -> None:
    _tell(model, what)


def _default(model: nn.Module, machine: Crossbar) -> Plan:
    name = machine.weight_format
    table: dict[str, Any] = {"name": "ste", "format": name, "axis": "output"}
    if name in ("szt", "int2_symmetric"):
        table = {"name": "szt", "axis": "output"}
    elif name.startswith("pot"):
        table = {"name": "pot", "format": name, "axis": "output"}
    elif not name.startswith("int"):
        raise InvalidValueError(f"there is no default estimator for {name} weights; give a `plan`")
    names = [key for key, layer in model.named_modules() if type(layer) in _TYPES and getattr(layer, "groups", 1) == 1]
    if not names:
        raise InvalidValueError("`model` must have a Linear, Conv1d or Conv2d layer without groups, got none")
    return Plan(rules=tuple(Rule(match=_literal(key), weight=table) for key in names))


def _literal(name: str) -> str:
    return name if name else "*"


def _check_plan(model: nn.Module, plan: Plan) -> None:
    if not isinstance(plan, Plan):
        raise TypeError(f"`plan` must be a Plan, got {type(plan).__name__}")
    for rule in plan.rules:
        if rule.activation not in (None, "float"):
            raise InvalidValueError(
                f"rule '{rule.match}' must have no `activation`: the crossbar's converters quantise the inputs"
            )
    for name, layer in model.named_modules():
        taken = next((rule for rule in plan.rules if rule.takes(name)), None)
        if taken is not None and taken.weight != "float" and getattr(layer, "groups", 1) > 1:
            raise InvalidValueError(
                f"layer '{name}' has {layer.groups} groups, which no crossbar here takes; keep it in float"
            )


def _simulation(name: str, layer: LowBitLayer, settings: Settings, number: int) -> Simulation:
    machine = settings.machine
    if type(layer) not in NOISE_AWARE:
        raise InvalidValueError(
            f"layer '{name}' is a {type(layer).__name__}, which cannot be on a crossbar; Linear, Conv1d and Conv2d can"
        )
    if layer.input_quantizer is not None:
        raise InvalidValueError(
            f"layer '{name}' must have no activation estimator: the crossbar's converters quantise the inputs"
        )
    if getattr(layer, "groups", 1) > 1:
        raise InvalidValueError(
            f"layer '{name}' has {layer.groups} groups, which no crossbar here takes; keep it in float"
        )
    if layer.dead_strengths:
        raise InvalidValueError(f"layer '{name}': 'tequila' cannot be on a crossbar: its dead weights act in float")
    weight = layer.weight
    assert isinstance(weight, torch.Tensor)
    if weight.is_meta:
        raise InvalidValueError(f"layer '{name}' must have values, its weights are on the device 'meta'")
    top = _top(name, layer, weight.detach(), machine)
    return Simulation(settings, number, weight[0].numel(), len(weight), top)


_SAME = {("szt", "int2_symmetric"), ("int2_symmetric", "szt")}


def _top(name: str, layer: LowBitLayer, weight: torch.Tensor, machine: Crossbar) -> int:
    """Return the integer of the largest magnitude of an output's weights, which must be the same for all outputs."""
    quantizer = layer.quantizer_of("weight")
    assert quantizer is not None
    rows = weight.flatten(1).float().cpu()
    some = torch.linspace(-1.0, 1.0, rows.shape[1]).expand_as(rows)  # outputs of zeros show nothing
    rows = torch.where(rows.any(1, keepdim=True), rows, some)
    found = quantizer.codes(rows.reshape(weight.shape).to(weight.dtype))
    if found.format != machine.weight_format and (found.format, machine.weight_format) not in _SAME:
        raise InvalidValueError(
            f"layer '{name}' has {found.format} weights, the crossbar takes {machine.weight_format}"
        )
    scale = np.broadcast_to(found.scale, weight.shape).reshape(len(weight), -1)
    values = np.asarray(found.values, np.float64).reshape(scale.shape)
    tops = np.rint(np.abs(values / scale).max(axis=1))
    shared = np.size(found.scale) == 1 and len(weight) > 1 and tops[0] > 1
    if shared or (scale != scale[:, :1]).any() or (tops != tops[0]).any():
        raise InvalidValueError(
            f"layer '{name}': the estimator '{quantizer.estimator.name}' must give the largest magnitude of every "
            "output the same integer; use 'ste', 'szt' or 'pot' with axis = 'output'"
        )
    return int(tops[0])


def _swap(name: str, layer: LowBitLayer, simulation: Simulation) -> None:
    layer.__class__ = NOISE_AWARE[type(layer)]
    assert isinstance(layer, NoiseAwareLayer)
    layer.simulation, layer.label = simulation, name
    layer.end()
    device = layer.weight.device
    layer.register_buffer("input_limit", torch.zeros((), device=device))
    shape = simulation.geometry.range_shape
    limits = torch.zeros(shape, device=device) if simulation.geometry.calibrated else None
    layer.register_buffer("adc_limits", limits)


def crossbar_layers(model: nn.Module) -> dict[str, NoiseAwareLayer]:
    """Return the layers that are on a crossbar, by name, in the order of the model."""
    return {name: module for name, module in model.named_modules() if isinstance(module, NoiseAwareLayer)}


def _layers(model: nn.Module) -> dict[str, NoiseAwareLayer]:
    if not isinstance(model, nn.Module):
        raise TypeError(f"`model` must be an nn.Module, got {type(model).__name__}")
    found = crossbar_layers(model)
    if not found:
        raise InvalidValueError("`model` must have layers on a crossbar, got none; use `noise_aware` before")
    return found


def set_noise(model: nn.Module, mode: Mode | None) -> None:
    """Say what the layers of a network compute, in training and evaluation.

    Parameters
    ----------
    model : nn.Module
    mode : {"float", "quantised", "noisy"} or None
        Float weights; quantised weights and inputs in exact arithmetic; or the crossbar. None goes back to what the
        ramp says in training, and the crossbar in evaluation.
    """
    if mode is not None:
        checks.choice("mode", mode, MODES)
    for layer in _layers(model).values():
        layer.simulation.mode = mode


def new_chip(model: nn.Module, number: int | None = None) -> None:
    """Change to another chip: of the number, or the next one; the same number is the same chip."""
    for layer in _layers(model).values():
        layer.simulation.take_chip(layer.simulation.chip + 1 if number is None else number)


def set_crossbar(model: nn.Module, crossbar: Crossbar) -> None:
    """Change the machine of all layers, for instance its time; formats and mapping must stay.

    Ranges of converters stay as they are, so an array can be read later with the converters of now.
    """
    if not isinstance(crossbar, Crossbar):
        raise TypeError(f"`crossbar` must be a Crossbar, got {type(crossbar).__name__}")
    layers = _layers(model)
    fields = ("weight_format", "act_format", "mapping", "readout", "rows", "cols", "bits_per_cell", "adc_bits")
    for layer in layers.values():
        machine = layer.simulation.settings.machine
        for field in (*fields, "dac_bits", "slices", "spare_cols", "ramp"):
            if getattr(machine, field) != getattr(crossbar, field):
                raise InvalidValueError(
                    f"`crossbar` must keep `{field}` = {getattr(machine, field)}, got {getattr(crossbar, field)}"
                )
        if machine.adc.range != crossbar.adc.range:
            raise InvalidValueError(f"`crossbar` must keep the converters' `range` '{machine.adc.range}'")
    for layer in layers.values():
        layer.simulation.use(crossbar)


@torch.no_grad()
def calibrate(model: nn.Module, example: Any) -> None:
    """Fix the ranges of inputs and converters from one batch, on the chip of the evaluation.

    Parameters
    ----------
    model : nn.Module
    example : tensor, tuple or mapping
        A batch as the model takes it.
    """
    layers = _layers(model)
    try:
        for layer in layers.values():
            layer.simulation.calibrate(True)
        with evaluating(model):
            call(model, example)
    finally:
        for layer in layers.values():
            layer.simulation.calibrate(False)
