"""The file of a space, read and checked before any work begins."""

__all__ = ["load_space"]

import dataclasses
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tetrit import checks, hardware, noise
from tetrit.errors import InvalidValueError, unknown_name
from tetrit.explore.machines import VIRTUAL, origins
from tetrit.explore.space import (
    AREAS,
    FIGURES,
    METHODS,
    MOST_POINTS,
    OPERATORS,
    Axis,
    Constraint,
    MachineSpace,
    Sampling,
    Space,
)
from tetrit.explore.workload import DigitsWorkload, Gemm, GemmWorkload, Workloads
from tetrit.hardware import Machine
from tetrit.sim import Workload
from tetrit.train import mlp
from tetrit.train.recipe import EstimatorChoice, estimator_of, machine_source, split_of, training_of

_SECTIONS = (
    "name",
    "seed",
    "objectives",
    "constraints",
    "sampling",
    "workload",
    "machine",
    "area",
    "mix_sources",
)
_RANGE = ("from", "to", "step", "factor", "count")
_KINDS = ("gemm", "network", "digits")
_LIMIT = re.compile(r"\s*(\w+)\s*(<=|>=|<|>)\s*(\S+)\s*")
_MOST_VALUES = 100_000
_LARGEST = 2**62


def load_space(path: Path | str) -> Space:
    """Read and check the description of a space.

    Parameters
    ----------
    path : path-like
        A TOML file; relative paths inside it start from its folder.

    Returns
    -------
    Space

    Raises
    ------
    InvalidValueError
        The file cannot be read or is no TOML; a section, key or value is unknown, missing, of the wrong kind or out of
        range. The message names the file, and the section or the machine.
    """
    path = Path(path)
    table = checks.keys(str(path), checks.read_toml("space", path), _SECTIONS)
    where = str(path)
    try:
        name = table.get("name", path.stem)
        if not isinstance(name, str):
            raise TypeError(f"`name` must be a string, got {name!r}")
        seed = checks.integer("seed", table.get("seed", 0), minimum=0, maximum=noise.MAX_SEED - MOST_POINTS)
        area = checks.choice("area", table.get("area", "table"), AREAS)
        objectives = _objectives(table.get("objectives"))
        constraints = _constraints(table.get("constraints", []))
        mixed = table.get("mix_sources", False)
        if not isinstance(mixed, bool):
            raise TypeError(f"`mix_sources` must be true or false, got {mixed!r}")
        where = f"{path}: [workload]"
        workload = _workload(str(path), table.get("workload"))
        where = f"{path}: [[machine]]"
        machines = _machines(path, table.get("machine"))
        where = f"{path}: [sampling]"
        sampling = _sampling(table.get("sampling", {}), sum(machine.size for machine in machines))
        where = str(path)
        space = Space(
            name=name,
            path=path,
            seed=seed,
            sampling=sampling,
            machines=machines,
            workload=workload,
            objectives=objectives,
            constraints=constraints,
            area=area,
        )
        _check(space, mixed=mixed)
    except (TypeError, ValueError) as error:
        text = str(error)
        raise InvalidValueError(text if text.startswith(f"{path}: ") else f"{where}: {text}") from None
    return space


def _check(space: Space, *, mixed: bool) -> None:
    """Raise for figures that nothing measures, and for sources that are not to be mixed."""
    wanted = {*space.objectives, *(limit.figure for limit in space.constraints)}
    if "accuracy" in wanted and not isinstance(space.workload, DigitsWorkload):
        raise InvalidValueError('`accuracy` needs a network with data: `[workload]` with `kind = "digits"`')
    for figure in ("energy_uj", "area_mm2"):
        found = {origins(machine.base)[figure]: machine.name for machine in space.machines}
        if figure in wanted and len(found) > 1 and not mixed:
            told = "; ".join(f"that of '{name}' from {source}" for source, name in found.items())
            raise InvalidValueError(
                f"`{figure}` is no comparison between these machines: {told}; explore them apart, or set "
                "`mix_sources = true`"
            )


