"""The configuration of `tetrit precision`: network, machines with their formats, limits; read and checked at once."""

__all__ = ["MachineStudy", "PrecisionConfig", "load_config"]

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tetrit import checks, hardware
from tetrit.errors import InvalidValueError, TetritError, ToolError
from tetrit.flow.fields import listed, machine_of, seeds_of, string
from tetrit.hardware import Crossbar, ShiftArray, SimdEngine
from tetrit.hls.precision.pricing import COSTS
from tetrit.train.loop.config import LoopConfig, config_of
from tetrit.train.models.specs import ImageSpec

if TYPE_CHECKING:
    from tetrit.train.sensitivity.machines import Option, Target
    from tetrit.train.sensitivity.studying import Measuring

_SECTIONS = ("name", "seeds", "data", "model", "train", "finetune", "sensitivity", "choice", "search", "machine")
_MACHINE = ("preset", "path", "changes", "options", "cost", "limits")


@dataclass(frozen=True, kw_only=True, eq=False)
class MachineStudy:
    """One machine of a study.

    Attributes
    ----------
    name : str
        What tables and files call it.
    machine : ShiftArray, SimdEngine or Crossbar
    options : tuple of Option
        What a layer can be in.
    cost : str
        The resource that is limited at each level, and that figures show.
    limits : dict of str to float
        Further limits: the share of the way from the least to the greatest uniform cost of each resource.
    """

    name: str
    machine: ShiftArray | SimdEngine | Crossbar
    options: "tuple[Option, ...]"
    cost: str
    limits: dict[str, float]

    def target(self, seed: int) -> "Target":
        """Return the machine with its options; `seed` draws a crossbar's chip."""
        from tetrit.train.sensitivity.machines import target_of

        return target_of(self.machine, self.options, seed=seed)


@dataclass(frozen=True, kw_only=True, eq=False)
class PrecisionConfig:
    """All that a study of precision needs to know.

    Attributes
    ----------
    name : str
        Title.
    path : Path
        The file it comes from, for messages.
    seeds : tuple of int
        One float network each.
    training : LoopConfig
        Of the float network; its seed is set for each.
    finetune : dict or None
        ``epochs`` and ``rate`` of the training after a choice; None for none.
    measuring : Measuring
    methods : tuple of str
        Sensitivities that mixed choices are made by.
    levels : tuple of float
        Limits: shares of the way from the least to the greatest uniform cost.
    ties : tuple of tuples of str
        Layers of one format.
    search : dict or None
        Numbers of the one-shot search, and its ``levels``; None for none.
    machines : tuple of MachineStudy
    table : dict
        The file as it was.
    """

    name: str
    path: Path
    seeds: tuple[int, ...]
    training: LoopConfig
    finetune: dict[str, Any] | None
    measuring: "Measuring"
    methods: tuple[str, ...]
    levels: tuple[float, ...]
    ties: tuple[tuple[str, ...], ...]
    search: dict[str, Any] | None
    machines: tuple[MachineStudy, ...]
    table: dict[str, Any]

    def of_seed(self, seed: int) -> LoopConfig:
        """Return the training of one seed's float network."""
        return _training(self.path, self.table, seed)

    def tuning(self, seed: int, rules: list[dict[str, Any]]) -> LoopConfig:
        """Return the training of a quantised network, float phase included, as `tetrit train` would do it."""
        if self.finetune is None:
            raise InvalidValueError("there is no [finetune]")
        train = self.table["train"]
        quantize = {"float_epochs": train["epochs"], "float_rate": self.training.settings.rate, "layer": rules}
        return _training(self.path, self.table | {"train": train | self.finetune, "quantize": quantize}, seed)

    def study(self, name: str) -> MachineStudy:
        """Return the machine of a name."""
        return next(machine for machine in self.machines if machine.name == name)

    @property
    def sha256(self) -> str:
        """Fingerprint of the file's content and of the machines."""
        machines = {study.name: hardware.to_dict(study.machine) for study in self.machines}
        return hashlib.sha256(json.dumps([self.table, machines], sort_keys=True, default=str).encode()).hexdigest()


