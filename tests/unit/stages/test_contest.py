"""Comparisons on a device that goes away. The devices and what they do are made up; real ones are in tests/integration."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import cast

import msgspec
import pytest
from unit.stages.planned import FP32, INT8, planned, prepared, target

from edgedeploy.cache import Cache
from edgedeploy.domain.contest import Contest, Contests
from edgedeploy.domain.device import Device
from edgedeploy.domain.failure import Failure
from edgedeploy.domain.result import Verification
from edgedeploy.domain.upkeep import Outcome, UpkeepReport
from edgedeploy.errors import DeviceLostError
from edgedeploy.ports import Connection
from edgedeploy.stages import contest as contest_module
from edgedeploy.stages.aboard import Aboard
from edgedeploy.stages.contest import contest
from edgedeploy.stages.fight import Rules
from edgedeploy.stages.fleet import Fleet, Visit
from edgedeploy.stages.ring import Opponents, blank
from edgedeploy.stages.run_result import Ready

FLEET = Fleet(target=target(), project="project", devices=(Device(name="desk", transport="fake"),))


@pytest.fixture
def opponents(tmp_path: Path) -> list[Opponents]:
    found = []
    for lane in (FP32, INT8):
        place = tmp_path / lane.id
        place.mkdir()
        ready = Ready(prepared=prepared(place, planned(lane=lane)), host=Verification())
        found.append(Opponents(base=ready, candidate=ready, base_origin="a", candidate_origin="b"))
    return found


@pytest.mark.parametrize("back", [True, False])
def test_what_is_finished_is_kept_when_the_device_goes_away(
    opponents: list[Opponents], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, back: bool
) -> None:
    begun: list[str] = []
    done: list[int] = []

    class Ring:
        def __init__(self, **_about: object) -> None:
            pass

        def contest(self, pair: Opponents) -> Contest:
            begun.append(pair.candidate.prepared.run.recipe_name)
            if begun == ["fp32", "int8"]:
                raise DeviceLostError("the cable was pulled")
            return msgspec.structs.replace(blank("desk", pair), verdict="fail")

    def visit(fleet: Fleet, _schema: str, work: Callable[[Visit], Contests], *, lease_for: str) -> UpkeepReport[Contests]:
        assert lease_for == "compare project"
        at = Visit(
            connection=cast("Connection", None),
            device=fleet.devices[0],
            fleet=fleet,
            another=nullcontext,
            got_something_done=lambda: done.append(len(begun)),
        )
        with pytest.raises(DeviceLostError) as raised:
            work(at)
        outcome = (
            Outcome(device="desk", found=work(at)) if back else Outcome[Contests](device="desk", error=Failure.of(raised.value))
        )
        return UpkeepReport(schema="", edgedeploy="", target="bench", devices=(outcome,))

    monkeypatch.setattr(contest_module, "Ring", Ring)
    monkeypatch.setattr(Aboard, "check_abi", lambda _self: None)
    monkeypatch.setattr(contest_module, "on_each", visit)
    first, second = contest(FLEET, opponents, Rules(), Cache(tmp_path / "cache"))
    assert (first.verdict, second.verdict) == ("fail", "fail" if back else "error")
    assert begun == ["fp32", "int8", *(["int8"] if back else [])]
    assert done == [1, *([3] if back else [])]
