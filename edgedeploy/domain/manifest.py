"""What a release on a device says of itself."""

from __future__ import annotations

import msgspec

from edgedeploy.domain.artifact import Artifact
from edgedeploy.domain.release import Attestation, FileEntry


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a release on a device consists of; stored there as ``manifest.json``.

    ``created_at`` is in ISO 8601, UTC, by the clock of the machine that pushed; ``pushed_by`` is its user and name.
    ``starts`` says of the runners' folders how they are started, as :class:`~edgedeploy.domain.release.RunnerBundle` does;
    ``artifacts`` of the models' folders what is in them, so that whoever finds them can run them.
    """

    schema: str
    project: str
    files: tuple[FileEntry, ...]
    created_at: str = ""
    pushed_by: str = ""
    starts: dict[str, tuple[str, ...]] = {}
    artifacts: dict[str, Artifact] = {}
    attestations: tuple[Attestation, ...] = ()
