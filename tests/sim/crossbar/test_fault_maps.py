"""Fault maps of users: chips with them, files with them, and every way in which they can be wrong."""

import io
import re
import zipfile

import numpy as np
import pytest

from tetrit import hls, sim
from tetrit.errors import InvalidValueError
from tetrit.hardware import Crossbar
from tetrit.sim.crossbar.fault_maps import layer_faults, read_fault_file

MACHINE = Crossbar(rows=8, cols=12, weight_format="int4", bits_per_cell=4, adc_bits=None)
LAYERS = [("first", 10, 7), ("last", 7, 5)]  # 2 x 2 and 1 x 1 arrays: 6 outputs an array


def program(machine=MACHINE, layers=LAYERS):
    rng = np.random.default_rng(4)
    made = [
        sim.QuantizedLinear(
            name=name,
            weight=rng.integers(0, 16, (n_in, n_out)).astype(np.uint8),
            weight_format="int4",
            weight_scale=np.ones(n_out),
            bias=np.zeros(n_out),
            in_format="int8",
            in_scale=1.0,
            out_format="int8",
            out_scale=1.0,
            relu=False,
        )
        for name, n_in, n_out in layers
    ]
    return hls.compile_network(made, machine, batch=4)


def drawn(shape, seed=3):
    return np.random.default_rng(seed).choice([0, 1, 2], size=shape, p=[0.8, 0.1, 0.1])


def stuck_as_said(engine, maps):
    low, high = MACHINE.window
    for at, cells in engine.arrays.cells.items():
        g = cells.conductance(0.0)
        assert (g[maps[at] == 1] == low).all()
        assert (g[maps[at] == 2] == high).all()


@pytest.mark.parametrize("keys", [("first", "last"), (0, 1), ("0", "1"), (np.int64(0), "last"), ("first", 1)])
def test_chips_have_the_faults_that_they_are_given(keys):
    maps = drawn((2, 2, 8, 12)), drawn((8, 12), 5)
    x = np.random.default_rng(1).integers(-128, 128, (4, 10))
    chip = sim.Chip(program(), 3, faults=dict(zip(keys, maps, strict=True)))
    assert (maps[0] > 0).sum() > 20
    stuck_as_said(chip.engines[0], maps[0])
    stuck_as_said(chip.engines[1], maps[1][None, None])
    by_hand = sim.CrossbarEngine(MACHINE, 9).load(program().layers[0].weight, faults=maps[0])  # cells are perfect
    assert (chip.run(x)[0].run.output == by_hand.matmul(x).output).all()
    healthy = sim.Chip(program(), 3)
    assert (chip.run(x)[0].run.output != healthy.run(x)[0].run.output).any()


def test_other_layers_are_drawn_as_the_machine_says():
    machine = MACHINE.replace(stuck_on=0.2)
    x = np.random.default_rng(1).integers(-128, 128, (4, 10))
    plain, given = (sim.Chip(program(machine), 3, faults=faults) for faults in (None, {"last": np.zeros((8, 12), int)}))
    assert (plain.engines[0].matmul(x).output == given.engines[0].matmul(x).output).all()
    y = np.random.default_rng(2).integers(-128, 128, (4, 7))
    perfect = y @ given.engines[1].weight
    assert (given.engines[1].matmul(y).output == perfect).all()
    assert (plain.engines[1].matmul(y).output != perfect).any()


def test_a_map_of_zeros_is_a_perfect_chip_whatever_seed():
    x = np.random.default_rng(1).integers(-128, 128, (4, 10))
    for faults in ({}, {"first": np.zeros((2, 2, 8, 12), np.uint8)}):
        assert (sim.Chip(program(), 5, faults=faults).run(x)[-1].output == sim.Chip(program()).run(x)[-1].output).all()


def test_a_name_goes_before_a_number():
    machine = MACHINE
    layers = [("1", 4, 2), ("0", 4, 2)]
    one = np.ones((8, 12), int)
    assert layer_faults({"1": one}, machine, layers)[1] is None
    assert (layer_faults({"1": one}, machine, layers)[0] == 1).all()
    assert (layer_faults({1: one}, machine, layers)[1] == 1).all()


