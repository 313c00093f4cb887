"""`tetrit compile`: what it prints and writes, for names, ONNX files and checkpoints; C++; bad input; atomic output."""

import csv
import io
import json
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import onnx
import pytest

from tetrit import hardware, hls
from tetrit.flow import compiling
from tetrit.hls import Checkpoint, StoredLayer, StoredWeight, networks, write_checkpoint
from tetrit.hls.mapping import OFF_CHIP
from tetrit.report import canonical, compiled
from tetrit.sim import Workload

FILES = ["compile.json", "layers.csv", "layers.png", "layers.svg", "roofline.png", "roofline.svg"]


@pytest.fixture
def checkpoint(tmp_path):
    rng = np.random.default_rng(3)
    layers = [
        StoredLayer(
            name=name,
            kind="linear",
            weights={
                "weight": StoredWeight(
                    codes=rng.integers(0, 4, shape).astype(np.uint8), scale=np.array(0.5), format="szt"
                )
            },
            in_format="int8",
            in_scale=scale,
            first=name == "fc0",
            follows=None if name == "fc0" else "fc0",
            relu=name == "fc0",
            out_scale=out_scale,
        )
        for name, shape, scale, out_scale in (("fc0", (12, 20), 0.5, None), ("fc1", (10, 12), 0.25, 0.5))
    ]
    path = tmp_path / "net.safetensors"
    write_checkpoint(Checkpoint(layers=tuple(layers)), path)
    return path


@pytest.fixture
def onnx_file(tmp_path):
    helper, floats = onnx.helper, onnx.TensorProto.FLOAT
    weight = helper.make_tensor("w", floats, [8, 3, 3, 3], np.zeros(216, np.float32))
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["y"], name="first", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["y"], ["z"], name="last"),
    ]
    x = helper.make_tensor_value_info("x", floats, ["batch", 3, 16, 16])
    z = helper.make_tensor_value_info("z", floats, None)
    model = helper.make_model(helper.make_graph(nodes, "g", [x], [z], [weight]))
    path = tmp_path / "net.onnx"
    onnx.save(model, path)
    return path


