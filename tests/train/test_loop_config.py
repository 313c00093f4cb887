"""The configuration of `tetrit train`: what it becomes, its fingerprint, and every way to get it wrong."""

import math
import re
from itertools import pairwise

import pytest

from tetrit.errors import InvalidValueError
from tetrit.train.data.sources import Digits, Idx, Stdlib
from tetrit.train.loop import Settings, load_config
from tetrit.train.loop.settings import rate_factor
from tetrit.train.models import GPT, MLP

GOOD = '[data]\nsource = "digits"\n[model]\nname = "mlp"\n[train]\nepochs = 3\n'


@pytest.fixture
def read(tmp_path):
    def make(text):
        path = tmp_path / "some.toml"
        path.write_text(text)
        return load_config(path)

    return make


def test_a_short_configuration_has_the_defaults(read, tmp_path):
    config = read(GOOD)
    assert (config.name, config.seed, config.device, config.threads) == ("some", 0, "cpu", None)
    assert (config.source, config.model, config.settings) == (Digits(), MLP(), Settings(epochs=3))
    assert config.folder == tmp_path
    assert config.quantization is None
    assert config.phases() == (("float", Settings(epochs=3)),)


def test_a_long_configuration_is_read_in_full(read):
    config = read(
        'name = "n"\nseed = 7\ndevice = "cpu"\nthreads = 2\n'
        '[data]\nsource = "stdlib"\nbudget = 5000\nvalidation = 0.1\ntest = 0.2\n'
        '[model]\nname = "gpt"\ncontext = 8\nlayers = 1\nheads = 2\nwidth = 16\ndropout = 0.1\n'
        '[train]\nsteps = 10\nbatch = 4\noptimizer = "sgd"\nrate = 1\nmomentum = 0.5\ndecay = 0\n'
        'schedule = "constant"\nwarmup = 2\nclip = 1.0\npatience = 3\nevaluate_every = 5\ncheckpoint_every = 2\n'
    )
    assert (config.name, config.seed, config.threads) == ("n", 7, 2)
    assert config.source == Stdlib(budget=5000, validation=0.1, test=0.2)
    assert config.model == GPT(context=8, layers=1, heads=2, width=16, dropout=0.1)
    assert config.settings == Settings(
        steps=10,
        batch=4,
        optimizer="sgd",
        rate=1.0,
        momentum=0.5,
        decay=0.0,
        schedule="constant",
        warmup=2,
        clip=1.0,
        patience=3,
        evaluate_every=5,
        checkpoint_every=2,
    )


