"""LSTM and GRU: layers and directions of PyTorch as nodes of ONNX, one for each layer."""

__all__: list[str] = []

from typing import Any

import numpy as np
import numpy.typing as npt

from tetrit.hls.importers.aten.context import Args, Context, Fixed, Ref, UnsupportedError, handles

_GATES = {"LSTM": (0, 3, 1, 2), "GRU": (1, 0, 2)}
"""PyTorch's gates in the order of ONNX: input, output, forget, cell; update, reset, hidden."""


@handles("lstm")
def _lstm(c: Context, a: Args) -> tuple[Ref, ...]:
    hidden, cell = a["hx"]
    return _run(c, a, "LSTM", hidden, cell)


@handles("gru")
def _gru(c: Context, a: Args) -> tuple[Ref, ...]:
    return _run(c, a, "GRU", a["hx"], None)


def _run(c: Context, a: Args, op: str, hidden: Any, cell: Any) -> tuple[Ref, ...]:
    if "batch_sizes" in a:
        raise UnsupportedError("packed sequences are not supported")
    if len(a["input"].shape) != 3:
        raise UnsupportedError(f"its input must have a batch, got shape {a['input'].shape}")
    directions, biases = 2 if a["bidirectional"] else 1, bool(a["has_biases"])
    params = list(a["params"])
    each = 4 if biases else 2
    if len(params) != each * directions * int(a["num_layers"]):
        raise UnsupportedError("projections of the state (`proj_size`) are not supported")
    x = c.transpose(a["input"], (1, 0, 2), ".time") if a["batch_first"] else a["input"]
    time, batch, _ = x.shape
    states: list[list[Ref]] = [[], []]
    for layer in range(int(a["num_layers"])):
        own = params[layer * each * directions : (layer + 1) * each * directions]
        weights = [_stacked(own[place::each], op, False) for place in range(2)]
        bias = None
        if biases:
            bias = np.concatenate([_stacked(own[place::each], op, True) for place in (2, 3)], axis=1)
        width = weights[1].shape[-1]
        start = [_part(c, state, layer, directions) for state in (hidden, cell)]
        shapes = [(time, directions, batch, width)] + [(directions, batch, width)] * (2 if op == "LSTM" else 1)
        found = c.emit_all(
            op,
            [x, *weights, bias, None, *start],
            [(shape, None) for shape in shapes],
            f".layer{layer}",
            {
                "hidden_size": width,
                "direction": "bidirectional" if directions == 2 else "forward",
                "linear_before_reset": 1 if op == "GRU" else None,
            },
        )
        for state, value in zip(states, found[1:], strict=False):
            state.append(value)
        turned = c.transpose(found[0], (0, 2, 1, 3), f".layer{layer}.joined")
        x = c.reshape(turned, (time, batch, directions * width), f".layer{layer}.flat")
    if a["batch_first"]:
        x = c.transpose(x, (1, 0, 2), ".batch")
    last = [_joined(c, state) for state in states if state]
    return (x, *last)


def _stacked(params: list[Any], op: str, bias: bool) -> npt.NDArray[Any]:
    """Return the parameters of all directions in the order of ONNX: (directions, gates x width, ...)."""
    if not all(isinstance(param, Fixed) for param in params):
        raise UnsupportedError("its weights must be parameters")
    gates = _GATES[op]
    stacked = []
    for param in params:
        array = param.array
        parts = np.split(array, len(gates))
        stacked.append(np.concatenate([parts[gate] for gate in gates]))
    return np.stack(stacked)


def _part(c: Context, state: Any, layer: int, directions: int) -> Any:
    if state is None:
        return None
    if isinstance(state, Fixed):
        array = state.array[layer * directions : (layer + 1) * directions]
        return None if not array.any() else array
    if state.shape[0] == directions:
        return state
    return c.slice(state, 0, layer * directions, (layer + 1) * directions, 1, f".start{layer}")


def _joined(c: Context, states: list[Ref]) -> Ref:
    if len(states) == 1:
        return states[0]
    shape = (sum(state.shape[0] for state in states), *states[0].shape[1:])
    return c.emit("Concat", states, shape, suffix=".states", axis=0)
