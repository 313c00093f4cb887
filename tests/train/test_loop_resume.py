"""The loop gives the same result every time, and after any interruption."""

import os
import random
import re
import signal
import threading

import numpy as np
import pytest
import torch

from tetrit.train.loop import Interrupted, checkpoint, generators, load_config, run

NAMES = ("mlp", "vgg", "gpt", "quantised", "patient")


def left_behind(folder):
    """Return the bytes of the metrics and the tensors of the model."""
    state = torch.load(folder / "model.pt", weights_only=True)
    tensors = {name: value.numpy().tobytes() for name, value in state.items() if isinstance(value, torch.Tensor)}
    assert tensors
    return (folder / "metrics.json").read_bytes(), tensors


def kill_at(step, number=signal.SIGINT):
    def callback(phase, done):
        if done == step:
            os.kill(os.getpid(), number)

    return callback


@pytest.mark.parametrize("name", NAMES)
def test_the_same_again(config, tmp_path, name, texts):
    """Whatever the generators' states are before."""
    results = []
    for place in range(2):
        torch.rand(place + 1), np.random.rand(place + 1), random.random()  # noqa: NPY002
        run(config(name), tmp_path / str(place))
        results.append(left_behind(tmp_path / str(place)))
    assert results[0] == results[1]
    other = config("seed = 1\n" + texts[name])
    run(other, tmp_path / "other")
    assert left_behind(tmp_path / "other")[1] != results[0][1]


def test_the_same_again_on_two_threads(tmp_path, texts):
    path = tmp_path / "two.toml"
    path.write_text("threads = 2\n" + texts["vgg"].replace("[2, 3]", "[16, 16]").replace("epochs = 2", "steps = 4"))
    for place in "ab":
        run(load_config(path), tmp_path / place)
    assert left_behind(tmp_path / "a") == left_behind(tmp_path / "b")


@pytest.mark.parametrize("name", NAMES)
def test_stopped_anywhere_and_resumed_it_is_the_same(config, tmp_path, name, texts, stop_at):
    chosen = config(name)
    steps = 0

    def count(phase, done):
        nonlocal steps
        steps += 1

    run(chosen, tmp_path / "whole", after_step=count)
    expected = left_behind(tmp_path / "whole")
    first = 5 if "checkpoint_every" in texts[name] else 4
    for stop in {first, steps // 2, steps - 1, steps}:
        out = tmp_path / f"stopped{stop}"
        with pytest.raises(stop_at.error):
            run(chosen, out, after_step=stop_at(stop))
        assert not (out / "model.pt").exists()
        run(chosen, out, resume=True)
        assert left_behind(out) == expected


@pytest.mark.parametrize("name", ["quantised", "gpt"])
def test_interrupted_many_times_it_is_the_same(config, tmp_path, name):
    chosen = config(name)
    run(chosen, tmp_path / "whole")
    resume = False
    for _ in range(100):
        try:
            run(chosen, tmp_path / "out", resume=resume, after_step=kill_every(7))
            break
        except Interrupted:
            resume = True
    assert resume
    assert left_behind(tmp_path / "out") == left_behind(tmp_path / "whole")


def kill_every(steps):
    count = 0

    def callback(phase, done):
        nonlocal count
        count += 1
        if count == steps:
            os.kill(os.getpid(), signal.SIGINT)

    return callback


@pytest.mark.parametrize("name", ["vgg", "gpt", "quantised"])
def test_without_the_generators_states_it_is_not_the_same(config, tmp_path, monkeypatch, name):
    """The tests above can fail: these networks draw in every step."""
    run(config(name), tmp_path / "whole")
    with pytest.raises(Interrupted):
        run(config(name), tmp_path / "out", after_step=kill_every(12 if name == "quantised" else 5))
    monkeypatch.setattr(generators, "set_states", lambda states: None)
    run(config(name), tmp_path / "out", resume=True)
    assert left_behind(tmp_path / "out") != left_behind(tmp_path / "whole")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_says_where_and_leaves_a_checkpoint(config, tmp_path, number):
    path = tmp_path / "out" / "checkpoint.pt"
    message = f"interrupted at step 6 of 23 of the float phase; its checkpoint is '{path}'"
    before = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(Interrupted, match=f"^{re.escape(message)}$"):
        run(config("mlp"), tmp_path / "out", after_step=kill_at(6, number))
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == before
    assert checkpoint.read(path)["trainer"]["step"] == 6


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
def test_a_second_interrupt_does_not_wait(config, tmp_path, first, second):
    def twice(phase, done):
        os.kill(os.getpid(), first)
        os.kill(os.getpid(), second)

    with pytest.raises(KeyboardInterrupt) as caught:
        run(config("mlp"), tmp_path / "out", after_step=twice)
    assert not isinstance(caught.value, Interrupted)


@pytest.mark.parametrize("theirs", ["a handler", signal.SIG_IGN])
def test_a_sigterm_that_is_not_ours_is_left_alone(config, tmp_path, theirs):
    seen = []
    handler = (lambda number, frame: seen.append(number)) if theirs == "a handler" else theirs
    before = signal.signal(signal.SIGTERM, handler)
    try:
        done = run(config("mlp"), tmp_path / "out", after_step=kill_at(6, signal.SIGTERM))
        assert signal.getsignal(signal.SIGTERM) is handler
    finally:
        signal.signal(signal.SIGTERM, before)
    assert done["finished"]
    assert seen == ([signal.SIGTERM] if theirs == "a handler" else [])


def test_threads_may_train_too(config, tmp_path):
    done = []
    thread = threading.Thread(target=lambda: done.append(run(config("mlp"), tmp_path / "out")))
    thread.start()
    thread.join()
    assert done[0]["finished"]


def test_everything_is_put_back(config, tmp_path, stop_at):
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002
    random.seed(5)
    threads = torch.get_num_threads()
    expected = torch.rand(3), np.random.rand(3), random.random()  # noqa: NPY002
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002
    random.seed(5)
    with pytest.raises(stop_at.error):
        run(config("quantised"), tmp_path / "out", after_step=stop_at(11))
    assert torch.equal(torch.rand(3), expected[0])
    assert np.array_equal(np.random.rand(3), expected[1])  # noqa: NPY002
    assert random.random() == expected[2]
    assert torch.get_num_threads() == threads
    assert not torch.are_deterministic_algorithms_enabled()


def test_callbacks_may_draw_from_any_generator(config, tmp_path):
    drawn = []

    def draw(phase, done):
        drawn.append((torch.rand(()).item(), np.random.rand(), random.gauss(0, 1)))  # noqa: NPY002

    run(config("mlp"), tmp_path / "whole", after_step=draw)
    expected, drawn = drawn, []

    def draw_and_stop(phase, done):
        draw(phase, done)
        if done == 8:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted):
        run(config("mlp"), tmp_path / "out", after_step=draw_and_stop)
    run(config("mlp"), tmp_path / "out", resume=True, after_step=draw)
    assert drawn == expected
