"""The HTML report: one file, nothing loaded from anywhere."""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Sequence

import msgspec

from edgedeploy.domain.result import RunResult
from edgedeploy.report import circumstances, units
from edgedeploy.report.chart import Chart, described, distribution_chart, latency_chart, merged_labels, spread_bar
from edgedeploy.report.gaps import not_measured
from edgedeploy.report.modes import lane_words
from edgedeploy.report.words import agreement_words, cold_load_words, measured_words, pushed_words, verification_words
from edgedeploy.shipped import shipped
from edgedeploy.stats import quantile


class RunView(msgspec.Struct, frozen=True, kw_only=True):
    """A run with everything that is computed for showing it. ``anchor`` is unique on the page."""

    run: RunResult
    anchor: str
    latency: Chart | None
    distribution: Chart | None
    p50_percent: float | None
    p99_percent: float | None
    gaps: tuple[str, ...]
    identity: tuple[tuple[str, str], ...]
    meanwhile: tuple[tuple[str, str], ...]
    changes: tuple[circumstances.Change, ...]
    cores: tuple[circumstances.CoreRow, ...]


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """One figure of the summary; ``anchor`` leads to its run."""

    title: str
    figure: str
    detail: str
    anchor: str = ""


def render_html(runs: Sequence[RunResult], *, title: str) -> str:
    """The page for these runs, in the order given; light and dark, for phones and wide screens.

    Everything is escaped: names and messages may come from anywhere. A content security policy allows no script but the
    page's own, no picture and no connection, in case something is overlooked.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    folder = shipped("templates")
    script = (folder / "report.js").read_text(encoding="utf-8")
    environment = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "duration": units.duration,
        "size": units.size,
        "decibel": units.decibel,
        "small": units.error,
        "count": units.count,
        "rate": units.rate,
        "clean": units.clean,
        "agreement": agreement_words,
        "pushed": pushed_words,
        "verification": verification_words,
        "measured": measured_words,
        "lane": lane_words,
        "cold_load": cold_load_words,
        "described": described,
        "merged": merged_labels,
        "moment": units.moment,
    }
    environment.globals |= {"quantile": quantile, "samples": _samples}
    views = _views(runs)
    return environment.get_template("report.html.j2").render(
        title=title,
        views=views,
        cards=_cards(views),
        # Both are ours, not data. The policy names the script by its digest.
        style=Markup((folder / "report.css").read_text(encoding="utf-8")),  # noqa: S704
        script=Markup(script),  # noqa: S704
        script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def _views(runs: Sequence[RunResult]) -> list[RunView]:
    longest_ns = max((run.latency_ns.p99 for run in runs if run.latency_ns), default=0)
    views = []
    for number, run in enumerate(runs, start=1):
        latency, environment = run.latency_ns, run.environment
        bar = spread_bar(latency.p50, latency.p99, longest_ns) if latency and longest_ns else None
        views.append(
            RunView(
                run=run,
                anchor=f"run-{number}",
                latency=latency_chart(run.processes),
                distribution=distribution_chart(run.processes),
                p50_percent=bar[0] if bar else None,
                p99_percent=bar[1] if bar else None,
                gaps=not_measured(run),
                identity=circumstances.identity(environment) if environment else (),
                meanwhile=circumstances.meanwhile(environment) if environment else (),
                changes=circumstances.changes(environment) if environment else (),
                cores=circumstances.cores(environment) if environment else (),
            )
        )
    return views


def _cards(views: Sequence[RunView]) -> list[Card]:
    counted = Counter(view.run.verdict.status for view in views)
    detail = ", ".join(f"{count} {status}" for status, count in counted.most_common() if status != "pass")
    cards = [Card(title="Passed", figure=f"{counted['pass']} of {len(views)}", detail=detail or "no failures")]
    timed = [(view.run.latency_ns.p50, view) for view in views if view.run.latency_ns]
    if timed:
        p50, view = min(timed, key=lambda pair: pair[0])
        cards.append(_card("Fastest median", units.duration(p50), view))
    compared = [(view.run.verify.device, view) for view in views if view.run.verify.device]
    rated = [(agreement.sqnr_db, view) for agreement, view in compared if agreement.sqnr_db is not None]
    broken = [view for agreement, view in compared if not agreement.finite]
    if broken:
        cards.append(_card("Weakest agreement", "NaN", broken[0]))
    elif rated:
        sqnr_db, view = min(rated, key=lambda pair: pair[0])
        cards.append(_card("Weakest agreement", units.decibel(sqnr_db), view))
    elif compared:
        cards.append(_card("Weakest agreement", "exact", compared[0][1]))
    resident = [(view.run.peak_rss_bytes, view) for view in views if view.run.peak_rss_bytes is not None]
    if resident:
        peak, view = max(resident, key=lambda pair: pair[0])
        cards.append(_card("Largest peak RSS", units.size(peak), view))
    return cards


def _card(title: str, figure: str, view: RunView) -> Card:
    run = view.run
    return Card(
        title=title,
        figure=figure,
        detail=", ".join(text for text in (run.model, run.lane.id, run.device) if text),
        anchor=view.anchor,
    )


def _samples(run: RunResult) -> str:
    """Every sample of a run for the page's script, as JSON; it is escaped where it is put."""
    processes = [
        {"number": number, "warmup": len(process.warmup_ns), "samples": process.warmup_ns + process.latency_ns}
        for number, process in enumerate(run.processes, start=1)
    ]
    return msgspec.json.encode(processes).decode()
