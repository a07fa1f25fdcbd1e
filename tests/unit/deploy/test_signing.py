from __future__ import annotations

import base64
import shutil
import subprocess
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from edgedeploy.deploy.signing import Signer, require_trust, signer_from
from edgedeploy.domain.manifest import Manifest
from edgedeploy.domain.release import Attestation, FileEntry
from edgedeploy.errors import ConfigError, SignatureError

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
ENTRIES = (
    FileEntry(path="models/net/model.pte", sha256="a" * 64, size_bytes=5),
    FileEntry(path="models/net/golden/input 0.bin", sha256="b" * 64, size_bytes=8),
)


def manifest(*attestations: Attestation, files: tuple[FileEntry, ...] = ENTRIES, project: str = "demo") -> Manifest:
    return Manifest(schema="edgedeploy.release/1", project=project, files=files, attestations=attestations)


def signed(key: Ed25519PrivateKey = KEY) -> Manifest:
    return manifest(Signer(key).attest("demo", "models/net", ENTRIES))


def trust(made: Manifest, *keys: Ed25519PrivateKey) -> None:
    require_trust(made, [f"{Signer(key).public_key} release@ci" for key in keys], where="device pi")


def test_what_a_trusted_key_signed_is_taken() -> None:
    trust(signed(), KEY)
    trust(signed(), OTHER, KEY)


def test_what_nobody_or_somebody_else_signed_is_refused() -> None:
    with pytest.raises(SignatureError, match="no trusted key") as caught:
        trust(manifest(), KEY)
    assert "not signed" in caught.value.seen
    with pytest.raises(SignatureError) as caught:
        trust(signed(OTHER), KEY)
    assert "another key" in caught.value.seen
    assert caught.value.where == "device pi"
    assert "signing_key" in caught.value.next_step


def test_a_file_in_no_signed_folder_is_refused() -> None:
    stray = FileEntry(path="models/netx/model.pte", sha256="c" * 64, size_bytes=1)
    with pytest.raises(SignatureError, match="no trusted key") as caught:
        trust(msgspec.structs.replace(signed(), files=(*ENTRIES, stray)), KEY)
    assert "netx" in caught.value.seen


@given(
    which=st.integers(0, 1),
    change=st.sampled_from([{"sha256": "d" * 64}, {"size_bytes": 6}, {"path": "models/net/other"}, None]),
)
def test_whatever_is_altered_breaks_it(which: int, change: dict[str, object] | None) -> None:
    files = list(ENTRIES)
    if change is None:
        del files[which]
    else:
        files[which] = msgspec.structs.replace(files[which], **change)
    with pytest.raises(SignatureError):
        trust(msgspec.structs.replace(signed(), files=tuple(files)), KEY)


def test_how_a_program_is_started_is_signed_too() -> None:
    made = manifest(Signer(KEY).attest("demo", "models/net", ENTRIES, start=("{dir}/run",)))
    trust(msgspec.structs.replace(made, starts={"models/net": ("{dir}/run",)}), KEY)
    for starts in ({}, {"models/net": ("sh", "-c", "evil")}, {"models/net": ("{dir}/run", "more")}):
        with pytest.raises(SignatureError):
            trust(msgspec.structs.replace(made, starts=starts), KEY)


def test_a_signature_is_good_for_its_project_only() -> None:
    with pytest.raises(SignatureError):
        trust(msgspec.structs.replace(signed(), project="another"), KEY)


@pytest.mark.parametrize(
    "change", [{"signature": "no base64 at all"}, {"signature": ""}, {"key": "ssh-ed25519 AAAA"}, {"key": ""}]
)
def test_a_damaged_attestation_is_none(change: dict[str, str]) -> None:
    (made,) = signed().attestations
    with pytest.raises(SignatureError):
        trust(manifest(msgspec.structs.replace(made, **change)), KEY)


def pem(key: Ed25519PrivateKey | rsa.RSAPrivateKey, *, ssh: bool, passphrase: bytes = b"") -> bytes:
    kind = serialization.PrivateFormat.OpenSSH if ssh else serialization.PrivateFormat.PKCS8
    lock = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, kind, lock)


@pytest.mark.parametrize("ssh", [False, True])
def test_keys_of_both_kinds_from_a_file_or_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, ssh: bool) -> None:
    (tmp_path / "key").write_bytes(pem(KEY, ssh=ssh))
    monkeypatch.setenv("RELEASE_KEY", pem(KEY, ssh=ssh).decode())
    for reference in ("key", str(tmp_path / "key"), "env:RELEASE_KEY"):
        assert signer_from(reference, root=tmp_path, where="here").public_key == Signer(KEY).public_key


def test_a_public_key_reads_as_openssh_writes_it() -> None:
    openssh = KEY.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    assert Signer(KEY).public_key == openssh.decode()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read"),
        (b"garbage", "cannot be read"),
        (pem(KEY, ssh=True, passphrase=b"secret"), "cannot be read"),
        (pem(rsa.generate_private_key(65537, 2048), ssh=False), "no Ed25519 key"),
    ],
)
def test_keys_that_cannot_sign_say_why_and_never_what_they_are(tmp_path: Path, content: bytes | None, said: str) -> None:
    if content is not None:
        (tmp_path / "key").write_bytes(content)
    with pytest.raises(ConfigError, match=said) as caught:
        signer_from("key", root=tmp_path, where="edgedeploy.toml: signing_key")
    assert "ssh-keygen" in caught.value.next_step
    assert "garbage" not in str(caught.value)
    with pytest.raises(ConfigError, match="not set"):
        signer_from("env:NO_SUCH_KEY", root=tmp_path, where="here")


@pytest.mark.parametrize("line", ["", "ssh-rsa AAAA", "ssh-ed25519", "ssh-ed25519 %%%", "ssh-ed25519 AAAA", "secret words"])
def test_what_is_no_public_key_is_told(line: str) -> None:
    with pytest.raises(ConfigError, match="not a public Ed25519 key"):
        require_trust(signed(), [line], where="lab.toml: devices.pi.trusted_keys")


@pytest.mark.skipif(shutil.which("openssl") is None, reason="the second implementation is not here")
def test_openssl_agrees(tmp_path: Path) -> None:
    (made,) = signed().attestations
    statement = f"edgedeploy-folder/1\ndemo\nmodels/net\n[]\n{'a' * 64} 5 models/net/model.pte\n{'b' * 64} 8 models/net/golden/input 0.bin\n"
    (tmp_path / "statement").write_text(statement)
    (tmp_path / "signature").write_bytes(base64.b64decode(made.signature))
    public = KEY.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "public").write_bytes(public)
    argv = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", "public", "-rawin", "-in", "statement", "-sigfile", "signature"]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 0, done.stderr
