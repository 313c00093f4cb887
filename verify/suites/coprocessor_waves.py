"""What waveforms of a co-processor have beside its signals: names of states, stored words beside golden ones."""

__all__ = ["STATES", "Stores"]

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from tetrit.sim.coprocessor import Coprocessor
from tetrit.verify.batch import BatchCoprocessor
from tetrit.verify.waves.fst import Enumeration
from tetrit.verify.waves.tracks import store_tracks
from tetrit.verify.waves.vcd import Track

STATES: Mapping[str, Enumeration] = {"fsm_state": Enumeration(name="state", labels=("IDLE", "CHECK", "RUN"), bits=2)}
"""States of `MatmulCoprocessor`, in the order of their codes; a test compares them with the component."""

_MOST_WORDS = 1 << 20


class Stores:
    """What a co-processor stored, word by word, beside the golden memory; of a million words and the first mismatch.

    Attributes
    ----------
    first_wrong : int or None
        The cycle in which a word was stored that is not the golden one.
    """

    def __init__(self) -> None:
        self.first_wrong: int | None = None
        self._places: list[npt.NDArray[np.int64]] = []
        self._words: list[npt.NDArray[np.uint8]] = []
        self._golden: list[npt.NDArray[np.uint8]] = []
        self._kept = 0

    def add(self, design: BatchCoprocessor, golden: npt.NDArray[np.uint8], data_bytes: int) -> None:
        """Take what was stored since the last call by a job that is over, and has left memory as it is."""
        places = design.stores()
        bytes_of = np.minimum(places[:, 1:] + np.arange(data_bytes), golden.size - 1)
        words, wanted = design.memory[bytes_of], golden[bytes_of]
        wrong = np.flatnonzero((words != wanted).any(axis=1))
        if self.first_wrong is None and wrong.size:
            self.first_wrong = int(places[wrong[0], 0])
        if self._kept + len(places) <= _MOST_WORDS:
            self._kept += len(places)
            self._places.append(places)
            self._words.append(words)
            self._golden.append(wanted)

    def tracks(self, unit: Coprocessor, window: tuple[int, int]) -> list[Track]:
        """Return the signals that show it."""
        if not self._places:
            return []
        places, words, golden = (
            np.concatenate(self._places),
            np.concatenate(self._words),
            np.concatenate(self._golden),
        )
        return store_tracks(places, words, golden, unit.address_bits, window)
