"""The project as it was at a revision of git."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgedeploy.cache import Cache, key_of
from edgedeploy.errors import MissingToolError, UsageError

_LIMIT_S = 600.0


@contextmanager
def at_revision(project_file: Path, revision: str, cache: Cache) -> Iterator[Path]:
    """The project file as it was, in a work tree of its own that is gone afterwards.

    Its place is the same every time, by which the cache of exports knows it; another one while somebody else is there.

    Raises:
        UsageError: there is no such revision, it has no such project, or this is no repository.
        MissingToolError: git is not installed.
    """
    root = Path(_git(project_file.parent, "rev-parse", "--show-toplevel"))
    commit = _git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    folder = cache.root / "revisions" / key_of(str(root), commit)[:16]
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        folder = Path(tempfile.mkdtemp(prefix="edgedeploy-revision-"))
    try:
        _git(root, "worktree", "add", "--quiet", "--detach", "--force", str(folder / "tree"), commit)
        place = project_file.resolve().relative_to(root.resolve())
        if not (folder / "tree" / place).is_file():
            raise UsageError(f"{revision} has no such project", where=str(place))
        yield folder / "tree" / place
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        _git(root, "worktree", "prune")


def revision_of(project_file: Path) -> str:
    """The commit whose files the project's folder has, as far as git knows them; empty where it has changes, or no git."""
    folder = project_file.parent
    try:
        changed = _git(folder, "status", "--porcelain", "--untracked-files=no", "--", ".", ":!baselines")
        return "" if changed else _git(folder, "rev-parse", "HEAD")
    except (MissingToolError, UsageError):
        return ""


def _git(folder: Path, *words: str) -> str:
    program = shutil.which("git")
    if program is None:
        raise MissingToolError("git is not installed", next_step="install git, or compare with a bundle")
    done = subprocess.run([program, "-C", str(folder), *words], capture_output=True, timeout=_LIMIT_S, check=False, text=True)
    if done.returncode != 0:
        raise UsageError(
            f"git cannot give {words[-1].removesuffix('^{commit}')}",
            where=str(folder),
            seen=done.stderr.strip() or f"exit code {done.returncode}",
            next_step="name a commit, branch or tag that `git log` shows",
        )
    return done.stdout.strip()
