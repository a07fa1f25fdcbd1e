"""Facts of a run in a few words, the same in every report."""

from __future__ import annotations

from edgedeploy.domain.measurement import Agreement
from edgedeploy.domain.result import PushStats
from edgedeploy.report import units


def agreement_words(agreement: Agreement | None) -> str:
    """``38.4 dB, max error 0.012``; ``exact``; ``NaN or infinity``; a dash where nothing was compared."""
    if agreement is None:
        return units.ABSENT
    if not agreement.finite:
        return "NaN or infinity"
    if agreement.exact:
        return "exact"
    return f"{units.decibel(agreement.sqnr_db)}, max error {units.error(agreement.max_abs_error)}"


def pushed_words(push: PushStats | None) -> str:
    """``3.71 of 22.7 MB``, as bytes sent of bytes needed."""
    if push is None:
        return units.ABSENT
    sent, total = units.size(push.bytes_sent), units.size(push.bytes_total)
    number, unit = sent.split()
    return f"{number} of {total}" if total.endswith(f" {unit}") else f"{sent} of {total}"
