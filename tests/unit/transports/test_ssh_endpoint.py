from __future__ import annotations

from pathlib import Path

import pytest

from edgedeploy.domain.device import Device
from edgedeploy.errors import ConfigError
from edgedeploy.transports.ssh_endpoint import Endpoint, endpoint_of


def endpoint(folder: Path, config: str = "", **options: object) -> Endpoint:
    if config:
        (folder / "config").write_text(config, encoding="utf-8")
    device = Device(**{"name": "b", "transport": "ssh", "address": "desk-pi", **options})  # type: ignore[arg-type]
    return endpoint_of(device, folder)


def test_without_a_configuration(tmp_path: Path) -> None:
    found = endpoint(tmp_path, user="pi")
    assert (found.host, found.port, found.user, found.known_as) == ("desk-pi", 22, "pi", "desk-pi")
    assert found.proxy == ()
    assert found.known_hosts[0] == str(tmp_path / "known_hosts")
    assert [Path(path).name for path in found.key_files] == ["id_ed25519", "id_ecdsa", "id_rsa"]
    assert not found.only_these_keys
    assert found.ssh_words == "pi@desk-pi"


def test_an_alias(tmp_path: Path) -> None:
    config = (
        "Host desk-pi\n HostName 10.0.0.7\n Port 2222\n User pi\n IdentityFile ~/keys/pi\n IdentityFile /k\n"
        " IdentitiesOnly yes\n UserKnownHostsFile /a /b\n"
    )
    found = endpoint(tmp_path, config)
    assert (found.host, found.port, found.user, found.known_as) == ("10.0.0.7", 2222, "pi", "[10.0.0.7]:2222")
    assert found.key_files == (str(Path.home() / "keys/pi"), "/k")
    assert found.known_hosts[:2] == ("/a", "/b")
    assert found.only_these_keys
    assert not found.key_is_explicit
    assert found.ssh_words == "-p 2222 pi@10.0.0.7"


def test_the_lab_file_wins(tmp_path: Path) -> None:
    config = "Port 2222\nUser pi\nHost *\n IdentityFile /k\n ProxyCommand relay %h %p %r\n"
    found = endpoint(tmp_path, config, port=22, user="me", key="~/mine")
    assert (found.port, found.user, found.key_files) == (22, "me", (str(Path.home() / "mine"),))
    assert found.proxy == ("relay", "desk-pi", "22", "me")
    assert found.key_is_explicit
    assert found.only_these_keys


@pytest.mark.parametrize(
    ("option", "argv"),
    [
        ("ProxyJump gate", ["-W", "[desk-pi]:22", "ssh://gate"]),
        ("ProxyJump me@gate:2222", ["-W", "[desk-pi]:22", "ssh://me@gate:2222"]),
        ("ProxyJump a,b", ["-J", "a", "-W", "[desk-pi]:22", "ssh://b"]),
        ("ProxyJump none", []),
        ("ProxyCommand none", []),
    ],
)
def test_ways_around(tmp_path: Path, option: str, argv: list[str]) -> None:
    found = endpoint(tmp_path, f"Host *\n {option}\n")
    assert list(found.proxy) == (["ssh", "-F", str(tmp_path / "config"), "-o", "BatchMode=yes", *argv] if argv else [])


def test_a_host_key_alias_has_no_port(tmp_path: Path) -> None:
    assert endpoint(tmp_path, "Host *\n HostKeyAlias Board7\n Port 2222\n").known_as == "board7"


def test_mistakes_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="address"):
        endpoint(tmp_path, address="")
    with pytest.raises(ConfigError, match="cannot be read"):
        endpoint(tmp_path, 'Host "unbalanced\n')
    with pytest.raises(ConfigError, match="number"):
        endpoint(tmp_path, "Host *\n Port eleven\n")
