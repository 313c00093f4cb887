"""Compiled loops on the threads that PyTorch's own operators use."""

__all__ = ["CONVERT", "DRAW", "ENTER", "QUANTISE", "Task"]

from tetrit.train.noise.threads.tasks import CONVERT, DRAW, ENTER, QUANTISE, Task
