"""Ctrl-C during a training: noticed at once, acted on between two steps."""

__all__ = ["Interrupted", "Request", "deferred"]

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType


class Interrupted(KeyboardInterrupt):
    """The training was interrupted by Ctrl-C; the message says where, and its checkpoint is written."""


@dataclass
class Request:
    """Whether an interrupt has been asked for."""

    asked: bool = False


@contextmanager
def deferred() -> Iterator[Request]:
    """Turn the first SIGINT into a request; the second one interrupts at once, as usual.

    Outside the main thread, where Python allows no handlers, nothing is changed.
    """
    request = Request()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return

    def handle(number: int, frame: FrameType | None) -> None:
        if request.asked:
            signal.default_int_handler(number, frame)
        request.asked = True

    before = signal.signal(signal.SIGINT, handle)
    try:
        yield request
    finally:
        signal.signal(signal.SIGINT, before)
