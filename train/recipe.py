"""How a configuration names data, network and training of the plain-numpy trainer: the sections that commands share."""

__all__ = [
    "EstimatorChoice",
    "NoiseAwareConfig",
    "Split",
    "check_crossbar",
    "estimator_of",
    "machine_source",
    "noise_aware_of",
    "noise_aware_trainer",
    "split_of",
    "training_of",
]

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from tetrit import checks, estimators
from tetrit.errors import InvalidValueError, ToolError, unknown_name
from tetrit.estimators.tables import from_table, to_table
from tetrit.hardware import Crossbar
from tetrit.train import digits, mlp

SOURCES = ("digits",)
_REDRAWS = ("batch", "epoch", "chip")
_TRAIN_FIELDS = tuple(field.name for field in fields(mlp.Config) if field.name != "hidden")


@dataclass(frozen=True, kw_only=True)
class EstimatorChoice:
    """A weight estimator with its parameters, as a configuration names it.

    Attributes
    ----------
    name : str
        Of `tetrit.estimators.names()`.
    params : dict
        The parameters that were given; the others have their defaults.
    estimator : Estimator
        Ready to use.
    """

    name: str
    params: dict[str, Any]
    estimator: estimators.Estimator

    @property
    def weight_format(self) -> str:
        """Name of the format of its codes."""
        begun, latent = self.estimator.start(np.ones((1, 1)))
        return begun(latent).format


@dataclass(frozen=True, kw_only=True)
class Split:
    """The section ``[data]``.

    Attributes
    ----------
    held_out : float
        Share of the images that is held out.
    split_seed : int
        Seed of the split.
    """

    held_out: float = 0.25
    split_seed: int = 0

    def load(self) -> digits.Dataset:
        """Load the images; raises ToolError without scikit-learn."""
        return digits.load(held_out=self.held_out, split_seed=self.split_seed)


@dataclass(frozen=True, kw_only=True)
class NoiseAwareConfig:
    """Training on, with the crossbar simulated in the forward pass; needs PyTorch.

    Attributes
    ----------
    epochs : int
        Passes over the training images.
    batch : int
        Images per step.
    rate : float
        Peak learning rate of Adam, which falls to zero along a half cosine.
    redraw : {"batch", "epoch", "chip"}
        When another chip is drawn, see `tetrit.train.noise_aware`.
    """

    epochs: int = 20
    batch: int = 64
    rate: float = 1e-3
    redraw: str = "batch"

    def __post_init__(self) -> None:
        for name in ("epochs", "batch"):
            object.__setattr__(self, name, checks.integer(name, getattr(self, name), maximum=1_000_000))
        object.__setattr__(self, "rate", checks.real("rate", self.rate, minimum=0.0, exclusive=True))
        checks.choice("redraw", self.redraw, _REDRAWS)


def machine_source(table: Mapping[str, Any], folder: Path) -> str | Path:
    """Return what `tetrit.hardware.load` takes: the ``preset`` or the ``path`` that a section names.

    Raises
    ------
    TypeError
        It is no string.
    InvalidValueError
        There is neither, or both.
    """
    named = [key for key in ("preset", "path") if key in table]
    if len(named) != 1:
        raise InvalidValueError("one of `preset` or `path` is needed")
    source = table[named[0]]
    if not isinstance(source, str):
        raise TypeError(f"`{named[0]}` must be a string, got {source!r}")
    return source if named[0] == "preset" else folder / source


def check_crossbar(machine: Crossbar, estimator: EstimatorChoice) -> None:
    """Raise InvalidValueError if networks of the plain-numpy trainer do not fit a crossbar."""
    weights = estimator.weight_format
    if weights != machine.weight_format:
        raise InvalidValueError(
            f"the crossbar takes {machine.weight_format} weights, estimator '{estimator.name}' gives {weights}"
        )
    if machine.act_format != "int8":
        raise InvalidValueError(f"training gives int8 activations, the crossbar takes {machine.act_format}")


