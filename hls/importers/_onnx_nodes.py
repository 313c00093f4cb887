"""From ONNX nodes of any operator set to nodes of the graph, which has the semantics of the newest."""

__all__ = ["Converter"]

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tetrit.errors import InvalidValueError
from tetrit.hls.graph import Node
from tetrit.hls.graph.rules import RULES
from tetrit.hls.importers._onnx_file import DTYPES, NARROW, Array, Problems, dtype_name, tensor, type_name

STANDARD = ("", "ai.onnx")
QONNX = ("qonnx.custom_op.general", "finn.custom_op.general", "onnx.brevitas")
QONNX_OPERATORS = {"BipolarQuant": "BipolarQuant", "IntQuant": "Quant", "Quant": "Quant", "Trunc": "Trunc"}
MICROSOFT = ("DequantizeLinear", "Gelu", "QuantizeLinear")
"""Operators of com.microsoft that mean the same as the standard ones."""

_DTYPE_ATTRIBUTES = ("dtype", "output_dtype", "precision", "softmax_precision", "to")
_QONNX_ATTRIBUTES = {"narrow": "INT", "rounding_mode": "STRING", "signed": "INT"}
_OLDEST = {"GroupNormalization": 21, "Resize": 10, "TopK": 10}
"""Operator -> oldest operator set whose form is read; for the others, any that is read at all."""


