"""Files that are there in full or not at all."""

__all__ = ["alone", "write_atomic"]

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


def write_atomic(path: Path, content: bytes | str) -> None:
    """Write `content` to `path` in one step, whatever interrupts it.

    It is written and flushed to the disk under another name in the same folder, and then takes the place of what was
    there.

    Parameters
    ----------
    path : Path
        The folder is made if need be.
    content : bytes or str
        A text is written as UTF-8.

    Raises
    ------
    InvalidValueError
        If the disk or the folder refuses, or what is there is no regular file.
    """
    data = content.encode() if isinstance(content, str) else content
    temporary = path.with_name(f".{path.name}.partial")  # always the same: what a kill leaves is replaced by the next
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and not path.is_file():
            raise InvalidValueError(f"cannot write '{path}': it is no regular file")
        try:
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        if os.name == "posix":  # the new name is on the disk only once its folder is
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
    except OSError as error:
        raise InvalidValueError(f"cannot write '{path}': {error.strerror or error}") from None
