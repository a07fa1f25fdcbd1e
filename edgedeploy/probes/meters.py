"""Instruments that tell power or energy: a loop beside a program that reads them, and the parser of what it wrote.

Units are the kernel's: µA, µV, µW, µAh, µWh in power_supply (ABI/testing/sysfs-class-power), µW, µJ, mV and mA in hwmon
(hwmon/sysfs-interface.rst), µJ in powercap (power/powercap/powercap.rst).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from edgedeploy.probes.kernel_files import integer, number

_PERIOD_S = 0.5
_MOST_LOOKS = 7200
_SUPPLY = "/sys/class/power_supply/"
_HWMON = "/sys/class/hwmon/"
_POWERCAP = "/sys/class/powercap/"

# $$ is the program, as in edgedeploy.probes.sampler.
_SCRIPT = f"""
file=$1; shift
[ -r /proc/uptime ] || exec "$@"
(
exec 2>/dev/null </dev/null >>"$file"
files=
note() {{ for one in "$@"; do read -r value <"$one" && echo "file $one" && files="$files $one"; done; }}
name() {{ for one in "$@"; do read -r value <"$one" && echo "name $one $value"; done; }}
for d in {_SUPPLY}*; do
  name $d/type $d/scope
  note $d/status $d/current_now $d/voltage_now $d/power_now
done
for d in {_HWMON}hwmon*; do
  name $d/name $d/power*_label $d/in*_label
  note $d/power*_input $d/power*_average $d/energy*_input
  read -r value <$d/name && [ "$value" = ina3221 ] && note $d/in[1-3]_input $d/curr[1-3]_input
done
for d in {_POWERCAP}*; do name $d/name $d/max_energy_range_uj; note $d/energy_uj; done
pmic=:
command -v vcgencmd >/dev/null && vcgencmd pmic_read_adc | grep -q 'current(' && pmic="vcgencmd pmic_read_adc"
left={_MOST_LOOKS}
while [ $left -gt 0 ] && [ -d /proc/$$ ]; do
  left=$((left - 1))
  read -r began rest </proc/uptime
  values=
  for one in $files; do value=; read -r value <"$one"; values="$values|$value"; done
  echo "at $began$values"
  $pmic
  sleep {_PERIOD_S} || sleep 1 || exit
done
) &
exec "$@"
"""

_RAIL = re.compile(r"^\s*(\w+)_(A|V)\s+(?:current|volt)\(\d+\)=([0-9.]{1,18})[AV]\s*$", re.ASCII)
_TOTALS = ("VDD_IN", "POM_5V_IN")  # the input of a whole Jetson; its other rails are parts of it
_GRAPHICS = ("amdgpu", "nouveau", "xe", "i915")
_MILLIAMPERES_BELOW = 20_000
_MILLIVOLTS_BELOW = 100_000


@dataclass(frozen=True, kw_only=True)
class Series:
    """What one instrument said over time: pairs of seconds and watts, or of seconds and joules since some beginning."""

    source: str
    counts: bool
    points: tuple[tuple[float, float], ...]


@dataclass(kw_only=True)
class _Written:
    """What the loop wrote, read back."""

    names: dict[str, str] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)
    looks: list[tuple[float, dict[str, str]]] = field(default_factory=list)
    pmic: list[dict[str, float]] = field(default_factory=list)


def metered(argv: Sequence[str], file: str) -> list[str]:
    """``argv`` with a loop beside it that writes to the end of ``file`` what the device's instruments say."""
    return ["sh", "-c", _SCRIPT.strip(), "sh", file, *argv]


def parse_metered(text: str) -> tuple[tuple[Series, ...], str]:
    """What each instrument said, the best one first; and why there is none of the battery's. Never raises."""
    written = _read(text)
    battery, reason = _battery(written)
    found = (*_hwmon(written), *_powercap(written), *_pmic(written), *battery)
    return tuple(series for series in found if series.points), reason


