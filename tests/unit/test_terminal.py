from __future__ import annotations

import getpass
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from edgedeploy.terminal import ask_secret, making_room


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What happens at a terminal where ``secret`` is typed to every question."""
    happened: list[str] = []

    def typed(question: str) -> str:
        happened.append(question)
        return "secret"

    monkeypatch.setattr(getpass, "getpass", typed)
    for stream in (sys.stdin, sys.stderr):
        monkeypatch.setattr(stream, "isatty", lambda: True)
    return happened


def test_bars_make_room_while_a_question_is_asked(events: list[str]) -> None:
    @contextmanager
    def room() -> Iterator[None]:
        events.append("bars off")
        yield
        events.append("bars on")

    with making_room(room):
        assert ask_secret("who? ") == "secret"
    assert ask_secret("again? ") == "secret"
    assert events == ["bars off", "who? ", "bars on", "again? "]


@pytest.mark.parametrize("stream", ["stdin", "stderr"])
def test_nobody_is_asked_without_a_terminal(events: list[str], stream: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(getattr(sys, stream), "isatty", lambda: False)
    assert ask_secret("who? ") is None
    assert events == []


def test_nobody_is_asked_beside_the_main_thread(events: list[str]) -> None:
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(ask_secret, "who? ").result() is None
    assert events == []


def test_the_end_of_the_input_is_no_answer(events: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def ended(_question: str) -> str:
        raise EOFError

    monkeypatch.setattr(getpass, "getpass", ended)
    assert ask_secret("who? ") is None
    assert events == []
