"""The folder: what is in it, the same every time, whole or not at all; options; what is refused, in one line."""

import json
import os
import pickle
import re
import subprocess
import sys

import numpy as np
import pytest

from tetrit import hardware, hls, sim
from tetrit.errors import InvalidValueError
from tetrit.hls.cpp import CppOptions, layers, project, to_hls_cpp
from tetrit.hls.cpp.geometry import ProductSize
from tetrit.hls.cpp.names import Names, is_identifier
from tetrit.hls.integer import IntegerGraph, IntegerTensor, Product, Reshape, Sum


def files(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def program(shift_program):
    return shift_program("szt")


def test_the_folder_is_complete_and_the_same_every_time(program, digits, tmp_path):
    one = program.to_hls_cpp(tmp_path / "one", inputs=digits.images[:5])
    two = to_hls_cpp(program, str(tmp_path / "deep" / "two"), inputs=digits.images[:5].tolist())
    assert files(one.folder) == files(two.folder)
    library = [f"tetrit/{name}.h" for name in sorted(
        ("finish", "formats", "integers", "limbs", "pointwise", "pool", "product", "route", "stream", "window")
    )]  # fmt: skip
    assert sorted(files(one.folder)) == sorted(
        ["README.md", "build.sh", "golden.txt", "layers/fc1.h", "layers/fc2.h", "network.cpp", "network.h",
         "report.json", "run_hls.tcl", "testbench.cpp", *library]
    )  # fmt: skip
    assert os.access(one.folder / "build.sh", os.X_OK)
    assert {path.name for path in tmp_path.iterdir()} == {"one", "deep"}
    assert json.loads((one.folder / "report.json").read_text()) == one.report == two.report
    longest = max(len(line) for name, text in files(one.folder).items() if name.endswith((".h", ".cpp"))
                  for line in text.decode().splitlines())  # fmt: skip
    assert longest <= 120


def test_hash_seeds_make_no_difference(tmp_path):
    script = (
        "import hashlib, sys, numpy as np\nfrom tetrit.hls.integer import *\nfrom tetrit.hls.cpp import to_hls_cpp\n"
        "t = [IntegerTensor(name=n, shape=(4,), format='int8', scale=1.0) for n in 'xyz']\n"
        "one = dict(multipliers=(1, 2), shift=1, relu=False)\n"
        "nodes = (Sum(name='a', inputs=('x', 'x'), output='y', **one),\n"
        "    Sum(name='b', inputs=('x', 'y'), output='z', **one))\n"
        "g = IntegerGraph(name='g', inputs=('x',), outputs=('z', 'y'), nodes=nodes, tensors=t)\n"
        "f = to_hls_cpp(g, sys.argv[1]).folder\n"
        "print(hashlib.sha256(b''.join(p.read_bytes() for p in sorted(f.rglob('*')) if p.is_file())).hexdigest())"
    )
    found = [
        subprocess.run(
            [sys.executable, "-c", script, str(tmp_path / seed)], env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True, text=True, check=True,
        ).stdout
        for seed in ("0", "1")
    ]  # fmt: skip
    assert found[0] == found[1] and len(found[0]) == 65


def test_default_inputs_are_drawn_and_the_same_every_time(program, simd_program, tmp_path):
    for name, network in (("shift", program), ("simd", simd_program("posit8_0"))):
        golden = [(to_hls_cpp(network, tmp_path / f"{name}{i}").folder / "golden.txt").read_text() for i in range(2)]
        assert golden[0] == golden[1]
        lines = golden[0].splitlines()
        assert (lines[0], len(lines)) == ("16", 33)
        inputs = np.array([line.split() for line in lines[1::2]], dtype=int)
        outputs = np.array([line.split() for line in lines[2::2]], dtype=int)
        assert len(np.unique(inputs)) > 200 and len(np.unique(outputs)) > 10
        assert (128 not in inputs and inputs.min() == 0) if name == "simd" else inputs.min() < -120


def test_what_stands_in_the_code(program, tmp_path):
    options = CppOptions(top="digits", clock_mhz=250, part="xczu9eg", unroll={"fc1": (4, 5)})
    folder = program.to_hls_cpp(tmp_path / "net", options=options).folder
    source = (folder / "network.cpp").read_text()
    assert re.search(r"^void digits\(tetrit::stream<tetrit::Beat<tetrit::Int<8>, \d+>>& input,$", source, re.M)
    assert "#pragma HLS DATAFLOW" in source and source.count("#pragma HLS INTERFACE axis port=") == 2
    layer = (folder / "layers" / "fc1.h").read_text()
    assert "static constexpr int tile_k = 4, tile_n = 5;" in layer and "using Weight = tetrit::Szt;" in layer
    assert "static const tetrit::UInt<40> weights[64][1]" in layer  # 16 x 4 steps of 20 codes of 2 bits
    script = (folder / "run_hls.tcl").read_text()
    for line in ("set_top digits", "set_part {xczu9eg}", "create_clock -period 4 -name default"):
        assert line in script.splitlines()
    manual = (folder / "README.md").read_text()
    assert re.search(r"^\| fc1 \| product \| 4 x 5 \| 64 \| \d+ \| 0 \| 2560 \|", manual, re.M)


def test_a_folder_that_is_not_empty_is_left_alone(program, tmp_path):
    target = tmp_path / "net"
    target.mkdir()
    program.to_hls_cpp(target)  # empty: taken
    before = files(target)
    message = rf"^cannot write C\+\+ to '{re.escape(str(target))}': it is not empty$"
    with pytest.raises(InvalidValueError, match=message):
        program.to_hls_cpp(target)
    assert files(target) == before
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidValueError, match=r"^cannot write C\+\+ to '.*file': it is no folder$"):
        program.to_hls_cpp(tmp_path / "file")
    with pytest.raises(InvalidValueError, match=r"^cannot write C\+\+ to '.*'"):
        program.to_hls_cpp(tmp_path / "file" / "below")