def parse_reading(text: str) -> tuple[float, bool] | None:
    """What a user's command printed last: watts, or joules (then True). ``3.42 W``, ``3420 mW``, ``12.5 J``, ``1.2 Wh``."""
    found = _READING.findall(text)
    if not found:
        return None
    value, unit = found[-1]
    factor, counts = _UNITS[unit]
    return float(value) * factor, counts


_UNITS = {
    "W": (1.0, False), "mW": (1e-3, False), "uW": (1e-6, False),
    "J": (1.0, True), "mJ": (1e-3, True), "uJ": (1e-6, True), "Wh": (3600.0, True), "mWh": (3.6, True),
}  # fmt: skip
_READING = re.compile(r"(?<![\w.+-])(\d{1,15}(?:\.\d{0,12})?)\s?(mWh|Wh|mW|uW|W|mJ|uJ|J)\b", re.ASCII)


def _read(text: str) -> _Written:
    written = _Written()
    for row in text.replace("\r\n", "\n").split("\n")[:-1]:
        kind, _, rest = row.partition(" ")
        if kind == "name":
            path, _, value = rest.partition(" ")
            written.names[path] = value.strip()
        elif kind == "file":
            written.files.append(rest)
        elif kind == "at":
            moment, *values = rest.split("|")
            at_s = number(moment)
            if at_s is not None and len(values) == len(written.files):
                written.looks.append((at_s, dict(zip(written.files, values, strict=True))))
                written.pmic.append({})
        elif written.pmic and (rail := _RAIL.match(row)) and (reading := number(rail[3])) is not None:
            written.pmic[-1][f"{rail[1]}_{rail[2]}"] = reading
    return written


def _hwmon(written: _Written) -> Iterator[Series]:
    counters = [path for path in written.files if path.startswith(_HWMON) and "/energy" in path]
    for path in counters:
        yield Series(source=f"hwmon {_chip(written, path)}", counts=True, points=_points(written, path, 1e-6))
    channels = {path: label for path in written.files if (label := _channel(written, path)) is not None}
    total = [path for path, label in channels.items() if label in _TOTALS]
    used = total[:1] or list(channels)
    if not used:
        return
    sums = [(at_s, [_watts(values, path) for path in used]) for at_s, values in written.looks]
    source = "hwmon " + " + ".join(f"{_chip(written, path)} {channels[path]}".strip() for path in used)
    points = tuple((at_s, sum(w for w in watts if w is not None)) for at_s, watts in sums if None not in watts)
    yield Series(source=source, counts=False, points=points)


def _channel(written: _Written, path: str) -> str | None:
    """The label of a channel of power, empty if it has none; None for a file that is none, or the graphics card's."""
    file = PurePosixPath(path)
    chip = _chip(written, path)
    if not path.startswith(_HWMON) or chip in _GRAPHICS:
        return None
    if file.name.startswith("power"):
        if file.name.endswith("_average") and f"{path.removesuffix('_average')}_input" in written.files:
            return None
        return written.names.get(str(file.with_name(file.name.rpartition("_")[0] + "_label")), "")
    if chip == "ina3221" and file.name.startswith("in"):
        label = written.names.get(str(file.with_name(file.name.replace("_input", "_label"))), file.name[:3])
        return None if label == "sum of shunt voltages" else label
    return None


def _watts(values: dict[str, str], path: str) -> float | None:
    file = PurePosixPath(path)
    reading = integer(values.get(path))
    if reading is None:
        return None
    if file.name.startswith("power"):
        return reading * 1e-6
    milliamperes = integer(values.get(str(file.with_name(file.name.replace("in", "curr", 1)))))
    return None if milliamperes is None else reading * milliamperes * 1e-6


def _chip(written: _Written, path: str) -> str:
    folder = PurePosixPath(path).parent
    return written.names.get(f"{folder}/name", folder.name)


