from __future__ import annotations

import pytest

from edgedeploy.stats.sessions import agree, session_p50, spread


def test_a_process_with_many_samples_counts_as_one() -> None:
    assert session_p50([[100, 101, 102], [200] * 50, [103], []]) == 103


@pytest.mark.parametrize(
    ("p50_ns", "within"), [((100, 105), True), ((105, 100), True), ((100, 106), False), ((100, 100, 106), False)]
)
def test_sessions_agree_within_five_per_cent(p50_ns: tuple[int, ...], within: bool) -> None:
    assert agree(p50_ns) is within


@pytest.mark.parametrize("p50_ns", [(), (100,), (100, 0), (100, float("nan"))])
def test_what_cannot_agree_is_refused(p50_ns: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="sessions"):
        spread(p50_ns)


@pytest.mark.parametrize("processes", [[], [[]], [[100], [0, 1, 2]]])
def test_a_session_without_a_median_is_refused(processes: list[list[int]]) -> None:
    with pytest.raises(ValueError, match="session"):
        session_p50(processes)
