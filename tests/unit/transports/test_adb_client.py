from __future__ import annotations

from pathlib import Path

import pytest

from edgedeploy.errors import MissingToolError
from edgedeploy.transports import adb_client
from edgedeploy.transports.adb_client import find_adb


@pytest.fixture(autouse=True)
def _nothing_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("EDGEDEPLOY_ADB", "ANDROID_HOME", "ANDROID_SDK_ROOT"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("PATH", "/no/such/folder")
    monkeypatch.setattr(adb_client, "find_spec", lambda _name: None)


def program(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n", encoding="ascii")
    path.chmod(0o755)
    return path


def test_nowhere() -> None:
    with pytest.raises(MissingToolError) as caught:
        find_adb()
    for way in ("edgedeploy[adb]", "platform-tools", "ANDROID_HOME", "EDGEDEPLOY_ADB"):
        assert way in caught.value.next_step


def test_the_order_of_places(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    in_old_sdk = program(tmp_path / "old/platform-tools/adb")
    monkeypatch.setenv("ANDROID_SDK_ROOT", str(tmp_path / "old"))
    assert find_adb() == in_old_sdk
    in_sdk = program(tmp_path / "sdk/platform-tools/adb")
    monkeypatch.setenv("ANDROID_HOME", str(tmp_path / "sdk"))
    assert find_adb() == in_sdk
    on_path = program(tmp_path / "bin/adb")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert find_adb() == on_path
    asked_for = program(tmp_path / "my adb")
    monkeypatch.setenv("EDGEDEPLOY_ADB", str(asked_for))
    assert find_adb() == asked_for


def test_what_was_asked_for_is_not_replaced_silently(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program(tmp_path / "bin/adb")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("EDGEDEPLOY_ADB", str(tmp_path / "gone"))
    with pytest.raises(MissingToolError, match="asked for"):
        find_adb()


def test_the_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("adbutils")
    monkeypatch.undo()
    monkeypatch.setenv("PATH", "/no/such/folder")
    assert find_adb().name == "adb"
