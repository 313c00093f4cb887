"""`tetrit spice`: what it writes, where its values come from, and how it refuses wrong input."""

import numpy as np
import pytest

from tetrit import hardware
from tetrit.sim.crossbar import spice

TITLE = "crossbar of {} x {} cells, by tetrit"


@pytest.fixture
def files(tmp_path):
    g, v = np.array([[1e-5, 0.0, 3e-6], [2e-5, 4e-6, 5e-6]]), np.array([[0.1, -0.2], [0.0, 0.05]])
    np.save(tmp_path / "g.npy", g)
    np.savez(tmp_path / "g.npz", g)
    np.savez(tmp_path / "two.npz", g, v)
    np.save(tmp_path / "flat.npy", g[0])
    np.save(tmp_path / "objects.npy", np.array([[None]]), allow_pickle=True)
    (tmp_path / "g.csv").write_text("\n".join(",".join(map(repr, row)) for row in g.tolist()) + "\n\n")
    (tmp_path / "v.csv").write_text("0.1, -0.2\n0,0.05\n")
    (tmp_path / "wrong.csv").write_text("1,2\n3\n")
    (tmp_path / "words.csv").write_text("one,two\n")
    (tmp_path / "g.txt").write_text("1\n")
    return tmp_path, g, v


@pytest.mark.parametrize("name", ["g.npy", "g.npz", "g.csv"])
def test_files_and_options_become_the_netlist(tetrit, files, name):
    folder, g, v = files
    options = ["--r-row", 1.5, "--r-col", 2, "--r-driver", 3, "--r-sense", 4, "--drive", "two_sided", "--sinh", 0.25]
    wanted = spice.netlist(g, v, 1.5, 2, 3, 4, drive="two_sided", sinh_volt=0.25, title=TITLE.format(2, 3))
    arguments = ["spice", "--conductances", folder / name, "--voltages", folder / "v.csv", *options]
    outcome = tetrit(*arguments)
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out == wanted
    assert tetrit(*arguments, "-o", folder / "deep" / "x.cir").out == ""
    assert (folder / "deep" / "x.cir").read_text() == wanted


def test_a_machine_gives_sizes_wires_and_window(tetrit, tmp_path):
    machine = hardware.Crossbar(
        rows=5, cols=7, bits_per_cell=8, r_row_ohm=2.5, r_driver_ohm=70.0, drive="two_sided", read_voltage_v=0.3
    )
    path = tmp_path / "array.toml"
    path.write_text(hardware.to_toml(machine))
    outcome = tetrit("spice", path, "--vectors", 3, "--g-min", 1e-6, "--seed", 4)
    assert (outcome.code, outcome.err) == (0, "")
    rng = np.random.default_rng(4)
    g = rng.uniform(1e-6, machine.window[1], (5, 7))
    v = rng.uniform(-0.3, 0.3, (3, 5))
    assert outcome.out == spice.netlist(g, v, 2.5, 0, 70.0, drive="two_sided", title=TITLE.format(5, 7))
    smaller = tetrit("spice", path, "--rows", 2, "--cols", 3)
    assert smaller.out.startswith(TITLE.format(2, 3))


def test_the_same_seed_writes_the_same(tetrit):
    first = tetrit("spice", "--seed", 1)
    assert first.out == tetrit("spice", "--seed", 1).out
    assert first.out != tetrit("spice", "--seed", 2).out
    assert first.out.startswith(TITLE.format(8, 8))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["shift_16x16"], "'shift_16x16' is a ShiftArray; a netlist needs a crossbar"),
        (["--rows", 0], "`--rows` must be a positive integer, got 0"),
        (["--g-max", -1], "`--g-max` must be at least 0, got -1"),
        (["--read-voltage", "nan"], "`--read-voltage` must be finite, got nan"),
        (["--r-row", -1], "`r_row_ohm` must be at least 0, got -1"),
        (["--r-col", "inf"], "`r_col_ohm` must be finite, got inf: columns 0 to 7 would float"),
        (["--drive", "x"], "unknown drive 'x'; known: one_sided, two_sided"),
        (["--sinh", 0], "`sinh_volt` must be above 0, got 0"),
        (["--conductances", "{}/none.npy"], "cannot read '{}/none.npy': No such file or directory"),
        (["--conductances", "{}/g.txt"], "'{}/g.txt' must end in .npy, .npz or .csv"),
        (["--conductances", "{}/two.npz"], "'{}/two.npz' must have one array, got 2"),
        (["--conductances", "{}/flat.npy"], "'{}/flat.npy' must hold a matrix of numbers, got shape (3,) of float64"),
        (["--conductances", "{}/words.csv"], "cannot read '{}/words.csv': could not convert string to float: 'one'"),
        (["--conductances", "{}/g.npy", "--rows", 3], "'{}/g.npy' has 2 rows, not the 3 of --rows"),
        (["--conductances", "{}/g.npy", "--cols", 2], "'{}/g.npy' has 3 cols, not the 2 of --cols"),
        (["--voltages", "{}/v.csv"], "'{}/v.csv' has 2 voltages a line for 8 rows of cells"),
    ],
)
def test_wrong_input_is_one_line(tetrit, files, arguments, message):
    folder = files[0]
    outcome = tetrit("spice", *(str(argument).replace("{}", str(folder)) for argument in arguments))
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == f"tetrit: error: {message.replace('{}', str(folder))}\n"


@pytest.mark.parametrize("name", ["wrong.csv", "objects.npy"])
def test_unreadable_files_are_one_line(tetrit, files, name):
    outcome = tetrit("spice", "--conductances", files[0] / name)
    assert outcome.code == 2
    assert outcome.err.startswith(f"tetrit: error: cannot read '{files[0] / name}': ")
    assert outcome.err.count("\n") == 1
