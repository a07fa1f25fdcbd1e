"""What went wrong, as data: in results, reports and plans."""

from __future__ import annotations

import msgspec

from edgedeploy.errors import EdgedeployError


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """An :class:`edgedeploy.errors.EdgedeployError`, as data."""

    kind: str
    exit_code: int
    retryable: bool
    what: str
    where: str
    seen: str
    next_step: str

    @classmethod
    def of(cls, error: EdgedeployError) -> Failure:
        """The data of an error."""
        return cls(
            kind=type(error).__name__,
            exit_code=error.exit_code,
            retryable=error.retryable,
            what=error.what,
            where=error.where,
            seen=error.seen,
            next_step=error.next_step,
        )
