"""Every source of data: what it gives, that it gives it again, and how it refuses."""

import hashlib
import re
import subprocess
import sys
import sysconfig
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tetrit.errors import InvalidValueError, ToolError
from tetrit.train import digits
from tetrit.train.data import ImageData, Images, TextData
from tetrit.train.data.parts import hold_out
from tetrit.train.data.sources import FASHION, Digits, Fashion, Idx, Npz, Stdlib, Text


def write_idx(path, array):
    code = {"uint8": 8, "int32": 0x0C, "float32": 0x0D}[array.dtype.name]
    shape = np.array(array.shape, ">u4").tobytes()
    path.write_bytes(bytes([0, 0, code, array.ndim]) + shape + array.astype(array.dtype.newbyteorder(">")).tobytes())


def images(n, *, dtype=np.uint8, side=4, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (n, side, side)).astype(dtype), (np.arange(n) % 3).astype(np.uint8)


@pytest.fixture
def folder(tmp_path):
    for part, n in (("train", 30), ("test", 9)):
        x, y = images(n, seed=n)
        write_idx(tmp_path / f"{part}-x", x)
        write_idx(tmp_path / f"{part}-y", y)
        np.savez(tmp_path / f"{part}.npz", x=x, y=y.astype(np.int32))
    return tmp_path


FILES = {"train_images": "train-x", "train_labels": "train-y", "test_images": "test-x", "test_labels": "test-y"}


# --- parts ---


def test_hold_out_is_a_stratified_partition():
    x, y = images(60)
    stay, held = hold_out(Images(x=x[:, None], y=y.astype(np.int64)), 0.2, seed=3)
    assert Counter(held.y.tolist()) == {0: 4, 1: 4, 2: 4}
    assert len(stay.y) == 48
    found = {row.tobytes() for part in (stay, held) for row in part.x}
    assert found == {row.tobytes() for row in x}


def test_hold_out_follows_its_seed():
    x, y = images(60)
    whole = Images(x=x[:, None], y=y.astype(np.int64))
    again = [hold_out(whole, 0.2, seed=seed)[1].x for seed in (3, 3, 4)]
    assert np.array_equal(again[0], again[1])
    assert not np.array_equal(again[0], again[2])


@pytest.mark.parametrize("share", [0.001, 0.999])
def test_hold_out_refuses_an_empty_side(share):
    x, y = images(6)
    message = rf"^a share of {share} of 6 images leaves no images on one side of the split$"
    with pytest.raises(InvalidValueError, match=message):
        hold_out(Images(x=x[:, None], y=y.astype(np.int64)), share, seed=0)


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (
            np.zeros((2, 3, 3)),
            [0, 1],
            "`x` must have shape (images, channels, height, width), none of them 0, got (2, 3, 3)",
        ),
        (
            np.zeros((0, 1, 3, 3)),
            [],
            "`x` must have shape (images, channels, height, width), none of them 0, got (0, 1, 3, 3)",
        ),
        (np.zeros((2, 1, 3, 3)), [0], "`y` must have one class for each of 2 images, got (1,)"),
        (np.zeros((2, 1, 3, 3)), [0, -2], "`y` must be classes from 0, got -2 at index 1"),
        (np.full((1, 1, 1, 2), np.inf), [0], "`x` must be finite, got inf at index (0, 0, 0, 0)"),
    ],
)
def test_images_that_do_not_fit_are_refused(x, y, message):
    with pytest.raises(InvalidValueError, match=f"^{re.escape(message)}$"):
        Images(x=x, y=np.array(y, np.int64))


def test_parts_must_be_alike():
    one = Images(x=np.zeros((2, 1, 3, 3), np.uint8), y=np.array([0, 1]))
    wide = Images(x=np.zeros((2, 1, 3, 4), np.uint8), y=np.array([0, 1]))
    more = Images(x=np.zeros((2, 1, 3, 3), np.uint8), y=np.array([0, 2]))
    message = (
        "the test images must have the shape and dtype of the training images, (1, 3, 3) and uint8, "
        "got (1, 3, 4) and uint8"
    )
    with pytest.raises(InvalidValueError, match=f"^{re.escape(message)}$"):
        ImageData(source="s", train=one, validation=one, test=wide, scale=1.0)
    with pytest.raises(InvalidValueError, match=r"^the validation labels go up to 2, the training labels to 1 only$"):
        ImageData(source="s", train=one, validation=more, test=one, scale=1.0)


