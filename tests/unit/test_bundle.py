"""Bundles: what is replaced, what is refused, and what a crash in between leaves."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from unit.stages.bench import Bench, Unit
from unit.stages.planned import FP32, INT8, planned, prepared, runner, target

from edgedeploy import bundle
from edgedeploy.bundle import check_output, read_bundle, write_bundle
from edgedeploy.cache import Cache
from edgedeploy.deploy.signing import Signer, require_trust
from edgedeploy.domain.device import Device
from edgedeploy.domain.events import Event, Note
from edgedeploy.domain.manifest import Manifest
from edgedeploy.domain.project import Patience
from edgedeploy.domain.recipe import Gate
from edgedeploy.domain.result import Verification
from edgedeploy.domain.target import Lane
from edgedeploy.errors import ConfigError, UsageError
from edgedeploy.lab import Lab
from edgedeploy.pipeline import Pipeline, bundle_fleet, push_bundle
from edgedeploy.stages.prepare import Preparation
from edgedeploy.stages.push import Payload
from edgedeploy.stages.reach import trusted_keys_of
from edgedeploy.stages.run_result import Ready


def ready(folder: Path, lane: Lane = FP32) -> Ready:
    made = prepared(folder / lane.id, planned(lane=lane))
    return Ready(prepared=made, host=Verification(), runner=runner(folder / "runner"), runner_abi="linux-x86_64")


@pytest.fixture
def dist(tmp_path: Path) -> Path:
    """A bundle of one fp32 run."""
    write_bundle(tmp_path / "dist", "shop", target(), [ready(tmp_path / "cache")])
    return tmp_path / "dist"


def lanes(folder: Path) -> list[str]:
    return [item.prepared.run.lane.id for item in read_bundle(folder, Cache())[1]]


def test_a_bundle_is_read_back_and_replaced(dist: Path, tmp_path: Path) -> None:
    assert lanes(dist) == [FP32.id]
    write_bundle(dist, "shop", target(), [ready(tmp_path / "cache", INT8)])
    assert lanes(dist) == [INT8.id]
    assert not list(dist.glob(f"**/{FP32.id}")), "nothing of the old one stays"
    assert sorted(item.name for item in tmp_path.iterdir()) == ["cache", "dist"]


@pytest.mark.parametrize(
    "place", ["notes.txt", "net/fp32/notes.txt", f"net/fp32/{FP32.id}/golden/mine.bin", "runners/mine", "mine/"]
)
def test_what_somebody_else_put_there_is_named_and_kept(place: str, dist: Path, tmp_path: Path) -> None:
    file = dist / place
    if place.endswith("/"):
        file.mkdir()
    else:
        file.write_text("three days of work")
    with pytest.raises(UsageError, match="not part of the bundle") as caught:
        write_bundle(dist, "shop", target(), [ready(tmp_path / "cache", INT8)])
    assert place.rstrip("/") in caught.value.seen
    assert str(dist) in caught.value.where
    assert file.exists()
    assert lanes(dist) == [FP32.id]


def test_a_link_in_the_bundle_is_somebody_elses(dist: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (dist / "photos").symlink_to(tmp_path / "photos")
    with pytest.raises(UsageError, match="not part of the bundle") as caught:
        check_output(dist)
    assert "photos" in caught.value.seen


@pytest.mark.parametrize("text", ["{}", "nonsense", '{"schema": "bundle of something else"}'])
def test_a_bundle_json_of_another_program_protects_its_folder(text: str, tmp_path: Path) -> None:
    (tmp_path / "bundle.json").write_text(text)
    with pytest.raises(UsageError, match="something that is not a bundle"):
        check_output(tmp_path)


def test_where_no_bundle_can_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/x").write_text("")
    for place in ("file", "full", "file/below", "file/below/that"):
        with pytest.raises(UsageError) as caught:
            check_output(tmp_path / place)
        assert str(tmp_path / place) in str(caught.value)
    for place in ("new", "new/below"):
        check_output(tmp_path / place)
        assert not (tmp_path / "new").exists(), "looking makes nothing"


def test_an_empty_folder_and_a_new_one_below_others_are_fine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    for place in ("empty", "a/b/dist"):
        write_bundle(Path(place), "shop", target(), [ready(tmp_path / "cache")])
        assert lanes(tmp_path / place) == [FP32.id]


@pytest.mark.parametrize("fails_at", ["aside", "in"])
def test_when_the_exchange_fails_the_old_bundle_is_there(
    fails_at: str, dist: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = Path.rename, []

    def rename(self: Path, to: Path) -> Path:
        calls.append(to)
        if len(calls) == {"aside": 1, "in": 2}[fails_at]:
            raise KeyboardInterrupt
        return real(self, to)

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(KeyboardInterrupt):
        write_bundle(dist, "shop", target(), [ready(tmp_path / "cache", INT8)])
    assert lanes(dist) == [FP32.id]
    assert sorted(item.name for item in tmp_path.iterdir()) == ["cache", "dist"]


def test_the_old_bundle_is_deleted_only_when_the_new_one_is_in_place(
    dist: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[str]] = []

    def rmtree(folder: Path, **options: bool) -> None:
        seen.append(lanes(dist))
        real(folder, **options)

    real = shutil.rmtree
    monkeypatch.setattr(bundle.shutil, "rmtree", rmtree)
    write_bundle(dist, "shop", target(), [ready(tmp_path / "cache", INT8)])
    assert seen == [[INT8.id]]


def test_the_output_is_looked_at_before_anything_is_exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "edgedeploy.toml").write_text(
        'name = "p"\n[models.net]\nsource = "m.py:net"\n[[deploy]]\nmodel = "net"\ntargets = ["this-machine"]\n'
    )
    (tmp_path / "m.py").write_text("")
    (tmp_path / "dist").write_text("")
    monkeypatch.setattr(Preparation, "of", lambda *_: pytest.fail("exported before looking"))
    with pytest.raises(UsageError, match="not a bundle"):
        Pipeline.load(tmp_path).export("this-machine", output=tmp_path / "dist")


def test_a_signed_bundle_can_be_deployed_by_a_machine_without_the_key(tmp_path: Path) -> None:
    signer = Signer(Ed25519PrivateKey.generate())
    write_bundle(tmp_path / "dist", "shop", target(), [ready(tmp_path / "cache")], signer)
    (item,) = read_bundle(tmp_path / "dist", Cache())[1]
    assert item.runner is not None
    payload = Payload(prepared=item.prepared, bundle=item.runner, attestations=item.attestations)
    files = tuple(file.entry for file in payload.files())
    starts = {payload.runner_dir: payload.bundle.start}
    vouched = payload.attested("shop", None)
    release = Manifest(schema="edgedeploy.release/1", project="shop", files=files, starts=starts, attestations=vouched)
    require_trust(release, [signer.public_key], where="here")


@pytest.mark.parametrize("project", ["../blobs", "..", "a/b", ""])
def test_a_bundle_cannot_name_a_project_that_is_another_folder_on_the_device(dist: Path, project: str) -> None:
    file = dist / "bundle.json"
    file.write_text(file.read_text().replace('"shop"', f'"{project}"'))
    with pytest.raises(ConfigError, match="not a bundle"):
        read_bundle(dist, Cache())


def test_a_bundle_cannot_waive_the_signatures_that_this_machine_demands(dist: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unit = Device(name="a", transport="fake", target="bench", address="a", state="ready")
    Bench(monkeypatch).transport("fake").found.append(Unit(unit))
    monkeypatch.setattr(Lab, "targets", {"bench": target(trusted_keys=("ssh-ed25519 AAAA ours",))})
    fleet = bundle_fleet(dist, devices=["a"])
    assert trusted_keys_of(fleet.devices[0], fleet.target) == ("ssh-ed25519 AAAA ours",)
    report = push_bundle(dist, devices=["a"], measure=False)
    assert [run.error.kind for run in report.runs if run.error] == ["ConfigError"]  # that is no key: it was asked for


def test_a_bundle_whose_runs_are_gated_in_their_project_says_that_its_verdict_is_without_the_gate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unit = Device(name="a", transport="fake", target="bench", address="a", state="ready", workdir=str(tmp_path / "a"))
    Bench(monkeypatch).transport("fake").found.append(Unit(unit, lost_at="run"))
    monkeypatch.setattr(Lab, "targets", {"bench": target()})
    free, item = ready(tmp_path / "cache", INT8), ready(tmp_path / "cache")
    run = msgspec.structs.replace(item.prepared.run, gate=Gate(latency_p50_percent=3))
    gated = msgspec.structs.replace(item, prepared=msgspec.structs.replace(item.prepared, run=run))
    write_bundle(tmp_path / "dist", "shop", target(), [free, gated])
    heard: list[Event] = []
    push_bundle(tmp_path / "dist", devices=["a"], patience=Patience(retry_for_s=0), sink=heard.append)
    told = [event.text for event in heard if isinstance(event, Note) and "gate" in event.text]
    assert told == [
        "gated in its project, and not here: net executorch-xnnpack-fp32 (a bundle has no baselines; run `edgedeploy gate` there)"
    ]
