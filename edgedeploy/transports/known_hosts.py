"""What OpenSSH's known_hosts files say about a host. Pure text, no I/O; the format is described in sshd(8)."""

from __future__ import annotations

import base64
import binascii
import fnmatch
import hashlib
import hmac
from collections.abc import Iterator
from typing import Literal

import msgspec

DEFAULT_PORT = 22
Judgement = Literal["known", "unknown", "changed", "revoked"]


class HostKey(msgspec.Struct, frozen=True, kw_only=True):
    """A public key: ``kind`` such as ``ssh-ed25519``, and its blob."""

    kind: str
    blob: bytes

    @property
    def fingerprint(self) -> str:
        """``SHA256:…`` as ssh and ssh-keygen print it."""
        digest = base64.b64encode(hashlib.sha256(self.blob).digest()).decode().rstrip("=")
        return f"SHA256:{digest}"


class KnownKeys(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one host. ``by_authority``: an authority vouches for it by certificates, which we cannot check."""

    trusted: tuple[HostKey, ...]
    revoked: tuple[HostKey, ...]
    by_authority: bool = False

    def judge(self, offered: HostKey) -> Judgement:
        """Say what a key that a host offers is: ``changed`` is a key where another one was expected."""
        if offered in self.revoked:
            return "revoked"
        if offered in self.trusted:
            return "known"
        return "changed" if self.trusted else "unknown"


def host_pattern(host: str, port: int) -> str:
    """Return how a known_hosts file names a host at a port: ``host``, or ``[host]:port``."""
    return host.lower() if port == DEFAULT_PORT else f"[{host.lower()}]:{port}"


def known_keys(text: str, name: str) -> KnownKeys:
    """Return the keys that ``text``, the lines of known_hosts files, has for ``name``; senseless lines are skipped."""
    trusted: list[HostKey] = []
    revoked: list[HostKey] = []
    by_authority = False
    for marker, hosts, key in _entries(text):
        if not _matches(hosts, name):
            continue
        if marker == "@revoked":
            revoked.append(key)
        elif marker == "@cert-authority":  # its key is no host's key, and paramiko takes no certificates of hosts
            by_authority = True
        elif not marker:
            trusted.append(key)
    return KnownKeys(trusted=tuple(trusted), revoked=tuple(revoked), by_authority=by_authority)


def _entries(text: str) -> Iterator[tuple[str, str, HostKey]]:
    for line in text.splitlines():
        fields = line.split()
        if not fields or fields[0].startswith("#"):
            continue
        marker = fields.pop(0) if fields[0].startswith("@") else ""
        match fields:
            case [hosts, kind, encoded, *_]:
                try:
                    blob = base64.b64decode(encoded, validate=True)
                except (binascii.Error, ValueError):
                    continue
                yield marker, hosts, HostKey(kind=kind, blob=blob)
            case _:
                continue


def _matches(hosts: str, name: str) -> bool:
    if hosts.startswith("|1|"):
        return _hash_matches(hosts, name)
    found = False
    for pattern in hosts.lower().split(","):
        refused = pattern.startswith("!")
        if fnmatch.fnmatchcase(name, _only_stars(pattern.removeprefix("!"))):
            if refused:
                return False
            found = True
    return found


def _only_stars(pattern: str) -> str:
    """Keep fnmatch from reading the brackets around hosts as classes of characters."""
    return pattern.replace("[", "[[]")


def _hash_matches(hosts: str, name: str) -> bool:
    try:
        _, _, salt, digest = hosts.split("|")
        expected = base64.b64decode(digest, validate=True)
        made = hmac.digest(base64.b64decode(salt, validate=True), name.encode(), "sha1")
    except (ValueError, binascii.Error):
        return False
    return hmac.compare_digest(expected, made)
