"""The script that holds a clock, by this machine's shells on a tree of files like the kernel's; and the parser of its log."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgedeploy.domain.conditions import FixedClock
from edgedeploy.domain.target import FixedClockWish
from edgedeploy.probes.clock import clocked, parse_clocked

FOUND = {"scaling_governor": "ondemand", "scaling_min_freq": "600000", "scaling_max_freq": "1800000"}
UNTIL_S = 20.0


class Kernel:
    """A cpufreq tree with four processors."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tree, self.state, self.log = folder / "tree", folder / "work dir/clock", folder / "log"
        (folder / "work dir").mkdir()
        for cpu in range(4):
            files = self.tree / f"cpu{cpu}/cpufreq"
            files.mkdir(parents=True)
            for name, value in FOUND.items():
                (files / name).write_text(value + "\n")

    def of(self, cpu: int) -> dict[str, str]:
        return {name: (self.tree / f"cpu{cpu}/cpufreq/{name}").read_text().strip() for name in FOUND}

    @property
    def all(self) -> list[dict[str, str]]:
        return [self.of(cpu) for cpu in range(4)]

    def argv(
        self, *program: str, wish: FixedClockWish = True, cpus: Sequence[int] = (), limit_s: int = 60, shell: str = "sh"
    ) -> list[str]:
        log, state, tree = str(self.log), str(self.state), str(self.tree)
        return [shell, *clocked(program, log, state=state, wish=wish, cpus=cpus, limit_s=limit_s, tree=tree)[1:]]

    def said(self, wish: FixedClockWish = True) -> FixedClock:
        return parse_clocked(self.log.read_text(), wish)

    def wait_for(self, governor: str) -> None:
        until = time.monotonic() + UNTIL_S
        while self.of(3)["scaling_governor"] != governor:
            assert time.monotonic() < until
            time.sleep(0.02)

    def wait_until_forgotten(self) -> None:
        until = time.monotonic() + UNTIL_S
        while self.state.exists():
            assert time.monotonic() < until
            time.sleep(0.02)


@pytest.fixture
def kernel(tmp_path: Path) -> Kernel:
    """Nothing changed yet."""
    return Kernel(tmp_path)


