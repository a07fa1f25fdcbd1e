"""Boards with a real OpenSSH server: this machine's own ``sshd``, or a Raspberry-Pi-shaped arm64 root.

Both run in private namespaces and are reached through 127.0.0.1 only. The user on them exists nowhere else: not in this
machine's ``/etc/passwd``, and nothing that it writes is seen outside.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import Self

from standins.board_root import PI_UID, board_root
from standins.device_files import PI4_HARDWARE, cpuinfo, write_sys
from standins.enclosure import Enclosure, Service, Step, bind, dev, folder, proc, read_only, tmpfs
from standins.unavailable import StandinUnavailableError

HOST = "127.0.0.1"
HOST_KEY_TYPES = ("ed25519", "ecdsa", "rsa")
PASSPHRASE = "correct horse battery staple"

_LOCAL_UID = 61234  # in the range that no distribution gives to a lasting user
_SSHD_PORT = 22
_SSHD_PATHS = "/usr/sbin:/usr/local/sbin:/sbin"
_SETTINGS = Path("/run/standin")  # as the board sees it
_SFTP_SERVERS = ("/usr/lib/openssh/sftp-server", "/usr/libexec/openssh/sftp-server", "/usr/libexec/sftp-server")


class BoardKind(Enum):
    """Which board: LOCAL runs this machine's programs natively, PI runs aarch64 programs under qemu-user."""

    LOCAL = "local"
    PI = "pi"


@dataclass(frozen=True, kw_only=True)
class _Shape:
    """Where things are on a kind of board."""

    root: Path
    user: str
    uid: int
    sshd: str
    sftp_server: str
    environment: dict[str, str]


