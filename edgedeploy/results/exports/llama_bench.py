"""Language models as ``llama-bench -o json`` tells them: one record for the prompt (pp), one for what is generated (tg).

Defined by ggml-org/llama.cpp, ``tools/llama-bench/llama-bench.cpp`` (``test::get_fields``, ``json_printer``). A repetition is a
process here, ``model_size`` the size of the artifact. Fields of llama.cpp's own settings and build are left out. Our tokens are
generated behind the prompt: ``n_depth``. The first one belongs to the time to first token, and is not among them.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from statistics import fmean, stdev

import msgspec

from edgedeploy.domain.measurement import Generation
from edgedeploy.domain.result import RunResult


class Test(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One record. ``avg_ts`` and ``samples_ts`` are tokens per second."""

    cpu_info: str = ""
    backends: str
    model_type: str
    model_size: int | None = None
    model_n_params: int | None = None
    n_threads: int | None = None
    n_prompt: int
    n_gen: int
    n_depth: int
    test_time: str
    avg_ns: int
    stddev_ns: int | None = None
    avg_ts: float
    stddev_ts: float | None = None
    samples_ns: list[int]
    samples_ts: list[float]


def takes(run: RunResult) -> bool:
    """A language model that said something, in time that a clock can tell."""
    return any(True for _ in _tests(run))


def render(runs: Sequence[RunResult]) -> str:
    """A JSON array."""
    tests = [test for run in runs for test in _tests(run)]
    return msgspec.json.format(msgspec.json.encode(tests)).decode() + "\n"


def _tests(run: RunResult) -> Iterator[Test]:
    spoken = [process.generation for process in run.processes if process.generation is not None]
    for tokens in dict.fromkeys(one.prompt_tokens for one in spoken):
        yield from _test(run, [one.prefill_ns for one in spoken if one.prompt_tokens == tokens], n_prompt=tokens)
    for shape in dict.fromkeys(map(_shape, spoken)):
        times_ns = [sum(one.decode_ns) for one in spoken if _shape(one) == shape]
        yield from _test(run, times_ns, n_gen=shape[1], n_depth=shape[0])


def _shape(one: Generation) -> tuple[int, int]:
    return one.prompt_tokens, len(one.decode_ns)


def _test(run: RunResult, times_ns: Sequence[int], *, n_prompt: int = 0, n_gen: int = 0, n_depth: int = 0) -> Iterator[Test]:
    tokens = n_prompt + n_gen
    if not tokens or min(times_ns) <= 0:
        return
    rates = [1e9 * tokens / time_ns for time_ns in times_ns]
    several = len(times_ns) > 1
    facts = run.environment.before if run.environment else None
    yield Test(
        cpu_info=(facts.soc or facts.model or "") if facts else "",
        backends=run.lane.backend,
        model_type=f"{run.model} {run.lane.id}",
        model_size=run.artifact.size_bytes if run.artifact else None,
        model_n_params=(run.artifact.parameters or None) if run.artifact else None,
        n_threads=run.environment.threads if run.environment else None,
        n_prompt=n_prompt,
        n_gen=n_gen,
        n_depth=n_depth,
        test_time=_utc(run.created_at),
        avg_ns=int(fmean(times_ns)),
        stddev_ns=int(stdev(times_ns)) if several else None,
        avg_ts=fmean(rates),
        stddev_ts=stdev(rates) if several else None,
        samples_ns=list(times_ns),
        samples_ts=rates,
    )


def _utc(created_at: str) -> str:
    moment = dt.datetime.fromisoformat(created_at)
    moment = moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
    return f"{moment.astimezone(dt.UTC):%Y-%m-%dT%H:%M:%SZ}"
