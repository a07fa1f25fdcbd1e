"""Two hundred clients on ten devices: nobody is ever alone with a device that somebody else is alone with."""

from __future__ import annotations

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from edgedeploy.deploy import lease
from edgedeploy.deploy.device_shell import DeviceShell
from edgedeploy.deploy.lease import Leases, new_token
from edgedeploy.transports.local import LocalConnection

CLIENTS, DEVICES, AT_ONCE = 200, 10, 50
HOLDS_S = 0.02


def test_no_device_is_ever_granted_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "_LOOK_AGAIN_S", 0.3)
    monkeypatch.setattr(lease, "_RACE_PAUSE_S", 0.02)
    inside: Counter[int] = Counter()
    granted: Counter[int] = Counter()
    crowds: list[int] = []
    lock = threading.Lock()

    def client(number: int) -> None:
        device = number % DEVICES
        leases = Leases(DeviceShell(LocalConnection(str(device)), str(device)), str(tmp_path / str(device)))
        token = new_token()
        leases.take(token=token, owner=f"client {number}", purpose="", wait_s=300, waiting=lambda _holder: None)
        with lock:
            inside[device] += 1
            granted[device] += 1
            crowds.append(inside[device])
        time.sleep(HOLDS_S)
        with lock:
            inside[device] -= 1
        assert leases.release(token)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(client, range(CLIENTS)))
    assert crowds == [1] * CLIENTS
    assert set(granted.values()) == {CLIENTS // DEVICES}
