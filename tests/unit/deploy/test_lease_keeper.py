"""A lease that is held while something goes on: renewed beside it, given back once and for all."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest

from edgedeploy.deploy import lease_keeper
from edgedeploy.deploy.device_shell import LIMIT_S, DeviceShell
from edgedeploy.deploy.lease import Leases
from edgedeploy.deploy.lease_keeper import Claim, held
from edgedeploy.errors import CommandTimeoutError, DeviceLostError, DeviceRunError, EdgedeployError
from edgedeploy.transports.local import LocalConnection


class _Told(Leases):
    """Tells what is done to it, when it has been done. Renews once it is told to go on; by then it has long begun."""

    def __init__(self, workdir: Path, done: list[str]) -> None:
        super().__init__(DeviceShell(LocalConnection("here"), "here"), str(workdir))
        self.begun, self.go_on = threading.Event(), threading.Event()
        self._done = done

    def renew(self, number: int, *, token: str, owner: str, purpose: str, ttl_s: int = 60) -> None:
        self.begun.set()
        self.go_on.wait(10)
        super().renew(number, token=token, owner=owner, purpose=purpose, ttl_s=ttl_s)
        self._done.append("renewed")

    def release(self, token: str = "") -> bool:
        self._done.append("given back")
        return super().release(token)


def test_a_renewal_under_way_does_not_undo_the_giving_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease_keeper, "_RENEWALS_PER_TTL", 1000)
    done: list[str] = []
    leases, renewing = _Told(tmp_path, done), _Told(tmp_path, done)

    @contextmanager
    def again() -> Iterator[Leases]:
        yield renewing

    wanted = Claim(token="a", owner="me", purpose="test", ttl_s=5)
    with held(leases, wanted, again=again, waiting=lambda _holder: None, lost=lambda: None):
        assert renewing.begun.wait(10)
        threading.Timer(0.2, renewing.go_on.set).start()
    assert done == ["renewed", "given back"]
    assert leases.holder() is None


def test_how_long_it_is_good_is_the_claims(tmp_path: Path) -> None:
    leases = Leases(DeviceShell(LocalConnection("here"), "here"), str(tmp_path))

    @contextmanager
    def again() -> Iterator[Leases]:
        raise EdgedeployError("never asked for")
        yield

    wanted = Claim(token="a", owner="me", purpose="test", ttl_s=7)
    with held(leases, wanted, again=again, waiting=lambda _holder: None, lost=lambda: None):
        holder = leases.holder()
        assert holder is not None
        assert 5 <= holder.left_s <= 7


@pytest.mark.parametrize(
    ("error", "limited"),
    [(DeviceLostError("gone"), True), (CommandTimeoutError("slow"), False), (DeviceRunError("failed"), False)],
)
def test_a_device_that_went_away_is_not_waited_for_to_give_back_its_lease(
    tmp_path: Path, error: EdgedeployError, *, limited: bool
) -> None:
    limits: list[float] = []

    class Silent(Leases):
        def release(self, token: str = "", *, limit_s: float = LIMIT_S) -> bool:
            limits.append(limit_s)
            return super().release(token)

    leases = Silent(DeviceShell(LocalConnection("here"), "here"), str(tmp_path))
    wanted = Claim(token="a", owner="me", purpose="test")
    with (
        pytest.raises(type(error)),
        held(leases, wanted, again=lambda: nullcontext(leases), waiting=lambda _holder: None, lost=lambda: None),
    ):
        raise error
    assert [limit_s < 5 for limit_s in limits] == [limited]
