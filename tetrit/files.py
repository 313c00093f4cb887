"""Files that are there in full or not at all, and folders that one process holds at a time."""

__all__ = ["alone", "write_atomic"]

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tetrit.errors import InvalidValueError


def write_atomic(
    path: Path, content: bytes | str, *, what: str = "", mark: str = "partial", parents: bool = True
) -> None:
    """Write `content` to `path` in one step, whatever interrupts it.

    It is written and flushed to the disk under another name in the same folder, and then takes the place of what was
    there.

    Parameters
    ----------
    path : Path
    content : bytes or str
        A text is written as UTF-8.
    what : str
        What it is, for messages.
    mark : str
        End of the other name. The same every time, so that what a kill leaves is replaced by the next; for writers that
        nothing holds apart, one of each process.
    parents : bool
        Make the folder if need be.

    Raises
    ------
    InvalidValueError
        If the disk or the folder refuses, or what is there is no regular file.
    """
    data = content.encode() if isinstance(content, str) else content
    temporary = path.with_name(f".{path.name}.{mark}")
    named = f"{what} '{path}'" if what else f"'{path}'"
    try:
        if parents:
            path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and not path.is_file():
            raise InvalidValueError(f"cannot write {named}: it is no regular file")
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
        raise InvalidValueError(f"cannot write {named}: {error.strerror or error}") from None


@contextmanager
def alone(folder: Path, work: str = "training") -> Iterator[None]:
    """Hold a folder, made if need be, against other processes that ask for it in the same way.

    The operating system lets go of it when the process ends, however it ends. Where there are no such locks (Windows,
    some network disks), nothing is held.

    Parameters
    ----------
    folder : Path
    work : str
        What is done there, for the message.

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
            raise InvalidValueError(f"another {work} is at work in '{folder}'") from None
        except OSError:
            pass
        yield
    finally:
        os.close(held)
