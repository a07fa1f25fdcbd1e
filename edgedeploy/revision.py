"""The project as it was at a revision of git."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from edgedeploy.cache import Cache, key_of
from edgedeploy.errors import MissingToolError, UsageError

_LIMIT_S = 600.0
_NAMED = 5  # files that are named
_SUBMODULE = "160000"  # the mode of a tree's entry
# What git tells its hooks of the repository they are called for; ours is told by the folder.
_OF_A_HOOK = {"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY"}


@contextmanager
def at_revision(project_file: Path, revision: str, cache: Cache) -> Iterator[Path]:
    """The project file as it was, in a work tree of its own that is gone afterwards.

    Its place is the same every time, by which the cache of exports knows it; another one while somebody else is there.
    Submodules that the work tree has are there, too, as they were.

    Raises:
        UsageError: there is no such revision, it has no such project, a submodule lacks its commit, or this is no repository.
        MissingToolError: git is not installed.
    """
    root = _root(project_file)
    commit = _commit(root, revision)
    with _place(cache.root / "revisions" / key_of(str(root), commit)[:16]) as folder:
        repositories: list[Path] = []
        try:
            _check_out(root, commit, folder / "tree", repositories)
            place = project_file.parent.resolve().relative_to(root.resolve()) / project_file.name
            if not (folder / "tree" / place).is_file():
                raise UsageError(f"{revision} has no such project", where=str(place))
            yield folder / "tree" / place
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            for repository in repositories:
                _git(repository, "worktree", "prune")


def _check_out(repository: Path, commit: str, folder: Path, repositories: list[Path]) -> None:
    """A commit into a work tree of its own, with its submodules; those of whom work trees were made are noted down."""
    repositories.append(repository)
    _git(repository, "worktree", "add", "--quiet", "--detach", "--force", str(folder), commit)
    for entry in _names(_git(repository, "ls-tree", "-r", "-z", "--full-tree", commit)):
        meta, _, name = entry.partition("\t")
        mode, _, pinned = meta.split()
        submodule = repository / name
        if mode == _SUBMODULE and (submodule / ".git").exists():  # what now has not got is not needed then
            next_step = f"git -C {submodule} fetch (of a shallow one: fetch --unshallow)"
            _git(submodule, "rev-parse", "--verify", "--quiet", f"{pinned}^{{commit}}", next_step=next_step)
            _check_out(submodule, pinned, folder / name, repositories)


def require_own_code(project_file: Path, revision: str, read: Iterable[Path]) -> None:
    """Whether what was exported at a revision is of that revision; ``read`` are the files that made it.

    Raises:
        UsageError: Python code of the work tree is among them: the two would be mixed, or the same.
    """
    root = _root(project_file)
    found = _known(root, [file.relative_to(root) for file in read if file.suffix == ".py" and file.is_relative_to(root)])
    if found:
        raise UsageError(
            f"{revision} imports Python code of the work tree as it is now",
            where=str(root),
            seen=", ".join(found[:_NAMED]),
            next_step="an editable install or PYTHONPATH leads there: take it away, or compare with a bundle of that revision",
        )


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """Where the files of a project are from, as far as git knows.

    ``commit`` has all of them; it is empty where none has: ``changed`` are the names of those that are not as they were, or new.
    ``unknown`` are files that were read and that git is told not to have: whoever goes back to the commit needs them, too.
    """

    commit: str = ""
    changed: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


def origin_of(project_file: Path, read: Iterable[Path]) -> Origin:
    """The commit that a project's folder is as, and whatever else of the repository was ``read`` to make its artifacts."""
    try:
        root = _root(project_file)
        place = project_file.parent.resolve()
        folder = place.relative_to(root)
        inside = [file.relative_to(root) for file in (place / project_file.name, *read) if file.is_relative_to(root)]
        mine = {str(path) for path in inside if path.parts[0] != ".git"}
        new = mine - set(_known(root, mine))
        changed = {
            name
            for name in _names(_git(root, "diff", "--name-only", "-z", "--ignore-submodules=untracked", "HEAD"))
            if _is_below(name, folder) or any(Path(one).is_relative_to(name) for one in mine)
        }
        new_to_git = set(_listed(root, new, "--others", "--exclude-standard"))
        changed |= new_to_git
        head = _git(root, "rev-parse", "HEAD")
    except (MissingToolError, UsageError):
        return Origin()
    return Origin(commit="" if changed else head, changed=tuple(sorted(changed)), unknown=tuple(sorted(new - new_to_git)))


def _is_below(name: str, folder: Path) -> bool:
    """Whether a file is in a folder, or is that; what baselines say of a project is none of it."""
    return Path(name).is_relative_to(folder) and not Path(name).is_relative_to(folder / "baselines")


def _root(project_file: Path) -> Path:
    return Path(_git(project_file.parent, "rev-parse", "--show-toplevel")).resolve()


def _known(root: Path, paths: Iterable[Path | str]) -> list[str]:
    """Those of these files that git has, in submodules too; their names from the root on."""
    return _listed(root, paths, "--recurse-submodules")


def _listed(root: Path, paths: Iterable[Path | str], *how: str) -> list[str]:
    names = [str(path) for path in paths]
    return _names(_git(root, "--literal-pathspecs", "ls-files", "-z", *how, "--", *names)) if names else []


def _names(said: str) -> list[str]:
    return [name for name in said.split("\0") if name]


@contextmanager
def _place(folder: Path) -> Iterator[Path]:
    """A folder for us alone. What a process left there that was killed is removed: only a living one has the lock."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield Path(tempfile.mkdtemp(prefix="edgedeploy-revision-"))
        else:
            shutil.rmtree(folder, ignore_errors=True)
            yield folder


def _commit(root: Path, revision: str) -> str:
    shallow = _git(root, "rev-parse", "--is-shallow-repository") == "true"
    next_step = (
        "this clone has only the latest commits: git fetch --unshallow (in CI, check out the whole history)"
        if shallow
        else "name a commit, branch or tag that `git log` shows"
    )
    return _git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}", next_step=next_step)


def _git(folder: Path, *words: str, next_step: str = "") -> str:
    program = shutil.which("git")
    if program is None:
        raise MissingToolError("git is not installed", next_step="install git, or compare with a bundle")
    env = {name: value for name, value in os.environ.items() if name not in _OF_A_HOOK}
    argv = [program, "-C", str(folder), *words]
    try:
        done = subprocess.run(argv, capture_output=True, timeout=_LIMIT_S, check=False, env=env)
    except subprocess.TimeoutExpired:
        raise UsageError(f"git {words[0]} did not end within {_LIMIT_S:g} s", where=str(folder)) from None
    if done.returncode != 0:
        raise UsageError(
            f"git cannot give {words[-1].removesuffix('^{commit}')}",
            where=str(folder),
            seen=done.stderr.decode(errors="replace").strip() or f"exit code {done.returncode}",
            next_step=next_step,
        )
    return os.fsdecode(done.stdout).removesuffix("\n")
