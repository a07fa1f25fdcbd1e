"""Stand-in devices as fixtures. A test that uses one is marked ``standin`` by itself.

========================  ========  =======================================================================
``adb_server``            session   an adb server of our own; every adb client of the tests uses it
``phone_factory``         test      starts phones as asked for, connected; takes what ``Phone`` takes
``phone``                 test      a fresh amd64 phone, connected
``phone_arm64``           test      an arm64 phone, connected; one per session, wiped before each test
``ssh_board``             test      this machine's sshd; one per session, wiped before each test
``pi_board``              test      arm64 board with Python 3.11; one per session, wiped before each test
``unauthorized_device``   test      shown as ``unauthorized`` by adb
``offline_device``        test      shown as ``offline`` by adb
========================  ========  =======================================================================

Where a stand-in cannot be had, its tests are skipped with the reason; with ``CI`` or ``EDGEDEPLOY_REQUIRE_STANDINS``
set, they fail.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import TypeVar

import pytest
from integration.runner_starts import models, run_model, runner_cache, starts  # noqa: F401 - fixtures
from standins.adb_server import AdbServer
from standins.board import BoardKind, SshBoard
from standins.phone import Phone
from standins.unauthorized import UnusableDevice
from standins.unavailable import StandinUnavailableError

PhoneFactory = Callable[..., Phone]
_StandinT = TypeVar("_StandinT", bound=AbstractContextManager[object])

_DEVICE_FIXTURES = {
    "adb_server",
    "offline_device",
    "phone",
    "phone_arm64",
    "phone_factory",
    "pi_board",
    "ssh_board",
    "unauthorized_device",
}
_NO = {"", "0", "false", "no"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs a stand-in."""
    for item in items:
        if _DEVICE_FIXTURES.intersection(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.standin)


def _required() -> bool:
    return any(os.environ.get(name, "").lower() not in _NO for name in ("CI", "EDGEDEPLOY_REQUIRE_STANDINS"))


@contextmanager
def _skipping() -> Iterator[None]:
    """Turn a stand-in that cannot be had into a skipped test, or a failed one where stand-ins are required."""
    reason = ""
    try:
        yield
    except StandinUnavailableError as unavailable:
        reason = str(unavailable)
    if reason and _required():
        pytest.fail(reason, pytrace=False)
    if reason:
        pytest.skip(reason)


def _entered(stack: ExitStack, standin: Callable[[], _StandinT]) -> _StandinT:
    made: _StandinT
    with _skipping():
        made = standin()
        stack.enter_context(made)
    return made


@pytest.fixture(scope="session")
def adb_server(_isolated_session: Iterator[Path]) -> Iterator[AdbServer]:
    """The tests' own adb server; the environment leads every adb client to it."""
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        server = _entered(stack, AdbServer)
        for variable, value in server.environment.items():
            patch.setenv(variable, value)
        # A client of another version would kill this server and start its own.
        patch.setenv("PATH", str(server.adb.parent), prepend=os.pathsep)
        yield server


@pytest.fixture
def phone_factory(adb_server: AdbServer) -> Iterator[PhoneFactory]:
    """Starts connected phones that live until the end of the test."""
    with ExitStack() as stack:

        def start(**options: object) -> Phone:
            phone = _entered(stack, lambda: Phone(**options))  # type: ignore[arg-type]
            stack.callback(adb_server.disconnect, phone.address)
            with _skipping():
                adb_server.connect(phone.address)
            return phone

        yield start


@pytest.fixture
def phone(phone_factory: PhoneFactory) -> Phone:
    """A fresh amd64 phone, connected."""
    return phone_factory()


@pytest.fixture(scope="session")
def _lasting_phone_arm64() -> Iterator[Phone]:
    with ExitStack() as stack:
        yield _entered(stack, lambda: Phone(arch="arm64"))


@pytest.fixture
def phone_arm64(_lasting_phone_arm64: Phone, adb_server: AdbServer) -> Iterator[Phone]:
    """An arm64 phone as good as new, connected."""
    phone = _lasting_phone_arm64
    phone.wipe()
    with _skipping():
        adb_server.connect(phone.address)
    yield phone
    adb_server.disconnect(phone.address)


def _lasting_board(kind: BoardKind) -> Iterator[SshBoard]:
    with ExitStack() as stack:
        yield _entered(stack, lambda: SshBoard(kind))


@pytest.fixture(scope="session")
def _lasting_ssh_board() -> Iterator[SshBoard]:
    yield from _lasting_board(BoardKind.LOCAL)


@pytest.fixture(scope="session")
def _lasting_pi_board() -> Iterator[SshBoard]:
    yield from _lasting_board(BoardKind.PI)


@pytest.fixture
def ssh_board(_lasting_ssh_board: SshBoard) -> SshBoard:
    """This machine's sshd and programs, with an empty home folder."""
    _lasting_ssh_board.wipe()
    return _lasting_ssh_board


@pytest.fixture
def pi_board(_lasting_pi_board: SshBoard) -> SshBoard:
    """An arm64 board with an empty home folder."""
    _lasting_pi_board.wipe()
    return _lasting_pi_board


@pytest.fixture
def unauthorized_device(adb_server: AdbServer) -> Iterator[UnusableDevice]:
    """A device on which nobody taps "Allow"."""
    yield from _seen_by_adb(adb_server, UnusableDevice(answers=True), state="unauthorized")


@pytest.fixture
def offline_device(adb_server: AdbServer) -> Iterator[UnusableDevice]:
    """A device that took the connection and says nothing."""
    yield from _seen_by_adb(adb_server, UnusableDevice(answers=False), state="offline")


def _seen_by_adb(adb_server: AdbServer, unusable: UnusableDevice, *, state: str) -> Iterator[UnusableDevice]:
    with unusable as device:
        with adb_server.connecting(device.address):
            adb_server.wait_for_state(device.address, {state})
        yield device
        adb_server.disconnect(device.address)
