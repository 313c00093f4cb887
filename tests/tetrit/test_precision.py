"""`tetrit precision` from end to end on a tiny study: resumed to the same result, and one line for wrong input."""

import csv
import io
import json

import pytest

from tetrit import cli
from tetrit.flow import precision, precision_choices, precision_config, precision_result

TEXT = """
name = "tiny"
seeds = [0, 1]
[data]
source = "digits"
[model]
name = "mlp"
hidden = [8]
[train]
epochs = 1
batch = 64
rate = 1e-2
[finetune]
epochs = 1
[sensitivity]
images = 32
validation = 40
test = 50
probes = 16
priced = 2
[choice]
levels = [0.5]
[search]
steps = 4
[machine.simd]
preset = "simd_4x4"
options = ["fp4_e2m1", "posit8_0"]
[machine.crossbar]
preset = "crossbar_256_sram"
changes = { adc = { range = "calibrated" } }
options = [{ weight = "szt", adc_bits = 4 }, { weight = "int4", adc_bits = 8 }]
limits = { cycles = 1.0 }
"""


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "tiny.toml"
    path.write_text(TEXT)
    return precision_config.load_config(path)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """One whole study by the command, and its folder."""
    folder = tmp_path_factory.mktemp("precision")
    (folder / "tiny.toml").write_text(TEXT)
    assert cli.main(["precision", str(folder / "tiny.toml"), "--out", str(folder / "out"), "--jobs", "1"]) == 0
    return folder / "out"


def test_what_a_study_leaves_behind(done):
    names = {path.name for path in done.iterdir() if path.is_file()}
    figures = [f"{kind}-{name}" for kind in ("accuracy", "front") for name in ("simd", "crossbar")]
    drawn = {f"{name}.{end}" for name in (*figures, "ranks") for end in ("png", "svg")}
    assert names == drawn | {"precision.json", "precision.md", "choices.csv", "study.json"}
    assert all((done / name).read_bytes().startswith((b"\x89PNG", b"<?xml")) for name in drawn)
    found = json.loads((done / "precision.json").read_text())
    assert found["schema"] == precision_result.SCHEMA
    assert [machine["name"] for machine in found["machines"]] == ["simd", "crossbar"]
    kinds = [[row["kind"] for row in machine["rows"]] for machine in found["machines"]]
    assert kinds == [["uniform"] * 2 + ["mixed"] * 2 + ["search"], ["uniform"] * 2 + ["mixed"] * 2]


def test_totals_and_differences_are_those_of_the_files(done):
    found = json.loads((done / "precision.json").read_text())
    for machine in found["machines"]:
        uniform = {row["label"]: row for row in machine["rows"] if row["kind"] == "uniform"}
        for row in machine["rows"]:
            for place, look in enumerate(machine["looks"]):
                formats = row["formats"][place]
                total = sum(
                    look["costs"][machine["cost"]][layer][look["options"].index(formats[name])]
                    for layer, name in enumerate(look["layers"])
                )
                if row["kind"] != "uniform":
                    assert total <= row["limits"][place] * (1 + 1e-9)
            against = (row.get("against") or {}).get("tuned")
            if against is not None:
                pairs = zip(row["tuned_test"], uniform[against["label"]]["tuned_test"], strict=True)
                assert against["mean"] == pytest.approx(sum(a - b for a, b in pairs) / 2, abs=1e-12)
    rows = list(csv.DictReader(io.StringIO((done / "choices.csv").read_text())))
    assert len(rows) == 2 * (5 + 4)
    assert rows[0]["formats"] == "layers.0=fp4_e2m1 layers.2=fp4_e2m1"
    text = (done / "precision.md").read_text()
    assert "| all fp4\\_e2m1 |" in text or "| all fp4_e2m1 |" in text
    assert "ISAAC" in text


