"""What becomes of a training that asks for more memory than there is: one line that says how much."""

__all__ = ["enough"]

import re
from collections.abc import Iterator
from contextlib import contextmanager

from tetrit.errors import InvalidValueError

_REFUSED = re.compile(r"not enough memory|can't allocate memory|out of memory", re.IGNORECASE)
_WANTED = re.compile(r"(?:tried to allocate|unable to allocate) ([\d.]+ (?:bytes|[KMGTPE]iB))", re.IGNORECASE)


@contextmanager
def enough() -> Iterator[None]:
    """Turn the errors of Python's, numpy's and PyTorch's allocators into InvalidValueError.

    PyTorch has a class of its own for a full device only; on the CPU it is a RuntimeError, known by its text.

    Examples
    --------
    >>> from tetrit.train.loop.memory import enough
    >>> with enough():
    ...     bytearray(1 << 62)
    Traceback (most recent call last):
    tetrit.errors.InvalidValueError: there is not enough memory for this model and these data
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        text = str(error)
        if not isinstance(error, MemoryError) and not _REFUSED.search(text):
            raise
        wanted = _WANTED.search(text)
        at_once = f", which ask for {wanted[1]} at once" if wanted else ""
        raise InvalidValueError(f"there is not enough memory for this model and these data{at_once}") from None
