"""Which system reads which precision, without an SDK."""

from __future__ import annotations

import pytest

from edgedeploy.domain.precision import PRECISIONS
from edgedeploy.errors import ExportError
from edgedeploy.exporters.coreml_precisions import SCHEMES, deployment, require_precision


@pytest.mark.parametrize(
    ("os", "min_os", "ios", "target"),
    [
        ("ios", "17.2", 17, "iOS17"),
        ("ios", "19", 19, "iOS18"),
        ("ios", "99", 99, "iOS26"),
        ("macos", "14", 17, "iOS17"),
        ("macos", "15", 18, "iOS18"),
        ("macos", "26", 26, "iOS26"),
        ("linux", "", 17, "iOS17"),
        ("ios", "", 17, "iOS17"),
    ],
)
def test_a_system_has_a_name_in_coremltools(os: str, min_os: str, ios: int, target: str) -> None:
    system = deployment(os, min_os)
    assert (system.ios, system.target_name) == (ios, target)


@pytest.mark.parametrize(("os", "min_os"), [("ios", "14"), ("macos", "11")])
def test_systems_before_ml_programs_are_refused(os: str, min_os: str) -> None:
    with pytest.raises(ExportError, match="do not run on"):
        deployment(os, min_os)


def test_the_way_out_names_the_targets_own_system() -> None:
    with pytest.raises(ExportError, match="needs macOS 15 or newer") as caught:
        require_precision(deployment("macos", "14"), "int4-weights")
    assert 'min_os = "15"' in caught.value.next_step
    assert "palette4" in caught.value.next_step


def test_every_precision_is_in_the_projects_table() -> None:
    assert set(SCHEMES) <= set(PRECISIONS)
