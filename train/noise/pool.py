"""Memory that the loops of a batch write to, kept for the next one."""

__all__ = ["POOL", "Pool"]

import threading
from collections.abc import Callable, Hashable
from typing import Any


class Pool:
    """Things to use again: memory that the system gives anew costs as much time as a product, and so do many views.

    Parameters
    ----------
    most : int
        Bytes to keep; when there would be more, all are let go.
    """

    def __init__(self, most: int) -> None:
        self.most, self.kept = most, 0
        self._lock = threading.Lock()
        self._free: dict[Hashable, list[Any]] = {}

    def take(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """Return something that was given back with this key, as it is, or what `make` makes."""
        with self._lock:
            free = self._free.get(key)
            if free:
                found = free.pop()
                self.kept -= found.nbytes
                return found
        return make()

    def give_back(self, key: Hashable, thing: Any) -> None:
        """Let something be used again that has `nbytes`; the caller has no more use for it."""
        size = thing.nbytes
        with self._lock:
            if self.kept + size > self.most:
                self._free, self.kept = {}, 0
            if size <= self.most:
                self._free.setdefault(key, []).append(thing)
                self.kept += size


POOL = Pool(1 << 26)
"""64 MiB at most."""
