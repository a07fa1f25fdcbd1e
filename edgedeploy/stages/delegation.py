"""Whether an artifact's delegates took all of it."""

from __future__ import annotations

from edgedeploy.domain.delegation import delegation_of
from edgedeploy.errors import ExportError
from edgedeploy.stages.export import Prepared

_NAMED = 5


def require_delegated(prepared: Prepared) -> None:
    """Refuse an artifact with operators that fall back to the runtime's plain kernels.

    Raises:
        ExportError: naming the fallbacks that compute most, with their lines; or that it is not known what runs where.
    """
    found = delegation_of(prepared.artifact.operators)
    where = f"{prepared.run.model_name} as {prepared.run.lane.id}"
    if found is None:
        raise ExportError(
            "full delegation is required, and it is not known what runs where in this format",
            where=where,
            next_step="leave --require-full-delegation out, or choose a lane that tells it",
        )
    if found.full:
        return
    named = [f"{one.operator} ×{one.count}" + (f" ({one.source})" if one.source else "") for one in found.fallbacks]
    rest = f" and {len(named) - _NAMED} more" if len(named) > _NAMED else ""
    raise ExportError(
        f"full delegation is required, and {found.operators - found.delegated} of {found.operators} operators fall back",
        where=where,
        seen="; ".join(named[:_NAMED]) + rest,
        next_step="write these with operators the delegate has, choose another lane, or leave --require-full-delegation out",
    )
