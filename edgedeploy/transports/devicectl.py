"""iPhones and iPads, through a Mac with Xcode: this machine, or one behind SSH. Unverified on hardware: no Mac was at hand.

iOS has no shell. What runs there is our app (runner/ios), and what it has is the folder of its container
(docs/adr/0009-iphones.md).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from edgedeploy.domain.device import Device
from edgedeploy.errors import DeviceError, MissingToolError
from edgedeploy.host import host_os
from edgedeploy.transports.devicectl_documents import Phone, phones, state_of
from edgedeploy.transports.devicectl_failure import unavailable, words_of
from edgedeploy.transports.devicectl_mac import Mac, mac_of
from edgedeploy.transports.devicectl_phone import PhoneConnection
from edgedeploy.transports.local import LocalConnection


class DevicectlTransport:
    """Finds the phones of this machine, if it is a Mac; those of another Mac are named in the lab file."""

    name = "devicectl"

    def discover(self) -> tuple[Device, ...]:
        """Return the phones that this Mac knows, in any state; none on other systems."""
        if host_os() != "macos":
            return ()
        mac = Mac(LocalConnection("this Mac"), Device(name="", transport=self.name))
        found = phones(mac.ask(["list", "devices"]))
        return tuple(_standing(Device(name=phone.udid, transport=self.name, address=phone.udid), phone) for phone in found)

    def state(self, device: Device) -> Device:
        """Return ``device`` as it is now; without changing it."""
        try:
            with _closed_afterwards(mac_of(device)) as mac:
                device = _standing(device, _listed(mac))
                if device.state == "ready" and mac.phone_is_locked():
                    return msgspec.structs.replace(device, state=state_of("locked"), detail=words_of("locked"))
        except (DeviceError, MissingToolError) as exc:
            return msgspec.structs.replace(device, state="unreachable", detail=exc.what)
        return device

    def connect(self, device: Device) -> PhoneConnection:
        """Reach the phone and what our app has there. Whether it has the app is seen when it is needed.

        Raises:
            DeviceUnavailableError: something keeps us from the phone; with the way out.
            MissingToolError: the Mac has no devicectl.
        """
        mac = mac_of(device)
        try:
            phone = _listed(mac)
            if phone.trouble is not None:
                raise unavailable(phone.trouble, device=device.name, udid=phone.udid)
            if mac.phone_is_locked():
                raise unavailable("locked", device=device.name, udid=phone.udid)
        except BaseException:
            mac.connection.close()
            raise
        return PhoneConnection(mac)


@contextmanager
def _closed_afterwards(mac: Mac) -> Iterator[Mac]:
    try:
        yield mac
    finally:
        mac.connection.close()


def _listed(mac: Mac) -> Phone:
    known = phones(mac.ask(["list", "devices"]))
    device = mac.device
    for phone in known:
        if device.address in (phone.udid, phone.identifier):
            return phone
    others = ", ".join(f"{phone.name} ({phone.udid})" for phone in known) or "none"
    raise unavailable("missing", device=device.name, udid=device.address, seen=f"the Mac knows: {others}")


def _standing(device: Device, phone: Phone) -> Device:
    trouble = words_of(phone.trouble) if phone.trouble else ""
    detail = ", ".join(filter(None, (phone.name, phone.model, f"iOS {phone.os_version}" if phone.os_version else "", trouble)))
    return msgspec.structs.replace(device, state=state_of(phone.trouble), detail=detail)
