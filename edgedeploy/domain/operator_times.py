"""How long each operator of an artifact took on a device."""

from __future__ import annotations

import msgspec

from edgedeploy.domain.artifact import Operator


class OperatorTime(msgspec.Struct, frozen=True, kw_only=True):
    """How long one operator took: the median over the profiled invocations, and its share of the sum of all.

    ``operator`` is None for work that is no operator of the model: conversions of layout or type that a delegate added,
    all of one kind together, and what a delegate's calls take beside its operators. ``ran`` is what the engine calls what
    it ran; ``delegate`` what ran it, None for the engine's own kernels.
    """

    operator: Operator | None
    ran: tuple[str, ...]
    delegate: str | None
    ns: int
    share: float


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """Times, slowest first. ``untimed`` operators have none of their own.

    They were fused into others, or are within a delegate that tells only how long its calls took as a whole.
    """

    times: tuple[OperatorTime, ...]
    untimed: tuple[Operator, ...]
    total_ns: int
