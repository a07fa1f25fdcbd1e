"""What the store on a device holds, seen in one round trip."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import msgspec

from edgedeploy.decoding import decode
from edgedeploy.deploy.device_shell import ENTER_ROOT, DeviceShell
from edgedeploy.domain.manifest import Manifest

SAFE_PATH = re.compile(r"(?!/)(?!.*(^|/)\.\.?(/|$))[^\0\n]+")
"""Paths of a manifest that stay inside of their release."""

_SECTION = "=="
_LOOK = (
    ENTER_ROOT
    + """
folders blobs incoming runs tools "projects/$2/releases"
# What was killed a week ago will not be taken up again.
find incoming runs -mindepth 1 -maxdepth 1 -mtime +6 -exec rm -rf {} + 2>/dev/null
echo "== root"; pwd -P
echo "== free"; df -k . | tail -n 1
# An empty file is a script that does nothing, unless programs may not be started here.
: > "runs/start.$$" && chmod 700 "runs/start.$$"
echo "== programs"; "./runs/start.$$" 2>/dev/null && echo yes
rm -f "runs/start.$$"
echo "== blobs"; ls -ln blobs
echo "== incoming"; ls -lnd incoming/* 2>/dev/null
echo "== runs"; ls runs
echo "== tools"; ls tools
echo "== links"; find projects -type l -exec ls -ldn {} +
echo "== manifests"; find projects -mindepth 4 -maxdepth 4 -name manifest.json
echo "== releases"; find projects -mindepth 3 -maxdepth 3 -type d
echo "== strays"; for name in projects/*/.new.* projects/*/current.* projects/*/previous.*; do
  if [ -e "$name" ] || [ -h "$name" ]; then echo "$name"; fi
done
echo "== manifest"; cat "projects/$2/current/manifest.json" 2>/dev/null
exit 0
"""
)
# -rw-r--r-- 1 2000 2000 4096 2026-11-25 12:00 name, as toybox, busybox, GNU and macOS write it with -n.
_LISTED = re.compile(r"-\S+ +\d+ +\d+ +\d+ +(\d+) .*?([^ /]+)$")
_LINK = re.compile(r"l\S+ [^/]* projects/([^/]+)/(?:releases/(\d+)/.+|(current|previous)) -> (.*)$")
_RELEASE = re.compile(r"projects/([^/]+)/releases/(\d+)(/manifest\.json)?$")
# Size, used, available, use%: the first such four, as the name before them may hold blanks, and macOS counts inodes after them.
_SPACE = re.compile(r"(?:^|\s)\d+\s+\d+\s+(\d+)\s+\d+%")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(kw_only=True)
class Project:
    """A project's releases by number, with the digests of the blobs each one links to. 0: no such release.

    ``whole`` are those that have a manifest; others are what a push that was killed left behind.
    """

    current: int = 0
    previous: int = 0
    releases: dict[int, set[str]] = field(default_factory=dict)
    whole: set[int] = field(default_factory=set)


@dataclass(frozen=True, kw_only=True)
class Inventory:
    """``root`` is absolute on the device; ``blobs`` and ``parts`` are sizes in bytes by SHA-256.

    ``strays`` are links to releases that never took the place they were made for, and what is no tool of ours.

    ``manifest`` is that of the project's current release; None if there is none that can be read.
    """

    root: str
    free_bytes: int
    runs_programs: bool
    blobs: Mapping[str, int]
    parts: Mapping[str, int]
    incoming: tuple[str, ...]
    runs: tuple[str, ...]
    tools: frozenset[str]
    projects: Mapping[str, Project]
    strays: tuple[str, ...]
    manifest: Manifest | None

    def without(self, shas: frozenset[str]) -> Inventory:
        """The same, as if these blobs and parts were not there."""
        return replace(
            self,
            blobs={sha: size for sha, size in self.blobs.items() if sha not in shas},
            parts={sha: size for sha, size in self.parts.items() if sha not in shas},
        )


def look(shell: DeviceShell, *, workdir: str, project: str) -> Inventory:
    """Make the store's folders where they are not there, and see what is in them.

    Raises:
        DeviceStorageError: the storage refuses it.
        DeviceRunError: it cannot be made.
    """
    return read(shell.run(_LOOK, workdir, project).stdout, project)


def read(said: bytes, project: str) -> Inventory:
    """What the script printed."""
    *listings, manifest = said.split(b"== manifest\n", 1)
    sections: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in listings[0].decode(errors="surrogateescape").splitlines():
        if line.startswith(f"{_SECTION} "):
            lines = sections.setdefault(line.removeprefix(f"{_SECTION} "), [])
        else:
            lines.append(line)
    parts = {name.removesuffix(".part"): size for name, size in _files(sections["incoming"]) if name.endswith(".part")}
    return Inventory(
        root=sections["root"][0],
        free_bytes=_available(sections["free"]),
        runs_programs=bool(sections["programs"]),
        blobs={name: size for name, size in _files(sections["blobs"]) if _SHA256.fullmatch(name)},
        parts={sha: size for sha, size in parts.items() if _SHA256.fullmatch(sha)},
        incoming=tuple(line.rsplit("incoming/", 1)[-1] for line in sections["incoming"]),
        runs=tuple(sections["runs"]),
        tools=frozenset(name for name in sections["tools"] if _SHA256.fullmatch(name)),
        projects=_projects(sections),
        strays=(*sections["strays"], *(f"tools/{name}" for name in sections["tools"] if not _SHA256.fullmatch(name))),
        manifest=manifest_of(manifest, project),
    )


def _files(lines: list[str]) -> Iterator[tuple[str, int]]:
    """Regular files: a link in a blob's place is none of ours."""
    for line in lines:
        if found := _LISTED.fullmatch(line):
            yield found[2], int(found[1])


def _available(lines: list[str]) -> int:
    # Not `df -P`: together with -k older toybox refuses it.
    found = _SPACE.search(lines[0]) if lines else None
    return int(found[1]) * 1024 if found else 1 << 62


def _projects(sections: Mapping[str, list[str]]) -> dict[str, Project]:
    projects: dict[str, Project] = {}

    def of(name: str) -> Project:
        return projects.setdefault(name, Project())

    for line in (*sections["releases"], *sections["manifests"]):
        if found := _RELEASE.fullmatch(line):
            of(found[1]).releases.setdefault(int(found[2]), set())
            if found[3]:
                of(found[1]).whole.add(int(found[2]))
    for line in sections["links"]:
        found = _LINK.fullmatch(line)
        if found is None:
            continue
        name, number, pointer, target = found.groups()
        last = target.rsplit("/", 1)[-1]
        if pointer and last.isdigit():
            setattr(of(name), pointer, int(last))
        elif number:
            of(name).releases.setdefault(int(number), set()).add(last)
    return projects


def manifest_of(content: bytes, project: str) -> Manifest | None:
    """None where it is damaged, was tampered with, or comes from another version: the next push writes a good one."""
    try:
        manifest = decode(content, Manifest)
    except msgspec.DecodeError:
        return None
    sound = manifest.project == project and all(
        SAFE_PATH.fullmatch(entry.path) and _SHA256.fullmatch(entry.sha256) for entry in manifest.files
    )
    return manifest if sound else None
