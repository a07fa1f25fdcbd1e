"""What OpenSSH's configuration files say of a host: the user's, what it includes, then the system's.

paramiko reads blocks, and knows no ``Include``: here included files are put in their place first. Not supported: ``Match`` with
other criteria than host, originalhost, user, localuser, exec, canonical, final and all.
"""

from __future__ import annotations

import glob
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import paramiko

from edgedeploy.errors import ConfigError
from edgedeploy.transports.ssh_match import plain_match, tokens_of

SYSTEM_FOLDER = Path("/etc/ssh")
_MOST_NESTED = 16  # as in ssh
_LINE = re.compile(r"\s*(?P<key>\w+)(?:\s*=\s*|\s+)(?P<value>.+?)\s*$")
_APPLIES = "edgedeployapplies"
_EVERYTHING = "Host *"


def options_of(address: str, ssh_folder: Path, said_first: str) -> dict[str, object]:
    """The options of a host; of several values the first one counts, and those of ``said_first`` come before all files.

    Raises:
        ConfigError: a file cannot be read, or says what cannot be understood.
    """
    told = _Told(address, [_EVERYTHING, *said_first.splitlines()])
    for file, folder in ((ssh_folder / "config", ssh_folder), (SYSTEM_FOLDER / "ssh_config", SYSTEM_FOLDER)):
        if file.is_file():
            told.add(file, folder, _EVERYTHING, nested=0)
    return told.options(ssh_folder / "config")


class _Told:
    """Lines so far, all files in one."""

    def __init__(self, address: str, lines: list[str]) -> None:
        self._address = address
        self._lines = lines

    def add(self, file: Path, folder: Path, block: str, *, nested: int) -> None:
        """Put a file's lines here; ``block`` is where it is included, and how it begins."""
        if nested > _MOST_NESTED:
            raise ConfigError("files include each other", where=str(file))
        self._lines.append(block)
        for line in _lines(file):
            found = _LINE.match(line)
            key = found["key"].lower() if found else ""
            if found and key == "include":
                self._include(found["value"], file, folder, block, nested=nested)
                continue
            if found and key == "match":
                line = self._match(found["value"], file)  # noqa: PLW2901
            if key in ("host", "match"):
                block = line
            self._lines.append(line)

    def options(self, file: Path) -> dict[str, object]:
        try:
            return dict(paramiko.SSHConfig.from_text("\n".join(self._lines)).lookup(self._address))
        except (paramiko.SSHException, OSError, ValueError) as exc:
            raise ConfigError("the SSH configuration cannot be read", where=str(file), seen=str(exc)) from exc

    def _match(self, value: str, file: Path) -> str:
        def applies(line: str) -> bool:
            self._lines.append(line)
            found = self._applies(file)
            self._lines.pop()
            return found

        return plain_match(value, f"{file}: Match", applies, lambda: tokens_of(self._address, self.options(file)))

    def _include(self, value: str, file: Path, folder: Path, block: str, *, nested: int) -> None:
        if not self._applies(file):
            return
        for included in _files(value, file, folder):
            # The block applies, so what is said in it holds for this host; its own blocks are asked as everywhere.
            self.add(included, folder, _EVERYTHING, nested=nested + 1)
        self._lines.append(block)

    def _applies(self, file: Path) -> bool:
        """Whether what stands here holds for the host."""
        self._lines.append(f"{_APPLIES} yes")
        applies = _APPLIES in self.options(file)
        self._lines.pop()
        return applies


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError("the SSH configuration cannot be read", where=str(file), seen=str(exc)) from exc


def _files(patterns: str, file: Path, folder: Path) -> Iterator[Path]:
    """Those that are there; a pattern without any is no mistake."""
    try:
        words = shlex.split(patterns)
    except ValueError as exc:
        raise ConfigError("the SSH configuration cannot be read", where=f"{file}: Include", seen=str(exc)) from exc
    for word in words:
        for path in sorted(glob.glob(str(folder / Path(word).expanduser()))):  # noqa: PTH207 - Path.glob takes no absolute patterns
            if Path(path).is_file():
                yield Path(path)
