"""The files under ``/sys`` and ``/proc`` that tools on a phone or board read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class CoreKind:
    """Equal processor cores, as the kernel describes them; clocks in kHz."""

    count: int
    part: int
    min_khz: int
    max_khz: int


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """What the kernel of a stand-in says about its hardware."""

    cores: tuple[CoreKind, ...]
    governor: str
    thermal_zones: tuple[tuple[str, int], ...]  # type and temperature in m°C
    cpuinfo_tail: str = ""
    device_tree_model: str = ""
    device_tree_compatible: tuple[str, ...] = ()
    battery: bool = False


# Cortex part numbers as in Arm's Main ID register: A510 0xd46, A715 0xd4d, X3 0xd4e, A72 0xd08.
PHONE_HARDWARE = Hardware(
    cores=(
        CoreKind(count=4, part=0xD46, min_khz=300_000, max_khz=1_700_000),
        CoreKind(count=3, part=0xD4D, min_khz=400_000, max_khz=2_370_000),
        CoreKind(count=1, part=0xD4E, min_khz=500_000, max_khz=2_910_000),
    ),
    governor="sched_pixel",
    thermal_zones=(("BIG", 41_200), ("LITTLE", 39_800), ("battery", 28_700)),
    cpuinfo_tail="Hardware\t: stand-in phone\n",
    battery=True,
)

PI4_HARDWARE = Hardware(
    cores=(CoreKind(count=4, part=0xD08, min_khz=600_000, max_khz=1_800_000),),
    governor="ondemand",
    thermal_zones=(("cpu-thermal", 48_686),),
    cpuinfo_tail=(
        "Hardware\t: BCM2835\nRevision\t: c03115\nSerial\t\t: 1000000000edde91\nModel\t\t: Raspberry Pi 4 Model B Rev 1.5\n"
    ),
    device_tree_model="Raspberry Pi 4 Model B Rev 1.5",
    device_tree_compatible=("raspberrypi,4-model-b", "brcm,bcm2711"),
)

_FEATURES = "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimddp"
_FEATURES_OF_PART = {0xD08: "fp asimd evtstrm crc32 cpuid"}


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def write_sys(folder: Path, hardware: Hardware) -> None:
    """Fill ``folder`` as the ``/sys`` of ``hardware``; the files can be rewritten while the stand-in runs."""
    cpus = [kind for kind in hardware.cores for _ in range(kind.count)]
    last = len(cpus) - 1
    cpu_folder = folder / "devices/system/cpu"
    for name in ("present", "possible", "online"):
        _write(cpu_folder / name, f"0-{last}\n")
    _write(cpu_folder / "offline", "\n")
    _write(cpu_folder / "kernel_max", "31\n")
    first = 0
    for package, kind in enumerate(hardware.cores):
        siblings = f"{first}-{first + kind.count - 1}" if kind.count > 1 else str(first)
        for cpu in range(first, first + kind.count):
            topology = cpu_folder / f"cpu{cpu}/topology"
            _write(topology / "core_id", f"{cpu}\n")
            _write(topology / "physical_package_id", f"{package}\n")
            _write(topology / "core_siblings_list", f"{siblings}\n")
            _write(topology / "thread_siblings_list", f"{cpu}\n")
            frequency = cpu_folder / f"cpu{cpu}/cpufreq"
            _write(frequency / "cpuinfo_min_freq", f"{kind.min_khz}\n")
            _write(frequency / "cpuinfo_max_freq", f"{kind.max_khz}\n")
            _write(frequency / "scaling_min_freq", f"{kind.min_khz}\n")
            _write(frequency / "scaling_max_freq", f"{kind.max_khz}\n")
            _write(frequency / "scaling_cur_freq", f"{kind.min_khz}\n")
            _write(frequency / "scaling_governor", f"{hardware.governor}\n")
            _write(frequency / "scaling_available_governors", f"{hardware.governor} powersave performance\n")
            _write(frequency / "related_cpus", " ".join(map(str, range(first, first + kind.count))) + "\n")
        first += kind.count
    for number, (zone, temperature_mc) in enumerate(hardware.thermal_zones):
        _write(folder / f"class/thermal/thermal_zone{number}/type", f"{zone}\n")
        _write(folder / f"class/thermal/thermal_zone{number}/temp", f"{temperature_mc}\n")
    (folder / "class/power_supply").mkdir(parents=True)
    if hardware.battery:
        supply = folder / "class/power_supply/battery"
        for name, value in (
            ("type", "Battery"),
            ("current_now", "-312500"),
            ("voltage_now", "4210000"),
            ("temp", "287"),
        ):
            _write(supply / name, f"{value}\n")
    if hardware.device_tree_model:
        tree = folder / "firmware/devicetree/base"
        _write(tree / "model", hardware.device_tree_model + "\0")
        _write(tree / "compatible", "".join(f"{name}\0" for name in hardware.device_tree_compatible))


def cpuinfo(hardware: Hardware) -> str:
    """The text of ``/proc/cpuinfo`` on ``hardware``, in the shape of an arm64 kernel."""
    blocks = []
    number = 0
    for kind in hardware.cores:
        for _ in range(kind.count):
            blocks.append(
                f"processor\t: {number}\nBogoMIPS\t: 108.00\n"
                f"Features\t: {_FEATURES_OF_PART.get(kind.part, _FEATURES)}\n"
                f"CPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x0\n"
                f"CPU part\t: 0x{kind.part:03x}\nCPU revision\t: 3\n\n"
            )
            number += 1
    return "".join(blocks) + hardware.cpuinfo_tail
