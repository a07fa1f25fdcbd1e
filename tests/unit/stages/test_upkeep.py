"""The verbs between pushes on several devices at once: fakes in memory with real stores."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
from unit.deploy.test_store import local
from unit.stages.bench import Bench, Unit
from unit.stages.planned import Heard, target

from edgedeploy.deploy.device_shell import DeviceShell
from edgedeploy.deploy.lease import Leases
from edgedeploy.deploy.store import MANIFEST_SCHEMA, Store
from edgedeploy.domain.device import Device
from edgedeploy.domain.events import Progress
from edgedeploy.domain.manifest import Manifest
from edgedeploy.domain.project import Patience
from edgedeploy.domain.upkeep import Finding, UpkeepReport
from edgedeploy.errors import DeviceLostError, UsageError
from edgedeploy.ports import ByteProgress, Completed
from edgedeploy.stages import upkeep
from edgedeploy.stages.fleet import Fleet
from edgedeploy.stages.leasing import list_leases, release_leases, take_leases
from edgedeploy.transports.local import LocalConnection

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f release"


class Desk:
    """Units with stores of their own, and releases made there."""

    def __init__(self, folder: Path, bench: Bench) -> None:
        self.folder, self.transport, self.heard = folder, bench.transport("fake"), Heard()

    def unit(self, name: str, *contents: str, project: str = "demo", **how: object) -> Unit:
        """A release per content, each of one model."""
        device = Device(name=name, transport="fake", target="bench", address=name, workdir=str(self.folder / name), state="ready")
        if name not in {unit.device.name for unit in self.transport.found}:
            self.transport.found.append(Unit(device, **how))  # type: ignore[arg-type]
        for content in contents:
            store = Store(LocalConnection(name), device=name, workdir=device.workdir, project=project)
            file = local(self.folder / "src", "models/net/fp32/xnn/model.pte", content.encode())
            store.receive(file, progress=lambda _count: None)
            made = Manifest(
                schema=MANIFEST_SCHEMA,
                project=project,
                files=(file.entry,),
                created_at="2026-03-01T12:00:07+00:00",
                pushed_by="ann@desk",
            )
            store.activate(made)
        return next(unit for unit in self.transport.found if unit.device.name == name)

    def fleet(self, *, wait_s: float = 0, retry_for_s: float = 0) -> Fleet:
        return Fleet(
            target=target(),
            project="demo",
            devices=tuple(unit.device for unit in self.transport.found),
            patience=Patience(wait_s=wait_s, retry_for_s=retry_for_s),
            sink=self.heard,
        )

    def current(self, name: str) -> str:
        return (self.folder / name / "projects/demo/current").readlink().name

    def blobs(self, name: str) -> list[Path]:
        return sorted((self.folder / name / "blobs").iterdir())

    def leases(self, name: str) -> Leases:
        return Leases(DeviceShell(LocalConnection(name), name), str(self.folder / name))


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """No unit yet."""
    return Desk(tmp_path, Bench(monkeypatch))


def found(report: UpkeepReport) -> dict[str, Finding]:
    assert all(outcome.error is None for outcome in report.devices), report
    return {outcome.device: outcome.found for outcome in report.devices}


def spoil(blob: Path) -> None:
    blob.chmod(0o755)
    blob.write_bytes(bytes([blob.read_bytes()[0] ^ 1]) + blob.read_bytes()[1:])


def test_releases_say_what_they_are_and_which_is_current(desk: Desk) -> None:
    desk.unit("a", "one", "twofold")
    desk.unit("a", "theirs", project="other")
    desk.unit("b")
    report = upkeep.list_releases(desk.fleet())
    a, b = found(report).values()
    (project,) = a.projects
    assert project.project == "demo"
    newest, oldest = project.releases
    assert (newest.number, newest.current, newest.previous, newest.whole) == (2, True, False, True)
    assert (oldest.number, oldest.current, oldest.previous, oldest.whole) == (1, False, True, True)
    assert (newest.created_at, newest.pushed_by) == ("2026-03-01T12:00:07+00:00", "ann@desk")
    assert (newest.models, newest.files, newest.size_bytes) == (("net/fp32/xnn",), 1, 7)
    assert a.stored_bytes == 3 + 7 + 6
    assert a.free_bytes > 0
    assert b.projects == ()
    everything = found(upkeep.list_releases(desk.fleet(), every_project=True))["a"]
    assert [(project.project, len(project.releases)) for project in everything.projects] == [("demo", 2), ("other", 1)]
    assert everything.projects[1].releases[0].pushed_by == "ann@desk"


def test_a_release_with_a_file_gone_or_half_made_is_not_whole(desk: Desk) -> None:
    desk.unit("a", "one", "two", "three")
    releases = desk.folder / "a/projects/demo/releases"
    (releases / "1/models/net/fp32/xnn/model.pte").resolve().unlink()
    (releases / "2/manifest.json").unlink()
    (releases / "9").mkdir()
    (project,) = found(upkeep.list_releases(desk.fleet()))["a"].projects
    assert [(facts.number, facts.whole) for facts in project.releases] == [(9, False), (3, True), (2, False), (1, False)]


def test_a_device_that_fails_fails_alone_and_its_exit_code_is_the_calls(desk: Desk) -> None:
    desk.unit("a", "one", "two")
    desk.unit("b", "one", "two").lost_at = "run"
    desk.unit("c")
    report = upkeep.roll_back(desk.fleet())
    a, b, c = report.devices
    assert a.found is not None
    assert (a.found.from_release, a.found.to_release, a.found.done) == (2, 1, True)
    assert b.error is not None
    assert (b.error.kind, b.error.exit_code) == ("DeviceLostError", 5)
    assert c.error is not None
    assert (c.error.kind, c.error.exit_code) == ("UsageError", 2)
    assert "no release to go back to" in c.error.what
    assert report.exit_code == 5
    assert (desk.current("a"), desk.current("b")) == ("1", "2")


def test_a_rollback_that_is_tried_again_does_not_go_forth_again(desk: Desk) -> None:
    answered = iter([True])

    def lost_after_the_switch(argv: Sequence[str]) -> Completed | None:
        if 'point current "releases/$4"' in argv[2] and next(answered, False):
            LocalConnection("a").run(argv, timeout_s=60)
            raise DeviceLostError("the cable was pulled")
        return None

    desk.unit("a", "one", "two", answers=lost_after_the_switch)
    report = upkeep.roll_back(desk.fleet(retry_for_s=60))
    assert found(report)["a"].to_release == 1
    assert next(answered, None) is None
    assert desk.current("a") == "1"


def test_a_rollback_to_a_number_and_one_that_only_says_so(desk: Desk) -> None:
    desk.unit("a", "one", "two", "three")
    said = found(upkeep.roll_back(desk.fleet(), to=1, dry_run=True))["a"]
    assert (said.from_release, said.to_release, said.done) == (3, 1, False)
    assert desk.current("a") == "3"
    assert found(upkeep.roll_back(desk.fleet(), to=1))["a"].done
    assert desk.current("a") == "1"
    assert not found(upkeep.roll_back(desk.fleet(), to=1))["a"].done
    assert found(upkeep.roll_back(desk.fleet()))["a"].to_release == 3


def test_a_device_that_demands_signatures_does_not_go_back_to_what_nobody_signed(desk: Desk) -> None:
    desk.unit("a", "one", "two")
    fleet = desk.fleet()
    trusting = dataclasses.replace(fleet, target=msgspec.structs.replace(fleet.target, trusted_keys=(KEY,)))
    for dry_run in (True, False):
        error = upkeep.roll_back(trusting, dry_run=dry_run).devices[0].error
        assert error is not None
        assert (error.kind, error.exit_code) == ("SignatureError", 2)
    assert desk.current("a") == "2"


def test_a_device_that_somebody_has_is_not_changed(desk: Desk) -> None:
    desk.unit("a", "one", "two")
    desk.leases("a").take(token="theirs", owner="bob@ci", purpose="push net", waiting=lambda _holder: None)
    for verb in (upkeep.roll_back, upkeep.verify_files, upkeep.clean):
        report = verb(desk.fleet(retry_for_s=60))
        assert report.exit_code == 5
        assert report.devices[0].error is not None
        assert "bob@ci" in report.devices[0].error.what
    assert desk.current("a") == "2"
    assert len(desk.blobs("a")) == 2
    assert upkeep.list_releases(desk.fleet()).exit_code == 0
    assert upkeep.clean(desk.fleet(), dry_run=True).exit_code == 0


def test_what_is_sound_is_said_to_be_with_progress(desk: Desk) -> None:
    desk.unit("a", "one", "twofold")
    checked = found(upkeep.verify_files(desk.fleet()))["a"]
    assert (checked.release, checked.files, checked.size_bytes, checked.bad) == (2, 1, 7, ())
    assert found(upkeep.verify_files(desk.fleet(), everything=True))["a"].files == 2
    steps = [event for event in desk.heard if isinstance(event, Progress)]
    assert [(step.done, step.total) for step in steps] == [(7, 7), (10, 10)]


def test_a_large_file_is_named_before_it_is_hashed(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "_BATCH_BYTES", 5)
    desk.unit("a", "twofold")
    upkeep.verify_files(desk.fleet())
    steps = [event for event in desk.heard if isinstance(event, Progress)]
    assert [(step.done, step.text) for step in steps] == [(0, "now models/net/fp32/xnn/model.pte, 0 MB"), (7, "")]


def test_while_a_large_file_is_hashed_it_is_told_how_far_the_device_is(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """By itself, and beside smaller ones that are hashed together."""
    monkeypatch.setattr(upkeep, "_BATCH_BYTES", 5)

    @contextmanager
    def watched(_another: object, file: str, size_bytes: int, heard: ByteProgress) -> Iterator[None]:
        assert (Path(file).read_bytes(), size_bytes) == (b"twofold", 7)
        heard(4)
        yield

    monkeypatch.setattr(upkeep, "watched", watched)
    desk.unit("a", "abc", "twofold", "de")
    upkeep.verify_files(desk.fleet(), everything=True)
    steps = [event for event in desk.heard if isinstance(event, Progress)]
    large = [step.done for step in steps if step.text]
    assert large[1] == large[0] + 4
    assert max(step.done for step in steps if not step.text) == 12


def test_a_flipped_bit_is_named_removed_and_healed_by_sending_it_again(desk: Desk) -> None:
    desk.unit("a", "one")
    (blob,) = desk.blobs("a")
    spoil(blob)
    looked = upkeep.verify_files(desk.fleet(), dry_run=True)
    assert looked.exit_code == 6
    assert blob.exists()
    report = upkeep.verify_files(desk.fleet())
    assert report.exit_code == 6
    (bad,) = found(report)["a"].bad
    assert (bad.what, bad.sha256, bad.removed) == ("damaged", blob.name, True)
    assert bad.paths == ("1/models/net/fp32/xnn/model.pte",)
    assert not blob.exists()
    (gone,) = found(upkeep.verify_files(desk.fleet()))["a"].bad
    assert (gone.what, gone.sha256, gone.removed) == ("missing", blob.name, False)
    desk.unit("a", "one")  # a push
    assert upkeep.verify_files(desk.fleet()).exit_code == 0


def test_links_and_manifests_are_looked_at_too(desk: Desk) -> None:
    desk.unit("a", "one")
    desk.unit("b", "one")
    (desk.folder / "a/projects/demo/current/models/net/fp32/xnn/model.pte").unlink()
    (desk.folder / "b/projects/demo/current/manifest.json").write_text("{")
    report = upkeep.verify_files(desk.fleet())
    (link,), (manifest,) = (outcome.found.bad for outcome in report.devices if outcome.found)
    assert (link.what, link.paths) == ("missing", ("1/models/net/fp32/xnn/model.pte",))
    assert (manifest.what, manifest.paths) == ("damaged", ("1/manifest.json",))
    assert report.exit_code == 6


def test_everything_covers_older_releases_and_other_projects(desk: Desk) -> None:
    desk.unit("a", "one", "two")
    desk.unit("a", "theirs", project="other")
    for blob in desk.blobs("a"):
        if blob.read_bytes() != b"two":
            spoil(blob)
    assert upkeep.verify_files(desk.fleet(), dry_run=True).exit_code == 0
    checked = found(upkeep.verify_files(desk.fleet(), everything=True))["a"]
    assert sorted(bad.paths for bad in checked.bad) == [(), ("1/models/net/fp32/xnn/model.pte",)]
    assert [blob.read_bytes() for blob in desk.blobs("a")] == [b"two"]


def test_nothing_deployed_is_said(desk: Desk) -> None:
    desk.unit("a")
    report = upkeep.verify_files(desk.fleet())
    assert report.exit_code == 2
    assert report.devices[0].error is not None
    assert report.devices[0].error.what == "nothing of demo is deployed"


def test_cleaning_keeps_the_way_back_and_says_what_went(desk: Desk) -> None:
    desk.unit("a", "1", "22", "333", "4444")
    (desk.folder / "a/incoming" / f"{'a' * 64}.part").write_bytes(bytes(50))
    said = found(upkeep.clean(desk.fleet(), dry_run=True))["a"]
    assert (said.done, len(desk.blobs("a"))) == (False, 4)
    done = found(upkeep.clean(desk.fleet()))["a"]
    assert msgspec.structs.replace(done, done=False, free_bytes=said.free_bytes) == said
    assert [(gone.project, gone.number) for gone in done.releases] == [("demo", 1), ("demo", 2)]
    assert (done.files, done.transfers, done.freed_bytes) == (2, 1, 53)
    assert len(desk.blobs("a")) == 2
    assert found(upkeep.roll_back(desk.fleet()))["a"].to_release == 3
    assert found(upkeep.clean(desk.fleet(), keep=9))["a"].releases == ()


def test_a_whole_project_goes_and_no_other(desk: Desk) -> None:
    desk.unit("a", "one", "two")
    desk.unit("a", "theirs", project="other")
    done = found(upkeep.clean(desk.fleet(), whole_project=True))["a"]
    assert (len(done.releases), done.freed_bytes) == (2, 6)
    assert [item.name for item in (desk.folder / "a/projects").iterdir()] == ["other"]
    assert [blob.read_bytes() for blob in desk.blobs("a")] == [b"theirs"]
    assert found(upkeep.clean(desk.fleet(), whole_project=True))["a"].releases == ()


@pytest.mark.parametrize("others", [True, False])
def test_the_device_helper_goes_with_the_last_project(desk: Desk, *, others: bool) -> None:
    desk.unit("a", "one")
    if others:
        desk.unit("a", "theirs", project="other")
    tool = desk.folder / "a/tools" / ("1" * 64)
    tool.touch()
    upkeep.clean(desk.fleet())
    assert tool.exists()
    upkeep.clean(desk.fleet(), whole_project=True)
    assert tool.exists() == others


def test_cleaning_that_is_tried_again_says_all_that_went(desk: Desk) -> None:
    removed = iter([True])

    def lost_after_removing(argv: Sequence[str]) -> Completed | None:
        if "rm -rf" in argv[2] and argv[2].endswith("done") and next(removed, False):
            (desk.folder / "a/projects/demo/releases/1/manifest.json").unlink()
            raise DeviceLostError("the cable was pulled")
        return None

    desk.unit("a", "1", "22", "333", answers=lost_after_removing)
    done = found(upkeep.clean(desk.fleet(retry_for_s=60)))["a"]
    assert next(removed, None) is None
    assert ([gone.number for gone in done.releases], done.freed_bytes) == ([1], 1)
    assert len(desk.blobs("a")) == 2


def test_leases_are_taken_by_one_token_listed_prolonged_and_given_back(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.unit("a", "one", "two")
    desk.unit("b")
    assert [state.state for state in found(list_leases(desk.fleet())).values()] == ["free", "free"]
    a, b = found(take_leases(desk.fleet(), for_s=100, purpose="looking")).values()
    assert (a.state, a.token, a.left_s) == ("taken", b.token, 100)
    listed = found(list_leases(desk.fleet()))["a"]
    assert (listed.state, listed.purpose, listed.token) == ("held", "looking", "")
    assert 90 <= listed.left_s <= 100
    assert upkeep.roll_back(desk.fleet()).exit_code != 0  # not known to be ours
    monkeypatch.setenv("EDGEDEPLOY_LEASE", a.token)
    assert found(take_leases(desk.fleet(), for_s=1000, purpose="looking on"))["a"].token == a.token
    holder = desk.leases("a").holder()
    assert holder is not None
    assert (holder.purpose, holder.left_s > 900) == ("looking on", True)
    assert upkeep.roll_back(desk.fleet()).devices[0].found is not None
    assert desk.leases("a").holder() is not None  # used, and kept
    assert [state.state for state in found(release_leases(desk.fleet())).values()] == ["released", "released"]
    assert [state.state for state in found(release_leases(desk.fleet())).values()] == ["free", "free"]


def test_somebody_elses_lease_goes_by_force_only(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.unit("a")
    desk.unit("b")
    desk.leases("a").take(token="theirs", owner="bob@ci", purpose="push net", waiting=lambda _holder: None)
    with pytest.raises(UsageError, match="no lease of yours"):
        release_leases(desk.fleet())
    monkeypatch.setenv("EDGEDEPLOY_LEASE", "mine")
    a, b = take_leases(desk.fleet(), for_s=100, purpose="x").devices
    assert a.error is not None
    assert (a.error.kind, "bob@ci" in a.error.what) == ("DeviceBusyError", True)
    assert b.found is not None
    a, b = release_leases(desk.fleet()).devices
    assert a.error is not None
    assert "bob@ci has it" in a.error.what
    assert "--force" in a.error.next_step
    assert b.found is not None
    freed = found(release_leases(desk.fleet(), force=True))["a"]
    assert (freed.state, freed.owner, freed.purpose) == ("released", "bob@ci", "push net")
    assert desk.leases("a").holder() is None


@pytest.mark.parametrize("token", ["two words", "a\nb", "x" * 65, "*"])
def test_what_is_no_token_is_refused(token: str, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.unit("a")
    monkeypatch.setenv("EDGEDEPLOY_LEASE", token)
    with pytest.raises(UsageError, match="not the token of a lease"):
        take_leases(desk.fleet(), for_s=10, purpose="x")
