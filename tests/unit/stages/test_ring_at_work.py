"""Comparisons on this machine as the device: what is deployed for them. What runs is made up; real runners: tests/integration."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from unit.probes.test_clock import FOUND, Kernel
from unit.stages.planned import INT8, Heard, planned, prepared, runner, target
from unit.stages.test_fight import document

from edgedeploy.cache import Cache
from edgedeploy.deploy.signing import Signer
from edgedeploy.domain.comparison import Block, Figure, Turn
from edgedeploy.domain.conditions import FixedClock, Start
from edgedeploy.domain.contest import Contest
from edgedeploy.domain.device import Device
from edgedeploy.domain.events import Note, Sink
from edgedeploy.domain.release import owner_of
from edgedeploy.domain.result import Verification
from edgedeploy.domain.target import MeasurePolicy, Name, Target
from edgedeploy.errors import RunnerError
from edgedeploy.host import host_abi
from edgedeploy.ports import Connection, Probe
from edgedeploy.probes.clock import clocked
from edgedeploy.runners.document import RunnerDocument
from edgedeploy.stages import clock as clock_module
from edgedeploy.stages import ring as ring_module
from edgedeploy.stages.aboard import Aboard
from edgedeploy.stages.deployed import Deployed
from edgedeploy.stages.duel import Duel
from edgedeploy.stages.fight import Fought, Rules, figures_of
from edgedeploy.stages.plan import PlannedRun
from edgedeploy.stages.push import Payload, Terms, push
from edgedeploy.stages.ring import Opponents, Ring
from edgedeploy.stages.run_result import Ready
from edgedeploy.stats.comparison import compare
from edgedeploy.transports.local import LocalTransport

SIGNER = Signer(Ed25519PrivateKey.from_private_bytes(bytes(range(32))))


class Desk:
    """This machine as the device, and a fight that is made up."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.connection: Connection = LocalTransport().connect(Device(name="desk", transport="local"))
        self.heard = Heard()
        self.fights: list[MadeUpFight] = []
        monkeypatch.setattr(ring_module, "Fight", lambda *about, **more: MadeUpFight(self.fights, *about, **more))

    def ready(self, name: str, run: PlannedRun | None = None, *, content: bytes = b"program") -> Ready:
        """An export with a runner of its own, so that none is looked for."""
        made = prepared(self.folder / name, run or planned(), content=content)
        mine = runner(self.folder / f"{name}-runner")
        return Ready(prepared=made, host=Verification(), runner=mine, runner_abi=host_abi())

    def signed(self, item: Ready, project: str = "demo") -> Ready:
        """As a bundle has it that was signed where it was exported."""
        assert item.runner is not None
        payload = Payload(prepared=item.prepared, bundle=item.runner)
        return msgspec.structs.replace(item, attestations=payload.attested(project, SIGNER))

    def contest(
        self,
        base: Ready | Deployed,
        candidate: Ready,
        *,
        bounds: tuple[tuple[Figure, float], ...] | None = None,
        **target_changes: object,
    ) -> Contest:
        bench = target(os="host", abi="host", workdir=str(self.folder / "device"), **target_changes)
        terms = Terms(project="demo", device="desk", trusted_keys=bench.trusted_keys)
        host = self.host(bench)
        pair = Opponents(base=base, candidate=candidate, base_origin="a", candidate_origin="b", bounds=bounds)
        return Ring(host=host, terms=terms, rules=Rules(), sink=self.heard).contest(pair)

    def host(self, bench: Target) -> Aboard:
        device = Device(name="desk", transport="local")
        return Aboard(
            connection=self.connection, device=device, target=bench, cache=Cache(self.folder / "cache"), sink=self.heard
        )

    def push(self, item: Ready) -> None:
        """A release of the project."""
        assert item.runner is not None
        payload = Payload(prepared=item.prepared, bundle=item.runner, attestations=item.attestations)
        store = self.host(target(os="host", abi="host", workdir=str(self.folder / "device"))).store("demo")
        push(store, [payload], Terms(project="demo", device="desk"), sink=self.heard)

    @property
    def deployed(self) -> dict[str, list[str]]:
        """By place, the artifacts that are in its current release."""
        places = sorted((self.folder / "device/projects").glob("*"))
        return {
            place.name: sorted(str(file.relative_to(place / "current")) for file in place.glob("current/**/*.pte"))
            for place in places
        }


