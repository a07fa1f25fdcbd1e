"""Who vouches for what is deployed: each folder of a release is signed with Ed25519, where it was exported or is pushed.

A folder and not a release is signed, because a push of one model makes a release that holds the others of the one before: their
signatures stay good. Keys are those of ``ssh-keygen -t ed25519``. Checked by the side that pushes, before it sends anything; a
device in hands that are not trusted cannot be protected that way.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from edgedeploy.domain.manifest import Manifest
from edgedeploy.domain.release import Attestation, FileEntry, owner_of
from edgedeploy.errors import ConfigError, SignatureError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_PURPOSE = "edgedeploy-folder/1"
_KEY_KIND = "ssh-ed25519"
_KEY_BYTES = 32
_MAKE_ONE = "make one: ssh-keygen -t ed25519 -N '' -f release-key"


class Signer:
    """Signs folders with a private key."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key

    @property
    def public_key(self) -> str:
        """As ``trusted_keys`` takes it."""
        return _spoken(self._key.public_key().public_bytes_raw())

    def attest(self, project: str, folder: str, entries: Iterable[FileEntry], *, start: Sequence[str] = ()) -> Attestation:
        """Vouch for a folder of a release with these files in it, and for how its program is started."""
        signature = self._key.sign(_statement(owner_of(project), folder, entries, start))
        return Attestation(folder=folder, key=self.public_key, signature=base64.b64encode(signature).decode())


def signer_from(reference: str, *, root: Path, where: str) -> Signer:
    """Load a private key from a file, relative to ``root``, or from the environment variable of ``env:NAME``.

    Raises:
        ConfigError: it is not there, is encrypted, or no Ed25519 key.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_ssh_private_key

    content = _secret(reference, root, where)
    load = load_ssh_private_key if b"OPENSSH PRIVATE KEY" in content else load_pem_private_key
    try:
        key = load(content, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        # Not the error's own text: it may quote what it read.
        raise ConfigError(
            "the signing key cannot be read",
            where=where,
            seen=f"{reference}: {type(error).__name__}",
            next_step=f"it has to be an Ed25519 key without a passphrase; {_MAKE_ONE}",
        ) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError("the signing key is no Ed25519 key", where=where, seen=reference, next_step=_MAKE_ONE)
    return Signer(key)


def require_trust(manifest: Manifest, trusted: Sequence[str], *, where: str) -> None:
    """Refuse a release that holds anything nobody trusted vouches for.

    Raises:
        SignatureError: a folder is unsigned, signed by somebody else, or was altered since.
        ConfigError: one of ``trusted`` is no public key.
    """
    keys = {_public_key(line, where) for line in trusted}
    vouched = {attestation.place for attestation in manifest.attestations if _holds(attestation, manifest, keys)}
    loose = sorted({entry.path for entry in manifest.files if not any(entry.path.startswith(f"{place}/") for place in vouched)})
    if not loose:
        return
    signed = {attestation.place for attestation in manifest.attestations}
    altered = any(path.startswith(f"{place}/") for place in signed for path in loose)
    raise SignatureError(
        "the release holds files that no trusted key vouches for",
        where=where,
        seen=f"{loose[0]}: " + ("signed by another key, or altered since" if altered else "not signed"),
        next_step="set `signing_key` in edgedeploy.toml and push or export again; what others deployed there unsigned goes with "
        "`edgedeploy clean --all`",
    )


def _holds(attestation: Attestation, manifest: Manifest, keys: set[bytes]) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        key = _public_key(attestation.key, "")
        signature = base64.b64decode(attestation.signature, validate=True)
    except (ConfigError, binascii.Error):
        return False
    if key not in keys:
        return False
    inside = [
        msgspec.structs.replace(entry, path=entry.path.removeprefix(attestation.under))
        for entry in manifest.files
        if entry.path.startswith(f"{attestation.place}/")
    ]
    statement = _statement(owner_of(manifest.project), attestation.folder, inside, manifest.starts.get(attestation.place, ()))
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, statement)
    except InvalidSignature:
        return False
    return True


def _statement(project: str, folder: str, entries: Iterable[FileEntry], start: Sequence[str]) -> bytes:
    """What is signed. No path and no name has a line's end in it: nothing can be read in two ways."""
    lines = sorted(f"{entry.sha256} {entry.size_bytes} {entry.path}" for entry in entries)
    return "\n".join([_PURPOSE, project, folder, json.dumps(list(start)), *lines, ""]).encode()


def _secret(reference: str, root: Path, where: str) -> bytes:
    if reference.startswith("env:"):
        name = reference.removeprefix("env:")
        content = os.environ.get(name, "")
        if not content:
            raise ConfigError("the signing key is not set", where=where, seen=f"environment variable {name} is empty")
        return content.encode()
    try:
        return (root / Path(reference).expanduser()).read_bytes()
    except OSError as error:
        raise ConfigError(
            "the signing key cannot be read", where=where, seen=f"{reference}: {error.strerror}", next_step=_MAKE_ONE
        ) from None


def _public_key(line: str, where: str) -> bytes:
    """32 bytes from ``ssh-ed25519 AAAA… comment``."""
    words = line.split()
    try:
        blob = base64.b64decode(words[1], validate=True) if words[:1] == [_KEY_KIND] and len(words) > 1 else b""
    except binascii.Error:
        blob = b""
    prefix = _prefix()
    if not blob.startswith(prefix) or len(blob) != len(prefix) + _KEY_BYTES:
        raise ConfigError(
            "not a public Ed25519 key",
            where=where,
            seen=repr(line[:80]),
            next_step='take the line of the .pub file: trusted_keys = ["ssh-ed25519 AAAA…"]',
        )
    return blob[len(prefix) :]


def _spoken(key: bytes) -> str:
    return f"{_KEY_KIND} {base64.b64encode(_prefix() + key).decode()}"


def _prefix() -> bytes:
    """Of the key's SSH encoding (RFC 8709): its kind and its length come first."""
    kind = _KEY_KIND.encode()
    return len(kind).to_bytes(4) + kind + _KEY_BYTES.to_bytes(4)
