"""Proving to a board who we are: agent, key files, a password that is referred to or typed; in ssh's order."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

import paramiko
import paramiko.pkey
from cryptography.exceptions import UnsupportedAlgorithm

from edgedeploy.errors import DeviceUnavailableError
from edgedeploy.transports import ssh_secrets as secrets
from edgedeploy.transports.ssh_endpoint import Endpoint
from edgedeploy.transports.ssh_exec import last_words

_NO_KEY = (paramiko.SSHException, paramiko.pkey.UnknownKeyType, UnsupportedAlgorithm, ValueError, OSError)


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
        parts += [f"{path} is encrypted, and no agent holds it" for path in self.locked]
        parts += self.unusable
        return "; ".join(parts)


def log_in(transport: paramiko.Transport, endpoint: Endpoint) -> None:
    """Authenticate ``transport`` whose host key has been verified.

    Raises:
        LoginRefusedError: nothing we have is accepted; says what was tried and what helps.
        paramiko.SSHException: the connection broke, or the board has stopped answering.
    """
    attempts = _Attempts()
    methods = _offered_methods(transport, endpoint)
    if "publickey" in methods and not transport.is_authenticated():
        methods = _by_key(transport, endpoint, methods, attempts)
    if {"password", "keyboard-interactive"} & set(methods) and transport.is_active() and not transport.is_authenticated():
        _by_password(transport, endpoint, attempts)
    if not transport.is_authenticated():
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
        with _answered(transport):
            transport.auth_none(endpoint.user)
    except paramiko.BadAuthenticationType as exc:
        return list(exc.allowed_types)
    except paramiko.AuthenticationException:
        return ["publickey", "password"]
    return []


def _by_key(transport: paramiko.Transport, endpoint: Endpoint, methods: list[str], attempts: _Attempts) -> list[str]:
    """Try all keys; the methods that are wanted after them."""
    for name, key in _keys(endpoint, attempts):
        if not transport.is_active() and len(attempts.tried) > _FEW_KEYS:
            raise LoginRefusedError(
                f"{endpoint.spoken} hung up after {len(attempts.tried)} keys",
                where=f"device {endpoint.device}",
                seen=attempts.told(),
                next_step="name the right one: `key` in lab.toml, or IdentityFile and IdentitiesOnly in ~/.ssh/config",
            )
        if not transport.is_active():
            break
        attempts.tried.append(name)
        with contextlib.suppress(paramiko.AuthenticationException), _answered(transport):
            return transport.auth_publickey(endpoint.user, key)
    return methods


def _by_password(transport: paramiko.Transport, endpoint: Endpoint, attempts: _Attempts) -> None:
    for name, password in _passwords(endpoint):
        attempts.tried.append(name)
        with contextlib.suppress(paramiko.AuthenticationException), _answered(transport):
            transport.auth_password(endpoint.user, password)
        if transport.is_authenticated():
            secrets.remember(endpoint.spoken, password)
        if transport.is_authenticated() or not transport.is_active():
            return


@contextlib.contextmanager
def _answered(transport: paramiko.Transport) -> Iterator[None]:
    """To paramiko, a board that has stopped answering has refused us: the next key would wait as long again."""
    began_at = time.monotonic()
    try:
        yield
    except paramiko.AuthenticationException as exc:
        if time.monotonic() - began_at >= transport.auth_timeout:
            raise paramiko.SSHException(f"no answer for {transport.auth_timeout:g} s") from exc
        raise


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
        return _unlocked(path, None)
    except (paramiko.PasswordRequiredException, TypeError):  # TypeError: cryptography wants a password
        for passphrase in secrets.answers(path, f"Passphrase of {path}: "):
            with contextlib.suppress(*_NO_KEY):
                key = _unlocked(path, passphrase)
                secrets.remember(path, passphrase)
                return key
        attempts.locked.append(path)
    except _NO_KEY as exc:
        attempts.unusable.append(f"{path} cannot be used: {exc}")
    return None


def _unlocked(path: str, passphrase: str | None) -> paramiko.PKey:
    # paramiko's annotation says str; what it calls takes bytes only.
    secret = passphrase.encode() if passphrase is not None else None
    key: paramiko.PKey = paramiko.PKey.from_path(path, secret)  # type: ignore[arg-type]
    return key


def _public_blob(path: str) -> bytes:
    """The public half beside a private key; empty if there is none."""
    try:
        return paramiko.pkey.PublicBlob.from_file(f"{path}.pub").key_blob
    except (OSError, ValueError, IndexError):
        return b""


def _passwords(endpoint: Endpoint) -> Iterator[tuple[str, str]]:
    """The one that is referred to, or those that somebody at a terminal types."""
    variable = endpoint.password_env
    if not variable:
        for typed in secrets.answers(endpoint.spoken, f"Password of {endpoint.spoken}: "):
            yield "a password", typed
    elif variable in os.environ:
        yield f"the password in ${variable}", os.environ[variable]
    else:
        raise LoginRefusedError(
            "the password for the board is not there",
            where=f"device {endpoint.device}: password",
            seen=f"the environment variable {variable} is not set",
            next_step=f"set {variable}, or better use a key: ssh-copy-id {endpoint.ssh_words}",
        )


def _next_step(endpoint: Endpoint, attempts: _Attempts) -> str:
    if attempts.locked:
        return f"ssh-add {attempts.locked[0]}"
    return f"ssh-copy-id {endpoint.ssh_words}, or name another user or key for the device in lab.toml"
