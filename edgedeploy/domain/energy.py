"""What an inference costs in energy, from the instruments that a device has."""

from __future__ import annotations

import msgspec

from edgedeploy.domain.estimate import Estimate


class Energy(msgspec.Struct, frozen=True, kw_only=True):
    """Energy per inference above rest, from passes of their own; of a language model, per token after the first.

    ``source`` is the instrument. ``rest_mw`` is its power right before each pass, ``active_mw`` that while the runner worked;
    ``per_iteration_mj`` is their difference times the time of an iteration. Where all three are None, ``absent`` says why.
    """

    source: str = ""
    rest_mw: Estimate | None = None
    active_mw: Estimate | None = None
    per_iteration_mj: Estimate | None = None
    absent: str = ""
