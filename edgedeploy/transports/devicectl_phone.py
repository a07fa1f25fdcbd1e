"""An iPhone while it is worked on: our app there, and the folder of its container. Unverified on hardware: no phone was at hand.

What devicectl does is what public projects saw it do (tests/fixtures/devicectl/README.md): ``copy to`` makes the folders on
the way and skips a file that has the same size and time; ``info files`` of a locked phone finds nothing and calls that a
success; ``--remove-existing-content`` empties the whole container, so it is never used.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

from edgedeploy.errors import DeviceRunError, DeviceUnavailableError, UsageError
from edgedeploy.ports import APP_FOLDER, RUNNER_APP, ByteProgress, Completed, Connection, Feed
from edgedeploy.transports.devicectl_documents import apps, complaint, files
from edgedeploy.transports.devicectl_failure import signal_in, trouble_in, unavailable
from edgedeploy.transports.devicectl_mac import FILE, Mac
from edgedeploy.transports.partial_file import whole_or_absent

_DOCUMENTS = "Documents"
_LISTING_LIMIT_S = 60
_COPY_LIMIT_S = 120  # and as long as the slowest link that is worth having takes
_COPY_BYTES_PER_S = 1_000_000
_STARTED = "Launched application"
_SIGNAL_BASE = 128  # as a shell has it


class PhoneConnection:
    """What :class:`edgedeploy.ports.AppConnection` promises, by one devicectl command each."""

    def __init__(self, mac: Mac) -> None:
        self._mac = mac
        self._udid = mac.device.address
        self.host: Connection = mac.connection

    def run(self, argv: Sequence[str], *, timeout_s: float, stdin: bytes = b"") -> Completed:
        """Start the app with these arguments, wait for its end, and bring what it wrote into its document.

        Raises:
            DeviceUnavailableError: that is another program than the app; the app is not installed, or may not start.
            DeviceLostError: the device went away.
            CommandTimeoutError: it did not end within ``timeout_s``, and was killed.
        """
        if argv[0] != RUNNER_APP or stdin:
            raise self._no_shell(argv)
        document = f"{APP_FOLDER}/runs/{secrets.token_hex(8)}.json"
        launch = ["device", "process", "launch", "--device", self._udid, "--terminate-existing", "--console"]
        app = ["--", self._app, "--document", document, *argv[1:]]
        done = self._mac.done(launch, app, limit_s=round(timeout_s) + 1)
        if trouble_in(complaint(done.stdout)) is not None:
            self._mac.answer(done, launch)
        came, said = self._get(document), done.stderr.decode(errors="replace")
        died_of = signal_in(said)
        if came is None and not died_of and _STARTED not in said:
            self._mac.answer(done, launch)
        if died_of:
            return Completed(exit_code=_SIGNAL_BASE + died_of, stdout=came or b"", stderr=done.stderr)
        # devicectl's own code tells nothing of the app's: what the app wrote says whether it failed.
        return Completed(exit_code=(done.exit_code or 1) if came is None else 0, stdout=came or b"", stderr=done.stderr)

    def pour(self, argv: Sequence[str], source: Feed, *, quiet_s: float, progress: ByteProgress) -> Completed:  # noqa: ARG002
        """Refuse: no program there reads what we send.

        Raises:
            DeviceUnavailableError: always.
        """
        raise self._no_shell(argv)

    def files(self) -> Mapping[str, int]:
        """List what is in the folder for documents; see :class:`edgedeploy.ports.AppConnection`."""
        listed = files(self._mac.ask(self._in_container("info", "files", "--subdirectory", _DOCUMENTS), limit_s=_LISTING_LIMIT_S))
        if not listed and self._mac.phone_is_locked():
            raise unavailable("locked", device=self._mac.device.name, udid=self._udid)
        return {f"{_DOCUMENTS}/{path}": size for path, size in listed.items()}

    def put(self, source: Feed, remote: str, *, size_bytes: int, progress: ByteProgress) -> None:
        """Copy ``source`` to the Mac, and from there to the phone; see :class:`edgedeploy.ports.AppConnection`."""
        words = self._in_container("copy", "to", "--source", FILE, "--destination", remote)
        self._mac.put(words, source, limit_s=_COPY_LIMIT_S + size_bytes // _COPY_BYTES_PER_S, progress=progress)

    def fetch(self, remote: str, local: Path) -> None:
        """Copy ``remote`` to ``local``; see :class:`edgedeploy.ports.Connection`."""
        content = self._get(remote)
        if content is None:
            raise DeviceRunError(
                f"cannot read {remote}", where=f"device {self._mac.device.name}", seen="devicectl found no such file"
            )
        with whole_or_absent(local) as part:
            part.write_bytes(content)

    def close(self) -> None:
        """Let go of the Mac; see :class:`edgedeploy.ports.Connection`."""
        self.host.close()

    @cached_property
    def _app(self) -> str:
        """Our app's bundle identifier. Whoever signs it chooses what comes before its name."""
        installed = apps(self._mac.ask(["device", "info", "apps", "--device", self._udid], limit_s=_LISTING_LIMIT_S))
        ours = sorted({app for app in installed if app.rpartition(".")[2] == RUNNER_APP})
        if not ours:
            seen = f"of {len(installed)} apps by developers none ends in .{RUNNER_APP}"
            raise unavailable("no-app", device=self._mac.device.name, udid=self._udid, seen=seen)
        if len(ours) > 1:
            raise UsageError(
                "edgedeploy's app is installed more than once",
                where=f"device {self._mac.device.name}",
                seen=", ".join(ours),
                next_step="delete all but one on the phone; each has a folder of its own",
            )
        return ours[0]

    def _in_container(self, group: str, verb: str, *more: str) -> list[str]:
        domain = ["--domain-type", "appDataContainer", "--domain-identifier", self._app]
        return ["device", group, verb, "--device", self._udid, *domain, *more]

    def _get(self, remote: str) -> bytes | None:
        """The content of a file; None where it is not there."""
        words = self._in_container("copy", "from", "--source", remote, "--destination", FILE)
        done = self._mac.get(words, limit_s=_COPY_LIMIT_S)
        if done.exit_code == 0:
            return done.stdout
        # Apple's words for a file that is missing are not known here: the listing tells.
        if remote not in self.files():
            return None
        self._mac.answer(done, words)
        return None

    def _no_shell(self, argv: Sequence[str]) -> DeviceUnavailableError:
        return DeviceUnavailableError(
            "an iPhone has no shell: this cannot be done there",
            where=f"device {self._mac.device.name}",
            seen=f"asked for {argv[0]}",
            next_step="push, releases, rollback, verify, clean and lease work on iPhones (docs/iphones.md)",
        )
