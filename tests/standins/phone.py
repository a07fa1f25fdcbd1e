"""A phone: a real ``adbd`` in an Android-shaped root, on a cable that can be pulled."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from standins.device_files import PHONE_HARDWARE, Hardware, cpuinfo, write_sys
from standins.enclosure import Enclosure, Service, Step, bind, dev, folder, proc, read_only, tmpfs
from standins.phone_root import phone_root

SHELL_UID = 2000
WORKDIR = "/data/local/tmp"
ABI = {"amd64": "x86_64", "arm64": "arm64-v8a"}

_ADBD = "/apex/com.android.adbd/bin/adbd"
_ADBD_PORT = 5555
# Groups of Android's shell user: input log adb sdcard_rw sdcard_r net_bt_admin net_bt inet net_bw_stats readproc uhid.
_SHELL_GROUPS = (1004, 1007, 1011, 1015, 1028, 3001, 3002, 3003, 3006, 3009, 3011)


@dataclass(frozen=True, kw_only=True)
class PhoneIdentity:
    """What a phone says about itself through ``getprop``; ``more`` adds to or replaces single properties."""

    serialno: str = "STANDIN0001"
    manufacturer: str = "Edgedeploy"
    model: str = "Stand-in Phone"
    device: str = "standin"
    sdk: int = 34
    release: str = "14"
    soc_manufacturer: str = "Google"
    soc_model: str = "Tensor G3"
    more: Mapping[str, str] = field(default_factory=dict)

    def properties(self, arch: str) -> dict[str, str]:
        """The contents of ``build.prop`` on a phone of ``arch``."""
        abi = ABI[arch]
        fingerprint = f"standin/{self.device}/{self.device}:{self.release}/UQ1A.240105.004/1:user/release-keys"
        return {
            "ro.serialno": self.serialno,
            "ro.boot.serialno": self.serialno,
            "ro.product.manufacturer": self.manufacturer,
            "ro.product.brand": self.manufacturer.lower(),
            "ro.product.model": self.model,
            "ro.product.device": self.device,
            "ro.product.name": self.device,
            "ro.product.cpu.abi": abi,
            "ro.product.cpu.abilist": abi,
            "ro.product.cpu.abilist64": abi,
            "ro.product.cpu.abilist32": "",
            "ro.build.version.sdk": str(self.sdk),
            "ro.build.version.release": self.release,
            "ro.build.fingerprint": fingerprint,
            "ro.build.type": "user",
            "ro.build.characteristics": "default",
            "ro.board.platform": "standin",
            "ro.hardware": self.device,
            "ro.soc.manufacturer": self.soc_manufacturer,
            "ro.soc.model": self.soc_model,
            "ro.debuggable": "0",
            "ro.boot.verifiedbootstate": "green",
            "sys.boot_completed": "1",
            **self.more,
        }


class Phone:
    """A running phone while inside ``with``. Starts in well under a second for amd64, in some seconds for arm64.

    Args:
        arch: ``amd64`` runs natively; ``arm64`` runs emulated and takes real aarch64 programs.
        identity: what ``getprop`` answers.
        hardware: what ``/sys`` and ``/proc/cpuinfo`` say.
        data_size_bytes: the size of ``/data/local/tmp``; None: half of this machine's memory.
        data_most_files: how many files and folders it takes; None: about as many as one likes.
        data_noexec: programs in ``/data/local/tmp`` cannot be started.
        data_read_only: nothing can be written to ``/data/local/tmp``.

    It is not known to any adb server by itself; see :meth:`standins.adb_server.AdbServer.connect`.
    """

    def __init__(
        self,
        *,
        arch: str = "amd64",
        identity: PhoneIdentity | None = None,
        hardware: Hardware = PHONE_HARDWARE,
        data_size_bytes: int | None = None,
        data_most_files: int | None = None,
        data_noexec: bool = False,
        data_read_only: bool = False,
    ) -> None:
        self.arch = arch
        self.identity = identity or PhoneIdentity()
        self._hardware = hardware
        self._data_size_bytes = data_size_bytes
        self._data_most_files = data_most_files
        self._data_noexec = data_noexec
        self._data_read_only = data_read_only
        self._enclosure: Enclosure | None = None

    def __enter__(self) -> Self:
        root = phone_root(self.arch)
        scratch = Path(tempfile.mkdtemp(prefix="standin-phone-"))
        try:
            self._write_files(scratch)
            enclosure = Enclosure(
                service=Service(
                    argv=[_ADBD],
                    env={
                        "ADBD_PORT": str(_ADBD_PORT),
                        "ANDROID_DATA": "/data",
                        "ANDROID_ROOT": "/system",
                        "EXTERNAL_STORAGE": "/sdcard",
                        "HOME": "/",
                        "PATH": "/product/bin:/system/bin:/system/xbin:/vendor/bin",
                        "QEMU_CPU": "cortex-a72",
                        "SHELL": "/bin/sh",
                        "TMPDIR": WORKDIR,
                    },
                    port=_ADBD_PORT,
                    root=root,
                    uid=SHELL_UID,
                    gid=SHELL_UID,
                    groups=_SHELL_GROUPS,
                ),
                steps=self._steps(root, scratch),
                inside_uid=SHELL_UID,
                emulated=self.arch == "arm64",
                scratch=scratch,
            )
            self._enclosure = enclosure.__enter__()
        except BaseException:
            shutil.rmtree(scratch, ignore_errors=True)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, failure: BaseException | None, trace: TracebackType | None) -> None:
        self.cable.close()
        self._enclosure = None

    @property
    def cable(self) -> Enclosure:
        """The enclosure around the phone."""
        if self._enclosure is None:
            raise RuntimeError("the phone is used outside of its with block")
        return self._enclosure

    @property
    def address(self) -> str:
        """``127.0.0.1:PORT``: what ``adb connect`` takes, and then adb's serial number of this phone."""
        return f"127.0.0.1:{self.cable.port}"

    @property
    def workdir(self) -> Path:
        """The host's view of the phone's ``/data/local/tmp``."""
        return self.cable.seen_from_outside(phone_root(self.arch) / WORKDIR.lstrip("/"))

    @property
    def sys(self) -> Path:
        """The host's folder behind the phone's ``/sys``; a test may rewrite the files in it."""
        return self.cable.scratch / "sys"

    def pull_cable(self, *, after_bytes: int | None = None) -> None:
        """See :meth:`standins.enclosure.Enclosure.pull_cable`."""
        self.cable.pull_cable(after_bytes=after_bytes)

    def plug_cable(self) -> None:
        """Let the host reach the phone again; adb servers have to connect again."""
        self.cable.plug_cable()

    def reboot(self) -> None:
        """Kill everything that runs on the phone, without warning, and start it anew; files stay."""
        self.cable.stop()
        self.cable.start()

    def wipe(self) -> None:
        """Kill what runs, remove what was written and undo what :meth:`report` set: as good as a new phone."""
        root = phone_root(self.arch)
        self.cable.stop()
        if not self._data_read_only:
            self.cable.empty_folders(root / WORKDIR.lstrip("/"))
        self.cable.empty_folders(root / "data/property", root / "sdcard")
        self._write_reports()
        self.cable.start()

    def report(self, **numbers: float | bool) -> None:
        """Change what ``dumpsys`` says. The names, with their values on a new phone:

        thermal_status=0 cpu_temperature_c=41.2 skin_temperature_c=34.1 battery_level=87
        battery_temperature_tenth_c=287 battery_voltage_mv=4210 usb_powered=True
        """
        for name, number in numbers.items():
            if name not in _REPORTS:
                raise ValueError(f"a phone does not report {name}; it reports {', '.join(_REPORTS)}")
            text = str(number).lower() if isinstance(number, bool) else str(number)
            (self.cable.scratch / "reports" / name).write_text(text + "\n", encoding="ascii")

    # --------------------------------------------------------------------------------------------------------------

    def _write_files(self, scratch: Path) -> None:
        scratch.chmod(0o755)
        properties = self.identity.properties(self.arch)
        lines = "".join(f"{name}={value}\n" for name, value in properties.items())
        (scratch / "build.prop").write_text(lines, encoding="utf-8")
        (scratch / "cpuinfo").write_text(cpuinfo(self._hardware), encoding="ascii")
        (scratch / "sys").mkdir()
        write_sys(scratch / "sys", self._hardware)
        (scratch / "reports").mkdir()
        _write_reports(scratch / "reports")

    def _write_reports(self) -> None:
        _write_reports(self.cable.scratch / "reports")

    def _steps(self, root: Path, scratch: Path) -> list[Step]:
        data = root / "data"
        workdir = root / WORKDIR.lstrip("/")
        steps = [
            bind(root, root),
            proc(root / "proc"),
            bind(scratch / "cpuinfo", root / "proc/cpuinfo"),
            dev(root / "dev"),
            bind(scratch / "sys", root / "sys"),
            read_only(root / "sys"),
            bind(scratch / "reports", root / "standin"),
            read_only(root / "standin"),
            bind(scratch / "build.prop", root / "system/build.prop"),
            read_only(root / "system/build.prop"),
            tmpfs(root / "sdcard", noexec=True),
            folder(root / "sdcard", mode=0o771, owner=SHELL_UID),
            tmpfs(data, mode=0o755),
            folder(data / "misc", mode=0o551),
            folder(data / "property", owner=SHELL_UID),
            folder(workdir, mode=0o771, owner=SHELL_UID),
            tmpfs(workdir, size_bytes=self._data_size_bytes, most_files=self._data_most_files, noexec=self._data_noexec),
            folder(workdir, mode=0o771, owner=SHELL_UID),
            # Owned by the shell when there is only one user, so the missing w is what denies.
            folder(data / "local", mode=0o551),
            folder(data, mode=0o551),
            read_only(root),
        ]
        if self._data_read_only:
            steps.append(read_only(workdir))
        return steps


_REPORTS: Mapping[str, str] = {
    "thermal_status": "0",
    "cpu_temperature_c": "41.2",
    "skin_temperature_c": "34.1",
    "battery_level": "87",
    "battery_temperature_tenth_c": "287",
    "battery_voltage_mv": "4210",
    "usb_powered": "true",
}


def _write_reports(into: Path) -> None:
    for name, value in _REPORTS.items():
        (into / name).write_text(value + "\n", encoding="ascii")
