"""The configuration of a run on a SIMD engine: which formats the layers may have, and how they are chosen."""

__all__ = ["SimdRunConfig", "read_simd"]

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tetrit import checks, hardware
from tetrit.errors import InvalidValueError
from tetrit.flow.fields import AnyRunConfig, cells_of, listed, machine_of, seeds_of, string
from tetrit.hardware import SIMD_FORMATS, SimdEngine
from tetrit.train.precision import FormatPair
from tetrit.train.recipe import split_of, training_of

_SECTIONS = ("name", "seeds", "data", "network", "train", "formats", "machine", "verify", "synthesis")


@dataclass(frozen=True, kw_only=True, eq=False)
class SimdRunConfig(AnyRunConfig):
    """All that a run on a SIMD engine needs to know.

    Attributes
    ----------
    machine : SimdEngine
        Target.
    candidates : tuple of FormatPair
        Among which a layer's formats are chosen; every layer in one of them is a network to compare with.
    mean_bits : float
        Bound on the mean bits of a multiply-accumulate's lane, that is on the array's steps: a step has 16.
    layers : tuple of FormatPair or None
        The formats of all layers, if they are given and not chosen.
    output : str
        Format of the results of the last layer.
    calibration_images : int
        Training images that scales and losses come from.
    others
        As of `AnyRunConfig`; the first training chooses the formats.
    """

    machine: SimdEngine
    candidates: tuple[FormatPair, ...]
    mean_bits: float
    layers: tuple[FormatPair, ...] | None
    output: str
    calibration_images: int


def read_simd(path: Path, given: Mapping[str, Any]) -> SimdRunConfig:
    """Read and check the configuration `given`; errors name the file and the section.

    Raises
    ------
    InvalidValueError
        A section, key or value is unknown, of the wrong kind or out of range.
    """
    table = checks.keys(str(path), given, _SECTIONS)
    train = table.get("train", {})
    if isinstance(train, Mapping) and "estimator" in train:
        raise InvalidValueError(f"{path}: [train]: `estimator` must be left out: [formats] says how layers are rounded")
    split = split_of(str(path), table.get("data", {}))
    training, _, _ = training_of(str(path), table.get("network", {}), train)

    def section(name: str, *known: str) -> dict[str, Any]:
        return checks.keys(f"{path}: [{name}]", table.get(name, {}), known)

    machine = section("machine", "preset", "path", "changes", "memories")
    chosen = section("formats", "candidates", "mean_bits", "layers", "output", "calibration_images")
    verify, synthesis = section("verify", "images"), section("synthesis", "library", "liberty")
    where = f"{path}"
    try:
        name = string("name", table.get("name", path.stem))
        seeds = seeds_of(table.get("seeds", [0]))
        where = f"{path}: [machine]"
        target = machine_of(machine, path.parent, hardware.load_simd_engine)
        where = f"{path}: [formats]"
        pairs = [
            _pair("candidates", entry, target)
            for entry in listed("candidates", chosen.get("candidates", list(target.formats)))
        ]
        if not pairs or len(set(pairs)) < len(pairs):
            raise InvalidValueError("`candidates` must be one or more different formats")
        layers = None
        if "layers" in chosen:
            layers = tuple(_pair("layers", entry, target) for entry in listed("layers", chosen["layers"]))
            if len(layers) != len(training.hidden) + 1:
                raise InvalidValueError(
                    f"`layers` must have formats for each of {len(training.hidden) + 1} layers, got {len(layers)}"
                )
        least = min(pair.bits for pair in pairs)
        mean_bits = checks.real("mean_bits", chosen.get("mean_bits", 8.0), minimum=0.0, exclusive=True)
        if layers is None and mean_bits < least:
            raise InvalidValueError(
                f"`mean_bits` must be at least {least}, that of the least candidate, got {mean_bits:g}"
            )
        output = checks.choice("output", chosen.get("output", target.formats[-1]), target.formats)
        calibration = checks.integer("calibration_images", chosen.get("calibration_images", 512))
        where = f"{path}: [verify]"
        images = checks.integer("images", verify.get("images", 64), minimum=0)
        where = f"{path}: [synthesis]"
        library, liberty = cells_of(synthesis, path.parent)
    except (TypeError, ValueError) as error:
        raise InvalidValueError(f"{where}: {error}") from None
    return SimdRunConfig(
        name=name,
        seeds=seeds,
        held_out=split.held_out,
        split_seed=split.split_seed,
        training=training,
        machine=target,
        candidates=tuple(pairs),
        mean_bits=mean_bits,
        layers=layers,
        output=output,
        calibration_images=calibration,
        verify_images=images,
        library=library,
        liberty=liberty,
        table=table,
    )


def _pair(key: str, entry: Any, machine: SimdEngine) -> FormatPair:
    """Read ``"posit8_0"`` or ``{act = "posit8_0", weight = "fp4_e2m1"}``."""
    if isinstance(entry, Mapping):
        fields = checks.keys(f"`{key}`", entry, ("act", "weight"))
        missing = [name for name in ("act", "weight") if name not in fields]
        if missing:
            raise InvalidValueError(f"`{key}`: `{missing[0]}` is missing")
        pair = FormatPair(act=string("act", fields["act"]), weight=string("weight", fields["weight"]))
    else:
        name = string(key, entry)
        pair = FormatPair(act=name, weight=name)
    for name in (pair.act, pair.weight):
        checks.choice(key, name, SIMD_FORMATS)
        if name not in machine.formats:
            raise InvalidValueError(f"`{key}`: the machine has {', '.join(machine.formats)}, not {name}")
    return pair