class SshBoard:
    """A running board while inside ``with``. Starts in 0.3 s (LOCAL) or 1-2 s (PI).

    Args:
        kind: see :class:`BoardKind`.
        home_size_bytes: the size of the user's home folder; None: half of this machine's memory.
        home_most_files: how many files and folders it takes; None: about as many as one likes.
        home_noexec: programs in the home folder cannot be started.
        home_read_only: nothing can be written to the home folder.
        password: the user's password, which the board then takes (LOCAL, as root only); empty: it takes none.
    """

    def __init__(
        self,
        kind: BoardKind = BoardKind.LOCAL,
        *,
        home_size_bytes: int | None = None,
        home_most_files: int | None = None,
        home_noexec: bool = False,
        home_read_only: bool = False,
        password: str = "",
    ) -> None:
        if password and (kind is not BoardKind.LOCAL or os.geteuid() != 0):
            raise StandinUnavailableError("only root on the local board can be given a password")
        self.kind = kind
        self._password = password
        self._home_size_bytes = home_size_bytes
        self._home_most_files = home_most_files
        self._home_noexec = home_noexec
        self._home_read_only = home_read_only
        self._shape: _Shape | None = None
        self._enclosure: Enclosure | None = None

    def __enter__(self) -> Self:
        shape = self._shape = _shape_of(self.kind)
        scratch = Path(tempfile.mkdtemp(prefix="standin-board-"))
        try:
            scratch.chmod(0o755)
            self._write_files(shape, scratch)
            self._enclosure = Enclosure(
                service=Service(
                    argv=[shape.sshd, "-D", "-e", "-f", str(_SETTINGS / "sshd_config")],
                    env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/", **shape.environment},
                    port=_SSHD_PORT if os.geteuid() == 0 else _SSHD_PORT + 2200,
                    root=shape.root,
                ),
                steps=self._steps(shape, scratch),
                inside_uid=shape.uid,
                emulated=self.kind is BoardKind.PI,
                scratch=scratch,
            ).__enter__()
        except BaseException:
            shutil.rmtree(scratch, ignore_errors=True)
            raise
        self.known_hosts_file.write_text(self.known_hosts, encoding="ascii")
        return self

    def __exit__(self, kind: type[BaseException] | None, failure: BaseException | None, trace: TracebackType | None) -> None:
        self.cable.close()
        self._enclosure = None

    # --- how to reach it ------------------------------------------------------------------------------------------

    @property
    def cable(self) -> Enclosure:
        """The enclosure around the board."""
        if self._enclosure is None:
            raise RuntimeError("the board is used outside of its with block")
        return self._enclosure

    @property
    def host(self) -> str:
        """The address to connect to."""
        return HOST

    @property
    def port(self) -> int:
        """The port to connect to; the same from start to end."""
        return self.cable.port

    @property
    def user(self) -> str:
        """The name to log in with."""
        return self._shape_now.user

    @property
    def home(self) -> str:
        """The user's home folder on the board."""
        return f"/home/{self.user}"

    @property
    def home_outside(self) -> Path:
        """The host's view of :attr:`home`."""
        return self.cable.seen_from_outside(self._shape_now.root / self.home.lstrip("/"))

    @property
    def identity_file(self) -> Path:
        """A private key that opens the board, without a passphrase."""
        return self.cable.scratch / "id_plain"

    @property
    def encrypted_identity_file(self) -> Path:
        """A private key that opens the board, encrypted with :data:`PASSPHRASE`."""
        return self.cable.scratch / "id_encrypted"

    @property
    def stranger_identity_file(self) -> Path:
        """A private key that the board does not know."""
        return self.cable.scratch / "id_stranger"

    @property
    def known_hosts(self) -> str:
        """The lines that a ``known_hosts`` file needs, one per host key."""
        public = [self.cable.scratch / f"settings/host_{kind}.pub" for kind in HOST_KEY_TYPES]
        keys = [" ".join(path.read_text(encoding="ascii").split()[:2]) for path in public]
        return "".join(f"[{HOST}]:{self.port} {key}\n" for key in keys)

    @property
    def known_hosts_file(self) -> Path:
        """A file that holds :attr:`known_hosts` as they were at the start or at the last :meth:`wipe`."""
        return self.cable.scratch / "known_hosts"

    @property
    def log(self) -> Path:
        """What ``sshd`` wrote."""
        return self.cable.log

    @property
    def sys(self) -> Path:
        """PI only: the host's folder behind the board's ``/sys``; a test may rewrite the files in it."""
        return self.cable.scratch / "sys"

    def ssh_argv(self, *command: str) -> list[str]:
        """The OpenSSH client's command line that runs ``command`` on the board, reading no configuration."""
        return [
            *("ssh", "-F", "none", "-p", str(self.port), "-i", str(self.identity_file)),
            *("-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none"),
            *("-o", "StrictHostKeyChecking=yes", "-o", f"UserKnownHostsFile={self.known_hosts_file}"),
            *("-o", "GlobalKnownHostsFile=none", "-o", "ConnectTimeout=20"),
            *(f"{self.user}@{HOST}", shlex.join(command)),
        ]

    # --- what can happen to it ------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Cut the board's power: every process dies, the port refuses, files stay."""
        self.cable.stop()

    def start(self) -> None:
        """Power on after :meth:`stop`: same port, same keys."""
        self.cable.start()

    def pull_cable(self, *, after_bytes: int | None = None) -> None:
        """See :meth:`standins.enclosure.Enclosure.pull_cable`."""
        self.cable.pull_cable(after_bytes=after_bytes)

    def plug_cable(self) -> None:
        """Accept connections again."""
        self.cable.plug_cable()

    def wipe(self) -> None:
        """Kill what runs and remove what was written; users, keys and port stay."""
        root = self._shape_now.root
        self.stop()
        if not self._home_read_only:
            self.cable.empty_folders(root / self.home.lstrip("/"))
        self.cable.empty_folders(root / "tmp")
        self.set_throttled(0)
        self.start()
        self.known_hosts_file.write_text(self.known_hosts, encoding="ascii")

    def authorize(self, public_key: Path) -> None:
        """Let a key in from now on."""
        with (self.cable.scratch / "settings/authorized_keys").open("a", encoding="ascii") as file:
            file.write(public_key.read_text(encoding="ascii"))

    def set_throttled(self, bits: int) -> None:
        """PI: what ``vcgencmd get_throttled`` answers; bits 0-3 are now, 16-19 since the start."""
        (self.cable.scratch / "reports/throttled").write_text(f"{bits:#x}\n", encoding="ascii")

    def replace_host_keys(self) -> None:
        """Make the board look like another one at the same address; :attr:`known_hosts_file` stays as it was."""
        self.stop()
        _make_host_keys(self.cable.scratch / "settings")
        self.start()

    # --------------------------------------------------------------------------------------------------------------

    @property
    def _shape_now(self) -> _Shape:
        if self._shape is None:
            raise RuntimeError("the board is used outside of its with block")
        return self._shape

    def _write_files(self, shape: _Shape, scratch: Path) -> None:
        settings = scratch / "settings"
        settings.mkdir()
        (scratch / "reports").mkdir()
        (scratch / "reports/throttled").write_text("0x0\n", encoding="ascii")
        _make_host_keys(settings)
        for name, passphrase in (("id_plain", ""), ("id_encrypted", PASSPHRASE), ("id_stranger", "")):
            _make_key(scratch / name, kind="ed25519", passphrase=passphrase)
        authorized = [(scratch / f"{name}.pub").read_text(encoding="ascii") for name in ("id_plain", "id_encrypted")]
        (settings / "authorized_keys").write_text("".join(authorized), encoding="ascii")
        port = _SSHD_PORT if os.geteuid() == 0 else _SSHD_PORT + 2200
        (settings / "sshd_config").write_text(_sshd_config(self.kind, shape, port, self._password), encoding="ascii")
        if self.kind is BoardKind.PI:
            (scratch / "sys").mkdir()
            write_sys(scratch / "sys", PI4_HARDWARE)
            (scratch / "cpuinfo").write_text(cpuinfo(PI4_HARDWARE), encoding="ascii")
        else:
            _write_local_users(settings, shape, self._password)

    def _steps(self, shape: _Shape, scratch: Path) -> list[Step]:
        root = shape.root
        home = root / f"home/{shape.user}"
        steps: list[Step] = []
        if self.kind is BoardKind.PI:
            steps += [bind(root, root), bind(scratch / "reports", root / "standin"), read_only(root / "standin")]
        steps += [
            tmpfs(root / "run"),
            folder(root / "run/sshd"),
            folder(root / "run/standin"),
            bind(scratch / "settings", root / "run/standin"),
            read_only(root / "run/standin"),
            folder(root / "run/dev"),
            dev(root / "run/dev"),
            folder(root / "run/dev/shm", mode=0o1777),
            bind(root / "run/dev", root / "dev"),
            proc(root / "proc"),
        ]
        if self.kind is BoardKind.PI:
            steps += [
                bind(scratch / "cpuinfo", root / "proc/cpuinfo"),
                bind(scratch / "sys", root / "sys"),
                read_only(root / "sys"),
            ]
        else:
            names = ("passwd", "group", "shadow") if os.geteuid() == 0 else ("passwd", "group")
            steps += [bind(scratch / "settings" / name, Path("/etc") / name) for name in names]
        steps += [
            tmpfs(root / "home"),
            folder(home, owner=shape.uid),
            tmpfs(home, size_bytes=self._home_size_bytes, most_files=self._home_most_files, noexec=self._home_noexec),
            folder(home, mode=0o755, owner=shape.uid),
            tmpfs(root / "tmp", mode=0o1777),
            read_only(root),
        ]
        if self._home_read_only:
            steps.append(read_only(home))
        return steps


