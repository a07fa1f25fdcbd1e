"""A Mac that phones hang on: runs one devicectl command after the other there. Unverified on hardware: no Mac was at hand."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from edgedeploy.domain.device import Device
from edgedeploy.errors import DeviceAbsentError, DeviceUnavailableError
from edgedeploy.host import host_os
from edgedeploy.ports import ByteProgress, Completed, Connection, Feed
from edgedeploy.transports.devicectl_documents import complaint, is_locked
from edgedeploy.transports.devicectl_failure import NO_TOOLS_EXIT_CODE, missing_tool, trouble_in, unavailable
from edgedeploy.transports.local import LocalTransport

LIMIT_S = 10  # devicectl's own; it takes none below 5
FILE = "@edgedeploy-file@"
"""Stands in a command for a file of the Mac: what is sent, or what comes."""

_ANSWER = "@edgedeploy-answer@"
_SLACK_S = 10.0
# The answer goes to a file, and not to stdout: versions before Xcode 26 mix the JSON there with words for people. A file that is
# sent has to be a new one: devicectl skips what has the size and the time of the phone's. Killed, this leaves its folder behind.
_SCRIPT = f"""
xcode-select -p >/dev/null || exit {NO_TOOLS_EXIT_CODE}
folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT
mode=$1; shift
for word; do
  case $word in {_ANSWER}) word=$folder/answer.json ;; {FILE}) word=$folder/file ;; esac
  set -- "$@" "$word"; shift
done
[ "$mode" != put ] || cat > "$folder/file" || exit 1
xcrun devicectl "$@" </dev/null >&2
code=$?
if [ "$mode" = get ] && [ "$code" = 0 ]; then cat "$folder/file"; exit; fi
cat "$folder/answer.json" 2>/dev/null
exit $code
"""


class Mac:
    """The machine that ``device`` hangs on."""

    def __init__(self, connection: Connection, device: Device) -> None:
        self.connection = connection
        self.device = device

    @property
    def name(self) -> str:
        """What to call it."""
        return f"the Mac {self.device.through}" if self.device.through else "this Mac"

    def phone_is_locked(self) -> bool:
        """Whether it is; False also where that is not known: some versions cannot say."""
        try:
            return is_locked(self.ask(["device", "info", "lockState", "--device", self.device.address]))
        except DeviceUnavailableError as exc:
            return trouble_in(exc.seen) == "locked"

    def ask(self, words: Sequence[str], rest: Sequence[str] = (), *, limit_s: int = LIMIT_S) -> bytes:
        """The document of one command; ``rest`` is what comes behind the options that all commands have.

        Raises:
            MissingToolError: there is no devicectl.
            DeviceError, DeviceStorageError: it failed.
        """
        return self.answer(self.done(words, rest, limit_s=limit_s), words)

    def get(self, words: Sequence[str], *, limit_s: int) -> Completed:
        """One command that brings a file, which is what ``stdout`` has if it went well; else the document."""
        return self.done(words, mode="get", limit_s=limit_s)

    def put(self, words: Sequence[str], source: Feed, *, limit_s: int, progress: ByteProgress) -> None:
        """One command that sends what is in ``source``; raises as :meth:`ask` does."""
        argv = _argv("put", words, (), limit_s)
        self.answer(self.connection.pour(argv, source, quiet_s=limit_s + _SLACK_S, progress=progress), words)

    def done(self, words: Sequence[str], rest: Sequence[str] = (), *, mode: str = "ask", limit_s: int) -> Completed:
        """One command, however it ended."""
        return self.connection.run(_argv(mode, words, rest, limit_s), timeout_s=limit_s + _SLACK_S)

    def answer(self, done: Completed, words: Sequence[str]) -> bytes:
        """The document of a command that ended well; raises as :meth:`ask` does."""
        if done.exit_code == 0:
            return done.stdout
        said = done.stderr.decode(errors="replace").strip()
        missing = missing_tool(done.exit_code, said, self.name)
        if missing is not None:
            raise missing
        seen = complaint(done.stdout) or said or f"exit code {done.exit_code}"
        trouble = trouble_in(seen)
        if trouble is not None:
            raise unavailable(trouble, device=self.device.name or self.name, udid=self.device.address, seen=seen)
        command = " ".join(word for word in words if word != FILE)
        raise DeviceAbsentError(
            "devicectl failed", where=self.name, seen=seen, next_step=f"on the Mac: xcrun devicectl {command}"
        )


def mac_of(device: Device) -> Mac:
    """Connect to the machine that a phone hangs on.

    Raises:
        DeviceUnavailableError: it is no Mac, or cannot be reached.
    """
    if device.through:
        from edgedeploy.transports.ssh import SshTransport  # imports paramiko

        mac = msgspec.structs.replace(device, transport="ssh", address=device.through, through="")
        return Mac(SshTransport().connect(mac), device)
    if host_os() == "macos":
        return Mac(LocalTransport().connect(device), device)
    raise DeviceUnavailableError(
        "an iPhone is reached through a Mac",
        where=f"device {device.name}",
        seen=f"this machine runs {host_os()}",
        next_step='name a Mac with Xcode 15 or newer in lab.toml: host = "…", as for SSH',
    )


def _argv(mode: str, words: Sequence[str], rest: Sequence[str], limit_s: int) -> list[str]:
    options = ["--timeout", str(limit_s), "--json-output", _ANSWER]
    # Quiet, devicectl might not tell how an app ended.
    quiet = [] if "--console" in words else ["--quiet"]
    return ["sh", "-c", _SCRIPT.strip(), "edgedeploy", mode, *words, *quiet, *options, *rest]