def _powercap(written: _Written) -> Iterator[Series]:
    """Packages, added up; what lies within one (cores, graphics) is counted there already."""
    zones = [
        path
        for path in written.files
        if path.startswith(_POWERCAP) and _chip(written, path).startswith("package-") and ":" in path
    ]
    if not zones:
        return
    joules = [0.0] * len(written.looks)
    for path in zones:
        unrolled = _unrolled(written, path)
        if unrolled is None:
            return
        joules = [sum(pair) for pair in zip(joules, unrolled, strict=True)]
    points = tuple((at_s, value) for (at_s, _), value in zip(written.looks, joules, strict=True))
    yield Series(source="RAPL " + " + ".join(_chip(written, path) for path in zones), counts=True, points=points)


def _unrolled(written: _Written, path: str) -> list[float] | None:
    """A counter that begins anew at ``max_energy_range_uj``, in joules since the first look; None where it is unreadable."""
    whole = integer(written.names.get(path.replace("energy_uj", "max_energy_range_uj")))
    found: list[float] = []
    before: int | None = None
    total = 0
    for _, values in written.looks:
        now = integer(values[path])
        if now is None or (before is not None and now < before and not whole):
            return None
        if before is not None:
            total += now - before if now >= before else now - before + (whole or 0)
        before = now
        found.append(total * 1e-6)
    return found


def _pmic(written: _Written) -> Iterator[Series]:
    """Of a Raspberry Pi 5: the rails of its regulator. Its own losses and the USB ports come on top."""
    points = []
    for (at_s, _), rails in zip(written.looks, written.pmic, strict=True):
        pairs = [
            (rails[f"{name[:-2]}_V"], amperes)
            for name, amperes in rails.items()
            if name.endswith("_A") and f"{name[:-2]}_V" in rails
        ]
        if pairs:
            points.append((at_s, sum(volts * amperes for volts, amperes in pairs)))
    if points:
        yield Series(source="vcgencmd pmic_read_adc", counts=False, points=tuple(points))


def _battery(written: _Written) -> tuple[list[Series], str]:
    """The fuel gauge of the first battery, which tells of the load only while nothing charges it."""
    for path in written.files:
        folder = str(PurePosixPath(path).parent)
        kind, scope = written.names.get(f"{folder}/type"), written.names.get(f"{folder}/scope")
        if not path.startswith(_SUPPLY) or kind != "Battery" or scope == "Device":
            continue
        states = {values.get(f"{folder}/status", "").strip() for _, values in written.looks}
        if states - {"Discharging"}:
            said = ", ".join(sorted(states - {"", "Discharging"})) or "not told"
            return [], f"the battery's gauge tells of the load only while nothing charges it (its status: {said})"
        watts = [(at_s, _gauge_watts(values, folder)) for at_s, values in written.looks]
        points = tuple((at_s, value) for at_s, value in watts if value is not None)
        if not points:
            return [], "the battery's gauge may not be read"
        return [Series(source=f"battery {PurePosixPath(folder).name}", counts=False, points=points)], ""
    return [], ""


def _gauge_watts(values: dict[str, str], folder: str) -> float | None:
    """Load in watts, as a battery that is not charged gives it.

    Some vendors count what leaves the battery as positive, some as negative; some write mA and mV for the kernel's µA and µV. A
    device that computes takes more than 20 mA, and no battery has 100 mV.
    """
    power = integer(values.get(f"{folder}/power_now"))
    if power:
        return abs(power) * 1e-6
    current, voltage = integer(values.get(f"{folder}/current_now")), integer(values.get(f"{folder}/voltage_now"))
    if not current or voltage is None or voltage <= 0:
        return None
    amperes = abs(current) * (1e-3 if abs(current) < _MILLIAMPERES_BELOW else 1e-6)
    volts = voltage * (1e-3 if voltage < _MILLIVOLTS_BELOW else 1e-6)
    return amperes * volts


def _points(written: _Written, path: str, factor: float) -> tuple[tuple[float, float], ...]:
    read = [(at_s, integer(values[path])) for at_s, values in written.looks]
    return tuple((at_s, value * factor) for at_s, value in read if value is not None)
