from __future__ import annotations

import shutil
import subprocess

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edgedeploy.errors import UsageError
from edgedeploy.shell import quote_command

SHELLS = [shell for shell in ("sh", "dash", "bash", "mksh", "busybox", "zsh") if shutil.which(shell)]
WORDS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30)


def run_in(shell: str, line: str) -> subprocess.CompletedProcess[bytes]:
    argv = [shell, *(["sh"] if shell == "busybox" else []), "-c", line]
    return subprocess.run(argv, capture_output=True, timeout=30, check=False)


@pytest.mark.parametrize("shell", SHELLS)
@given(words=st.lists(WORDS, min_size=1, max_size=60))
@example(
    words=[
        "",
        " ",
        "-n",
        "--",
        "'",
        "''",
        "'\"'\"'",
        "\n",
        "\r\n",
        "\\",
        "$x",
        "`x`",
        "!",
        "~",
        "{a,b}",
        "a=b",
        "#",
        "=sh",
        "=",
        "%1",
        "@",
    ]
)
@settings(max_examples=25, deadline=None)
def test_arguments_arrive_byte_for_byte(shell: str, words: list[str]) -> None:
    ended = run_in(shell, quote_command(["/usr/bin/printf", "%s\\0", *words]))
    assert ended.stdout == b"".join(word.encode() + b"\0" for word in words)
    assert (ended.returncode, ended.stderr) == (0, b"")


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("word", ["if", "while", "{", "!", "then", "function", "a=b", "-c", "~", "case"])
def test_the_first_word_is_a_program_and_never_syntax(shell: str, word: str) -> None:
    assert run_in(shell, quote_command([word, "x"])).returncode == 127


def test_bytes_that_are_no_text_pass() -> None:
    name = b"\xff\xfe".decode("utf-8", "surrogateescape")
    assert run_in("sh", quote_command(["printf", "%s", name])).stdout == b"\xff\xfe"


@pytest.mark.parametrize("argv", [[], ["a\0b"], ["a", "\0"], ["a", "\ud800"]])
def test_what_no_program_can_be_given(argv: list[str]) -> None:
    with pytest.raises(UsageError):
        quote_command(argv)
