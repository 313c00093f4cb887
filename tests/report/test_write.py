"""Everything together: what `report.write` leaves in the directory."""

import builtins
import json

import jsonschema
import pytest

from tetrit import report
from tetrit.errors import InvalidValueError, ToolError

FIGURES = [
    "accuracy", "training", "weight_codes", "layers", "roofline", "energy", "energy_map", "area", "area_map",
    "szt_vs_ternary", "verify",
]  # fmt: skip


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_write_leaves_json_page_figures_and_extra_files(sample, tmp_path):
    paths = report.write(sample, tmp_path, {"verilog/array.v": "module array; endmodule\n", "raw.bin": b"\x00"})
    names = ["report.json", "report.html", *(f"{name}.png" for name in FIGURES), "verilog/array.v", "raw.bin"]
    assert paths == [tmp_path / name for name in names]
    assert sorted(contents(tmp_path)) == sorted(names)
    assert sum(map(len, contents(tmp_path).values())) < 3_000_000
    written = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(report.schema()).validate(written)
    assert written == sample


def test_two_writes_are_identical_byte_for_byte(sample, tmp_path):
    before = json.dumps(sample)
    report.write(sample, tmp_path / "a")
    report.summary(sample)
    assert json.dumps(sample) == before
    report.write({key: sample[key] for key in reversed(sample)}, str(tmp_path / "b"))
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_nothing_is_written_when_an_extra_file_cannot_be(sample, tmp_path):
    (tmp_path / "out" / "verilog").mkdir(parents=True)
    (tmp_path / "out" / "report.json").write_text("old")
    with pytest.raises(InvalidValueError, match=r"^cannot write '.*/out/verilog': Is a directory$"):
        report.write(sample, tmp_path / "out", {"verilog": "x"})
    assert contents(tmp_path) == {"out/report.json": b"old"}


@pytest.mark.parametrize("name", ["report.json", "report.html", "energy.png"])
def test_extra_files_must_not_take_the_report_s_names(sample, tmp_path, name):
    with pytest.raises(InvalidValueError, match=rf"^`extra_files` must not hold '{name}', which is the report's own$"):
        report.write(sample, tmp_path / "out", {name: ""})
    assert contents(tmp_path) == {}


def test_nan_stops_before_anything_is_written(sample, tmp_path):
    sample["layers"][1]["utilization"] = float("nan")
    with pytest.raises(InvalidValueError, match=r"^`report\.layers\[1\]\.utilization` must be finite, got nan$"):
        report.write(sample, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_missing_block_stops_before_anything_is_written(sample, tmp_path):
    del sample["accuracy"]
    with pytest.raises(InvalidValueError, match=r"^`report` lacks `accuracy`$"):
        report.write(sample, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_missing_library_is_named(sample, tmp_path, monkeypatch):
    real = builtins.__import__

    def without_matplotlib(name, *args, **kwargs):
        if name == "tetrit.report" and args[2] and "html" in args[2]:
            raise ModuleNotFoundError("No module named 'matplotlib'", name="matplotlib")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_matplotlib)
    with pytest.raises(
        ToolError, match=r"^a report needs matplotlib, which is not installed: pip install 'tetrit\[run\]'$"
    ):
        report.write(sample, tmp_path / "out")
