"""Import of ONNX networks: plain ones, those with QuantizeLinear and DequantizeLinear, and QONNX."""

__all__ = ["from_model", "from_onnx"]

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tetrit import checks
from tetrit.errors import InvalidValueError, unknown_name
from tetrit.hls.graph import Graph, Value, simplified
from tetrit.hls.importers._onnx_file import NARROW, Problems, check_texts, dtype_name, read_model, type_name
from tetrit.hls.importers._onnx_nodes import QONNX, STANDARD, Converter


def from_onnx(
    path: str | os.PathLike[str], *, shapes: Mapping[str, Sequence[int]] | None = None, simplify: bool = True
) -> Graph:
    """Read a network from an ONNX file.

    Contract: the graph computes what the file says, operator by operator, with fixed shapes. Nothing is allocated that
    the bytes of the file do not bear out, and external data is read from the file's own folder alone.

    Parameters
    ----------
    path : path-like
        The file.
    shapes : mapping of str to sequence of int, optional
        Shapes of inputs, needed for those with dynamic dimensions.
    simplify : bool
        Whether to compute what follows from shapes and small constants, and to remove Identity and Dropout.

    Returns
    -------
    Graph
        Of the operators listed in the documentation ("Networks"), by ONNX's names of nodes and values.

    Raises
    ------
    InvalidValueError
        If the file is damaged, uses what is not supported (all of it is named, with the nodes), or an input has
        dynamic dimensions and no shape was given.
    ToolError
        If the package `onnx` is not installed.

    Notes
    -----
    Operators: https://onnx.ai/onnx/operators, operator sets 7 to that of the installed `onnx`. QONNX: the operators
    Quant (IntQuant), BipolarQuant and Trunc (versions 1 and 2) of github.com/fastmachinelearning/qonnx, docs/.
    """
    file = Path(path)
    return from_model(read_model(file), name=file.name, shapes=shapes, simplify=simplify, folder=file.parent)


def from_model(
    model: Any,
    *,
    name: str = "model",
    shapes: Mapping[str, Sequence[int]] | None = None,
    simplify: bool = True,
    folder: Path | None = None,
) -> Graph:
    """Convert an `onnx.ModelProto`; see `from_onnx`.

    Parameters
    ----------
    model : onnx.ModelProto
        The network.
    name : str
        How errors call it.
    shapes, simplify
        As for `from_onnx`.
    folder : Path, optional
        Where its external data lies.
    """
    try:
        graph = _converted(model, name, dict(shapes or {}), folder)
        graph.values  # noqa: B018  (infers shapes, so that what does not fit is refused here)
        result = simplified(graph) if simplify else graph
        result.values  # noqa: B018
    except InvalidValueError as error:
        if str(error).startswith(f"'{name}'"):
            raise
        raise InvalidValueError(f"'{name}': {error}") from error
    return result


def _converted(model: Any, name: str, shapes: dict[str, Sequence[int]], folder: Path | None) -> Graph:
    check_texts(model)
    problems = Problems(name)
    model = _inlined(model, name)
    converter = Converter(_opset(model, problems), problems, folder)
    graph = model.graph
    for proto in graph.initializer:
        if not proto.name or proto.name in converter.constants:
            raise InvalidValueError(f"a fixed tensor has the name '{proto.name}', which is empty or given twice")
        converter.constant(proto.name, proto)
    for sparse in graph.sparse_initializer:
        problems.add("a sparse tensor", sparse.values.name)
    nodes = [node for proto in graph.node for node in converter.nodes(proto)]
    # initializers were inputs as well before IR version 4
    fixed = {proto.name for proto in graph.initializer}
    inputs = _inputs([proto for proto in graph.input if proto.name not in fixed], shapes, problems)
    problems.check()
    outputs = tuple(proto.name for proto in graph.output)
    return Graph(name=name, inputs=inputs, outputs=outputs, nodes=tuple(nodes), constants=converter.constants)


def _inlined(model: Any, name: str) -> Any:
    """Return the model with its own functions put in place of their calls."""
    if not model.functions:
        return model
    import onnx.inliner

    try:
        return onnx.inliner.inline_local_functions(model)
    except Exception as error:  # whatever the C++ side raises on a damaged function
        raise InvalidValueError(f"'{name}': its functions cannot be put in place: {error}") from error


def _opset(model: Any, problems: Problems) -> int:
    import onnx

    newest = onnx.defs.onnx_opset_version()
    standard = [entry.version for entry in model.opset_import if entry.domain in STANDARD]
    if not standard:
        if any(entry.domain in QONNX for entry in model.opset_import):
            return int(newest)
        raise InvalidValueError("it imports no version of the standard operators")
    if not 7 <= max(standard) <= newest:
        problems.add(f"opset {max(standard)} (7 to {newest} can be read)", "opset_import")
    return int(max(standard))


def _inputs(protos: list[Any], shapes: dict[str, Sequence[int]], problems: Problems) -> tuple[Value, ...]:
    for given in shapes:
        if given not in {proto.name for proto in protos}:
            raise InvalidValueError(f"`shapes`: {unknown_name('input', given, [proto.name for proto in protos])}")
    values, open_ = [], []
    for proto in protos:
        if proto.type.WhichOneof("value") != "tensor_type":
            problems.add("an input that is no tensor", proto.name)
            continue
        kind = proto.type.tensor_type
        dtype = None if kind.elem_type in NARROW else dtype_name(kind.elem_type)
        if dtype is None:
            problems.add(f"the element type {type_name(kind.elem_type)} of an input", proto.name)
            continue
        declared = [_dimension(d) for d in kind.shape.dim] if kind.HasField("shape") else None
        shape = _shape(proto.name, declared, shapes.get(proto.name))
        if shape is None:
            open_.append((proto.name, declared))
        else:
            values.append(Value(name=proto.name, shape=shape, dtype=dtype))
    if open_:
        told = [f"'{name}' {'of any rank' if d is None else _listed(d)}" for name, d in open_]
        example = {name: tuple(1 if isinstance(n, str) else n for n in d or (1, 1)) for name, d in open_}
        raise InvalidValueError(
            f"dynamic dimensions of input {', '.join(told)}: pass their sizes, for example shapes={example}"
        )
    return tuple(values)


def _dimension(proto: Any) -> int | str:
    """Return a size, or what a dynamic one is called."""
    if proto.WhichOneof("value") == "dim_value" and proto.dim_value >= 0:
        return int(proto.dim_value)
    return proto.dim_param or "?"


def _listed(dimensions: Sequence[int | str]) -> str:
    return f"[{', '.join(map(str, dimensions))}]"


def _shape(name: str, declared: list[int | str] | None, given: Sequence[int] | None) -> tuple[int, ...] | None:
    """Return the shape of an input, or None if it is dynamic and was not given."""
    if given is None:
        if declared is None or any(isinstance(size, str) for size in declared):
            return None
        return tuple(size for size in declared if isinstance(size, int))
    shape = tuple(checks.integer(f"shapes['{name}']", size, minimum=0) for size in given)
    fits = declared is None or (
        len(shape) == len(declared)
        and all(isinstance(want, str) or want == size for want, size in zip(declared, shape, strict=True))
    )
    if not fits:
        raise InvalidValueError(f"`shapes` of input '{name}' must fit {_listed(declared or [])}, got {list(shape)}")
    return shape
