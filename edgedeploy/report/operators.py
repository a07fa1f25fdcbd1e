"""What of a run's artifact runs where, and which of its operators take the time, in a few lines."""

from __future__ import annotations

from collections.abc import Iterator

from edgedeploy.domain.delegation import Delegation, Fallback
from edgedeploy.domain.operator_times import OperatorTime
from edgedeploy.domain.result import RunResult
from edgedeploy.report import units

_NAMED = 3
_NOTABLE_SHARE = 0.01  # of the time or the compute; a fallback below both is only counted


def delegation_words(delegation: Delegation) -> str:
    """``delegated: 44 of 51 operators, 99.8% of the compute (XnnpackBackend)``."""
    names = ", ".join(one.delegate for one in delegation.delegates) or "no delegate"
    share = f", {delegation.macs_share:.1%} of the compute" if delegation.macs else ""
    return f"delegated: {delegation.delegated} of {delegation.operators} operators{share} ({names})"


def fallback_lines(run: RunResult) -> Iterator[str]:
    """The fallbacks that cost most, by their time on the device where it is known, with their lines of the user's Python."""
    if run.delegation is None:
        return
    time_of = _time_shares(run)
    costly = [(max(time_of.get(_key(one), 0.0), one.macs_share), one) for one in run.delegation.fallbacks]
    notable = sorted((pair for pair in costly if pair[0] >= _NOTABLE_SHARE), key=lambda pair: -pair[0])
    for share, one in notable[:_NAMED]:
        kind = "time" if time_of.get(_key(one), 0.0) >= one.macs_share else "compute"
        yield f"falls back: {one.operator} ×{one.count}, {share:.0%} of the {kind}{_place(one.source)}"
    if len(notable) > _NAMED:
        yield f"falls back: {len(notable) - _NAMED} more kinds"


def slowest_lines(run: RunResult) -> Iterator[str]:
    """The operators that take most of the time on the device; none whose time the engine keeps within a delegate."""
    for one in run.profile.times[:_NAMED] if run.profile is not None else ():
        if one.ns:
            yield f"slowest: {time_words(one)}"


def time_words(one: OperatorTime) -> str:
    """``23% (1.20 ms) aten.convolution, model.py:12: `x = self.stem(x)```."""
    name = one.operator.operator if one.operator is not None else f"{', '.join(one.ran)} (added by the engine)"
    return f"{one.share:.0%} ({units.duration(one.ns)}) {name}{_place(one.operator.source if one.operator is not None else '')}"


def _place(source: str) -> str:
    return f", {source}" if source else ""


def _key(one: Fallback) -> tuple[str, str]:
    return one.operator, one.source


def _time_shares(run: RunResult) -> dict[tuple[str, str], float]:
    shares: dict[tuple[str, str], float] = {}
    for one in run.profile.times if run.profile is not None else ():
        if one.operator is not None and one.operator.delegate is None:
            key = one.operator.operator, one.operator.source
            shares[key] = shares.get(key, 0.0) + one.share
    return shares