def test_an_interrupted_writing_leaves_nothing(program, tmp_path, monkeypatch):
    def interrupted(self, *args, **kwargs):
        if self.name == "network.h":
            raise KeyboardInterrupt
        return original(self, *args, **kwargs)

    original = project.Path.write_text
    monkeypatch.setattr(project.Path, "write_text", interrupted)
    with pytest.raises(KeyboardInterrupt):
        program.to_hls_cpp(tmp_path / "net")
    assert list(tmp_path.iterdir()) == []


def test_wrong_networks_and_inputs_are_refused(program, simd_program, tmp_path):
    target = tmp_path / "net"
    with pytest.raises(TypeError, match=r"^`network` must be a Program, a SimdProgram or an IntegerGraph, got 3$"):
        to_hls_cpp(3, target)
    with pytest.raises(TypeError, match=r"^`options` must be CppOptions, got \{\}$"):
        program.to_hls_cpp(target, options={})
    layer = sim.QuantizedLinear(
        name="fc", weight=np.array([[1, 3]], np.uint8), weight_format="szt", weight_scale=np.ones(2), bias=np.zeros(2),
        in_format="int8", in_scale=1.0, out_format="int8", out_scale=1.0, relu=False,
    )  # fmt: skip
    analog = hls.compile_network([layer], hardware.Crossbar(rows=4, cols=4, weight_format="szt"), batch=1)
    with pytest.raises(InvalidValueError, match=r"^a program for a ShiftArray is needed, got one for a Crossbar$"):
        analog.to_hls_cpp(target)
    wrong = r"^`inputs` for 'input' must "
    for inputs, error, message in (
        (np.zeros((2, 64)), TypeError, r"^`inputs` must be integers, got float64$"),
        (np.zeros((2, 63), int), InvalidValueError, wrong + r"have shape \(batch, 64\), got \(2, 63\)$"),
        (np.zeros((0, 64), int), InvalidValueError, wrong + r"have shape \(batch, 64\), got \(0, 64\)$"),
        (np.full((2, 64), 128), InvalidValueError, wrong + r"be within -128..127 \(int8\), got 128..128$"),
        ({"image": np.zeros((2, 64), int)}, InvalidValueError, r"^`inputs`: 'image' is unknown$"),
    ):  # fmt: skip
        with pytest.raises(error, match=message):
            program.to_hls_cpp(target, inputs=inputs)
    with pytest.raises(
        InvalidValueError, match=r"^`inputs` for 'input' must be within 0..255 \(posit8_0\), got -1..0$"
    ):
        simd_program("posit8_0").to_hls_cpp(target, inputs=np.arange(-1, 1)[:, None].repeat(64, 1))
    assert not target.exists() and list(tmp_path.iterdir()) == []


def graph(nodes, inputs=("x",), outputs=("y",), names="xy", shape=(4,)):
    tensors = [IntegerTensor(name=name, shape=shape, format="int8", scale=1.0) for name in names]
    return IntegerGraph(name="g", inputs=inputs, outputs=outputs, nodes=nodes, tensors=tensors)


def add(name, a, b, out):
    return Sum(name=name, inputs=(a, b), output=out, multipliers=(1, 1), shift=1, relu=False)


