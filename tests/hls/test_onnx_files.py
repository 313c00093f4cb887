"""What ONNX files may hold: all that is not supported is named, and no file does harm."""

import importlib.util
import re
import resource
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tetrit.errors import InvalidValueError
from tetrit.hls import from_onnx

_spec = importlib.util.spec_from_file_location("graph_networks", Path(__file__).parent / "graph" / "networks.py")
networks = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(networks)
model, relu, saved, tensor = networks.model, networks.relu, networks.saved, networks.tensor


def raises(text):
    return pytest.raises(InvalidValueError, match="^" + re.escape(text) + "$")


def test_all_that_is_not_supported_is_named(tmp_path):
    nodes = [
        helper.make_node("NonZero", ["x"], ["a"], name="first"),
        helper.make_node("NonZero", ["x"], ["b"], name="second"),
        helper.make_node("FusedConv", ["x"], ["c"], name="fused", domain="com.microsoft"),
        helper.make_node("Cast", ["x"], ["d"], name="half", to=TensorProto.BFLOAT16),
        helper.make_node("Det", ["x"], ["y"]),
    ]
    path = saved(tmp_path, model(nodes, [tensor("x", (3, 3))], [tensor("y", None)]))
    with raises(
        "'net.onnx' uses what is not supported: operator NonZero at 'first', 'second'; operator "
        "com.microsoft.FusedConv at 'fused'; the element type bfloat16 at 'half'; operator Det at 'Det_y'; "
        "export the network without it, or cut it out with onnx.utils.extract_model"
    ):
        from_onnx(path)


def test_control_flow_is_named(tmp_path):
    branch = helper.make_graph([helper.make_node("Relu", ["x"], ["t"])], "b", [], [tensor("t", None)])
    node = helper.make_node("If", ["c"], ["y"], name="choice", then_branch=branch, else_branch=branch)
    proto = model([node], [tensor("x", (3,)), tensor("c", (), TensorProto.BOOL)], [tensor("y", None)])
    with pytest.raises(InvalidValueError, match=r"^'net.onnx' uses what is not supported: operator If at 'choice'; "):
        from_onnx(saved(tmp_path, proto))


def test_shapes_that_depend_on_data(tmp_path):
    nodes = [
        helper.make_node("Cast", ["x"], ["s"], to=TensorProto.INT64),
        helper.make_node("Expand", ["x", "s"], ["y"], name="wide"),
    ]
    with raises(
        "'net.onnx': node 'wide' (Expand): the shape of its output depends on 's', which is computed from data; "
        "export the network with fixed shapes"
    ):
        from_onnx(saved(tmp_path, model(nodes, [tensor("x", (2,))], [tensor("y", None)])))


def test_shapes_of_inputs(tmp_path):
    two = model(
        [helper.make_node("Relu", ["a"], ["y"]), helper.make_node("Relu", ["b"], ["z"])],
        [tensor("a", ("n", 3)), tensor("b", None)],
        [tensor("y", None), tensor("z", None)],
    )
    path = saved(tmp_path, two)
    with raises(
        "'net.onnx': dynamic dimensions of input 'a' [n, 3], 'b' of any rank: pass their sizes, "
        "for example shapes={'a': (1, 3), 'b': (1, 1)}"
    ):
        from_onnx(path)
    assert from_onnx(path, shapes={"a": (2, 3), "b": ()}).values["y"].shape == (2, 3)
    with raises("'net.onnx': `shapes` of input 'a' must fit [n, 3], got [2, 4]"):
        from_onnx(path, shapes={"a": (2, 4), "b": ()})
    with raises("'net.onnx': `shapes`: unknown input 'c'; known: a, b"):
        from_onnx(path, shapes={"c": (2, 4)})


def test_missing_package(tmp_path, monkeypatch):
    from tetrit.errors import ToolError

    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ToolError, match=r"^reading ONNX files needs the package onnx; pip install 'tetrit\[hls\]'$"):
        from_onnx(tmp_path / "net.onnx")


# ---- damaged and hostile files


def test_files_that_are_no_networks(tmp_path):
    for content in (b"", b"hello", b"\x08", relu().SerializeToString()[:-7], bytes(range(256)) * 40):
        path = saved(tmp_path, content)
        with raises(f"cannot read ONNX network '{path}': it is truncated or no ONNX file"):
            from_onnx(path)
    with raises(f"cannot read ONNX network '{tmp_path / 'none.onnx'}': No such file or directory"):
        from_onnx(tmp_path / "none.onnx")
    with raises(f"cannot read ONNX network '{tmp_path}': Is a directory"):
        from_onnx(tmp_path)


