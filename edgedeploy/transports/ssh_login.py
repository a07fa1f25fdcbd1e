"""Proving to a board who we are: agent, key files, a password from the environment; in ssh's order."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import paramiko
import paramiko.pkey
from cryptography.exceptions import UnsupportedAlgorithm

from edgedeploy.errors import DeviceUnavailableError
from edgedeploy.transports.ssh_endpoint import Endpoint
from edgedeploy.transports.ssh_exec import last_words


class LoginRefusedError(DeviceUnavailableError):
    """The board is there, and does not let us in."""


_FEW_KEYS = 2  # a server that hangs up after more of them does so because of them


class _Attempts:
    """What was tried and what was passed over, for the error at the end."""

    def __init__(self) -> None:
        self.tried: list[str] = []
        self.locked: list[str] = []
        self.unusable: list[str] = []

    def told(self) -> str:
        parts = [f"tried {', '.join(self.tried)}" if self.tried else "nothing to try"]
        parts += [f"{path} is encrypted and no agent holds it" for path in self.locked]
        parts += self.unusable
        return "; ".join(parts)


def log_in(transport: paramiko.Transport, endpoint: Endpoint) -> None:
    """Authenticate ``transport`` whose host key has been verified.

    Raises:
        LoginRefusedError: nothing we have is accepted; says what was tried and what helps.
        paramiko.SSHException: the connection broke.
    """
    attempts = _Attempts()
    methods = _offered_methods(transport, endpoint)
    if transport.is_authenticated():
        return
    if "publickey" in methods:
        for name, key in _keys(endpoint, attempts):
            attempts.tried.append(name)
            try:
                still_wanted = transport.auth_publickey(endpoint.user, key)
            except paramiko.AuthenticationException:
                continue
            if transport.is_authenticated():
                return
            methods = still_wanted
            break
    if endpoint.password_env and {"password", "keyboard-interactive"} & set(methods):
        password = _password(endpoint)
        attempts.tried.append(f"the password in ${endpoint.password_env}")
        with suppress(paramiko.AuthenticationException):
            transport.auth_password(endpoint.user, password)
        if transport.is_authenticated():
            return
    if not transport.is_active() and len(attempts.tried) <= _FEW_KEYS:
        raise paramiko.SSHException(last_words(transport))
    raise LoginRefusedError(
        f"{endpoint.spoken} does not let us in",
        where=f"device {endpoint.device}",
        seen=f"{attempts.told()}; the board takes {', '.join(methods) or 'nothing'}",
        next_step=_next_step(endpoint, attempts),
    )


def _offered_methods(transport: paramiko.Transport, endpoint: Endpoint) -> list[str]:
    """Asking for no authentication at all is how a client learns what a server takes; it counts as no failed try."""
    try:
        transport.auth_none(endpoint.user)
    except paramiko.BadAuthenticationType as exc:
        return list(exc.allowed_types)
    except paramiko.AuthenticationException:
        return ["publickey", "password"]
    return []


def _keys(endpoint: Endpoint, attempts: _Attempts) -> Iterator[tuple[str, paramiko.PKey]]:
    held = {key.asbytes(): key for key in paramiko.Agent().get_keys()}
    files = [path for path in endpoint.key_files if Path(path).is_file()]
    if endpoint.key_is_explicit and not files:
        attempts.unusable.append(f"there is no key file {endpoint.key_files[0]}")
    in_agent: set[str] = set()
    for path in files:
        key = held.pop(_public_blob(path), None)
        if key is not None:
            in_agent.add(path)
            yield f"{path} from the agent", key
    if not endpoint.only_these_keys:
        for key in held.values():
            yield f"the agent's key {key.fingerprint}", key
    for path in files:
        if path in in_agent:
            continue
        loaded = _load(path, attempts)
        if loaded is not None:
            yield path, loaded


def _load(path: str, attempts: _Attempts) -> paramiko.PKey | None:
    try:
        key: paramiko.PKey = paramiko.PKey.from_path(path)
    except (paramiko.PasswordRequiredException, TypeError):  # TypeError: cryptography wants a password
        attempts.locked.append(path)
    except (paramiko.SSHException, paramiko.pkey.UnknownKeyType, UnsupportedAlgorithm, ValueError, OSError) as exc:
        attempts.unusable.append(f"{path} cannot be used: {exc}")
    else:
        return key
    return None


def _public_blob(path: str) -> bytes:
    """The public half beside a private key; empty if there is none."""
    try:
        return paramiko.pkey.PublicBlob.from_file(f"{path}.pub").key_blob
    except (OSError, ValueError, IndexError):
        return b""


def _password(endpoint: Endpoint) -> str:
    password = os.environ.get(endpoint.password_env)
    if password is None:
        raise LoginRefusedError(
            "the password for the board is not there",
            where=f"device {endpoint.device}: password_env",
            seen=f"the environment variable {endpoint.password_env} is not set",
            next_step=f"set {endpoint.password_env}, or better use a key: ssh-copy-id {endpoint.ssh_words}",
        )
    return password


def _next_step(endpoint: Endpoint, attempts: _Attempts) -> str:
    if attempts.locked:
        return f"ssh-add {attempts.locked[0]}"
    return f"ssh-copy-id {endpoint.ssh_words}, or name another user or key for the device in lab.toml"