def test_an_interrupted_study_goes_on_to_the_same_result(done, config, tmp_path, monkeypatch):
    work, calls = precision._work, 0

    def interrupted(task, stopped):
        nonlocal calls
        calls += 1
        if calls in (2, 5, 11):
            raise KeyboardInterrupt
        work(task, stopped)

    monkeypatch.setattr(precision, "_work", interrupted)
    messages = []
    for resume in (False, True, True):
        with pytest.raises(precision.Interrupted) as caught:
            precision.run(config, tmp_path / "out", resume=resume, jobs=1)
        messages.append(str(caught.value))
    assert messages[0] == "interrupted with 1 of 2 networks finished"
    assert messages[1].endswith("sensitivities finished")
    assert messages[2].endswith("choices finished")
    found = precision.run(config, tmp_path / "out", resume=True, jobs=1)
    assert found == json.loads((done / "precision.json").read_text())


def test_folders_of_other_studies_are_left_alone(done, config, tmp_path):
    with pytest.raises(precision.InvalidValueError, match=r"already holds a study: resume it \(--resume\) or choose"):
        precision.run(config, done)
    with pytest.raises(precision.InvalidValueError, match=r"^there is no study in '.*' to resume$"):
        precision.run(config, tmp_path / "none", resume=True)
    other = tmp_path / "other.toml"
    other.write_text(TEXT.replace("seeds = [0, 1]", "seeds = [0, 2]"))
    with pytest.raises(precision.InvalidValueError, match=r"holds a study of another configuration: choose another"):
        precision.run(precision_config.load_config(other), done, resume=True)


def test_ties_are_checked_before_any_training(tmp_path):
    path = tmp_path / "tied.toml"
    path.write_text(TEXT.replace("[choice]", '[choice]\nties = [["layers.0", "layers.1"]]'))
    config = precision_config.load_config(path)
    with pytest.raises(precision.InvalidValueError, match=r"tied.toml: \[choice\]: unknown layer 'layers.1'; did you"):
        precision.run(config, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_limits_lie_between_the_uniform_costs():
    looked = {"costs": {"cycles": [[1, 5, 9], [1, 5, 3]]}}
    assert [precision_choices.limit_of(looked, "cycles", level) for level in (0, 0.5, 1)] == [2, 7, 12]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("seeds = [0, 1]", "seeds = []", "`seeds` must be one or more different integers, got []"),
        ("[choice]", "[choise]", "unknown key 'choise'; did you mean 'choice'?"),
        ("epochs = 1\nbatch", "steps = 1\nbatch", "[train]: `epochs` must be given, not `steps`"),
        ("levels = [0.5]", "levels = [2]", "[choice]: `levels` must be one or more different numbers from 0 to 1"),
        ("steps = 4", "warmup = 0.1", "[search]: `steps` is missing"),
        ("probes = 16", "probes = 1", "[sensitivity]: `probes` must be an integer of at least 16, got 1"),
        ("priced = 2", "priced = 99", "[sensitivity]: `priced` must be at most `images`, 32, got 99"),
        ('["fp4_e2m1", "posit8_0"]', '["fp4_e2m2"]', "[machine.simd]: option 'fp4_e2m2': "),
        ('["fp4_e2m1", "posit8_0"]', "[]", "[machine.simd]: `options` must be one or more different ones, got []"),
        ('preset = "simd_4x4"', 'preset = "simd"', "[machine.simd]: "),
        ("adc_bits = 4", "adc_bit = 4", "[machine.crossbar]: `options`: unknown key 'adc_bit'; did you mean"),
        ("limits = { cycles = 1.0 }", "limits = { watt = 1 }", "[machine.crossbar]: unknown limits 'watt'; known: "),
        ("limits = { cycles", 'cost = "cycle"\nlimits = { cycles', "[machine.crossbar]: unknown cost 'cycle'; did you"),
        ("[finetune]\nepochs = 1", "[finetune]\nrate = 1", "[finetune]: `epochs` is missing"),
    ],
)  # fmt: skip
def test_wrong_configurations_are_one_line(tmp_path, capsys, old, new, message):
    assert old in TEXT
    path = tmp_path / "wrong.toml"
    path.write_text(TEXT.replace(old, new, 1))
    assert cli.main(["precision", str(path), "--out", str(tmp_path / "out")]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith(f"tetrit: error: {path}: {message}")
    assert not (tmp_path / "out").exists()
