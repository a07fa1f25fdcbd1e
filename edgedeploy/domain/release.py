"""Files on their way to a device, and what a device holds."""

from __future__ import annotations

import msgspec


def beside(project: str, purpose: str) -> str:
    """What a place of a project's is called on a device that its own releases are not in; no project has such a name."""
    return f"{project}+{purpose}"


def owner_of(place: str) -> str:
    """The project whose place it is."""
    return place.partition("+")[0]


class FileEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, order=True):
    """A file known by its content.

    ``path`` is relative, with forward slashes. ``sha256`` is lower-case hex.
    """

    path: str
    sha256: str
    size_bytes: int
    executable: bool = False


class LocalFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file of this machine (``local``, absolute) and what it is to become on a device (``entry``)."""

    local: str
    entry: FileEntry


class RunnerBundle(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a runner needs on a device, and how it is started there.

    ``start`` is an argument list; every ``{dir}`` in it stands for the folder the files are in on the device, every
    ``{python}`` for the device's Python interpreter, every ``{compute_units}`` for what the target lets Core ML use. The
    runner's own arguments (docs/runner-protocol.md) follow.
    """

    name: str
    files: tuple[LocalFile, ...]
    start: tuple[str, ...]


class Attestation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """That whoever has a key vouches for a folder of a release, with all files in it (:mod:`edgedeploy.deploy.signing`).

    ``key`` is the public one, ``ssh-ed25519 AAAA…``; ``signature`` is in base64. ``under`` is what the folder's path is preceded
    by, with a slash, in a release that holds several of the same: what was signed does not have it.
    """

    folder: str
    key: str
    signature: str
    under: str = ""

    @property
    def place(self) -> str:
        """Where the folder is in the release."""
        return f"{self.under}{self.folder}"
