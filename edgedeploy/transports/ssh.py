"""Boards and other machines, over SSH. The only way to this module is the registry: it imports paramiko."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import msgspec
import paramiko

from edgedeploy.domain.device import Device, DeviceState
from edgedeploy.errors import CommandTimeoutError, DeviceAbsentError, DeviceLostError, DeviceRunError, DeviceUnavailableError
from edgedeploy.ports import ByteProgress, Completed, Feed
from edgedeploy.shell import quote_command
from edgedeploy.transports.flow import Flow
from edgedeploy.transports.known_hosts import HostKey
from edgedeploy.transports.partial_file import whole_or_absent
from edgedeploy.transports.ssh_endpoint import Endpoint, endpoint_of
from edgedeploy.transports.ssh_exec import ChannelTimeoutError, CommandCancelledError, PeerSilentError, run_line
from edgedeploy.transports.ssh_link import HostKeyError, Link, open_link
from edgedeploy.transports.ssh_login import LoginRefusedError, log_in
from edgedeploy.transports.tracked_command import (
    WITNESS_EXIT_CODE,
    kill_line,
    new_token,
    read_tracked,
    tracked_line,
)

_KILL_S = 5.0
_CLOSE_S = 8.0  # enough for one kill and one answer
_GROUP_WAS_KILLED = 137  # 128 + SIGKILL; the protocol names the signal, paramiko does not pass it on
_NO_LIMIT_S = float("inf")  # a board that is gone is noticed all the same


class SshTransport:
    """Machines named in the lab file; nothing is searched for.

    Args:
        ssh_folder: where ``config``, ``known_hosts`` and keys are; ``~/.ssh`` unless a test says otherwise.
    """

    name = "ssh"

    def __init__(self, ssh_folder: Path | None = None) -> None:
        self._ssh_folder = ssh_folder

    def discover(self) -> tuple[Device, ...]:
        """Return nothing: SSH devices are there only by being named."""
        return ()

    def state(self, device: Device) -> Device:
        """Return ``device`` as it is now, found out by logging in."""
        state: DeviceState = "ready"
        detail = ""
        try:
            self.connect(device).close()
        except (LoginRefusedError, HostKeyError) as exc:
            state, detail = "unauthorized", f"{exc.what} ({exc.seen})"
        except (DeviceUnavailableError, DeviceLostError) as exc:
            state, detail = "unreachable", exc.what
        return msgspec.structs.replace(device, state=state, detail=detail)

    def connect(self, device: Device) -> SshConnection:
        """Connect, verify the host key, log in; see :class:`edgedeploy.ports.Transport`."""
        endpoint = endpoint_of(device, self._ssh_folder or Path.home() / ".ssh")
        link = open_link(endpoint)
        try:
            log_in(link.transport, endpoint)
        except (paramiko.SSHException, EOFError, OSError) as exc:
            link.close()
            raise DeviceAbsentError(
                f"{endpoint.spoken} broke off while we logged in",
                where=f"device {device.name}",
                seen=str(exc),
                next_step=f"see what ssh says: ssh -v {endpoint.ssh_words}",
            ) from exc
        except BaseException:
            link.close()
            raise
        return SshConnection(link, endpoint)


class SshConnection:
    """One login; every command is a channel of its own."""

    def __init__(self, link: Link, endpoint: Endpoint) -> None:
        self._link = link
        self._transport = link.transport
        self._device_name = endpoint.device
        self._closing = threading.Event()
        self._running = threading.Lock()
        self._next_step = f"check power and network, then: ssh {endpoint.ssh_words} true"

    @property
    def host_key(self) -> HostKey:
        """The verified key of the board."""
        key = self._transport.get_remote_server_key()
        return HostKey(kind=key.get_name(), blob=key.asbytes())

    def run(self, argv: Sequence[str], *, timeout_s: float, stdin: bytes = b"") -> Completed:
        """Run ``argv`` under sh; see :class:`edgedeploy.ports.Connection`."""
        try:
            return self._command(argv, stdin, timeout_s=timeout_s)
        except ChannelTimeoutError as exc:
            raise self._no_answer(argv, f"a command did not end within {timeout_s:g} s and was killed") from exc

    def pour(self, argv: Sequence[str], source: Feed, *, quiet_s: float, progress: ByteProgress) -> Completed:
        """Run ``argv`` on ``source``; see :class:`edgedeploy.ports.Connection`."""
        try:
            return self._command(argv, source, timeout_s=quiet_s, flow=Flow(source, progress))
        except ChannelTimeoutError as exc:
            raise self._no_answer(argv, f"nothing moved for {quiet_s:g} s, and the command was killed") from exc

    def fetch(self, remote: str, local: Path) -> None:
        """Copy ``remote`` here; see :class:`edgedeploy.ports.Connection`."""
        with whole_or_absent(local) as part:
            with part.open("xb") as sink:
                done = self._command(["cat", "--", remote], b"", timeout_s=_NO_LIMIT_S, stdout_to=sink)
            if done.exit_code != 0:
                raise DeviceRunError(f"cannot read {remote}", where=f"device {self._device_name}", seen=_text(done.stderr))

    def close(self) -> None:
        """End what is under way, from whichever thread, and log out."""
        self._closing.set()
        if self._running.acquire(timeout=_CLOSE_S):
            self._running.release()
        self._link.close()

    def _command(
        self,
        argv: Sequence[str],
        stdin: bytes | Feed,
        *,
        timeout_s: float,
        flow: Flow | None = None,
        stdout_to: BinaryIO | None = None,
    ) -> Completed:
        token = new_token()
        line = tracked_line(argv, token)

        def end_there(stderr: bytes) -> None:
            self._kill(read_tracked(stderr, token).process_group)

        with self._present(f"running {argv[0]}"), self._running:
            try:
                end = run_line(
                    self._transport,
                    line,
                    timeout_s=timeout_s,
                    stdin=stdin,
                    cancelled=self._closing,
                    aborted=end_there,
                    flow=flow,
                    stdout_to=stdout_to,
                )
            except CommandCancelledError as exc:
                end_there(exc.stderr)
                raise DeviceLostError(
                    "the connection was closed while a command ran", where=f"device {self._device_name}", seen=quote_command(argv)
                ) from exc
            except ChannelTimeoutError as exc:
                end_there(exc.stderr)
                raise
        tracked = read_tracked(end.stderr, token)
        if tracked.exit_code is not None and end.exit_status == WITNESS_EXIT_CODE:
            return Completed(exit_code=tracked.exit_code, stdout=end.stdout, stderr=tracked.stderr)
        if tracked.process_group is not None and end.exit_status is None:
            # The wrapper itself was killed: the whole group was, by the command or for want of memory.
            return Completed(exit_code=_GROUP_WAS_KILLED, stdout=end.stdout, stderr=tracked.stderr)
        raise DeviceRunError(
            "the login shell of the board did not start our command",
            where=f"device {self._device_name}",
            seen=f"exit status {end.exit_status}: {_text(end.stderr or end.stdout)}",
            next_step="the user needs a shell that takes commands (no nologin, no forced command), and sh on its PATH",
        )

    def _no_answer(self, argv: Sequence[str], what: str) -> CommandTimeoutError:
        return CommandTimeoutError(what, where=f"device {self._device_name}", seen=quote_command(argv))

    @contextlib.contextmanager
    def _present(self, doing: str) -> Iterator[None]:
        try:
            yield
        except PeerSilentError as exc:
            raise DeviceLostError(
                f"the device went away while {doing}",
                where=f"device {self._device_name}",
                seen=str(exc),
                next_step=self._next_step,
            ) from exc

    def _kill(self, process_group: int | None) -> None:
        if process_group is None:
            return
        with contextlib.suppress(PeerSilentError, ChannelTimeoutError):  # gone altogether: nobody is left to kill
            run_line(
                self._transport,
                kill_line(process_group),
                timeout_s=_KILL_S,
                stdin=b"",
                cancelled=threading.Event(),
                aborted=lambda _stderr: None,
            )


def _text(said: bytes) -> str:
    return said.decode("utf-8", "replace").strip()
