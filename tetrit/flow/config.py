"""The configuration of a run: a TOML file, read once, every field checked before any work begins."""

__all__ = ["RunConfig", "load", "located"]

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tetrit import checks, hardware
from tetrit.errors import InvalidValueError, ToolError
from tetrit.flow.conv_config import ConvRunConfig, read_conv
from tetrit.flow.crossbar_config import CrossbarConfig, read_crossbar
from tetrit.flow.fields import AnyRunConfig, cells_of, listed, machine_of, seeds_of, string
from tetrit.flow.simd_config import SimdRunConfig, read_simd
from tetrit.hardware import ShiftArray, SimdEngine
from tetrit.train.recipe import (
    EstimatorChoice,
    check_crossbar,
    estimator_of,
    split_of,
    training_of,
)

_SECTIONS = ("name", "seeds", "data", "network", "train", "machine", "crossbar", "verify", "synthesis")


@dataclass(frozen=True, kw_only=True, eq=False)
class RunConfig(AnyRunConfig):
    """All that a run needs to know.

    Attributes
    ----------
    estimator : EstimatorChoice
        Of the network that goes to hardware.
    compare : tuple of EstimatorChoice
        Trained for comparison only.
    machine : ShiftArray
        Target.
    crossbar : CrossbarConfig or None
        Analog chips that run the same network beside it, if there is such a section.
    others
        As of `AnyRunConfig`.
    """

    estimator: EstimatorChoice
    compare: tuple[EstimatorChoice, ...]
    machine: ShiftArray
    crossbar: CrossbarConfig | None


@contextmanager
def located(path: Path) -> Iterator[None]:
    """Begin errors of a later step with the configuration's name."""
    try:
        yield
    except InvalidValueError as error:
        raise InvalidValueError(f"{path}: {error}") from None
    except ToolError as error:
        raise ToolError(f"{path}: {error}") from None


def load(path: Path) -> RunConfig | SimdRunConfig | ConvRunConfig:
    """Read and check a configuration.

    One with a section ``[formats]`` is for a SIMD engine, one with ``[coprocessor]`` for a convolutional network on the
    matrix co-processor.

    Parameters
    ----------
    path : Path
        A TOML file; relative paths inside it start from its folder.

    Returns
    -------
    RunConfig, SimdRunConfig or ConvRunConfig

    Raises
    ------
    InvalidValueError
        The file cannot be read or is no TOML; a section, key or value is unknown, of the wrong kind or out of range.
        The message names the file and the section.
    """
    given = checks.read_toml("configuration", path)
    if "formats" in given:
        return read_simd(path, given)
    if "coprocessor" in given:
        return read_conv(path, given)
    table = checks.keys(str(path), given, (*_SECTIONS, "formats", "coprocessor"))

    def section(name: str, known: tuple[str, ...]) -> dict[str, Any]:
        return checks.keys(f"{path}: [{name}]", table.get(name, {}), known)

    split = split_of(str(path), table.get("data", {}))
    training, estimator, more = training_of(
        str(path), table.get("network", {}), table.get("train", {}), more=("compare",)
    )
    machine = section("machine", ("preset", "path", "changes", "memories"))
    verify = section("verify", ("images",))
    synthesis = section("synthesis", ("library", "liberty"))
    where = f"{path}"
    try:
        name = string("name", table.get("name", path.stem))
        seeds = seeds_of(table.get("seeds", [0]))
        where = f"{path}: [train]"
        compare = tuple(estimator_of("compare", entry) for entry in listed("compare", more.get("compare", [])))
        weights = estimator.weight_format
        where = f"{path}: [machine]"
        target = machine_of(machine, path.parent, _shift_array)
        if weights != target.weight_format:
            raise InvalidValueError(
                f"the machine takes {target.weight_format} weights, estimator '{estimator.name}' gives {weights}"
            )
        where = f"{path}: [verify]"
        images = checks.integer("images", verify.get("images", 64), minimum=0)
        where = f"{path}: [synthesis]"
        library, liberty = cells_of(synthesis, path.parent)
    except (TypeError, ValueError) as error:
        raise InvalidValueError(f"{where}: {error}") from None
    analog = None
    if "crossbar" in table:
        analog = _crossbar(f"{path}: [crossbar]", table["crossbar"], path.parent, estimator)
    return RunConfig(
        name=name,
        seeds=seeds,
        held_out=split.held_out,
        split_seed=split.split_seed,
        training=training,
        estimator=estimator,
        compare=compare,
        machine=target,
        crossbar=analog,
        verify_images=images,
        library=library,
        liberty=liberty,
        table=table,
    )


def _crossbar(where: str, table: Any, folder: Path, estimator: EstimatorChoice) -> CrossbarConfig:
    found = read_crossbar(where, table, folder)
    try:
        check_crossbar(found.machine, estimator)
    except InvalidValueError as error:
        raise InvalidValueError(f"{where}: {error}") from None
    return found


def _shift_array(source: str | Path) -> ShiftArray:
    machine = hardware.load(source)
    if isinstance(machine, SimdEngine):
        raise InvalidValueError(f"{source}: a simd_engine needs a section [formats], which says how layers are rounded")
    return machine if isinstance(machine, ShiftArray) else hardware.load_shift_array(source)  # which says what it is
