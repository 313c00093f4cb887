"""The IDX reader against files made byte by byte, and against every way in which such a file can be broken."""

import gzip
import re
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tetrit.errors import InvalidValueError
from tetrit.train.data import read_idx

CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}


def idx(array):
    """Write an array the way the format says, one element at a time."""
    name = array.dtype.str[1:]
    letter = {"u1": "B", "i1": "b", "i2": "h", "i4": "i", "f4": "f", "f8": "d"}[name]
    header = bytes([0, 0, CODES[name], array.ndim]) + b"".join(struct.pack(">I", n) for n in array.shape)
    return header + b"".join(struct.pack(">" + letter, item) for item in array.ravel().tolist())


ARRAYS = st.sampled_from(sorted(CODES)).flatmap(
    lambda name: hnp.arrays(name, hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=4))
)


@given(ARRAYS, st.booleans())
def test_what_is_written_is_read(tmp_path_factory, array, packed):
    path = tmp_path_factory.mktemp("idx") / "file"
    data = idx(array)
    path.write_bytes(gzip.compress(data) if packed else data)
    found = read_idx(path)
    assert found.dtype == array.dtype
    assert found.dtype.isnative
    assert found.shape == array.shape
    assert found.tobytes() == array.tobytes()


GOOD = idx(np.arange(6, dtype=np.int16).reshape(2, 3))
TOLD = "its header, (2, 3) of int16, announces 12 bytes"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "IDX file '{}' ends in its magic number, after 0 bytes"),
        (GOOD[:3], "IDX file '{}' ends in its magic number, after 3 bytes"),
        (b"\x89PNG\r\n", "'{}' is no IDX file: it must begin with two zero bytes, got 0x8950"),
        (
            b"\0\0\x0a\x01",
            "IDX file '{}' has the unknown element type 0x0a; known: 0x08 (uint8), 0x09 (int8), 0x0b (int16), "
            "0x0c (int32), 0x0d (float32), 0x0e (float64)",
        ),
        (b"\0\0\x08\x00\x05", "IDX file '{}' has no dimensions"),
        (GOOD[:11], "IDX file '{}' ends in the sizes of its 2 dimensions, after 11 bytes"),
        (b"\0\0\x08\x41" + b"\0\0\0\1" * 65, "IDX file '{}' has 65 dimensions, and 64 can be read"),
        (GOOD[:-1], f"IDX file '{{}}' is truncated: {TOLD}, and 11 follow"),
        (GOOD[:12], f"IDX file '{{}}' is truncated: {TOLD}, and 0 follow"),
        (GOOD + b"\0", f"IDX file '{{}}' is too long: {TOLD}, and more follow"),
        (
            b"\0\0\x0e\x03" + b"\xff" * 12,
            "IDX file '{}' is too large: its header, (4294967295, 4294967295, 4294967295) of float64, announces "
            f"{8 * (2**32 - 1) ** 3} bytes, and 4294967296 can be read",
        ),
        (
            b"\0\0\x08\x02\0\0\x80\0\0\0\x80\0abc",  # 1 GiB that is not there
            "IDX file '{}' is truncated: its header, (32768, 32768) of uint8, announces 1073741824 bytes, and 3 follow",
        ),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_a_broken_file_is_one_clear_error(tmp_path, data, message, packed):
    path = tmp_path / "file"
    path.write_bytes(gzip.compress(data) if packed else data)
    with pytest.raises(InvalidValueError, match=f"^{re.escape(message.format(path))}$"):
        read_idx(path)


def test_every_cut_of_a_compressed_file_is_refused(tmp_path):
    path = tmp_path / "file.gz"
    data = gzip.compress(GOOD)
    for length in range(2, len(data)):
        path.write_bytes(data[:length])
        with pytest.raises(
            InvalidValueError, match=r"^IDX file '.*file\.gz' cannot be decompressed: it ends too early$"
        ):
            read_idx(path)


def test_a_wrong_checksum_is_refused(tmp_path):
    path = tmp_path / "file"
    data = bytearray(gzip.compress(GOOD))
    data[-8] ^= 1
    path.write_bytes(data)
    with pytest.raises(InvalidValueError, match=r"^IDX file '.*file' cannot be decompressed: CRC check failed "):
        read_idx(path)


def test_a_damaged_stream_is_refused(tmp_path):
    path = tmp_path / "file"
    data = bytearray(gzip.compress(GOOD))
    data[12] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(InvalidValueError, match=r"^IDX file '.*file' cannot be decompressed: "):
        read_idx(path)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(InvalidValueError, match=r"^cannot read IDX file '.*none': No such file or directory$"):
        read_idx(tmp_path / "none")
    with pytest.raises(InvalidValueError, match=r"^cannot read IDX file '.*': Is a directory$"):
        read_idx(tmp_path)