def _shape_of(kind: BoardKind) -> _Shape:
    if kind is BoardKind.PI:
        return _Shape(
            root=board_root(),
            user="pi",
            uid=PI_UID,
            sshd="/usr/sbin/sshd",
            sftp_server="/usr/lib/openssh/sftp-server",
            # Pi 4's core; with qemu's default one, libraries choose other int8 kernels and outputs differ.
            environment={"QEMU_CPU": "cortex-a72"},
        )
    sshd = shutil.which("sshd", path=_SSHD_PATHS)
    if sshd is None:
        raise StandinUnavailableError("sshd is not installed (package openssh-server)")
    return _Shape(
        root=Path("/"),
        user="board",
        uid=_LOCAL_UID,
        sshd=os.path.realpath(sshd),
        sftp_server=next((path for path in _SFTP_SERVERS if Path(path).exists()), "internal-sftp"),
        environment={},
    )


def _sshd_config(kind: BoardKind, shape: _Shape, port: int, password: str) -> str:
    lines = [
        f"Port {port}",
        f"ListenAddress {HOST}",
        *(f"HostKey {_SETTINGS}/host_{key_kind}" for key_kind in HOST_KEY_TYPES),
        f"AuthorizedKeysFile {_SETTINGS}/authorized_keys",
        f"Subsystem sftp {shape.sftp_server}",
        "AcceptEnv LANG LC_*",
        "KbdInteractiveAuthentication no",
        "LogLevel VERBOSE",
        "MaxStartups 100",
        f"PasswordAuthentication {'yes' if password else 'no'}",
        "PidFile none",
        "PrintMotd no",
        "StrictModes no",
        "UseDNS no",
        "UsePAM no",
    ]
    lines += [f"SetEnv {name}={value}" for name, value in shape.environment.items()]
    if kind is BoardKind.LOCAL:
        lines.append(f"SetEnv PATH=/home/{shape.user}/bin:/usr/local/bin:/usr/bin:/bin")  # the user's own programs first
    if kind is BoardKind.LOCAL and _openssh_version() >= (9, 8):
        lines.append("PerSourcePenalties no")  # all clients have one address, and some tests fail to log in on purpose
    return "".join(f"{line}\n" for line in lines)


