"""A run as rows of the tables, and back. Pure: no database in here."""

from __future__ import annotations

import datetime as dt
import struct
from collections.abc import Mapping, Sequence
from itertools import chain

import msgspec
from msgspec.structs import replace

from edgedeploy.decoding import convert, decode
from edgedeploy.domain.measurement import ProcessSamples
from edgedeploy.domain.result import RunResult
from edgedeploy.errors import InternalError

_SERIES = ("warmup_ns", "latency_ns")

Value = str | int | bool | bytes | None


def run_row(run: RunResult) -> dict[str, Value]:
    """The row of ``edgedeploy_runs``: searchable columns, and the document without samples, which the processes' rows have.

    Raises:
        InternalError: ``created_at`` is no ISO 8601 time.
    """
    joined = run.latency_ns is not None and run.latency_ns.samples == _all_samples(run.processes)
    latency = replace(run.latency_ns, samples=()) if joined and run.latency_ns is not None else run.latency_ns
    processes = run.processes if _generated(run.processes) else tuple(map(_without_samples, run.processes))
    bare = replace(run, processes=processes, latency_ns=latency)
    return {
        "id": run.id,
        "created_us": microseconds(run.created_at),
        "project": run.project,
        "model": run.model,
        "recipe": run.recipe,
        "target": run.target,
        "device": run.device,
        "lane": run.lane.id,
        "mode": run.mode,
        "status": run.verdict.status,
        "latency_p50_ns": None if run.latency_ns is None else run.latency_ns.p50,
        "samples_from_processes": joined,
        "document": msgspec.json.encode(bare).decode(),
    }


def process_rows(run: RunResult) -> list[dict[str, Value]]:
    """The rows of ``edgedeploy_processes``, one per process, in order."""
    return [
        {
            "run_id": run.id,
            "position": position,
            "load_ns": process.load_ns,
            "first_inference_ns": process.first_inference_ns,
            "peak_rss_bytes": process.peak_rss_bytes,
            "rss_before_load_bytes": process.rss_before_load_bytes,
            "warmup_ns": pack(process.warmup_ns),
            "latency_ns": pack(process.latency_ns),
        }
        for position, process in enumerate(run.processes)
    ]


def to_process(row: Mapping[str, object]) -> ProcessSamples:
    """One process from its row.

    Raises:
        msgspec.ValidationError: the row is not one of this version's.
    """
    values = {name: row[name] for name in ("load_ns", "first_inference_ns", "peak_rss_bytes", "rss_before_load_bytes")}
    return convert(values | {name: unpack(row[name]) for name in _SERIES}, ProcessSamples)


def to_run(document: str, processes: tuple[ProcessSamples, ...], *, samples_from_processes: bool) -> RunResult:
    """The run as it was added.

    Raises:
        msgspec.ValidationError: the document is not one of this version's.
    """
    run = decode(document, RunResult)
    if _generated(run.processes):
        processes = run.processes
    elif len(run.processes) == len(processes):  # documents had no processes until there were facts without a column
        processes = tuple(
            replace(told, warmup_ns=row.warmup_ns, latency_ns=row.latency_ns)
            for told, row in zip(run.processes, processes, strict=True)
        )
    latency = run.latency_ns
    if latency is not None and samples_from_processes:
        latency = replace(latency, samples=_all_samples(processes))
    return replace(run, processes=processes, latency_ns=latency)


def pack(samples: Sequence[int]) -> bytes:
    """Little-endian int64, eight bytes per sample."""
    return struct.pack(f"<{len(samples)}q", *samples)


def unpack(blob: object) -> tuple[int, ...]:
    """What :func:`pack` was given.

    Raises:
        msgspec.ValidationError: the blob is none, or not a whole number of samples.
    """
    if not isinstance(blob, bytes | memoryview) or len(blob) % 8:
        raise msgspec.ValidationError("a series of samples is not whole")
    return struct.unpack(f"<{len(blob) // 8}q", blob)


def microseconds(created_at: str) -> int:
    """Since 1970 in UTC.

    Raises:
        InternalError: it is no ISO 8601 time.
    """
    try:
        moment = dt.datetime.fromisoformat(created_at)
    except ValueError as error:
        raise InternalError("created_at is no ISO 8601 time", seen=created_at) from error
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=dt.UTC)
    return (moment - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(microseconds=1)


def _without_samples(process: ProcessSamples) -> ProcessSamples:
    return replace(process, warmup_ns=(), latency_ns=())


def _generated(processes: tuple[ProcessSamples, ...]) -> bool:
    """Whether a language model spoke: that has a few samples per token and no column of its own, and stays in the document."""
    return any(process.generation is not None for process in processes)


def _all_samples(processes: tuple[ProcessSamples, ...]) -> tuple[int, ...]:
    return tuple(chain.from_iterable(process.latency_ns for process in processes))
