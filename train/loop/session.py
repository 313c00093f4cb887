"""A training in a well-defined state of PyTorch (threads, determinism, generators), and what it leaves behind."""

__all__ = ["network", "run"]

import io
import json
import os
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

import tetrit
from tetrit.errors import InvalidValueError, ToolError
from tetrit.files import write_atomic
from tetrit.train.data import ImageData, TextData
from tetrit.train.loop import checkpoint
from tetrit.train.loop.batches import batches
from tetrit.train.loop.config import LoopConfig
from tetrit.train.loop.generators import seeded
from tetrit.train.loop.start import CHECKPOINT, METRICS, MODEL, TIMINGS
from tetrit.train.loop.trainer import Trainer
from tetrit.train.models.specs import ImageSpec, TextSpec


def run(
    config: LoopConfig,
    data: ImageData | TextData,
    out: Path,
    *,
    resume: bool,
    progress: bool,
    after_step: Callable[[str, int], None] | None,
    float_run: Path | None = None,
    observe: Callable[[torch.nn.Module], dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """Train, see `tetrit.train.loop.run`; `out` has been checked."""
    path = out / CHECKPOINT
    summary = data.summary()
    with _torch(config), seeded(config.seed):
        build, context = network(config, data)
        model = build().to(config.device)
        made = batches(data, context=context, seed=config.seed, batch=config.settings.batch, device=config.device)
        begun = {
            "schema": "tetrit-train/1",
            "tetrit": tetrit.__version__,
            "name": config.name,
            "seed": config.seed,
            "config": config.table(),
            "config_sha256": config.sha256,
            "platform": _platform(config),
            "data": summary,
            "model": {
                "class": type(model).__name__,
                "parameters": sum(parameter.numel() for parameter in model.parameters()),
            },
        }

        def metrics() -> dict[str, Any]:
            return begun | trainer.metrics()

        def save() -> None:
            state = {"config": config.sha256, "data": summary["sha256"], "trainer": trainer.state_dict()}
            checkpoint.write(path, state)
            write_atomic(out / METRICS, _json(metrics()))
            write_atomic(out / TIMINGS, _json({"seconds": trainer.timings}))

        trainer = Trainer(
            config.phases(),
            model,
            made,
            config.quantization,
            save=save,
            kept=path,
            progress=progress,
            observe=observe,
        )
        if resume:
            trainer.load_state_dict(_checked(config, path, summary["sha256"]))
        elif float_run is not None:
            _take_over(trainer, config.float_part(), float_run / CHECKPOINT, summary["sha256"])
        if not trainer.finished:
            trainer.train(after_step)
            _write_model(out, trainer)
            # last of all: a training that counts as finished has left everything behind
            trainer.finished = True
            save()
        else:  # what the checkpoint has is there again if it was lost
            if not (out / MODEL).exists():
                _write_model(out, trainer)
            if not (out / METRICS).exists():
                write_atomic(out / METRICS, _json(metrics()))
        return metrics()


def _write_model(out: Path, trainer: Trainer) -> None:
    buffer = io.BytesIO()
    torch.save(trainer.model.state_dict(), buffer)
    write_atomic(out / MODEL, buffer.getvalue())


def _take_over(trainer: Trainer, part: LoopConfig, path: Path, data_sha256: str) -> None:
    """Put a training to where its float phase, which another one has done, ends."""
    state = _checked(part, path, data_sha256)
    if not state.get("finished"):
        raise InvalidValueError(f"the float network of checkpoint '{path}' is not finished")
    trainer.load_state_dict(state | {"finished": False})
    trainer.saved = None  # in its own folder there is no checkpoint yet


def _checked(config: LoopConfig, path: Path, data_sha256: str) -> dict[str, Any]:
    state = checkpoint.read(path)
    try:
        if state["config"] != config.sha256:
            raise InvalidValueError(f"checkpoint '{path}' is of another configuration")
        if state["data"] != data_sha256:
            raise InvalidValueError(f"checkpoint '{path}' is of other data: the files have changed since")
        trainer: dict[str, Any] = state["trainer"]
    except KeyError as error:
        raise InvalidValueError(f"checkpoint '{path}' cannot be loaded: it has no entry {error}") from None
    return trainer


def network(config: LoopConfig, data: ImageData | TextData) -> tuple[Callable[[], torch.nn.Module], int | None]:
    """Return what builds the network, and the context of one that reads text."""
    spec = config.model
    if isinstance(spec, ImageSpec) and isinstance(data, ImageData):
        shape, classes, images = data.shape, data.classes, spec
        return lambda: images.build(shape, classes), None
    if isinstance(spec, TextSpec) and isinstance(data, TextData):
        text, symbols = spec, len(data.alphabet)
        return lambda: text.build(symbols), spec.context
    gives = "images" if isinstance(data, ImageData) else "text"
    raise InvalidValueError(f"the model {type(spec).__name__} reads {spec.reads}, but the data are {gives}")


@contextmanager
def _torch(config: LoopConfig) -> Iterator[None]:
    """Set threads and determinism, and set them back at the end."""
    if config.device == "cuda":
        if not torch.cuda.is_available():
            raise ToolError("`device` is 'cuda', but PyTorch finds no CUDA device here")
        # cuBLAS is deterministic with a workspace of fixed size only; it reads this when it is first used
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    threads = torch.get_num_threads()
    deterministic = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    benchmark = torch.backends.cudnn.benchmark
    try:
        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.benchmark = False
        if config.threads is not None:
            torch.set_num_threads(config.threads)
        yield
    finally:
        torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
        torch.backends.cudnn.benchmark = benchmark
        torch.set_num_threads(threads)


def _platform(config: LoopConfig) -> dict[str, Any]:
    """Say what the last bits of the result depend on."""
    return {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "torch": torch.__version__,
        "machine": platform.machine(),
        "device": torch.cuda.get_device_name() if config.device == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
    }


def _json(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=2, allow_nan=False) + "\n"
