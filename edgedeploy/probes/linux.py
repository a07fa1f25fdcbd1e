"""Facts and telemetry of Linux boards and PCs, as any user may read them."""

from __future__ import annotations

import re
import shlex

from edgedeploy.domain.measurement import DeviceFacts
from edgedeploy.domain.target import Os
from edgedeploy.probes.kernel_files import (
    KERNEL_SECTIONS,
    add_temperature,
    cores,
    first_value,
    line,
    load_average_1m,
    memory_bytes,
    number,
    oom_kills,
    storage_free_bytes,
    throttle_count,
    zone_temperatures_c,
)
from edgedeploy.probes.sections import script, section, split_sections, storage_section
from edgedeploy.probes.supplies import SUPPLIES_SECTION, parse_supplies

# get_throttled, https://www.raspberrypi.com/documentation/computers/os.html#vcgencmd; bits 16 to 19: since boot.
_THROTTLED_NOW = {0: "under-voltage", 1: "frequency capped", 2: "throttled", 3: "soft temperature limit"}
_KEPT = ("ID", "VERSION_ID", "VARIANT_ID")
_GETS = re.compile(r"throttled=0x([0-9a-fA-F]{1,8})\s*$", re.MULTILINE)
_TEMP = re.compile(r"temp=([0-9.]{1,8})'C")
_SYSTEMS = {"Linux": "linux", "Darwin": "macos"}


class LinuxProbe:
    """Reads os-release, the device tree, /proc, /sys and a Raspberry Pi's firmware in one round trip."""

    name = "linux"
    os: frozenset[Os] = frozenset({"linux", "host"})

    def command(self, workdir: str) -> tuple[str, ...]:
        """Return sh with the script; see :class:`edgedeploy.ports.Probe`."""
        return ("sh", "-c", self.script(workdir))

    def script(self, workdir: str) -> str:
        """POSIX sh that ends with code 0, whatever is missing."""
        return script(
            *KERNEL_SECTIONS,
            section("system", "uname -s"),
            section("machine", "uname -m"),
            section("bits", "getconf LONG_BIT"),
            section("os-release", "cat /etc/os-release || cat /usr/lib/os-release"),
            section("model", "tr '\\000' '\\n' < /sys/firmware/devicetree/base/model"),
            section("compatible", "tr '\\000' '\\n' < /sys/firmware/devicetree/base/compatible"),
            section("product", "cat /sys/class/dmi/id/sys_vendor /sys/class/dmi/id/product_name"),
            section("cpuinfo", "grep -m 1 '^model name' /proc/cpuinfo; grep '^Model' /proc/cpuinfo"),
            section("vcgencmd-temp", "command -v vcgencmd >/dev/null && vcgencmd measure_temp"),
            section("vcgencmd-throttled", "command -v vcgencmd >/dev/null && vcgencmd get_throttled"),
            SUPPLIES_SECTION,
            storage_section("storage", workdir),
        )

    def parse(self, output: str) -> DeviceFacts:
        """Return the facts; see :class:`edgedeploy.ports.Probe`. Never raises."""
        said = split_sections(output)
        release = parse_os_release(said.get("os-release"))
        system = line(said.get("system"))
        machine = line(said.get("machine"))
        supplies = parse_supplies(said.get("supplies"))
        throttled_bits = parse_throttled(said.get("vcgencmd-throttled"))
        temperatures = zone_temperatures_c(said.get("thermal"))
        add_temperature(temperatures, "firmware", _firmware_celsius(said.get("vcgencmd-temp")))
        properties = {f"os-release.{key}": release[key] for key in _KEPT if release.get(key)}
        if machine:
            properties["uname.machine"] = machine
        if throttled_bits is not None:
            properties["vcgencmd.get_throttled"] = f"{throttled_bits:#x}"
        return DeviceFacts(
            os=_SYSTEMS.get(system or "Linux", system or "linux"),
            os_version=release.get("VERSION_ID") or None,
            os_build=release.get("PRETTY_NAME") or None,
            kernel=line(said.get("kernel")),
            model=_model(said),
            soc=_soc(said),
            abi=_abi(machine, line(said.get("bits"))),
            cores=cores(said.get("cores"), said.get("cpufreq")),
            memory_total_bytes=memory_bytes(said.get("meminfo"), "MemTotal"),
            memory_available_bytes=memory_bytes(said.get("meminfo"), "MemAvailable"),
            oom_kills=oom_kills(said.get("vmstat")),
            storage_free_bytes=storage_free_bytes(said.get("storage")),
            temperatures_c=temperatures,
            thermal_status=_limits(throttled_bits),
            throttled=None if throttled_bits is None else any(throttled_bits >> bit & 1 for bit in _THROTTLED_NOW),
            throttle_count=throttle_count(said.get("throttle-counts")),
            battery_percent=supplies.percent,
            battery_charging=supplies.charging,
            plugged=supplies.plugged,
            load_average_1m=load_average_1m(said.get("loadavg")),
            properties=properties,
        )


def parse_os_release(text: str | None) -> dict[str, str]:
    """Return the variables of an os-release file, os-release(5); lines that are none are skipped."""
    found: dict[str, str] = {}
    for row in (text or "").splitlines():
        key, equals, value = row.partition("=")
        if not equals or not re.fullmatch(r"[A-Z0-9_]+", key):
            continue
        try:
            found[key] = " ".join(shlex.split(value))
        except ValueError:
            continue
    return found


def parse_throttled(text: str | None) -> int | None:
    """Return the bits of ``vcgencmd get_throttled``."""
    found = _GETS.search(text or "")
    return int(found[1], 16) if found else None


def _limits(throttled_bits: int | None) -> str | None:
    if throttled_bits is None:
        return None
    return ", ".join(name for bit, name in _THROTTLED_NOW.items() if throttled_bits >> bit & 1) or "none"


def _firmware_celsius(text: str | None) -> float | None:
    found = _TEMP.search(text or "")
    return number(found[1]) if found else None


def _model(said: dict[str, str]) -> str | None:
    product = " ".join((said.get("product") or "").split())
    return line(said.get("model")) or first_value(said.get("cpuinfo"), ["Model"]) or product or None


def _soc(said: dict[str, str]) -> str | None:
    """The device tree lists compatible machines from the board to the chip: ``brcm,bcm2711`` comes last."""
    entries = [entry.strip() for entry in (said.get("compatible") or "").splitlines() if "," in entry]
    if entries:
        return entries[-1].rpartition(",")[2].upper() or None
    return first_value(said.get("cpuinfo"), ["model name"])


def _abi(machine: str | None, bits: str | None) -> str | None:
    """A 64-bit kernel may carry 32-bit programs only, as on Raspberry Pi OS (32-bit): the programs decide."""
    if machine is None:
        return None
    if bits == "32":
        return {"aarch64": "linux-armv7l", "x86_64": "linux-i686"}.get(machine, f"linux-{machine}")
    return f"linux-{machine}"
