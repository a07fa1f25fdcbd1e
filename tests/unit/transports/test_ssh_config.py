from __future__ import annotations

from pathlib import Path

import pytest

from edgedeploy.errors import ConfigError
from edgedeploy.transports import ssh_config
from edgedeploy.transports.ssh_config import options_of


@pytest.fixture(autouse=True)
def system(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    folder = tmp_path / "etc"
    folder.mkdir()
    monkeypatch.setattr(ssh_config, "SYSTEM_FOLDER", folder)
    return folder


@pytest.fixture
def user(tmp_path: Path) -> Path:
    folder = tmp_path / "ssh"
    (folder / "config.d").mkdir(parents=True)
    return folder


def options(folder: Path, text: str, address: str = "pi") -> dict[str, object]:
    (folder / "config").write_text(text, encoding="utf-8")
    return options_of(address, folder, "")


def test_included_files_in_their_order(user: Path) -> None:
    (user / "config.d/a").write_text("Host pi\n  User first\n", encoding="ascii")
    (user / "config.d/b").write_text("Host pi\n  User second\n  Port 2222\n", encoding="ascii")
    found = options(user, "Include config.d/*\nHost *\n  User last\n  IdentityFile /k\n")
    assert (found["user"], found["port"], found["identityfile"]) == ("first", "2222", ["/k"])
    assert options(user, "Include config.d/*\nHost *\n  User last\n", "other")["user"] == "last"


def test_what_follows_an_include_is_of_the_block_around_it(user: Path) -> None:
    (user / "more").write_text("Host nobody\n  User nobody\n", encoding="ascii")
    assert options(user, f"Host pi\n  Include {user}/more\n  User me\n")["user"] == "me"
    assert options(user, "Include more\nUser me\n")["user"] == "me"


def test_an_include_within_a_block_holds_only_there(user: Path) -> None:
    (user / "more").write_text("User more\nHost *\n  Port 2222\n", encoding="ascii")
    text = 'Host pi\n  Include "more"\nHost *\n  User me\n'
    assert options(user, text)["user"] == "more"
    assert options(user, text)["port"] == "2222"
    other = options(user, text, "other")
    assert other["user"] == "me"
    assert "port" not in other


def test_an_include_within_a_match(user: Path) -> None:
    (user / "more").write_text("Port 2222\n", encoding="ascii")
    text = "Host pi\n  HostName 10.0.0.7\nMatch host 10.*\n  Include more\n"
    assert options(user, text)["port"] == "2222"
    assert "port" not in options(user, text, "other")


def test_files_that_are_not_there_and_files_in_a_circle(user: Path) -> None:
    assert "user" not in options(user, "Include nothing ~/nothing/*\n")
    with pytest.raises(ConfigError, match="include each other"):
        options(user, "Include config\n")


def test_the_systems_file_comes_last(user: Path, system: Path) -> None:
    (system / "ssh_config.d").mkdir()
    (system / "ssh_config").write_text("Include ssh_config.d/*.conf\nHost *\n  User them\n  Port 99\n", encoding="ascii")
    (system / "ssh_config.d/x.conf").write_text("ProxyJump gate\n", encoding="ascii")
    found = options(user, "Host pi\n  User me\n")
    assert (found["user"], found["port"], found["proxyjump"]) == ("me", "99", "gate")
    assert options_of("pi", user, "User first\n")["user"] == "first"


@pytest.mark.parametrize(
    ("condition", "matches"),
    [
        ("exec true", True),
        ("exec false", False),
        ("!exec false", True),
        ("originalhost p*", True),
        ("host other exec true", False),
        ("exec true user nobody", False),
        ('host pi exec "test %h-%n-%p-%%p = pi-pi-22-%%p"', True),
        ("host other sometimes x", False),
    ],
)
def test_match(user: Path, condition: str, matches: bool) -> None:
    assert (options(user, f"Match {condition}\n  Port 2222\n").get("port") == "2222") is matches


def test_a_command_runs_once_and_only_where_it_decides(user: Path, tmp_path: Path) -> None:
    said = tmp_path / "said"
    text = f"Match host other exec 'echo no >> {said}'\n  Port 1\nMatch exec 'echo yes >> {said}'\n  Include more\n"
    (user / "more").write_text("Port 2222\n", encoding="ascii")
    assert options(user, text)["port"] == "2222"
    assert said.read_text(encoding="ascii") == "yes\n"


@pytest.mark.parametrize("text", ['Host "pi\n', 'Include "x\n', 'Match host "x\n'])
def test_what_cannot_be_understood(user: Path, text: str) -> None:
    with pytest.raises(ConfigError, match="cannot be read") as caught:
        options(user, text)
    assert str(user / "config") in caught.value.where


def test_a_criterion_that_is_not_known_is_never_taken_for_met(user: Path) -> None:
    with pytest.raises(ConfigError, match="Match tagged is not supported"):
        options(user, "Match tagged x\n  Port 2222\n")
