"""The configuration of a comparison: what it becomes, and one line for everything that is wrong with it."""

import re
from pathlib import Path

import pytest

from tetrit.errors import InvalidValueError
from tetrit.train import compare
from tetrit.train.compare.config import Cell

ROOT = Path(__file__).parents[2]

HEAD = 'seeds = [3, 1]\nbaseline = "float"\n'
TASK = (
    '[task.digits.data]\nsource = "digits"\n[task.digits.model]\nname = "mlp"\nhidden = [8]\n'
    "[task.digits.train]\nsteps = 4\n[task.digits.quantize]\nfloat_epochs = 1\n"
    '[[task.digits.quantize.layer]]\nmatch = "layers.0"\nactivation = "lsq"\n'
    '[[task.digits.quantize.layer]]\nmatch = "*"\nweight = {name = "ste", format = "int8"}\n'
)
FLOAT = '[[estimator]]\nlabel = "float"\nweight = "float"\n'
SZT = '[[estimator]]\nlabel = "SZT, slope"\nweight = {name = "szt", axis = "output"}\n'
WHOLE = HEAD + TASK + FLOAT + SZT


@pytest.fixture
def load(tmp_path):
    def make(text):
        path = tmp_path / "c.toml"
        path.write_text(text)
        return compare.load_config(path)

    return make


def test_a_cell_is_a_training_with_the_estimator_where_no_weight_is_named(load, tmp_path):
    config = load(WHOLE)
    floats, cells = config.cells(tmp_path)
    assert [(c.task, c.estimator, c.seed) for c in floats] == [("digits", None, 3), ("digits", None, 1)]
    assert [(c.estimator, c.seed) for c in cells] == [("float", 3), ("SZT, slope", 3), ("float", 1), ("SZT, slope", 1)]
    last = cells[-1]
    assert isinstance(last, Cell)
    assert last.folder == tmp_path / "cells/digits/szt-slope/seed-1"
    assert last.float_run == tmp_path / "float/digits/seed-1" == floats[1].folder
    assert (last.config.seed, last.config.threads, last.config.name) == (1, 1, "digits")
    assert last.config.table()["quantize"]["layer"] == [
        {"match": "layers.0", "activation": "lsq", "weight": {"name": "szt", "axis": "output"}},
        {"match": "*", "weight": {"name": "ste", "format": "int8"}},
    ]
    assert floats[1].config.sha256 == last.config.float_part().sha256 == cells[2].config.float_part().sha256
    assert [name for name, _ in floats[1].config.phases()] == ["float"]


def test_without_float_epochs_there_is_no_float_network(load, tmp_path):
    floats, cells = load(WHOLE.replace("float_epochs = 1", "")).cells(tmp_path)
    assert floats == []
    assert all(cell.float_run is None for cell in cells)


def test_defaults(load):
    config = load("seeds = [0]\n" + TASK + SZT)
    assert (config.name, config.baseline, config.device) == ("c", "SZT, slope", "cpu")
    assert config.estimators[0].tasks == ("digits",)
    assert config.table()["estimator"][0]["curve"] is False


def test_an_estimator_may_leave_tasks_out(load, tmp_path):
    two = WHOLE + TASK.replace("task.digits", "task.other")
    config = load(two.replace('label = "SZT', 'tasks = ["other"]\nlabel = "SZT'))
    _, cells = config.cells(tmp_path)
    assert [c.task for c in cells if c.estimator == "SZT, slope"] == ["other", "other"]


