"""Pushes through the real store on this machine: what is sent, what stays, what is counted."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from unit.stages.planned import Heard, planned, prepared, runner

from edgedeploy.deploy import compression
from edgedeploy.deploy.digest import entries_of
from edgedeploy.deploy.signing import Signer, require_trust
from edgedeploy.deploy.store import Store
from edgedeploy.domain.device import Device
from edgedeploy.domain.events import Finished, Note, Progress, Started
from edgedeploy.domain.release import LocalFile
from edgedeploy.domain.result import PushStats
from edgedeploy.errors import DeviceLostError, DeviceStorageError, SignatureError
from edgedeploy.ports import ByteProgress, Completed, Feed
from edgedeploy.stages.push import Payload, Tally, Terms, push
from edgedeploy.transports.local import LocalConnection, LocalTransport

HELPER = """#!/bin/sh
case $1 in
  receive) dd of="$2" bs=1048576 seek="$(($3 / 1048576))" conv=notrunc 2>/dev/null; sha256sum < "$2" ;;
  hash) while read -r path; do echo "$(sha256sum < "$path" | head -c 64) 1 $path"; done ;;
esac
"""
RUNNER = b"#!/bin/sh\nexec true\n"


class Desk:
    """Payloads on this side, a store on the other."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.workdir = folder / "device"
        self.heard = Heard()

    def payload(self, model: str, content: bytes, *, runner_name: str = "native", runner_content: bytes = RUNNER) -> Payload:
        made = prepared(self.folder / "exports" / model, planned(model), content=content)
        return Payload(
            prepared=made, bundle=runner(self.folder / "runners" / runner_name, name=runner_name, content=runner_content)
        )

    def store(self, project: str = "demo", connection: LocalConnection | None = None) -> Store:
        connection = connection or LocalTransport().connect(Device(name="here", transport="local"))
        return Store(connection, device="here", workdir=str(self.workdir), project=project)

    def push(
        self, *payloads: Payload, store: Store | None = None, terms: Terms | None = None
    ) -> tuple[int, tuple[PushStats, ...]]:
        return push(store or self.store(), payloads, terms or Terms(project="demo", device="here"), sink=self.heard)

    @property
    def current(self) -> Path:
        return self.workdir / "projects/demo/current"

    def deployed(self) -> dict[str, bytes]:
        files = [path for path in self.current.rglob("*") if path.is_file() and path.name != "manifest.json"]
        return {str(path.relative_to(self.current)): path.read_bytes() for path in files}


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """An empty device."""
    return Desk(tmp_path)


def files_of(model: str, content: bytes) -> dict[str, bytes]:
    folder = f"models/{model}/fp32/executorch-xnnpack-fp32"
    return {f"{folder}/model.pte": content, f"{folder}/golden/input_0.bin": bytes(8)}


def test_a_release_holds_artifact_inputs_and_runner_and_not_pytorchs_answers(desk: Desk) -> None:
    number, (figures,) = desk.push(desk.payload("net", b"weights"))
    assert number == 1
    assert desk.deployed() == files_of("net", b"weights") | {"runners/native/run": RUNNER}
    size = len(b"weights") + 8 + len(RUNNER)
    assert (figures.bytes_total, figures.bytes_sent, figures.release) == (size, size, 1)
    assert (desk.current / "runners/native/run").stat().st_mode & 0o111


def test_what_is_there_is_not_sent_and_the_release_stays(desk: Desk) -> None:
    desk.push(desk.payload("net", b"weights"))
    number, (figures,) = desk.push(desk.payload("net", b"weights"))
    assert (number, figures.bytes_sent) == (1, 0)
    assert figures.bytes_total == len(b"weights") + 8 + len(RUNNER)
    last = desk.heard[-1]
    assert isinstance(last, Finished)
    assert last.cached


def test_another_model_deployed_before_is_kept(desk: Desk) -> None:
    desk.push(desk.payload("a", b"first"))
    number, (figures,) = desk.push(desk.payload("b", b"second"))
    assert number == 2
    assert desk.deployed() == files_of("a", b"first") | files_of("b", b"second") | {"runners/native/run": RUNNER}
    assert figures.bytes_sent == len(b"second")  # the inputs and the runner were there


def test_a_model_and_a_runner_of_the_same_name_are_replaced_whole(desk: Desk) -> None:
    desk.push(desk.payload("a", b"old"), desk.payload("b", b"other"))
    old = desk.payload("a", b"old")
    extra = desk.folder / "exports/a/extra.bin"
    extra.write_bytes(b"more")
    entry = msgspec.structs.replace(old.prepared.artifact.files[0], path="extra.bin", sha256=_sha(b"more"), size_bytes=4)
    artifact = msgspec.structs.replace(old.prepared.artifact, files=(*old.prepared.artifact.files, entry))
    desk.push(Payload(prepared=msgspec.structs.replace(old.prepared, artifact=artifact), bundle=old.bundle))
    assert desk.deployed()["models/a/fp32/executorch-xnnpack-fp32/extra.bin"] == b"more"
    desk.push(desk.payload("a", b"new", runner_content=b"#!/bin/sh\n# another\n"))
    assert desk.deployed() == files_of("a", b"new") | files_of("b", b"other") | {"runners/native/run": b"#!/bin/sh\n# another\n"}


