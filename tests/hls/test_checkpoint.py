"""Checkpoints without PyTorch: what is written is read, and what is damaged is refused."""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tetrit import formats
from tetrit.errors import InvalidValueError, ToolError
from tetrit.hls.checkpoint import (
    SCHEMA,
    Checkpoint,
    StoredLayer,
    StoredWeight,
    _digest,
    read_checkpoint,
    write_checkpoint,
)


def weight(shape=(3, 4), fmt="szt", scale=None, seed=0):
    rng = np.random.default_rng(seed)
    dtype = formats.get(fmt).code_dtype
    codes = rng.integers(0, 2 ** formats.get(fmt).bits, shape).astype(dtype)
    return StoredWeight(codes=codes, scale=rng.uniform(0.1, 1, (shape[0], 1)) if scale is None else scale, format=fmt)


def layer(name, shape=(3, 4), **fields):
    given = {"kind": "linear", "weights": {"weight": weight(shape)}, "in_format": "int8", "in_scale": 0.1, "relu": True}
    return StoredLayer(name=name, **given | fields)


def chain():
    first = layer("a", first=True, bias=np.array([0.5, -1.0, 2.0]))
    last = layer("b", (2, 3), follows="a", relu=False, in_scale=0.3, out_scale=1e-3)
    return Checkpoint(layers=(first, last), other={"norm.weight": np.float32([1.5])}, tetrit="0")


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "net.safetensors"
    write_checkpoint(chain(), path)
    return path


def header_of(path):
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        return json.loads(file.metadata()["tetrit"])


def rewrite(path, *, change=None, tensors=None, metadata=None):
    """Write the file again with a change, digest of the description left as it was."""
    header = header_of(path)
    if change:
        change(header)
    metadata = {"tetrit": json.dumps(header)} if metadata is None else metadata
    save_file(load_file(path) | (tensors or {}), path, metadata)


def refused(path, text):
    return pytest.raises(InvalidValueError, match=f"^{re.escape(text.format(path=path))}$")


def test_round_trip(path):
    written, read = chain(), read_checkpoint(path)
    assert read.tetrit == "0"
    assert list(read.other) == ["norm.weight"] and read.other["norm.weight"].dtype == np.float32
    for a, b in zip(written.layers, read.layers, strict=True):
        for name in ("name", "kind", "in_format", "in_scale", "first", "follows", "relu", "out_scale", "options"):
            assert getattr(a, name) == getattr(b, name)
        assert np.array_equal(a.bias, b.bias) if a.bias is not None else b.bias is None
        assert np.array_equal(a.weights["weight"].codes, b.weights["weight"].codes)
        assert np.array_equal(a.weights["weight"].scale, b.weights["weight"].scale)


@pytest.mark.parametrize("fmt", ["szt", "int8", "posit8_0", "posit16_1", "int16", "pot4z", "fp4_e2m1"])
def test_codes_of_every_width(fmt, tmp_path):
    codes = np.arange(2 ** formats.get(fmt).bits).astype(formats.get(fmt).code_dtype).reshape(2, -1)
    stored = StoredWeight(codes=codes, scale=np.array(0.25), format=fmt)
    write_checkpoint(Checkpoint(layers=(layer("a", weights={"weight": stored}),)), tmp_path / "net")
    found = read_checkpoint(tmp_path / "net").layers[0].weights["weight"]
    assert found.codes.dtype == codes.dtype and found.scale.shape == ()
    assert np.array_equal(found.codes, codes)
    assert np.array_equal(found.values, formats.get(fmt).decode(codes) * 0.25, equal_nan=True)


def test_signs_of_zeros_stay(path):
    values = read_checkpoint(path).layers[0].weights["weight"].values
    codes = chain().layers[0].weights["weight"].codes
    assert np.array_equal(np.signbit(values), (codes & 2) != 0)
    assert (codes == 2).any()


def test_tied_weights_are_stored_once(tmp_path):
    shared = weight((5, 4))
    layers = (layer("symbol", kind="embedding", weights={"weight": shared}), layer("head", weights={"weight": shared}))
    write_checkpoint(Checkpoint(layers=layers), tmp_path / "net")
    assert sorted(load_file(tmp_path / "net")) == ["layers/symbol/weight/codes", "layers/symbol/weight/scale"]
    found = read_checkpoint(tmp_path / "net").layers
    assert found[0].weights["weight"].codes is found[1].weights["weight"].codes


def test_any_reader_of_safetensors_understands_it(path):
    codes = load_file(path)["layers/a/weight/codes"]
    assert codes.dtype == np.uint8 and np.array_equal(codes, chain().layers[0].weights["weight"].codes)
    described = header_of(path)["content"]
    assert described["schema"] == SCHEMA == 1
    assert described["layers"][0]["weights"]["weight"]["format"] == "szt"
    assert described["tensors"]["layers/a/weight/codes"]["shape"] == [3, 4]


