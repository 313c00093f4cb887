"""What tests of the training loop share: small configurations, and how a test reads them."""

import pytest

IMAGES = '[data]\nsource = "digits"\n'
TEXT = '[data]\nsource = "text"\npath = "text"\nvalidation = 0.1\ntest = 0.1\n'
CONFIGS = {
    "mlp": IMAGES + '[model]\nname = "mlp"\nhidden = [8]\n[train]\nsteps = 23\nbatch = 128\ncheckpoint_every = 4\n',
    "vgg": IMAGES
    + '[model]\nname = "vgg"\nwidths = [2, 3]\ndepth = 1\nhidden = [5, 4]\ndropout = 0.2\n'
    + '[train]\nepochs = 2\nbatch = 128\noptimizer = "sgd"\nrate = 0.05\nclip = 1.0\ncheckpoint_every = 5\n',
    "gpt": TEXT
    + '[model]\nname = "gpt"\ncontext = 8\nlayers = 1\nheads = 2\nwidth = 8\ndropout = 0.1\n'
    + "[train]\nsteps = 12\nbatch = 8\nevaluate_every = 5\nwarmup = 3\ncheckpoint_every = 4\n",
    "quantised": IMAGES
    + '[model]\nname = "mlp"\nhidden = [8, 8]\n'
    + "[train]\nsteps = 14\nbatch = 128\nevaluate_every = 5\ncheckpoint_every = 4\n"
    + "[quantize]\nfloat_epochs = 1\n"
    + '[[quantize.layer]]\nmatch = "layers.2"\nweight = {name = "stochastic_rounding", format = "int2"}\n'
    + '[[quantize.layer]]\nmatch = "*"\nweight = {name = "szt", axis = "output"}\n'
    + 'activation = {name = "lsq", format = "int4"}\n',
    "patient": IMAGES
    + '[model]\nname = "mlp"\nhidden = [8]\n'
    + '[train]\nsteps = 60\nbatch = 128\nrate = 0.2\nschedule = "constant"\npatience = 2\nevaluate_every = 3\n',
}


@pytest.fixture(scope="session")
def texts():
    """Configurations by name, as TOML; ``"images"`` and ``"text"`` have the table of the data only."""
    return CONFIGS | {"images": IMAGES, "text": TEXT}


@pytest.fixture
def config(tmp_path):
    """Read a configuration, by name or as TOML, beside a short text."""
    from tetrit.train.loop import load_config

    (tmp_path / "text").write_bytes(b"the quick brown fox jumps over the lazy dog, 0123456789 times.\n" * 30)

    def make(text):
        path = tmp_path / "config.toml"
        path.write_text("threads = 1\n" + CONFIGS.get(text, text))
        return load_config(path)

    return make


class Stopped(Exception):  # noqa: N818  no error
    """What stops a training in a test."""


@pytest.fixture
def stop_at():
    """Return what makes a callback that raises ``stop_at.error`` after a step, counted over all phases."""

    def make(step):
        count = 0

        def callback(phase, done):
            nonlocal count
            count += 1
            if count == step:
                raise Stopped

        return callback

    make.error = Stopped
    return make
