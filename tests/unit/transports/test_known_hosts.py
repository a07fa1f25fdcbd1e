from __future__ import annotations

import base64
import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgedeploy.transports.known_hosts import HostKey, host_pattern, known_keys

KEY = HostKey(kind="ssh-ed25519", blob=b"one")
OTHER = HostKey(kind="ssh-rsa", blob=b"two")


def line(hosts: str, key: HostKey = KEY, marker: str = "") -> str:
    return f"{marker} {hosts} {key.kind} {base64.b64encode(key.blob).decode()} a comment\n".lstrip()


def hashed(name: str, salt: bytes = b"0123456789abcdefghij") -> str:
    digest = hmac.digest(salt, name.encode(), "sha1")
    return f"|1|{base64.b64encode(salt).decode()}|{base64.b64encode(digest).decode()}"


@pytest.mark.parametrize(
    ("hosts", "name", "found"),
    [
        ("pi.local", "pi.local", True),
        ("PI.Local", "pi.local", True),
        ("a,pi.local,b", "pi.local", True),
        ("pi.local", "pi.locals", False),
        ("pi.local", "[pi.local]:2222", False),
        ("[pi.local]:2222", "[pi.local]:2222", True),
        ("[pi.local]:2222", "p", False),
        ("*.lab", "pi.lab", True),
        ("p?.lab", "pi.lab", True),
        ("*.lab,!pi.lab", "pi.lab", False),
        ("!pi.lab,*.lab", "pi.lab", False),
        ("[10.0.0.*]:2222", "[10.0.0.7]:2222", True),
        ("fe80::1", "fe80::1", True),
        (hashed("pi.local"), "pi.local", True),
        (hashed("pi.local"), "pi.lab", False),
        ("|1|nonsense|!!", "pi.local", False),
        ("|1|one", "pi.local", False),
    ],
)
def test_whether_a_line_speaks_of_a_host(hosts: str, name: str, *, found: bool) -> None:
    assert (known_keys(line(hosts), name).trusted == (KEY,)) is found


def test_markers_comments_and_nonsense() -> None:
    text = (
        "# a comment\n\n   \nlonely\nhost ssh-rsa\nhost ssh-rsa not*base64\n"
        + line("host", OTHER, "@cert-authority")
        + line("host", OTHER, "@revoked")
        + line("host")
    )
    known = known_keys(text, "host")
    assert (known.trusted, known.revoked) == ((KEY,), (OTHER,))


def test_judgements() -> None:
    known = known_keys(line("host") + line("host", OTHER, "@revoked"), "host")
    assert known.judge(KEY) == "known"
    assert known.judge(HostKey(kind="ssh-ed25519", blob=b"three")) == "changed"
    assert known.judge(OTHER) == "revoked"
    assert known_keys("", "host").judge(KEY) == "unknown"
    # A revoked key stays revoked where another line trusts it.
    both = known_keys(line("host") + line("*", KEY, "@revoked"), "host")
    assert both.judge(KEY) == "revoked"


def test_names_and_fingerprints() -> None:
    assert host_pattern("Pi.Local", 22) == "pi.local"
    assert host_pattern("pi.local", 2222) == "[pi.local]:2222"
    digest = base64.b64encode(hashlib.sha256(b"one").digest()).decode().rstrip("=")
    assert KEY.fingerprint == f"SHA256:{digest}"


@given(text=st.text(), name=st.text())
def test_no_file_breaks_the_parser(text: str, name: str) -> None:
    assert known_keys(text, name).judge(KEY) in {"known", "unknown", "changed", "revoked"}
