"""The stand-ins are what they claim to be: tests that lean on them can only be as true as these."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import paramiko
import pytest
from standins.adb_server import AdbServer
from standins.board import PASSPHRASE, BoardKind, SshBoard
from standins.debian import AptSource, choose_mirror, parse_deb822_sources, parse_one_line_sources
from standins.phone import SHELL_UID, WORKDIR, Phone, PhoneIdentity
from standins.phone_root import STUBS, phone_root
from standins.unauthorized import UnusableDevice
from standins.unavailable import INSTALL_COMMAND

MIB = 1 << 20
EVERY_BYTE = bytes(range(256)) * 512

HELLO = r"""
#include <stdio.h>
#include <sys/utsname.h>
int main(void) {
    struct utsname seen;
    uname(&seen);
    printf("hello from %s\n", seen.machine);
    return 42;
}
"""


class Shell:
    """``adb -s PHONE shell`` for short."""

    def __init__(self, server: AdbServer, phone: Phone) -> None:
        self._server = server
        self._phone = phone

    def __call__(self, command: str, *, expect: int | None = 0) -> str:
        done = self._server.run("-s", self._phone.address, "shell", command)
        assert expect is None or done.returncode == expect, (command, done)
        return (done.stdout + done.stderr).decode().strip()


@pytest.fixture
def shell(adb_server: AdbServer, phone: Phone) -> Shell:
    return Shell(adb_server, phone)


@pytest.fixture
def shell_arm64(adb_server: AdbServer, phone_arm64: Phone) -> Shell:
    return Shell(adb_server, phone_arm64)


def _run_on(board: SshBoard, *command: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(board.ssh_argv(*command), input=stdin, capture_output=True, timeout=60, check=False)


def _output_of(board: SshBoard, *command: str) -> str:
    done = _run_on(board, *command)
    assert done.returncode == 0, done
    return done.stdout.decode().strip()


def _wait_until(condition: Callable[[], bool], *, timeout_s: float = 15.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def _refuses(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=2).close()
    except ConnectionRefusedError:
        return True
    return False


@pytest.fixture(scope="module")
def noise(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """48 MiB that do not compress."""
    path = tmp_path_factory.mktemp("noise") / "noise.bin"
    path.write_bytes(random.Random(7).randbytes(48 * MIB))
    return path


@pytest.fixture(scope="module")
def aarch64_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("aarch64-linux-gnu-gcc")
    if compiler is None:
        pytest.fail(f"no aarch64 cross compiler; run {INSTALL_COMMAND}")
    folder = tmp_path_factory.mktemp("hello")
    (folder / "hello.c").write_text(HELLO, encoding="ascii")
    argv = [compiler, "-static", "-O1", "-o", str(folder / "hello"), str(folder / "hello.c")]
    subprocess.run(argv, capture_output=True, timeout=60, check=True)
    return folder / "hello"


# --- the phone --------------------------------------------------------------------------------------------------------


def test_the_amd64_phone_is_a_shell_on_this_processor(shell: Shell) -> None:
    assert shell("id -u") == str(SHELL_UID)
    assert shell("uname -m") == "x86_64"
    assert shell("getprop ro.product.cpu.abi") == "x86_64"


def test_the_arm64_phone_runs_aarch64_programs(
    shell_arm64: Shell, adb_server: AdbServer, phone_arm64: Phone, aarch64_program: Path
) -> None:
    assert shell_arm64("uname -m") == "aarch64"
    assert shell_arm64("id -u") == str(SHELL_UID)
    assert shell_arm64("getprop ro.product.cpu.abi") == "arm64-v8a"
    pushed = adb_server.run("-s", phone_arm64.address, "push", str(aarch64_program), f"{WORKDIR}/hello")
    assert pushed.returncode == 0
    assert shell_arm64(f"{WORKDIR}/hello", expect=42) == "hello from aarch64"


def test_exit_codes_and_streams_come_back(adb_server: AdbServer, phone: Phone) -> None:
    done = adb_server.run("-s", phone.address, "shell", "echo out; echo err >&2; exit 37")
    assert (done.returncode, done.stdout, done.stderr) == (37, b"out\n", b"err\n")
    killed = adb_server.run("-s", phone.address, "shell", "sh -c 'kill -9 $$'")
    assert killed.returncode == 128 + signal.SIGKILL


def test_bytes_pass_unchanged_in_both_directions(adb_server: AdbServer, phone: Phone) -> None:
    sent = adb_server.run("-s", phone.address, "exec-in", f"cat > {WORKDIR}/bytes", stdin=EVERY_BYTE)
    assert sent.returncode == 0
    shell = Shell(adb_server, phone)
    _wait_until(lambda: shell(f"stat -c %s {WORKDIR}/bytes") == str(len(EVERY_BYTE)))
    assert adb_server.run("-s", phone.address, "exec-out", f"cat {WORKDIR}/bytes").stdout == EVERY_BYTE
    assert adb_server.run("-s", phone.address, "shell", "cat", stdin=EVERY_BYTE).stdout == EVERY_BYTE


def test_a_pushed_file_is_the_file(adb_server: AdbServer, phone: Phone, noise: Path, tmp_path: Path) -> None:
    assert adb_server.run("-s", phone.address, "push", str(noise), f"{WORKDIR}/noise").returncode == 0
    wanted = hashlib.sha256(noise.read_bytes()).hexdigest()
    assert Shell(adb_server, phone)(f"sha256sum {WORKDIR}/noise").split()[0] == wanted
    assert adb_server.run("-s", phone.address, "pull", f"{WORKDIR}/noise", str(tmp_path / "back")).returncode == 0
    assert hashlib.sha256((tmp_path / "back").read_bytes()).hexdigest() == wanted


@pytest.mark.parametrize(
    ("path", "complaint"),
    [
        ("/data/x", "Permission denied"),
        ("/data/local/x", "Permission denied"),
        ("/data/misc/x", "Permission denied"),
        ("/system/bin/x", "Read-only file system"),
        ("/x", "Read-only file system"),
        ("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "Read-only file system"),
    ],
)
def test_the_shell_may_write_nowhere_else(shell: Shell, path: str, complaint: str) -> None:
    seen = shell(f"echo 1 > {path}", expect=1)
    assert complaint.lower() in seen.lower()
    assert shell(f"touch {WORKDIR}/x && ls {WORKDIR}") == "x"


def test_a_full_phone_is_full(adb_server: AdbServer, phone_factory: Callable[..., Phone], noise: Path) -> None:
    phone = phone_factory(data_size_bytes=8 * MIB)
    pushed = adb_server.run("-s", phone.address, "push", str(noise), f"{WORKDIR}/noise")
    assert pushed.returncode != 0
    assert b"No space left on device" in pushed.stdout + pushed.stderr
    shell = Shell(adb_server, phone)
    assert "No space left" in shell(f"dd if=/dev/zero of={WORKDIR}/fill bs=1048576 count=9", expect=1)
    assert shell(f"df -k {WORKDIR}").splitlines()[-1].split()[1] == str(8 * 1024)


def test_noexec_and_read_only_storage(adb_server: AdbServer, phone_factory: Callable[..., Phone]) -> None:
    noexec = Shell(adb_server, phone_factory(data_noexec=True))
    noexec(f"cp /system/bin/toybox {WORKDIR}/true && chmod 755 {WORKDIR}/true")
    assert "Permission denied" in noexec(f"{WORKDIR}/true", expect=126)
    readonly = Shell(adb_server, phone_factory(data_read_only=True))
    assert "Read-only file system" in readonly(f"touch {WORKDIR}/x", expect=1)


def test_a_pulled_cable_is_seen_by_adb(adb_server: AdbServer, phone: Phone) -> None:
    shell = Shell(adb_server, phone)
    shell(f"echo kept > {WORKDIR}/file")
    phone.pull_cable()
    assert not phone.cable.plugged
    assert adb_server.wait_for_state(phone.address, {None, "offline"}) != "device"
    assert shell("true", expect=1).startswith("adb: device")
    assert _refuses(phone.cable.port)
    phone.plug_cable()
    adb_server.connect(phone.address)
    assert shell(f"cat {WORKDIR}/file") == "kept"


def test_the_cable_comes_out_in_the_middle_of_a_push(adb_server: AdbServer, phone: Phone, noise: Path) -> None:
    phone.pull_cable(after_bytes=10 * MIB)
    pushed = adb_server.run("-s", phone.address, "push", str(noise), f"{WORKDIR}/noise")
    assert pushed.returncode != 0
    assert not phone.cable.plugged
    phone.plug_cable()
    adb_server.connect(phone.address)
    size_bytes = int(Shell(adb_server, phone)(f"stat -c %s {WORKDIR}/noise 2>/dev/null || echo 0"))
    assert size_bytes < 11 * MIB


def test_a_stalled_cable_keeps_the_caller_waiting(adb_server: AdbServer, phone: Phone) -> None:
    phone.cable.stall()
    with pytest.raises(subprocess.TimeoutExpired):
        adb_server.run("-s", phone.address, "shell", "true", timeout_s=1.0)
    phone.cable.flow()
    assert Shell(adb_server, phone)("echo again") == "again"


def test_a_reboot_kills_programs_and_keeps_files(adb_server: AdbServer, phone: Phone) -> None:
    shell = Shell(adb_server, phone)
    shell(f"echo kept > {WORKDIR}/file; setsid nohup sleep 1000 >/dev/null 2>&1 </dev/null &")
    running = "pgrep -f '[s]leep 1000'"  # toybox's setsid becomes sleep without a new name, as on Android
    assert shell(running)
    phone.reboot()
    adb_server.connect(phone.address)
    shell(running, expect=1)
    assert shell(f"cat {WORKDIR}/file") == "kept"
    phone.wipe()
    adb_server.connect(phone.address)
    assert shell(f"ls {WORKDIR}") == ""


def test_two_phones_on_one_server_are_two(adb_server: AdbServer, phone_factory: Callable[..., Phone]) -> None:
    phones = [phone_factory(identity=PhoneIdentity(serialno=f"TWIN{number}", model=f"Twin {number}")) for number in (1, 2)]
    devices = adb_server.devices()
    assert [devices[phone.address] for phone in phones] == ["device", "device"]
    assert not [serial for serial in devices if serial.startswith("emulator")]
    first, second = (Shell(adb_server, phone) for phone in phones)
    assert (first("getprop ro.serialno"), second("getprop ro.serialno")) == ("TWIN1", "TWIN2")
    assert (first("getprop ro.product.model"), second("getprop ro.product.model")) == ("Twin 1", "Twin 2")
    first(f"touch {WORKDIR}/mine")
    assert second(f"ls {WORKDIR}") == ""
    phones[0].pull_cable()
    assert second("echo here") == "here"


def test_a_restarted_server_knows_no_phones_and_finds_them_again(adb_server: AdbServer, phone: Phone) -> None:
    adb_server.restart()
    assert phone.address not in adb_server.devices()
    adb_server.connect(phone.address)
    assert Shell(adb_server, phone)("echo again") == "again"


def test_a_server_that_a_client_has_started_meanwhile_is_gone_after_a_restart(adb_server: AdbServer, phone: Phone) -> None:
    """Every client does that which finds none: one that runs while another test restarts the server, too."""
    adb_server.kill()
    adb_server.run("start-server")
    adb_server.connect(phone.address)
    adb_server.restart()
    assert phone.address not in adb_server.devices()
    adb_server.connect(phone.address)
    adb_server.kill()
    adb_server.restart()
    assert adb_server.devices() == {}


def test_adbd_is_reachable_through_its_cable_only(phone: Phone) -> None:
    listening = Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]
    ours = [row.split()[1] for row in listening if row.split()[1].endswith(f":{phone.cable.port:04X}")]
    assert "0100007F" in {address.split(":")[0] for address in ours}
    assert "00000000" not in {address.split(":")[0] for address in ours}
    assert not [row for row in listening if row.split()[1] == "00000000:15B3" and row.split()[3] == "0A"]  # port 5555


def test_every_tool_of_the_phone_starts(shell: Shell) -> None:
    root = phone_root("amd64")
    links = [path.name for path in (root / "system/bin").iterdir() if path.is_symlink() and path.name != "sh"]
    offered = set(shell("toybox").split())
    assert set(links) - offered == set()
    assert shell("printf abc | tr a-c A-C; expr 2 + 3; echo 1 | dd 2>/dev/null") == "ABC5\n1"
    assert {path.name for path in (root / "system/bin").iterdir()} >= set(STUBS)


def test_properties_settings_and_services_answer(shell: Shell, phone: Phone) -> None:
    assert shell("getprop ro.build.version.sdk") == "34"
    assert shell("getprop no.such.property") == ""
    assert shell("getprop no.such.property 7") == "7"
    assert "[ro.serialno]: [STANDIN0001]" in shell("getprop").splitlines()
    assert "Failed to set property" in shell("setprop ro.serialno X", expect=1)
    assert shell("setprop debug.x a=b; setprop debug.x c=d; getprop debug.x") == "c=d"
    assert shell("settings get global stay_on_while_plugged_in") == "null"
    assert shell("svc power stayon true; settings get global stay_on_while_plugged_in") == "15"
    assert shell("cmd power set-fixed-performance-mode-enabled true") == ""
    assert "Can't find service" in shell("cmd nonsense x", expect=20)
    assert "Thermal Status: 0" in shell("dumpsys thermalservice").splitlines()
    phone.report(thermal_status=3, battery_level=41, usb_powered=False, battery_temperature_tenth_c=391)
    assert "Thermal Status: 3" in shell("dumpsys thermalservice").splitlines()
    battery = [line.strip() for line in shell("dumpsys battery").splitlines()]
    assert {"level: 41", "USB powered: false", "temperature: 391", "status: 3"} <= set(battery)


def test_sys_and_cpuinfo_have_the_shape_of_a_phone(shell: Shell, phone: Phone) -> None:
    assert shell("cat /sys/devices/system/cpu/possible") == "0-7"
    assert shell("cat /sys/devices/system/cpu/cpu7/cpufreq/cpuinfo_max_freq") == "2910000"
    assert shell("grep -c ^processor /proc/cpuinfo") == "8"
    zone = phone.sys / "class/thermal/thermal_zone0/temp"
    zone.write_text("63500\n", encoding="ascii")
    assert shell("cat /sys/class/thermal/thermal_zone0/temp") == "63500"


def test_nothing_is_left_when_the_tests_are_killed(tmp_path: Path) -> None:
    phone_root("amd64")
    program = (
        "import sys, time\n"
        "from standins.adb_server import AdbServer\n"
        "from standins.phone import Phone\n"
        "with AdbServer() as server, Phone() as phone:\n"
        "    print(phone.cable.scratch, phone.cable.port, phone.cable._process.pid, server.port, flush=True)\n"
        "    time.sleep(600)\n"
    )
    tests = Path(__file__).resolve().parent.parent
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tests)},
    ) as owner:
        assert owner.stdout is not None
        scratch, port, outer_pid, server_port = owner.stdout.readline().split()
        first_pid = Path(f"/proc/{outer_pid}/task/{outer_pid}/children").read_text(encoding="ascii").split()[0]
        assert not _refuses(int(port))
        owner.kill()
    _wait_until(lambda: not Path(f"/proc/{first_pid}").exists())
    _wait_until(lambda: not Path(scratch).exists())
    assert _refuses(int(port))
    _wait_until(lambda: _refuses(int(server_port)))
    assert scratch not in Path("/proc/self/mountinfo").read_text(encoding="utf-8")


# --- devices that cannot be used --------------------------------------------------------------------------------------


def test_adb_shows_an_unauthorized_device_as_such(adb_server: AdbServer, unauthorized_device: UnusableDevice) -> None:
    assert adb_server.devices()[unauthorized_device.address] == "unauthorized"
    refused = adb_server.run("-s", unauthorized_device.address, "shell", "true")
    assert refused.returncode == 1
    assert b"device unauthorized" in refused.stderr
    _wait_until(lambda: bool(unauthorized_device.offered_keys))


def test_adb_shows_a_silent_device_as_offline(adb_server: AdbServer, offline_device: UnusableDevice) -> None:
    assert adb_server.devices()[offline_device.address] == "offline"
    assert b"device offline" in adb_server.run("-s", offline_device.address, "shell", "true").stderr


# --- boards -----------------------------------------------------------------------------------------------------------


def _paramiko_client(board: SshBoard) -> paramiko.SSHClient:
    client = paramiko.SSHClient()
    client.load_host_keys(str(board.known_hosts_file))
    client.set_missing_host_key_policy(paramiko.RejectPolicy())
    return client


@pytest.fixture(params=["ssh_board", "pi_board"])
def board(request: pytest.FixtureRequest) -> SshBoard:
    found = request.getfixturevalue(request.param)
    assert isinstance(found, SshBoard)
    return found


@pytest.mark.standin
def test_openssh_logs_in_and_bytes_pass_unchanged(board: SshBoard) -> None:
    assert _output_of(board, "sh", "-c", 'echo "$(id -un) $PWD"') == f"{board.user} {board.home}"
    assert _output_of(board, "id", "-u") != "0"
    assert _run_on(board, "sh", "-c", "exit 37").returncode == 37
    assert _run_on(board, "cat", stdin=EVERY_BYTE).stdout == EVERY_BYTE


@pytest.mark.standin
def test_paramiko_logs_in_with_the_host_key_verified(board: SshBoard) -> None:
    with _paramiko_client(board) as client:
        client.connect(
            board.host,
            port=board.port,
            username=board.user,
            key_filename=str(board.identity_file),
            allow_agent=False,
            look_for_keys=False,
            timeout=30,
        )
        _, stdout, _ = client.exec_command("uname -m", timeout=30)
        assert stdout.read().decode().strip() == ("aarch64" if board.kind is BoardKind.PI else os.uname().machine)
        with client.open_sftp() as sftp:
            with sftp.open("bytes", "wb") as remote:
                remote.write(EVERY_BYTE)
            assert sftp.stat("bytes").st_size == len(EVERY_BYTE)


def test_the_encrypted_key_needs_its_passphrase_and_strangers_stay_out(ssh_board: SshBoard) -> None:
    def log_in(key: Path, passphrase: str | None) -> None:
        with _paramiko_client(ssh_board) as client:
            client.connect(
                ssh_board.host,
                port=ssh_board.port,
                username=ssh_board.user,
                key_filename=str(key),
                passphrase=passphrase,
                allow_agent=False,
                look_for_keys=False,
                timeout=30,
            )

    log_in(ssh_board.encrypted_identity_file, PASSPHRASE)
    with pytest.raises(paramiko.PasswordRequiredException):
        log_in(ssh_board.encrypted_identity_file, None)
    with pytest.raises(paramiko.AuthenticationException):
        log_in(ssh_board.stranger_identity_file, None)
    assert "Accepted publickey" in ssh_board.log.read_text(encoding="utf-8")


def test_a_board_with_new_host_keys_is_refused(ssh_board: SshBoard) -> None:
    assert len(ssh_board.known_hosts.splitlines()) == 3
    ssh_board.replace_host_keys()
    refused = _run_on(ssh_board, "true")
    assert refused.returncode == 255
    assert b"HOST IDENTIFICATION HAS CHANGED" in refused.stderr


def test_a_stopped_board_refuses_and_comes_back_the_same(ssh_board: SshBoard) -> None:
    _output_of(ssh_board, "sh", "-c", "echo kept > file")
    port, keys = ssh_board.port, ssh_board.known_hosts
    ssh_board.pull_cable()
    ssh_board.stop()
    assert _refuses(port)
    assert not ssh_board.cable.running
    ssh_board.start()
    assert (ssh_board.port, ssh_board.known_hosts) == (port, keys)
    assert _output_of(ssh_board, "cat", "file") == "kept"


def test_the_boards_cable_comes_out_in_the_middle(ssh_board: SshBoard, noise: Path) -> None:
    ssh_board.pull_cable(after_bytes=5 * MIB)
    done = _run_on(ssh_board, "sh", "-c", "cat > noise", stdin=noise.read_bytes())
    assert done.returncode == 255
    assert _refuses(ssh_board.port)
    ssh_board.plug_cable()
    assert int(_output_of(ssh_board, "stat", "-c", "%s", "noise")) < 6 * MIB


@pytest.fixture
def small_board() -> Iterator[SshBoard]:
    with SshBoard(home_size_bytes=4 * MIB) as board:
        yield board


@pytest.mark.standin
@pytest.mark.usefixtures("ssh_board")  # which skips or fails where boards cannot be had
def test_a_full_board_is_full_and_a_noexec_one_runs_nothing(small_board: SshBoard) -> None:
    full = _run_on(small_board, "dd", "if=/dev/zero", "of=fill", "bs=1M", "count=5")
    assert full.returncode == 1
    assert b"No space left on device" in full.stderr
    with SshBoard(home_noexec=True) as board:
        denied = _run_on(board, "sh", "-c", "cp /bin/true t && ./t")
        assert denied.returncode == 126
        assert b"Permission denied" in denied.stderr
    with SshBoard(home_read_only=True) as board:
        assert b"Read-only file system" in _run_on(board, "touch", "x").stderr


def test_the_local_board_leaves_nothing_on_this_machine(ssh_board: SshBoard) -> None:
    _output_of(ssh_board, "sh", "-c", "touch /tmp/left-by-the-board file")
    assert not Path("/tmp/left-by-the-board").exists()
    assert not Path(ssh_board.home).exists()
    assert f"\n{ssh_board.user}:" not in Path("/etc/passwd").read_text(encoding="utf-8")
    assert b"Read-only file system" in _run_on(ssh_board, "touch", "/etc/x").stderr
    ssh_board.wipe()
    assert _output_of(ssh_board, "find", ssh_board.home, "/tmp", "-type", "f") == ""


def test_the_pi_runs_python_and_aarch64_programs(pi_board: SshBoard, aarch64_program: Path) -> None:
    assert _output_of(pi_board, "uname", "-m") == "aarch64"
    code = "import platform, sys; print(platform.machine(), *sys.version_info[:2])"
    assert _output_of(pi_board, "python3", "-c", code) == "aarch64 3 11"
    sent = _run_on(pi_board, "sh", "-c", "cat > hello && chmod 755 hello", stdin=aarch64_program.read_bytes())
    assert sent.returncode == 0
    ran = _run_on(pi_board, "./hello")
    assert (ran.returncode, ran.stdout) == (42, b"hello from aarch64\n")


def test_the_pi_has_the_telemetry_of_a_pi(pi_board: SshBoard) -> None:
    model = _run_on(pi_board, "cat", "/sys/firmware/devicetree/base/model").stdout
    assert model == b"Raspberry Pi 4 Model B Rev 1.5\0"
    assert "Raspberry Pi 4" in _output_of(pi_board, "grep", "^Model", "/proc/cpuinfo")
    assert _output_of(pi_board, "cat", "/sys/devices/system/cpu/cpu3/cpufreq/cpuinfo_max_freq") == "1800000"
    assert _output_of(pi_board, "vcgencmd", "get_throttled") == "throttled=0x0"
    assert _output_of(pi_board, "vcgencmd", "measure_temp") == "temp=48.6'C"
    pi_board.set_throttled(0x50005)
    assert _output_of(pi_board, "vcgencmd", "get_throttled") == "throttled=0x50005"


# --- where packages come from -----------------------------------------------------------------------------------------

DEBIAN = {"ID": "debian", "VERSION_CODENAME": "bookworm"}
UBUNTU = {"ID": "ubuntu", "VERSION_CODENAME": "noble"}
KEY = "/usr/share/keyrings/debian-archive-keyring.gpg"


def test_the_mirror_is_the_machines_own() -> None:
    one_line = """
