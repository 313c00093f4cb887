"""SIGTERM on the command line: an orderly end, as after Ctrl-C, with an exit code of its own."""

__all__ = ["CODE", "Termination", "answered"]

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

CODE = 128 + signal.SIGTERM


@dataclass
class Termination:
    """Whether SIGTERM has come."""

    asked: bool = False


@contextmanager
def answered() -> Iterator[Termination]:
    """Do at SIGTERM what is done at SIGINT: raise KeyboardInterrupt, or what long work does to end between two steps.

    A SIGTERM that somebody has a handler for, or ignores, is left to that. Outside the main thread, where Python allows
    no handlers, nothing is changed.
    """
    termination = Termination()
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield termination
        return

    def handle(number: int, frame: FrameType | None) -> None:
        termination.asked = True
        interrupt = signal.getsignal(signal.SIGINT)  # a shell's background jobs ignore SIGINT, but not SIGTERM
        (interrupt if callable(interrupt) else signal.default_int_handler)(signal.SIGINT, frame)

    signal.signal(signal.SIGTERM, handle)
    try:
        yield termination
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
