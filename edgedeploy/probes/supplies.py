"""Batteries and chargers as the kernel lists them (Documentation/ABI/testing/sysfs-class-power), for boards and laptops."""

from __future__ import annotations

import re

import msgspec

from edgedeploy.probes.kernel_files import integer
from edgedeploy.probes.sections import section

SUPPLIES_SECTION = section(
    "supplies",
    "grep -H . /sys/class/power_supply/*/type /sys/class/power_supply/*/scope /sys/class/power_supply/*/status"
    " /sys/class/power_supply/*/capacity /sys/class/power_supply/*/online",
)

_FILE = re.compile(r"/power_supply/([^/\n]+)/(\w+):(.*)$", re.MULTILINE)
_CHARGING = {"Charging": True, "Discharging": False, "Not charging": False, "Full": False}
_MOST_PERCENT = 100


class Supplies(msgspec.Struct, frozen=True, kw_only=True):
    """The battery that the machine runs on, and whether it gets power from outside. None: not told, or it has no battery."""

    percent: int | None = None
    charging: bool | None = None
    plugged: bool | None = None


def parse_supplies(text: str | None) -> Supplies:
    """Read what grep printed. Never raises."""
    found: dict[str, dict[str, str]] = {}
    for name, key, value in _FILE.findall(text or ""):
        found.setdefault(name, {})[key] = value.strip()
    of_the_machine = [facts for facts in found.values() if facts.get("scope") != "Device"]  # a mouse has a battery, too
    batteries = [facts for facts in of_the_machine if facts.get("type") == "Battery"]
    chargers = [facts["online"] for facts in of_the_machine if facts.get("type") != "Battery" and "online" in facts]
    percent = integer(batteries[0].get("capacity")) if batteries else None
    return Supplies(
        percent=percent if percent is not None and 0 <= percent <= _MOST_PERCENT else None,
        charging=_CHARGING.get(batteries[0].get("status", "")) if batteries else None,
        plugged=any(online != "0" for online in chargers) if chargers else None,
    )
