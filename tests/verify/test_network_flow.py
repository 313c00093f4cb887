"""`tetrit run` of a convolutional network: a valid and repeatable report, files, errors before any work."""

import copy
import json
import re
from types import SimpleNamespace

import jsonschema
import pytest

from tetrit import flow, report
from tetrit.cli import main
from tetrit.errors import InvalidValueError
from tetrit.flow import config as configs
from tetrit.flow import conv
from tetrit.train import cnn
from tetrit.verify.bench import Workbench
from tetrit.verify.suites.coprocessor_tasks import UNITS, emitted

UNIT = UNITS["shift 3x4 szt"]
CONFIG = """
name = "small"
seeds = [2, 1]
[[network.block]]
channels = 4
stride = 2
[[network.block]]
channels = 4
residual = true
pool = 2
[train]
epochs = 10
quantized_epochs = 8
[machine]
preset = "shift_16x16_os"
[machine.changes]
rows = 3
cols = 4
weight_memory = { size_bytes = 256, width_bits = 8 }
act_memory = { size_bytes = 512, width_bits = 24 }
acc_memory = { size_bytes = 64, width_bits = 96 }
[coprocessor]
batch = 4
[verify]
images = 6
slow_images = 4
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    path = tmp_path_factory.mktemp("conv") / "small.toml"
    path.write_text(CONFIG)
    return path


@pytest.fixture(scope="module")
def library(build_dir, config):
    unit = configs.load(config).unit
    return Workbench(build_dir).coprocessor(emitted(unit))


@pytest.fixture
def built(library, monkeypatch):
    monkeypatch.setattr(conv, "build_coprocessor", lambda *_, **__: library)


def test_a_run_from_training_to_report(config, tmp_path, built):
    made = flow.run(config, tmp_path)
    found = json.loads((tmp_path / "report.json").read_text())
    jsonschema.validate(found, report.schema())
    verify, block = found["verify"], found["coprocessor"]
    assert verify["mismatches"] == 0
    assert all(bench["passed"] for bench in verify["testbenches"])
    exact = [bench for bench in verify["testbenches"] if bench["cases"]]
    assert exact
    assert all(bench["cycles_rtl"] == bench["cycles_model"] for bench in exact)
    assert block["verified_passes"] == 2
    assert abs(block["slow"]["cycles_rtl"] / block["slow"]["cycles_model"] - 1) < 0.02
    assert [layer["name"] for layer in found["layers"]] == ["conv1", "conv2", "sum2", "fc"]
    assert found["cycles"] == block["passes"] * sum(node["cycles"] for node in block["nodes"])
    assert sum(layer["cycles"] for layer in found["layers"]) <= found["cycles"]
    for accuracy in found["accuracy"]["per_seed"]:
        assert 0.4 < accuracy["machine"] <= 1
    files = {path.name for path in (tmp_path / "jobs").iterdir()}
    assert files >= {"memory.bin", "network.c", "network.h", "network.json", "tetrit_coprocessor.h", "README.md"}
    page = (tmp_path / "report.html").read_text()
    assert "Co-processor and host" in page
    assert "0 mismatches" in report.summary(made)
    again = flow.run(config, tmp_path / "again")
    plain = [copy.deepcopy(dict(one)) for one in (made, again)]
    for one in plain:
        del one["timings"]
    assert plain[0] == plain[1]


def test_a_mismatch_reaches_the_exit_code(config, tmp_path, built, monkeypatch):
    real = conv.compile_jobs

    def compiled(graph, unit, **fields):
        program = real(graph, unit, **fields)
        data = bytearray(program.constants)
        data[next(part.address for part in program.segments if part.name == "weights of conv2")] ^= 1
        object.__setattr__(program, "constants", bytes(data))
        return program

    monkeypatch.setattr(conv, "compile_jobs", compiled)
    assert main(["run", str(config), "--out", str(tmp_path)]) == 1
    found = json.loads((tmp_path / "report.json").read_text())
    assert found["verify"]["mismatches"] > 0


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("channels = 4\nstride", "stride", "[network]: `block`: `channels` is missing"),
        ("stride = 2", "strid = 2", "[network]: `block`: unknown key 'strid'"),
        ("stride = 2", "kernel = 2", "[network]: `kernel` must be odd, got 2"),
        ("epochs = 10", "epochs = 0", "[train]: `epochs` must be a positive integer, got 0"),
        ("[train]", "[train]\nestimator = 'pot'", "[machine]: the machine takes szt weights, estimator 'pot' gives"),
        ("shift_16x16_os", "shift_8x8", "[coprocessor]: `machine` must be output stationary"),
        ("batch = 4", "batch = 0", "[coprocessor]: `batch` must be an integer from 1 to 4096, got 0"),
        ("batch = 4", "data_bits = 24", "[coprocessor]: `data_bits` must be one of"),
        ("slow_images = 4", "slow_images = 7", "[verify]: `slow_images` must be an integer from 0 to 6, got 7"),
        ("images = 6", "images = 450", "[verify]: `images` must be at most the 449 held-out ones, got 450"),
        (
            "channels = 4\nresidual",
            "channels = 5\nresidual",
            "[network]: `channels` of residual block 2 must be the 4 of its",
        ),
        ("[verify]", "[synthesis]\n[verify]", "unknown key 'synthesis'"),
    ],
)
def test_configurations_that_are_wrong(config, tmp_path, old, new, text, monkeypatch):
    monkeypatch.setattr(cnn, "train_float", lambda *_, **__: pytest.fail("no work before the error"))
    path = tmp_path / "wrong.toml"
    assert CONFIG.count(old) >= 1
    path.write_text(CONFIG.replace(old, new, 1))
    with pytest.raises(InvalidValueError, match=re.escape(text)) as caught:
        flow.run(path, tmp_path / "out")
    assert "\n" not in str(caught.value)


def test_without_verification_no_tool_is_needed(config, tmp_path, monkeypatch):
    monkeypatch.setattr(conv, "tools", SimpleNamespace(find=lambda: pytest.fail("not needed")))
    path = tmp_path / "plain.toml"
    path.write_text(CONFIG.replace("images = 6", "images = 0").replace("slow_images = 4", "").replace("[2, 1]", "[2]"))
    made = flow.run(path, tmp_path / "out")
    assert "verify" not in made
    assert "slow" not in made["coprocessor"]
    jsonschema.validate(json.loads((tmp_path / "out" / "report.json").read_text()), report.schema())
