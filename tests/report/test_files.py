"""All files or none."""

import os
import re
from pathlib import Path

import pytest

from tetrit import report
from tetrit.errors import InvalidValueError
from tetrit.report import files


def tree(root: Path) -> dict[str, bytes | None]:
    return {
        str(path.relative_to(root)): path.read_bytes() if path.is_file() else None for path in sorted(root.rglob("*"))
    }


class FailingReplace:
    """Path.replace that raises at its n-th call."""

    def __init__(self, monkeypatch, nth, error):
        self.calls, self.nth, self.error, self.real = 0, nth, error, Path.replace
        monkeypatch.setattr(Path, "replace", lambda path, target: self(path, target))

    def __call__(self, path, target):
        self.calls += 1
        if self.calls == self.nth:
            raise self.error
        return self.real(path, target)


def test_files_are_written_in_full_and_in_order(tmp_path):
    content = {"b.txt": "µ\n", "a.bin": b"\x00\r\n\xff", "verilog/deep/top.v": "module top; endmodule\n"}
    paths = report.write_files(tmp_path / "new" / "out", content)
    assert paths == [tmp_path / "new" / "out" / name for name in content]
    assert tree(tmp_path / "new" / "out") == {
        "a.bin": b"\x00\r\n\xff",
        "b.txt": b"\xc2\xb5\n",
        "verilog": None,
        "verilog/deep": None,
        "verilog/deep/top.v": b"module top; endmodule\n",
    }


def test_old_files_are_replaced_and_strangers_kept(tmp_path):
    (tmp_path / "a").write_text("old")
    (tmp_path / "mine").write_text("keep")
    report.write_files(tmp_path, {"a": "new"})
    assert tree(tmp_path) == {"a": b"new", "mine": b"keep"}


def test_new_files_have_ordinary_permissions(tmp_path):
    (tmp_path / "plain").write_text("")
    (path,) = report.write_files(tmp_path, {"a": "x"})
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("nth", [1, 2, 3])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_failing_while_placing_restores_everything(tmp_path, monkeypatch, nth, error):
    (tmp_path / "a").write_text("old a")
    (tmp_path / "c").write_text("old c")
    before = tree(tmp_path)
    FailingReplace(monkeypatch, nth, error)
    kind = InvalidValueError if isinstance(error, OSError) else KeyboardInterrupt
    with pytest.raises(kind):
        report.write_files(tmp_path, {"a": "new a", "sub/b": "new b", "c": "new c"})
    assert tree(tmp_path) == before


@pytest.mark.parametrize("nth", [1, 2, 3])
def test_failing_while_staging_leaves_nothing(tmp_path, monkeypatch, nth):
    (tmp_path / "a").write_text("old a")
    before = tree(tmp_path)
    calls = 0
    real = os.fsync

    def fsync(descriptor):
        nonlocal calls
        calls += 1
        if calls == nth:
            raise OSError(28, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(InvalidValueError, match=r"^cannot write '.*': No space left on device$"):
        report.write_files(tmp_path, {"a": "new a", "sub/b": "new b", "c": "new c"})
    assert calls == nth
    assert tree(tmp_path) == before


def test_target_that_is_a_directory_leaves_nothing(tmp_path):
    (tmp_path / "out" / "b").mkdir(parents=True)
    before = tree(tmp_path)
    message = rf"^cannot write '{re.escape(str(tmp_path / 'out' / 'b'))}': Is a directory$"
    with pytest.raises(InvalidValueError, match=message):
        report.write_files(tmp_path / "out", {"a": "x", "b": "y"})
    assert tree(tmp_path) == before


def test_out_dir_below_a_file_leaves_nothing(tmp_path):
    (tmp_path / "file").write_text("I am a file")
    before = tree(tmp_path)
    with pytest.raises(InvalidValueError, match=r"^cannot write '.*/file/out/a': Not a directory$"):
        report.write_files(tmp_path / "file" / "out", {"a": "x"})
    with pytest.raises(InvalidValueError, match=r"^cannot write '.*/file/a': (Not a directory|File exists)$"):
        report.write_files(tmp_path / "file", {"a": "x"})
    assert tree(tmp_path) == before


def test_symbolic_link_is_replaced_not_followed_and_comes_back(tmp_path, monkeypatch):
    (tmp_path / "elsewhere").write_text("precious")
    (tmp_path / "a").symlink_to("elsewhere")
    with monkeypatch.context() as patched:
        FailingReplace(patched, 2, OSError(5, "Input/output error"))
        with pytest.raises(InvalidValueError):
            report.write_files(tmp_path, {"a": "new", "b": "new"})
    assert (tmp_path / "a").is_symlink()
    report.write_files(tmp_path, {"a": "new"})
    assert not (tmp_path / "a").is_symlink()
    assert (tmp_path / "elsewhere").read_text() == "precious"


@pytest.mark.parametrize("name", ["/etc/x", "../x", "a/../../x", "", ".", "a\\b", "a\0b"])
def test_names_that_lead_out_are_refused(tmp_path, name):
    message = rf"^name of a file must be a relative path inside the output directory, got {re.escape(repr(name))}$"
    with pytest.raises(InvalidValueError, match=message):
        report.write_files(tmp_path / "out", {"ok": "x", name: "y"})
    assert tree(tmp_path) == {}


def test_two_spellings_of_one_name_are_refused(tmp_path):
    with pytest.raises(InvalidValueError, match=r"^two files must not have the same name$"):
        report.write_files(tmp_path, {"a/b": "x", "a//b": "y"})
    assert tree(tmp_path) == {}


def test_check_directory_accepts_what_can_be_made_and_leaves_nothing(tmp_path):
    report.check_directory(tmp_path)
    report.check_directory(tmp_path / "a" / "b")
    report.check_directory(str(tmp_path / "c"))
    assert tree(tmp_path) == {}


def test_check_directory_refuses_a_file_in_the_way(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "out"):
        with pytest.raises(
            InvalidValueError, match=rf"^cannot write '{re.escape(str(tmp_path / 'file'))}': Not a directory$"
        ):
            report.check_directory(path)


def test_check_directory_refuses_what_the_system_refuses(tmp_path, monkeypatch):
    def touch(path, exist_ok=True):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(files.Path, "touch", touch)
    with pytest.raises(InvalidValueError, match=rf"^cannot write '{re.escape(str(tmp_path))}': Permission denied$"):
        report.check_directory(tmp_path / "out")