def test_the_fingerprint_sees_every_part():
    def data(**changes):
        one = Images(x=np.zeros((2, 1, 3, 3), np.uint8), y=np.array([0, 1]))
        return ImageData(**{"source": "s", "train": one, "validation": one, "test": one, "scale": 1.0} | changes)

    x = np.zeros((2, 1, 3, 3), np.uint8)
    x[1, 0, 2, 2] = 1
    prints = {data().sha256, data(scale=2.0).sha256}
    for part in ("train", "validation", "test"):
        prints.add(data(**{part: Images(x=x, y=np.array([0, 1]))}).sha256)
        prints.add(data(**{part: Images(x=0 * x, y=np.array([1, 1]))}).sha256)
    assert len(prints) == 8
    assert data().sha256 == data().sha256


# --- digits ---


def test_digits_are_those_of_the_main_job():
    data, whole = Digits().load(), digits.load()
    assert np.array_equal(data.test.x.reshape(-1, 64), whole.test_x)
    assert np.array_equal(data.test.y, whole.test_y)
    both = np.concatenate([data.train.x, data.validation.x]).reshape(-1, 64)
    assert sorted(map(bytes, both)) == sorted(map(bytes, whole.train_x))
    assert (len(data.train.y), len(data.validation.y)) == (1213, 135)
    assert (data.shape, data.classes, data.scale) == ((1, 8, 8), 10, 1 / 16)


# --- files of images ---


def test_idx_and_npz_give_the_same(folder):
    one = Idx(**FILES, validation=0.2).load(folder)
    two = Npz(train="train.npz", test="test.npz", validation=0.2).load(folder)
    assert one.sha256 == two.sha256
    assert (len(one.train.y), len(one.validation.y), len(one.test.y)) == (24, 6, 9)
    assert (one.shape, one.classes, one.scale) == ((1, 4, 4), 3, 1 / 255)


def test_floats_are_taken_as_they_are(folder):
    x, _ = images(30, dtype=np.float32)
    write_idx(folder / "train-x", x)
    write_idx(folder / "test-x", x[:9])
    data = Idx(**FILES).load(folder)
    assert (data.train.x.dtype, data.scale) == (np.float32, 1.0)
    assert np.array_equal(data.test.x[:, 0], x[:9])


def test_a_limit_takes_the_first_images(folder):
    data = Idx(**FILES, limit=12, validation=0.25).load(folder)
    first, _ = images(30, seed=30)
    both = np.concatenate([data.train.x, data.validation.x])[:, 0]
    assert sorted(map(bytes, both)) == sorted(map(bytes, first[:12]))
    with pytest.raises(InvalidValueError, match=r"^`limit` is 31, but there are 30 training images only$"):
        Idx(**FILES, limit=31).load(folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot read NPZ file '{}': No such file or directory"),
        (b"", "'{}' is no NPZ file"),
        (b"PK\x03\x04 broken", "'{}' is no NPZ file"),
        ({"x": np.zeros((3, 2, 2))}, "NPZ file '{}' has no array 'y'; it holds x"),
        ({}, "NPZ file '{}' has no array 'x'; it holds nothing"),
        ({"x": np.zeros((3, 2, 2)), "y": np.zeros(3)}, "'{}': `y` must be integers, got float64"),
        ({"x": np.zeros((3, 2, 2), "U1"), "y": np.zeros(3, int)}, "'{}': `x` must be numbers, got <U1"),
        (
            {"x": np.zeros((3, 2)), "y": np.zeros(3, int)},
            "'{}': `x` must have shape (images, channels, height, width), none of them 0, got (3, 2)",
        ),
        (
            {"x": np.full((3, 2, 2), 1e39), "y": np.zeros(3, int)},
            "'{}': `x` must be finite, got inf at index (0, 0, 0, 0)",
        ),
    ],
)
def test_wrong_npz_files_are_one_clear_error(folder, content, message):
    path = folder / "train.npz"
    path.unlink()
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        np.savez(path, **content)
    with pytest.raises(InvalidValueError, match=f"^{re.escape(message.format(path))}$"):
        Npz(train="train.npz", test="test.npz").load(folder)


