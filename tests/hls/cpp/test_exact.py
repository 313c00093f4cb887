"""C++ equals the golden run, bit for bit: formats, layers, both kinds of ports, and the vendor's own integers."""

import re
from dataclasses import replace

import numpy as np
import pytest

from tetrit import hardware, hls, sim
from tetrit.hls.cpp import CppOptions, to_hls_cpp
from tetrit.hls.graph import Builder
from tetrit.hls.integer import IntegerGraph, IntegerTensor, Product
from tetrit.sim.execute import execute


def passed(done, vectors, outputs):
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    assert done.stdout == f"{vectors} vectors, {vectors * outputs} outputs, 0 mismatches\n"


def accuracy(outputs, digits):
    return (outputs.argmax(axis=1) == digits.labels).mean()


@pytest.mark.parametrize("weight_format", ["szt", "pot3", "pot3z", "pot4", "posit4_1"])
def test_digits_on_a_shift_array(weight_format, shift_program, digits, tmp_path, bench):
    program = shift_program(weight_format)
    outputs = execute(program, digits.images)[-1].output
    assert accuracy(outputs, digits) > 0.8
    project = program.to_hls_cpp(tmp_path / "net", inputs=digits.images)
    assert not any(layer["multipliers"] for layer in project.report["layers"])
    passed(bench(project.folder), 449, 10)
    # the numbers in the file are the golden run's, and not those of something else
    lines = (project.folder / "golden.txt").read_text().splitlines()
    assert np.array_equal(np.array([line.split() for line in lines[2::2]], dtype=np.int64), outputs)


@pytest.mark.parametrize("weight_format", ["int4", "int8"])
def test_digits_with_integers(weight_format, shift_program, digits, tmp_path, bench):
    """The shift array's program, with the integers of its weights as codes of another format."""
    program = shift_program("pot3z" if weight_format == "int4" else "pot4z")
    nodes, names = [], ["x", "h", "y"]
    for layer, source, output in zip(program.layers, names, names[1:], strict=False):
        integers = program.shift_array.weights.integers[layer.weight]
        codes = (integers % 2 ** int(weight_format[3:])).astype(np.uint8)
        nodes.append(
            Product(
                name=layer.name, input=source, output=output, weight=codes, weight_format=weight_format,
                bias=layer.bias, multiplier=layer.multiplier, shift=layer.shift, relu=layer.relu,
            )
        )  # fmt: skip
    kinds = zip(names, (64, 20, 10), ("int8", "int8", "int16"), strict=True)
    made = [IntegerTensor(name=name, shape=(n,), format=kind, scale=1.0) for name, n, kind in kinds]
    graph = IntegerGraph(name="net", inputs=("x",), outputs=("y",), nodes=nodes, tensors=made)
    assert np.array_equal(graph.run(digits.images)["y"], execute(program, digits.images)[-1].output)
    project = graph.to_hls_cpp(tmp_path / "net", inputs=digits.images)
    assert all(layer["multipliers"] == layer["tile_k"] * layer["tile_n"] for layer in project.report["layers"])
    passed(bench(project.folder), 449, 10)


@pytest.mark.parametrize(
    ("act_format", "weight_format"),
    [("fp4_e2m1", None), ("posit4_1", None), ("posit8_0", None), ("posit16_1", None), ("posit16_1", "fp4_e2m1")],
)
def test_digits_on_a_simd_engine(act_format, weight_format, simd_program, digits, tmp_path, bench):
    program = simd_program(act_format, weight_format)
    codes = program.encode(digits.images / 16)
    outputs = execute(program, codes)[-1].output
    assert accuracy(program.decode(outputs), digits) > (0.6 if act_format == "fp4_e2m1" else 0.8)
    project = program.to_hls_cpp(tmp_path / "net", inputs=codes)
    passed(bench(project.folder), 449, 10)


def test_a_small_cnn_on_all_test_images(cnn, digits, tmp_path, bench):
    images = 7 * digits.images.reshape(-1, 8, 8, 1)
    assert accuracy(cnn.run(images)["logits"], digits) > 0.8
    passed(bench(to_hls_cpp(cnn, tmp_path / "net", inputs=images).folder), 449, 10)


def test_odd_layers_and_several_outputs(odd, odd_inputs, tmp_path, bench):
    traced = odd.trace(odd_inputs)
    assert min(len(np.unique(values)) for values in traced.values()) > 10  # nothing is constant
    passed(bench(to_hls_cpp(odd, tmp_path / "net", inputs=odd_inputs).folder), 60, 6 + 44 + 11 + 132 + 4)


def test_arrays_as_ports_and_tiles_that_do_not_divide(odd, odd_inputs, tmp_path, bench):
    options = CppOptions(
        interface="array", interval=40, unroll={"int": (5, 2), "far": (7, 2), "1x1": (4, 3), "tallest": (6, 1)}
    )
    project = to_hls_cpp(odd, tmp_path / "net", inputs=odd_inputs, options=options)
    layers = {layer["name"]: layer for layer in project.report["layers"]}
    assert (layers["far"]["tile_k"], layers["far"]["tile_n"]) == (7, 2)
    passed(bench(project.folder), 60, 6 + 44 + 11 + 132 + 4)


def test_the_vendors_integers_give_the_same_cnn(cnn, digits, ap_types, tmp_path, bench):
    images = 7 * digits.images[:60].reshape(-1, 8, 8, 1)
    passed(bench(to_hls_cpp(cnn, tmp_path / "net", inputs=images).folder, headers=ap_types, flags="-O0"), 60, 10)


