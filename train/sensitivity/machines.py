"""Formats of layers on a machine: what each option is called, how a network takes it on, and what it costs there."""

__all__ = ["CrossbarTarget", "Option", "ShiftTarget", "SimdTarget", "Target", "target_of"]

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tetrit.errors import InvalidValueError
from tetrit.estimators import FormatSTE
from tetrit.hardware import Crossbar, ShiftArray, SimdEngine
from tetrit.hls.precision.pricing import COSTS, layer_costs
from tetrit.train.mixed import format_plan
from tetrit.train.noise import calibrate, noise_aware
from tetrit.train.precision import FormatPair
from tetrit.train.qat.layers import quantized_weights
from tetrit.train.qat.plan import Plan, Rule
from tetrit.train.qat.preparing import prepare
from tetrit.train.sensitivity.layers import layers_of, matrices, seen, vectors


@dataclass(frozen=True, kw_only=True)
class Option:
    """What a layer can be in.

    Attributes
    ----------
    label : str
        What tables call it.
    weight : str
        Format of the weights.
    act : str
        Format of the activations.
    adc_bits : int or None
        Of a crossbar's converters.
    """

    label: str
    weight: str
    act: str
    adc_bits: int | None = None


class Target(ABC):
    """The options of a network's layers on one machine.

    Parameters
    ----------
    machine : ShiftArray, SimdEngine or Crossbar
    options : sequence of Option
    seed : int
        Of a crossbar's chip.
    """

    searchable: ClassVar[bool] = True
    """Whether all that the machine does to values is in its plan, so that training sees it."""

    def __init__(self, machine: Any, options: Sequence[Option], *, seed: int = 0) -> None:
        self.machine = machine
        self.options = {option.label: option for option in options}
        self.seed = seed

    @abstractmethod
    def plan(self, model: nn.Module, chosen: Mapping[str, str], example: Tensor) -> Plan:
        """Return the plan by which `prepare` gives layers their formats: what training can see of the machine.

        Parameters
        ----------
        model : nn.Module
            Float.
        chosen : mapping of str to str
            Label of the option, by layer; other layers stay in float.
        example : tensor
            Inputs that scales of activations come from.
        """

    def placed(self, prepared: nn.Module, chosen: Mapping[str, str], example: Tensor) -> nn.Module:
        """Return a prepared network as the machine computes it, changed in place."""
        return prepared

    def network(self, model: nn.Module, chosen: Mapping[str, str], example: Tensor) -> nn.Module:
        """Return a copy of a float network with layers in their options, without training."""
        prepared = prepare(copy.deepcopy(model), self.plan(model, chosen, example))
        return self.placed(prepared, chosen, example)

    @abstractmethod
    def taken(self, option: Option, x: NDArray[np.float64]) -> NDArray[Any]:
        """Return a layer's real inputs, of any shape, as the machine takes them: integers or codes, 0 for 0.

        Of the option only the activation format counts.
        """

    @abstractmethod
    def cost(self, option: Option, weight: NDArray[Any], x: NDArray[Any]) -> dict[str, float]:
        """Return what a layer takes, from its weights' codes and its inputs as taken; see `layer_costs`."""

    def costs(self, model: nn.Module, example: Tensor) -> dict[str, NDArray[np.float64]]:
        """Return what each layer takes in each option: per input of `example`, which run together.

        Returns
        -------
        dict of str to ndarray of float64, shape (layers, options)
            ``size_bits`` of the whole layer; ``bops``, ``cycles`` and ``energy_pj`` for each input.
        """
        layers = layers_of(model)
        inputs = seen(model, layers, example)
        codes = []
        for option in self.options.values():
            whole = dict.fromkeys(layers, option.label)
            codes.append(dict(quantized_weights(prepare(copy.deepcopy(model), self.plan(model, whole, example)))))
        found = {name: np.empty((len(layers), len(self.options))) for name in COSTS}
        for place, (name, layer) in enumerate(layers.items()):
            values = inputs[name][0].detach().cpu().double().numpy()
            given: dict[str, NDArray[np.int64]] = {}  # by activation format, on which alone `taken` depends
            for number, option in enumerate(self.options.values()):
                if option.act not in given:
                    taken = torch.from_numpy(self.taken(option, values).astype(np.float32))
                    given[option.act] = vectors(layer, taken).astype(np.int64)
                weight = matrices(layer, codes[number][f"{name}.weight" if name else "weight"].codes)
                for cost, value in self.cost(option, weight, given[option.act]).items():
                    found[cost][place, number] = value if cost == "size_bits" else value / len(example)
        return found

    def rounded(self, model: nn.Module, example: Tensor) -> dict[str, list[NDArray[np.float64]]]:
        """Return the weights of each layer in each option."""
        layers = layers_of(model)
        found: dict[str, list[NDArray[np.float64]]] = {name: [] for name in layers}
        for option in self.options.values():
            plan = self.plan(model, dict.fromkeys(layers, option.label), example)
            for key, quantized in quantized_weights(prepare(copy.deepcopy(model), plan)):
                found[key.removesuffix("weight").removesuffix(".")].append(quantized.values)
        return found


