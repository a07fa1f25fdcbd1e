"""The file system of a Raspberry-Pi-shaped board: Debian 12 for arm64 with OpenSSH's server and Python 3.11."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from standins.build_cache import built_once
from standins.debian import fetch_packages, unpack

SUITE = "bookworm"  # the base of Raspberry Pi OS with Python 3.11
PACKAGES = """
    base-files base-passwd bash ca-certificates coreutils dash diffutils findutils gawk grep gzip hostname libstdc++6
    openssh-server openssh-sftp-server procps python3 sed tar util-linux
"""
PI_UID = 1000


def board_root() -> Path:
    """The root folder, built on first use (10-20 s and 45 MB to download).

    Packages are only unpacked; what their scripts would have set up and tests need is written here. Shared by all
    boards and only ever mounted read-only.
    """
    here = Path(__file__)
    recipe = [here, here.with_name("debian.py"), here.parent / "stubs/vcgencmd"]
    return built_once("board-arm64", recipe, _build)


def _build(into: Path) -> None:
    for name in ("bin", "lib", "sbin"):
        (into / "usr" / name).mkdir(parents=True)
        (into / name).symlink_to(f"usr/{name}")
    unpack(fetch_packages(suite=SUITE, arch="arm64", packages=PACKAGES.split()), into)
    for name in ("dev", "home", "proc", "root", "run", "standin", "sys", "tmp"):
        (into / name).mkdir(exist_ok=True)
    for name, target in (("sh", "dash"), ("awk", "gawk")):
        link = into / "usr/bin" / name
        link.unlink(missing_ok=True)
        link.symlink_to(target)
    vcgencmd = into / "usr/bin/vcgencmd"
    shutil.copy(Path(__file__).parent / "stubs/vcgencmd", vcgencmd)
    vcgencmd.chmod(0o755)
    _write_users(into)
    _compile_standard_library(into)
    (into / "etc/hostname").write_text("raspberrypi\n", encoding="ascii")
    (into / "etc/hosts").write_text("127.0.0.1\tlocalhost raspberrypi\n", encoding="ascii")


def _compile_standard_library(into: Path) -> None:
    """What the python packages' scripts do at installation; without it every emulated import compiles anew."""
    if sys.version_info[:2] != (3, 11):
        return  # the board works as well, and starts Python in 3 s instead of 1.5 s
    library = into / "usr/lib/python3.11"
    subprocess.run(
        [sys.executable, "-m", "compileall", "-q", "-s", str(into), "-p", "/", str(library)],
        stdout=subprocess.DEVNULL,
        timeout=300,
        check=True,
    )


def _write_users(into: Path) -> None:
    masters = into / "usr/share/base-passwd"
    passwd = (masters / "passwd.master").read_text(encoding="ascii")
    group = (masters / "group.master").read_text(encoding="ascii")
    (into / "etc/passwd").write_text(
        f"{passwd}sshd:x:101:65534::/run/sshd:/usr/sbin/nologin\npi:x:{PI_UID}:{PI_UID}::/home/pi:/bin/bash\n",
        encoding="ascii",
    )
    (into / "etc/group").write_text(f"{group}pi:x:{PI_UID}:\n", encoding="ascii")
    # * is no password and, unlike !, not a locked account, which sshd would refuse.
    (into / "etc/shadow").write_text("root:*:19000:0:99999:7:::\npi:*:19000:0:99999:7:::\n", encoding="ascii")