class MadeUpFight:
    """Both are as fast as each other, without having been started: ``program`` is, in their place."""

    program = ""
    said: list[bytes]

    def __init__(
        self, all_of_them: list[MadeUpFight], connection: Connection, duel: Duel, *about: object, **more: object
    ) -> None:
        all_of_them.append(self)
        self.connection, self.duel = connection, duel

    def fight(self) -> Fought:
        if self.program:
            self.said = self.connection.run(["sh", "-c", self.program], timeout_s=20).stdout.split()
        base, candidate = one_process(), one_process()
        figures = figures_of(base)
        turns = tuple(Turn(side=side, start_ns=n, latency_ns=(100,)) for n, side in enumerate(("base", "candidate")))
        blocks = (Block(turns=turns, base=figures, candidate=figures),) * 5
        return Fought(
            blocks=blocks,
            verdict="pass",
            decided=(msgspec.structs.replace(compare(blocks, "latency_p50"), verdict="pass"),),
            reasons=(),
            base=base,
            candidate=candidate,
            taking_turns=True,
            seconds=1.0,
        )


def one_process() -> RunnerDocument:
    return document([100], [])


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """Nothing is deployed yet."""
    return Desk(tmp_path, monkeypatch)


def test_what_is_compared_lies_beside_the_projects_releases_and_not_in_another_projects(desk: Desk) -> None:
    assert desk.contest(desk.ready("one"), desk.ready("other")).verdict == "pass"
    (place,) = (name for name, files in desk.deployed.items() if files)
    assert owner_of(place) == "demo" != place
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(place, Name)


def test_a_device_that_demands_signatures_takes_two_bundles_that_are_signed(desk: Desk) -> None:
    """Both have the same folders, and neither was signed for a comparison."""
    one, other = desk.ready("one"), desk.ready("other", content=b"newer")
    assert desk.contest(one, other).verdict == "pass"  # what is left there unsigned is no obstacle
    demands = {"trusted_keys": (SIGNER.public_key,)}
    assert desk.contest(desk.signed(one), desk.signed(other), **demands).error is None
    assert len(desk.fights) == 2
    for base, candidate in ((one, desk.signed(other)), (desk.signed(one, "another"), desk.signed(other))):
        refused = desk.contest(base, candidate, **demands)
        assert refused.error is not None
        assert "no trusted key" in refused.error.what
        assert "base/" in refused.error.seen
    assert len(desk.fights) == 2


def test_a_signed_release_is_compared_with_a_signed_bundle_that_brings_the_runner(desk: Desk) -> None:
    deployed, bundle = desk.signed(desk.ready("one")), desk.signed(desk.ready("other", content=b"newer"))
    desk.push(deployed)
    found = desk.contest(Deployed(), bundle, trusted_keys=(SIGNER.public_key,))
    assert (found.verdict, found.error) == ("pass", None)
    assert found.base.sha256 == deployed.prepared.artifact.sha256


class Phone:
    """A connection to our app that notices when anything is asked of it."""

    host = cast("Connection", None)

    def _asked(self, *_words: object, **_more: object) -> Any:
        raise AssertionError("something was asked of the phone")

    run = pour = fetch = close = files = put = _asked


def test_an_app_that_takes_no_turns_is_refused_before_anything_is_sent(desk: Desk) -> None:
    desk.connection = Phone()
    refused = desk.contest(desk.ready("one"), desk.ready("other"))
    assert refused.error is not None
    assert (refused.error.exit_code, "no turns" in refused.error.what) == (2, True)
    assert "--device" in refused.error.next_step


def test_different_work_is_refused_before_anything_is_sent(desk: Desk) -> None:
    """Nothing that it says could be believed, however good the ratio looks."""
    base, candidate = desk.ready("one"), desk.ready("other")
    (method,) = candidate.prepared.artifact.methods
    smaller = msgspec.structs.replace(method.golden[0], input_shapes=((1,),))
    artifact = msgspec.structs.replace(candidate.prepared.artifact, methods=(msgspec.structs.replace(method, golden=(smaller,)),))
    candidate = msgspec.structs.replace(candidate, prepared=msgspec.structs.replace(candidate.prepared, artifact=artifact))
    refused = desk.contest(base, candidate)
    assert refused.error is not None
    assert (refused.error.exit_code, "different work" in refused.error.what) == (2, True)
    assert desk.deployed == {}
    assert desk.contest(base, desk.ready("third")).same_outputs is None  # this runner tells no digests


