"""The sequence of a network's layers: whose result a module takes, as `torch.fx` or an ``nn.Sequential`` tells."""

__all__ = ["Link", "before", "links"]

from collections import Counter
from dataclasses import dataclass

import torch
from torch import fx, nn

from tetrit.train.qat.layers import LowBitLayer

_PASSING = (nn.Dropout, nn.Identity, nn.Flatten)
_PASSING_CALLS = (torch.flatten, torch.reshape, nn.functional.dropout, "flatten", "reshape", "view", "contiguous")
_RELU_CALLS = (torch.relu, torch.relu_, nn.functional.relu, "relu", "relu_")


@dataclass(frozen=True, kw_only=True, eq=False)
class Link:
    """Where the input of a layer comes from.

    Attributes
    ----------
    source : LowBitLayer or None
        The layer whose result it is, after at most a ReLU and what only passes values on (dropout, identity,
        flattening); None for the input of the network.
    relu : bool
        Whether there is a ReLU in between.
    """

    source: nn.Module | None
    relu: bool


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Return whether the module is one node of the graph."""
        return isinstance(m, LowBitLayer) or super().is_leaf_module(m, module_qualified_name)


class _Graph:
    """A traced network; only values with one user and modules with one call and no hooks count as linked."""

    def __init__(self, model: nn.Module) -> None:
        if _is_hooked(model):
            model = nn.Sequential(model)  # a tracer calls what is inside with its hooks, but not the network itself
        self.modules = dict(model.named_modules(remove_duplicate=False))
        self.calls: dict[nn.Module, list[fx.Node]] = {}
        self.graph = _Tracer().trace(model)
        for node in self.graph.nodes:
            if (module := self.module(node)) is not None:
                self.calls.setdefault(module, []).append(node)

    def module(self, node: fx.Node) -> nn.Module | None:
        return self.modules[str(node.target)] if node.op == "call_module" else None

    def input(self, node: fx.Node) -> fx.Node | None:
        """Return the one node that gives the first input of `node`, and nothing else anything."""
        module = self.module(node)
        if module is not None and _is_hooked(module):
            return None
        nodes = node.all_input_nodes
        return nodes[0] if len(nodes) == 1 and len(nodes[0].users) == 1 else None

    def once(self, node: fx.Node | None) -> nn.Module | None:
        """Return the module that a node calls, if no other node calls it and nothing changes what it gives."""
        module = None if node is None else self.module(node)
        plain = module is not None and len(self.calls[module]) == 1 and not _is_hooked(module)
        return module if plain else None

    def is_one_of(self, node: fx.Node, kinds: tuple[type, ...], calls: tuple[object, ...]) -> bool:
        module = self.module(node)
        if module is not None:
            return isinstance(module, kinds) and not _is_hooked(module)
        return node.op in ("call_function", "call_method") and node.target in calls


def before(model: nn.Module) -> tuple[dict[nn.Module, nn.Module], set[int]] | None:
    """Return what comes right before what, and what is read apart; None where the model cannot be traced.

    First, for every module, the one whose result it takes, where both are used once and no other takes it, hooks or
    not; second, the identities of the parameters and buffers that the model's own code reads.
    """
    if (graph := _traced(model)) is None:
        return None
    found: dict[nn.Module, nn.Module] = {}
    for module, (node, *others) in graph.calls.items():
        inputs = node.all_input_nodes
        source = graph.module(inputs[0]) if len(inputs) == 1 and len(inputs[0].users) == 1 else None
        if source is not None and len(graph.calls[source]) == 1 and not others:
            found[module] = source
    names = [str(node.target).rpartition(".") for node in graph.graph.nodes if node.op == "get_attr"]
    return found, {id(getattr(graph.modules.get(parent), own, None)) for parent, _, own in names}


def links(model: nn.Module) -> dict[nn.Module | None, Link]:
    """Return where the input of every layer comes from, and under None where the result of the network does.

    Where that is not plain, there is no entry. Where tracing fails, only an ``nn.Sequential`` that is the network
    itself is followed: who knows what calls the modules of another.
    """
    if (graph := _traced(model)) is None:
        return _sequential_links(model)
    found: dict[nn.Module | None, Link] = {}
    ends = [node for node in graph.graph.nodes if node.op == "output"]
    own = (nn.ReLU, *_PASSING)
    firsts = {m: nodes[0] for m, nodes in graph.calls.items() if len(nodes) == 1 and not isinstance(m, own)}
    for module, node in [*firsts.items(), *((None, node) for node in ends)]:
        link = _link(graph, node)
        if link is not None:
            found[module] = link
    return found


def _link(graph: _Graph, node: fx.Node) -> Link | None:
    relu = False
    at = graph.input(node)
    while at is not None and at.op != "placeholder":
        if graph.is_one_of(at, (nn.ReLU,), _RELU_CALLS):
            relu = True
        elif not graph.is_one_of(at, _PASSING, _PASSING_CALLS):
            break
        at = graph.input(at)
    if at is None:
        return None
    source = graph.once(at)
    return Link(source=source, relu=relu) if at.op == "placeholder" or source is not None else None


def _sequential_links(model: nn.Module) -> dict[nn.Module | None, Link]:
    found: dict[nn.Module | None, Link] = {}
    if not isinstance(model, nn.Sequential) or type(model).forward is not nn.Sequential.forward or _is_hooked(model):
        return found
    uses = Counter(module for _, module in model.named_modules(remove_duplicate=False))
    source, relu = None, False
    for module in model:
        if _is_hooked(module) or uses[module] > 1:
            source, relu = None, False
        elif type(module) is nn.ReLU:
            relu = True
        elif type(module) not in _PASSING:
            if source is not None:
                found[module] = Link(source=source, relu=relu)
            source, relu = module, False
    return found


def _is_hooked(module: nn.Module) -> bool:
    """Return whether hooks, or a `forward` of this one object, may change what a module takes or gives."""
    return bool(module._forward_hooks or module._forward_pre_hooks or "forward" in vars(module))


def _traced(model: nn.Module) -> _Graph | None:
    try:
        return _Graph(model)
    except Exception:  # tracing runs the model's own code, which may fail in any way
        return None
