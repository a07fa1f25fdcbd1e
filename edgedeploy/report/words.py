"""Facts of a run in a few words, the same in every report."""

from __future__ import annotations

from collections.abc import Iterator

from edgedeploy.domain.comparison import Comparison
from edgedeploy.domain.contest import Contest
from edgedeploy.domain.measurement import Agreement, LanguageAgreement, MetricResult, unsteady
from edgedeploy.domain.result import PushStats, RunResult, Verification
from edgedeploy.domain.series import Remark
from edgedeploy.report import units
from edgedeploy.report.modes import mode_words

_FIGURE_WORDS = {
    "latency_p50": "p50",
    "latency_p90": "p90",
    "latency_p99": "p99",
    "latency_mean": "mean latency",
    "ttft": "TTFT",
    "load": "load",
    "peak_rss": "peak RSS",
}


def agreement_words(agreement: Agreement | None) -> str:
    """``38.4 dB, max error 0.012``; ``exact``; ``NaN or infinity``; a dash where nothing was compared."""
    if agreement is None:
        return units.ABSENT
    if not agreement.finite:
        return "NaN or infinity"
    if agreement.exact:
        return "exact"
    return f"{units.decibel(agreement.sqnr_db)}, max error {units.error(agreement.max_abs_error)}"


def language_words(language: LanguageAgreement) -> str:
    """``96 of 96 tokens as PyTorch, perplexity 12.31 (PyTorch 12.08, +1.9 %)``."""
    words = f"{language.same} of {language.tokens} tokens as PyTorch"
    grown = language.perplexity
    return words + (f", perplexity {grown.artifact:.2f} (PyTorch {grown.pytorch:.2f}, {grown.increase:+.1%})" if grown else "")


def verification_words(verify: Verification) -> tuple[str, ...]:
    """What the agreement in one figure leaves out: other runtimes, classes, the weakest output, the source's own metric."""
    return tuple(_verification_lines(verify))


def measured_words(run: RunResult) -> tuple[str, ...]:
    """What the figures leave out: what the mode has shown, warm-up, energy, how the gate ended, what the past says."""
    restless = unsteady(run.processes)
    warm = f"{restless} in their warm-up" if restless else ""
    lines = (*mode_words(run), warm, energy_words(run), gate_words(run.gate), *map(remark_words, run.remarks))
    return tuple(line for line in lines if line)


def remark_words(remark: Remark) -> str:
    """``warning: unstable: the same artifact was 12.2% faster in run 2026…``; a new series is told without a warning."""
    return f"warning: {remark.text}" if remark.is_warning else remark.text


def gate_words(gate: Contest | None) -> str:
    """``against its baseline: p50 1.003 (0.998 to 1.008), size 1.000, pass``; empty where it is not gated."""
    if gate is None or not gate.decided:
        return "against its baseline: the same file" if gate is not None and gate.verdict == "pass" else ""
    return f"against its baseline: {', '.join(map(ratio_words, gate.decided))}, {gate.verdict}"


def ratio_words(found: Comparison) -> str:
    """``p50 1.003 (0.998 to 1.008)``; of what is exact ``size 1.021``."""
    name = _FIGURE_WORDS.get(found.figure, found.figure)
    return f"{name} {found.ratio:.3f}" if found.figure == "size" and found.ratio is not None else f"{name} {found.interval}"


def cold_load_words(run: RunResult) -> str:
    """``41.2 ms``; ``41.2 ms (12.5% still cached)``; a dash where it was not measured."""
    if run.load_cold_ns is None:
        return units.ABSENT
    cached = run.load_cold_cached
    remark = "perhaps cached" if cached is None else f"{cached:.1%} still cached" if cached else ""
    return units.duration(run.load_cold_ns) + (f" ({remark})" if remark else "")


def energy_words(run: RunResult) -> str:
    """``energy: 12.3 mJ per inference above rest (11.9 to 12.7); 4.2 W at work, 3.2 W at rest, by hwmon ina219``."""
    energy = run.energy
    if energy is None:
        return ""
    each, active, rest = energy.per_iteration_mj, energy.active_mw, energy.rest_mw
    if each is None or active is None or rest is None:
        return f"energy not measured: {energy.absent}"
    what = "token" if run.generation else "inference"
    interval = f"{units.three_digits(each.ci_low)} to {units.three_digits(each.ci_high)}"
    remark = ", which may be none" if each.ci_low <= 0 else ""
    return (
        f"energy: {units.three_digits(each.mean)} mJ per {what} above rest ({interval}{remark}); "
        f"{units.three_digits(active.mean / 1e3)} W at work, {units.three_digits(rest.mean / 1e3)} W at rest, by {energy.source}"
    )


def _verification_lines(verify: Verification) -> Iterator[str]:
    if len(verify.runtimes) > 1:
        yield from (f"{one.runtime}: {agreement_words(one.agreement)}" for one in verify.runtimes)
    for place, agreement in (("host", verify.host), ("device", verify.device)):
        if agreement is None:
            continue
        if agreement.language is not None:
            yield f"{place}: {language_words(agreement.language)}"
        elif agreement.top1 is not None:
            yield f"{place}: the class is PyTorch's in {agreement.top1:.1%} of the cases"
        for output in agreement.outputs:
            if output.differing:
                same = output.values - output.differing
                yield f"{place}: {same} of {output.values} values of {output.name} are PyTorch's"
        inexact = [output for output in agreement.outputs if not output.exact and output.differing is None]
        if len(agreement.outputs) > 1 and inexact:
            weakest = min(inexact, key=lambda output: (output.finite, output.sqnr_db or 0.0))
            figure = units.decibel(weakest.sqnr_db) if weakest.finite else "NaN or infinity"
            yield f"{place}: the weakest of {len(agreement.outputs)} outputs is {weakest.name}, {figure}"
    if verify.metric is not None:
        yield _metric_words(verify.metric)


def _metric_words(metric: MetricResult) -> str:
    value = "no number" if metric.value is None else f"{metric.value:.4g}"
    return f"{metric.metric}: {value}, by PyTorch {metric.reference:.4g} ({metric.calls} inputs)"


def pushed_words(push: PushStats | None) -> str:
    """``3.71 of 22.7 MB``, as bytes sent of bytes needed."""
    if push is None:
        return units.ABSENT
    sent, total = units.size(push.bytes_sent), units.size(push.bytes_total)
    number, unit = sent.split()
    return f"{number} of {total}" if total.endswith(f" {unit}") else f"{sent} of {total}"