def test_a_published_network_is_mapped_printed_and_written(tetrit, tmp_path):
    out = tmp_path / "out"
    outcome = tetrit("compile", "mobilenet_v2", "--machine", "shift_16x16", "--out", out)
    assert (outcome.code, outcome.err) == (0, "")
    lines = outcome.out.splitlines()
    assert lines[0] == "mobilenet_v2: 53 layers, 300,774,272 MACs; least latency"
    columns = ["layer", "times", "m x k x n", "cycles", "busy", "bound by", "MAC/byte", "energy", "proven"]
    assert re.split(r" {2,}", lines[2]) == columns
    assert lines[-1] == f"results in {out}"
    assert sorted(file.name for file in out.iterdir()) == FILES

    found = json.loads((out / "compile.json").read_text())
    mapping = hls.map_network(networks.get("mobilenet_v2"), hardware.load("shift_16x16"))
    assert found["schema"] == "tetrit-compile/1"
    assert found["network"] == {
        "name": "mobilenet_v2",
        "source": "tetrit.hls.networks",
        "layers": 53,
        "macs": mapping.macs,
    }
    assert found["totals"]["cycles"] == mapping.cycles == sum(layer["cycles"] for layer in found["layers"])
    assert found["totals"]["energy_pj"] == mapping.energy_pj
    assert found["totals"]["proven_layers"] == 53
    assert hardware.from_dict(found["machine"]) == hardware.load("shift_16x16")
    assert hardware.Memory(**found["off_chip"]) == OFF_CHIP
    depthwise = next(layer for layer in found["layers"] if layer["count"] == 96)
    assert depthwise["packed"] > 1
    assert found["memory_plan"]["peak_bytes"] >= found["memory_plan"]["smallest_budget_bytes"] > 0
    assert found["memory_plan"]["traffic_bytes"] == 0
    assert any(f"peak {found['memory_plan']['peak_bytes']:,} bytes (least without traffic)" in line for line in lines)
    assert any(f"cycles   {mapping.cycles:,} " in line for line in lines)

    table = list(csv.DictReader(io.StringIO((out / "layers.csv").read_text())))
    assert [int(row["cycles"]) for row in table] == [layer["cycles"] for layer in found["layers"]]
    assert {row["bound"] for row in table} == {"compute", "memory"}
    for name in ("roofline", "layers"):
        assert (out / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert ElementTree.parse(out / f"{name}.svg").getroot().tag.endswith("svg")


def test_the_same_command_writes_the_same_bytes(tetrit, tmp_path):
    contents = []
    for name in ("one", "two"):
        assert tetrit("compile", "alexnet", "--machine", "shift_8x8", "--out", tmp_path / name).code == 0
        contents.append({file: (tmp_path / name / file).read_bytes() for file in FILES})
    assert contents[0] == contents[1]


def test_a_budget_is_kept_or_named(tetrit, tmp_path):
    arguments = ("compile", "resnet18", "--machine", "shift_16x16", "--out", tmp_path / "a")
    assert tetrit(*arguments, "--memory-budget", "1600KiB").code == 0
    plan = json.loads((tmp_path / "a" / "compile.json").read_text())["memory_plan"]
    assert plan["peak_bytes"] <= plan["budget_bytes"] == 1600 * 1024
    outcome = tetrit(*arguments[:-1], tmp_path / "b", "--memory-budget", "1KiB")
    assert (outcome.code, outcome.out) == (2, "")
    assert f"{plan['smallest_budget_bytes']}" in outcome.err.replace(",", "")
    assert outcome.err.count("\n") == 1
    assert not (tmp_path / "b").exists()


def test_an_onnx_file_needs_the_shapes_of_its_dynamic_inputs(tetrit, onnx_file, tmp_path):
    arguments = ("compile", onnx_file, "--machine", "simd_4x4", "--out", tmp_path / "out")
    refused = tetrit(*arguments)
    assert refused.code == 2
    assert "x" in refused.err
    assert refused.err.count("\n") == 1
    outcome = tetrit(*arguments, "--shape", "x=2x3x16x16", "--formats", "posit8_0,fp4_e2m1")
    assert (outcome.code, outcome.err) == (0, "")
    found = json.loads((tmp_path / "out" / "compile.json").read_text())
    assert [(layer["name"], layer["m"], layer["k"], layer["n"]) for layer in found["layers"]] == [("first", 512, 27, 8)]
    assert found["formats"] == ["posit8_0", "fp4_e2m1"]


def test_costs_of_an_onnx_file_with_dynamic_inputs(tetrit, onnx_file):
    arguments = ("cost", "--machine", "simd_4x4", "--network", onnx_file)
    refused = tetrit(*arguments)
    assert refused.code == 2
    assert "x" in refused.err
    outcome = tetrit(*arguments, "--shape", "x=2x3x16x16")
    assert (outcome.code, outcome.err) == (0, "")
    assert f"1 layers, {512 * 27 * 8:,} MACs" in outcome.out


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ((), "`--shape` is about a network: give `--network` too"),
        (("--network", "resnet18"), "shapes of inputs belong to an ONNX file, got them for 'resnet18'"),
        (("--network", "net.toml"), "shapes of inputs belong to an ONNX file, got them for 'net.toml'"),
    ],
)
def test_shapes_of_what_has_none(tetrit, given, text):
    outcome = tetrit("cost", *given, "--shape", "x=2x3x16x16")
    assert outcome.code == 2
    assert text in outcome.err
    assert outcome.err.count("\n") == 1


def test_a_checkpoint_is_mapped_and_becomes_cpp(tetrit, checkpoint, tmp_path):
    out = tmp_path / "out"
    outcome = tetrit("compile", checkpoint, "--machine", "shift_8x8", "--cost", "energy", "--hls-cpp", "--out", out)
    assert (outcome.code, outcome.err) == (0, "")
    found = json.loads((out / "compile.json").read_text())
    assert [(layer["name"], layer["m"], layer["k"], layer["n"]) for layer in found["layers"]] == [
        ("fc0", 1, 20, 12),
        ("fc1", 1, 12, 10),
    ]
    assert found["cost"] == "energy"
    assert found["memory_plan"]["optimal"] in (True, False)
    assert list((out / "hls_cpp").rglob("*.cpp"))
    refused = tetrit("compile", "resnet18", "--machine", "shift_8x8", "--hls-cpp", "--out", tmp_path / "no")
    assert refused.code == 2
    assert refused.err.startswith("tetrit: error: C++ needs an integer network, a checkpoint or quantised ONNX; ")
    assert not (tmp_path / "no").exists()


