"""The command line as tests call it: in this process, with its exit code and what it printed."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.tetrit.explorations import SMALL
from tetrit.cli import main
from tetrit.explore import load_space
from tetrit.explore.space import Space


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


@pytest.fixture
def space(tmp_path: Path) -> Callable[..., Space]:
    """Read the description of a space from its text."""

    def made(text: str = SMALL) -> Space:
        path = tmp_path / "space.toml"
        path.write_text(text)
        return load_space(path)

    return made
