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

from edgedeploy.cache import Cache, key_of
from edgedeploy.errors import MissingToolError, UsageError

_LIMIT_S = 600.0
_NAMED = 5  # files that are named
# What git tells its hooks of the repository they are called for; ours is told by the folder.
_OF_A_HOOK = {"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY"}


@contextmanager
def at_revision(project_file: Path, revision: str, cache: Cache) -> Iterator[Path]:
    """The project file as it was, in a work tree of its own that is gone afterwards.

    Its place is the same every time, by which the cache of exports knows it; another one while somebody else is there.

    Raises:
        UsageError: there is no such revision, it has no such project, or this is no repository.
        MissingToolError: git is not installed.
    """
    root = Path(_git(project_file.parent, "rev-parse", "--show-toplevel"))
    commit = _commit(root, revision)
    with _place(cache.root / "revisions" / key_of(str(root), commit)[:16]) as folder:
        try:
            _git(root, "worktree", "add", "--quiet", "--detach", "--force", str(folder / "tree"), commit)
            place = project_file.parent.resolve().relative_to(root.resolve()) / project_file.name
            if not (folder / "tree" / place).is_file():
                raise UsageError(f"{revision} has no such project", where=str(place))
            yield folder / "tree" / place
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            _git(root, "worktree", "prune")


def require_own_code(project_file: Path, revision: str, read: Iterable[Path]) -> None:
    """Whether what was exported at a revision is of that revision; ``read`` are the files that made it.

    Raises:
        UsageError: Python code of the work tree is among them: the two would be mixed, or the same.
    """
    root = Path(_git(project_file.parent, "rev-parse", "--show-toplevel"))
    code = [str(file) for file in read if file.suffix == ".py" and file.is_relative_to(root)]
    found = _git(root, "--literal-pathspecs", "ls-files", "-z", "--", *code).split("\0") if code else [""]
    if found[0]:
        raise UsageError(
            f"{revision} imports Python code of the work tree as it is now",
            where=str(root),
            seen=", ".join(found[:_NAMED]).rstrip(", "),
            next_step="an editable install or PYTHONPATH leads there: take it away, or compare with a bundle of that revision",
        )


def revision_of(project_file: Path) -> str:
    """The commit whose files the project's folder has, as far as git knows them; empty where it has changes, or no git."""
    folder = project_file.parent
    try:
        changed = _git(folder, "status", "--porcelain", "--untracked-files=no", "--", ".", ":!baselines")
        return "" if changed else _git(folder, "rev-parse", "HEAD")
    except (MissingToolError, UsageError):
        return ""


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
