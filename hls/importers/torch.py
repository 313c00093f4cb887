"""From PyTorch: how a module becomes a float graph; torch is needed only when that is done."""

__all__ = ["from_torch"]

import io
import logging
import operator
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from importlib import import_module
from typing import Any

import numpy as np

from tetrit.errors import InvalidValueError, ToolError
from tetrit.hls.graph import Graph, Value
from tetrit.hls.importers.aten import HANDLERS, Context, Fixed, Ref, UnsupportedError

_OURS = "torch"


def from_torch(module: Any, example: Any, *, name: str | None = None) -> Graph:
    """Make a float graph of a PyTorch module, in evaluation mode.

    The module is traced by `torch.export` with the shapes of the example, which are fixed from then on; its operators
    become those of ONNX. What depends on no input is computed at once. A convolution or linear layer gives a node that
    has its name in the module (``features.0``), its parameters are constants of their names (``features.0.weight``).

    Contract: ``graph.run`` gives what the module gives in evaluation mode, within the rounding of float32. The module
    itself stays as it is.

    Parameters
    ----------
    module : torch.nn.Module
    example : tensor, tuple of tensor, or mapping of str to tensor
        The arguments of its `forward`: one, several, or by name.
    name : str, optional
        Of the graph; by default that of the module's class.

    Returns
    -------
    Graph
        Inputs are named after the arguments; outputs in the order of the module's results, nested ones flattened.

    Raises
    ------
    TypeError, InvalidValueError
        If something is no module or no tensor; if `torch.export` cannot trace it, as where shapes depend on values; or
        if operators have no ONNX form: the message lists all of them with the line in which each occurs.
    ToolError
        If torch is not installed.

    Examples
    --------
    >>> import torch
    >>> from tetrit.hls.importers.torch import from_torch
    >>> graph = from_torch(torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.ReLU()), torch.zeros(1, 3))
    >>> [(node.name, node.op) for node in graph.nodes], graph.inputs[0].shape
    ([('0', 'Gemm'), ('1', 'Relu')], (1, 3))
    """
    torch = _torch()
    if not isinstance(module, torch.nn.Module):
        raise TypeError(f"`module` must be a torch.nn.Module, got {type(module).__name__}")
    args, kwargs = _arguments(torch, example)
    program = _exported(torch, module, args, kwargs)
    return _Importer(torch, program).graph(type(module).__name__ if name is None else name)


def _torch() -> Any:
    try:
        return import_module(_OURS)
    except ModuleNotFoundError:
        raise ToolError("networks of PyTorch need torch: pip install 'tetrit[train]'") from None