def split_of(where: str, table: Any) -> Split:
    """Read the section ``[data]``; errors begin with `where` and name the section."""
    where = f"{where}: [data]"
    data = checks.keys(where, table, ("source", "held_out", "split_seed"))
    try:
        checks.choice("source", data.get("source", "digits"), SOURCES)
        return Split(
            held_out=checks.real("held_out", data.get("held_out", 0.25), minimum=0.0, exclusive=True),
            split_seed=checks.integer("split_seed", data.get("split_seed", 0), minimum=0),
        )
    except (TypeError, ValueError) as error:
        raise InvalidValueError(f"{where}: {error}") from None


def training_of(
    where: str, network: Any, train: Any, *, more: tuple[str, ...] = ()
) -> tuple[mlp.Config, EstimatorChoice, dict[str, Any]]:
    """Read the sections ``[network]`` and ``[train]``.

    Parameters
    ----------
    where : str
        What errors begin with.
    network, train
        The sections.
    more : tuple of str
        Keys of ``[train]`` that the caller reads.

    Returns
    -------
    mlp.Config, EstimatorChoice, dict
        Sizes and schedule; the estimator of the weights; and what was given of `more`.
    """
    network = checks.keys(f"{where}: [network]", network, ("hidden",))
    train = checks.keys(f"{where}: [train]", train, ("estimator", *more, *_TRAIN_FIELDS))
    section = f"{where}: [network]"
    try:
        given = network.get("hidden", [64, 64])
        if not isinstance(given, list):
            raise TypeError(f"`hidden` must be a list, got {given!r}")
        hidden = tuple(checks.integer("hidden", width, maximum=65536) for width in given)
        section = f"{where}: [train]"
        estimator = estimator_of("estimator", train.pop("estimator", "szt"))
        rest = {key: train.pop(key) for key in more if key in train}
        return mlp.Config(hidden=hidden, **train), estimator, rest
    except (TypeError, ValueError) as error:
        raise InvalidValueError(f"{section}: {error}") from None


def estimator_of(key: str, entry: Any) -> EstimatorChoice:
    """Read ``"szt"`` or ``{name = "szt", surrogate = "vanishing"}``."""
    params = dict(entry) if isinstance(entry, Mapping) else {"name": entry}
    name = params.pop("name", None)
    if not isinstance(name, str):
        raise TypeError(f"`{key}{'.name' if isinstance(entry, Mapping) else ''}` must be a string, got {name!r}")
    if name not in estimators.names():
        raise unknown_name("estimator", name, estimators.names())
    chosen = mlp.default_estimator(name)
    params = checks.keys(f"`{key}` {name}", params, [field.name for field in fields(chosen)])
    if params.get("axis") not in (None, 1, -1):
        raise InvalidValueError(f"`{key}` {name}: `axis` must be 1, a scale for each output, or left out")
    estimator = from_table(to_table(chosen) | params)
    try:
        begun, latent = estimator.start(np.ones((2, 4)))
        fits = begun.value_shape(latent.shape) == (2, 4)
    except InvalidValueError:
        fits = False
    if not fits:
        raise InvalidValueError(f"`{key}`: the values of '{name}' are no weights of one fully connected layer")
    return EstimatorChoice(name=name, params=params, estimator=estimator)


def noise_aware_of(where: str, table: Any) -> NoiseAwareConfig:
    """Read the section ``[crossbar.noise_aware]``; errors begin with `where`."""
    given = checks.keys(where, table, [field.name for field in fields(NoiseAwareConfig)])
    try:
        return NoiseAwareConfig(**given)
    except (TypeError, ValueError) as error:
        raise InvalidValueError(f"{where}: {error}") from None


def noise_aware_trainer() -> Any:
    """Return the module that trains on a crossbar, or raise ToolError where PyTorch is not installed."""
    try:
        from tetrit.train import analog
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "torch":
            raise
        raise ToolError(
            "[crossbar.noise_aware] needs torch, which is not installed: pip install 'tetrit[train]', or leave the "
            "section out"
        ) from None
    return analog