def test_an_npz_header_that_announces_too_much(folder):
    """Numpy would take the memory first, and then find that nothing follows."""
    for version, size in ((b"\x01\x00", 2), (b"\x02\x00", 4)):
        header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (17592186044416, 1, 1), }\n"
        array = b"\x93NUMPY" + version + len(header).to_bytes(size, "little") + header
        with zipfile.ZipFile(folder / "train.npz", "w") as file:
            file.writestr("x.npy", array)
            file.writestr("y.npy", array)
        text = (
            f"NPZ file '{folder / 'train.npz'}' is too large: the header of 'x', (17592186044416, 1, 1) of uint8, "
            "announces 17592186044416 bytes, and 4294967296 can be read"
        )
        with pytest.raises(InvalidValueError, match=f"^{re.escape(text)}$"):
            Npz(train="train.npz", test="test.npz").load(folder)


def test_an_npz_member_that_is_no_array(folder):
    with zipfile.ZipFile(folder / "train.npz", "w") as file:
        file.writestr("x", b"0123456789")
        file.writestr("y.npy", b"")
    with pytest.raises(InvalidValueError, match=r"^cannot read NPZ file '.*': the magic string is not correct"):
        Npz(train="train.npz", test="test.npz").load(folder)


def test_a_label_that_asks_for_too_many_classes(folder):
    write_idx(folder / "train-y", np.array([0, 1, 2] * 9 + [0, 2**31 - 1, 1], np.int32))
    text = (
        f"'{folder / 'train-x'}' and '{folder / 'train-y'}': `y` must be classes up to 65535, "
        "got 2147483647 at index 28"
    )
    with pytest.raises(InvalidValueError, match=f"^{re.escape(text)}$"):
        Idx(**FILES).load(folder)


@pytest.mark.parametrize("path", ["", "a\0b"])
def test_paths_that_are_none(path):
    for make, name in ((lambda: Text(path=path), "path"), (lambda: Npz(train=path, test="b"), "train")):
        with pytest.raises(InvalidValueError, match=f"^{re.escape(f'`{name}` must be a path, got {path!r}')}$"):
            make()


def test_pickled_arrays_are_not_run(folder):
    class Trap:
        def __reduce__(self):
            return (Path.write_text, (folder / "trapped", "code was run"))

    np.savez(folder / "train.npz", x=np.array([Trap()], object), y=np.zeros(1, int))
    with pytest.raises(
        InvalidValueError, match=r"^cannot read NPZ file '.*train\.npz': Object arrays cannot be loaded"
    ):
        Npz(train="train.npz", test="test.npz").load(folder)
    assert not (folder / "trapped").exists()


def test_every_cut_of_an_npz_file_is_refused(folder):
    path = folder / "train.npz"
    data = path.read_bytes()
    for length in range(0, len(data), 7):
        path.write_bytes(data[:length])
        with pytest.raises(InvalidValueError, match="NPZ file"):
            Npz(train="train.npz", test="test.npz").load(folder)


def test_labels_and_images_must_be_as_many(folder):
    write_idx(folder / "train-y", np.zeros(29, np.uint8))
    message = (
        f"'{folder / 'train-x'}' and '{folder / 'train-y'}': `y` must have one class for each of 30 images, got (29,)"
    )
    with pytest.raises(InvalidValueError, match=f"^{re.escape(message)}$"):
        Idx(**FILES).load(folder)