def test_another_project_on_the_device_is_left_alone(desk: Desk) -> None:
    desk.push(desk.payload("a", b"first"))
    number, (figures,) = desk.push(desk.payload("a", b"first"), store=desk.store("elsewhere"))
    assert (number, figures.bytes_sent) == (1, 0)  # its blobs are shared
    assert (desk.workdir / "projects/elsewhere/current").readlink() == Path("releases/1")
    assert desk.deployed() == files_of("a", b"first") | {"runners/native/run": RUNNER}


def test_a_shared_blob_is_sent_once_and_counts_as_sent_for_the_first(desk: Desk) -> None:
    _, (first, second) = desk.push(desk.payload("a", b"same"), desk.payload("b", b"same"))
    size = len(b"same") + 8 + len(RUNNER)
    assert (first.bytes_total, first.bytes_sent) == (size, size)
    assert (second.bytes_total, second.bytes_sent) == (size, 0)
    assert len(list((desk.workdir / "blobs").iterdir())) == 3
    assert len(desk.deployed()) == 5


def test_a_blob_that_somebody_removed_is_sent_again_and_one_of_another_model_is_not_linked_to(desk: Desk) -> None:
    desk.push(desk.payload("a", b"first"), desk.payload("b", b"second"))
    for content in (b"first", b"second"):
        (desk.workdir / "blobs" / _sha(content)).unlink()
    _, (figures,) = desk.push(desk.payload("b", b"second"))
    assert figures.bytes_sent == len(b"second")
    left = {name: content for name, content in files_of("a", b"first").items() if content != b"first"}
    assert desk.deployed() == left | files_of("b", b"second") | {"runners/native/run": RUNNER}
    (warning,) = [event.text for event in desk.heard if isinstance(event, Note)]
    assert "models/a/fp32/executorch-xnnpack-fp32/model.pte" in warning
    assert "push it again" in warning


def test_progress_ends_at_the_total(desk: Desk) -> None:
    desk.push(desk.payload("net", b"w" * 3_000_000))
    assert isinstance(desk.heard[0], Started)
    steps = [event for event in desk.heard if isinstance(event, Progress)]
    total = 3_000_000 + 8 + len(RUNNER)
    assert [step.done for step in steps] == sorted(step.done for step in steps)
    assert {(step.total, step.unit) for step in steps} == {(total, "bytes")}
    assert steps[-1].done == total
    assert len(steps) >= 3
    assert isinstance(desk.heard[-1], Finished)


def test_too_little_space_sends_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    store = desk.store()
    store.seen = dataclasses.replace(store.seen, free_bytes=1000)
    with pytest.raises(DeviceStorageError, match="not enough space"):
        desk.push(desk.payload("net", b"weights"), store=store)
    assert list((desk.workdir / "blobs").iterdir()) == []
    assert not desk.current.exists()


class Unplugged(LocalConnection):
    """Goes away at the second file."""

    sent = 0

    def pour(self, argv: Sequence[str], source: Feed, *, quiet_s: float, progress: ByteProgress) -> Completed:
        self.sent += 1
        if self.sent > 1:
            raise DeviceLostError("the cable was pulled")
        return super().pour(argv, source, quiet_s=quiet_s, progress=progress)


def test_a_device_that_goes_away_keeps_the_old_release_and_what_arrived(desk: Desk) -> None:
    desk.push(desk.payload("net", b"old"))
    new = desk.payload("net", b"new", runner_content=b"#!/bin/sh\n# new\n")
    with pytest.raises(DeviceLostError):
        desk.push(new, store=desk.store(connection=Unplugged("here")))
    assert str(desk.current.readlink()) == "releases/1"
    assert desk.deployed() == files_of("net", b"old") | {"runners/native/run": RUNNER}
    number, (figures,) = desk.push(new)
    assert number == 2
    assert figures.bytes_sent == len(b"#!/bin/sh\n# new\n")
    assert desk.deployed() == files_of("net", b"new") | {"runners/native/run": b"#!/bin/sh\n# new\n"}