class Converter:
    """Converts the nodes of one model; what is not supported goes to `problems`.

    Parameters
    ----------
    opset : int
        Version of the standard operators.
    problems : Problems
        Where to note what is not supported.
    folder : Path, optional
        Where external data lies.
    """

    def __init__(self, opset: int, problems: Problems, folder: Path | None) -> None:
        self.opset, self.problems, self.folder = opset, problems, folder
        self.constants: dict[str, Array] = {}
        self.narrow: dict[str, str] = {}
        self._names: set[str] = set()
        self._schemas: dict[str, dict[str, str]] = {}

    def constant(self, name: str, proto: Any) -> None:
        """Take a fixed tensor."""
        if dtype_name(proto.data_type) is None:
            self.problems.add(f"the element type {type_name(proto.data_type)}", name)
            return
        self.constants[name], narrow = tensor(proto, self.folder)
        if narrow:
            self.narrow[name] = narrow

    def nodes(self, proto: Any) -> list[Node]:
        """Return the nodes that stand for one of ONNX: none for a constant, usually one."""
        name = self._name(proto)
        op = self._operator(proto, name)
        if op is None:
            return []
        attributes = self._attributes(proto, name, op)
        if attributes is None:
            return []
        if op == "Constant":
            self._take_constant(proto, name, attributes)
            return []
        inputs, outputs = tuple(proto.input), tuple(proto.output)
        while inputs and not inputs[-1]:
            inputs = inputs[:-1]
        while outputs and not outputs[-1]:
            outputs = outputs[:-1]
        if op == "QuantizeLinear" and len(inputs) > 2 and inputs[2] in self.narrow:
            attributes["output_dtype"] = self.narrow[inputs[2]]
        return self._upgraded(name, op, inputs, outputs, attributes)

    def _name(self, proto: Any) -> str:
        """Return a name of its own: ONNX allows nodes to have none, or the same."""
        stem = proto.name or (f"{proto.op_type}_{proto.output[0]}" if proto.output else proto.op_type) or "node"
        name, place = stem, 1
        while name in self._names:
            name, place = f"{stem}_{place}", place + 1
        self._names.add(name)
        return str(name)

    def _operator(self, proto: Any, name: str) -> str | None:
        """Return the graph's operator for a node, or None after noting that there is none."""
        op, domain = proto.op_type, proto.domain
        if domain in QONNX and op in QONNX_OPERATORS:
            return QONNX_OPERATORS[op]
        known = domain in STANDARD and (op in RULES or op == "Constant") and op not in QONNX_OPERATORS
        if known or (domain == "com.microsoft" and op in MICROSOFT):
            oldest = _OLDEST.get(op, 0)
            if domain in STANDARD and self.opset < oldest:
                self.problems.add(f"operator {op} in its form before opset {oldest}", name)
                return None
            return str(op)
        if domain in STANDARD and op == "Upsample":
            return "Upsample"
        self.problems.add(f"operator {f'{domain}.' if domain not in STANDARD else ''}{op}", name)
        return None

    def _attributes(self, proto: Any, name: str, op: str) -> dict[str, Any] | None:
        import onnx

        types = self._types(proto)
        result: dict[str, Any] = {}
        for attribute in proto.attribute:
            kind = onnx.AttributeProto.AttributeType.Name(attribute.type)
            if kind in ("GRAPH", "GRAPHS"):
                self.problems.add(f"a subgraph of {op}", name)
                return None
            if types is not None and types.get(attribute.name) != kind:
                wanted = types.get(attribute.name, "none of this name")
                raise InvalidValueError(f"node '{name}' ({op}): attribute `{attribute.name}` is {kind}, not {wanted}")
            if kind == "TENSOR":
                if dtype_name(attribute.t.data_type) is None:
                    self.problems.add(f"the element type {type_name(attribute.t.data_type)}", name)
                    return None
                result[attribute.name] = tensor(attribute.t, self.folder)
            elif kind in ("FLOAT", "FLOATS", "INT", "INTS", "STRING", "STRINGS"):
                result[attribute.name] = _plain(onnx.helper.get_attribute_value(attribute))
            else:
                self.problems.add(f"an attribute of type {kind} of {op}", name)
                return None
        for key in _DTYPE_ATTRIBUTES:
            if key in result and not self._typed(result, key, name):
                return None
        return result

    def _typed(self, attributes: dict[str, Any], key: str, name: str) -> bool:
        """Replace ONNX's number of an element type by a dtype's name; note one that is not supported."""
        number = attributes[key]
        if key != "to" and number == 0:
            del attributes[key]
            return True
        narrow = NARROW[number][0] if number in NARROW and key == "output_dtype" else None
        dtype = narrow or DTYPES.get(number)
        if dtype is None:
            self.problems.add(f"the element type {type_name(number)}", name)
            return False
        attributes[key] = dtype
        return True

    def _types(self, proto: Any) -> Mapping[str, str] | None:
        """Return the types of the attributes that the operator has, or None if they are not known."""
        import onnx

        if proto.domain in QONNX:
            return _QONNX_ATTRIBUTES
        if proto.domain not in STANDARD:
            return None
        if proto.op_type not in self._schemas:
            try:
                schema = onnx.defs.get_schema(proto.op_type, self.opset, "")
            except onnx.defs.SchemaError:
                raise InvalidValueError(f"operator {proto.op_type} does not exist in opset {self.opset}") from None
            kinds = {key: str(item.type).rpartition(".")[2] for key, item in schema.attributes.items()}
            self._schemas[proto.op_type] = kinds
        return self._schemas[proto.op_type]

    def _take_constant(self, proto: Any, name: str, attributes: dict[str, Any]) -> None:
        if len(attributes) != 1 or len(proto.output) != 1:
            raise InvalidValueError(f"node '{name}' (Constant): it must have one value and one output")
        output = proto.output[0]
        if output in self.constants:
            raise InvalidValueError(
                f"the name '{output}' is given twice: by a constant and by node '{name}' (Constant)"
            )
        ((key, value),) = attributes.items()
        if key == "value":
            array, narrow = value
            if narrow:
                self.narrow[output] = narrow
        elif key in ("value_float", "value_floats", "value_int", "value_ints"):
            array = np.asarray(value, np.float32 if "float" in key else np.int64)
        else:
            self.problems.add(f"a constant by `{key}`", name)
            return
        self.constants[output] = array

    def _upgraded(
        self, name: str, op: str, inputs: tuple[str, ...], outputs: tuple[str, ...], attributes: dict[str, Any]
    ) -> list[Node]:
        """Return the nodes of the newest form; forms that differ only in where an argument stands are read as such."""
        if op == "ConstantOfShape" and "value" in attributes:
            attributes["value"] = attributes["value"][0]
        if op in ("Hardmax", "LogSoftmax", "Softmax") and self.opset < 13:
            return self._old_softmax(name, op, inputs, outputs, attributes.get("axis", 1))
        if op == "Upsample":
            scales = inputs[1] if len(inputs) > 1 else self._fixed(f"{name}.scales", attributes.pop("scales", ()))
            op, inputs, attributes = "Resize", (inputs[0], "", scales), attributes
            attributes |= {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        elif op == "Resize" and self.opset < 11:
            inputs = (inputs[0], "", inputs[1])
            attributes |= {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        return [Node(name=name, op=op, inputs=inputs, outputs=outputs, attributes=attributes)]

    def _old_softmax(
        self, name: str, op: str, inputs: tuple[str, ...], outputs: tuple[str, ...], axis: int
    ) -> list[Node]:
        """Before opset 13 the axes from `axis` on counted as one."""
        flat, result, shape = (f"{name}.{part}" for part in ("flat", "result", "shape"))
        return [
            Node(name=f"{name}.flatten", op="Flatten", inputs=inputs, outputs=(flat,), attributes={"axis": axis}),
            Node(name=name, op=op, inputs=(flat,), outputs=(result,), attributes={"axis": -1}),
            Node(name=f"{name}.shape", op="Shape", inputs=inputs, outputs=(shape,)),
            Node(name=f"{name}.reshape", op="Reshape", inputs=(result, shape), outputs=outputs),
        ]

    def _fixed(self, name: str, values: Any) -> str:
        self.constants[name] = np.asarray(values, np.float32)
        return name


def _plain(value: Any) -> Any:
    """Return an attribute with texts decoded and lists as tuples."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return tuple(_plain(item) for item in value) if isinstance(value, list) else value
