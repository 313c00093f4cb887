"""The configuration of `tetrit compare`: tasks, estimators, seeds, read once and checked before any work begins."""

__all__ = ["Cell", "CompareConfig", "Entry", "load_config"]

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tetrit import checks
from tetrit.errors import InvalidValueError, ToolError, UnknownNameError, unknown_name
from tetrit.train.loop.config import DEVICES, LoopConfig, config_of

_SECTIONS = ("name", "seeds", "baseline", "device", "task", "estimator")
_FLOAT = "float"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One estimator of a comparison.

    Attributes
    ----------
    label : str
        What tables and figures call it.
    weight : str or dict
        The estimator's table, as in ``[[quantize.layer]]``; ``"float"`` trains the float network on.
    tasks : tuple of str
        Names of the tasks that it takes part in.
    curve : bool
        Whether figures over time draw it in colour.
    """

    label: str
    weight: Any
    tasks: tuple[str, ...]
    curve: bool = False

    @property
    def folder(self) -> str:
        """The label as the name of a folder."""
        return re.sub(r"[^a-z0-9]+", "-", self.label.lower()).strip("-")


@dataclass(frozen=True, kw_only=True, eq=False)
class Cell:
    """One training of a comparison.

    Attributes
    ----------
    task : str
    estimator : str or None
        The label of the entry; None for the float network that all estimators of that task and seed start from.
    seed : int
    config : LoopConfig
    folder : Path
        Of its files.
    float_run : Path or None
        Of the float network that it starts from.
    """

    task: str
    estimator: str | None
    seed: int
    config: LoopConfig
    folder: Path
    float_run: Path | None


@dataclass(frozen=True, kw_only=True, eq=False)
class CompareConfig:
    """All that a comparison needs to know.

    Attributes
    ----------
    name : str
        Title.
    path : Path
        The file it comes from, for messages.
    seeds : tuple of int
    baseline : str
        The label of the estimator that the others are compared with.
    device : str
    tasks : dict of str to dict
        The tables ``[task.NAME]``.
    estimators : tuple of Entry
    """

    name: str
    path: Path
    seeds: tuple[int, ...]
    baseline: str
    device: str
    tasks: dict[str, dict[str, Any]]
    estimators: tuple[Entry, ...]

    def table(self) -> dict[str, Any]:
        """Return all fields but the path as plain numbers, texts, lists and dicts."""
        estimators = [
            {"label": e.label, "weight": e.weight, "tasks": list(e.tasks), "curve": e.curve} for e in self.estimators
        ]
        plain: dict[str, Any] = json.loads(
            json.dumps(
                {
                    "name": self.name,
                    "seeds": self.seeds,
                    "baseline": self.baseline,
                    "device": self.device,
                    "task": self.tasks,
                    "estimator": estimators,
                }
            )
        )
        return plain

    @property
    def sha256(self) -> str:
        """Fingerprint of `table`."""
        return hashlib.sha256(json.dumps(self.table(), sort_keys=True).encode()).hexdigest()

    def training(self, task: str, entry: Entry, seed: int) -> LoopConfig:
        """Return the whole training of one cell, float phase included, as `tetrit train` would do it."""
        return _training(self.path, self.tasks, self.device, task, entry, seed)

    def cells(self, out: Path) -> tuple[list[Cell], list[Cell]]:
        """Return the float networks, and the cells that start from them, with their folders under `out`."""
        floats: list[Cell] = []
        cells: list[Cell] = []
        for task in self.tasks:
            entries = [entry for entry in self.estimators if task in entry.tasks]
            for seed in self.seeds:
                start = self._float_network(task, entries[0], seed, out / "float" / task / f"seed-{seed}")
                if start is not None:
                    floats.append(start)
                cells += [
                    Cell(
                        task=task,
                        estimator=entry.label,
                        seed=seed,
                        config=self.training(task, entry, seed),
                        folder=out / "cells" / task / entry.folder / f"seed-{seed}",
                        float_run=None if start is None else start.folder,
                    )
                    for entry in entries
                ]
        return floats, cells

    def _float_network(self, task: str, entry: Entry, seed: int, folder: Path) -> Cell | None:
        config = self.training(task, entry, seed)
        if len(config.phases()) == 1:
            return None
        part = config.float_part()
        return Cell(task=task, estimator=None, seed=seed, config=part, folder=folder, float_run=None)


def load_config(path: Path | str) -> CompareConfig:
    """Read and check the configuration of a comparison.

    Parameters
    ----------
    path : path-like
        A TOML file; relative paths inside it start from its folder.

    Returns
    -------
    CompareConfig

    Raises
    ------
    InvalidValueError
        The file cannot be read or is no TOML; a section, key or value is unknown, missing, of the wrong kind or out of
        range. The message names the file, and the task or the estimator.
    ToolError
        PyTorch is not installed.
    """
    path = Path(path)
    table = checks.keys(str(path), checks.read_toml("configuration", path), _SECTIONS)
    try:
        name = table.get("name", path.stem)
        if not isinstance(name, str):
            raise TypeError(f"`name` must be a string, got {name!r}")
        seeds = _seeds(table.get("seeds"))
        device = checks.choice("device", table.get("device", "cpu"), DEVICES)
        tasks = _tasks(table.get("task"))
        estimators = _estimators(table.get("estimator"), tuple(tasks))
        labels = [entry.label for entry in estimators]
        baseline = checks.choice("baseline", table.get("baseline", labels[0]), labels)
    except UnknownNameError as error:
        raise UnknownNameError(f"{path}: {error}") from None
    except ToolError:
        raise
    except (TypeError, ValueError) as error:
        raise InvalidValueError(f"{path}: {error}") from None
    for task in tasks:
        for entry in estimators:
            if task in entry.tasks:
                _training(path, tasks, device, task, entry, seeds[0])
    return CompareConfig(
        name=name,
        path=path,
        seeds=seeds,
        baseline=baseline,
        device=device,
        tasks=tasks,
        estimators=estimators,
    )


def _seeds(given: Any) -> tuple[int, ...]:
    if not isinstance(given, list) or not given:
        what = "is missing" if given is None else f"must be a list of integers with at least one, got {given!r}"
        raise InvalidValueError(f"`seeds` {what}")
    seeds = tuple(checks.integer("seeds", seed, minimum=0, maximum=2**32 - 1) for seed in given)
    for place, seed in enumerate(seeds):
        if seed in seeds[:place]:
            raise InvalidValueError(f"`seeds` must differ, got {seed} twice")
    return seeds


def _tasks(given: Any) -> dict[str, dict[str, Any]]:
    if not isinstance(given, Mapping) or not given:
        raise InvalidValueError("at least one table [task.NAME] is needed")
    tasks: dict[str, dict[str, Any]] = {}
    for name, table in given.items():
        if not re.fullmatch(r"[a-z0-9_-]+", name):
            raise InvalidValueError(f"task '{name}': a name must be of small letters, digits, '-' and '_'")
        tasks[name] = checks.keys(f"task '{name}'", table, ("data", "model", "train", "quantize"))
        if "quantize" not in table:
            raise InvalidValueError(f"task '{name}': [quantize] is missing, which says where the estimators go")
    return tasks


def _estimators(given: Any, tasks: tuple[str, ...]) -> tuple[Entry, ...]:
    if not isinstance(given, list) or not given:
        raise InvalidValueError("at least one [[estimator]] is needed")
    found: list[Entry] = []
    for place, table in enumerate(given, 1):
        label = table.get("label") if isinstance(table, Mapping) else None
        where = f"estimator {place}" + (f" ('{label}')" if isinstance(label, str) else "")
        fields = checks.keys(where, table, ("label", "weight", "tasks", "curve"))
        for key in ("label", "weight"):
            if key not in fields:
                raise InvalidValueError(f"{where}: `{key}` is missing")
        if not isinstance(label, str):
            raise TypeError(f"{where}: `label` must be a string, got {label!r}")
        chosen = fields.get("tasks", list(tasks))
        if not isinstance(chosen, list) or not chosen:
            raise InvalidValueError(f"{where}: `tasks` must be a list of names with at least one, got {chosen!r}")
        for task in chosen:
            if task not in tasks:
                raise InvalidValueError(f"{where}: {unknown_name('task', str(task), tasks)}")
        curve = fields.get("curve", False)
        if not isinstance(curve, bool):
            raise TypeError(f"{where}: `curve` must be true or false, got {curve!r}")
        taken = tuple(task for task in tasks if task in chosen)
        entry = Entry(label=label, weight=fields["weight"], tasks=taken, curve=curve)
        if not entry.folder:
            raise InvalidValueError(f"{where}: `label` must have a letter or a digit")
        if any(entry.folder == other.folder for other in found):
            raise InvalidValueError(f"{where}: another estimator has the same label, or one that differs in signs only")
        _check_weight(where, entry.weight)
        found.append(entry)
    for task in tasks:
        if not any(task in entry.tasks for entry in found):
            raise InvalidValueError(f"task '{task}': no estimator takes part in it")
    return tuple(found)


def _check_weight(where: str, weight: Any) -> None:
    try:
        from tetrit.train.qat import Rule
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise ToolError("training in PyTorch needs torch: pip install 'tetrit[train]'") from None
    try:
        Rule(match="*", weight=weight)
    except (TypeError, ValueError) as error:
        text = str(error).removeprefix("rule '*', ")
        raise InvalidValueError(f"{where}: {text}") from None


def _training(
    path: Path, tasks: dict[str, dict[str, Any]], device: str, task: str, entry: Entry, seed: int
) -> LoopConfig:
    table = {name: value for name, value in tasks[task].items() if name != "quantize"}
    quantize = tasks[task]["quantize"]
    where = f"{path}: task '{task}'"
    if not isinstance(quantize, Mapping):
        raise InvalidValueError(f"{where}: [quantize]: must be a table, got {quantize!r}")
    layers = quantize.get("layer", [{"match": "*"}])
    if isinstance(layers, list):
        rules = [{"weight": entry.weight, **layer} if isinstance(layer, Mapping) else layer for layer in layers]
        if all(isinstance(layer, Mapping) and "weight" in layer for layer in layers):
            raise InvalidValueError(f"{where}: [quantize]: every layer has a `weight`, so no estimator would be used")
        quantize = {**quantize, "layer": rules}
    whole = {**table, "name": task, "seed": seed, "device": device, "threads": 1, "quantize": quantize}
    return config_of(whole, where=where, folder=path.parent, name=task)
