"""A folder that cannot be made is not fine."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgedeploy import doctor
from edgedeploy.errors import MissingToolError


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="Linux has it")
def test_a_place_where_nothing_can_be_made() -> None:
    with pytest.raises(MissingToolError, match="not writable") as caught:
        doctor._writable(Path("/proc/nope/edgedeploy"))
    assert "/proc" in caught.value.seen


def test_a_place_that_is_fine_stays_as_it_is(tmp_path: Path) -> None:
    assert "GB free" in doctor._writable(tmp_path / "new").text
    assert list(tmp_path.iterdir()) == []
