"""Facts of Macs. Written from Apple's manual pages and recorded outputs in public; never run on a Mac."""

from __future__ import annotations

import re

from edgedeploy.domain.measurement import Core, DeviceFacts
from edgedeploy.domain.target import Os
from edgedeploy.probes.kernel_files import integer, line, number, storage_free_bytes
from edgedeploy.probes.sections import script, section, split_sections, storage_section

_KEYS = ("hw.model", "hw.memsize", "hw.ncpu", "machdep.cpu.brand_string", "vm.loadavg")
_MOST_CORES = 1024
_NO_LIMIT = 100
_PAGE = re.compile(r"page size of (\d{1,7}) bytes", re.ASCII)
_PAGES = re.compile(r"^Pages (free|inactive|speculative|purgeable):\s+(\d{1,15})\.$", re.MULTILINE | re.ASCII)
_BATTERY = re.compile(r"InternalBattery.*?\s(\d{1,3})%; ([\w ]+);", re.ASCII)
_CHARGING = {"charging": True, "discharging": False, "charged": False, "AC attached": False, "finishing charge": True}
_SOURCE = re.compile(r"drawing from '([^'\n]+)'")
_POWER = {"AC Power": True, "Battery Power": False}
_LIMIT = re.compile(r"^\s*CPU_Speed_Limit\s*=\s*(\d{1,3})\s*$", re.MULTILINE | re.ASCII)


class MacosProbe:
    """Reads sw_vers, sysctl, vm_stat and pmset in one round trip. Temperatures and clocks need root there: they stay unknown."""

    name = "macos"
    os: frozenset[Os] = frozenset({"macos"})

    def command(self, workdir: str) -> tuple[str, ...]:
        """Return sh with the script; see :class:`edgedeploy.ports.Probe`."""
        return ("sh", "-c", self.script(workdir))

    def script(self, workdir: str) -> str:
        """POSIX sh that ends with code 0, whatever is missing."""
        return script(
            section("kernel", "uname -r"),
            section("machine", "uname -m"),
            section("version", "sw_vers -productVersion"),
            section("build", "sw_vers -buildVersion"),
            section("sysctl", f"for key in {' '.join(_KEYS)}; do sysctl $key; done"),
            section("memory", "vm_stat"),
            section("battery", "pmset -g batt"),
            section("thermal", "pmset -g therm"),
            storage_section("storage", workdir),
        )

    def parse(self, output: str) -> DeviceFacts:
        """Return the facts; see :class:`edgedeploy.ports.Probe`. Never raises."""
        said = split_sections(output)
        sysctl = dict(re.findall(r"^([\w.]+): (.*)$", said.get("sysctl", ""), re.MULTILINE))
        machine = line(said.get("machine"))
        count = integer(sysctl.get("hw.ncpu")) or 0
        load = re.search(r"\{ (\S+) ", sysctl.get("vm.loadavg", ""))
        limit = speed_limit(said.get("thermal"))
        battery = _BATTERY.search(said.get("battery", ""))
        source = _SOURCE.search(said.get("battery", ""))
        return DeviceFacts(
            os="macos",
            os_version=line(said.get("version")),
            os_build=line(said.get("build")),
            kernel=line(said.get("kernel")),
            model=sysctl.get("hw.model") or None,
            soc=sysctl.get("machdep.cpu.brand_string") or None,
            abi=f"macos-{machine}" if machine else None,
            cores=tuple(Core(index=index) for index in range(count)) if 0 < count <= _MOST_CORES else (),
            memory_total_bytes=integer(sysctl.get("hw.memsize")),
            storage_free_bytes=storage_free_bytes(said.get("storage")),
            load_average_1m=number(load[1]) if load else None,
            memory_available_bytes=available_bytes(said.get("memory")),
            thermal_status=None if limit is None else "none" if limit >= _NO_LIMIT else f"limited to {limit} % of the clock",
            throttled=None if limit is None else limit < _NO_LIMIT,
            battery_percent=int(battery[1]) if battery else None,
            battery_charging=_CHARGING.get(battery[2]) if battery else None,
            plugged=_POWER.get(source[1]) if source else None,
        )


def available_bytes(vm_stat: str | None) -> int | None:
    """Memory that is free or given back at once, of what ``vm_stat`` prints."""
    page = _PAGE.search(vm_stat or "")
    pages = dict(_PAGES.findall(vm_stat or ""))
    return int(page[1]) * sum(map(int, pages.values())) if page and pages else None


def speed_limit(pmset: str | None) -> int | None:
    """Per cent of the clock that ``pmset -g therm`` says the processor may have; None where it records none."""
    found = _LIMIT.search(pmset or "")
    return int(found[1]) if found else None