# deb http://commented.example/debian bookworm main
deb http://security.example/debian-security bookworm-security main
deb [arch=amd64 signed-by=/usr/share/keyrings/docker.gpg] https://docker.example/linux/debian bookworm stable
deb-src http://source.example/debian bookworm main
deb [arch=amd64] http://mirror.example/anything bookworm main contrib  # ours
"""
    assert choose_mirror(list(parse_one_line_sources(one_line)), DEBIAN) == "http://mirror.example/anything"
    assert choose_mirror(list(parse_one_line_sources(one_line)), UBUNTU) is None


def test_deb822_sources_are_read() -> None:
    text = f"""
Types: deb deb-src
# a comment inside
URIs: http://one.example/debian
 http://two.example/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: {KEY}

Enabled: no
Types: deb
URIs: http://off.example/debian
Suites: bookworm
Components: main
"""
    sources = list(parse_deb822_sources(text))
    assert sources[0] == AptSource(
        uri="http://one.example/debian", suites=("bookworm", "bookworm-updates"), components=("main",), signed_by=KEY
    )
    assert [source.uri for source in sources] == ["http://one.example/debian", "http://two.example/debian"]
    assert choose_mirror(sources, UBUNTU) == "http://one.example/debian"  # signed by Debian's keyring: it is Debian's


def test_a_phone_can_be_started_from_a_thread_that_ends(adb_server: AdbServer, phone: Phone) -> None:
    started: list[Phone] = []
    thread = threading.Thread(target=lambda: started.append(Phone().__enter__()))
    thread.start()
    thread.join(timeout=60)
    try:
        adb_server.connect(started[0].address)
        assert Shell(adb_server, started[0])("echo alive") == "alive"
    finally:
        adb_server.disconnect(started[0].address)
        started[0].__exit__(None, None, None)