class ShiftTarget(Target):
    """Weight formats of a shift array; one array for each format that is used, idle ones switched off."""

    machine: ShiftArray

    def plan(self, model: nn.Module, chosen: Mapping[str, str], example: Tensor) -> Plan:
        """Return SZT by its own estimator, other formats by the nearest value; inputs with one scale each."""
        layers = layers_of(model)
        inputs = seen(model, {name: layers[name] for name in chosen}, example)
        rules = []
        for name, label in chosen.items():
            scale = self._act().start(inputs[name][0].detach().cpu().double().numpy())[0].scale
            activation = {"name": "ste_format", "format": self.machine.act_format, "scale": scale}
            rules.append(Rule(match=name or "*", weight=_free(self.options[label].weight), activation=activation))
        return Plan(rules=tuple(rules))

    def taken(self, option: Option, x: NDArray[np.float64]) -> NDArray[Any]:
        """Return integers, with the scale of `plan`."""
        integers: NDArray[Any] = self.machine.activations.integers[self._act()(x).codes]
        return integers

    def cost(self, option: Option, weight: NDArray[Any], x: NDArray[Any]) -> dict[str, float]:
        """Return the costs on the array of the option's format."""
        return layer_costs(self.machine.replace(weight_format=option.weight), weight, x)

    def _act(self) -> FormatSTE:
        return FormatSTE(format=self.machine.act_format, power_of_two=False)


class SimdTarget(Target):
    """Pairs of formats of a SIMD engine; the cycle that a change of formats takes is left out."""

    machine: SimdEngine

    def plan(self, model: nn.Module, chosen: Mapping[str, str], example: Tensor) -> Plan:
        """Return the plan of `tetrit.train.format_plan`: powers of two for scales."""
        pairs = {
            name: FormatPair(act=self.options[label].act, weight=self.options[label].weight)
            for name, label in chosen.items()
        }
        return format_plan(model, pairs, example)

    def taken(self, option: Option, x: NDArray[np.float64]) -> NDArray[Any]:
        """Return codes, with the scale of `plan`."""
        return FormatSTE(format=option.act)(x).codes

    def cost(self, option: Option, weight: NDArray[Any], x: NDArray[Any]) -> dict[str, float]:
        """Return the costs in the mode of the pair."""
        return layer_costs(self.machine, weight, x, weight_format=option.weight, act_format=option.act)


class CrossbarTarget(Target):
    """Weight formats and converters of a crossbar; every layer has arrays of its own."""

    machine: Crossbar
    searchable: ClassVar[bool] = False

    def machine_of(self, option: Option) -> Crossbar:
        """Return the machine of an option."""
        return self.machine.replace(weight_format=option.weight, act_format=option.act, adc_bits=option.adc_bits)

    def plan(self, model: nn.Module, chosen: Mapping[str, str], example: Tensor) -> Plan:
        """Return estimators of the weights; inputs are left to the converters of the machine."""
        return Plan(
            rules=tuple(
                Rule(match=name or "*", weight=_on_levels(self.options[label].weight)) for name, label in chosen.items()
            )
        )

    def placed(self, prepared: nn.Module, chosen: Mapping[str, str], example: Tensor) -> nn.Module:
        """Put every layer onto the machine of its option, one chip, ranges of converters from `example`."""
        modules = dict(prepared.named_modules())
        for place, (name, label) in enumerate(chosen.items()):
            machine = self.machine_of(self.options[label])
            noise_aware(modules[name], machine, redraw="chip", seed=self.seed * len(chosen) + place)
        calibrate(prepared, example)
        return prepared

    def taken(self, option: Option, x: NDArray[np.float64]) -> NDArray[Any]:
        """Return integers, the largest input being the largest of them."""
        integers = self.machine_of(option).activations.integers
        low, top = int(integers.min()), int(integers.max())
        largest = float(np.abs(x).max()) or 1.0
        return np.clip(np.rint(x * (top / largest)), low, top).astype(np.int64)

    def cost(self, option: Option, weight: NDArray[Any], x: NDArray[Any]) -> dict[str, float]:
        """Return the costs of a chip that computes these inputs, which its cells' currents depend on."""
        return layer_costs(self.machine_of(option), weight, x)


def target_of(machine: Any, options: Sequence[Option], *, seed: int = 0) -> Target:
    """Return the target of a machine's kind.

    Raises
    ------
    TypeError
        For another kind.
    InvalidValueError
        If an option does not fit the machine.
    """
    kinds = {ShiftArray: ShiftTarget, SimdEngine: SimdTarget, Crossbar: CrossbarTarget}
    if type(machine) not in kinds:
        raise TypeError(f"`machine` must be a ShiftArray, a SimdEngine or a Crossbar, got {machine!r}")
    target: Target = kinds[type(machine)](machine, options, seed=seed)  # type: ignore[abstract]
    for option in options:
        try:
            if isinstance(target, CrossbarTarget):
                target.machine_of(option)
                _on_levels(option.weight)
            elif isinstance(target, ShiftTarget):
                target.machine.replace(weight_format=option.weight)
            else:
                machine.mode(option.act, option.weight)
        except InvalidValueError as error:
            raise InvalidValueError(f"option '{option.label}': {error}") from None
    return target


def _free(name: str) -> dict[str, Any]:
    """Return the estimator of a format where every output may have any scale."""
    if name == "szt":
        return {"name": "szt", "axis": "output"}
    return {"name": "ste_format", "format": name, "axis": "output", "power_of_two": False}


def _on_levels(name: str) -> dict[str, Any]:
    """Return the estimator of a format on cells: every output's largest weight is the same integer."""
    if name in ("szt", "int2_symmetric"):
        return {"name": "szt", "axis": "output"}
    if name.startswith("pot"):
        return {"name": "pot", "format": name, "axis": "output"}
    if name.startswith("int"):
        return {"name": "ste", "format": name, "axis": "output"}
    raise InvalidValueError(f"`weight` must be szt, pot2 to pot4z or an integer format, got {name}")
