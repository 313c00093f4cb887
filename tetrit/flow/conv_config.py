"""The configuration of a convolutional network on the co-processor: blocks, unit, batch, what is verified."""

__all__ = ["ConvRunConfig", "read_conv"]

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from tetrit import checks, hardware
from tetrit.errors import InvalidValueError
from tetrit.flow.fields import RunHead, listed, machine_of, seeds_of, string
from tetrit.hardware import ShiftArray
from tetrit.sim.coprocessor import Coprocessor
from tetrit.train import cnn
from tetrit.train.recipe import EstimatorChoice, estimator_of, split_of

_SECTIONS = ("name", "seeds", "data", "network", "train", "machine", "coprocessor", "verify")
_BLOCK = tuple(field.name for field in fields(cnn.Block))
_TRAIN = tuple(field.name for field in fields(cnn.Config) if field.name != "blocks")
_MOST = 4096


@dataclass(frozen=True, kw_only=True, eq=False)
class ConvRunConfig(RunHead):
    """All that such a run needs to know.

    Attributes
    ----------
    training : cnn.Config
        Network and schedule.
    estimator : EstimatorChoice
        Of the weights.
    unit : Coprocessor
        With a shift array.
    batch : int
        Images of a pass.
    host_cycles_per_byte : float
        As of `tetrit.hls.jobs.compile_jobs`.
    slow_images : int
        Of the images that run on the RTL, how many run again on a memory that waits.
    others
        As of `RunHead`.
    """

    training: cnn.Config
    estimator: EstimatorChoice
    unit: Coprocessor
    batch: int
    host_cycles_per_byte: float
    slow_images: int

    @property
    def machine(self) -> ShiftArray:
        """The co-processor's array."""
        assert isinstance(self.unit.machine, ShiftArray)
        return self.unit.machine


def read_conv(path: Path, given: Mapping[str, Any]) -> ConvRunConfig:
    """Read and check the configuration `given`; errors name the file and the section.

    Raises
    ------
    InvalidValueError
        A section, key or value is unknown, of the wrong kind or out of range.
    """
    table = checks.keys(str(path), given, _SECTIONS)
    split = split_of(str(path), table.get("data", {}))

    def section(name: str, *known: str) -> dict[str, Any]:
        return checks.keys(f"{path}: [{name}]", table.get(name, {}), known)

    network = section("network", "block")
    train = section("train", "estimator", *_TRAIN)
    machine = section("machine", "preset", "path", "changes", "memories")
    unit = section("coprocessor", "batch", "data_bits", "address_bits", "burst_beats", "host_cycles_per_byte")
    verify = section("verify", "images", "slow_images")
    where = f"{path}"
    try:
        name = string("name", table.get("name", path.stem))
        seeds = seeds_of(table.get("seeds", [0]))
        where = f"{path}: [network]"
        blocks = tuple(_block(entry) for entry in listed("block", network.get("block", [])))
        where = f"{path}: [train]"
        estimator = estimator_of("estimator", train.pop("estimator", "szt"))
        training = cnn.Config(blocks=blocks, **train) if blocks else cnn.Config(**train)
        where = f"{path}: [machine]"
        target = machine_of(machine, path.parent, hardware.load_shift_array)
        if estimator.weight_format != target.weight_format:
            raise InvalidValueError(
                f"the machine takes {target.weight_format} weights, estimator '{estimator.name}' gives "
                f"{estimator.weight_format}"
            )
        if target.act_format != "int8":
            raise InvalidValueError(f"training gives int8 activations, the machine takes {target.act_format}")
        where = f"{path}: [coprocessor]"
        batch = checks.integer("batch", unit.pop("batch", 32), maximum=_MOST)
        rate = checks.real("host_cycles_per_byte", unit.pop("host_cycles_per_byte", 1.0), minimum=0.0)
        built = Coprocessor(machine=target, **unit)
        where = f"{path}: [verify]"
        images = checks.integer("images", verify.get("images", 64), minimum=0)
        slow = checks.integer("slow_images", verify.get("slow_images", 0), minimum=0, maximum=images)
    except (TypeError, ValueError) as error:
        raise InvalidValueError(f"{where}: {error}") from None
    return ConvRunConfig(
        name=name,
        seeds=seeds,
        held_out=split.held_out,
        split_seed=split.split_seed,
        training=training,
        estimator=estimator,
        unit=built,
        batch=batch,
        host_cycles_per_byte=rate,
        verify_images=images,
        slow_images=slow,
        table=table,
    )


def _block(entry: Any) -> cnn.Block:
    given = checks.keys("`block`", entry, _BLOCK)
    if "channels" not in given:
        raise InvalidValueError("`block`: `channels` is missing")
    for key in ("channels", "kernel", "stride", "pool"):
        if key in given:
            checks.integer(key, given[key], maximum=_MOST)
    return cnn.Block(**given)
