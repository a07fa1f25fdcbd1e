"""The loop beside a program, by the shells that are here, and the parser of what it writes."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgedeploy.domain.conditions import During
from edgedeploy.probes.sampler import parse_watched, watched

ALL = "all cpu  {} 0 100 5000 0 0 0 0 0 0\n"
OWN = "own 7 (a )b c) R 1 7 7 0 -1 0 1 0 0 0 {} 10 0 0 20 0 4 0 1 2 3\n"
TIMES = "0m0.{:02}s 0m0.010s\n0m0.000s 0m0.020s\n"


def look(at: str, values: str, busy: int, own: int, spent: int = 0) -> str:
    return ALL.format(busy) + OWN.format(own) + f"at {at} {values}\n" + TIMES.format(spent)


HEAD = "watch\nzone 0 BIG\nzone 3 BIG\nzone 9 dead\ncpu 4\ncpu 7\n"
GOOD = (
    HEAD
    + look("100.00", "41000 40000 0 600000 2000000 700000 2900000", 1000, 0)
    + look("100.50", "45500 47250 0 2000000 2000000 2900000 2900000", 1100, 50, 1)
    + HEAD
    + look("110.00", "52000 - -274000 1800000 1800000 - 2900000", 2000, 0)
)


def test_what_was_written_beside_two_programs() -> None:
    seen = parse_watched(GOOD)
    assert seen.cpus == (4, 7)
    assert [sample.at_s for sample in seen.samples] == [0, 0.5, 10]
    assert [sample.hottest_c for sample in seen.samples] == [41, 47.25, 52]
    assert (seen.hottest_c, seen.zone) == (52, "BIG")
    assert seen.samples[1].clocks_hz == (2_000_000_000, 2_900_000_000)
    assert seen.samples[2].clocks_hz == (1_800_000_000, None)
    assert (seen.samples[1].busy, seen.samples[1].own, seen.others) == (2.0, 1.0, 1.0)
    assert [sample.busy for sample in seen.samples] == [None, 2.0, None]  # the first look at a program has none before it
    assert (seen.clock_range_hz(4), seen.least_limit_hz(4)) == ((600_000_000, 2_000_000_000), 1_800_000_000)
    assert seen.unavailable == ()
    assert seen.cost == 0.08  # 40 ms in 0.5 s; the second loop looked once


def test_nothing_at_all_is_said_so() -> None:
    assert parse_watched("") == During(unavailable=("everything",))
    assert parse_watched("no such file\n") == During(unavailable=("everything",))


def test_a_device_that_tells_little() -> None:
    seen = parse_watched("watch\nat 5.00\nat 5.50\n")
    assert len(seen.samples) == 2
    assert seen.unavailable == ("temperature", "clock frequencies", "load by others")
    assert (seen.hottest_c, seen.others, seen.zone, seen.cost) == (None, None, None, 0.0)


def test_a_line_that_was_cut_off_is_no_sample() -> None:
    cut = HEAD + look("100.00", "41000 40000 0 600000 2000000 700000 2900000", 1000, 0) + "at 100.50 45500 47"
    assert [sample.at_s for sample in parse_watched(cut).samples] == [0]
    assert parse_watched(cut + "\n").samples == parse_watched(cut).samples


def test_counters_that_go_back_give_no_load() -> None:
    text = "watch\n" + look("1.00", "", 1000, 10) + look("2.00", "", 900, 20) + look("2.00", "", 950, 30)
    assert [sample.busy for sample in parse_watched(text).samples] == [None, None, None]


@given(text=st.text(), at=st.integers(0, len(GOOD)), gap=st.integers(0, 30))
def test_damage_never_raises(text: str, at: int, gap: int) -> None:
    seen = parse_watched(GOOD[:at] + text + GOOD[at + gap :])
    assert all(sample.busy is None or sample.busy >= 0 for sample in seen.samples)


@pytest.mark.parametrize("shell", ["dash", "bash"])
def test_a_program_is_watched_and_stays_itself(shell: str, tmp_path: Path) -> None:
    argv = watched(["sh", "-c", 'echo "$0 $1"; echo oops >&2; exit 7', "a b", "$(id)"], str(tmp_path / "seen"), ())
    ended = subprocess.run([shell, *argv[1:]], capture_output=True, timeout=20, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (7, b"a b $(id)\n", b"oops\n")
    killed = subprocess.run(
        [shell, *watched(["sh", "-c", "kill -9 $$"], str(tmp_path / "x"), (0, 99))[1:]], timeout=20, check=False
    )
    assert killed.returncode == -9


def test_a_file_that_cannot_be_written_does_not_keep_a_program_from_running(tmp_path: Path) -> None:
    argv = watched(["echo", "fine"], str(tmp_path / "no/such/folder"), ())
    ended = subprocess.run(argv, capture_output=True, timeout=20, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"fine\n", b"")


def test_the_loop_sees_what_a_program_uses_and_ends_with_it(tmp_path: Path) -> None:
    file = tmp_path / "seen"
    program = subprocess.Popen(watched(["sh", "-c", "while :; do :; done"], str(file), ()))
    until = time.monotonic() + 20
    while len(parse_watched(file.read_text() if file.exists() else "").samples) < 3:
        assert time.monotonic() < until
        time.sleep(0.05)
    program.kill()
    program.wait()
    seen = parse_watched(file.read_text())
    assert max(sample.own or 0 for sample in seen.samples) > 0  # however busy the machine is
    size_bytes = -1
    while size_bytes != (size_bytes := file.stat().st_size):
        assert time.monotonic() < until
        time.sleep(0.8)
