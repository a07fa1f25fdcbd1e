"""What is found and done on devices between pushes: releases, the way back, damage, space, leases. One document per verb."""

from __future__ import annotations

from typing import Generic, Literal, TypeVar

import msgspec

from edgedeploy.domain.failure import Failure

RELEASES_SCHEMA = "edgedeploy.releases/1"
ROLLBACK_SCHEMA = "edgedeploy.rollback/1"
VERIFY_SCHEMA = "edgedeploy.verify/1"
CLEAN_SCHEMA = "edgedeploy.clean/1"
LEASE_SCHEMA = "edgedeploy.lease/1"

_DAMAGED_EXIT_CODE = 6


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What a verb has to say about one device."""

    @property
    def exit_code(self) -> int:
        """0, unless it is bad news."""
        return 0


class ReleaseFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A release on a device.

    ``models`` are folders below its ``models/``: ``<model>/<recipe>/<lane>``. ``size_bytes`` is that of its files, which other
    releases may share. ``whole``: it has a manifest, and all its files are there in their size; `verify` also hashes them.
    ``created_at`` is by the clock of the machine that pushed; it and ``pushed_by`` are empty where there is no manifest.
    """

    number: int
    current: bool
    previous: bool
    whole: bool
    created_at: str = ""
    pushed_by: str = ""
    models: tuple[str, ...] = ()
    files: int = 0
    size_bytes: int = 0


class ProjectReleases(msgspec.Struct, frozen=True, kw_only=True):
    """The releases of one project, newest first."""

    project: str
    releases: tuple[ReleaseFacts, ...]


class Releases(Finding, frozen=True, kw_only=True):
    """What a device holds. ``stored_bytes`` is of all complete files of all projects."""

    projects: tuple[ProjectReleases, ...]
    stored_bytes: int
    free_bytes: int


class RolledBack(Finding, frozen=True, kw_only=True):
    """``from_release`` 0: none was current. ``seconds`` is the switch on the device, with the way there and back."""

    from_release: int
    to_release: int
    done: bool
    seconds: float = 0.0


class BadFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file that is not what it was pushed as.

    ``damaged``: its content has another SHA-256 than its name; ``missing``: nothing lies behind the release's link.
    ``paths`` are its places in the project's releases, as ``<release>/<path>``; none where only other projects have it.
    """

    what: Literal["damaged", "missing"]
    sha256: str
    paths: tuple[str, ...]
    removed: bool


class Verified(Finding, frozen=True, kw_only=True):
    """What hashing on the device found. ``release`` 0: none is current."""

    release: int
    files: int
    size_bytes: int
    seconds: float
    bad: tuple[BadFile, ...]

    @property
    def exit_code(self) -> int:
        """That of a run that failed on the device where something is damaged or missing."""
        return _DAMAGED_EXIT_CODE if self.bad else 0


class GoneRelease(msgspec.Struct, frozen=True, kw_only=True):
    """A release that went."""

    project: str
    number: int


class Cleaned(Finding, frozen=True, kw_only=True):
    """What went, or would go. ``files`` are those that no release needs, ``transfers`` those that were cut."""

    done: bool
    releases: tuple[GoneRelease, ...]
    files: int
    transfers: int
    freed_bytes: int
    free_bytes: int


class LeaseState(Finding, frozen=True, kw_only=True):
    """Who has a device. ``taken`` and ``released`` are what was done now; ``token`` is known of what was taken only.

    ``left_s`` is how long it is still theirs unless they renew it; of what was released, how long it would have been.
    """

    state: Literal["free", "held", "taken", "released"]
    owner: str = ""
    purpose: str = ""
    left_s: int = 0
    token: str = ""


F = TypeVar("F", bound=Finding)


class Outcome(msgspec.Struct, Generic[F], frozen=True, kw_only=True):
    """One device: what was found there, or why nothing could be."""

    device: str
    found: F | None = None
    error: Failure | None = None

    @property
    def exit_code(self) -> int:
        """The device's own."""
        if self.error is not None:
            return self.error.exit_code
        return self.found.exit_code if self.found is not None else 0


class UpkeepReport(msgspec.Struct, Generic[F], frozen=True, kw_only=True):
    """Everything one call did, one outcome per device. ``project`` is empty where it is about devices only."""

    schema: str
    edgedeploy: str
    target: str
    project: str = ""
    devices: tuple[Outcome[F], ...]

    @property
    def exit_code(self) -> int:
        """The worst of the devices'."""
        return max((outcome.exit_code for outcome in self.devices), default=0)
