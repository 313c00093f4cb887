"""Loops over threads: every item once, on as many threads as asked for, and errors that come back."""

import os
import threading
import time

import pytest

from tetrit.parallel import run_each, threads


@pytest.fixture(params=[1, 2, 5])
def n_threads(request, monkeypatch):
    import numba

    monkeypatch.setattr(numba.config, "NUMBA_NUM_THREADS", request.param)
    return request.param


@pytest.mark.parametrize("n", [0, 1, 2, 7, 200])
def test_every_item_is_done_once_before_the_call_returns(n, n_threads):
    done = []

    def task(i):
        time.sleep(0.0005)
        done.append(i)

    run_each(task, n)
    assert sorted(done) == list(range(n))


def test_as_many_threads_work_as_asked_for_and_the_caller_is_one(n_threads):
    assert threads() == n_threads
    seen, meeting = set(), threading.Barrier(n_threads, timeout=20)

    def task(i):
        seen.add(threading.get_ident())
        meeting.wait()  # nobody passes before all are here

    run_each(task, n_threads)
    assert len(seen) == n_threads and threading.get_ident() in seen


def test_no_more_threads_than_items(monkeypatch):
    import numba

    monkeypatch.setattr(numba.config, "NUMBA_NUM_THREADS", 64)
    seen = set()
    run_each(lambda i: seen.add(threading.get_ident()), 1)
    assert seen == {threading.get_ident()}


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt])
def test_an_error_of_any_thread_is_raised_once_all_have_stopped(kind, n_threads):
    running, begun = [0], []

    def task(i):
        begun.append(i)
        running[0] += 1
        try:
            time.sleep(0.002)
            if i == 3:
                raise kind("item 3")
        finally:
            running[0] -= 1

    with pytest.raises(kind, match=r"^item 3$"):
        run_each(task, 1000)
    assert running[0] == 0
    assert len(begun) < 100  # the rest is not begun


def test_callers_do_not_disturb_each_other(n_threads):
    results = {}

    def call(name):
        done = []
        run_each(done.append, 500)
        results[name] = sorted(done)

    callers = [threading.Thread(target=call, args=(name,)) for name in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert [results[name] for name in range(4)] == [list(range(500))] * 4


# a system without fork has no worker threads to lose by it
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_it_works_after_a_fork(n_threads):
    run_each(lambda i: None, 50)
    child = os.fork()
    if child == 0:
        done = []
        run_each(done.append, 50)
        os._exit(0 if sorted(done) == list(range(50)) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
