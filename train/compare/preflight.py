"""Every pair of task and estimator, tried on two items before hours of training begin."""

__all__ = ["check"]

import copy
from collections.abc import Iterable

from torch.nn import functional

from tetrit.errors import InvalidValueError, TetritError
from tetrit.train.compare.config import CompareConfig
from tetrit.train.loop.batches import batches
from tetrit.train.loop.generators import seeded
from tetrit.train.loop.session import network
from tetrit.train.qat import prepare


def check(config: CompareConfig, tasks: Iterable[str]) -> None:
    """Prepare the network of each task with each estimator, and run two items forwards and backwards.

    Raises
    ------
    InvalidValueError
        If that fails; the message names the file, the task and the estimator.
    ToolError
        If what the data needs is not installed.
    """
    for task in tasks:
        entries = [entry for entry in config.estimators if task in entry.tasks]
        first = config.training(task, entries[0], config.seeds[0])
        data = first.source.load(first.folder)
        with seeded(first.seed):
            where = f"{config.path}: task '{task}'"
            try:
                build, context = network(first, data)
                model = build()
                made = batches(data, context=context, seed=first.seed, batch=first.settings.batch, device="cpu")
            except InvalidValueError as error:
                raise InvalidValueError(f"{where}: {error}") from None
            x, y = made.train(0, 0)
            for entry in entries:
                quantization = config.training(task, entry, first.seed).quantization
                assert quantization is not None
                try:
                    prepared = prepare(
                        copy.deepcopy(model),
                        quantization.plan,
                        example=made.example,
                        fold_batchnorm=quantization.fold_batchnorm,
                    )
                    outputs = prepared(x[:2])
                    functional.cross_entropy(outputs.flatten(0, -2), y[:2].flatten()).backward()
                except (TetritError, TypeError, RuntimeError) as error:
                    line = (str(error).splitlines() or [type(error).__name__])[0]
                    raise InvalidValueError(f"{where}, estimator '{entry.label}': {line}") from None