def load_config(path: Path | str) -> PrecisionConfig:
    """Read and check the configuration of a study of precision.

    Parameters
    ----------
    path : path-like
        A TOML file; relative paths inside it start from its folder.

    Raises
    ------
    InvalidValueError
        The file cannot be read or is no TOML; a section, key or value is unknown, missing, of the wrong kind or out of
        range. The message names the file and the section.
    ToolError
        PyTorch is not installed.
    """
    path = Path(path)
    table = checks.keys(str(path), checks.read_toml("configuration", path), _SECTIONS)
    try:
        from tetrit.train.sensitivity.studying import Measuring
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "torch":
            raise
        raise ToolError("a study of precision needs torch: pip install 'tetrit[train]'") from None
    where = str(path)
    try:
        name = string("name", table.get("name", path.stem))
        seeds = seeds_of(table.get("seeds", [0, 1, 2]))
    except (TypeError, ValueError) as error:
        raise InvalidValueError(f"{where}: {error}") from None
    training = _training(path, table, seeds[0])
    if training.settings.epochs is None:
        raise InvalidValueError(f"{where}: [train]: `epochs` must be given, not `steps`")
    if not isinstance(training.model, ImageSpec):
        raise InvalidValueError(f"{where}: [model]: must be a network that reads images")
    finetune = _finetune(f"{where}: [finetune]", table.get("finetune"))
    measuring, methods = _sensitivity(f"{where}: [sensitivity]", table.get("sensitivity", {}), Measuring)
    levels, ties = _choice(f"{where}: [choice]", table.get("choice", {}))
    search = _search(f"{where}: [search]", table.get("search"))
    machines = _machines(where, table.get("machine"), path.parent)
    return PrecisionConfig(
        name=name,
        path=path,
        seeds=seeds,
        training=training,
        finetune=finetune,
        measuring=measuring,
        methods=methods,
        levels=levels,
        ties=ties,
        search=search,
        machines=machines,
        table=table,
    )


def _training(path: Path, table: Mapping[str, Any], seed: int) -> LoopConfig:
    whole = {key: table[key] for key in ("data", "model", "train", "quantize") if key in table}
    return config_of(whole | {"seed": seed, "threads": 1}, where=str(path), folder=path.parent, name=path.stem)


def _finetune(where: str, table: Any) -> dict[str, Any] | None:
    if table is None:
        return None
    given = checks.keys(where, table, ("epochs", "rate"))
    try:
        if "epochs" not in given:
            raise InvalidValueError("`epochs` is missing")
        found: dict[str, Any] = {"epochs": checks.integer("epochs", given["epochs"])}
        if "rate" in given:
            found["rate"] = checks.real("rate", given["rate"], minimum=0.0, exclusive=True)
    except (TypeError, ValueError) as error:
        raise InvalidValueError(f"{where}: {error}") from None
    return found


def _sensitivity(where: str, table: Any, kind: "type[Measuring]") -> "tuple[Measuring, tuple[str, ...]]":
    from tetrit.train.sensitivity.scores import METHODS

    known = [field.name for field in fields(kind)]
    given = checks.keys(where, table, (*known, "choose_by"))
    try:
        methods = tuple(
            checks.choice("choose_by", method, ("divergence", "loss_change", *METHODS))
            for method in listed("choose_by", given.pop("choose_by", ["divergence", "hessian"]))
        )
        if not methods or len(set(methods)) < len(methods):
            raise InvalidValueError(f"`choose_by` must be one or more different methods, got {list(methods)}")
        for key, value in given.items():
            if key == "tolerance":
                given[key] = checks.real(key, value, minimum=0.0, exclusive=True)
            else:
                given[key] = checks.integer(key, value, minimum=16 if key == "probes" else 1)
        measuring = kind(**given)
        if measuring.priced > measuring.images:
            raise InvalidValueError(f"`priced` must be at most `images`, {measuring.images}, got {measuring.priced}")
    except (TypeError, ValueError) as error:
        raise InvalidValueError(f"{where}: {error}") from None
    return measuring, methods


def _choice(where: str, table: Any) -> tuple[tuple[float, ...], tuple[tuple[str, ...], ...]]:
    given = checks.keys(where, table, ("levels", "ties"))
    try:
        levels = _shares("levels", given.get("levels", [0.25, 0.5, 0.75]))
        ties = tuple(
            tuple(string("ties", layer) for layer in listed("ties", group))
            for group in listed("ties", given.get("ties", []))
        )
    except (TypeError, ValueError) as error:
        raise InvalidValueError(f"{where}: {error}") from None
    return levels, ties


