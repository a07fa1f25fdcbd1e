"""Facts of iPhones and iPads, as our app tells them. Unverified on hardware: no phone was at hand."""

from __future__ import annotations

import msgspec

from edgedeploy.decoding import decode
from edgedeploy.domain.measurement import DeviceFacts
from edgedeploy.domain.target import Os
from edgedeploy.ports import RUNNER_APP
from edgedeploy.runners.app_document import AppDocument, ThermalState

# Apple, "Respond to Thermal State Changes": from "serious" on, the system's performance may be reduced. "Fair" says neither.
_THROTTLED: dict[ThermalState, bool] = {"nominal": False, "serious": True, "critical": True}


class IosProbe:
    """Asks the app. iOS tells an app neither temperatures nor clocks: they stay unknown."""

    name = "ios"
    os: frozenset[Os] = frozenset({"ios"})

    def command(self, workdir: str) -> tuple[str, ...]:  # noqa: ARG002 - an app has one place where it writes
        """Return what the app is asked; see :class:`edgedeploy.ports.Probe`."""
        return (RUNNER_APP, "--facts")

    def parse(self, output: str) -> DeviceFacts:
        """Return the facts; see :class:`edgedeploy.ports.Probe`. Never raises."""
        try:
            said = decode(output, AppDocument).device
        except msgspec.DecodeError:
            return DeviceFacts(os="ios")
        return DeviceFacts(
            os="ios",
            os_version=said.os_version,
            model=said.model,
            abi="ios-arm64",
            memory_total_bytes=said.memory_total_bytes,
            memory_available_bytes=said.memory_available_bytes,
            storage_free_bytes=said.storage_free_bytes,
            thermal_status=said.thermal_state,
            throttled=_THROTTLED.get(said.thermal_state),
            battery_percent=said.battery_percent if said.battery_percent >= 0 else None,
            battery_charging=said.battery_charging,
            properties={"low_power_mode": "on" if said.low_power_mode else "off"},
        )