def test_no_torch_is_needed(path):
    code = (
        "import sys; from tetrit.hls.checkpoint import read_checkpoint\n"
        f"n = read_checkpoint({str(path)!r}).linear_network(); assert len(n) == 2; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_same_checkpoint_same_bytes(path, tmp_path):
    write_checkpoint(read_checkpoint(path), tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == path.read_bytes()


def test_linear_network():
    first, last = chain().linear_network()
    stored = chain().layers[0].weights["weight"]
    assert np.array_equal(first.weight, stored.codes.T) and first.weight.flags.c_contiguous
    assert np.array_equal(first.weight_scale, stored.scale[:, 0])
    assert (first.out_format, first.out_scale, first.relu) == ("int8", 0.3, True)
    assert (last.out_format, last.out_scale, last.relu) == ("int16", 1e-3, False)
    assert np.array_equal(first.bias, [0.5, -1.0, 2.0]) and not last.bias.any()


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"first": False}, "the network must have one layer that takes its input, as it is, before all others, got 0"),
        ({"relu": None}, "what follows layer 'a' is not known: it may be no ReLU"),
        ({"kind": "conv2d"}, "layer 'a' is a conv2d: only linear layers make a linear network"),
        ({"in_scale": None}, "layer 'a' takes float inputs: give it an activation estimator"),
        ({"weights": {"weight": np.ones((3, 4))}}, "layer 'a' has float weights: quantise it"),
    ],
)
def test_what_is_no_linear_network(changes, text):
    checkpoint = chain()
    with pytest.raises(InvalidValueError, match=f"^{re.escape(text)}$"):
        replace(checkpoint, layers=(replace(checkpoint.layers[0], **changes), checkpoint.layers[1])).linear_network()


@pytest.mark.parametrize("kept", [0, 5, 100, -1])
def test_truncated_files(path, kept):
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(
        InvalidValueError, match=f"^checkpoint '{re.escape(str(path))}' is truncated or no safetensors file: "
    ):
        read_checkpoint(path)


def test_every_flipped_byte_of_the_tensors_is_seen(path):
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    assert len(data) - start > 50
    for place in range(start, len(data)):
        path.write_bytes(data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :])
        with pytest.raises(
            InvalidValueError,
            match=r"^checkpoint '.*': tensor '.*' is not the one that was written: its SHA-256 differs$",
        ):
            read_checkpoint(path)


def test_newer_schema(path):
    rewrite(path, change=lambda header: header["content"].update(schema=2))
    with refused(path, "checkpoint '{path}' has schema 2, this version reads schema 1: update tetrit"):
        read_checkpoint(path)


def test_changed_description(path):
    rewrite(path, change=lambda header: header["content"]["layers"][0].update(in_scale=0.2))
    with refused(path, "checkpoint '{path}': its description is not the one that was written"):
        read_checkpoint(path)


@pytest.mark.parametrize("metadata", [{}, {"format": "pt"}])
def test_no_description(path, metadata):
    rewrite(path, metadata=metadata)
    with refused(path, "checkpoint '{path}' has no description: its metadata lack the entry 'tetrit'"):
        read_checkpoint(path)


@pytest.mark.parametrize("text", ["{", "[]", "{}", "3", '{"content": {}, "sha256": ""}'])
def test_description_that_is_none(path, text):
    rewrite(path, metadata={"tetrit": text})
    with refused(path, "checkpoint '{path}': its description is not valid JSON of tetrit"):
        read_checkpoint(path)


def test_tensors_too_many(path):
    rewrite(path, tensors={"more": np.ones(3)})
    with refused(path, "checkpoint '{path}': tensor 'more' is only in the file"):
        read_checkpoint(path)


def test_files_that_cannot_be_read_or_written(tmp_path):
    with refused(tmp_path / "none", "cannot read checkpoint '{path}': No such file or directory"):
        read_checkpoint(tmp_path / "none")
    with refused(tmp_path, "cannot read checkpoint '{path}': Is a directory"):
        read_checkpoint(tmp_path)
    with refused(tmp_path / "no" / "net", "cannot write checkpoint '{path}': No such file or directory"):
        write_checkpoint(chain(), tmp_path / "no" / "net")


def test_a_failed_write_leaves_the_old_file(path, monkeypatch):
    before = path.read_bytes()

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with refused(path, "cannot write checkpoint '{path}': No space left on device"):
        write_checkpoint(Checkpoint(layers=()), path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_missing_library(path, monkeypatch):
    for name in ("safetensors", "safetensors.numpy"):
        monkeypatch.setitem(sys.modules, name, None)
    for action in (lambda: read_checkpoint(path), lambda: write_checkpoint(chain(), path)):
        with pytest.raises(ToolError, match=r"^checkpoints need safetensors: pip install 'tetrit\[train\]'$"):
            action()


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"codes": np.array([[4]], np.uint8)}, "`codes` must be uint8 or uint16 codes of szt"),
        ({"codes": np.array([[1]], np.int64)}, "`codes` must be uint8 or uint16 codes of szt"),
        ({"scale": np.array(0.0)}, "`scale` must be positive and finite"),
        ({"scale": np.array(np.inf)}, "`scale` must be positive and finite"),
        ({"scale": np.ones((2, 1))}, "`scale` of shape (2, 1) does not fit codes of shape (1, 1)"),
        ({"scale": np.ones(3)}, "`scale` of shape (3,) does not fit codes of shape (1, 1)"),
        ({"format": "sz"}, "unknown format 'sz'; did you mean 'szt'?"),
    ],
)
def test_wrong_weights(fields, text):
    given = {"codes": np.array([[1]], np.uint8), "scale": np.array(1.0), "format": "szt"}
    with pytest.raises(InvalidValueError, match=f"^{re.escape(text)}$"):
        StoredWeight(**given | fields)


