"""An encrypted, verified way to a board: socket, host key, nothing of the user's yet."""

from __future__ import annotations

import contextlib
import logging
import shlex
import socket
import sys
import time
from pathlib import Path

import paramiko

from edgedeploy.errors import DeviceAbsentError, DeviceUnavailableError
from edgedeploy.transports.known_hosts import DEFAULT_PORT, HostKey, KnownKeys, host_pattern, known_keys
from edgedeploy.transports.ssh_endpoint import Endpoint
from edgedeploy.transports.ssh_proxy import Proxy

CONNECT_S = 10.0
_CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "aes128-ctr", "aes192-ctr", "aes256-ctr")
_WINDOW_BYTES = 16 << 20  # 2 MiB, the stock value, leaves a link of 100 MB/s and 20 ms waiting for acknowledgements
_IDLE_S, _BETWEEN_S, _UNANSWERED = 10, 5, 3  # a dead peer is noticed after 10 + 3 * 5 s
_DEAD_MS = 25_000
_LOG = "edgedeploy.paramiko"
_FINAL = ("Host key verification failed", "Permission denied")  # of the machine in between, says ssh: trying again helps nobody
_AUTHORITY = (
    "; known_hosts has a @cert-authority for it, and certificates of hosts are not supported: the key itself has to be known"
)


class HostKeyError(DeviceUnavailableError):
    """The board cannot prove that it is the one it was before, or that we know it."""


class Link:
    """A transport whose host key is verified, with what has to be ended when it ends."""

    def __init__(self, transport: paramiko.Transport, proxy: Proxy | None) -> None:
        self.transport = transport
        self._proxy = proxy

    def close(self) -> None:
        """Let go. Never raises."""
        with contextlib.suppress(Exception):
            self.transport.close()
        if self._proxy is not None:
            self._proxy.close()


def open_link(endpoint: Endpoint) -> Link:
    """Connect and verify the host key, within 10 s for each of: connecting, greeting, agreeing on keys.

    Raises:
        HostKeyError: the host key is unknown, changed or revoked.
        DeviceUnavailableError: nobody answers, or not with SSH.
    """
    sock, proxy = _connected_socket(endpoint)
    known = _known_keys(endpoint)
    transport: paramiko.Transport | None = None
    try:
        transport = paramiko.Transport(sock, default_window_size=_WINDOW_BYTES)
        _configure(transport, known)
        offered = _greet(transport, endpoint, proxy)
        _verify(offered, known, endpoint)
    except BaseException:
        if transport is not None:
            transport.close()
        sock.close()
        if proxy is not None:
            proxy.close()
        raise
    return Link(transport, proxy)


def _connected_socket(endpoint: Endpoint) -> tuple[socket.socket, Proxy | None]:
    try:
        if endpoint.proxy:
            proxy = Proxy(endpoint.proxy)
            return proxy.socket, proxy
        sock = socket.create_connection((endpoint.host, endpoint.port), timeout=CONNECT_S)
    except socket.gaierror as exc:
        next_step = f"check the address, and that the board has joined the network: ping {shlex.quote(endpoint.host)}"
        raise _unreachable(endpoint, f"the name {endpoint.host!r} is not known", exc, next_step) from exc
    except ConnectionRefusedError as exc:
        next_step = "start an SSH server there (on a Raspberry Pi: sudo systemctl enable --now ssh), check the port"
        raise _unreachable(endpoint, f"nothing listens on {endpoint.host}:{endpoint.port}", exc, next_step) from exc
    except OSError as exc:
        next_step = f"check power, network and address: ping {shlex.quote(endpoint.host)}"
        raise _unreachable(endpoint, f"{endpoint.host}:{endpoint.port} does not answer", exc, next_step) from exc
    _notice_death_soon(sock)
    return sock, None


def _notice_death_soon(sock: socket.socket) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if sys.platform == "darwin":
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPALIVE, _IDLE_S)
    else:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _IDLE_S)
        # Without this, what was sent and not acknowledged keeps a dead connection alive for a quarter of an hour.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _DEAD_MS)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _BETWEEN_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _UNANSWERED)


def _configure(transport: paramiko.Transport, known: KnownKeys) -> None:
    _silence(transport)
    transport.banner_timeout = CONNECT_S
    transport.handshake_timeout = CONNECT_S
    transport.auth_timeout = CONNECT_S
    transport.channel_timeout = CONNECT_S
    options = transport.get_security_options()
    # GCM encrypts and authenticates in one go; paramiko's own order has it last.
    options.ciphers = tuple(cipher for cipher in _CIPHERS if cipher in options.ciphers)
    # As ssh does: ask first for the kinds of host key that are known, or a known board would look like an unknown one.
    kinds = {kind for key in known.trusted for kind in _algorithms(key.kind)}
    options.key_types = tuple(sorted(options.key_types, key=lambda kind: kind not in kinds))


