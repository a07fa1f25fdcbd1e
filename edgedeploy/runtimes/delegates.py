"""Whether a runtime has the delegates that an artifact hands its operators to."""

from __future__ import annotations

from collections.abc import Collection

from edgedeploy.domain.artifact import Artifact


def missing_delegates(artifact: Artifact, present: Collection[str]) -> str:
    """Which of the artifact's delegates are not among those ``present``, as a reason; empty when none is missing."""
    missing = sorted(artifact.delegates() - set(present))
    return f"has no {', '.join(missing)}" if missing else ""
