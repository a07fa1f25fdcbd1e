"""What is on a device's disk, found out without edgedeploy's own code: whether a release is whole, and what lies about."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath

Files = Mapping[str, str]
"""A release: the SHA-256 of every file by its path."""


@dataclass(kw_only=True)
class Autopsy:
    """``store`` is the folder seen from here; ``releases`` are those that may be current, by what they are called."""

    store: Path
    project: str
    releases: Mapping[str, Files]
    damaged: frozenset[str] = frozenset()
    problems: list[str] = field(default_factory=list)

    @property
    def _home(self) -> Path:
        return self.store / "projects" / self.project

    @cached_property
    def active(self) -> str:
        """What the current release is called; ``none`` where there is none. What is wrong with it goes to ``problems``."""
        current = self._home / "current"
        if not os.path.lexists(current):
            return "none"
        if not current.is_symlink() or not re.fullmatch(r"releases/\d+", _text(current)):
            self.problems.append("current is no link to a release")
            return "broken"
        files = self._whole(self._home / _text(current))
        for name, wanted in self.releases.items():
            if files == wanted:
                return name
        self.problems.append(f"current is {_text(current)}, and neither the old release nor the new one")
        return "broken"

    def _whole(self, release: Path) -> Files | None:
        """The files of a release whose manifest, links and blobs agree."""
        try:
            listed = {entry["path"]: entry for entry in json.loads((release / "manifest.json").read_bytes())["files"]}
        except (OSError, ValueError, KeyError, TypeError) as error:
            self.problems.append(f"{release.name}: its manifest cannot be read: {error}")
            return None
        found = {str(PurePosixPath(path.relative_to(release))) for path in _files_below(release)} - {"manifest.json"}
        if found != set(listed):
            self.problems.append(f"{release.name}: has {sorted(found ^ set(listed))} on one side only")
            return None
        files = {}
        for path, entry in listed.items():
            link = release / path
            sha = _text(link).rpartition("/blobs/")[2] if link.is_symlink() else ""
            blob = self.store / "blobs" / sha
            if sha != entry["sha256"] or not blob.is_file() or blob.is_symlink():
                self.problems.append(f"{release.name}: {path} leads nowhere, or elsewhere")
                return None
            if sha not in self.damaged and (_sha256(blob) != sha or blob.stat().st_size != entry["size_bytes"]):
                self.problems.append(f"{release.name}: {path} is not what its name says")
                return None
            files[path] = sha
        return files

    def leftovers(self) -> list[str]:
        """Everything that has no business there once a push went through."""
        home, store = self._home, self.store
        found = [f"projects/{self.project}/{name}" for name in _names(home) if name not in {"current", "previous", "releases"}]
        used = set()
        for number in _names(home / "releases"):
            files = self._whole(home / "releases" / number)
            if files is None:
                found.append(f"releases/{number}")
            else:
                used.update(files.values())
        pointers = [home / name for name in ("current", "previous") if (home / name).is_symlink()]
        found += [link.name for link in pointers if not (home / _text(link)).is_dir()]
        blobs = _names(store / "blobs")
        found += [f"blobs/{name}" for name in blobs if name not in used]
        found += [f"incoming/{name}" for name in _names(store / "incoming") if name.split(".")[0] in blobs]
        found += [f"runs/{name}" for name in _names(store / "runs")]
        tools = [store / "tools" / name for name in _names(store / "tools")]
        found += [f"tools/{tool.name}" for tool in tools if not tool.is_file() or _sha256(tool) != tool.name]
        return found + self._leases_left()

    def _leases_left(self) -> list[str]:
        folder = self.store / "leases"
        names = _names(folder)
        links = {name: _text(folder / name) for name in names if (folder / name).is_symlink()}
        free = [name for name, text in links.items() if text.split()[1:4] == ["0", "0", "-"]]
        return [f"leases/{name}" for name in names if name not in free] + ([] if len(names) <= 1 else ["more than one lease"])


def _text(link: Path) -> str:
    """What a link says. It is never followed from here: absolute ones lead into this machine."""
    return str(link.readlink())


def _names(folder: Path) -> list[str]:
    try:
        return sorted(path.name for path in folder.iterdir())
    except OSError:
        return []


def _files_below(folder: Path) -> Iterator[Path]:
    for here, folders, files in os.walk(folder):
        links = [name for name in folders if Path(here, name).is_symlink()]
        for name in (*files, *links):
            yield Path(here, name)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
