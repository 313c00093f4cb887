"""The configuration of `tetrit train`: a TOML file, read once, every field checked before any work begins."""

__all__ = ["DEVICES", "LoopConfig", "Quantization", "config_of", "load_config"]

import hashlib
import json
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from tetrit import checks
from tetrit.errors import InvalidValueError, ToolError, unknown_name
from tetrit.train.data.sources import SOURCES, Source
from tetrit.train.loop.settings import Settings
from tetrit.train.models import MODELS, ModelSpec

DEVICES = ("cpu", "cuda")
_SECTIONS = ("name", "seed", "device", "threads", "data", "model", "train", "quantize")


@dataclass(frozen=True, kw_only=True)
class Quantization:
    """The table ``[quantize]`` of a configuration.

    Attributes
    ----------
    plan : tetrit.train.qat.Plan
        What becomes of each layer.
    fold_batchnorm : bool
        Fold normalisations into the layers before them when the network is quantised.
    table : dict
        The plan as the file has it.
    float_epochs : int
        Passes over the data with the float network, before it is quantised; they have a schedule of their own.
    float_rate : float
        Peak learning rate of these.
    """

    plan: Any
    fold_batchnorm: bool
    table: dict[str, Any]
    float_epochs: int
    float_rate: float


@dataclass(frozen=True, kw_only=True, eq=False)
class LoopConfig:
    """All that a training needs to know.

    Attributes
    ----------
    name : str
        Title of the metrics.
    seed : int
        Of the start, the order of the batches, and all that is drawn on the way.
    device : str
        ``"cpu"`` or ``"cuda"``.
    threads : int or None
        Of PyTorch on the CPU; None leaves its own choice. Sums may depend on it in their last bits.
    source : Source
        Of the data.
    folder : Path
        From which relative paths of the data start.
    model : ModelSpec
        Sizes of the network.
    settings : Settings
        Optimiser, schedule and length; of the quantised part where there is one.
    quantization : Quantization or None
        None trains in float only.
    """

    name: str
    seed: int
    device: str
    threads: int | None
    source: Source
    folder: Path
    model: ModelSpec
    settings: Settings
    quantization: Quantization | None

    def table(self) -> dict[str, Any]:
        """Return all fields, defaults included, but the folder, as plain numbers, texts, lists and dicts."""
        sources = {kind: name for name, kind in SOURCES.items()}
        models = {kind: name for name, kind in MODELS.items()}
        table: dict[str, Any] = {
            "name": self.name,
            "seed": self.seed,
            "device": self.device,
            "threads": self.threads,
            "data": {"source": sources[type(self.source)], **asdict(self.source)},
            "model": {"name": models[type(self.model)], **asdict(self.model)},
            "train": asdict(self.settings),
        }
        if self.quantization is not None:
            chosen = self.quantization
            rest = {name: getattr(chosen, name) for name in ("fold_batchnorm", "float_epochs", "float_rate")}
            table["quantize"] = chosen.table | rest
        plain: dict[str, Any] = json.loads(json.dumps(table))  # tuples become lists
        return plain

    @property
    def sha256(self) -> str:
        """Fingerprint of `table`."""
        return hashlib.sha256(json.dumps(self.table(), sort_keys=True).encode()).hexdigest()

    def phases(self) -> tuple[tuple[str, Settings], ...]:
        """Return the name and the settings of each part of the training, in order: float, quantised, or both."""
        if self.quantization is None:
            return (("float", self.settings),)
        quantized = ("quantized", self.settings)
        if not self.quantization.float_epochs:
            return (quantized,)
        first = replace(
            self.settings, epochs=self.quantization.float_epochs, steps=None, rate=self.quantization.float_rate
        )
        return ("float", first), quantized

    def float_part(self) -> "LoopConfig":
        """Return the configuration of a run that does the float phase of this one and ends there."""
        return replace(self, settings=self.phases()[0][1], quantization=None)


def load_config(path: Path | str) -> LoopConfig:
    """Read and check a configuration.

    Parameters
    ----------
    path : path-like
        A TOML file; relative paths inside it start from its folder.

    Returns
    -------
    LoopConfig

    Raises
    ------
    InvalidValueError
        The file cannot be read or is no TOML; a section, key or value is unknown, missing, of the wrong kind or out of
        range. The message names the file and the section.
    ToolError
        There is a table ``[quantize]``, and PyTorch is not installed.
    """
    path = Path(path)
    return config_of(checks.read_toml("configuration", path), where=str(path), folder=path.parent, name=path.stem)


