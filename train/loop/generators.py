"""The random generators of a training: seeded and put back around it, and saved with its checkpoints."""

__all__ = ["get_states", "seeded", "set_states"]

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


def get_states() -> dict[str, Any]:
    """Return the states of the generators of torch (all devices), numpy and Python, as tensors, numbers and lists."""
    version, state, gauss = random.getstate()
    # legacy numpy state: whatever a callback draws from must go on where it was
    kind, key, place, has_gauss, cached = np.random.get_state()  # noqa: NPY002
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else [],
        "numpy": [str(kind), torch.from_numpy(np.asarray(key).astype(np.int64)), place, has_gauss, cached],
        "python": [version, torch.tensor(state), gauss],
    }


def set_states(states: dict[str, Any]) -> None:
    """Put all generators into the states that `get_states` gave."""
    torch.set_rng_state(states["torch"])
    if states["cuda"]:
        torch.cuda.set_rng_state_all(states["cuda"])
    kind, key, place, has_gauss, cached = states["numpy"]
    np.random.set_state((kind, key.numpy().astype(np.uint32), place, has_gauss, cached))  # noqa: NPY002
    version, state, gauss = states["python"]
    random.setstate((version, tuple(state.tolist()), gauss))


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed all generators, and give them back their states of before at the end."""
    before = get_states()
    torch.manual_seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    random.seed(seed)
    try:
        yield
    finally:
        set_states(before)
