"""Ctrl-C and SIGTERM during a training: noticed at once, acted on between two steps."""

__all__ = ["Request", "deferred"]

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType


@dataclass
class Request:
    """Whether an interrupt has been asked for."""

    asked: bool = False


@contextmanager
def deferred() -> Iterator[Request]:
    """Turn the first SIGINT or SIGTERM into a request; the second one interrupts at once, as Ctrl-C usually does.

    A SIGTERM that somebody has a handler for, or ignores, is left to that. Outside the main thread, where Python allows
    no handlers, nothing is changed.
    """
    request = Request()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return

    def handle(number: int, frame: FrameType | None) -> None:
        if request.asked:
            signal.default_int_handler(number, frame)
        request.asked = True

    before = {signal.SIGINT: signal.getsignal(signal.SIGINT)}
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        before[signal.SIGTERM] = signal.SIG_DFL
    try:
        for number in before:
            signal.signal(number, handle)
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
