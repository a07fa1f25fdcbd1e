"""This machine as a device: subprocesses and copies."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import msgspec

from edgedeploy.domain.device import Device
from edgedeploy.errors import CommandTimeoutError, DeviceRunError
from edgedeploy.ports import ByteProgress, Completed, Feed
from edgedeploy.shell import quote_command
from edgedeploy.transports.flow import Flow
from edgedeploy.transports.partial_file import whole_or_absent
from edgedeploy.transports.timed_process import NO_LIMIT_S, Ended, ProcessTimeoutError, run_process

_CHUNK_BYTES = 1 << 20
_NOT_FOUND, _NOT_EXECUTABLE = 127, 126  # what a shell answers, so that this machine answers as a phone does


class LocalTransport:
    """Finds one device, always ready: the machine edgedeploy runs on."""

    name = "local"

    def discover(self) -> tuple[Device, ...]:
        """Return this machine."""
        return (
            Device(
                name="this-machine",
                transport=self.name,
                target="this-machine",
                state="ready",
                detail="the machine edgedeploy runs on",
            ),
        )

    def state(self, device: Device) -> Device:
        """Return ``device`` as ready."""
        return msgspec.structs.replace(device, state="ready", detail="the machine edgedeploy runs on")

    def connect(self, device: Device) -> LocalConnection:
        """Return a connection; there is nothing to open."""
        return LocalConnection(device.name)


class LocalConnection:
    """Runs and copies here."""

    def __init__(self, device_name: str) -> None:
        self._device_name = device_name

    def run(self, argv: Sequence[str], *, timeout_s: float, stdin: bytes = b"") -> Completed:
        """Run ``argv``; see :class:`edgedeploy.ports.Connection`."""
        try:
            return _completed(argv, partial(run_process, argv, timeout_s=timeout_s, stdin=stdin))
        except ProcessTimeoutError as exc:
            raise self._no_answer(argv, f"a command did not end within {timeout_s:g} s and was killed") from exc

    def pour(self, argv: Sequence[str], source: Feed, *, quiet_s: float, progress: ByteProgress) -> Completed:
        """Run ``argv`` on ``source``; see :class:`edgedeploy.ports.Connection`."""
        flow = Flow(source, progress)

        def watch() -> None:
            if flow.still_s() > quiet_s:
                raise ProcessTimeoutError(b"", b"")

        try:
            done = _completed(argv, partial(run_process, argv, timeout_s=NO_LIMIT_S, stdin=source.fileno(), watch=watch))
        except ProcessTimeoutError as exc:
            raise self._no_answer(argv, f"nothing moved for {quiet_s:g} s, and the command was killed") from exc
        flow.still_s()
        return done

    def fetch(self, remote: str, local: Path) -> None:
        """Copy ``remote`` to ``local``; see :class:`edgedeploy.ports.Connection`."""
        try:
            source = Path(remote).open("rb")  # noqa: SIM115  closed below; its errors are another kind than the sink's
        except OSError as exc:
            raise DeviceRunError(
                f"cannot read {remote}", where=f"device {self._device_name}", seen=os.strerror(exc.errno or 0)
            ) from exc
        with source, whole_or_absent(local) as part, part.open("xb") as sink:
            while chunk := source.read(_CHUNK_BYTES):
                sink.write(chunk)

    def close(self) -> None:
        """Do nothing; there is nothing to let go."""

    def _no_answer(self, argv: Sequence[str], what: str) -> CommandTimeoutError:
        return CommandTimeoutError(what, where=f"device {self._device_name}", seen=quote_command(argv))


def _completed(argv: Sequence[str], run: Callable[[], Ended]) -> Completed:
    quote_command(argv)  # refuses what the other transports refuse
    try:
        ended = run()
    except (FileNotFoundError, NotADirectoryError) as exc:
        return Completed(exit_code=_NOT_FOUND, stdout=b"", stderr=_as_stderr(exc))
    except OSError as exc:
        return Completed(exit_code=_NOT_EXECUTABLE, stdout=b"", stderr=_as_stderr(exc))
    return Completed(exit_code=ended.exit_code, stdout=ended.stdout, stderr=ended.stderr)


def _as_stderr(exc: OSError) -> bytes:
    return f"{exc.filename}: {os.strerror(exc.errno or 0)}\n".encode("utf-8", "surrogateescape")
