"""Connections that are open: ended together."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from types import SimpleNamespace

import pytest

from edgedeploy import registry
from edgedeploy.domain.device import Device
from edgedeploy.stages.reach import Open

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