def _objectives(given: Any) -> tuple[str, ...]:
    if not isinstance(given, list) or not given:
        raise InvalidValueError(f"`objectives` must be a list of one or more of {', '.join(FIGURES)}, got {given!r}")
    for figure in given:
        checks.choice("objectives", figure, FIGURES)
    if len(set(given)) < len(given):
        raise InvalidValueError(f"`objectives` must all be different, got {given}")
    return tuple(given)


def _constraints(given: Any) -> tuple[Constraint, ...]:
    if not isinstance(given, list):
        raise TypeError(f"`constraints` must be a list, got {given!r}")
    found = []
    for text in given:
        match = _LIMIT.fullmatch(text) if isinstance(text, str) else None
        if match is None:
            raise InvalidValueError(
                f"`constraints` must be texts such as 'area_mm2 <= 2' with one of {', '.join(OPERATORS)}, got {text!r}"
            )
        figure, relation, limit = match.groups()
        checks.choice("constraints", figure, FIGURES)
        try:
            found.append(Constraint(figure=figure, relation=relation, limit=checks.real("limit", float(limit))))
        except ValueError:
            raise InvalidValueError(f"`constraints`: '{limit}' of '{text}' is no finite number") from None
    return tuple(found)


def _sampling(given: Any, size: int) -> Sampling:
    table = checks.keys("`sampling`", given, ("method", "points", "rounds"))
    method = checks.choice("method", table.get("method", "grid"), METHODS)
    points: int | None = None
    rounds = 1
    if method == "grid":
        if len(table) > ("method" in table):
            raise InvalidValueError("`points` and `rounds` are for random and successive sampling: a grid has all")
    else:
        if "points" not in table:
            raise InvalidValueError(f"`points` is missing: how many of the {size:,} points")
        points = checks.integer("points", table["points"], maximum=MOST_POINTS)
        if "rounds" in table and method == "random":
            raise InvalidValueError("`rounds` is for successive sampling")
        if method == "successive":
            rounds = checks.integer("rounds", table.get("rounds", 5), minimum=2, maximum=points)
    if (points or size) > MOST_POINTS:
        raise InvalidValueError(f"the grid has {size:,} points, more than {MOST_POINTS:,}: sample it")
    return Sampling(method=method, points=points if points is None else min(points, size), rounds=rounds)


def _machines(path: Path, given: Any) -> tuple[MachineSpace, ...]:
    if isinstance(given, Mapping):
        given = [given]
    if not isinstance(given, list) or not given:
        raise InvalidValueError("one or more `[[machine]]` are needed")
    found: list[MachineSpace] = []
    for number, entry in enumerate(given, 1):
        where = f"{path}: [[machine]] {number}"
        try:
            found.append(_machine(path, entry, where))
        except (TypeError, ValueError) as error:
            text = str(error)
            raise InvalidValueError(text if text.startswith(where) else f"{where}: {text}") from None
        if found[-1].name in [machine.name for machine in found[:-1]]:
            raise InvalidValueError(f"{where}: there are two machines named '{found[-1].name}': set `name`")
    if sum(machine.size for machine in found) > _LARGEST:
        raise InvalidValueError(f"the space has more than {_LARGEST:,} points")
    return tuple(found)


def _machine(path: Path, given: Any, where: str) -> MachineSpace:
    table = checks.keys(where, given, ("name", "preset", "path", "changes", "parameters"))
    base: Any = hardware.load(machine_source(table, path.parent))
    changes = table.get("changes", {})
    base = hardware.changed(base, changes, where=f"{where}: [changes]", folder=path.parent)
    name = table.get("name", table.get("preset", table.get("path")))
    if not isinstance(name, str) or not name:
        raise TypeError(f"`name` must be a text, got {name!r}")
    axes = tuple(_axis(names, values, base) for names, values in _flat(table.get("parameters", {}), base).items())
    used: set[str] = set()
    for axis in axes:
        for one in axis.names:
            if one in used:
                raise InvalidValueError(f"`{one}` is given twice")
            used.add(one)
    return MachineSpace(name=name, base=base, axes=axes)


