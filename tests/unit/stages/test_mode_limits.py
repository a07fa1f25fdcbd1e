"""Which modes are refused where, before anything is done."""

from __future__ import annotations

import pytest
from unit.stages.planned import planned, target

from edgedeploy.domain.mode import MODES, Mode
from edgedeploy.domain.target import MeasurePolicy, Os
from edgedeploy.errors import UsageError
from edgedeploy.stages import mode_limits
from edgedeploy.stages.mode_limits import require_possible


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("os", "language", "possible"),
    [
        ("linux", False, set(MODES)),
        ("android", False, set(MODES)),
        ("linux", True, {"single", "cold"}),
        ("macos", False, {"single", "cold"}),
        ("ios", False, {"single"}),
    ],
)
def test_what_cannot_be_is_refused_with_what_can(mode: Mode, os: Os, language: bool, possible: set[Mode]) -> None:
    run = planned(policy=MeasurePolicy(mode=mode))
    if mode in possible:
        require_possible(run, target(os=os), language=language)
        return
    with pytest.raises(UsageError, match=f"cannot be measured in mode '{mode}' on bench") as caught:
        require_possible(run, target(os=os), language=language)
    assert "--mode single" in caught.value.next_step
    assert caught.value.seen


def test_this_machine_may_be_a_mac(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mode_limits, "host_os", lambda: "macos")
    with pytest.raises(UsageError, match="a Mac has no /proc"):
        require_possible(planned(policy=MeasurePolicy(mode="sustained")), target(os="host"), language=False)
