"""What Linux kernels tell in /proc and /sys, on phones and boards alike. Pure parsers; none of them ever raises.

Units are those of the kernel's documentation: kB in meminfo (Documentation/filesystems/proc.rst), kHz in cpufreq
(admin-guide/pm/cpufreq.rst), thousandths of a degree Celsius in thermal zones (driver-api/thermal/sysfs-api.rst).
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable

from edgedeploy.domain.measurement import Core
from edgedeploy.probes.sections import section

# One grep for all files: a process costs 5 to 10 ms on a phone. It skips what is denied, and prints path:value.
KERNEL_SECTIONS = (
    section("kernel", "uname -r"),
    section("loadavg", "cat /proc/loadavg"),
    section("meminfo", "grep -E '^(MemTotal|MemAvailable):' /proc/meminfo"),
    section("vmstat", "grep '^oom_kill ' /proc/vmstat"),
    section("cores", "echo /sys/devices/system/cpu/cpu[0-9]*"),
    section(
        "cpufreq",
        "grep -H . /sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_cur_freq"
        " /sys/devices/system/cpu/cpu[0-9]*/cpufreq/cpuinfo_max_freq"
        " /sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_max_freq"
        " /sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor",
    ),
    section("throttle-counts", "cat /sys/devices/system/cpu/cpu[0-9]*/thermal_throttle/core_throttle_count"),
    section(
        "thermal",
        "grep -H . /sys/class/thermal/thermal_zone*/type /sys/class/thermal/thermal_zone*/temp",
    ),
)
"""Sections that the parsers here read, for every script that runs on a Linux kernel."""

_CPU_FILE = re.compile(r"/cpu(\d{1,5})/cpufreq/(\w+):(.*)$", re.MULTILINE | re.ASCII)
_CPU_NAME = re.compile(r"/cpu(\d{1,5})(?!\S)", re.ASCII)
_ZONE_FILE = re.compile(r"/thermal_zone(\d{1,5})/(type|temp):(.*)$", re.MULTILINE | re.ASCII)
_DF = re.compile(r"\s(\d{1,18})\s+(\d{1,18})\s+(\d{1,18})\s+\d+%\s", re.ASCII)
_SANE_C = (-60.0, 200.0)
# Zones without a sensor answer 0 or values of a few; none that is real is within a thousandth part of freezing.
_SMALLEST_MILLIDEGREES = 1000


def integer(text: str | None) -> int | None:
    """Return a decimal integer of at most 18 digits, or None."""
    stripped = (text or "").strip()
    return int(stripped) if re.fullmatch(r"[+-]?\d{1,18}", stripped, re.ASCII) else None


def number(text: str | None) -> float | None:
    """Return a finite decimal number, or None."""
    stripped = (text or "").strip()
    return float(stripped) if re.fullmatch(r"[+-]?\d{1,18}(?:\.\d{0,18})?", stripped, re.ASCII) else None


def line(text: str | None) -> str | None:
    """Return the first line that says something, or None."""
    return next((row.strip() for row in (text or "").splitlines() if row.strip()), None)


def memory_bytes(meminfo: str | None, key: str) -> int | None:
    """Return ``MemTotal`` or ``MemAvailable`` of /proc/meminfo in bytes."""
    found = re.search(rf"^{re.escape(key)}:\s+(\d{{1,15}}) kB", meminfo or "", re.MULTILINE | re.ASCII)
    return int(found[1]) * 1024 if found else None


def oom_kills(vmstat: str | None) -> int | None:
    """Return ``oom_kill`` of /proc/vmstat; kernels before 4.13 do not count."""
    found = re.search(r"^oom_kill (\d{1,18})$", vmstat or "", re.MULTILINE | re.ASCII)
    return int(found[1]) if found else None


def storage_free_bytes(df: str | None) -> int | None:
    """Return the available bytes in what ``df -Pk`` printed."""
    found = _DF.search((df or "") + "\n")
    return int(found[3]) * 1024 if found else None


def load_average_1m(loadavg: str | None) -> float | None:
    """Return the first figure of /proc/loadavg."""
    words = (loadavg or "").split()
    load = number(words[0]) if words else None
    return load if load is not None and load >= 0 else None


def busy_ticks(row: str) -> int | None:
    """Time that was not idle, of the ``cpu`` line of /proc/stat: user, nice, system, irq, softirq, steal."""
    words = row.split()
    values = [integer(word) for word in words[1:9]]
    if not words or not words[0].startswith("cpu") or len(values) < 4 or None in values:  # noqa: PLR2004
        return None
    return sum(value for at, value in enumerate(values) if value is not None and at not in (3, 4))


def throttle_count(counts: str | None) -> int | None:
    """Return how often x86 cores were too hot since the start, by one counter per processor."""
    values = [value for row in (counts or "").splitlines() if (value := integer(row)) is not None and value >= 0]
    return sum(values) if values else None


def cores(names: str | None, cpufreq: str | None) -> tuple[Core, ...]:
    """Return all processors, those that are switched off too, in the kernel's order."""
    read: dict[int, dict[str, str]] = {int(index): {} for index in _CPU_NAME.findall(names or "")}
    for index, key, value in _CPU_FILE.findall(cpufreq or ""):
        read.setdefault(int(index), {})[key] = value.strip()
    return tuple(
        Core(
            index=index,
            current_hz=_hertz(facts.get("scaling_cur_freq")),
            max_hz=_hertz(facts.get("cpuinfo_max_freq")),
            limit_hz=_hertz(facts.get("scaling_max_freq")),
            governor=facts.get("scaling_governor") or None,
        )
        for index, facts in sorted(read.items())
    )


def zone_temperatures_c(thermal: str | None) -> dict[str, float]:
    """Return temperatures by the type of their zone; a type that occurs again gets the zone's number added."""
    zones: dict[int, dict[str, str]] = {}
    for index, key, value in _ZONE_FILE.findall(thermal or ""):
        zones.setdefault(int(index), {})[key] = value.strip()
    found: dict[str, float] = {}
    for index, facts in sorted(zones.items()):
        millidegrees = integer(facts.get("temp"))
        if millidegrees is None or abs(millidegrees) < _SMALLEST_MILLIDEGREES:
            continue
        add_temperature(found, zone_name(facts.get("type"), index, found), millidegrees / 1000)
    return found


def zone_name(kind: str | None, index: int, taken: Collection[str]) -> str:
    """What to call a thermal zone: its type, with its number added where another one is called so already."""
    name = kind or f"zone{index}"
    return name if name not in taken else f"{name}#{index}"


def add_temperature(found: dict[str, float], name: str, celsius: float | None) -> None:
    """Put a temperature that a device can have into ``found``, unless the name is there already."""
    low, high = _SANE_C
    if celsius is not None and math.isfinite(celsius) and low < celsius < high:
        found.setdefault(name, celsius)


def first_value(text: str | None, keys: Iterable[str]) -> str | None:
    """Return the value of the first ``key : value`` line whose key is among ``keys``, as in /proc/cpuinfo."""
    wanted = tuple(keys)
    for row in (text or "").splitlines():
        key, colon, value = row.partition(":")
        if colon and key.strip() in wanted and value.strip():
            return value.strip()
    return None


def _hertz(kilohertz: str | None) -> int | None:
    value = integer(kilohertz)
    return value * 1000 if value is not None and value > 0 else None