def config_of(table: Any, *, where: str, folder: Path, name: str) -> LoopConfig:
    """Return the configuration of a table, as `load_config` does of a file.

    Parameters
    ----------
    table : dict
        The content of a TOML file.
    where : str
        How messages begin.
    folder : Path
        From which relative paths of the data start.
    name : str
        Title, where the table gives none.
    """
    table = checks.keys(where, table, _SECTIONS)
    for section in ("data", "model", "train"):
        if section not in table:
            raise InvalidValueError(f"{where}: [{section}] is missing")
    try:
        name = table.get("name", name)
        if not isinstance(name, str):
            raise TypeError(f"`name` must be a string, got {name!r}")
        seed = checks.integer("seed", table.get("seed", 0), minimum=0, maximum=2**32 - 1)
        device = checks.choice("device", table.get("device", "cpu"), DEVICES)
        threads = table.get("threads")
        if threads is not None:
            threads = checks.integer("threads", threads, maximum=4096)
    except (TypeError, ValueError) as error:
        raise InvalidValueError(f"{where}: {error}") from None
    source = _chosen(f"{where}: [data]", table["data"], "source", SOURCES)
    model = _chosen(f"{where}: [model]", table["model"], "name", MODELS)
    settings = _filled(f"{where}: [train]", table["train"], Settings)
    quantization = None
    if "quantize" in table:
        quantization = _quantization(f"{where}: [quantize]", table["quantize"], settings)
    return LoopConfig(
        name=name,
        seed=seed,
        device=device,
        threads=threads,
        source=source,
        folder=folder,
        model=model,
        settings=settings,
        quantization=quantization,
    )


def _filled(where: str, table: Any, kind: type[Any]) -> Any:
    """Make the dataclass `kind` of a table."""
    known = [field.name for field in fields(kind)]
    given = checks.keys(where, table, known)
    for field in fields(kind):
        if field.default is MISSING and field.default_factory is MISSING and field.name not in given:
            raise InvalidValueError(f"{where}: `{field.name}` is missing")
    try:
        return kind(**given)
    except (TypeError, ValueError) as error:
        raise InvalidValueError(f"{where}: {error}") from None


def _chosen(where: str, table: Any, key: str, kinds: Mapping[str, type[Any]]) -> Any:
    """Make the dataclass that the entry `key` of a table names of the other entries."""
    if not isinstance(table, dict):
        raise InvalidValueError(f"{where}: must be a table, got {table!r}")
    if key not in table:
        raise InvalidValueError(f"{where}: `{key}` is missing; known: {', '.join(sorted(kinds))}")
    chosen = table[key]
    if not isinstance(chosen, str):
        raise InvalidValueError(f"{where}: `{key}` must be a string, got {chosen!r}")
    if chosen not in kinds:
        raise InvalidValueError(f"{where}: {unknown_name(key, chosen, kinds)}")
    return _filled(where, {name: value for name, value in table.items() if name != key}, kinds[chosen])


def _quantization(where: str, table: Any, settings: Settings) -> Quantization:
    if not isinstance(table, dict):
        raise InvalidValueError(f"{where}: must be a table, got {table!r}")
    rest = dict(table)
    if "quantize" in rest:  # which a plan's own file may have
        raise InvalidValueError(f"{where}: unknown key 'quantize'; the layers are in [[quantize.layer]]")
    try:
        from tetrit.train.qat import Plan
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise ToolError("training in PyTorch needs torch: pip install 'tetrit[train]'") from None
    try:
        float_epochs = checks.integer("float_epochs", rest.pop("float_epochs", 0), minimum=0)
        rate = checks.real("float_rate", rest.pop("float_rate", settings.rate), minimum=0.0, exclusive=True)
        fold = rest.pop("fold_batchnorm", False)
        if not isinstance(fold, bool):
            raise TypeError(f"`fold_batchnorm` must be true or false, got {fold!r}")
        plan = Plan.from_toml(rest)
    except (TypeError, ValueError) as error:
        raise InvalidValueError(f"{where}: {error}") from None
    return Quantization(plan=plan, fold_batchnorm=fold, table=rest, float_epochs=float_epochs, float_rate=rate)