def _arguments(torch: Any, example: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = {}
    if isinstance(example, Mapping):
        kwargs = dict(example)
    else:
        args = tuple(example) if isinstance(example, tuple | list) else (example,)
    for value in (*args, *kwargs.values()):
        if not isinstance(value, torch.Tensor):
            raise TypeError(f"`example` must be tensors, got {type(value).__name__}")
    if not args and not kwargs:
        raise InvalidValueError("`example` must have at least one tensor")
    return args, kwargs


@contextmanager
def _evaluating(module: Any) -> Iterator[None]:
    training = [part for part in module.modules() if part.training]
    module.eval()
    try:
        yield
    finally:
        for part in training:
            part.training = True


def _exported(torch: Any, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Return the exported program, without operators that work in place."""
    with _evaluating(module), torch.no_grad(), _quiet():
        try:
            program = torch.export.export(module, args, kwargs)
            if any(_mutates(node) for node in program.graph.nodes):
                program = program.run_decompositions({})
        except Exception as error:  # whatever it is that torch.export cannot do
            first = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
            where = _line(str(error))
            place = f" at {where}" if where else ""
            raise InvalidValueError(
                f"torch.export cannot trace {type(module).__name__}{place}: {first.rstrip('.')}; "
                "shapes and branches must not depend on values"
            ) from error
    return program


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep torch from warning of its own plans, and from logging what becomes an error here."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _mutates(node: Any) -> bool:
    schema = getattr(node.target, "_schema", None)
    return node.op == "call_function" and schema is not None and schema.is_mutable


class _Importer:
    """Walks over an exported program."""

    def __init__(self, torch: Any, program: Any) -> None:
        self._torch, self._program = torch, program
        self._context = Context()
        self._values: dict[Any, Any] = {}
        self._inputs: list[Value] = []
        self._problems: list[str] = []
        self._broken: set[Any] = set()
        self._alone = Counter(_module(node) for node in program.graph.nodes if node.op == "call_function")

    def graph(self, name: str) -> Graph:
        for node in self._program.graph.nodes:
            if node.op == "placeholder":
                self._placeholder(node)
            elif node.op == "get_attr":
                self._values[node] = Fixed(_attribute(self._program.graph_module, node.target), node.target)
            elif node.op == "call_function":
                self._call(node)
        if self._problems:
            count = len(self._problems)
            raise InvalidValueError(
                f"'{name}' has {count} operator{'s' if count > 1 else ''} without an ONNX form: "
                f"{'; '.join(self._problems)}"
            )
        return Graph(
            name=name,
            inputs=tuple(self._inputs),
            outputs=self._outputs(),
            nodes=tuple(self._context.nodes),
            constants=self._context.constants,
        )

    def _placeholder(self, node: Any) -> None:
        signature = self._program.graph_signature
        names = {
            **signature.inputs_to_parameters,
            **signature.inputs_to_buffers,
            **signature.inputs_to_lifted_tensor_constants,
        }
        if node.name in names:
            target = names[node.name]
            state = self._program.state_dict
            self._values[node] = Fixed(state[target] if target in state else self._program.constants[target], target)
            return
        found = node.meta.get("val")
        if not isinstance(found, self._torch.Tensor):
            raise InvalidValueError(f"input '{node.name}' must be a tensor, got {found!r}")
        shape, dtype = self._described(node, found)
        value = Value(name=self._context.free(node.name), shape=shape, dtype=dtype)
        self._inputs.append(value)
        self._values[node] = Ref(value.name, value.shape, value.dtype)

    def _described(self, node: Any, found: Any) -> tuple[tuple[int, ...], str]:
        """Return shape and dtype of a tensor of the trace."""
        if not all(isinstance(size, int) for size in found.shape):
            raise UnsupportedError(f"'{node.name}' has a shape that depends on values, {list(found.shape)}")
        if found.dtype == self._torch.bfloat16:
            raise UnsupportedError("bfloat16 is not supported: convert the module to float32")
        dtype = str(found.dtype).removeprefix("torch.")
        return tuple(found.shape), np.dtype(dtype).name

    def _call(self, node: Any) -> None:
        if self._broken & set(node.all_input_nodes):
            self._broken.add(node)
            return
        if node.target is operator.getitem:
            self._values[node] = self._values[node.args[0]][node.args[1]]
            return
        try:
            self._values[node] = self._computed(node)
        except UnsupportedError as error:
            self._problems.append(f"{node.target} at {_place(node)}: {error}")
            self._broken.add(node)

    def _computed(self, node: Any) -> Any:
        schema = getattr(node.target, "_schema", None)
        if schema is None:
            if all(not isinstance(self._values.get(arg), Ref) for arg in node.all_input_nodes):
                return node.target(*node.args, **node.kwargs)
            raise UnsupportedError("it is no operator of tensors")
        arguments = self._bound(schema, node)
        if not _depends(arguments.values()):
            return self._folded(node)
        if schema.name.startswith("tetrit::"):
            raise UnsupportedError("it quantises; take the float module, and `hls.load` for what training made of it")
        if schema.name not in HANDLERS:
            raise UnsupportedError("it is not supported")
        found = node.meta.get("val")
        results = list(found) if isinstance(found, list | tuple) else [found]
        out = [self._described(node, each) for each in results if isinstance(each, self._torch.Tensor)]
        self._context.begin(self._label(node), schema.name, out)
        made = HANDLERS[schema.name](self._context, arguments)
        if isinstance(made, np.ndarray):
            return Fixed(self._torch.from_numpy(made), node.name)
        return made

    def _bound(self, schema: Any, node: Any) -> dict[str, Any]:
        arguments: dict[str, Any] = {}
        for place, argument in enumerate(schema.arguments):
            if place < len(node.args):
                given = node.args[place]
            elif argument.name in node.kwargs:
                given = node.kwargs[argument.name]
            else:
                given = argument.default_value
            arguments[argument.name] = self._resolved(given)
        return arguments

    def _resolved(self, given: Any) -> Any:
        if isinstance(given, self._torch.fx.Node):
            return self._values[given]
        if isinstance(given, list | tuple):
            return [self._resolved(each) for each in given]
        return given

    def _folded(self, node: Any) -> Any:
        """Return what an operator makes of constants alone."""

        def tensor(given: Any) -> Any:
            value = self._values[given]
            return value.tensor if isinstance(value, Fixed) else value

        args = self._torch.fx.map_arg(node.args, tensor)
        kwargs = self._torch.fx.map_arg(node.kwargs, tensor)
        with self._torch.no_grad():
            result = node.target(*args, **kwargs)
        if isinstance(result, self._torch.Tensor):
            return Fixed(result, node.name)
        if isinstance(result, list | tuple):
            return tuple(Fixed(each, f"{node.name}.{place}") for place, each in enumerate(result))
        return result

    def _label(self, node: Any) -> str:
        """Return what the nodes of an operator are named after: its module, if it is the only operator of that."""
        path = _module(node)
        return path if path and self._alone[path] == 1 else f"{path}.{node.name}" if path else str(node.name)

    def _outputs(self) -> tuple[str, ...]:
        made = self._program.graph.output_node().args[0]
        names = []
        kinds = self._program.graph_signature.output_specs
        for node, spec in zip(made, kinds, strict=True):
            if spec.kind.name != "USER_OUTPUT":
                raise InvalidValueError(f"the module changes its state '{spec.target}' while it computes")
            if node is None:
                continue
            value = self._values[node] if isinstance(node, self._torch.fx.Node) else None
            if not isinstance(value, Ref | Fixed):
                raise InvalidValueError(f"all results of the module must be tensors, got {node!r}")
            names.append(self._context.name(value))
        return tuple(names)


def _depends(values: Any) -> bool:
    """Return whether an argument is a value of the graph."""
    return any(isinstance(v, Ref) or (isinstance(v, list) and _depends(v)) for v in values)


def _attribute(module: Any, path: str) -> Any:
    for part in path.split("."):
        module = getattr(module, part)
    return module


def _module(node: Any) -> str:
    """Return the path of the innermost module that an operator belongs to; empty for the outermost."""
    stack = node.meta.get("nn_module_stack") or {}
    return str(next(reversed(stack.values()))[0]) if stack else ""


def _place(node: Any) -> str:
    """Return file and line in which an operator stands: the last one outside of torch, if there is one."""
    found = _line(node.meta.get("stack_trace") or "")
    if not found:
        return f"node '{node.name}'"
    module = _module(node)
    within = f" in module '{module}'" if module else ""
    return f"{found}{within}"


def _line(trace: str) -> str:
    """Return file and line of the last call in a trace that is not in torch, if there is one; empty without any."""
    files = [line.strip() for line in trace.splitlines() if line.strip().startswith('File "')]
    own = [line for line in files if "/torch/" not in line and "\\torch\\" not in line]
    found = (own or files or [""])[-1]
    path, _, rest = found.removeprefix('File "').partition('", line ')
    return f"{path}:{rest.split(',')[0]}" if found else ""
