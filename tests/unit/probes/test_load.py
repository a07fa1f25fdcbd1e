"""Load over a second, from two lines of /proc/stat."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgedeploy.probes.load import LOAD_SCRIPT, parse_load

GOOD = "100.00 cpu  10 20 30 4000 50 6 7 8 9 10\n101.25 cpu  60 45 55 9000 99 16 22 8 99 99\n"


def test_time_that_was_not_idle_is_load() -> None:
    # 50 user, 25 nice, 25 system, 10 irq, 15 softirq in 1.25 s; neither idle nor waiting for a disk, and guests are in user already
    assert parse_load(GOOD) == 1.0


@pytest.mark.parametrize(
    "said",
    [
        "",
        GOOD.splitlines()[0],
        GOOD + GOOD,
        "100.00 cpu 1 2 3\n101.00 cpu 1 2 3\n",
        "100.00 cpu  1 2 3 4\n100.00 cpu  2 3 4 5\n",
        "100.00 cpu  9 9 9 9\n101.00 cpu  1 1 1 1\n",
        "100.00 intr 1 2 3 4\n101.00 intr 1 2 3 4\n",
        "sh: can't open /proc/stat\n",
    ],
)
def test_what_is_no_load(said: str) -> None:
    assert parse_load(said) is None


@given(text=st.text(), at=st.integers(0, len(GOOD)))
def test_damage_never_raises(text: str, at: int) -> None:
    load = parse_load(GOOD[:at] + text + GOOD[at:])
    assert load is None or load >= 0


@pytest.mark.parametrize("shell", ["dash", "bash"])
def test_this_machine(shell: str) -> None:
    ended = subprocess.run([shell, "-c", LOAD_SCRIPT], capture_output=True, text=True, timeout=20, check=True)
    load = parse_load(ended.stdout)
    assert load is not None
    assert ended.stderr == ""
