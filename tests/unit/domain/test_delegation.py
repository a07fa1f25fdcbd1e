"""Sums over an artifact's operators."""

from __future__ import annotations

import pytest

from edgedeploy.domain.artifact import Operator
from edgedeploy.domain.delegation import DelegateShare, Fallback, delegation_of

CONV = Operator(operator="conv", delegate="XnnpackBackend", macs=900, source="net.py:3")
NORM = Operator(operator="norm", macs=0, source="net.py:4")
MATMUL = Operator(operator="matmul", macs=100, source="net.py:5")


def test_shares_are_of_the_compute_and_fallbacks_with_most_of_it_come_first() -> None:
    found = delegation_of([CONV, NORM, NORM, MATMUL])
    assert found is not None
    assert (found.operators, found.delegated, found.macs, found.macs_share) == (4, 1, 1000, 0.9)
    assert found.delegates == (DelegateShare(delegate="XnnpackBackend", operators=1, macs_share=0.9),)
    assert found.fallbacks == (
        Fallback(operator="matmul", count=1, macs_share=0.1, source="net.py:5"),
        Fallback(operator="norm", count=2, macs_share=0.0, source="net.py:4"),
    )
    assert not found.full


def test_a_kind_of_operator_is_told_line_by_line() -> None:
    other = Operator(operator="norm", source="net.py:9")
    found = delegation_of([NORM, other, NORM])
    assert found is not None
    assert [(one.count, one.source) for one in found.fallbacks] == [(2, "net.py:4"), (1, "net.py:9")]


def test_all_delegated_is_full_and_without_compute_shares_are_zero() -> None:
    found = delegation_of([Operator(operator="add", delegate="CoreML")])
    assert found is not None
    assert found.full
    assert found.macs_share == pytest.approx(0.0)


def test_nothing_known_is_none() -> None:
    assert delegation_of([]) is None
