"""Writing the files of one run so that either all of them are there, complete, or the directory is as it was."""

__all__ = ["check_directory", "write_files"]

import contextlib
import errno
import os
import secrets
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

from tetrit.errors import InvalidValueError


def check_directory(out_dir: Path | str) -> None:
    """Raise InvalidValueError unless files can be written to `out_dir`; leaves nothing behind.

    For the start of a long run. A directory that does not exist yet is fine if it can be made.

    Parameters
    ----------
    out_dir : path-like
        Where the files of the run are to go.

    Raises
    ------
    InvalidValueError
        If `out_dir` or its nearest existing parent is not a directory or not writable.
    """
    nearest = Path(out_dir).absolute()
    while not os.path.lexists(nearest):
        nearest = nearest.parent
    probe = nearest / _temporary_name()
    try:
        probe.touch(exist_ok=False)
        probe.unlink()
    except OSError as error:
        raise _cannot_write(nearest, error) from None


def write_files(out_dir: Path | str, files: Mapping[str, str | bytes]) -> list[Path]:
    """Write `files` into `out_dir`, all or none.

    Contract: every file is first written in full, and flushed to the disk, under a temporary name in its own directory;
    only then are they renamed into place. On any error, or an interrupt, files that existed keep their old content and
    new ones (files and directories) are removed.

    Parameters
    ----------
    out_dir : path-like
        The directory; made, with its parents, if need be.
    files : mapping of str to str or bytes
        Relative path with ``/`` as separator -> content; text is written as UTF-8.

    Returns
    -------
    list of Path
        The files written, in the order of `files`.

    Raises
    ------
    InvalidValueError
        For a name that is absolute or leads out of `out_dir`, and when the disk or the directory refuses.

    Examples
    --------
    >>> import tempfile
    >>> from tetrit import report
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     [path.name for path in report.write_files(folder, {"verilog/top.v": "module top; endmodule"})]
    ['top.v']
    """
    root = Path(out_dir)
    targets = {root / _relative(name): content for name, content in files.items()}
    if len(targets) != len(files):
        raise InvalidValueError("two files must not have the same name")
    made: list[Path] = []  # directories, outermost first
    saved: dict[Path, Path] = {}  # target -> temporary copy of the old file
    staged: dict[Path, Path] = {}  # target -> temporary file with the new content
    placing = False
    current = root
    try:
        for current, content in targets.items():
            _make_directories(current.parent, made)
            if current.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            if current.exists() and not current.is_file():
                raise FileExistsError(errno.EEXIST, "it exists and is no regular file")
            if os.path.lexists(current):
                saved[current] = current.with_name(_temporary_name())
                shutil.copy2(current, saved[current], follow_symlinks=False)
            staged[current] = current.with_name(_temporary_name())
            _write_through(staged[current], content)
        placing = True
        for current, temporary in staged.items():
            temporary.replace(current)
    except BaseException as error:
        if placing:
            _restore(staged, saved)
        _remove((*staged.values(), *saved.values()), made)
        if isinstance(error, OSError):
            raise _cannot_write(current, error) from None
        raise
    _remove(saved.values(), ())
    return list(targets)


def _restore(staged: Mapping[Path, Path], saved: Mapping[Path, Path]) -> None:
    """Give every target that was already replaced its old content back, or remove it if it is new."""
    for target, temporary in staged.items():
        if not temporary.exists():
            if target in saved:
                saved[target].replace(target)
            else:
                target.unlink(missing_ok=True)


def _remove(temporaries: Iterable[Path], directories: Sequence[Path]) -> None:
    """Remove what is left of the temporary files, and those of `directories` that are empty."""
    for temporary in temporaries:
        with contextlib.suppress(OSError):
            temporary.unlink()
    for directory in reversed(directories):
        with contextlib.suppress(OSError):
            directory.rmdir()


def _relative(name: str) -> Path:
    path = PurePosixPath(name)
    if not path.parts or path.is_absolute() or ".." in path.parts or "\0" in name or "\\" in name:
        raise InvalidValueError(f"name of a file must be a relative path inside the output directory, got {name!r}")
    return Path(*path.parts)


def _temporary_name() -> str:
    return f".tetrit-{secrets.token_hex(8)}.tmp"


def _make_directories(path: Path, made: list[Path]) -> None:
    """Make `path` and its missing parents, adding each one to `made`."""
    if path.exists():
        return
    _make_directories(path.parent, made)
    path.mkdir()
    made.append(path)


def _write_through(path: Path, content: str | bytes) -> None:
    with path.open("xb") as file:
        file.write(content.encode() if isinstance(content, str) else content)
        file.flush()
        os.fsync(file.fileno())


def _cannot_write(path: Path, error: OSError) -> InvalidValueError:
    return InvalidValueError(f"cannot write '{path}': {error.strerror or error}")
