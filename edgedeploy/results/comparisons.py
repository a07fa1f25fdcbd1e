"""Comparisons in the history: listed without their latencies, which are kept all the same."""

from __future__ import annotations

import datetime as dt
import secrets
import zlib
from typing import TYPE_CHECKING, Literal

import msgspec
from msgspec.structs import replace

from edgedeploy.decoding import decode
from edgedeploy.domain.comparison import Block
from edgedeploy.domain.contest import CompareReport
from edgedeploy.domain.history import PastComparison

if TYPE_CHECKING:
    from edgedeploy.results.documents import Documents


def keep(report: CompareReport, verb: Literal["compare", "gate"], comparisons: Documents[PastComparison]) -> None:
    """Keep every comparison of a report.

    Raises:
        UsageError: the database cannot be written.
    """
    now = dt.datetime.now(dt.UTC)
    for contest in report.comparisons:
        past = PastComparison(
            id=f"{verb}-{now:%Y%m%dT%H%M%S}-{secrets.token_hex(4)}",
            created_at=now.isoformat(timespec="milliseconds"),
            project=report.project,
            target=report.target,
            verb=verb,
            contest=replace(contest, measured=()),
        )
        comparisons.add(past, zlib.compress(msgspec.json.encode(contest.measured)))


def whole(past: PastComparison, bulk: bytes) -> PastComparison:
    """The same with every latency."""
    measured = decode(zlib.decompress(bulk), tuple[Block, ...]) if bulk else ()
    return replace(past, contest=replace(past.contest, measured=measured))
