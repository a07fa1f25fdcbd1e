"""iPhones and iPads, through a Mac with Xcode: this machine, or one behind SSH. Unverified on hardware: no Mac was at hand.

What there is: which phones a Mac knows, what keeps one from being used, and the way out. A push is not there yet: iOS has no
shell, so an app of ours has to run there (docs/adr/0009-iphones.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import msgspec

from edgedeploy.domain.device import Device
from edgedeploy.errors import DeviceAbsentError, DeviceError, DeviceUnavailableError, MissingToolError
from edgedeploy.host import host_os
from edgedeploy.ports import Completed, Connection
from edgedeploy.transports.devicectl_documents import Phone, complaint, is_locked, phones, state_of
from edgedeploy.transports.devicectl_failure import NO_TOOLS_EXIT_CODE, missing_tool, trouble_in, unavailable, words_of
from edgedeploy.transports.local import LocalTransport

_LIMIT_S = 10  # devicectl's own; it takes none below 5
_SLACK_S = 10.0
# A file, and not stdout: versions before Xcode 26 mix the JSON there with words for people.
_SCRIPT = f"""
xcode-select -p >/dev/null || exit {NO_TOOLS_EXIT_CODE}
file=$(mktemp) || exit 1
trap 'rm -f "$file"' EXIT
xcrun devicectl "$@" --quiet --timeout {_LIMIT_S} --json-output "$file" >&2
code=$?
cat "$file"
exit $code
"""
_UNVERIFIED = "unverified on hardware"


class DevicectlTransport:
    """Finds the phones of this machine, if it is a Mac; those of another Mac are named in the lab file."""

    name = "devicectl"

    def discover(self) -> tuple[Device, ...]:
        """Return the phones that this Mac knows, in any state; none on other systems."""
        if host_os() != "macos":
            return ()
        found = phones(
            _ask(LocalTransport().connect(Device(name="this-machine", transport="local")), ["list", "devices"], "this Mac")
        )
        return tuple(_standing(Device(name=phone.udid, transport=self.name, address=phone.udid), phone) for phone in found)

    def state(self, device: Device) -> Device:
        """Return ``device`` as it is now; without changing it."""
        try:
            with _mac_of(device) as mac:
                phone = _listed(mac, device)
                device = _standing(device, phone)
                if device.state == "ready" and _locked(mac, device):
                    return msgspec.structs.replace(device, state=state_of("locked"), detail=words_of("locked"))
        except (DeviceError, MissingToolError) as exc:
            return msgspec.structs.replace(device, state="unreachable", detail=exc.what)
        return device

    def connect(self, device: Device) -> Connection:
        """Say what keeps us from the phone, and how to get there.

        Raises:
            DeviceUnavailableError: always; when nothing else is in the way, because nothing of ours runs on iOS yet.
            MissingToolError: the Mac has no devicectl.
        """
        with _mac_of(device) as mac:
            phone = _listed(mac, device)
            if phone.trouble is not None:
                raise unavailable(phone.trouble, device=device.name, udid=phone.udid)
            if _locked(mac, device):
                raise unavailable("locked", device=device.name, udid=phone.udid)
        raise DeviceUnavailableError(
            "the phone is ready, and edgedeploy has no app yet that could run a model on it",
            where=f"device {device.name}",
            seen=f"{phone.model}, iOS {phone.os_version} ({_UNVERIFIED})",
            next_step="`edgedeploy export` makes what an app of your own can load; Macs run Core ML models over SSH",
        )


@contextmanager
def _mac_of(device: Device) -> Iterator[Connection]:
    """The machine that the phone hangs on.

    Raises:
        DeviceUnavailableError: it is no Mac, or cannot be reached.
    """
    if device.through:
        from edgedeploy.transports.ssh import SshTransport  # imports paramiko

        mac = msgspec.structs.replace(device, transport="ssh", address=device.through, through="")
        connection: Connection = SshTransport().connect(mac)
    elif host_os() == "macos":
        connection = LocalTransport().connect(device)
    else:
        raise DeviceUnavailableError(
            "an iPhone is reached through a Mac",
            where=f"device {device.name}",
            seen=f"this machine runs {host_os()}",
            next_step='name a Mac with Xcode 15 or newer in lab.toml: host = "…", as for SSH',
        )
    try:
        yield connection
    finally:
        connection.close()


def _listed(mac: Connection, device: Device) -> Phone:
    known = phones(_ask(mac, ["list", "devices"], _name_of_mac(device)))
    for phone in known:
        if device.address in (phone.udid, phone.identifier):
            return phone
    others = ", ".join(f"{phone.name} ({phone.udid})" for phone in known) or "none"
    raise unavailable("missing", device=device.name, udid=device.address, seen=f"the Mac knows: {others}")


def _locked(mac: Connection, device: Device) -> bool:
    """False also where it is not known: some versions cannot say."""
    try:
        return is_locked(_ask(mac, ["device", "info", "lockState", "--device", device.address], _name_of_mac(device)))
    except DeviceUnavailableError as exc:
        return trouble_in(exc.seen) == "locked"


def _ask(mac: Connection, words: Sequence[str], where: str) -> bytes:
    """The document of one devicectl command.

    Raises:
        MissingToolError: there is no devicectl.
        DeviceUnavailableError: it failed.
    """
    done: Completed = mac.run(["sh", "-c", _SCRIPT.strip(), "edgedeploy", *words], timeout_s=_LIMIT_S + _SLACK_S)
    if done.exit_code == 0:
        return done.stdout
    said = done.stderr.decode(errors="replace").strip()
    missing = missing_tool(done.exit_code, said, where)
    if missing is not None:
        raise missing
    seen = complaint(done.stdout) or said or f"exit code {done.exit_code}"
    trouble = trouble_in(seen)
    if trouble is not None:
        raise unavailable(trouble, device=where, udid=words[-1], seen=seen)
    raise DeviceAbsentError(
        "devicectl failed", where=where, seen=seen, next_step=f"on the Mac: xcrun devicectl {' '.join(words)}"
    )


def _standing(device: Device, phone: Phone) -> Device:
    trouble = words_of(phone.trouble) if phone.trouble else ""
    detail = ", ".join(filter(None, (phone.name, phone.model, f"iOS {phone.os_version}" if phone.os_version else "", trouble)))
    return msgspec.structs.replace(device, state=state_of(phone.trouble), detail=detail)


def _name_of_mac(device: Device) -> str:
    return f"the Mac {device.through}" if device.through else "this Mac"
