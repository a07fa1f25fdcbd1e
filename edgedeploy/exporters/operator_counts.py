"""Operator histograms as one readable, bounded line."""

from __future__ import annotations

from collections import Counter

_LIMIT = 24


def bounded(counts: Counter[str], limit: int = _LIMIT) -> str:
    """``"conv_2d ×17, add ×10, …"``: most frequent first, then by name; what is beyond ``limit`` is only counted."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    shown = [f"{name} ×{count}" for name, count in ordered[:limit]]
    if rest := ordered[limit:]:
        shown.append(f"and {len(rest)} more kinds")
    return ", ".join(shown)
