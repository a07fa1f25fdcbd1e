"""Several jobs at once: results in order, and a stop that ends those under way."""

from __future__ import annotations

import threading

import pytest

from edgedeploy.fanout import at_once


def nothing() -> None:
    pytest.fail("stop was called")


def test_results_come_in_the_order_of_the_jobs() -> None:
    first_may_end = threading.Event()

    def slow() -> int:
        assert first_may_end.wait(10)
        return 1

    def quick() -> int:
        first_may_end.set()
        return 2

    assert at_once([slow, quick], limit=2, stop=nothing) == (1, 2)


def test_a_single_job_runs_in_the_calling_thread() -> None:
    assert at_once([threading.get_ident], limit=8, stop=nothing) == (threading.get_ident(),)


def test_no_more_than_the_limit_run_at_once() -> None:
    lock = threading.Lock()
    running, most = 0, 0

    def job() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        threading.Event().wait(0.01)
        with lock:
            running -= 1

    at_once([job] * 8, limit=3, stop=nothing)
    assert most <= 3


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_a_failure_stops_the_others_and_is_raised_after_they_ended(error: type[BaseException]) -> None:
    started = threading.Event()
    stopped = threading.Event()
    ended = threading.Event()

    def fails() -> None:
        assert started.wait(10)
        raise error

    def waits() -> None:
        started.set()
        assert stopped.wait(10)
        ended.set()

    with pytest.raises(error):
        at_once([waits, fails], limit=2, stop=stopped.set)
    assert ended.is_set()