def signed(**changes):
    """Return a change of the first layer's description, with the digest that fits it."""

    def change(header):
        header["content"]["layers"][0].update(changes)
        header["sha256"] = _digest(header["content"])

    return change


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"in_scale": -0.5}, "layer 'a': `in_scale` must be above 0, got -0.5"),
        ({"in_scale": float("nan")}, "layer 'a': `in_scale` must be finite, got nan"),
        ({"out_scale": float("inf")}, "layer 'a': `out_scale` must be finite, got inf"),
        ({"in_format": "sz"}, "layer 'a': unknown format 'sz'; did you mean 'szt'?"),
        ({"kind": "linar"}, "layer 'a': unknown kind 'linar'; did you mean 'linear'?"),
    ],
)
def test_wrong_values_under_a_right_digest(path, changes, text):
    rewrite(path, change=signed(**changes))
    with refused(path, "checkpoint '{path}': " + text):
        read_checkpoint(path)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"name": 3}, "the name of a layer must be a string, got 3"),
        ({"in_scale": True}, "layer 'a': `in_scale` must be a number, got True"),
        ({"in_format": 8}, "layer 'a': a format's name must be a string, got 8"),
        ({"relu": 1}, "layer 'a': `relu` must be True, False or None, got 1"),
        ({"first": "no"}, "layer 'a': `first` must be True or False, got 'no'"),
        ({"follows": 0}, "layer 'a': `follows` must be a string or None, got 0"),
        ({"options": []}, "layer 'a': `options` must be a dict, got []"),
    ],
)
def test_wrong_kinds_under_a_right_digest(path, changes, text):
    rewrite(path, change=signed(**changes))
    with refused(path, f"checkpoint '{{path}}': its description is not valid: {TypeError(text)!r}"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("layers", {}, "`layers` must be a list, got dict"),
        ("tetrit", 1, "`tetrit` must be a string, got 1"),
    ],
)
def test_wrong_content_under_a_right_digest(path, key, value, text):
    def change(header):
        header["content"][key] = value
        header["sha256"] = _digest(header["content"])

    rewrite(path, change=change)
    with refused(path, f"checkpoint '{{path}}': its description is not valid: {TypeError(text)!r}"):
        read_checkpoint(path)


def test_numbers_too_large_for_a_float(path):
    rewrite(path, change=signed(in_scale=10**400))
    with pytest.raises(InvalidValueError, match=r"^checkpoint '.*': its description is not valid: OverflowError"):
        read_checkpoint(path)


@pytest.mark.parametrize("schema", [0, -1, True, 1.0, "1"])
def test_schemas_that_are_none(path, schema):
    rewrite(path, change=lambda header: header["content"].update(schema=schema))
    with refused(path, f"checkpoint '{{path}}': its schema must be a positive integer, got {schema!r}"):
        read_checkpoint(path)


def test_deep_descriptions(path):
    deep = "[" * 100_000 + "]" * 100_000
    rewrite(path, metadata={"tetrit": f'{{"sha256": "", "content": {{"schema": 1, "layers": {deep}}}}}'})
    with refused(path, "checkpoint '{path}': its description is not valid JSON of tetrit"):
        read_checkpoint(path)


def test_tensors_of_a_dtype_that_numpy_lacks(path):
    entry = {"x": {"dtype": "F8_E4M3", "shape": [2], "data_offsets": [0, 2]}}
    header = json.dumps(entry).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"ab")
    with pytest.raises(InvalidValueError, match=r"^checkpoint '.*' has a tensor that numpy cannot hold: "):
        read_checkpoint(path)


@pytest.mark.parametrize("path", ["", ".", "/", "a\0b"])
def test_paths_that_name_no_file(path):
    for action in (lambda: read_checkpoint(path), lambda: write_checkpoint(chain(), path)):
        with pytest.raises(InvalidValueError, match=f"^{re.escape(f'`path` must name a file, got {path!r}')}$"):
            action()


def test_pipes_are_neither_read_nor_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with refused(tmp_path / "pipe", "cannot read checkpoint '{path}': it is no regular file"):
        read_checkpoint(tmp_path / "pipe")
    with refused(tmp_path / "pipe", "cannot write checkpoint '{path}': it is no regular file"):
        write_checkpoint(chain(), tmp_path / "pipe")
    assert [file.name for file in tmp_path.iterdir()] == ["pipe"] and (tmp_path / "pipe").is_fifo()
