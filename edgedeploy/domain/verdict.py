"""What is said about a run in the end."""

from __future__ import annotations

from typing import Literal

import msgspec

Status = Literal["pass", "fail", "inconclusive", "error", "unmeasured", "passed over"]

GATE_FAILED_EXIT_CODE = 1
INCONCLUSIVE_EXIT_CODE = 7


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of a run, and why.

    ``pass``; ``fail`` (a budget or a floor is broken); ``inconclusive`` (the samples do not settle it); ``error`` (the run
    could not be carried out); ``unmeasured`` (only deployed or exported); ``passed over`` (a candidate of an automatic lane
    that another one beat). ``reasons`` is empty only for a plain pass.
    """

    status: Status
    reasons: tuple[str, ...] = ()
