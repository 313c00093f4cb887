"""The command line as tests call it: in this process, with its exit code and what it printed."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tetrit.cli import main


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str


@pytest.fixture
def tetrit(capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Call `main` with arguments."""

    def call(*arguments: object) -> Outcome:
        code = main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return Outcome(code, out, err)

    return call
