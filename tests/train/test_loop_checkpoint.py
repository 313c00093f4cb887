"""The checkpoint's file: what goes in comes out, nothing half written, and nothing damaged is believed."""

import io
import os
import re
import struct
from pathlib import Path

import pytest
import torch

from tetrit.errors import InvalidValueError
from tetrit.files import write_atomic
from tetrit.train.loop import checkpoint

STATE = {
    "tensor": torch.arange(6.0).reshape(2, 3),
    "codes": torch.tensor([1, 2], dtype=torch.int32),
    "numbers": [1, 2.5, None, True],
    "text": {"a": ("b", "c")},
}


@pytest.fixture
def path(tmp_path):
    checkpoint.write(tmp_path / "c.pt", STATE)
    return tmp_path / "c.pt"


def refused(path, message):
    data = path.read_bytes()
    with pytest.raises(InvalidValueError, match=f"^{re.escape(message.format(path))}$"):
        checkpoint.read(path)
    assert path.read_bytes() == data


def test_what_goes_in_comes_out(path):
    found = checkpoint.read(path)
    assert found.keys() == STATE.keys()
    assert torch.equal(found["tensor"], STATE["tensor"])
    assert found["codes"].dtype == torch.int32
    assert (found["numbers"], found["text"]) == (STATE["numbers"], STATE["text"])
    assert list(path.parent.iterdir()) == [path]


def test_every_cut_is_refused(path):
    data = path.read_bytes()
    for length in {*range(60), *range(60, len(data), 97), len(data) - 1}:
        path.write_bytes(data[:length])
        with pytest.raises(
            InvalidValueError, match=r"^(checkpoint '.*' is truncated: |'.*' is no checkpoint of tetrit$)"
        ):
            checkpoint.read(path)


def test_every_changed_byte_is_refused(path):
    data = path.read_bytes()
    for place in {*range(52), *range(52, len(data), 53)}:
        changed = bytearray(data)
        changed[place] ^= 0x40
        path.write_bytes(changed)
        with pytest.raises(InvalidValueError, match=r"checkpoint"):
            checkpoint.read(path)


def test_the_errors_say_what_is_wrong(path):
    data = path.read_bytes()
    announced = len(data) - 52
    path.write_bytes(data[:100])
    refused(path, f"checkpoint '{{}}' is truncated: its header announces {announced} bytes, and 48 follow")
    path.write_bytes(data[:30])
    refused(path, "checkpoint '{}' is truncated: it ends in its header, after 30 bytes")
    path.write_bytes(data + b"x")
    refused(path, f"checkpoint '{{}}' is too long: its header announces {announced} bytes, and {announced + 1} follow")
    path.write_bytes(data[:8] + struct.pack("<I", checkpoint.SCHEMA + 1) + data[12:])
    refused(path, "checkpoint '{}' has version 2, of a newer tetrit; this one reads 1")
    path.write_bytes(data[:8] + struct.pack("<I", 0) + data[12:])
    refused(path, "checkpoint '{}' has version 0, of an unknown tetrit; this one reads 1")
    path.write_bytes(data[:60] + bytes([data[60] ^ 1]) + data[61:])
    refused(path, "checkpoint '{}' is damaged: its content does not have the SHA-256 of its header")
    path.write_bytes(b"")
    refused(path, "'{}' is no checkpoint of tetrit")
    buffer = io.BytesIO()
    torch.save(STATE, buffer)
    path.write_bytes(buffer.getvalue())
    refused(path, "'{}' is no checkpoint of tetrit")


def test_a_missing_file(tmp_path):
    with pytest.raises(InvalidValueError, match=r"^cannot read checkpoint '.*none': No such file or directory$"):
        checkpoint.read(tmp_path / "none")


class Trap:
    """Runs code when it is unpickled."""

    target: Path

    def __reduce__(self):
        return (Path.write_text, (self.target, "code was run"))


def test_code_in_a_checkpoint_is_not_run(tmp_path):
    trap = Trap()
    trap.target = tmp_path / "trapped"
    checkpoint.write(tmp_path / "c.pt", {"a": trap})
    with pytest.raises(InvalidValueError, match=r"^checkpoint '.*c\.pt' cannot be loaded: Weights only load failed"):
        checkpoint.read(tmp_path / "c.pt")
    assert not trap.target.exists()


def test_a_checkpoint_that_is_no_dict(tmp_path):
    checkpoint.write(tmp_path / "c.pt", [1])
    refused(tmp_path / "c.pt", "checkpoint '{}' cannot be loaded: it holds no dict")


# --- atomic files ---


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_an_interrupted_write_leaves_the_old_file(path, monkeypatch, call):
    before = path.read_bytes()

    def fail(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os if call == "fsync" else Path, call, fail)
    with pytest.raises(KeyboardInterrupt):
        checkpoint.write(path, {"other": 1})
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_folders_are_made(tmp_path):
    write_atomic(tmp_path / "a" / "b" / "c.txt", "é\n")
    assert (tmp_path / "a" / "b" / "c.txt").read_bytes() == "é\n".encode()


def test_a_refusing_disk_is_one_clear_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InvalidValueError, match=r"^cannot write '.*file/c\.txt': (Not a directory|File exists)$"):
        write_atomic(tmp_path / "file" / "c.txt", "text")
    with pytest.raises(InvalidValueError, match=r"^cannot write '.*': it is no regular file$"):
        write_atomic(tmp_path, "text")
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]
