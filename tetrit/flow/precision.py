"""A study of precision from beginning to end: float networks, sensitivities, choices, their accuracy, and a summary."""

__all__ = ["RESULT", "run"]

import hashlib
import json
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tetrit import checks, processes
from tetrit.errors import Interrupted, InvalidValueError, unknown_name
from tetrit.files import alone, write_atomic
from tetrit.flow.precision_choices import choices_of, limit_of
from tetrit.flow.precision_config import PrecisionConfig
from tetrit.flow.precision_result import summarise
from tetrit.train.loop.start import CHECKPOINT, METRICS, MODEL
from tetrit.train.loop.start import run as train

RESULT = "precision.json"
_BEGUN = "study.json"


@dataclass(frozen=True, kw_only=True, eq=False)
class Task:
    """One piece of work, whose result is a file: a float network, a look at one, or a choice tried on one.

    Attributes
    ----------
    config : PrecisionConfig
    out : Path
        Of the whole study.
    seed : int
    machine : str or None
        None: the float network.
    formats : dict of str to str, or None
        The choice, by layer; None: the look.
    """

    config: PrecisionConfig
    out: Path
    seed: int
    machine: str | None = None
    formats: dict[str, str] | None = None

    @property
    def folder(self) -> Path:
        """Folder of the task's files."""
        if self.machine is None:
            return self.out / "float" / f"seed-{self.seed}"
        if self.formats is None:
            return self.out / "looks" / self.machine / f"seed-{self.seed}"
        key = hashlib.sha256(json.dumps(self.formats, sort_keys=True).encode()).hexdigest()[:12]
        return self.out / "choices" / self.machine / f"seed-{self.seed}" / key

    @property
    def label(self) -> str:
        """What the progress bar says."""
        return f"{self.machine or 'float network'}, seed {self.seed}"

    @property
    def result(self) -> Path:
        """The file that is written last."""
        return self.folder / (METRICS if self.machine is None else "result.json")

    def read(self) -> dict[str, Any] | None:
        """Return the result, None if there is none yet."""
        try:
            found = json.loads(self.result.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise InvalidValueError(f"cannot read '{self.result}': {error.strerror}") from None
        except ValueError:
            raise InvalidValueError(f"'{self.result}' is not what tetrit has written there") from None
        if not isinstance(found, dict) or (self.machine is None and not found.get("finished")):
            return None
        return found


def run(
    config: PrecisionConfig,
    out: Path | str,
    *,
    resume: bool = False,
    jobs: int | None = None,
    progress: bool = False,
) -> dict[str, Any]:
    """Train float networks, measure sensitivities, choose formats, try the choices, and sum up.

    Contract: with the same configuration, data and machine the result is the same, whatever `jobs` is, and however
    often the study was interrupted and resumed.

    Parameters
    ----------
    config : PrecisionConfig
    out : path-like
        Folder: of networks, looks and choices, and ``precision.json`` at the end.
    resume : bool, default False
        Go on with what is there.
    jobs : int, optional
        Processes; by default one for each core.
    progress : bool, default False
        Draw bars on standard error.

    Returns
    -------
    dict
        As in ``precision.json``; see `tetrit.flow.precision_result`.

    Raises
    ------
    InvalidValueError
        If the folder holds another study, or this one and `resume` is not set; the data cannot be read; a tie names no
        layer; or a training diverges.
    ToolError
        If what data, training or choices need is not installed, or a process is killed.
    Interrupted
        After Ctrl-C; everything is ready to be resumed.
    """
    out = Path(out)
    n_jobs = processes.cores() if jobs is None else checks.integer("jobs", jobs, maximum=1024)
    _check_folder(config, out, resume)
    _check_ties(config)
    with alone(out, "study"):
        write_atomic(out / _BEGUN, json.dumps({"sha256": config.sha256}) + "\n")
        floats = [Task(config=config, out=out, seed=seed) for seed in config.seeds]
        _do(floats, "networks", jobs=n_jobs, progress=progress)
        looks = [
            Task(config=config, out=out, seed=seed, machine=study.name)
            for study in config.machines
            for seed in config.seeds
        ]
        _do(looks, "sensitivities", jobs=n_jobs, progress=progress)
        looked = {(task.machine, task.seed): _finished(task) for task in looks}
        trials: dict[Path, Task] = {}
        for task in looks:
            for choice in choices_of(config, config.study(task.machine or ""), _finished(task)):
                trial = Task(config=config, out=out, seed=task.seed, machine=task.machine, formats=choice["formats"])
                trials.setdefault(trial.folder, trial)
        _do(list(trials.values()), "choices", jobs=n_jobs, progress=progress)

        def tried(machine: str, seed: int, formats: dict[str, str]) -> dict[str, Any]:
            return _finished(Task(config=config, out=out, seed=seed, machine=machine, formats=formats))

        found = summarise(config, looked, tried)
        write_atomic(out / RESULT, json.dumps(found, indent=1, allow_nan=False) + "\n")
    return found


def _check_ties(config: PrecisionConfig) -> None:
    """Refuse ties of layers that the network does not have, before any training."""
    if not config.ties:
        return
    from tetrit.train.loop.generators import seeded
    from tetrit.train.sensitivity.layers import layers_of
    from tetrit.train.sensitivity.studying import images_of, network

    loop = config.training
    with seeded(loop.seed):
        layers = layers_of(network(loop, images_of(loop)))
    for name in (name for group in config.ties for name in group):
        if name not in layers:
            raise InvalidValueError(f"{config.path}: [choice]: {unknown_name('layer', name, layers)}")


def _check_folder(config: PrecisionConfig, out: Path, resume: bool) -> None:
    begun = out / _BEGUN
    try:
        there = json.loads(begun.read_text(encoding="utf-8"))["sha256"] if begun.exists() else None
    except (OSError, ValueError, TypeError, KeyError):
        raise InvalidValueError(f"'{begun}' is not what tetrit has written there") from None
    if there is not None and there != config.sha256:
        raise InvalidValueError(f"'{out}' holds a study of another configuration: choose another folder")
    if there is not None and not resume:
        raise InvalidValueError(f"'{out}' already holds a study: resume it (--resume) or choose another folder")
    if there is None and resume:
        raise InvalidValueError(f"there is no study in '{out}' to resume")


def _finished(task: Task) -> dict[str, Any]:
    found = task.read()
    assert found is not None
    return found


def _do(tasks: list[Task], what: str, *, jobs: int, progress: bool) -> None:
    from tqdm import tqdm

    waiting = [task for task in tasks if task.read() is None]
    finished = len(tasks) - len(waiting)
    if not waiting:
        return
    try:
        with tqdm(total=len(tasks), initial=finished, desc=what, unit="", disable=not progress) as bar:

            def done(task: Task) -> None:
                nonlocal finished
                finished += 1
                bar.set_postfix_str(task.label)
                bar.update()

            processes.run_all(waiting, _work, jobs=jobs, done=done, name=lambda task: str(task.folder))
    except KeyboardInterrupt:
        raise Interrupted(f"interrupted with {finished} of {len(tasks)} {what} finished") from None


def _work(task: Task, stopped: Callable[[], bool] | None) -> None:
    """Do one task in this process, on one thread."""
    import torch

    def after_step(phase: str, step: int) -> None:
        if stopped is not None and stopped():
            signal.raise_signal(signal.SIGINT)  # the loop finishes its step and writes a checkpoint

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        if task.machine is None:
            train(
                task.config.of_seed(task.seed),
                task.folder,
                resume=(task.folder / CHECKPOINT).exists(),
                after_step=after_step,
            )
        elif task.formats is None:
            _look(task, lambda: _stop(stopped))
        else:
            _try(task, task.formats, after_step)
    except Interrupted:
        raise
    except InvalidValueError as error:
        raise InvalidValueError(f"{task.config.path}: {task.label}: {error}") from None
    finally:
        torch.set_num_threads(threads)


def _opened(task: Task) -> tuple[Any, Any, Any]:
    """Return float network, data and target of a task."""
    from tetrit.train.sensitivity.studying import float_network, images_of

    loop = task.config.of_seed(task.seed)
    data = images_of(loop)
    path = task.out / "float" / f"seed-{task.seed}" / MODEL
    return float_network(loop, data, path), data, task.config.study(task.machine or "").target(task.seed)


def _stop(stopped: Callable[[], bool] | None) -> None:
    """End a look early where that has been asked for; it begins anew when the study is resumed."""
    if stopped is not None and stopped():
        raise KeyboardInterrupt


def _look(task: Task, done: Callable[[], object]) -> None:
    from tetrit.train.sensitivity import studying

    model, data, target = _opened(task)
    config, study = task.config, task.config.study(task.machine or "")
    found = studying.look(model, data, target, config.measuring, seed=task.seed, done=done)
    searches = []
    if config.search is not None and target.searchable:
        settings = {key: value for key, value in config.search.items() if key != "levels"}
        for level in config.search["levels"]:
            limit = limit_of(found, study.cost, level)
            learned = studying.search(
                model,
                data,
                target,
                config.measuring,
                found["costs"][study.cost],
                limit,
                settings,
                seed=task.seed,
                done=done,
            )
            searches.append(
                {
                    "level": level,
                    "probabilities": learned.probabilities.tolist(),
                    "mean_reward": [float(part.mean()) for part in _quarters(learned.rewards)],
                }
            )
    _write(task, found | {"searches": searches})


def _quarters(values: Any) -> list[Any]:
    import numpy as np

    return [part for part in np.array_split(values, 4) if len(part)]


def _try(task: Task, formats: dict[str, str], after_step: Callable[[str, int], None]) -> None:
    from tetrit.train.loop.trainer import DivergedError
    from tetrit.train.sensitivity import studying

    model, data, target = _opened(task)
    measuring = task.config.measuring
    plan = target.plan(model, formats, studying.tensors(data, data.train, measuring.images)[0])
    tuned, diverged = None, None
    if task.config.finetune is not None:
        rules = [_plain({"match": r.match, "weight": r.weight, "activation": r.activation}) for r in plan.rules]
        try:
            train(
                task.config.tuning(task.seed, rules),
                task.folder,
                resume=(task.folder / CHECKPOINT).exists(),
                after_step=after_step,
                float_run=task.out / "float" / f"seed-{task.seed}",
            )
            tuned = task.folder / MODEL
        except DivergedError as error:
            diverged = error.what
    found = studying.evaluate(model, data, target, formats, measuring, plan, tuned)
    _write(task, {"formats": formats, "diverged": diverged} | found)
    (task.folder / CHECKPOINT).unlink(missing_ok=True)


def _plain(table: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: dict(value) if isinstance(value, Mapping) else value for key, value in table.items() if value is not None
    }


def _write(task: Task, found: dict[str, Any]) -> None:
    write_atomic(task.result, json.dumps(found, indent=1, allow_nan=False) + "\n")
