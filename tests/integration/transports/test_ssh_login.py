"""Who we are to a board: keys of every kind in files and in an agent, passphrases, passwords; and that secrets stay secret."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from integration.transports.rig import board_device
from standins.board import HOST_KEY_TYPES, PASSPHRASE, SshBoard
from standins.unavailable import StandinUnavailableError

from edgedeploy.transports import ssh_secrets
from edgedeploy.transports.ssh import SshTransport
from edgedeploy.transports.ssh_login import LoginRefusedError

SECRET = "s3cret of the board"
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def password_board() -> Iterator[SshBoard]:
    try:
        board = SshBoard(password=SECRET).__enter__()
    except StandinUnavailableError as exc:
        pytest.skip(str(exc))
    yield board
    board.__exit__(None, None, None)


@pytest.fixture
def trusted_password_board(password_board: SshBoard) -> SshBoard:
    folder = Path.home() / ".ssh"
    folder.mkdir(mode=0o700)
    (folder / "known_hosts").write_text(password_board.known_hosts, encoding="ascii")
    return password_board


@pytest.fixture(autouse=True)
def _forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssh_secrets, "_remembered", {})


def new_key(folder: Path, kind: str, passphrase: str = "", *options: str) -> Path:
    folder.mkdir(exist_ok=True)
    key = folder / kind
    made = ["ssh-keygen", "-q", "-t", kind, "-N", passphrase, *options, "-f", str(key)]
    subprocess.run(made, check=True, timeout=60)
    return key


@pytest.mark.parametrize("kind", HOST_KEY_TYPES)
@pytest.mark.usefixtures("agent")
def test_keys_of_every_kind_from_a_file_and_from_the_agent_alone(trusted_board: SshBoard, tmp_path: Path, kind: str) -> None:
    key = new_key(tmp_path / "keys", kind)
    trusted_board.authorize(Path(f"{key}.pub"))
    SshTransport().connect(board_device(trusted_board, key=str(key))).close()
    subprocess.run(["ssh-add", "-q", str(key)], check=True, stdin=subprocess.DEVNULL, timeout=20)
    key.unlink()
    SshTransport().connect(board_device(trusted_board, key="")).close()


@pytest.mark.usefixtures("agent")
def test_an_agent_with_more_keys_than_a_board_tries(trusted_board: SshBoard, tmp_path: Path) -> None:
    for number in range(7):
        key = new_key(tmp_path / f"keys{number}", "ed25519")
        subprocess.run(["ssh-add", "-q", str(key)], check=True, stdin=subprocess.DEVNULL, timeout=20)
    with pytest.raises(LoginRefusedError, match="hung up after") as caught:
        SshTransport().connect(board_device(trusted_board, key=""))
    assert "IdentitiesOnly" in caught.value.next_step


@pytest.mark.parametrize("kind", HOST_KEY_TYPES)
@pytest.mark.parametrize("form", ["OpenSSH", "PEM"])
def test_encrypted_keys_of_every_kind(
    trusted_board: SshBoard, tmp_path: Path, kind: str, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = new_key(tmp_path / "keys", kind, PASSPHRASE, *([] if form == "OpenSSH" else ["-m", form]))
    trusted_board.authorize(Path(f"{key}.pub"))
    typed = iter(["wrong", PASSPHRASE])
    monkeypatch.setattr(ssh_secrets, "ask_secret", lambda _question: next(typed))
    SshTransport().connect(board_device(trusted_board, key=str(key))).close()


def test_a_password_by_reference(trusted_password_board: SshBoard, monkeypatch: pytest.MonkeyPatch) -> None:
    device = board_device(trusted_password_board, key="", password_env="BOARD_PASSWORD")
    with pytest.raises(LoginRefusedError, match="password") as caught:
        SshTransport().connect(device)
    assert "BOARD_PASSWORD is not set" in caught.value.seen
    monkeypatch.setenv("BOARD_PASSWORD", "wrong " + SECRET)
    with pytest.raises(LoginRefusedError) as caught:
        SshTransport().connect(device)
    assert "tried the password in $BOARD_PASSWORD" in caught.value.seen
    assert SECRET not in str(caught.value)
    monkeypatch.setenv("BOARD_PASSWORD", SECRET)
    connection = SshTransport().connect(device)
    assert connection.run(["echo", "in"], timeout_s=20).stdout == b"in\n"
    connection.close()


def test_without_a_terminal_nobody_is_asked(trusted_password_board: SshBoard) -> None:
    program = _program(board_device(trusted_password_board, key=""))
    argv = [sys.executable, "-c", program]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, env=_env(), check=True)
    assert b"nothing to try" in done.stdout
    assert b"Password" not in done.stdout + done.stderr


def test_a_password_typed_at_a_terminal_is_asked_once_and_not_shown(trusted_password_board: SshBoard) -> None:
    screen = _at_a_terminal(
        _program(board_device(trusted_password_board, key="")),
        [("Password of", "wrong"), ("Password of", SECRET), ("twice in", "")],
    )
    assert screen.count("Password of") == 2
    assert SECRET not in screen


def test_a_passphrase_typed_at_a_terminal(trusted_board: SshBoard) -> None:
    key = trusted_board.encrypted_identity_file
    screen = _at_a_terminal(
        _program(board_device(trusted_board, key=str(key))), [("Passphrase of", PASSPHRASE), ("twice in", "")]
    )
    assert screen.count(f"Passphrase of {key}") == 1
    assert PASSPHRASE not in screen


def test_a_password_shows_nowhere(trusted_password_board: SshBoard, tmp_path: Path) -> None:
    """Right or wrong: not in what is said, in JSON or not, nor in any file that is written."""
    board = trusted_password_board
    (tmp_path / "lab.toml").write_text(
        f'[devices.b]\ntarget = "linux-x86_64"\nhost = "{board.host}"\nport = {board.port}\nuser = "{board.user}"\n'
        'password = "env:BOARD_PASSWORD"\n',
        encoding="ascii",
    )
    said = b""
    for password, state in ((SECRET, b"ready"), (SECRET + " not", b"unauthorized")):
        for options in ([], ["--json"], ["--probe"]):
            argv = [sys.executable, "-m", "edgedeploy", "devices", *options]
            env = _env() | {"BOARD_PASSWORD": password, "EDGEDEPLOY_LAB": str(tmp_path / "lab.toml"), "EDGEDEPLOY_DEBUG": "1"}
            env["EDGEDEPLOY_ADB"] = "/none"
            done = subprocess.run(argv, cwd=tmp_path, capture_output=True, timeout=60, env=env, check=True)
            assert state in done.stdout
            said += done.stdout + done.stderr
    assert SECRET.encode() not in said
    written = [file for folder in (tmp_path, Path.home()) for file in folder.rglob("*") if file.is_file()]
    assert [file for file in written if SECRET.encode() in file.read_bytes()] == []


def _env() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def _program(device: object) -> str:
    """Connects twice and says so, or why not."""
    return (
        "from edgedeploy.domain.device import Device\n"
        "from edgedeploy.errors import DeviceError\n"
        "from edgedeploy.transports.ssh import SshTransport\n"
        f"device = {device!r}\n"
        "try:\n"
        "    SshTransport().connect(device).close(); SshTransport().connect(device).close()\n"
        "    print('twice in', flush=True)\n"
        "except DeviceError as error: print(error, flush=True)\n"
    )


def _at_a_terminal(program: str, talk: list[tuple[str, str]]) -> str:
    """Run a program on a terminal of its own, wait for each text and type the answer; all that the screen showed."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(sys.executable, [sys.executable, "-c", program], _env())
    screen = ""
    seen = 0
    try:
        for awaited, answer in talk:
            until = time.monotonic() + 30
            while awaited not in screen[seen:]:
                assert select.select([terminal], [], [], max(0, until - time.monotonic()))[0], screen
                try:
                    more = os.read(terminal, 4096).decode()
                except OSError:
                    more = ""
                assert more, screen
                screen += more
            seen = screen.index(awaited, seen) + len(awaited)
            if answer:
                time.sleep(0.2)  # getpass throws away what was typed before it asked
                os.write(terminal, answer.encode() + b"\n")
    finally:
        os.close(terminal)
        os.waitpid(pid, 0)
    return screen
