"""The array's input ports cycle by cycle, for gate-level simulation without a memory model around it."""

__all__ = ["port_trace"]

import numpy as np
import numpy.typing as npt

from tetrit.hardware import ShiftArray
from tetrit.sim.shift.cycles import Schedule
from tetrit.sim.shift.streams import Streams
from tetrit.sim.shift.words import to_words

Bits = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]


def port_trace(streams: Streams, schedule: Schedule, machine: ShiftArray) -> dict[str, Bits]:
    """Return what memories that never idle put on the ports of `rtl.ShiftPEArray`.

    A memory offers its next word from the cycle after the one before was taken, and holds it until it is taken; where
    nothing is on offer, the payload keeps its last value.

    Parameters
    ----------
    streams : Streams
        Vectors of the run.
    schedule : Schedule
        When they are taken.
    machine : ShiftArray
        The array.

    Returns
    -------
    dict of str to ndarray of uint8, shape (cycles, width)
        Bits of ``weights__payload``, ``weights__valid``, ... and ``results__ready``, bit 0 first; `last` is the top
        bit of a payload.
    """
    n_cycles = schedule.cycles
    partials = np.where(
        streams.partials_from[:, np.newaxis] >= 0,
        streams.results[np.maximum(streams.partials_from, 0)],
        streams.partials,
    )
    written = schedule.results[np.maximum(streams.partials_from, 0)] + 1
    acc_ready = np.where(streams.partials_from >= 0, written, 0) + machine.acc_memory.latency_cycles
    trace = {"results__ready": np.ones((n_cycles, 1), dtype=np.uint8)}

    def port(name: str, payload: Bits, words: int, taken: Ints, ready: Ints) -> None:
        # a gearbox takes the first word of a vector when it hands on the vector before, or as soon as it is offered
        first = np.maximum(np.concatenate([[0], taken[:-1]]), ready)
        accepted = (first[:, np.newaxis] + np.arange(words)).reshape(-1)
        offered = np.maximum(np.concatenate([[0], accepted[:-1] + 1]), np.repeat(ready, words))
        changes = np.zeros(n_cycles + 1, dtype=np.int64)
        np.add.at(changes, np.minimum(offered, n_cycles), 1)
        np.add.at(changes, np.minimum(accepted + 1, n_cycles), -1)
        latest = np.searchsorted(offered, np.arange(n_cycles), side="right") - 1
        trace[f"{name}__payload"] = payload[np.maximum(latest, 0)] * (latest >= 0)[:, np.newaxis].astype(np.uint8)
        trace[f"{name}__valid"] = np.cumsum(changes)[:n_cycles, np.newaxis].astype(np.uint8)

    weights = to_words(streams.weights, machine.weights.bits, machine.weight_word_bits, streams.weights_last)
    ready = np.full(len(streams.weights), machine.weight_memory.latency_cycles)
    port("weights", weights, machine.weight_words, schedule.weights, ready)
    acts = to_words(streams.activations, machine.activations.bits, machine.act_word_bits, streams.activations_last)
    ready = np.full(len(streams.activations), machine.act_memory.latency_cycles)
    port("activations", acts, machine.act_words, schedule.activations, ready)
    sums = to_words(partials, machine.acc_bits, machine.acc_word_bits, streams.partials_last)
    port("partials", sums, machine.acc_words, schedule.partials, acc_ready)
    return trace