def _silence(transport: paramiko.Transport) -> None:
    """What paramiko's thread has to say reaches the user as our own errors, never as its log or traceback."""
    logger = logging.getLogger(_LOG)
    logger.propagate = False
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
    transport.set_log_channel(_LOG)


def _algorithms(kind: str) -> tuple[str, ...]:
    return ("rsa-sha2-512", "rsa-sha2-256") if kind == "ssh-rsa" else (kind,)


def _greet(transport: paramiko.Transport, endpoint: Endpoint, proxy: Proxy | None) -> HostKey:
    began_at = time.monotonic()
    try:
        transport.start_client(timeout=CONNECT_S)
        # start_client returns when its time is up as if all were well; this one then finds no session.
        key = transport.get_remote_server_key()
    except (paramiko.SSHException, EOFError, OSError) as exc:
        through = f" through {shlex.join(endpoint.proxy)}" if endpoint.proxy else ""
        silent = time.monotonic() - began_at >= CONNECT_S
        complaints = proxy.complaints() if proxy is not None else ""
        final = any(complaint in complaints for complaint in _FINAL)
        raise (DeviceUnavailableError if final else DeviceAbsentError)(
            f"{endpoint.host}:{endpoint.port} does not complete an SSH handshake{through}",
            where=f"device {endpoint.device}",
            seen=complaints or (f"no answer for {CONNECT_S:g} s" if silent else str(exc)),
            next_step=f"see what ssh says: ssh -v {endpoint.ssh_words}",
        ) from exc
    return HostKey(kind=key.get_name(), blob=key.asbytes())


def _known_keys(endpoint: Endpoint) -> KnownKeys:
    texts = []
    for path in endpoint.known_hosts:
        with contextlib.suppress(OSError):
            texts.append(Path(path).read_text(encoding="utf-8", errors="replace"))
    text = "\n".join(texts)
    found = known_keys(text, endpoint.known_as)
    if not found.trusted and endpoint.port != DEFAULT_PORT and endpoint.known_as == host_pattern(endpoint.host, endpoint.port):
        # ssh does so too: the same machine may be known at its standard port.
        elsewhere = known_keys(text, host_pattern(endpoint.host, DEFAULT_PORT))
        return KnownKeys(
            trusted=elsewhere.trusted,
            revoked=found.revoked + elsewhere.revoked,
            by_authority=found.by_authority or elsewhere.by_authority,
        )
    return found


def _verify(offered: HostKey, known: KnownKeys, endpoint: Endpoint) -> None:
    judgement = known.judge(offered)
    if judgement == "known":
        return
    where = f"device {endpoint.device} ({endpoint.spoken})"
    shown = f"{offered.kind} {offered.fingerprint}"
    file = shlex.quote(endpoint.known_hosts[0])
    if judgement == "unknown":
        raise HostKeyError(
            "the host key of the board is not known",
            where=where,
            seen=f"it offers {shown}{_AUTHORITY if known.by_authority else ''}",
            next_step=(
                f"compare that with  ssh-keygen -lf /etc/ssh/ssh_host_{_file_word(offered.kind)}_key.pub  on the board "
                f"itself; if it is the same: {_adding(endpoint, file)}"
            ),
        )
    if judgement == "revoked":
        raise HostKeyError(
            "THE HOST KEY OF THE BOARD IS REVOKED",
            where=where,
            seen=f"it offers {shown}, which {file} or the system's file marks @revoked",
            next_step="do not use this machine before whoever revoked its key has said why",
        )
    expected = ", ".join(f"{key.kind} {key.fingerprint}" for key in known.trusted)
    raise HostKeyError(
        "THE HOST KEY OF THE BOARD HAS CHANGED: another machine answers there, or it was installed anew, "
        "or somebody listens in between",
        where=where,
        seen=f"it offers {shown}; known is {expected}",
        next_step=(
            "find out why; only if you know that the board got a new key: "
            f"ssh-keygen -R {shlex.quote(endpoint.known_as)} -f {file} && {_adding(endpoint, file)}"
        ),
    )


def _adding(endpoint: Endpoint, file: str) -> str:
    if endpoint.proxy or endpoint.known_as != host_pattern(endpoint.host, endpoint.port):
        return f"ssh {endpoint.ssh_words} true   (and answer yes)"
    return f"ssh-keyscan -p {endpoint.port} {shlex.quote(endpoint.host)} >> {file}"


def _file_word(kind: str) -> str:
    return {"ssh-ed25519": "ed25519", "ssh-rsa": "rsa"}.get(kind, "ecdsa")


def _unreachable(endpoint: Endpoint, what: str, exc: BaseException, next_step: str) -> DeviceAbsentError:
    return DeviceAbsentError(what, where=f"device {endpoint.device}", seen=str(exc), next_step=next_step)
