"""The configuration of a run: a TOML file, read once, every field checked before any work begins."""

__all__ = ["EstimatorChoice", "RunConfig", "load"]

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from tetrit import checks, estimators, hardware
from tetrit.errors import InvalidValueError, unknown_name
from tetrit.estimators.tables import from_table, to_table
from tetrit.hardware import ShiftArray
from tetrit.train import mlp

SOURCES = ("digits",)
_SECTIONS = ("name", "seeds", "data", "network", "train", "machine", "verify", "synthesis")
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


@dataclass(frozen=True, kw_only=True, eq=False)
class RunConfig:
    """All that a run needs to know.

    Attributes
    ----------
    name : str
        Title of the report.
    seeds : tuple of int
        One training each; the first one is mapped, verified and priced.
    held_out : float
        Share of the images that is held out.
    split_seed : int
        Seed of the split.
    training : mlp.Config
        Network and schedule.
    estimator : EstimatorChoice
        Of the network that goes to hardware.
    compare : tuple of EstimatorChoice
        Trained for comparison only.
    machine : ShiftArray
        Target.
    verify_images : int
        How many held-out images run on the RTL; 0 for none.
    library : str
        Embedded cell library.
    liberty : Path or None
        A liberty file to use instead.
    table : dict
        The file as it was.
    """

    name: str
    seeds: tuple[int, ...]
    held_out: float
    split_seed: int
    training: mlp.Config
    estimator: EstimatorChoice
    compare: tuple[EstimatorChoice, ...]
    machine: ShiftArray
    verify_images: int
    library: str
    liberty: Path | None
    table: dict[str, Any]


def load(path: Path) -> RunConfig:
    """Read and check a configuration.

    Parameters
    ----------
    path : Path
        A TOML file; relative paths inside it start from its folder.

    Returns
    -------
    RunConfig

    Raises
    ------
    InvalidValueError
        The file cannot be read or is no TOML; a section, key or value is unknown, of the wrong kind or out of range.
        The message names the file and the section.
    """
    table = checks.keys(str(path), checks.read_toml("configuration", path), _SECTIONS)

    def section(name: str, known: tuple[str, ...]) -> dict[str, Any]:
        return checks.keys(f"{path}: [{name}]", table.get(name, {}), known)

    data = section("data", ("source", "held_out", "split_seed"))
    network = section("network", ("hidden",))
    train = section("train", ("estimator", "compare", *_TRAIN_FIELDS))
    machine = section("machine", ("preset", "path"))
    verify = section("verify", ("images",))
    synthesis = section("synthesis", ("library", "liberty"))
    where = f"{path}"
    try:
        name = _string("name", table.get("name", path.stem))
        seeds = tuple(checks.integer("seeds", seed, minimum=0) for seed in _list("seeds", table.get("seeds", [0])))
        if not seeds or len(set(seeds)) < len(seeds):
            raise InvalidValueError(f"`seeds` must be one or more different integers, got {list(seeds)}")
        where = f"{path}: [data]"
        checks.choice("source", data.get("source", "digits"), SOURCES)
        held_out = checks.real("held_out", data.get("held_out", 0.25), minimum=0.0, exclusive=True)
        split_seed = checks.integer("split_seed", data.get("split_seed", 0), minimum=0)
        where = f"{path}: [network]"
        hidden = tuple(
            checks.integer("hidden", width, maximum=65536) for width in _list("hidden", network.get("hidden", [64, 64]))
        )
        where = f"{path}: [train]"
        estimator = _estimator("estimator", train.pop("estimator", "szt"))
        compare = tuple(_estimator("compare", entry) for entry in _list("compare", train.pop("compare", [])))
        training = mlp.Config(hidden=hidden, **train)
        weights = estimator.weight_format
        where = f"{path}: [machine]"
        target = _machine(machine, path.parent)
        if weights != target.weight_format:
            raise InvalidValueError(
                f"the machine takes {target.weight_format} weights, estimator '{estimator.name}' gives {weights}"
            )
        where = f"{path}: [verify]"
        images = checks.integer("images", verify.get("images", 64), minimum=0)
        where = f"{path}: [synthesis]"
        library = _string("library", synthesis.get("library", "sg13g2"))
        liberty = synthesis.get("liberty")
        if liberty is not None:
            liberty = path.parent / _string("liberty", liberty)
    except (TypeError, ValueError) as error:
        raise InvalidValueError(f"{where}: {error}") from None
    return RunConfig(
        name=name,
        seeds=seeds,
        held_out=held_out,
        split_seed=split_seed,
        training=training,
        estimator=estimator,
        compare=compare,
        machine=target,
        verify_images=images,
        library=library,
        liberty=liberty,
        table=table,
    )


def _string(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"`{name}` must be a string, got {value!r}")
    return value


def _list(name: str, value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError(f"`{name}` must be a list, got {value!r}")
    return value


def _estimator(key: str, entry: Any) -> EstimatorChoice:
    """Read ``"szt"`` or ``{name = "szt", surrogate = "vanishing"}``."""
    params = dict(entry) if isinstance(entry, dict) else {"name": _string(key, entry)}
    name = _string(f"{key}.name", params.pop("name", None))
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


def _machine(table: dict[str, Any], folder: Path) -> ShiftArray:
    if len(table) != 1:
        raise InvalidValueError("one of `preset` or `path` is needed")
    ((key, value),) = table.items()
    text = _string(key, value)
    return hardware.load_shift_array(text if key == "preset" else folder / text)