def test_it_begins_on_a_device_that_is_ready(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    class MadeUpGate:
        def __init__(self, _connection: Connection, _probe: Probe, policy: MeasurePolicy, _sink: Sink, subject: str) -> None:
            self.asked = (policy.start_wait_s, subject)

        def wait(self) -> Start:
            assert self.asked == (60, "net executorch-xnnpack-fp32 on desk")
            assert desk.fights == []
            return Start(waited_s=60.0, unmet=("still cooling down",))

    monkeypatch.setattr(ring_module, "Gate", MadeUpGate)
    found = desk.contest(desk.ready("one"), desk.ready("other", planned(policy=MeasurePolicy(start_wait_s=60))))
    assert found.start == Start(waited_s=60.0, unmet=("still cooling down",))


def test_the_clock_is_held_while_both_run(desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "kernel").mkdir()
    kernel = Kernel(tmp_path / "kernel")
    monkeypatch.setattr(clock_module, "clocked", functools.partial(clocked, tree=str(kernel.tree)))
    monkeypatch.setattr(MadeUpFight, "program", f"cat '{kernel.tree}'/cpu*/cpufreq/scaling_governor")
    found = desk.contest(desk.ready("one"), desk.ready("other", planned(policy=MeasurePolicy(fixed_clock=True))))
    assert desk.fights[0].said == [b"performance"] * 4
    assert found.fixed_clock == FixedClock(how="governor performance")
    assert kernel.all == [FOUND] * 4
    assert desk.contest(desk.ready("third"), desk.ready("fourth")).fixed_clock is None
    assert desk.fights[1].said == [b"ondemand"] * 4


def test_the_time_to_the_first_token_of_what_has_no_tokens_is_refused(desk: Desk) -> None:
    refused = desk.contest(desk.ready("one"), desk.ready("other", content=b"newer"), bounds=(("ttft", 0.1),))
    assert refused.error is not None
    assert (refused.error.exit_code, refused.error.seen) == (2, "ttft of net")
    assert desk.deployed == {}


def test_what_was_compared_before_stays_so_that_it_is_not_sent_again(desk: Desk) -> None:
    for model in ("net", "other"):
        desk.contest(desk.ready(f"{model}-one", planned(model)), desk.ready(f"{model}-two", planned(model)))
    (files,) = desk.deployed.values()
    assert [file.split("/")[0] + file.split("/")[2] for file in files] == [
        "basenet",
        "baseother",
        "candidatenet",
        "candidateother",
    ]


def test_a_release_that_lacks_a_lane_or_does_not_say_how_it_is_run_is_not_compared_by_another_one(desk: Desk) -> None:
    """int8 that became slower is still faster than fp32."""
    fp32, int8 = desk.ready("fp32"), desk.ready("int8", planned(lane=INT8), content=b"smaller")
    desk.push(fp32)
    assert desk.contest(Deployed(any_lane=True), int8).error is None
    refused = desk.contest(Deployed(), int8).error
    assert refused is not None
    assert (refused.exit_code, refused.seen) == (2, "net/fp32/executorch-xnnpack-fp32")
    desk.push(int8)
    manifest = desk.folder / "device/projects/demo/current/manifest.json"
    told = json.loads(manifest.read_bytes())
    del told["artifacts"]["models/net/int8/executorch-xnnpack-int8"]  # an older edgedeploy pushed it
    manifest.chmod(0o644)
    manifest.write_text(json.dumps(told))
    refused = desk.contest(Deployed(any_lane=True), int8).error
    assert refused is not None
    assert (refused.exit_code, refused.what) == (2, "that release does not say how net executorch-xnnpack-int8 is run")
    assert "older edgedeploy" in refused.seen
    assert desk.contest(Deployed(any_lane=True, recipe="fp32"), int8).error is None
    assert desk.contest(Deployed(), fp32).error is None


class FightOfSound(MadeUpFight):
    """One that a base does not survive whose bits turned on the device's storage."""

    def fight(self) -> Fought:
        if (Path(self.duel.base.artifact_dir) / "model.pte").read_bytes() != b"program":
            raise RunnerError("the runner failed at stage 'load'", next_step="export again")
        return super().fight()


@pytest.mark.parametrize("deployed", [False, True])
def test_a_base_that_was_damaged_on_the_device_is_sent_again_or_told(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, *, deployed: bool
) -> None:
    monkeypatch.setattr(ring_module, "Fight", lambda *about, **more: FightOfSound(desk.fights, *about, **more))
    base, candidate = desk.ready("one"), desk.ready("other", content=b"newer")
    desk.push(base)
    assert desk.contest(base, candidate).verdict == "pass"
    blob = desk.folder / "device/blobs" / base.prepared.artifact.sha256
    blob.chmod(0o644)
    blob.write_bytes(b"prOgram")
    found = desk.contest(Deployed() if deployed else base, candidate)
    if deployed:
        assert found.error is not None
        assert (found.error.exit_code, found.error.what) == (6, "what is compared with was damaged on the device")
        assert found.error.seen == "model.pte of net executorch-xnnpack-fp32"
    else:
        assert (found.verdict, len(desk.fights), blob.read_bytes()) == ("pass", 3, b"program")
        notes = [event.text for event in desk.heard if isinstance(event, Note)]
        path = "base/models/net/fp32/executorch-xnnpack-fp32/model.pte"
        assert f"desk: damaged on the device, sent again: {path}" in notes
