"""Facts and telemetry of Android devices, as the shell user may read them."""

from __future__ import annotations

import re

from edgedeploy.domain.measurement import DeviceFacts
from edgedeploy.domain.target import Os
from edgedeploy.probes.kernel_files import (
    KERNEL_SECTIONS,
    add_temperature,
    cores,
    integer,
    line,
    load_average_1m,
    memory_bytes,
    number,
    oom_kills,
    storage_free_bytes,
    zone_temperatures_c,
)
from edgedeploy.probes.sections import script, section, split_sections, storage_section

# android.os.Temperature.ThrottlingStatus and PowerManager.THERMAL_STATUS_*:
# https://developer.android.com/reference/android/os/PowerManager#THERMAL_STATUS_NONE
_THERMAL_STATUS = ("none", "light", "moderate", "severe", "critical", "emergency", "shutdown")
# android.os.BatteryManager.BATTERY_STATUS_*: 2 charging, 3 discharging, 4 not charging, 5 full.
_CHARGING = {2: True, 3: False, 4: False, 5: False}
# Settings.Global.LOW_POWER_MODE; null: it was never switched on.
_BATTERY_SAVER = {"1": True, "0": False, "null": False}
_ABI = {"arm64-v8a": "android-arm64"}
_KEPT = ("ro.product.", "ro.soc.", "ro.hardware", "ro.board.", "ro.build.", "ro.boot.hardware")
_DROPPED = ("ro.build.date", "ro.build.host", "ro.build.user", "ro.build.flavor", "ro.build.description")

_PROPERTY = re.compile(r"^\[([^\]\n]+)\]: \[(.*?)\]$", re.MULTILINE | re.DOTALL)
_TEMPERATURE = re.compile(r"Temperature\{mValue=([^,}\s]+), mType=[^,}]*, mName=([^,}\n]+), mStatus=[^}\n]*\}")
_STATUS = re.compile(r"^\s*Thermal Status:\s*(\d)\s*$", re.MULTILINE | re.ASCII)
_HAL_HEADER = "Current temperatures from HAL:"


class AndroidProbe:
    """Reads getprop, dumpsys, /proc and /sys in one round trip."""

    name = "android"
    os: frozenset[Os] = frozenset({"android"})

    def command(self, workdir: str) -> tuple[str, ...]:
        """Return sh with the script; see :class:`edgedeploy.ports.Probe`."""
        return ("sh", "-c", self.script(workdir))

    def script(self, workdir: str) -> str:
        """POSIX sh that ends with code 0, whatever is missing."""
        return script(
            *KERNEL_SECTIONS,
            section("getprop", "getprop"),
            section("battery", "dumpsys battery"),
            section("thermalservice", "dumpsys thermalservice"),
            section("battery-saver", "settings get global low_power"),
            storage_section("storage", workdir),
        )

    def parse(self, output: str) -> DeviceFacts:
        """Return the facts; see :class:`edgedeploy.ports.Probe`. Never raises."""
        said = split_sections(output)
        properties = parse_properties(said.get("getprop"))
        battery = parse_battery(said.get("battery"))
        level, scale = integer(battery.get("level")), integer(battery.get("scale"))
        thermal = said.get("thermalservice")
        status = _thermal_status(thermal)
        abi = properties.get("ro.product.cpu.abi") or None
        return DeviceFacts(
            os="android",
            os_version=properties.get("ro.build.version.release") or None,
            os_build=properties.get("ro.build.fingerprint") or None,
            kernel=line(said.get("kernel")),
            model=_joined(properties, "ro.product.manufacturer", "ro.product.model"),
            soc=_joined(properties, "ro.soc.manufacturer", "ro.soc.model"),
            abi=_ABI.get(abi, abi) if abi else None,
            cores=cores(said.get("cores"), said.get("cpufreq")),
            memory_total_bytes=memory_bytes(said.get("meminfo"), "MemTotal"),
            memory_available_bytes=memory_bytes(said.get("meminfo"), "MemAvailable"),
            oom_kills=oom_kills(said.get("vmstat")),
            storage_free_bytes=storage_free_bytes(said.get("storage")),
            temperatures_c=_temperatures_c(thermal, battery, said.get("thermal")),
            thermal_status=status,
            throttled=None if status is None else status != _THERMAL_STATUS[0],
            battery_percent=_percent(level, scale),
            battery_charging=_CHARGING.get(integer(battery.get("status")) or 0),
            plugged=_plugged(battery),
            battery_saver=_BATTERY_SAVER.get((said.get("battery-saver") or "").strip()),
            load_average_1m=load_average_1m(said.get("loadavg")),
            properties={
                key: value
                for key, value in properties.items()
                if value and key.startswith(_KEPT) and not key.startswith(_DROPPED)
            },
        )


def parse_properties(getprop: str | None) -> dict[str, str]:
    """Return what ``getprop`` without arguments printed."""
    return dict(_PROPERTY.findall(getprop or ""))


def parse_battery(dumpsys: str | None) -> dict[str, str]:
    """Return the fields of ``dumpsys battery``; empty for a device without a battery."""
    rows = (row.partition(":") for row in (dumpsys or "").splitlines())
    fields = {key.strip(): value.strip() for key, colon, value in rows if colon}
    return {} if fields.get("present") == "false" else fields


def _thermal_status(thermalservice: str | None) -> str | None:
    found = _STATUS.search(thermalservice or "")
    if found is None or int(found[1]) >= len(_THERMAL_STATUS):
        return None
    return _THERMAL_STATUS[int(found[1])]


def _temperatures_c(thermalservice: str | None, battery: dict[str, str], zones: str | None) -> dict[str, float]:
    """The thermal HAL's current values come before its cached ones, then the battery's, then the kernel's zones."""
    cached, _, current = (thermalservice or "").partition(_HAL_HEADER)
    found: dict[str, float] = {}
    for value, name in _TEMPERATURE.findall(current) + _TEMPERATURE.findall(cached):
        add_temperature(found, name.strip(), number(value))
    tenths = integer(battery.get("temperature"))
    add_temperature(found, "battery", None if tenths is None else tenths / 10)
    for name, celsius in zone_temperatures_c(zones).items():
        add_temperature(found, name, celsius)
    return found


def _plugged(battery: dict[str, str]) -> bool | None:
    """Android 14 says ``Dock powered``, older systems do not."""
    powered = [value for key, value in battery.items() if key.endswith(" powered")]
    return "true" in powered if powered else None


def _percent(level: int | None, scale: int | None) -> int | None:
    if level is None or not scale or scale < 0 or not 0 <= level <= scale:
        return None
    return round(100 * level / scale)


def _joined(properties: dict[str, str], maker: str, thing: str) -> str | None:
    made_by, name = properties.get(maker, "").strip(), properties.get(thing, "").strip()
    if not name:
        return None
    return name if not made_by or name.lower().startswith(made_by.lower()) else f"{made_by} {name}"