def test_a_large_push_brings_its_own_helper_and_a_small_one_takes_what_is_there(desk: Desk) -> None:
    made = []

    def helper(version: int) -> LocalFile:
        made.append(version)
        path = desk.folder / f"helper-{version}"
        path.write_text(f"#!/bin/sh\n# {version}\nexec false\n" if version == 3 else HELPER + f"# {version}\n", encoding="ascii")
        (entry,) = entries_of(path)
        return LocalFile(local=str(path), entry=entry)

    def push_with(version: int, content: bytes) -> set[str]:
        terms = Terms(project="demo", device="here")
        push(desk.store(), [desk.payload("net", content)], terms, sink=desk.heard, helper=lambda: helper(version))
        return {path.read_text().splitlines()[-1] for path in (desk.workdir / "tools").iterdir()}

    assert push_with(1, b"1" * (16 << 20)) == {"# 1"}
    assert push_with(2, b"small") == {"# 1"}
    assert push_with(2, b"2" * (16 << 20)) == {"# 2"}
    assert push_with(3, b"3" * (16 << 20)) == {"# 2", "exec false"}  # one that does not run is kept beside it, and not sent again
    assert made == [1, 2, 3]


class CutWhileCompressed(LocalConnection):
    """Goes away when 6 MB of a compressed file have been read, of which so many bytes went over the link."""

    link_bytes = 0

    def pour(self, argv: Sequence[str], source: Feed, *, quiet_s: float, progress: ByteProgress) -> Completed:
        if "gzip" not in argv:
            return super().pour(argv, source, quiet_s=quiet_s, progress=progress)
        while source.taken_bytes() < 6_000_000:
            self.link_bytes += len(os.read(source.fileno(), 4096))
        progress(source.taken_bytes())
        raise DeviceLostError("the cable was pulled")


def test_a_compressed_transfer_that_is_cut_counts_what_went_over_the_link(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compression, "pays", lambda _sample, _rate: True)
    connection, tally = CutWhileCompressed("here"), Tally()
    payload = desk.payload("net", bytes(20 << 20))
    with pytest.raises(DeviceLostError):
        push(desk.store(connection=connection), [payload], Terms(project="demo", device="here"), sink=desk.heard, tally=tally)
    sent = tally.sent[_sha(bytes(20 << 20))] - compression.PROBE_BYTES
    assert sent == pytest.approx(connection.link_bytes, abs=1 << 16)  # what a pipe holds


def _sha(content: bytes) -> str:
    import hashlib

    return hashlib.sha256(content).hexdigest()


def test_payloads_name_folders_that_differ_for_every_run(desk: Desk) -> None:
    payloads: Sequence[Payload] = [desk.payload("a", b"x"), desk.payload("b", b"x", runner_name="agent")]
    assert len({payload.artifact_dir for payload in payloads}) == 2
    assert [payload.runner_dir for payload in payloads] == ["runners/native", "runners/agent"]


SIGNER = Signer(Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
DEMANDING = Terms(project="demo", device="here", trusted_keys=(SIGNER.public_key,))


def test_a_device_that_demands_signatures_gets_nothing_unsigned(desk: Desk) -> None:
    with pytest.raises(SignatureError, match="no trusted key"):
        desk.push(desk.payload("net", b"weights"), terms=DEMANDING)
    assert list((desk.workdir / "blobs").iterdir()) == []
    assert not desk.current.exists()


def test_what_is_signed_is_deployed_and_stays_signed_beside_others(desk: Desk) -> None:
    signing = dataclasses.replace(DEMANDING, signer=SIGNER)
    desk.push(desk.payload("a", b"first"), terms=signing)
    payload = desk.payload("b", b"second")
    exported = msgspec.structs.replace(payload, attestations=payload.attested("demo", SIGNER))
    desk.push(exported, terms=DEMANDING)  # by a machine that has no key
    manifest = desk.store().seen.manifest
    assert manifest is not None
    require_trust(manifest, [SIGNER.public_key], where="here")
    assert [made.folder for made in manifest.attestations] == [
        "models/a/fp32/executorch-xnnpack-fp32", "models/b/fp32/executorch-xnnpack-fp32", "runners/native",
    ]  # fmt: skip


def test_an_altered_manifest_on_the_device_is_refused(desk: Desk) -> None:
    signing = dataclasses.replace(DEMANDING, signer=SIGNER)
    desk.push(desk.payload("a", b"first"), desk.payload("b", b"second"), terms=signing)
    file = desk.current / "manifest.json"
    file.write_bytes(file.read_bytes().replace(_sha(b"first").encode(), _sha(b"second").encode()))
    with pytest.raises(SignatureError) as caught:
        desk.push(desk.payload("b", b"third"), terms=signing)
    assert "models/a/" in caught.value.seen


def test_signing_what_was_deployed_unsigned_makes_a_release(desk: Desk) -> None:
    assert desk.push(desk.payload("a", b"first"))[0] == 1
    assert desk.push(desk.payload("a", b"first"), terms=dataclasses.replace(DEMANDING, signer=SIGNER))[0] == 2
