"""What of an artifact runs in delegates, and what falls back to the runtime's plain kernels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec

from edgedeploy.domain.artifact import Operator


class DelegateShare(msgspec.Struct, frozen=True, kw_only=True):
    """A delegate, the number of operators in it, and its share of all multiply-accumulates (0 to 1)."""

    delegate: str
    operators: int
    macs_share: float


class Fallback(msgspec.Struct, frozen=True, kw_only=True):
    """Operators of one kind from one line of the user's Python that no delegate took."""

    operator: str
    count: int
    macs_share: float
    source: str


class Delegation(msgspec.Struct, frozen=True, kw_only=True):
    """What runs where. ``macs`` is the sum over all operators for one call of each method at the example shapes."""

    operators: int
    delegated: int
    macs: int
    macs_share: float
    delegates: tuple[DelegateShare, ...]
    fallbacks: tuple[Fallback, ...]

    @property
    def full(self) -> bool:
        """Whether delegates took everything."""
        return not self.fallbacks


def delegation_of(operators: Sequence[Operator]) -> Delegation | None:
    """Sums over an artifact's operators; fallbacks with the most compute first. None where the operators are not known.

    Without any multiply-accumulates, shares of them are 0.
    """
    if not operators:
        return None
    macs = sum(operator.macs for operator in operators)
    delegated = [operator for operator in operators if operator.delegate is not None]
    names = Counter(operator.delegate or "" for operator in delegated)
    groups = Counter((operator.operator, operator.source) for operator in operators if operator.delegate is None)
    fallbacks = [
        Fallback(
            operator=name,
            count=count,
            macs_share=_share(
                sum(o.macs for o in operators if o.delegate is None and (o.operator, o.source) == (name, source)), macs
            ),
            source=source,
        )
        for (name, source), count in groups.items()
    ]
    return Delegation(
        operators=len(operators),
        delegated=len(delegated),
        macs=macs,
        macs_share=_share(sum(operator.macs for operator in delegated), macs),
        delegates=tuple(
            DelegateShare(
                delegate=name, operators=count, macs_share=_share(sum(o.macs for o in delegated if o.delegate == name), macs)
            )
            for name, count in sorted(names.items())
        ),
        fallbacks=tuple(sorted(fallbacks, key=lambda one: (-one.macs_share, -one.count, one.operator, one.source))),
    )


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
