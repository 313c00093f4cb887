"""Native tasks of compiled loops: each item once, the same result as of one call, on any number of threads."""

import ctypes
import threading

import numpy as np
import pytest
from numba import njit

from tetrit import native

COUNT, LENGTH = 37, 1000


@njit(nogil=True)
def fill(x, factor, whole, single, flip, count, out, seen, first, last):
    for i in range(first, last):
        seen[i] += 1
        for k in range(x.shape[1]):
            value = x[i, k] * factor + whole + single + np.float64(count)
            out[k, i, 0] = -value if flip else value


@njit(nogil=True)
def all_small(x, limit, first, last):
    return np.abs(x[first:last]).max() <= limit


@njit(nogil=True)
def fails(x, first, last):
    for i in range(first, last):
        if x[i, 0] < 0:
            raise ValueError("a negative one")


def fork(task, words, threads):
    """Let threads of Python be the team: a foreign function does not hold Python's lock."""
    function = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(task)
    others = [threading.Thread(target=function, args=(words,)) for _ in range(threads - 1)]
    for other in others:
        other.start()
    function(words)
    for other in others:
        other.join()


@pytest.fixture(params=[1, 2, 5])
def team(request):
    return native.Team(fork=fork, size=lambda: request.param)


@pytest.fixture
def x():
    return np.random.default_rng(1).standard_normal((COUNT, LENGTH)).astype(np.float32)


@pytest.mark.parametrize("flip", [False, True])
def test_every_kind_of_argument(team, x, flip):
    found, wanted = np.zeros((2, LENGTH, COUNT, 1))
    seen, other = np.zeros((2, COUNT), np.int64)
    args = x, 0.3, -7, np.float32(0.1), flip, np.uint64(2**63 + 1)
    assert native.run(team, fill, (*args, found, seen), COUNT, LENGTH)
    fill(*args, wanted, other, 0, COUNT)
    assert found.any() and found.tobytes() == wanted.tobytes()
    assert (seen == 1).all()


@pytest.mark.parametrize("row", [None, 0, COUNT - 1])
def test_whether_no_block_gave_false(team, x, row):
    if row is not None:
        x[row, 3] = 9
    x.flags.writeable = False
    assert native.run(team, all_small, (x, 8.0), COUNT, LENGTH) is (row is None)


def test_what_a_loop_raises_is_raised(team, x):
    x[:, 0] = 1
    assert native.run(team, fails, (x,), COUNT, LENGTH)
    x[20, 0] = -1
    with pytest.raises(ValueError, match=r"^a negative one$"):
        native.run(team, fails, (x,), COUNT, LENGTH)


@pytest.mark.parametrize("case", ["small", "one item", "strided", "tuple", "large", "not compiled"])
def test_what_is_no_task_is_done_at_once(case, x):
    def refuse(*_):
        raise AssertionError("no thread has anything to do here")

    refusing = native.Team(fork=refuse, size=lambda: 2)
    kernel, given, n = all_small, x, COUNT
    if case == "small":
        given = x[:, :10].copy()
    elif case == "one item":
        n = 1
    elif case == "strided":
        given = x[:, ::2]
    elif case == "not compiled":
        kernel = all_small.py_func
    elif case == "large":
        assert native.run(refusing, njit(lambda x, one, first, last: x[0, 0] < one), (x, 2**64 - 1), n, LENGTH)
        return
    elif case == "tuple":
        assert native.run(refusing, njit(lambda x, pair, first, last: x[0, 0] < pair[0]), (x, (9.0, 1.0)), n, LENGTH)
        return
    assert native.run(refusing, kernel, (given, 8.0), n, given.shape[1])
    assert not native.run(refusing, kernel, (given, 1e-9), n, given.shape[1])


def test_a_task_without_a_team(x):
    from numba import float32, float64

    task = native.Task(all_small, (float32[:, ::1], float64))
    assert task(None, COUNT, LENGTH, x.ctypes.data, *x.shape, 8.0) is True
    assert task(None, COUNT, LENGTH, x.ctypes.data, *x.shape, 1.0) is False
    assert task(None, 0, LENGTH, x.ctypes.data, *x.shape, 1.0) is True