def _openssh_version() -> tuple[int, int]:
    try:
        seen = subprocess.run(["ssh", "-V"], capture_output=True, text=True, timeout=10, check=True).stderr
    except FileNotFoundError:
        raise StandinUnavailableError("ssh is not installed (package openssh-client)") from None
    found = re.search(r"OpenSSH_(\d+)\.(\d+)", seen)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _make_host_keys(settings: Path) -> None:
    for kind in HOST_KEY_TYPES:
        _make_key(settings / f"host_{kind}", kind=kind, passphrase="")


def _make_key(path: Path, *, kind: str, passphrase: str) -> None:
    for old in (path, path.with_name(f"{path.name}.pub")):
        old.unlink(missing_ok=True)
    size = ["-b", "2048"] if kind == "rsa" else []
    argv = ["ssh-keygen", "-q", "-t", kind, *size, "-N", passphrase, "-C", "standin", "-f", str(path)]
    try:
        subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=True)
    except FileNotFoundError:
        raise StandinUnavailableError("ssh-keygen is not installed (package openssh-client)") from None


def _write_local_users(settings: Path, shape: _Shape, password: str) -> None:
    """This machine's users and the board's own, in files that are mounted over the real ones, inside only."""
    home = f"/home/{shape.user}"
    user = f"{shape.user}:x:{shape.uid}:{shape.uid}::{home}:/bin/sh\n"
    sshd = "sshd:x:101:65534::/run/sshd:/usr/sbin/nologin\n"
    passwd = Path("/etc/passwd").read_text(encoding="utf-8")
    (settings / "passwd").write_text(passwd + ("" if "\nsshd:" in passwd else sshd) + user, encoding="utf-8")
    group = Path("/etc/group").read_text(encoding="utf-8")
    (settings / "group").write_text(f"{group}{shape.user}:x:{shape.uid}:\n", encoding="utf-8")
    # * is no password and, unlike !, not a locked account, which sshd would refuse.
    secret = _hashed(password) if password else "*"
    lines = f"root:*:19000:0:99999:7:::\n{shape.user}:{secret}:19000:0:99999:7:::\n"
    (settings / "shadow").write_text(lines, encoding="ascii")


def _hashed(password: str) -> str:
    try:
        done = subprocess.run(["openssl", "passwd", "-6", password], capture_output=True, text=True, timeout=20, check=True)
    except FileNotFoundError:
        raise StandinUnavailableError("openssl is not installed") from None
    return done.stdout.strip()