@pytest.mark.parametrize(
    ("faults", "error", "message"),
    [
        ({"lsat": 0}, InvalidValueError, "unknown layer 'lsat'; did you mean 'last'?"),
        ({"2": 0}, InvalidValueError, "unknown layer 2; known: 0 to 1"),
        ({-1: 0}, InvalidValueError, "unknown layer -1; known: 0 to 1"),
        (
            {"last": np.zeros((8, 12), int), 1: 0},
            InvalidValueError,
            "layer 'last': `faults` are given twice, the second time as 1",
        ),
        (
            {"first": np.zeros((8, 12), int)},
            InvalidValueError,
            "layer 'first': `faults` must have shape (2, 2, 8, 12): arrays along inputs and outputs, rows, columns; "
            "got (8, 12)",
        ),
        (
            {1: np.zeros((12, 8), int)},
            InvalidValueError,
            "layer 'last': `faults` must have shape (1, 1, 8, 12): arrays along inputs and outputs, rows, columns; "
            "got (12, 8)",
        ),
        (
            {"last": np.full((8, 12), 3)},
            InvalidValueError,
            "layer 'last': `faults` must be 0 (healthy), 1 (stuck off) or 2 (stuck on), got 3 at row 0, column 0",
        ),
        (
            {"last": [[0], [0, 1]]},
            InvalidValueError,
            "layer 'last': `faults` must have shape (1, 1, 8, 12), got rows of different lengths",
        ),
        ({"last": np.zeros((8, 12))}, TypeError, "layer 'last': `faults` must be integers, got float64"),
        ({1.0: 0}, TypeError, "`faults` must have names or numbers of layers as keys, got 1.0"),
        ({True: 0}, TypeError, "`faults` must have names or numbers of layers as keys, got True"),
        (np.zeros((8, 12), int), TypeError, "`faults` must be a mapping of layers to fault maps, got ndarray"),
    ],
    ids=str,
)
def test_wrong_maps_are_refused(faults, error, message, tmp_path):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        sim.Chip(program(), faults=faults)


def archive(**members):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        for name, content in members.items():
            made.writestr(name, content)
    return file.getvalue()


def test_files(tmp_path):
    path = tmp_path / "faults.npz"
    maps = {"first": drawn((2, 2, 8, 12)).astype(np.uint8), "1": drawn((8, 12)).astype(np.int16)}
    for save in (np.savez, np.savez_compressed):
        save(path, **maps)
        found = read_fault_file(path)
        assert found.maps.keys() == maps.keys()
        assert all((found.maps[name] == maps[name]).all() for name in maps)
        found.check(MACHINE, LAYERS)
        assert len(found.sha256) == 64
    before = found.sha256
    np.savez(path, **maps | {"1": np.zeros((8, 12), int)})
    assert read_fault_file(path).sha256 != before
    np.savez(path, last=np.zeros((8, 12)))
    message = f"fault maps '{path}': layer 'last': `faults` must be integers, got float64"
    with pytest.raises(InvalidValueError, match=f"^{re.escape(message)}$"):
        read_fault_file(path).check(MACHINE, LAYERS)


def test_damaged_files_are_refused_in_one_line(tmp_path):
    path = tmp_path / "faults.npz"
    np.savez_compressed(path, first=drawn((2, 2, 8, 12)))
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[200] ^= 255
    objects = io.BytesIO()
    np.savez(objects, first=np.array([None, 1]))
    array = io.BytesIO()
    np.save(array, np.zeros((8, 12), int))
    for content, text in (
        (b"", f"cannot read fault maps '{path}': it is no NPZ file"),
        (b"text", f"cannot read fault maps '{path}': it is no NPZ file"),
        (array.getvalue(), f"cannot read fault maps '{path}': it is no NPZ file"),
        (whole[:-30], f"cannot read fault maps '{path}': it is no NPZ file"),
        (bytes(flipped), f"cannot read fault maps '{path}': "),
        (objects.getvalue(), f"cannot read fault maps '{path}': Object arrays cannot be loaded"),
        (archive(), f"fault maps '{path}': there is no array in it"),
        (archive(readme=b"text"), f"fault maps '{path}': 'readme' is no array"),
    ):
        path.write_bytes(content)
        with pytest.raises(InvalidValueError) as caught:
            read_fault_file(path)
        assert str(caught.value).startswith(text)
        assert "\n" not in str(caught.value)
    for place, reason in ((tmp_path / "none.npz", "No such file or directory"), (tmp_path, "Is a directory")):
        with pytest.raises(InvalidValueError, match=rf"^cannot read fault maps '{re.escape(str(place))}': {reason}$"):
            read_fault_file(place)


def test_an_array_of_impossible_size_is_refused(tmp_path):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<i8", "fortran_order": False, "shape": (2**50,)})
    path = tmp_path / "faults.npz"
    path.write_bytes(archive(**{"first.npy": header.getvalue()}))
    with pytest.raises(InvalidValueError, match=rf"^cannot read fault maps '{re.escape(str(path))}': "):
        read_fault_file(path)