def _flat(given: Any, base: Machine, prefix: str = "") -> dict[str, Any]:
    """Return parameters by their dotted names; a table is a range if it has `from`, else a part of the machine."""
    if not isinstance(given, Mapping):
        raise TypeError(f"`{prefix or 'parameters'}` must be a table, got {given!r}")
    flat: dict[str, Any] = {}
    for key, value in given.items():
        name = f"{prefix}.{key}" if prefix else key
        if isinstance(value, Mapping) and "from" not in value:
            flat |= _flat(value, base, name)
        else:
            flat[name] = value
    return flat


def _axis(key: str, given: Any, base: Machine) -> Axis:
    names = tuple(name.strip() for name in key.split(","))
    for name in names:
        _check_name(name, base)
    if isinstance(given, Mapping):
        if len(names) > 1:
            raise InvalidValueError(f"`{key}` must be a list of lists, got a range")
        values = [(value,) for value in _range(key, given)]
    else:
        if not isinstance(given, list) or not given:
            raise InvalidValueError(f"`{key}` must be a list of values or a range {{from, to, step}}, got {given!r}")
        values = []
        for value in given:
            together = value if len(names) > 1 else [value]
            if not isinstance(together, list) or len(together) != len(names):
                raise InvalidValueError(f"`{key}` must be a list of lists of {len(names)} values, got {value!r}")
            values.append(tuple(together))
    for value in values:
        for one in value:
            if not isinstance(one, int | float | str | list):
                raise TypeError(f"`{key}` must have numbers, texts, true or false or lists as values, got {one!r}")
    if any(value in values[:place] for place, value in enumerate(values)):
        raise InvalidValueError(f"`{key}` must have every value once, got {given!r}")
    return Axis(names=names, values=tuple(values))


def _check_name(name: str, base: Machine) -> None:
    """Raise InvalidValueError unless `name` is a field of the machine, or of one of its parts."""
    part: Any = base
    if name in VIRTUAL.get(type(base), ()):
        return
    for place, field in enumerate(name.split(".")):
        if not dataclasses.is_dataclass(part):
            raise InvalidValueError(f"`{name}`: `{'.'.join(name.split('.')[:place])}` has no fields")
        known = [f.name for f in dataclasses.fields(part)] + list(VIRTUAL.get(type(part), ()))
        if field not in known:
            raise unknown_name("parameter", name, [".".join([*name.split(".")[:place], one]) for one in known])
        part = getattr(part, field)
    if dataclasses.is_dataclass(part) and name.count(".") == 0 and name not in ("device", "ramp"):
        raise InvalidValueError(f"`{name}` is a part of the machine: name one of its fields with a dot")


def _range(key: str, given: Mapping[str, Any]) -> list[Any]:
    """Return the values from `from` to `to`, both included, in steps, by a factor, or evenly spaced."""
    table = checks.keys(f"`{key}`", given, _RANGE)
    ways = [way for way in ("step", "factor", "count") if way in table]
    if "to" not in table or len(ways) != 1:
        raise InvalidValueError(f"`{key}` must have `from`, `to` and one of `step`, `factor` and `count`")
    first, last, way = table["from"], table["to"], table[ways[0]]
    for name, value in table.items():
        checks.real(f"{key}.{name}", value)
    if last < first:
        raise InvalidValueError(f"`{key}.to` must be at least `from`, {first:g}, got {last:g}")
    whole = all(isinstance(value, int) for value in (first, last, way))
    if ways == ["count"]:
        n = checks.integer(f"{key}.count", way, minimum=2, maximum=_MOST_VALUES)
        values = [first + (last - first) * place / (n - 1) for place in range(n)]
        return [round(value) for value in values] if all(float(v).is_integer() for v in values) else values
    if ways == ["step"]:
        if not way > 0:
            raise InvalidValueError(f"`{key}.step` must be above 0, got {way:g}")
        n = math.floor((last - first) / way * (1 + 1e-12)) + 1
    else:
        if not (way > 1 and first > 0):
            raise InvalidValueError(f"`{key}.factor` must be above 1 and `from` above 0, got {way:g} and {first:g}")
        n = math.floor(math.log(last / first) / math.log(way) * (1 + 1e-12) + 1e-12) + 1
    if n > _MOST_VALUES:
        raise InvalidValueError(f"`{key}` has {n:,} values, more than {_MOST_VALUES:,}")
    values = [first + way * place if ways == ["step"] else first * way**place for place in range(n)]
    return values if whole else [float(value) for value in values]


