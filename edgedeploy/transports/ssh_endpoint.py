"""Where an SSH device is: its entry of the lab file, completed from ``~/.ssh/config`` as ssh would."""

from __future__ import annotations

import getpass
import os
import pwd
import shlex
from collections.abc import Sequence
from pathlib import Path

import msgspec

from edgedeploy.domain.device import Device
from edgedeploy.errors import ConfigError
from edgedeploy.transports.known_hosts import DEFAULT_PORT, host_pattern
from edgedeploy.transports.ssh_config import options_of

_DEFAULT_KEYS = ("id_ed25519", "id_ecdsa", "id_rsa")
_SYSTEM_KNOWN_HOSTS = ("/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2")


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is needed to connect.

    ``known_as`` is the name under which host keys are looked up. ``proxy`` is the argument list of a program that
    speaks to the host on its stdin and stdout, empty for a direct connection. ``only_these_keys``: the agent's other
    keys are not to be tried. ``key_is_explicit``: someone named these files, so that a missing one is a mistake.
    """

    device: str
    host: str
    port: int
    user: str
    known_as: str
    known_hosts: tuple[str, ...]
    proxy: tuple[str, ...]
    key_files: tuple[str, ...]
    key_is_explicit: bool
    only_these_keys: bool
    password_env: str

    @property
    def spoken(self) -> str:
        """``user@host:port`` for people."""
        return f"{self.user}@{self.host}:{self.port}"

    @property
    def ssh_words(self) -> str:
        """The arguments that make ssh go there too."""
        port = "" if self.port == DEFAULT_PORT else f"-p {self.port} "
        return f"{port}{shlex.quote(f'{self.user}@{self.host}')}"


def endpoint_of(device: Device, ssh_folder: Path) -> Endpoint:
    """Return where ``device`` is. What the lab file says wins over ``ssh_folder/config``.

    Raises:
        ConfigError: the device has no address, or the configuration cannot be read.
    """
    if not device.address:
        raise ConfigError("an SSH device needs an address", where=f"{device.origin or 'lab.toml'}: {device.name}")
    options = options_of(device.address, ssh_folder, _said_first(device))
    host = str(options.get("hostname", device.address))
    port = device.port or _port(options, ssh_folder)
    user = device.user or str(options.get("user", "")) or getpass.getuser()
    alias = str(options.get("hostkeyalias", ""))
    configured_keys = _words(options.get("identityfile"))
    named_keys = (device.key,) if device.key else configured_keys
    key_files = named_keys or tuple(str(ssh_folder / name) for name in _DEFAULT_KEYS)
    known_hosts = _paths(options.get("userknownhostsfile")) or (
        str(ssh_folder / "known_hosts"),
        str(ssh_folder / "known_hosts2"),
    )
    return Endpoint(
        device=device.name,
        host=host,
        port=port,
        user=user,
        known_as=alias.lower() if alias else host_pattern(host, port),
        known_hosts=(*_expanded(known_hosts), *_SYSTEM_KNOWN_HOSTS),
        proxy=_proxy(options, host, port, ssh_folder),
        key_files=_expanded(key_files),
        key_is_explicit=bool(device.key),
        only_these_keys=bool(device.key) or str(options.get("identitiesonly", "no")).lower() == "yes",
        password_env=device.password_env,
    )


def _port(options: dict[str, object], ssh_folder: Path) -> int:
    said = str(options.get("port", DEFAULT_PORT))
    if not (said.isascii() and said.isdigit()):
        raise ConfigError("a port has to be a number", where=f"{ssh_folder / 'config'}: Port", seen=said)
    return int(said)


def _said_first(device: Device) -> str:
    """What the lab file says, as options: the first value of an option wins, and ``%p`` and ``%r`` get it too."""
    options = {"Port": device.port, "User": device.user}
    return "".join(f"{name} {value}\n" for name, value in options.items() if value)


def _proxy(options: dict[str, object], host: str, port: int, ssh_folder: Path) -> tuple[str, ...]:
    command = str(options.get("proxycommand") or "")
    if command and command != "none":
        return tuple(shlex.split(command))
    jump = str(options.get("proxyjump") or "")
    if not jump or jump == "none":
        return ()
    # ssh itself goes through the hosts in between: their keys and host keys are its business.
    *before, last = jump.split(",")
    through = ["-J", ",".join(before)] if before else []
    return ("ssh", *_same_configuration(ssh_folder), "-o", "BatchMode=yes", *through, "-W", f"[{host}]:{port}", *_hop(last))


def _same_configuration(ssh_folder: Path) -> list[str]:
    """What makes ssh read our configuration where it would read another: it asks no $HOME where that is."""
    config = ssh_folder / "config"
    own = Path(pwd.getpwuid(os.getuid()).pw_dir) / ".ssh"
    return [] if ssh_folder == own or not config.is_file() else ["-F", str(config)]


def _hop(jump: str) -> list[str]:
    """``user@host:port`` as ssh's arguments."""
    return [jump if jump.startswith("ssh://") else f"ssh://{jump}"]


def _words(value: object) -> tuple[str, ...]:
    """Words of an option; paramiko gives identityfile as a list and everything else as a string."""
    if value is None:
        return ()
    if isinstance(value, Sequence) and not isinstance(value, str):
        return tuple(str(word) for word in value)
    return tuple(shlex.split(str(value)))


def _paths(value: object) -> tuple[str, ...]:
    """Paths of an option. Of one quoted path with blanks paramiko has already taken the quotes."""
    if isinstance(value, str) and Path(value).expanduser().exists():
        return (value,)
    return _words(value)


def _expanded(paths: Sequence[str]) -> tuple[str, ...]:
    return tuple(str(Path(path).expanduser()) for path in paths)
