"""Connections that are open: ended together."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack
from types import SimpleNamespace

import pytest

from edgedeploy import registry
from edgedeploy.domain.device import Device
from edgedeploy.errors import DeviceLostError
from edgedeploy.stages.reach import Attempts, Open

BOARDS = 3


def test_boards_that_hang_are_let_go_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each one may take seconds: it is asked to end what it runs. Here none ends before all have been asked."""
    all_asked = threading.Barrier(BOARDS, timeout=5)
    alone = threading.Barrier(1)
    closing = [all_asked] * BOARDS

    def close() -> None:
        (closing.pop() if closing else alone).wait()

    transport = SimpleNamespace(connect=lambda _device: SimpleNamespace(close=close))
    monkeypatch.setattr(registry, "transport", lambda _name: transport)
    opened = Open()
    with ExitStack() as stack:
        for number in range(BOARDS):
            stack.enter_context(opened.connection(Device(name=f"board{number}", transport="fake")))
        opened.close_all()
    assert opened.stopped
    assert not all_asked.broken


def test_a_device_is_waited_for_since_it_was_lost_however_long_it_had_worked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gate may take three minutes of which nothing is kept; one that never ends well is not begun again for ever."""
    now_s = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now_s)
    opened = Open()
    monkeypatch.setattr(opened, "pause", lambda _seconds: None)
    lost = DeviceLostError("the cable was pulled")
    attempts = Attempts(Device(name="a", transport="fake"), opened, lambda _event: None, retry_for_s=120)
    now_s = 170.0
    attempts.wait_after(lost)
    now_s = 200.0
    attempts.wait_after(lost)
    now_s = 300.0
    with pytest.raises(DeviceLostError):
        attempts.wait_after(lost)
    attempts.got_something_done()
    attempts.wait_after(lost)