def test_without_off_chip_memory_there_is_no_roofline(tetrit, tmp_path):
    assert tetrit("compile", "resnet18", "--machine", "crossbar_256_pcm", "--no-off-chip", "--out", tmp_path).code == 0
    assert sorted(file.name for file in tmp_path.iterdir()) == [name for name in FILES if "roofline" not in name]
    found = json.loads((tmp_path / "compile.json").read_text())
    assert found["off_chip"] is None
    assert all(layer["intensity_macs_per_byte"] is None for layer in found["layers"])
    assert any("programming is free" in line for line in found["assumptions"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("resnet5", "--machine", "shift_8x8"), r"unknown network 'resnet5'; did you mean 'resnet50'\?"),
        (("missing.onnx", "--machine", "shift_8x8"), r"cannot read network 'missing\.onnx': no such file"),
        (("resnet18", "--machine", "shift_9x9"), r"unknown machine 'shift_9x9'.*"),
        (("resnet18", "--machine", "shift_8x8", "--cost", "area"), r".*'area' is not one of.*"),
        (
            ("resnet18", "--machine", "shift_8x8", "--memory-budget", "much"),
            r".*'much' is no number of bytes such as.*",
        ),
        (("resnet18", "--machine", "shift_8x8", "--memory-budget", "0"), r".*'0' is no number of bytes such as.*"),
        (("resnet18", "--machine", "shift_8x8", "--shape", "x=1"), r"shapes of inputs belong to an ONNX file.*"),
        (("resnet18", "--machine", "shift_8x8", "--shape", "x"), r".*'x' is no name and shape such as.*"),
        (("resnet18", "--machine", "simd_4x4", "--formats", "int8"), r".*'int8' is no pair of formats.*"),
        (
            ("resnet18", "--machine", "simd_4x4", "--formats", "int8,int8"),
            r"layer 'conv0': `act_format` must be one of.*",
        ),
        (("resnet18", "--machine", "shift_8x8", "--nonzero", "2"), r"`nonzero` must be at most 1, got 2"),
        (
            ("resnet18", "--machine", "crossbar_256_pcm", "--arrays", "1"),
            r"layer '\w+': `arrays` must be at least \d+ for.*",
        ),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(tetrit, tmp_path, arguments, message):
    out = tmp_path / "out"
    outcome = tetrit("compile", *arguments, "--out", out)
    assert (outcome.code, outcome.out) == (2, "")
    assert re.fullmatch(f"tetrit: error: {message}\n", outcome.err)
    assert not out.exists()


def test_damaged_files_are_one_line(tetrit, tmp_path):
    for name in ("net.onnx", "net.safetensors"):
        path = tmp_path / name
        path.write_bytes(b"\x08\x07garbage" * 5)
        outcome = tetrit("compile", path, "--machine", "shift_8x8", "--out", tmp_path / "out")
        assert (outcome.code, outcome.err.count("\n")) == (2, 1)
        assert name in outcome.err
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_written_is_refused_before_the_work(tetrit, tmp_path):
    (tmp_path / "file").write_text("")
    outcome = tetrit("compile", "resnet18", "--machine", "shift_8x8", "--out", tmp_path / "file")
    assert outcome.code == 2
    assert outcome.err.startswith(f"tetrit: error: cannot write '{tmp_path / 'file'}'")


def test_figures_of_many_layers_name_the_longest_and_count_the_others():
    shapes = [Workload(m=10 + i, k=40 * (1 + i % 5), n=30) for i in range(30)]
    mapping = hls.map_network([(f"layer {i}", shape) for i, shape in enumerate(shapes)], hardware.load("shift_16x16"))
    layers = [compiling.compile_layer(layer) for layer in mapping.layers]
    result = {
        "network": {"name": "many"},
        "clock_mhz": 100.0,
        "totals": {"cycles": mapping.cycles, "latency_us": mapping.latency_us, "bandwidth_bytes_per_cycle": 8.0},
        "layers": layers,
    }
    figures = compiled.draw(result, compiling.rows(result))
    assert sorted(figures) == FILES[2:]
    height = {name: int.from_bytes(figures[f"{name}.png"][20:24], "big") for name in ("layers", "roofline")}
    assert height["layers"] < 1400  # 23 layers and one row for the others, at 200 dots an inch
    assert "<svg" in figures["layers.svg"]


def test_rows_draw_equal_layers_together():
    mapping = hls.map_network([Workload(m=1, k=2, n=3), Workload(m=4, k=5, n=6)] * 3, hardware.load("shift_8x8"))
    rows = compiling.rows({"layers": [compiling.compile_layer(layer) for layer in mapping.layers]})
    assert [(row["name"], row["times"]) for row in rows] == [("layer 0", 3), ("layer 1", 3)]
    assert sum(row["cycles"] * row["times"] for row in rows) == mapping.cycles


def test_the_json_is_canonical(tetrit, tmp_path):
    assert tetrit("compile", "alexnet", "--machine", "simd_8x8", "--out", tmp_path).code == 0
    text = Path(tmp_path / "compile.json").read_text()
    assert canonical.to_json(json.loads(text)) == text
