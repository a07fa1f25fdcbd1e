"""Logging in to a server that goes away meanwhile."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import paramiko
import pytest

from edgedeploy.domain.device import Device
from edgedeploy.transports.ssh_endpoint import endpoint_of
from edgedeploy.transports.ssh_login import LoginRefusedError, log_in


class _Server:
    """Takes no key; hangs up after so many."""

    saved_exception = None
    auth_timeout = 10.0

    def __init__(self, *, patience: int) -> None:
        self._patience = patience

    def is_active(self) -> bool:
        return self._patience > 0

    def is_authenticated(self) -> bool:
        return False

    def auth_none(self, user: str) -> None:
        self._patience -= 1
        raise paramiko.AuthenticationException("Authentication failed: transport shut down or saw EOF")

    def auth_publickey(self, user: str, key: paramiko.PKey) -> None:
        self._patience -= 1
        raise paramiko.AuthenticationException("no")


@pytest.fixture
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one key in it, and no agent."""
    monkeypatch.setattr(paramiko.Agent, "get_keys", lambda _self: ())
    paramiko.ECDSAKey.generate().write_private_key_file(str(tmp_path / "id"))
    return tmp_path


@pytest.mark.parametrize(("patience", "error"), [(1, paramiko.SSHException), (2, paramiko.SSHException), (3, LoginRefusedError)])
def test_a_server_that_died_has_not_refused(keys: Path, patience: int, error: type[Exception]) -> None:
    device = Device(name="board", transport="ssh", address="127.0.0.1", user="pi", key=str(keys / "id"))
    with pytest.raises(error) as caught:
        log_in(cast("paramiko.Transport", _Server(patience=patience)), endpoint_of(device, keys))
    assert not isinstance(caught.value, paramiko.AuthenticationException)