def _search(where: str, table: Any) -> dict[str, Any] | None:
    if table is None:
        return None
    from tetrit.train.sensitivity.studying import SEARCH

    given = checks.keys(where, table, (*SEARCH, "levels"))
    try:
        if "steps" not in given:
            raise InvalidValueError("`steps` is missing")
        for key in ("steps", "batch"):
            if key in given:
                given[key] = checks.integer(key, given[key])
        for key in ("rate", "policy_rate", "penalty", "entropy", "warmup"):
            if key in given:
                positive = key in ("rate", "policy_rate")
                given[key] = checks.real(key, given[key], minimum=0.0, exclusive=positive)
        if given.get("warmup", 0.0) >= 1:
            raise InvalidValueError(f"`warmup` must be below 1, got {given['warmup']:g}")
        given["levels"] = _shares("levels", given.get("levels", [0.5]))
    except (TypeError, ValueError) as error:
        raise InvalidValueError(f"{where}: {error}") from None
    return given


def _shares(name: str, given: Any) -> tuple[float, ...]:
    levels = tuple(checks.real(name, level, minimum=0.0) for level in listed(name, given))
    if not levels or max(levels) > 1 or len(set(levels)) < len(levels):
        raise InvalidValueError(f"`{name}` must be one or more different numbers from 0 to 1, got {list(levels)}")
    return tuple(sorted(levels))


def _machines(path: str, given: Any, folder: Path) -> tuple[MachineStudy, ...]:
    if not isinstance(given, Mapping) or not given:
        raise InvalidValueError(f"{path}: at least one table [machine.NAME] is needed")
    found = []
    for name, table in given.items():
        where = f"{path}: [machine.{name}]"
        if not re.fullmatch(r"[a-z0-9_-]+", name):
            raise InvalidValueError(f"{where}: a name must be of small letters, digits, '-' and '_'")
        entries = checks.keys(where, table, _MACHINE)
        try:
            found.append(_machine(name, entries, folder))
        except ToolError:
            raise
        except (TypeError, ValueError, TetritError) as error:
            raise InvalidValueError(f"{where}: {error}") from None
    return tuple(found)


def _machine(name: str, table: dict[str, Any], folder: Path) -> MachineStudy:
    machine = machine_of(table, folder, hardware.load)
    if "options" not in table:
        raise InvalidValueError("`options` is missing: the formats of a layer")
    options = tuple(_option(machine, entry) for entry in listed("options", table["options"]))
    labels = [option.label for option in options]
    if not labels or len(set(labels)) < len(labels):
        raise InvalidValueError(f"`options` must be one or more different ones, got {labels}")
    limits = table.get("limits", {})
    if not isinstance(limits, Mapping):
        raise TypeError(f"`limits` must be a table, got {limits!r}")
    shares = {}
    for cost, share in limits.items():
        checks.choice("limits", cost, COSTS)
        shares[cost] = checks.real(f"limits.{cost}", share, minimum=0.0)
        if shares[cost] > 1:
            raise InvalidValueError(f"`limits.{cost}` must be a share from 0 to 1, got {share:g}")
    study = MachineStudy(
        name=name,
        machine=machine,
        options=options,
        cost=checks.choice("cost", table.get("cost", "energy_pj"), COSTS),
        limits=shares,
    )
    study.target(0)
    return study


def _option(machine: Any, entry: Any) -> "Option":
    """Read ``"szt"``, or a table of weight, act, adc_bits and label, as the machine has them."""
    from tetrit.train.sensitivity.machines import Option

    known = {SimdEngine: ("weight", "act"), Crossbar: ("weight", "act", "adc_bits")}.get(type(machine), ("weight",))
    given = checks.keys("`options`", entry if isinstance(entry, Mapping) else {"weight": entry}, (*known, "label"))
    if "weight" not in given:
        raise InvalidValueError("`options`: `weight` is missing")
    weight = string("weight", given["weight"])
    act = string("act", given.get("act", weight if isinstance(machine, SimdEngine) else machine.act_format))
    adc_bits = None
    label = weight if act == weight or not isinstance(machine, SimdEngine) else f"{act} x {weight}"
    if isinstance(machine, Crossbar):
        bits = given.get("adc_bits", machine.adc_bits)
        adc_bits = None if bits is None else checks.integer("adc_bits", bits, maximum=24)
        label = f"{weight}, ADC {adc_bits}" if act == machine.act_format else f"{weight}, {act}, ADC {adc_bits}"
    return Option(label=string("label", given.get("label", label)), weight=weight, act=act, adc_bits=adc_bits)