def test_the_vendors_integers_give_the_same_posits(simd_program, digits, ap_types, tmp_path, bench):
    program = simd_program("posit16_1")
    project = program.to_hls_cpp(tmp_path / "net", inputs=program.encode(digits.images / 16))
    passed(bench(project.folder, headers=ap_types, flags="-O0"), 449, 10)


def test_a_float_network_quantised(digits, tmp_path, bench):
    """From a graph of floats to C++: a residual block and a strided convolution, whatever nodes quantisation makes."""
    rng = np.random.default_rng(9)
    net = Builder("residual")

    def conv(x, channels, stride=1):
        inputs = net.shape(x)[1]
        weight = rng.normal(0, np.sqrt(2 / (9 * inputs)), (channels, inputs, 3, 3)).astype(np.float32)
        return net.conv(x, channels, 3, stride=stride, padding=1, weight=weight)

    first = net.relu(conv(net.input("image", (1, 1, 8, 8)), 4))
    joined = net.relu(net.add(first, conv(net.relu(conv(first, 4)), 4)))
    last = net.gelu(conv(joined, 6, stride=2))
    weight = rng.normal(0, 0.2, (24, 10)).astype(np.float32)
    logits = net.linear(net.flatten(net.max_pool(last, 2, stride=2)), 10, weight=weight)
    images = digits.images.reshape(-1, 1, 8, 8).astype(np.float32)
    graph = hls.quantize(net.build([logits]), images[:100], weight_format="szt")
    x = graph.encode(np.moveaxis(images, 1, 3))
    assert len(np.unique(next(iter(graph.run(x).values())))) > 100
    passed(bench(graph.to_hls_cpp(tmp_path / "net", inputs=x).folder), 449, 10)


def test_nar_and_extreme_biases(tmp_path, bench):
    """A quire wider than two machine words, and inputs that are no numbers."""
    rng = np.random.default_rng(4)
    layer = sim.QuantizedLinear(
        name="fc", weight=rng.choice(np.delete(np.arange(2**16), 2**15), (5, 4)).astype(np.uint16),
        weight_format="posit16_1", weight_scale=2.0 ** np.array([0, 3, -9, 0]), bias=np.zeros(4),
        in_format="posit16_1", in_scale=1.0, out_format="posit16_1", out_scale=1.0, relu=False,
    )  # fmt: skip
    program = hls.compile_network([layer], hardware.SimdEngine(rows=1, cols=1), batch=1)
    extreme = np.array([2**127 - 1, -(2**127), 1, -(2**70) - 12345], dtype=object)
    program = replace(program, layers=(replace(program.layers[0], bias=extreme),))
    codes = rng.integers(0, 2**16, (400, 5))
    codes[7, 2] = codes[9, 0] = 2**15
    outputs = execute(program, codes)[-1].output
    assert (outputs[[7, 9]] == 2**15).all() and (outputs == 2**15).sum() == 8
    project = program.to_hls_cpp(tmp_path / "net", inputs=codes)
    assert project.report["layers"][0]["sum_bits"] == 129
    passed(bench(project.folder), 400, 4)


@pytest.mark.parametrize("what", ["weight", "shift", "bias", "stream"])
def test_broken_code_fails(what, shift_program, digits, tmp_path, bench):
    """One bit of one weight, a shift or a bias off by one, and a stream that is not read to its end."""
    program = shift_program("szt")
    project = program.to_hls_cpp(tmp_path / "net", inputs=digits.images)
    folder = project.folder
    path = folder / ("network.cpp" if what == "stream" else "layers/fc2.h")
    text = path.read_text()
    if what == "weight":
        busiest = int(execute(program, digits.images)[0].output.sum(axis=0).argmax())  # of the inputs of fc2
        tile_k = project.report["layers"][1]["tile_k"]
        word = list(re.finditer(r"0x([0-9a-f]+)ULL", text))[busiest // tile_k]  # one word a step, of output 0 first
        flipped = int(word[1], 16) ^ 1 << 2 * (busiest % tile_k)
        changed = f"{text[: word.start()]}0x{flipped:x}ULL{text[word.end() :]}"
    elif what == "stream":
        changed = re.sub(r"(tetrit::(narrow|widen)<[^>]*>, 1, )20", r"\g<1>10", text, count=1)
    else:
        first = re.search(rf"{what}\[\d+\]\[\d+\] = {{\n +{{{{?(-?\d+)", text)
        changed = text[: first.start(1)] + str(int(first[1]) + 1) + text[first.end(1) :]
    assert changed != text
    path.write_text(changed)
    done = bench(folder, flags="-O0")
    if what == "stream":
        assert done.returncode not in (0, 1, 2) and "stream '" in done.stderr
    else:
        assert done.returncode == 1
        assert re.search(r"^vector \d+: output\[\d\] is -?\d+, golden -?\d+$", done.stdout, re.M)
        assert not done.stdout.endswith(" 0 mismatches\n")


def test_a_missing_or_short_golden_file_is_an_error(shift_program, digits, tmp_path, bench):
    folder = shift_program("szt").to_hls_cpp(tmp_path / "net", inputs=digits.images[:3]).folder
    golden = folder / "golden.txt"
    golden.write_text(golden.read_text()[:-8])
    done = bench(folder, flags="-O0")
    assert (done.returncode, done.stderr) == (2, "golden.txt is missing or cut short\n")