def _workload(path: str, given: Any) -> Workloads:
    if not isinstance(given, Mapping):
        raise InvalidValueError(f"the section is missing; it needs a `kind`: {', '.join(_KINDS)}")
    kind = checks.choice("kind", given.get("kind"), _KINDS)
    if kind == "digits":
        return _digits(path, given)
    if kind == "network":
        return _network(given)
    table = checks.keys("`workload`", given, ("kind", "name", "gemm", "zeros"))
    entries = table.get("gemm")
    if not isinstance(entries, list) or not entries:
        raise InvalidValueError("one or more `[[workload.gemm]]` are needed")
    gemms = []
    for number, entry in enumerate(entries, 1):
        fields = checks.keys(f"[[workload.gemm]] {number}", entry, ("name", "m", "k", "n", "count"))
        missing = [name for name in "mkn" if name not in fields]
        if missing:
            raise InvalidValueError(f"[[workload.gemm]] {number}: `{missing[0]}` is missing")
        gemms.append(
            Gemm(
                name=str(fields.get("name", f"gemm{number}")),
                workload=Workload(m=fields["m"], k=fields["k"], n=fields["n"]),
                count=checks.integer("count", fields.get("count", 1)),
            )
        )
    return GemmWorkload(name=str(table.get("name", "gemm")), gemms=tuple(gemms), zeros=_share(table))


def _share(table: Mapping[str, Any]) -> float:
    zeros = checks.real("zeros", table.get("zeros", 0.0), minimum=0.0)
    if zeros > 1:
        raise InvalidValueError(f"`zeros` must be at most 1, got {zeros:g}")
    return zeros


def _network(given: Mapping[str, Any]) -> GemmWorkload:
    from tetrit.hls import networks

    table = checks.keys("`workload`", given, ("kind", "network", "batch", "zeros"))
    name = checks.choice("network", table.get("network"), networks.names())
    batch = checks.integer("batch", table.get("batch", 1), maximum=65536)
    gemms = tuple(
        Gemm(name=node, workload=dataclasses.replace(work, m=batch * work.m), count=count)
        for node, work, count in networks.get(name).workloads()
    )
    return GemmWorkload(name=f"{name}, batch {batch}", gemms=gemms, zeros=_share(table))


def _digits(path: str, given: Mapping[str, Any]) -> DigitsWorkload:
    train = [field.name for field in dataclasses.fields(mlp.Config)]
    table = checks.keys(
        "`workload`",
        given,
        ("kind", "held_out", "split_seed", "estimators", "chips", "calibration_images", *train),
    )
    split = split_of(path, {key: table[key] for key in ("held_out", "split_seed") if key in table})
    hidden = {"hidden": table["hidden"]} if "hidden" in table else {}
    schedule = {key: table[key] for key in train if key in table and key != "hidden"}
    training, _, _ = training_of(path, hidden, schedule)
    estimators: dict[str, EstimatorChoice] = {}
    entries = table.get("estimators", {})
    if not isinstance(entries, Mapping):
        raise TypeError(f"`estimators` must be a table of weight formats, got {entries!r}")
    for name, entry in entries.items():
        choice = estimator_of(f"estimators.{name}", entry)
        if choice.weight_format != name:
            raise InvalidValueError(f"`estimators.{name}`: '{choice.name}' gives {choice.weight_format} weights")
        estimators[name] = choice
    return DigitsWorkload(
        split=split,
        training=training,
        estimators=estimators,
        chips=checks.integer("chips", table.get("chips", 1), maximum=1000),
        calibration_images=checks.integer("calibration_images", table.get("calibration_images", 256), maximum=2**31),
    )