def test_the_fingerprint_is_of_what_is_meant(read):
    same = 'seed = 0\n[train]\nepochs = 3\nrate = 0.001\n[model]\nname = "mlp"\nhidden = [64, 64]\n'
    same += '[data]\nsource = "digits"'
    assert read(GOOD).sha256 == read(same).sha256
    others = (GOOD.replace("3", "4"), GOOD.replace('"mlp"', '"mlp"\nhidden = [64]'), "seed = 1\n" + GOOD)
    assert len({read(text).sha256 for text in (GOOD, *others)}) == 4


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = = 1", "{}: not valid TOML: Invalid value (at line 1, column 5)"),
        ("sed = 1\n" + GOOD, "{}: unknown key 'sed'; did you mean 'seed'?"),
        ("[train]\nepochs = 3", "{}: [data] is missing"),
        ('[data]\nsource = "digits"', "{}: [model] is missing"),
        (GOOD.replace("[train]\nepochs = 3", ""), "{}: [train] is missing"),
        ("data = 1\nmodel = 2\ntrain = 3", "{}: [data]: must be a table, got 1"),
        ("name = 1\n" + GOOD, "{}: `name` must be a string, got 1"),
        ("seed = -1\n" + GOOD, "{}: `seed` must be an integer from 0 to 4294967295, got -1"),
        ('device = "cud"\n' + GOOD, "{}: unknown device 'cud'; did you mean 'cuda'?"),
        ("threads = 0\n" + GOOD, "{}: `threads` must be an integer from 1 to 4096, got 0"),
        (
            GOOD.replace("source", "sorce"),
            "{}: [data]: `source` is missing; known: digits, fashion, idx, npz, stdlib, text",
        ),
        (GOOD.replace('"digits"', '"digit"'), "{}: [data]: unknown source 'digit'; did you mean 'digits'?"),
        (GOOD.replace('"digits"', "3"), "{}: [data]: `source` must be a string, got 3"),
        (GOOD.replace('"digits"', '"digits"\nheld = 1'), "{}: [data]: unknown key 'held'; did you mean 'held_out'?"),
        (GOOD.replace('"digits"', '"idx"'), "{}: [data]: `train_images` is missing"),
        (
            GOOD.replace('"digits"', '"digits"\nheld_out = 1'),
            "{}: [data]: `held_out` must be above 0 and below 1, got 1",
        ),
        (GOOD.replace('"mlp"', '"mpl"'), "{}: [model]: unknown name 'mpl'; did you mean 'mlp'?"),
        (GOOD.replace('"mlp"', '"mlp"\nhiden = []'), "{}: [model]: unknown key 'hiden'; did you mean 'hidden'?"),
        (
            GOOD.replace('"mlp"', '"mlp"\nhidden = ["a"]'),
            "{}: [model]: `hidden` must be an integer, got 'a'",
        ),
        (GOOD + "batch = 0", "{}: [train]: `batch` must be a positive integer, got 0"),
        (GOOD + "steps = 5", "{}: [train]: exactly one of `epochs` and `steps` must be given, got both"),
        (
            GOOD.replace("epochs = 3", ""),
            "{}: [train]: exactly one of `epochs` and `steps` must be given, got neither",
        ),
        (GOOD + 'optimizer = "adm"', "{}: [train]: unknown optimizer 'adm'; did you mean 'adam'?"),
        (GOOD + 'schedule = "cos"', "{}: [train]: unknown schedule 'cos'; did you mean 'cosine'?"),
        (GOOD + "rate = 0", "{}: [train]: `rate` must be above 0, got 0"),
        (GOOD + "rate = nan", "{}: [train]: `rate` must be finite, got nan"),
        (GOOD + "momentum = 1", "{}: [train]: `momentum` must be at least 0 and below 1, got 1"),
        (
            GOOD + "\n[[quantize.quantize.layer]]\nmatch = '*'\nweight = 'szt'",
            "{}: [quantize]: unknown key 'quantize'; the layers are in [[quantize.layer]]",
        ),
        (GOOD + "patience = -1", "{}: [train]: `patience` must be a non-negative integer, got -1"),
    ],
)
def test_wrong_configurations_are_one_clear_error(read, tmp_path, text, message):
    with pytest.raises(InvalidValueError, match=f"^{re.escape(message.format(tmp_path / 'some.toml'))}$"):
        read(text)


def test_paths_are_part_of_the_configuration_as_written(read):
    text = 'source = "idx"\ntrain_images = "a"\ntrain_labels = "b"\ntest_images = "c"\ntest_labels = "d"'
    config = read(GOOD.replace('source = "digits"', text))
    assert config.source == Idx(train_images="a", train_labels="b", test_images="c", test_labels="d")
    assert config.table()["data"]["train_images"] == "a"


def test_the_cosine_falls_from_one_to_nearly_zero():
    factors = [rate_factor(step, total=100, warmup=10, schedule="cosine") for step in range(100)]
    assert factors[:11] == pytest.approx([*(i / 10 for i in range(1, 11)), 1.0])
    assert all(a > b > 0 for a, b in pairwise(factors[10:]))
    assert factors[55] == pytest.approx(0.5)
    assert factors[-1] == pytest.approx((1 + math.cos(math.pi * 89 / 90)) / 2)


@pytest.mark.parametrize("warmup", [0, 3, 10, 20])
@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_no_rate_leaves_zero_to_one(warmup, schedule):
    factors = [rate_factor(step, total=10, warmup=warmup, schedule=schedule) for step in range(10)]
    assert all(0 < factor <= 1 for factor in factors)
    if schedule == "constant":
        assert factors[warmup:] == [1.0] * max(0, 10 - warmup)
