"""Facts of Macs. Written from Apple's manual pages; never run on a Mac."""

from __future__ import annotations

import re

from edgedeploy.domain.measurement import Core, DeviceFacts
from edgedeploy.domain.target import Os
from edgedeploy.probes.kernel_files import integer, line, number, storage_free_bytes
from edgedeploy.probes.sections import script, section, split_sections, storage_section

_KEYS = ("hw.model", "hw.memsize", "hw.ncpu", "machdep.cpu.brand_string", "vm.loadavg")
_MOST_CORES = 1024


class MacosProbe:
    """Reads sw_vers and sysctl in one round trip. Temperatures and clocks need root on a Mac: they stay unknown."""

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
            storage_section("storage", workdir),
        )

    def parse(self, output: str) -> DeviceFacts:
        """Return the facts; see :class:`edgedeploy.ports.Probe`. Never raises."""
        said = split_sections(output)
        sysctl = dict(re.findall(r"^([\w.]+): (.*)$", said.get("sysctl", ""), re.MULTILINE))
        machine = line(said.get("machine"))
        count = integer(sysctl.get("hw.ncpu")) or 0
        load = re.search(r"\{ (\S+) ", sysctl.get("vm.loadavg", ""))
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
        )
