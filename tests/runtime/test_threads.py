"""The thread pool: each task once, errors, nesting, several callers, fork."""

import multiprocessing
import threading

import numpy as np
import pytest

from gluonzip import _core, runtime
from gluonzip.errors import ConfigError, DataError

testing = _core.testing

THREADS = [1, 2, 3, 8]


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("tasks", [0, 1, 2, 7, 100])
def test_each_task_runs_once_a_job(threads, tasks):
    assert testing.pool_counts(threads, tasks, 200) == [200] * tasks


def test_workers_wake_up_after_sleeping():
    # Longer than the spin: rounds of one task keep the workers asleep for the next job.
    for _ in range(20):
        assert testing.pool_counts(4, 50, 3) == [3] * 50


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("bad", [0, 17, 63])
def test_an_error_in_a_task_reaches_the_caller_and_the_pool_lives_on(threads, bad):
    with pytest.raises(DataError, match=f"^task {bad} failed$"):
        testing.pool_throw(threads, 64, bad)


@pytest.mark.parametrize("threads", THREADS)
def test_a_nested_job_runs_in_place(threads):
    assert testing.pool_nested(threads, 20, 30) == 600


@pytest.mark.parametrize("callers", [2, 5])
def test_callers_take_turns(callers):
    assert testing.pool_shared(3, callers, 40, 25) == [25 * 40 * 39 // 2] * callers


@pytest.mark.parametrize("threads", [-1, 1025])
def test_number_of_threads_out_of_range(threads):
    with pytest.raises(
        ConfigError, match=rf"threads is {threads}, must be 0 \(all cores\) to 1024"
    ):
        testing.pool_counts(threads, 1, 1)


def operands():
    rng = np.random.default_rng(0)
    x = rng.integers(-127, 128, (2, 24, 13, 11)).astype(np.int8)
    return x, rng.integers(-127, 128, (37, 24, 3, 3)).astype(np.int8)


def test_results_do_not_depend_on_the_number_of_threads():
    x, w = operands()
    f = [a.astype(np.float32) / 11 for a in (x, w)]
    for threads in (2, 3, 5, 16):
        np.testing.assert_array_equal(
            runtime.conv2d_s8(x, w, pad=1, threads=threads),
            runtime.conv2d_s8(x, w, pad=1, threads=1),
        )
        np.testing.assert_array_equal(
            runtime.conv2d_f32(*f, pad=1, threads=threads),
            runtime.conv2d_f32(*f, pad=1, threads=1),
        )


def test_several_python_threads_at_once():
    x, w = operands()
    want, wrong = runtime.conv2d_s8(x, w), []

    def work():
        for _ in range(20):
            if not (runtime.conv2d_s8(x, w, threads=2) == want).all():
                wrong.append(threading.current_thread().name)

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert not any(worker.is_alive() for worker in workers)
    assert wrong == []


def _sum_in_child(x, w, queue):
    queue.put(int(runtime.conv2d_s8(x, w, threads=2).sum()))


def test_a_forked_child_computes_without_the_threads_of_its_parent():
    x, w = operands()
    want = int(runtime.conv2d_s8(x, w, threads=2).sum())  # starts the parent's pool
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_sum_in_child, args=(x, w, queue))
    child.start()
    assert queue.get(timeout=60) == want
    child.join(60)
    assert child.exitcode == 0
