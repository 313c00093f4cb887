"""What all tests share.

Hypothesis draws new examples on every local run; continuous integration repeats the same ones.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("ci", derandomize=True, deadline=None)
settings.register_profile("local", deadline=None, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "local")

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as in a shell's background jobs; tests send it
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def build_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder of executable models for the whole session, all its processes included."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "a folder with spaces"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def same_without_the_compiler() -> Callable[..., None]:
    """Run a script that prints digests with numba's compiler and without; what it prints must be the same.

    Without the compiler, numpy warns where its scalars wrap around as they should; `silent` scripts draw no warning.
    """

    def check(probe: str, *, silent: bool = False) -> None:
        answers = []
        for disabled in ("0", "1"):
            env = os.environ | {"NUMBA_DISABLE_JIT": disabled}
            done = subprocess.run([sys.executable, "-c", probe], env=env, capture_output=True, text=True, check=True)
            assert not silent or done.stderr == ""
            answers.append(done.stdout)
        assert answers[0] == answers[1]
        assert len(answers[0].split()[0]) == 64

    return check
