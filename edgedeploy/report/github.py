"""The step summary of a GitHub Actions job."""

from __future__ import annotations

import re

from edgedeploy.domain.result import PushReport, RunResult
from edgedeploy.domain.verdict import Status
from edgedeploy.report import units
from edgedeploy.report.modes import lane_words
from edgedeploy.report.words import agreement_words, measured_words, verification_words

_SIGNS: dict[Status, str] = {
    "pass": "✅",
    "fail": "❌",
    "inconclusive": "⚠️",
    "error": "🛑",
    "unmeasured": "▫️",
    "passed over": "▫️",
}
# Everything that GitHub's Markdown or its HTML would act on, mentions and references among it.
_SPECIAL = re.compile(r"([\\`*_{}\[\]()#+!|~@$:])")
_COLUMNS = ("model", "lane", "device", "size", "p50", "p90", "p99", "peak RSS", "device vs PyTorch", "verdict")


def step_summary(report: PushReport) -> str:
    """Markdown for ``$GITHUB_STEP_SUMMARY``: a table of the runs, then reasons and errors."""
    lines = [f"### edgedeploy: {_escaped(report.project)} on {_escaped(report.target)}", ""]
    lines += [f"| {' | '.join(_COLUMNS)} |", f"|{'---|' * len(_COLUMNS)}"]
    lines += [_row(run) for run in report.runs]
    remarks = [remark for run in report.runs for remark in _remarks(run)]
    if remarks:
        lines += ["", *remarks]
    return "\n".join(lines) + "\n"


def _row(run: RunResult) -> str:
    latency = run.latency_ns
    cells = (
        run.model,
        lane_words(run),
        run.device or units.ABSENT,
        units.size(run.artifact.size_bytes if run.artifact else None),
        *(units.duration(value) for value in ((latency.p50, latency.p90, latency.p99) if latency else (None,) * 3)),
        units.size(run.peak_rss_bytes),
        agreement_words(run.verify.device),
        f"{_SIGNS[run.verdict.status]} {run.verdict.status}",
    )
    return f"| {' | '.join(_escaped(cell) for cell in cells)} |"


def _remarks(run: RunResult) -> list[str]:
    name = f"**{_escaped(run.model)} {_escaped(lane_words(run))}**"
    found = [f"- {name}: {_escaped(reason)}" for reason in run.verdict.reasons]
    found += [f"- {name}: {_escaped(line)}" for line in (*measured_words(run), *verification_words(run.verify))]
    if run.error is not None:
        error = run.error
        place = f" ({_escaped(error.where)})" if error.where else ""
        found.append(f"- {name}: {_escaped(error.kind)}: {_escaped(error.what)}{place}")
        found += [f"  - {label}: {_escaped(text)}" for label, text in _details(run) if text]
    return found


def _details(run: RunResult) -> tuple[tuple[str, str], ...]:
    return (("seen", run.error.seen), ("next", run.error.next_step)) if run.error is not None else ()


def _escaped(text: str) -> str:
    safe = units.clean(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _SPECIAL.sub(r"\\\1", safe)
