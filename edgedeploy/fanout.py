"""Several things at once, without losing Ctrl-C."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import TypeVar

T = TypeVar("T")


def at_once(jobs: Sequence[Callable[[], T]], *, limit: int, stop: Callable[[], None]) -> tuple[T, ...]:
    """Run all jobs, ``limit`` at a time, and return their results in order.

    When one raises, or on Ctrl-C, ``stop`` is called: it has to make the jobs that are under way end soon. What was raised
    is raised again after they have. A single job, or ``limit`` 1, runs in the calling
    thread, where an interruption reaches it by itself.
    """
    if len(jobs) == 1 or limit == 1:
        return tuple(job() for job in jobs)
    pool = ThreadPoolExecutor(limit)
    try:
        futures = [pool.submit(job) for job in jobs]
        done, _ = wait(futures, return_when=FIRST_EXCEPTION)
        for future in done:
            future.result()  # raises what the first one to fail raised
        return tuple(future.result() for future in futures)
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        stop()
        raise
    finally:
        pool.shutdown(wait=True)