def test_fashion_mnist():
    if not Path(FASHION).is_dir():
        with pytest.raises(ToolError):
            Fashion().load()
        return
    data = Fashion(limit=2000).load()
    assert (len(data.train.y), len(data.validation.y), len(data.test.y)) == (1800, 200, 10000)
    assert (data.shape, data.classes, data.train.x.dtype, data.scale) == ((1, 28, 28), 10, np.uint8, 1 / 255)
    assert Counter(data.test.y.tolist()) == dict.fromkeys(range(10), 1000)


def test_missing_fashion_mnist_says_what_to_install(tmp_path):
    message = f"no Fashion-MNIST in '{tmp_path / 'none'}': install Debian's dataset-fashion-mnist, or set `path`"
    with pytest.raises(ToolError, match=f"^{re.escape(message)}$"):
        Fashion(path="none").load(tmp_path)


# --- text ---


def test_the_stdlib_text_is_its_ascii_modules_by_name():
    data = Stdlib(budget=200_000, validation=0.1, test=0.2).load()
    text = b""
    library = Path(sysconfig.get_paths()["stdlib"])
    for name in sorted(path.name for path in library.iterdir() if path.suffix == ".py"):
        content = (library / name).read_bytes()
        if max(content, default=0) < 128:
            text += content
    text = text[:200_000]
    parts = np.concatenate([data.train, data.validation, data.test])
    assert bytes(data.alphabet[symbol] for symbol in parts) == text
    assert (len(data.train), len(data.validation), len(data.test)) == (140_000, 20_000, 40_000)
    assert data.sha256 == hashlib.sha256(text).hexdigest()
    assert data.summary()["python"] == ".".join(map(str, sys.version_info[:3]))


def test_a_budget_beyond_the_library_is_refused():
    message = r"^`budget` is 1000000000, but '.*' has \d+ bytes of modules only$"
    with pytest.raises(InvalidValueError, match=message):
        Stdlib(budget=10**9).load()


def test_any_file_is_a_text(tmp_path):
    (tmp_path / "text").write_bytes("Größe\n".encode() * 20)
    data = Text(path="text", validation=0.1, test=0.1).load(tmp_path)
    assert data.alphabet == bytes(sorted(set("Größe\n".encode())))
    with pytest.raises(InvalidValueError, match=r"^cannot read text '.*none': No such file or directory$"):
        Text(path="none").load(tmp_path)


def test_all_bytes_fit_the_symbols():
    text = bytes(range(256)) * 4
    data = TextData.cut(text, source="s", validation=0.25, test=0.25)
    assert data.alphabet == bytes(range(256))
    assert data.train.dtype == np.uint8
    assert data.train.tobytes() == text[:512]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "a text of 0 bytes cannot be cut into training, validation (0.3) and test (0.3)"),
        (b"a", "a text of 1 bytes cannot be cut into training, validation (0.3) and test (0.3)"),
    ],
)
def test_a_text_too_short_to_cut_is_refused(text, message):
    with pytest.raises(InvalidValueError, match=f"^{re.escape(message)}$"):
        TextData.cut(text, source="s", validation=0.3, test=0.3)


# --- descriptions ---


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Digits(validation=1), InvalidValueError, "`validation` must be above 0 and below 1, got 1"),
        (lambda: Digits(held_out="a"), TypeError, "`held_out` must be a number, got 'a'"),
        (lambda: Digits(split_seed=-1), InvalidValueError, "`split_seed` must be a non-negative integer, got -1"),
        (lambda: Fashion(limit=0), InvalidValueError, "`limit` must be a positive integer, got 0"),
        (lambda: Fashion(path=3), TypeError, "`path` must be a string, got 3"),
        (lambda: Npz(train=1, test="t"), TypeError, "`train` must be a string, got 1"),
        (lambda: Stdlib(budget=1.5), TypeError, "`budget` must be an integer, got 1.5"),
        (lambda: Text(path="t", test=0), InvalidValueError, "`test` must be above 0, got 0"),
    ],
)
def test_wrong_fields_are_refused(make, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        make()


def test_data_needs_no_torch():
    code = "import sys, tetrit.train.data, tetrit.train.models, tetrit.train.loop; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