def test_damaged_graphs(tmp_path):
    def two(first, second):
        nodes = [helper.make_node("Relu", *first, name="a"), helper.make_node("Relu", *second, name="b")]
        return model(nodes, [tensor("x", (1, 3))], [tensor("y", None)])

    weights = relu(constants={"w": np.zeros(3)})
    weights.graph.initializer.append(weights.graph.initializer[0])
    wrong_type = relu()
    wrong_type.graph.node[0].op_type = "Softmax"
    wrong_type.graph.node[0].attribute.append(helper.make_attribute("axis", "last"))
    unknown = relu()
    unknown.graph.node[0].attribute.append(helper.make_attribute("slope", 0.5))
    text = relu()
    text.graph.node[0].op_type = "Clip"
    cases = {
        "node 'a' (Relu) uses 'y' before node 'b' (Relu) makes it; the nodes form a cycle: a -> b -> a": two(
            (["y"], ["t"]), (["t"], ["y"])
        ),
        "the name 'y' is given twice: by node 'a' (Relu) and by node 'b' (Relu)": two((["x"], ["y"]), (["x"], ["y"])),
        "node 'a' (Relu) uses 'w', which nothing makes": two((["w"], ["t"]), (["x"], ["y"])),
        "a fixed tensor has the name 'w', which is empty or given twice": weights,
        "node 'r' (Softmax): attribute `axis` is STRING, not INT": wrong_type,
        "node 'r' (Relu): attribute `slope` is FLOAT, not none of this name": unknown,
        "input: 'x' of shape [1099511627776, 1099511627776] would take 4.4e+12 TiB": relu((1 << 40, 1 << 40)),
        "graph 'net.onnx' must have an output": model([], [tensor("x", (1,))], []),
    }
    for message, proto in cases.items():
        with raises(f"'net.onnx': {message}"):
            from_onnx(saved(tmp_path, proto))
    for opset, what in ((3, "opset 3"), (999, "opset 999")):
        with pytest.raises(InvalidValueError, match=rf"^'net.onnx' uses what is not supported: {what} \(7 to \d+ can"):
            from_onnx(saved(tmp_path, relu(opset=opset)))


def test_names_that_are_no_text(tmp_path):
    damaged = relu().SerializeToString().replace(b"\x01r", b"\x01\xff")
    with raises("'net.onnx': `name` is b'\\xff', which is no text; the file is damaged"):
        from_onnx(saved(tmp_path, damaged))


def test_tensors_whose_bytes_do_not_bear_out_their_shape(tmp_path):
    proto = relu(constants={"w": np.zeros(3, np.float32), "v": np.zeros(2, np.int64)})
    huge = onnx.ModelProto()
    huge.CopyFrom(proto)
    huge.graph.initializer[0].dims[:] = [1 << 40, 1 << 20]
    with raises(
        "'net.onnx': tensor 'w' of shape [1099511627776, 1048576] must have 4611686018427387904 bytes, got 12; "
        "the file is damaged"
    ):
        from_onnx(saved(tmp_path, huge))
    negative = onnx.ModelProto()
    negative.CopyFrom(proto)
    negative.graph.initializer[0].dims[:] = [-3, -1]
    with raises("'net.onnx': tensor 'w' has the shape [-3, -1]"):
        from_onnx(saved(tmp_path, negative))
    fields = onnx.ModelProto()
    fields.CopyFrom(proto)
    fields.graph.initializer[1].CopyFrom(helper.make_tensor("v", TensorProto.INT64, (2,), [1, 2]))
    fields.graph.initializer[1].dims[:] = [1 << 33]
    with raises(
        "'net.onnx': tensor 'v' of shape [8589934592] must have 8589934592 entries, got 2; the file is damaged"
    ):
        from_onnx(saved(tmp_path, fields))


def external(location, **entries):
    proto = model(
        [helper.make_node("Add", ["x", "w"], ["y"])],
        [tensor("x", (3,))],
        [tensor("y", None)],
        {"w": np.zeros(3, np.float32)},
    )
    weight = proto.graph.initializer[0]
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **entries}.items():
        weight.external_data.add(key=key, value=str(value))
    return proto


def test_external_data(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "data").write_bytes(b"skip" + np.array([1, 2, 3], np.float32).tobytes())
    (tmp_path / "secret").write_bytes(bytes(12))
    (folder / "link").symlink_to(tmp_path / "secret")
    graph = from_onnx(saved(folder, external("data", offset=4, length=12)))
    assert graph.run({"x": [0, 0, 0]})["y"].tolist() == [1, 2, 3]
    for location in ("../secret", str(tmp_path / "secret"), "link", "", "a\0b", "data/../../secret"):
        with raises(f"'net.onnx': tensor 'w' has its data in '{location}', outside the folder of the network"):
            from_onnx(saved(folder, external(location)))
    with raises("'net.onnx': tensor 'w' has its data in 'none', which is not beside the network"):
        from_onnx(saved(folder, external("none")))
    damaged = "'net.onnx': tensor 'w' needs 12 bytes from offset {} of 'data', which has 16; the file is damaged"
    for entries in ({"offset": 8}, {"offset": -4}, {"offset": 0, "length": 1 << 40}):
        with raises(damaged.format(entries["offset"])):
            from_onnx(saved(folder, external("data", **entries)))
    with raises("'net.onnx': tensor 'w' has an offset or length that is no integer"):
        from_onnx(saved(folder, external("data", offset="four")))


def test_mutilated_files_are_read_or_refused(tmp_path):
    """Bytes are changed, cut and repeated; memory is bounded, so that an allocation on a file's word would fail."""
    path = networks.export("mobilenet", tmp_path / "net.onnx")
    whole = path.read_bytes()
    rng = np.random.default_rng(7)
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 30), hard))
    refused = read = 0
    try:
        for _ in range(250):
            data = bytearray(whole)
            for _ in range(rng.integers(1, 6)):
                # most bytes are weights, so the structure at the end is hit on purpose
                data[-int(rng.integers(1, 6000))] = rng.integers(256)
            if rng.random() < 0.2:
                data = data[: int(rng.integers(len(data)))]
            path.write_bytes(bytes(data))
            try:
                graph = from_onnx(path)
                graph.run(
                    {value.name: np.zeros(value.shape, value.dtype) for value in graph.inputs}, memory_bytes=1 << 28
                )
                read += 1
            except InvalidValueError as error:
                assert "\n" not in str(error)
                refused += 1
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
    assert read > 0
    assert refused > 50
