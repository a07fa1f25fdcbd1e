"""What a comparison found, for a terminal or a pipe."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from edgedeploy.domain.contest import CompareReport, Contender, Contest, Performance
from edgedeploy.report import units
from edgedeploy.report.circumstances import beforehand
from edgedeploy.report.layout import status_text
from edgedeploy.report.words import ratio_words

if TYPE_CHECKING:
    from rich.console import Console

_OUTPUTS = {
    True: "their outputs are the same",
    False: "their outputs are not the same, byte for byte",
    None: "their outputs were not compared: their golden inputs differ, or a runner told no digests",
}


def print_comparison(report: CompareReport, console: Console | None = None) -> None:
    """A block of lines per comparison: the verdict, both sides, the ratio that decides, further ratios, reasons."""
    from rich.console import Console
    from rich.text import Text

    console = console or Console()
    for index, contest in enumerate(report.comparisons):
        if index:
            console.print()
        console.print(Text(_title(contest)), status_text(contest.verdict), sep="  ")
        for line in _lines(contest):
            console.print(Text(f"  {units.clean(line)}"), soft_wrap=True)


def _title(contest: Contest) -> str:
    names = [f"{side.model} {side.lane.id}" for side in (contest.base, contest.candidate)]
    return units.clean(f"{' against '.join(dict.fromkeys(names))} on {contest.device}")


def _lines(contest: Contest) -> Iterator[str]:
    if contest.base_performance and contest.candidate_performance:
        yield _side("base", contest.base, contest.base_performance)
        yield _side("candidate", contest.candidate, contest.candidate_performance)
        spent = f"{contest.blocks} blocks, {contest.samples:,} samples, {contest.seconds:.0f} s"
        first, *further = (f"{ratio_words(one)}; up to {1 + one.tolerance:g} is tolerated" for one in contest.decided)
        yield from (f"{first} ({spent})", *further)
        others = [ratio_words(one) for one in contest.others if one.ratio is not None]
        if others:
            yield "; ".join(others)
        yield from (f"{name}: {value}" for name, value in beforehand(contest.fixed_clock, contest.start))
        yield _OUTPUTS[contest.same_outputs]
    yield from contest.reasons
    if contest.error is not None:
        yield from filter(None, (contest.error.where, contest.error.seen, contest.error.next_step))


def _side(name: str, side: Contender, found: Performance) -> str:
    times = f"p50 {units.duration(found.latency_p50_ns)}, load {units.duration(found.load_ns)}"
    if found.ttft_ns is not None:
        times = f"{units.rate(found.decode_tokens_per_s)}, TTFT {units.duration(found.ttft_ns)}, {times}"
    return f"{name:9} {side.origin}: {times}, peak RSS {units.size(found.peak_rss_bytes)}, {units.size(side.size_bytes)}"
