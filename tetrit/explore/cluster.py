"""Points over a Dask cluster, one of this machine or any other; results come back to the process that writes them."""

__all__ = ["run"]

import contextlib
import signal
import threading
import uuid
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tetrit.errors import ToolError
from tetrit.explore.evaluate import Task, evaluate
from tetrit.explore.figures import Result, versions
from tetrit.montecarlo import network

LOCAL = "local"
_CONNECT_S = 10
_WORKERS_S = 60
_AHEAD = 4
"""Tasks on the way for each thread of the cluster."""

_one_at_a_time = threading.Lock()
"""Workers may have several threads; libraries' thread pools belong to the process."""


def run(tasks: Sequence[Task], address: str, *, jobs: int, done: Callable[[Result], None]) -> None:
    """Evaluate tasks on the workers of a cluster.

    A task whose worker is lost goes to another one. A task that has been on several workers when they were lost is
    given up by the scheduler, and recorded as failed.

    Parameters
    ----------
    tasks : sequence of Task
    address : str
        Of the scheduler, or ``local`` for workers on this machine.
    jobs : int
        Workers of a local cluster.
    done : callable
        Called with every result.

    Raises
    ------
    ToolError
        If `distributed` is not installed, the scheduler cannot be reached or goes away, has no workers, or has workers
        of another version.
    KeyboardInterrupt
        After Ctrl-C; what was on its way is cancelled.
    """
    distributed = _library()
    with _client(distributed, address, jobs) as client:
        shared = _share(client, tasks)
        waiting = iter(tasks)
        threads = max(1, sum(client.nthreads().values()))
        futures: dict[Any, Task] = {}
        completed = distributed.as_completed()

        def send() -> None:
            task = next(waiting, None)
            if task is None:
                return
            data = shared.get(task.network) if isinstance(task.network, Path) else None
            key = f"tetrit-{task.number}-{uuid.uuid4().hex}"
            future = client.submit(_evaluate, replace(task, network=None), data, key=key, pure=False)
            futures[future] = task
            completed.add(future)

        try:
            for _ in range(_AHEAD * threads):
                send()
            for future in completed:
                if future.status in (
                    "pending",
                    "lost",
                ):  # with the worker that had the result: the scheduler runs it again
                    completed.add(future)
                    continue
                done(_result(distributed, future, futures.pop(future), address))
                send()
        finally:
            if futures:
                with contextlib.suppress(Exception):  # the cluster may be what has failed
                    client.cancel(list(futures))


def _library() -> Any:
    """Return Dask's package `distributed`."""
    try:
        import distributed
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("dask", "distributed"):
            raise
        raise ToolError("`--dask` needs distributed, which is not installed: pip install 'tetrit[explore]'") from None
    return distributed


def _evaluate(task: Task, data: Any) -> Result:
    """Evaluate a task on a worker."""
    with _one_at_a_time:
        return evaluate(replace(task, network=data))


def _share(client: Any, tasks: Sequence[Task]) -> dict[Path, Any]:
    """Send every network to the workers once."""
    files = sorted({task.network for task in tasks if isinstance(task.network, Path)})
    return {file: client.scatter(network.load(file), broadcast=True, hash=False) for file in files}


def _result(distributed: Any, future: Any, task: Task, address: str) -> Result:
    """Return what a worker found, or what became of it."""
    if future.status == "finished":
        result: Result = future.result()
        theirs = result.versions.get("tetrit")
        if theirs != versions()["tetrit"]:
            raise ToolError(f"a Dask worker has tetrit {theirs}, this is {versions()['tetrit']}")
        return result
    if future.status == "error":
        error = future.exception()
        if isinstance(error, distributed.KilledWorker):
            return Result(
                number=task.number,
                figures=None,
                error="every worker that began it was lost: out of memory, or killed",
                versions=versions(),
            )
        if isinstance(error, ModuleNotFoundError):
            raise ToolError(f"a Dask worker lacks what it needs: {error}")
        raise error
    raise ToolError(f"the Dask scheduler at '{address}' has gone; the same command goes on when it is back")


@contextlib.contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Let processes that are started in the block ignore Ctrl-C, which on a terminal reaches them too."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def _client(distributed: Any, address: str, jobs: int) -> Iterator[Any]:
    """Yield a client of a running cluster, or of one that ends with the block."""
    with contextlib.ExitStack() as stack, warnings.catch_warnings():
        # Dask warns of a port in use by another dashboard, and of memory; neither is for the user of this command
        warnings.filterwarnings("ignore", module=r"distributed\..*")
        if address == LOCAL:
            with _interrupts_ignored():
                cluster = distributed.LocalCluster(
                    n_workers=jobs, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50
                )
            stack.enter_context(cluster)
            yield stack.enter_context(distributed.Client(cluster))
            return
        try:
            client = stack.enter_context(distributed.Client(address, timeout=_CONNECT_S))
            client.wait_for_workers(1, timeout=_WORKERS_S)
        except TimeoutError:
            raise ToolError(f"no worker has joined the Dask scheduler at '{address}' within {_WORKERS_S} s") from None
        except (OSError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise ToolError(f"cannot reach a Dask scheduler at '{address}': {reason}") from None
        yield client