def test_graphs_that_make_no_sense_as_hardware_are_refused(tmp_path):
    nodes = (add("a", "x", "x", "y"),)
    with pytest.raises(InvalidValueError, match=r"^input 'z' is needed by no output: leave it out$"):
        to_hls_cpp(graph(nodes, inputs=("x", "z"), names="xyz"), tmp_path / "net")
    with pytest.raises(InvalidValueError, match=r"^'x' is both an input and an output: there is nothing to compute$"):
        to_hls_cpp(graph(nodes, outputs=("y", "x")), tmp_path / "net")
    two = graph((add("a", "x", "z", "y"),), inputs=("x", "z"), names="xyz")
    with pytest.raises(InvalidValueError, match=r"^`inputs` must be given by name: x, z$"):
        to_hls_cpp(two, tmp_path / "net", inputs=[[1, 2, 3, 4]])
    with pytest.raises(InvalidValueError, match=r"^`inputs`: 'z' is missing$"):
        to_hls_cpp(two, tmp_path / "net", inputs={"x": [[1, 2, 3, 4]]})
    wide = Product(
        name="fc", input="x", output="y", weight=np.zeros((4, 4), np.uint8), weight_format="szt",
        bias=np.zeros(4, int), multiplier=np.ones(4, int), shift=np.ones(4, int), relu=False,
    )  # fmt: skip
    object.__setattr__(wide, "weight_format", "post4")
    with pytest.raises(InvalidValueError, match=r"^layer 'fc': there is no decoder in C\+\+ for format 'post4'$"):
        layers.product(wide, "fc", ProductSize(vectors=1, groups=1, k=4, n=4), (1, 1), None, None, 8)


@pytest.mark.parametrize("interface", ["stream", "array"])
def test_dead_nodes_several_inputs_and_outputs_used_twice(interface, tmp_path, bench):
    """What no output needs is left out; a tensor may go to an output twice, and a reshaped input straight to one."""
    nodes = (
        add("class", "x", "z", "y"), add("dead", "y", "y", "w"), Reshape(name="same", input="z", output="v"),
    )  # fmt: skip
    net = graph(nodes, inputs=("x", "z"), outputs=("y", "v", "y"), names="xyzwv")
    rng = np.random.default_rng(8)
    inputs = {name: rng.integers(-128, 128, (9, 4)) for name in "xz"}
    options = CppOptions(interface=interface)
    folder = net.to_hls_cpp(tmp_path / "net", inputs=inputs, options=options).folder
    assert [path.name for path in (folder / "layers").iterdir()] == ["class_2.h"]
    done = bench(folder, flags="-O0")
    assert (done.returncode, done.stdout) == (0, "9 vectors, 108 outputs, 0 mismatches\n"), done.stderr


def test_options_are_checked(program, tmp_path):
    for fields, error, message in (
        ({"interval": 0}, InvalidValueError, r"^`interval` must be a positive integer, got 0$"),
        ({"unroll": [1]}, TypeError, r"^`unroll` must be a mapping of layers to \(inputs, outputs\), got \[1\]$"),
        ({"unroll": {"fc1": 3}}, TypeError, r"^`unroll` of layer 'fc1' must be \(inputs, outputs\), got 3$"),
        ({"interface": "axi"}, InvalidValueError, r"^unknown interface 'axi'"),
        ({"top": "int"}, InvalidValueError, r"^`top` must be a name that C\+\+ takes for a function, got 'int'$"),
        ({"top": 3}, TypeError, r"^`top` must be a string, got 3$"),
        ({"part": "a b"}, InvalidValueError, r"^`part` must be the name of a device, got 'a b'$"),
        ({"clock_mhz": 0}, InvalidValueError, r"^`clock_mhz` must be above 0, got 0$"),
    ):  # fmt: skip
        with pytest.raises(error, match=message):
            CppOptions(**fields)
    options = CppOptions(unroll={"fc1": [2, np.int64(3)]})
    assert options.unroll == {"fc1": (2, 3)} and pickle.loads(pickle.dumps(options)) == options
    with pytest.raises(InvalidValueError, match=r"^unknown unroll 'fc3'; did you mean 'fc2'\?$"):
        program.to_hls_cpp(tmp_path / "net", options=CppOptions(unroll={"fc3": (1, 1)}))
    with pytest.raises(
        InvalidValueError, match=r"^`unroll` of layer 'fc2' must be at most \(20, 10\), got \(20, 11\)$"
    ):
        program.to_hls_cpp(tmp_path / "net", options=CppOptions(unroll={"fc2": (20, 11)}))


def test_names_become_identifiers_that_differ():
    names = Names("network")
    wanted = ["conv.1", "conv_1", "1x1", "", "while", "größe", "a__b", "tetrit", "network", "LINES"]
    found = [names.new(name) for name in wanted]
    assert found[:2] == ["conv_1", "conv_1_2"] and found[2] == "n1x1" and found[4] == "while_2"
    assert len(set(found)) == len(found) and all(is_identifier(name) for name in found)


def test_importing_hls_imports_nothing_heavy():
    script = "import sys, tetrit.hls.cpp\nprint({'torch', 'onnx', 'highspy', 'dask', 'sklearn'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
