"""Folders that one training holds at a time."""

__all__ = ["alone"]

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tetrit.errors import InvalidValueError


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold a folder, made if need be, against other processes that ask for it in the same way.

    The operating system lets go of it when the process ends, however it ends. Where there are no such locks (Windows,
    some network disks), nothing is held.

    Raises
    ------
    InvalidValueError
        If another process holds it, or it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidValueError(f"cannot write '{folder}': {error.strerror or error}") from None
    try:
        import fcntl
    except ModuleNotFoundError:
        yield
        return
    held = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InvalidValueError(f"another training is at work in '{folder}'") from None
        except OSError:
            pass
        yield
    finally:
        os.close(held)
