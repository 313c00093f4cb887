"""Recurrent layers: LSTM, GRU and RNN, with ONNX's gates, activations, directions and sequence lengths."""

__all__: list[str] = []

from collections.abc import Callable

import numpy as np

from tetrit.hls.graph.ir import Node
from tetrit.hls.graph.operators.activation import sigmoid
from tetrit.hls.graph.operators.common import Array, operator
from tetrit.hls.graph.rules.products import DEFAULT_ACTIVATIONS, GATES

Function = Callable[[Array], Array]
_PLAIN: dict[str, Function] = {
    "relu": lambda x: np.maximum(x, 0),
    "sigmoid": lambda x: sigmoid(None, x),
    "softplus": lambda x: np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))),
    "softsign": lambda x: x / (1 + np.abs(x)),
    "tanh": np.tanh,
}
_WITH_PARAMETERS: dict[str, tuple[Callable[[Array, float, float], Array], float | None, float | None]] = {
    "affine": (lambda x, a, b: a * x + b, 1.0, 0.0),
    "elu": (lambda x, a, b: np.where(x < 0, a * np.expm1(np.minimum(x, 0)), x), 1.0, None),
    "hardsigmoid": (lambda x, a, b: np.clip(a * x + b, 0, 1), 0.2, 0.5),
    "leakyrelu": (lambda x, a, b: np.where(x < 0, a * x, x), 0.01, None),
    "scaledtanh": (lambda x, a, b: a * np.tanh(b * x), 1.0, 1.0),
    "thresholdedrelu": (lambda x, a, b: np.where(x > a, x, 0), 1.0, None),
}
"""Function and defaults of alpha and beta; None where it has none."""


def _functions(node: Node, directions: int) -> list[Function]:
    """Return the activations of all directions; parameters are taken in order by the functions that have them."""
    names = node.attributes.get("activations") or DEFAULT_ACTIVATIONS[node.op] * directions
    alphas = list(node.attributes.get("activation_alpha") or ())
    betas = list(node.attributes.get("activation_beta") or ())
    result = []
    for name in names:
        key = name.lower()
        if key in _PLAIN:
            result.append(_PLAIN[key])
            continue
        function, alpha, beta = _WITH_PARAMETERS[key]
        a = alphas.pop(0) if alphas and alpha is not None else alpha
        b = betas.pop(0) if betas and beta is not None else beta
        result.append(_bound(function, a or 0.0, b or 0.0))
    return result


def _bound(function: Callable[[Array, float, float], Array], alpha: float, beta: float) -> Function:
    return lambda x: function(x, alpha, beta)


class _Cell:
    """One direction of a layer: its weights, activations and how a step goes.

    Attributes
    ----------
    projected : ndarray, shape (steps, batch, gates * hidden)
        Product of the inputs with their weights, with their bias.
    recurrent : ndarray, shape (hidden, gates * hidden)
    bias : ndarray, shape (gates * hidden,)
        That of the recurrent product.
    """

    def __init__(
        self, node: Node, x: Array, w: Array, r: Array, bias: Array | None, peepholes: Array | None, f: list[Function]
    ) -> None:
        self.hidden = r.shape[1]
        width = GATES[node.op] * self.hidden
        both = np.zeros(2 * width, x.dtype) if bias is None else bias
        self.projected = x @ w.T + both[:width]
        self.recurrent, self.bias, self.f = np.ascontiguousarray(r.T), both[width:], f
        self.peepholes = np.zeros(3 * self.hidden, x.dtype) if peepholes is None else peepholes
        limit = node.attributes.get("clip")
        self.clip: Function = (lambda v: np.clip(v, -limit, limit)) if limit else (lambda v: v)
        self.coupled = bool(node.attributes.get("input_forget", 0))
        self.reset_after = bool(node.attributes.get("linear_before_reset", 0))
        self.step = {"GRU": self._gru, "LSTM": self._lstm, "RNN": self._rnn}[node.op]

    def _parts(self, gates: Array) -> list[Array]:
        return np.split(gates, gates.shape[-1] // self.hidden, axis=-1)

    def _rnn(self, t: int, h: Array, c: Array) -> tuple[Array, Array]:
        return self.f[0](self.clip(self.projected[t] + h @ self.recurrent + self.bias)), c

    def _lstm(self, t: int, h: Array, c: Array) -> tuple[Array, Array]:
        i, o, f, g = self._parts(self.projected[t] + h @ self.recurrent + self.bias)
        p_i, p_o, p_f = self._parts(self.peepholes)
        i = self.f[0](self.clip(i + p_i * c))
        f = 1 - i if self.coupled else self.f[0](self.clip(f + p_f * c))
        c = f * c + i * self.f[1](self.clip(g))
        o = self.f[0](self.clip(o + p_o * c))
        return o * self.f[2](c), c

    def _gru(self, t: int, h: Array, c: Array) -> tuple[Array, Array]:
        split = 2 * self.hidden
        first = self.projected[t, :, :split] + h @ self.recurrent[:, :split] + self.bias[:split]
        z, r = self._parts(self.f[0](self.clip(first)))
        weight, bias = self.recurrent[:, split:], self.bias[split:]
        inner = r * (h @ weight + bias) if self.reset_after else (r * h) @ weight + bias
        candidate = self.f[1](self.clip(self.projected[t, :, split:] + inner))
        return (1 - z) * candidate + z * h, c


@operator(*GATES)
def recurrent(
    node: Node,
    x: Array,
    w: Array,
    r: Array,
    bias: Array | None = None,
    lengths: Array | None = None,
    h: Array | None = None,
    c: Array | None = None,
    peepholes: Array | None = None,
) -> tuple[Array, ...]:
    batch_first = node.attributes.get("layout", 0) == 1
    if batch_first:
        x = x.swapaxes(0, 1)
        h, c = (None if state is None else state.swapaxes(0, 1) for state in (h, c))
    steps, batch = x.shape[:2]
    directions, hidden = r.shape[0], r.shape[2]
    functions = _functions(node, directions)
    each = len(functions) // directions
    until = np.full(batch, steps) if lengths is None else lengths
    every = np.zeros((steps, directions, batch, hidden), x.dtype)
    last_h = np.zeros((directions, batch, hidden), x.dtype) if h is None else h.astype(x.dtype)
    last_c = np.zeros((directions, batch, hidden), x.dtype) if c is None else c.astype(x.dtype)
    for d in range(directions):
        backward = d == 1 or node.attributes.get("direction", "forward") == "reverse"
        # a sequence is read backward from its own last element, not from the padding after it
        order = np.arange(steps)[:, None]
        order = (
            np.where(order < until, until - 1 - order, order) if backward else np.broadcast_to(order, (steps, batch))
        )
        own = x[order, np.arange(batch)]
        part = functions[d * each : (d + 1) * each]
        cell = _Cell(
            node, own, w[d], r[d], None if bias is None else bias[d], None if peepholes is None else peepholes[d], part
        )
        state, memory = last_h[d], last_c[d]
        for t in range(steps):
            new_state, new_memory = cell.step(t, state, memory)
            alive = (t < until)[:, None]
            state, memory = np.where(alive, new_state, state), np.where(alive, new_memory, memory)
            every[order[t], d, np.arange(batch)] = np.where(alive, new_state, 0)
        last_h[d], last_c[d] = state, memory
    if batch_first:
        every = every.transpose(2, 0, 1, 3)
        last_h, last_c = last_h.swapaxes(0, 1), last_c.swapaxes(0, 1)
    return (every, last_h, last_c) if node.op == "LSTM" else (every, last_h)