WRONG = {
    "no seeds": (WHOLE.replace("seeds = [3, 1]", ""), "`seeds` is missing"),
    "empty seeds": (
        WHOLE.replace("[3, 1]", "[]"),
        "`seeds` must be a list of integers with at least one, got []",
    ),
    "twice": (WHOLE.replace("[3, 1]", "[3, 3]"), "`seeds` must differ, got 3 twice"),
    "negative": (WHOLE.replace("[3, 1]", "[-1]"), "`seeds` must be an integer from 0 to 4294967295, got -1"),
    "baseline": (
        WHOLE.replace('baseline = "float"', 'baseline = "flot"'),
        "unknown baseline 'flot'; did you mean 'float'?",
    ),
    "estimator": (
        WHOLE.replace('"szt"', '"szr"'),
        "estimator 2 ('SZT, slope'): `weight`: unknown estimator 'szr'; did you mean 'szt'?",
    ),
    "field": (
        WHOLE.replace("axis =", "axes ="),
        "estimator 2 ('SZT, slope'): `weight`: unknown parameter of 'szt' 'axes'; did you mean 'axis'?",
    ),
    "key": (
        WHOLE + 'wieght = "szt"\n',
        "estimator 2 ('SZT, slope'): unknown key 'wieght'; did you mean 'weight'?",
    ),
    "no weight": (
        HEAD + TASK + FLOAT + '[[estimator]]\nlabel = "a"\n',
        "estimator 2 ('a'): `weight` is missing",
    ),
    "no label": (HEAD + TASK + FLOAT + '[[estimator]]\nweight = "szt"\n', "estimator 2: `label` is missing"),
    "same label": (
        WHOLE + SZT.replace("SZT, slope", "szt slope"),
        "estimator 3 ('szt slope'): another estimator has the same label, or one that differs in signs only",
    ),
    "signs": (WHOLE + SZT.replace("SZT, slope", "+-"), "estimator 3 ('+-'): `label` must have a letter or a digit"),
    "task of": (
        WHOLE + 'tasks = ["digit"]\n',
        "estimator 2 ('SZT, slope'): unknown task 'digit'; did you mean 'digits'?",
    ),
    "no tasks of": (
        WHOLE + "tasks = []\n",
        "estimator 2 ('SZT, slope'): `tasks` must be a list of names with at least one, got []",
    ),
    "curve": (WHOLE + "curve = 1\n", "estimator 2 ('SZT, slope'): `curve` must be true or false, got 1"),
    "no estimator": (HEAD + TASK, "at least one [[estimator]] is needed"),
    "no task": (HEAD + FLOAT, "at least one table [task.NAME] is needed"),
    "task's name": (
        WHOLE.replace("task.digits", 'task."a/b"'),
        "task 'a/b': a name must be of small letters, digits, '-' and '_'",
    ),
    "section": (
        WHOLE.replace("digits.train", "digits.trian"),
        "task 'digits': unknown key 'trian'; did you mean 'train'?",
    ),
    "setting": (
        WHOLE.replace("steps =", "stesp ="),
        "task 'digits': [train]: unknown key 'stesp'; did you mean 'steps'?",
    ),
    "no place": (
        WHOLE.replace('activation = "lsq"', 'weight = "szt"'),
        "task 'digits': [quantize]: every layer has a `weight`, so no estimator would be used",
    ),
    "no quantize": (
        HEAD + TASK.partition("[task.digits.quantize]")[0] + FLOAT,
        "task 'digits': [quantize] is missing, which says where the estimators go",
    ),
    "unknown": (WHOLE.replace("seeds", "seed"), "unknown key 'seed'; did you mean 'seeds'?"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_named_with_its_place(load, tmp_path, case):
    text, message = WRONG[case]
    with pytest.raises(InvalidValueError, match=f"^{re.escape(f'{tmp_path}/c.toml: {message}')}$"):
        load(text)


@pytest.mark.parametrize(("name", "estimators", "tasks"), [("digits", 5, 1), ("study", 32, 3)])
def test_the_examples_load(name, estimators, tasks):
    config = compare.load_config(ROOT / "examples" / "compare" / f"{name}.toml")
    assert (len(config.estimators), len(config.tasks)) == (estimators, tasks)


def test_the_manual_names_the_configuration_of_its_study():
    config = compare.load_config(ROOT / "examples" / "compare" / "study.toml")
    assert f"`{config.sha256}`" in (ROOT / "docs" / "study.md").read_text(encoding="utf-8")
