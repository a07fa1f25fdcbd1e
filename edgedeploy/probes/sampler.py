"""Looks at a device while a program runs there: a loop of POSIX sh beside it, and the parser of what that wrote.

The loop reads files of the kernel by the shell's own ``read``: one look costs a ``sleep`` and no other process. The program takes
the shell's place (``exec``), so its exit code, its signals and its outputs are its own, and the loop ends when it does, whoever
ended it: a lost connection leaves nothing behind.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from edgedeploy.domain.conditions import During, Sample
from edgedeploy.probes.kernel_files import add_temperature, busy_ticks, integer, number, zone_name
from edgedeploy.probes.load import processors

_PERIOD_S = 0.5
_SLOW_PERIOD_S = 5  # where a look takes long: sensors behind a slow bus, an emulated processor
_LONG_TICKS = 3  # of 10 ms, the resolution of /proc/uptime
_MOST_SAMPLES = 7200
_MOST_ZONES = 64

_TIMES = re.compile(r"(\d{1,9})m(\d{1,2}(?:\.\d{1,9})?)s (\d{1,9})m(\d{1,2}(?:\.\d{1,9})?)s", re.ASCII)

# $$ is the program: a subshell keeps the number of its parent, and exec does not change it.
_SCRIPT = f"""
file=$1 cpus=$2; shift 2
[ -r /proc/uptime ] || exec "$@"
(
exec 2>/dev/null </dev/null >>"$file"
echo watch
files= zones=0
for zone in /sys/class/thermal/thermal_zone*; do
  read -r kind <"$zone/type" && read -r t <"$zone/temp" || continue
  echo "zone ${{zone##*thermal_zone}} $kind"
  files="$files $zone/temp" zones=$((zones + 1))
  [ $zones -lt {_MOST_ZONES} ] || break
done
folders=
for cpu in $cpus; do folders="$folders /sys/devices/system/cpu/cpu$cpu/cpufreq"; done
for folder in ${{folders:-/sys/devices/system/cpu/cpu[0-9]*/cpufreq}}; do
  [ -r "$folder/scaling_cur_freq" ] || continue
  cpu=${{folder%/cpufreq}}
  echo "cpu ${{cpu##*/cpu}}"
  files="$files $folder/scaling_cur_freq $folder/scaling_max_freq"
done
pause={_PERIOD_S} left={_MOST_SAMPLES}
while [ $left -gt 0 ] && [ -d /proc/$$ ]; do
  left=$((left - 1))
  read -r began rest </proc/uptime
  values=
  for one in $files; do
    value=-
    read -r value <"$one"
    values="$values ${{value:--}}"
  done
  read -r all </proc/stat && echo "all $all"
  read -r own </proc/$$/stat && echo "own $own"
  echo "at $began$values"
  times
  read -r ended rest </proc/uptime
  [ $((${{ended%.*}}${{ended#*.}} - ${{began%.*}}${{began#*.}})) -lt {_LONG_TICKS} ] || pause={_SLOW_PERIOD_S}
  sleep $pause || sleep 1 || exit
done
) &
exec "$@"
"""


def watched(argv: Sequence[str], file: str, cpus: Sequence[int]) -> list[str]:
    """``argv`` with the loop beside it, which writes to the end of ``file`` how ``cpus`` are (none named: all)."""
    return ["sh", "-c", _SCRIPT.strip(), "sh", file, " ".join(map(str, cpus)), *argv]


def parse_watched(text: str) -> During:
    """What the loop wrote beside one program after the other. Never raises; a line that was cut off is no sample."""
    programs = [_Program.read(part) for part in text.replace("\r\n", "\n").split("watch\n")[1:]]
    looks = [look for program in programs for look in program.looks]
    if not looks:
        return During(unavailable=("everything",))
    first_s = looks[0].at_s
    cpus = programs[0].cpus
    samples = tuple(sample for program in programs for sample in program.samples(first_s, cpus))
    hottest = max(((celsius, zone) for look in looks for zone, celsius in look.temperatures_c.items()), default=(0.0, None))
    lasted_s = sum(program.lasted_s for program in programs)
    spent_s = sum(program.spent_s for program in programs if program.lasted_s)
    return During(
        samples=samples,
        cpus=cpus,
        zone=hottest[1],
        began_uptime_s=first_s,
        cost=round(spent_s / lasted_s, 4) if lasted_s else None,
        unavailable=tuple(_unavailable(samples)),
    )


@dataclass(frozen=True, kw_only=True)
class _Look:
    at_s: float
    temperatures_c: dict[str, float]
    clocks_hz: dict[int, int]
    limits_hz: dict[int, int]
    busy_ticks: int | None
    own_ticks: int | None


@dataclass(kw_only=True)
class _Program:
    """What was written beside one program."""

    zones: list[str] = field(default_factory=list)
    cpus: tuple[int, ...] = ()
    looks: list[_Look] = field(default_factory=list)
    times_s: list[float] = field(default_factory=list)

    @classmethod
    def read(cls, text: str) -> _Program:
        program = cls()
        busy = own = None
        for row in text.split("\n")[:-1]:
            kind, _, rest = row.partition(" ")
            if kind == "zone":
                index, _, name = rest.partition(" ")
                program.zones.append(zone_name(name, integer(index) or 0, program.zones))
            elif kind == "cpu":
                program.cpus += (integer(rest) or 0,)
            elif kind == "all":
                busy = busy_ticks(rest)
            elif kind == "own":
                own = _own_ticks(rest)
            elif kind == "at":
                program._take(rest.split(), busy, own)
                busy = own = None
            elif (seconds := _seconds_of(row)) is not None:
                program.times_s.append(seconds)
        return program

    @property
    def lasted_s(self) -> float:
        """From the first look to the last."""
        return max(0.0, self.looks[-1].at_s - self.looks[0].at_s) if self.looks else 0.0

    @property
    def spent_s(self) -> float:
        """Processor time of the loop: ``times`` prints two lines, the shell's own and its children's, which grow."""
        return sum(self.times_s[-2:])

    def _take(self, words: list[str], busy: int | None, own: int | None) -> None:
        at_s = number(words[0]) if words else None
        values = words[1:]
        if at_s is None or len(values) != len(self.zones) + 2 * len(self.cpus):
            return
        temperatures_c: dict[str, float] = {}
        for zone, value in zip(self.zones, values, strict=False):
            millidegrees = integer(value)
            add_temperature(temperatures_c, zone, None if millidegrees is None else millidegrees / 1000)
        clocks = [None if (kilohertz := integer(value)) is None else kilohertz * 1000 for value in values[len(self.zones) :]]
        self.looks.append(
            _Look(
                at_s=at_s,
                temperatures_c={zone: celsius for zone, celsius in temperatures_c.items() if abs(celsius) >= 1},
                clocks_hz={cpu: hz for cpu, hz in zip(self.cpus, clocks[::2], strict=True) if hz},
                limits_hz={cpu: hz for cpu, hz in zip(self.cpus, clocks[1::2], strict=True) if hz},
                busy_ticks=busy,
                own_ticks=own,
            )
        )

    def samples(self, first_s: float, cpus: tuple[int, ...]) -> Iterator[Sample]:
        before: _Look | None = None
        for look in self.looks:
            yield Sample(
                at_s=round(look.at_s - first_s, 2),
                hottest_c=max(look.temperatures_c.values(), default=None),
                clocks_hz=tuple(look.clocks_hz.get(cpu) for cpu in cpus),
                limits_hz=tuple(look.limits_hz.get(cpu) for cpu in cpus),
                busy=processors((before.at_s, before.busy_ticks), (look.at_s, look.busy_ticks)) if before else None,
                own=processors((before.at_s, before.own_ticks), (look.at_s, look.own_ticks)) if before else None,
            )
            before = look


def _own_ticks(row: str) -> int | None:
    """User and system time of all threads, fields 14 and 15 of proc_pid_stat(5). The name before them may hold anything."""
    words = row.rpartition(")")[2].split()
    if len(words) < 13:  # noqa: PLR2004
        return None
    user, system = integer(words[11]), integer(words[12])
    return None if user is None or system is None else user + system


def _seconds_of(row: str) -> float | None:
    """User and system time of a line of ``times``: ``0m0.014s 0m0.021s``."""
    parts = _TIMES.fullmatch(row.strip())
    return None if parts is None else 60 * (int(parts[1]) + int(parts[3])) + float(parts[2]) + float(parts[4])


def _unavailable(samples: Sequence[Sample]) -> Iterator[str]:
    if all(sample.hottest_c is None for sample in samples):
        yield "temperature"
    if not any(any(sample.clocks_hz) for sample in samples):
        yield "clock frequencies"
    if all(sample.others is None for sample in samples):  # also of programs that are over before the second look
        yield "load by others"
