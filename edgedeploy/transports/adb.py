"""Android devices, over the adb program."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from edgedeploy.domain.device import Device
from edgedeploy.errors import (
    CommandTimeoutError,
    DeviceAbsentError,
    DeviceLostError,
    DeviceRunError,
    DeviceUnavailableError,
    EdgedeployError,
)
from edgedeploy.ports import ByteProgress, Completed, Feed
from edgedeploy.shell import quote_command
from edgedeploy.transports.adb_client import find_adb
from edgedeploy.transports.adb_failure import NEXT_STEPS, Kind, lost, without_noise
from edgedeploy.transports.adb_listing import Listed, parse_devices, to_device
from edgedeploy.transports.flow import Flow
from edgedeploy.transports.partial_file import whole_or_absent
from edgedeploy.transports.timed_process import NO_LIMIT_S, Ended, ProcessTimeoutError, kill_group, run_process
from edgedeploy.transports.tracked_command import (
    WITNESS_EXIT_CODE,
    kill_line,
    new_token,
    read_tracked,
    tracked_line,
)

_SERVER_START_S = 15.0
_LIST_S = 5.0
_TCP_CONNECT_S = 5.0
_ANSWER_S = 5.0
_SETTLE_S = 1.5
_SETTLE_STEP_S = 0.1
_KILL_S = 5.0
_QUIET_S = 10.0
_BLOCK_BYTES = 1 << 20
_SIGNAL_CODES = range(129, 193)
_KIND_OF_STATE: dict[str, Kind] = {
    "unauthorized": "unauthorized",
    "authorizing": "authorizing",
    "connecting": "authorizing",
}
# -T: no terminal, so that stdout and stderr stay apart and no byte is changed. Never -n: stdin would stay open.
_SHELL = ("shell", "-T")


class AdbTransport:
    """Every device of the running adb server; starts the server where none runs."""

    name = "adb"

    def discover(self) -> tuple[Device, ...]:
        """Return all devices adb knows, in any state; see :class:`edgedeploy.ports.Transport`."""
        return tuple(to_device(listed) for listed in _listing(find_adb()))

    def state(self, device: Device) -> Device:
        """Return ``device`` as it is now; one that adb calls ready is asked for an answer."""
        adb = find_adb()
        listed = _find(_listing(adb), device.address)
        if listed is None:
            return msgspec.structs.replace(device, state="unreachable", detail="adb does not see it")
        state, detail = listed.state, listed.detail
        if state == "ready":
            try:
                _expect_an_answer(AdbConnection(adb, listed.serial, device.name))
            except EdgedeployError as exc:
                state, detail = "offline", exc.seen or exc.what
        return msgspec.structs.replace(device, state=state, detail=detail)

    def connect(self, device: Device) -> AdbConnection:
        """Return a connection that has answered once; see :class:`edgedeploy.ports.Transport`."""
        adb = find_adb()
        listing = _listing(adb)
        listed = _find(listing, device.address)
        said = ""
        if (listed is None or listed.state == "offline") and ":" in device.address:
            said = _connect_over_tcp(adb, device.address, forget_first=listed is not None)
            listing = _listing(adb)
            listed = _find(listing, device.address)
            if said.startswith("already connected") and (listed is None or listed.state == "offline"):
                # A connection that had just died, and that the server had not yet given up.
                said = _connect_over_tcp(adb, device.address, forget_first=True)
                listing = _listing(adb)
                listed = _find(listing, device.address)
        listed = _settled(adb, listed, just_connected=said.startswith("connected"))
        if listed is None:
            raise DeviceAbsentError(
                "adb does not see the device",
                where=f"device {device.name}",
                seen=said or _who_is_there(device.address, listing),
                next_step=NEXT_STEPS["not-found"],
            )
        if listed.state != "ready":
            raise _not_ready(listed, device.name)
        connection = AdbConnection(adb, listed.serial, device.name)
        _expect_an_answer(connection)
        return connection


class AdbConnection:
    """One device by its serial number. Nothing is held open: every call is one run of adb (about 20 ms on loopback)."""

    def __init__(self, adb: Path, serial: str, device_name: str) -> None:
        self._adb = [str(adb), "-s", serial]
        self._device_name = device_name
        self._closed = False
        self._process: subprocess.Popen[bytes] | None = None

    def run(self, argv: Sequence[str], *, timeout_s: float, stdin: bytes = b"") -> Completed:
        """Run ``argv`` under the device's sh; see :class:`edgedeploy.ports.Connection`."""
        try:
            return self._command(argv, stdin, timeout_s=timeout_s)
        except ProcessTimeoutError as exc:
            raise self._no_answer(argv, f"a command did not end within {timeout_s:g} s and was killed") from exc

    def pour(self, argv: Sequence[str], source: Feed, *, quiet_s: float, progress: ByteProgress) -> Completed:
        """Run ``argv`` on ``source``, which adb reads itself; see :class:`edgedeploy.ports.Connection`.

        Measured on loopback with adb 36: 580 MB/s into ``dd``, where ``adb push`` reaches 150 to 430.
        """
        flow = Flow(source, progress)
        try:
            done = self._command(argv, source.fileno(), flow=flow, quiet_s=quiet_s)
        except ProcessTimeoutError as exc:
            raise self._no_answer(argv, f"nothing moved for {quiet_s:g} s, and the command was killed") from exc
        flow.still_s()
        return done

    def fetch(self, remote: str, local: Path) -> None:
        """Copy ``remote`` here; see :class:`edgedeploy.ports.Connection`."""
        with whole_or_absent(local) as part:
            with part.open("xb") as sink:
                done = self._command(["dd", f"if={remote}", f"bs={_BLOCK_BYTES}"], b"", stdout=sink.fileno())
            if done.exit_code != 0:
                raise DeviceRunError(f"cannot read {remote}", where=f"device {self._device_name}", seen=_text(done.stderr))

    def close(self) -> None:
        """End what is under way, from whichever thread: the call that waits for it raises DeviceLostError."""
        self._closed = True
        if self._process is not None and self._process.poll() is None:
            kill_group(self._process)

    def _started(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        if self._closed:
            kill_group(process)

    def _command(
        self,
        argv: Sequence[str],
        stdin: bytes | int,
        *,
        stdout: int = subprocess.PIPE,
        timeout_s: float = NO_LIMIT_S,
        flow: Flow | None = None,
        quiet_s: float = NO_LIMIT_S,
    ) -> Completed:
        token = new_token()
        doing = f"running {argv[0]}" if argv else ""
        try:
            ended = run_process(
                [*self._adb, *_SHELL, tracked_line(argv, token)],
                timeout_s=timeout_s,
                stdin=stdin,
                stdout=stdout,
                started=self._started,
                aborted=lambda stderr: self._kill(read_tracked(stderr, token).process_group),
                watch=_Vigil(lambda: self._ask(doing), flow, quiet_s=quiet_s),
            )
        except ProcessTimeoutError as exc:
            self._kill(read_tracked(exc.stderr, token).process_group)
            raise
        tracked = read_tracked(ended.stderr, token)
        if tracked.exit_code is not None and ended.exit_code == WITNESS_EXIT_CODE:
            return Completed(exit_code=tracked.exit_code, stdout=ended.stdout, stderr=tracked.stderr)
        if tracked.process_group is not None and ended.exit_code in _SIGNAL_CODES:
            # The wrapper itself was killed: the whole group was, by the command or for want of memory.
            return Completed(exit_code=ended.exit_code, stdout=ended.stdout, stderr=tracked.stderr)
        if self._closed:
            self._kill(tracked.process_group)
        raise lost(_text(tracked.stderr), device=self._device_name, doing=doing)

    def _ask(self, doing: str) -> None:
        """Whether the device still answers: over TCP nobody says that a peer is gone.

        Raises:
            DeviceLostError: it does not.
        """
        try:
            answer = run_process([*self._adb, *_SHELL, "true"], timeout_s=_ANSWER_S)
            said = _text(answer.stderr)
        except ProcessTimeoutError:
            said = f"no answer for {_ANSWER_S:g} s"
        else:
            if answer.exit_code == 0:
                return
        raise lost(said, device=self._device_name, doing=doing)

    def _kill(self, process_group: int | None) -> None:
        if process_group is None:
            return
        with contextlib.suppress(ProcessTimeoutError):  # gone altogether: nobody is left to kill
            run_process([*self._adb, *_SHELL, kill_line(process_group)], timeout_s=_KILL_S)

    def _no_answer(self, argv: Sequence[str], what: str) -> CommandTimeoutError:
        return CommandTimeoutError(what, where=f"device {self._device_name}", seen=quote_command(argv))


class _Vigil:
    """Beside a command that runs: asks a device that has been quiet whether it is there, and knows when enough is enough."""

    def __init__(self, ask: Callable[[], None], flow: Flow | None, *, quiet_s: float) -> None:
        self._ask = ask
        self._flow = flow
        self._quiet_s = quiet_s
        self._heard_at = time.monotonic()

    def __call__(self) -> None:
        if self._flow is not None:
            still_s = self._flow.still_s()
            if still_s > self._quiet_s:
                raise ProcessTimeoutError(b"", b"")
            self._heard_at = max(self._heard_at, time.monotonic() - still_s)
        if time.monotonic() - self._heard_at > _QUIET_S:
            self._ask()
            self._heard_at = time.monotonic()


def _listing(adb: Path) -> tuple[Listed, ...]:
    try:
        # By itself, so that what it prints while it starts is not taken for a command's output.
        started = run_process([str(adb), "start-server"], timeout_s=_SERVER_START_S)
        ended = run_process([str(adb), "devices", "-l"], timeout_s=_LIST_S) if started.exit_code == 0 else started
    except ProcessTimeoutError as exc:
        raise _server_trouble(adb, "it does not answer") from exc
    if ended.exit_code != 0:
        raise _server_trouble(adb, _complaint(ended))
    return parse_devices(_text(ended.stdout))


def _server_trouble(adb: Path, seen: str) -> DeviceAbsentError:
    return DeviceAbsentError("the adb server does not work", where=str(adb), seen=seen, next_step=NEXT_STEPS["server"])


def _find(listing: Sequence[Listed], serial: str) -> Listed | None:
    return next((listed for listed in listing if listed.serial == serial), None)


def _settled(adb: Path, listed: Listed | None, *, just_connected: bool) -> Listed | None:
    """Wait a moment for a device that is about to be ready; one that has just been connected may still be called offline."""
    until = time.monotonic() + _SETTLE_S
    passing = {"authorizing", "connecting"} | ({"offline"} if just_connected else set())
    while listed and listed.adb_state in passing and time.monotonic() < until:
        time.sleep(_SETTLE_STEP_S)
        listed = _find(_listing(adb), listed.serial)
    return listed


def _connect_over_tcp(adb: Path, address: str, *, forget_first: bool) -> str:
    try:
        if forget_first:  # adb keeps a dead connection as "offline" and would answer "already connected"
            run_process([str(adb), "disconnect", address], timeout_s=_LIST_S)
        ended = run_process([str(adb), "connect", address], timeout_s=_TCP_CONNECT_S)
    except ProcessTimeoutError:
        return f"adb connect {address} did not end within {_TCP_CONNECT_S:g} s"
    return without_noise(_text(ended.stdout + ended.stderr))


def _who_is_there(address: str, listing: Sequence[Listed]) -> str:
    others = ", ".join(f"{listed.serial} ({listed.adb_state})" for listed in listing) or "no device at all"
    return f"looked for {address!r}, found {others}"


def _not_ready(listed: Listed, device_name: str) -> DeviceUnavailableError:
    kind = _KIND_OF_STATE.get(listed.adb_state, "no-permission" if listed.state == "no-permission" else "offline")
    what = {
        "unauthorized": "the phone does not allow this computer to use it",
        "authorizing": "the phone has not yet allowed this computer to use it",
        "no-permission": "this user may not use the phone's USB port",
    }.get(kind, "the device does not take commands")
    error = DeviceAbsentError if kind in {"offline", "authorizing"} else DeviceUnavailableError
    return error(what, where=f"device {device_name}", seen=f"{listed.serial} {listed.adb_state}", next_step=NEXT_STEPS[kind])


def _expect_an_answer(connection: AdbConnection) -> None:
    try:
        connection.run(["true"], timeout_s=_ANSWER_S)
    except DeviceLostError as exc:
        raise DeviceAbsentError(
            "adb lists the device, but it does not answer",
            where=exc.where,
            seen=exc.seen,
            next_step=NEXT_STEPS["offline"],
        ) from exc


def _complaint(ended: Ended) -> str:
    return without_noise(_text(ended.stderr)) or without_noise(_text(ended.stdout))


def _text(said: bytes) -> str:
    return said.decode("utf-8", "replace")