@pytest.mark.parametrize("shell", ["dash", "bash"])
def test_the_clock_is_held_and_given_back(shell: str, kernel: Kernel) -> None:
    show = f'cat "{kernel.tree}"/cpu*/cpufreq/scaling_governor; echo "$1" >&2; exit 7'
    ended = subprocess.run(
        kernel.argv("sh", "-c", show, "sh", "a  $b", cpus=(1, 2), shell=shell),
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (7, "a  $b\n")
    assert ended.stdout.split() == ["ondemand", "performance", "performance", "ondemand"]
    assert kernel.all == [FOUND] * 4
    assert kernel.said() == FixedClock(how="governor performance")
    assert not kernel.state.exists()


@pytest.mark.parametrize("khz", [600_000, 1_000_000, 1_800_000])
def test_a_clock_in_hertz(khz: int, kernel: Kernel) -> None:
    show = f'cat "{kernel.tree}"/cpu0/cpufreq/scaling_m*_freq'
    ended = subprocess.run(kernel.argv("sh", "-c", show, wish=khz * 1000), capture_output=True, text=True, timeout=20, check=True)
    assert ended.stdout.split() == [str(khz)] * 2
    assert kernel.all == [FOUND] * 4
    assert kernel.said(khz * 1000) == FixedClock(how=f"held at {khz / 1e6:.3g} GHz")


def test_a_program_that_is_killed_gives_it_back(kernel: Kernel) -> None:
    ended = subprocess.run(kernel.argv("sh", "-c", "kill -9 $$"), timeout=20, check=False)
    assert ended.returncode == 128 + signal.SIGKILL
    assert kernel.all == [FOUND] * 4


def test_when_the_host_kills_everything_the_keeper_gives_it_back(kernel: Kernel) -> None:
    program = subprocess.Popen(kernel.argv("sleep", "60"), start_new_session=True)
    kernel.wait_for("performance")
    os.killpg(program.pid, signal.SIGKILL)  # what a time-out or a lost connection does
    program.wait()
    kernel.wait_until_forgotten()
    assert kernel.all == [FOUND] * 4


def test_when_its_time_is_over_the_keeper_gives_it_back(kernel: Kernel) -> None:
    with subprocess.Popen(kernel.argv("sleep", "60", limit_s=1), start_new_session=True) as program:
        kernel.wait_for("performance")
        kernel.wait_until_forgotten()
        assert program.poll() is None
        assert kernel.all == [FOUND] * 4
        os.killpg(program.pid, signal.SIGKILL)


def test_one_right_after_the_other_does_not_find_the_first_ones_clock(kernel: Kernel) -> None:
    first = subprocess.Popen(kernel.argv("sleep", "60"), start_new_session=True)
    kernel.wait_for("performance")
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    # Within the second in which the first one's keeper sleeps.
    second = subprocess.run(
        kernel.argv("sh", "-c", f'sleep 1.5; cat "{kernel.tree}/cpu3/cpufreq/scaling_governor"'),
        capture_output=True, text=True, timeout=20, check=True,
    )  # fmt: skip
    assert second.stdout == "performance\n"
    assert kernel.all == [FOUND] * 4
    assert not kernel.state.exists()


def test_what_a_power_cut_left_is_given_back_by_the_next_one(kernel: Kernel) -> None:
    kernel.state.mkdir()
    file = kernel.tree / "cpu3/cpufreq/scaling_governor"
    (kernel.state / "found").write_text(f"{file} schedutil\n/etc/passwd ondemand\n")
    (kernel.state / "owner").write_text("1\n")
    subprocess.run(kernel.argv("true", cpus=(0,)), timeout=20, check=True)
    assert kernel.of(3)["scaling_governor"] == "schedutil"
    assert "left /etc/passwd" in kernel.log.read_text()  # nothing outside of the tree is written, whatever the file says
    assert not kernel.state.exists()


def test_without_cpufreq_it_says_so_and_runs(kernel: Kernel) -> None:
    argv = kernel.argv("echo", "fine", cpus=(9,))
    ended = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "fine\n", "")
    assert kernel.said() == FixedClock(refused="the kernel has no cpufreq for these processors")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everything")
def test_without_rights_it_says_so_and_runs(kernel: Kernel) -> None:
    for file in kernel.tree.glob("cpu*/cpufreq/*"):
        file.chmod(0o444)
    ended = subprocess.run(kernel.argv("echo", "fine"), capture_output=True, text=True, timeout=20, check=False)
    assert (ended.returncode, ended.stdout) == (0, "fine\n")
    assert "may not be written" in kernel.said().refused


BEGAN = "began\ncpu 0 performance 600000 1800000\n"


@pytest.mark.parametrize(
    ("log", "wish", "found"),
    [
        ("", True, FixedClock(refused="the device did not say what it did")),
        ("began\n", True, FixedClock(refused="the device did not say what it did", left=("the last program's clock was given back by no one yet; a keeper on the device does so",))),
        (BEGAN + "back\n", True, FixedClock(how="governor performance")),
        ("began\nmode\nback\n", True, FixedClock(how="Android's fixed performance mode")),
        ("began\nrefused no mode\nback\n", True, FixedClock(refused="no mode")),
        ("began\ncpu 0 schedutil 1 2\nback\n", True, FixedClock(refused="processor 0 stays with the governor schedutil")),
        ("began\ncpu 0 schedutil 1400000 1500000\nback\n", 1_600_000_000, FixedClock(refused="processor 0 does not take 1.6 GHz: it may run at 1400000 to 1500000 kHz")),
        (BEGAN + "left /p a b\nback\n", True, FixedClock(how="governor performance", left=("/p is a, was b",))),
        (BEGAN + "back\nrefused second time not\n", True, FixedClock(refused="second time not")),
        ("began\ncpu 0\nback\n", True, FixedClock(refused="the device did not say what it did")),
    ],
)  # fmt: skip
def test_what_the_log_tells(log: str, wish: FixedClockWish, found: FixedClock) -> None:
    assert parse_clocked(log, wish) == found


@given(text=st.text())
def test_damage_never_raises(text: str) -> None:
    assert parse_clocked(BEGAN + text, True).left is not None
