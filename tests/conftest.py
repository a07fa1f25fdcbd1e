"""For every test: the developer's own settings, caches, keys, devices and adb server are out of reach."""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from standins.build_cache import cache_dir

# A busy machine is slow, and that is no failure.
settings.register_profile("edgedeploy", deadline=None)
settings.load_profile("edgedeploy")

_XDG = {"XDG_CACHE_HOME": ".cache", "XDG_CONFIG_HOME": ".config", "XDG_STATE_HOME": ".local/state"}
_THE_DEVELOPERS_OWN = ("ANDROID_SERIAL", "SSH_AUTH_SOCK")


def pytest_configure(config: pytest.Config) -> None:
    """Fix where the stand-ins are kept before any test's own HOME hides it, and have signals reach the programs of tests.

    A shell starts what is in the background (``make test &``) with Ctrl-C ignored, ``nohup`` with SIGHUP, and so would be whatever
    we start: tests that interrupt a program would wait for it until their time is over. A handler is not inherited.
    """
    del config
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda _number, _frame: None)
    os.environ.setdefault("EDGEDEPLOY_STANDINS", str(cache_dir()))


def _is_hardware(item: pytest.Item) -> bool:
    return item.get_closest_marker("hardware") is not None


def _move_home(patch: pytest.MonkeyPatch, home: Path) -> None:
    home.mkdir(parents=True)
    patch.setenv("HOME", str(home))
    for variable, folder in _XDG.items():
        patch.setenv(variable, str(home / folder))


@pytest.fixture(scope="session", autouse=True)
def _isolated_session(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Iterator[Path]]:
    """A home for fixtures that outlive one test, and a source of homes for the tests."""
    base = tmp_path_factory.mktemp("homes")
    homes = (base / f"test-{number}" for number in itertools.count())
    with pytest.MonkeyPatch.context() as patch:
        if not all(_is_hardware(item) for item in request.session.items):
            _move_home(patch, base / "session")
            for variable in _THE_DEVELOPERS_OWN:
                patch.delenv(variable, raising=False)
            # An adb client that a test starts by accident finds no server and cannot start one.
            patch.setenv("ADB_SERVER_SOCKET", f"localfilesystem:{base}/no/adb")
        yield homes


@pytest.fixture(autouse=True)
def _isolated_home(request: pytest.FixtureRequest, _isolated_session: Iterator[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """A home of its own for every test. Tests on real hardware keep the developer's."""
    if not _is_hardware(request.node):
        _move_home(monkeypatch, next(_isolated_session))
