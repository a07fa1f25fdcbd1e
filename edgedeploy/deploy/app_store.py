"""The store on a device without a shell: plain copies into the folder of our app, which hashes and removes.

Unverified on hardware: no phone was at hand.

::

    blobs/<sha256>                            one copy each; complete by its size, verified by the app
    projects/<name>/releases/<n>/manifest.json    which blobs make the release; the app lays them out when it runs them
    projects/<name>/current/<k>-<n>-<m>       release n is current, and m was before; the highest k counts
    runs/                                     emptied by the app whenever it starts

A file cannot be replaced in one step there, so none is that matters: a release becomes current by one more file, whose *name*
says so. It is there or it is not, wherever a cable was pulled.
"""

from __future__ import annotations

import re
import secrets
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from edgedeploy.deploy.feed import file_feed
from edgedeploy.deploy.inventory import Inventory, Project, manifest_of
from edgedeploy.deploy.store import Received, ReleaseMovedError, Store, same_release
from edgedeploy.domain.manifest import Manifest
from edgedeploy.domain.release import FileEntry, LocalFile
from edgedeploy.errors import DeviceRunError
from edgedeploy.ports import APP_FOLDER, RUNNER_APP, AppConnection, ByteProgress
from edgedeploy.runners.app_document import AppDocument
from edgedeploy.runners.document import parse_document

_BLOB = re.compile(r"blobs/([0-9a-f]{64})")
_MANIFEST = re.compile(r"projects/([^/]+)/releases/(\d+)/manifest\.json")
_SWITCH = re.compile(r"projects/([^/]+)/current/(\d+)-(\d+)-(\d+)")
_SWITCHES_KEPT = 8  # so that not every push has one to remove
_START_LIMIT_S = 60.0
_HASH_BYTES_PER_S = 100e6  # by a tenth of what a phone's processor does
_AT_ONCE = 50  # names in one start of the app


