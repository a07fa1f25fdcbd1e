"""Operator histograms."""

from __future__ import annotations

from collections import Counter

from edgedeploy.exporters.operator_counts import bounded


def test_most_frequent_first_then_by_name() -> None:
    assert bounded(Counter({"mul": 2, "add": 2, "conv": 9})) == "conv ×9, add ×2, mul ×2"


def test_the_rest_is_counted() -> None:
    assert bounded(Counter({"a": 3, "b": 2, "c": 1}), limit=1) == "a ×3, and 2 more kinds"


def test_nothing_is_empty() -> None:
    assert bounded(Counter()) == ""