class AppStore(Store):
    """As :class:`edgedeploy.deploy.store.Store`. Files are sent whole; there is no device helper, and none is needed."""

    def __init__(self, connection: AppConnection, *, device: str, project: str) -> None:
        self._app = connection
        self._known: dict[tuple[str, int], Manifest | None] = {}
        self._switch = 0
        super().__init__(connection, device=device, workdir=APP_FOLDER, project=project)

    def _look(self) -> Inventory:
        facts = self._ask("--facts").device
        names, projects, switches = self._listed()
        for name, project in projects.items():
            for number in project.whole:
                manifest = self._manifest(name, number)
                project.releases[number] = {entry.sha256 for entry in manifest.files} if manifest else set()
        own = projects.get(self._project) or Project()
        old = [path for found in switches.values() for _, path in found[:-_SWITCHES_KEPT]]
        return Inventory(
            root=APP_FOLDER,
            free_bytes=facts.storage_free_bytes,
            runs_programs=False,
            blobs={found[1]: size for name, size in names.items() if (found := _BLOB.fullmatch(name))},
            parts={},
            incoming=(),
            runs=(),
            tools=frozenset(),
            projects=projects,
            strays=tuple(old),
            manifest=self._manifest(self._project, own.current) if own.current in own.whole else None,
        )

    def damaged(self, entries: Iterable[FileEntry], *, remove: bool = False) -> frozenset[str]:
        """Have the app hash these blobs; the SHA-256 of those that are not what their name says."""
        found: set[str] = set()
        sizes = {entry.sha256: entry.size_bytes for entry in entries}
        for some in _portions(sorted(sizes)):
            words = [word for sha in some for word in ("--check", f"{APP_FOLDER}/blobs/{sha}")]
            limit_s = _START_LIMIT_S + sum(sizes[sha] for sha in some) / _HASH_BYTES_PER_S
            found |= set(self._ask(*words, limit_s=limit_s).damaged)
        if remove:
            self.remove(f"blobs/{sha}" for sha in sorted(found))
        return frozenset(found)

    def receive(self, file: LocalFile, *, progress: ByteProgress, saved: ByteProgress = lambda _count: None) -> Received:  # noqa: ARG002
        """Send one file, whole."""
        self._changed = True
        self._arrived.add(file.entry.sha256)
        with file_feed(Path(file.local)) as feed:
            self._app.put(feed, f"{self.root}/blobs/{file.entry.sha256}", size_bytes=file.entry.size_bytes, progress=progress)
        return Received(resumed_from=0)

    def receive_small(self, files: Sequence[LocalFile], *, progress: ByteProgress) -> frozenset[str]:  # noqa: ARG002
        """Nothing: an archive could not be unpacked there."""
        return frozenset()

    def use_installed_helper(self) -> bool:
        """The app hashes."""
        return True

    def activate(self, manifest: Manifest) -> int:
        """Make a release of blobs that the app has verified, and switch to it; returns its number.

        Raises:
            ReleaseMovedError: somebody else switched since the store was opened.
            DeviceRunError: a blob is gone, or arrived as another one.
        """
        self._refuse_unsafe_paths(manifest)
        if same_release(manifest, self.seen.manifest):
            return self.project.current
        self._changed = True
        names, projects, _ = self._listed()
        self._require_unmoved(projects)
        sizes = {entry.sha256: entry for entry in manifest.files}
        gone = [sha for sha, entry in sizes.items() if names.get(f"blobs/{sha}") != entry.size_bytes]
        # What a whole release consists of was verified when that one was made.
        verified = {sha for project in self.seen.projects.values() for shas in project.releases.values() for sha in shas}
        fresh = [entry for sha, entry in sizes.items() if sha not in verified - self._arrived]
        wrong = gone or sorted(self.damaged(fresh, remove=True))
        if wrong:
            raise DeviceRunError(
                "a file did not arrive as it was sent" if not gone else "a file is not on the device",
                where=f"device {self._device}",
                seen=sizes[wrong[0]].path,
                next_step="push again",
            )
        number = max(projects.get(self._project, Project()).releases, default=0) + 1
        self._write(f"projects/{self._project}/releases/{number}/manifest.json", msgspec.json.encode(manifest))
        self._switch_to(number)
        return number

    def roll_back(self, to: int | None = None) -> int:
        """Switch to release ``to``, or to the one that was current before; see :meth:`Store.roll_back`."""
        number = self.way_back(to)
        if number != self.project.current:
            self._require_unmoved(self._listed()[1])
            self._switch_to(number)
        return number

    def manifests(self, project: str = "") -> dict[int, Manifest]:
        """What a project's releases say of themselves; those whose manifest cannot be read are left out."""
        project = project or self._project
        numbers = sorted(self.seen.projects[project].whole) if project in self.seen.projects else []
        found = {number: self._manifest(project, number) for number in numbers}
        return {number: manifest for number, manifest in found.items() if manifest is not None}

    def remove(self, paths: Iterable[str]) -> None:
        """Have the app remove files and folders, named from the store's root."""
        for some in _portions(list(paths)):
            self._ask(*[word for path in some for word in ("--remove", f"{APP_FOLDER}/{path}")])

    def broken_links(self, manifest: Manifest) -> frozenset[str]:  # noqa: ARG002
        """None: a release has no links there."""
        return frozenset()

    @contextmanager
    def scratch(self) -> Iterator[str]:
        """A name for a folder that the app makes, and removes when it starts for something else."""
        yield f"{self.root}/runs/{secrets.token_hex(8)}"

    def _listed(self) -> tuple[dict[str, int], dict[str, Project], dict[str, list[tuple[int, str]]]]:
        """What is there: files by their names from the store's root, projects, and each one's switches, oldest first."""
        prefix = f"{APP_FOLDER}/"
        names = {path.removeprefix(prefix): size for path, size in self._app.files().items() if path.startswith(prefix)}
        projects: dict[str, Project] = {}
        switches: dict[str, list[tuple[int, str]]] = {}
        for name in names:
            if found := _MANIFEST.fullmatch(name):
                project = projects.setdefault(found[1], Project())
                project.releases[int(found[2])] = set()
                project.whole.add(int(found[2]))
            elif found := _SWITCH.fullmatch(name):
                switches.setdefault(found[1], []).append((int(found[2]), name))
        for name, made in switches.items():
            made.sort()
            _, current, previous = made[-1][1].rpartition("/")[2].split("-")
            project = projects.setdefault(name, Project())
            project.current, project.previous = int(current), int(previous)
        self._switch = switches[self._project][-1][0] if self._project in switches else 0
        return names, projects, switches

    def _require_unmoved(self, projects: dict[str, Project]) -> None:
        if projects.get(self._project, Project()).current != self.project.current:
            raise ReleaseMovedError(
                "another push switched the release meanwhile", where=f"device {self._device}", next_step="push again"
            )

    def _switch_to(self, number: int) -> None:
        name = f"{self._switch + 1}-{number}-{self.project.current}"
        self._write(f"projects/{self._project}/current/{name}", name.encode())

    def _manifest(self, project: str, number: int) -> Manifest | None:
        """Fetched once: a release does not change."""
        if (project, number) not in self._known:
            with tempfile.TemporaryDirectory(prefix="edgedeploy-") as folder:
                file = Path(folder) / "manifest.json"
                self._app.fetch(f"{APP_FOLDER}/projects/{project}/releases/{number}/manifest.json", file)
                self._known[project, number] = manifest_of(file.read_bytes(), project)
        return self._known[project, number]

    def _write(self, path: str, content: bytes) -> None:
        with tempfile.TemporaryDirectory(prefix="edgedeploy-") as folder:
            file = Path(folder) / "content"
            file.write_bytes(content)
            with file_feed(file) as feed:
                self._app.put(feed, f"{self.root}/{path}", size_bytes=len(content), progress=lambda _count: None)

    def _ask(self, *words: str, limit_s: float = _START_LIMIT_S) -> AppDocument:
        done = self._app.run([RUNNER_APP, *words], timeout_s=limit_s)
        where = f"device {self._device}: {RUNNER_APP} {words[0]}"
        return parse_document(done.stdout, exit_code=done.exit_code, stderr=done.stderr, where=where, kind=AppDocument)


def _portions(names: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(names), _AT_ONCE):
        yield names[start : start + _AT_ONCE]
