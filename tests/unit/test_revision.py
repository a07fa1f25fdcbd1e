"""The project at a revision of git, by git itself."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from edgedeploy.cache import Cache
from edgedeploy.errors import UsageError
from edgedeploy.revision import Origin, at_revision, origin_of, require_own_code

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")

Git = Callable[..., str]


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    root = tmp_path / "with spaces/repo"
    (root / "sub").mkdir(parents=True)
    return root


@pytest.fixture
def git(repository: Path) -> Git:
    def call(*words: str, cwd: Path = repository) -> str:
        argv = ["git", "-c", "user.name=n", "-c", "user.email=n@n", *words]
        return subprocess.run(argv, cwd=cwd, check=True, capture_output=True, text=True).stdout

    call("init", "-q")
    return call


@pytest.fixture
def project(repository: Path, git: Git) -> Path:
    file = repository / "sub/edgedeploy.toml"
    file.write_text("one")
    git("add", ".")
    git("commit", "-qm", "one")
    file.write_text("two")
    return file


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


def test_it_is_there_as_it_was_and_gone_afterwards(project: Path, git: Git, cache: Cache) -> None:
    with at_revision(project, "HEAD", cache) as file:
        assert (file.read_text(), file.parent.name) == ("one", "sub")
    assert not file.exists()
    assert len(git("worktree", "list").splitlines()) == 1


def test_two_at_once_have_a_place_each_and_the_next_one_the_first_place(project: Path, cache: Cache) -> None:
    with at_revision(project, "HEAD", cache) as first, at_revision(project, "HEAD", cache) as second:
        assert first.read_text() == second.read_text() == "one"
        assert first != second
    with at_revision(project, "HEAD", cache) as third:
        assert third == first
    assert not second.exists()


def test_what_a_killed_process_left_is_no_obstacle(project: Path, git: Git, cache: Cache) -> None:
    with at_revision(project, "HEAD", cache) as file:
        place = file.parent.parent
    git("worktree", "add", "--detach", str(place), "HEAD")
    (place / "sub/leftover").write_text("")
    with at_revision(project, "HEAD", cache) as file:
        assert file.parent.parent == place
        assert not (place / "sub/leftover").exists()
    assert len(git("worktree", "list").splitlines()) == 1


def test_inside_a_hook_of_git_the_folder_tells_which_repository_it_is(
    project: Path, repository: Path, git: Git, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_DIR", str(repository / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", ".git/index")
    with at_revision(project, "HEAD", cache) as file:
        assert file.read_text() == "one"
    assert origin_of(project, []) == Origin(changed=("sub/edgedeploy.toml",))
    monkeypatch.undo()
    assert git("status", "--porcelain") == " M sub/edgedeploy.toml\n"


def test_a_project_file_that_is_a_link_keeps_its_folder(project: Path, repository: Path, git: Git, cache: Cache) -> None:
    (repository / "other").mkdir()
    link = repository / "other/edgedeploy.toml"
    link.symlink_to("../sub/edgedeploy.toml")
    git("add", ".")
    git("commit", "-qm", "two")
    with at_revision(link, "HEAD", cache) as file:
        assert (file.read_text(), file.parent.name) == ("two", "other")


def test_code_of_the_work_tree_is_not_that_of_a_revision(project: Path, repository: Path, git: Git, cache: Cache) -> None:
    package = repository / "src/net.py"
    package.parent.mkdir()
    package.write_text("")
    (repository / "weights.bin").write_text("")
    git("add", ".")
    git("commit", "-qm", "two")
    untracked = repository / ".venv/installed.py"
    with at_revision(project, "HEAD", cache) as file:
        own = file.parent.parent / "src/net.py"
        require_own_code(project, "git:HEAD", [own, untracked, repository / "weights.bin", Path("/usr/lib/other.py")])
        with pytest.raises(UsageError, match="git:HEAD imports") as raised:
            require_own_code(project, "git:HEAD", [own, package])
    assert raised.value.seen == "src/net.py"
    assert "PYTHONPATH" in raised.value.next_step


def test_a_shallow_clone_says_so(project: Path, repository: Path, git: Git, cache: Cache, tmp_path: Path) -> None:
    old = git("rev-parse", "HEAD").strip()
    git("commit", "-qam", "two")
    git("clone", "-q", "--depth", "1", f"file://{repository}", str(tmp_path / "clone"))
    with pytest.raises(UsageError) as raised, at_revision(tmp_path / "clone/sub/edgedeploy.toml", old, cache):
        pass
    assert "--unshallow" in raised.value.next_step
    with pytest.raises(UsageError) as raised, at_revision(project, "nothing", cache):
        pass
    assert "git log" in raised.value.next_step


def test_a_folder_without_a_repository(tmp_path: Path, cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    with pytest.raises(UsageError), at_revision(tmp_path / "edgedeploy.toml", "HEAD", cache):
        pass
    assert origin_of(tmp_path / "edgedeploy.toml", []) == Origin()


def test_a_commit_has_a_project_when_it_has_all_that_was_read_wherever_in_the_repository(
    project: Path, repository: Path, git: Git
) -> None:
    code, other = repository / "src/with space.py", repository / "docs.md"
    for file in (code, other, repository / "sub/baselines/pixel8.json"):
        file.parent.mkdir(exist_ok=True)
        file.write_text("")
    git("add", ".")
    git("commit", "-qm", "two")
    commit = git("rev-parse", "HEAD").strip()
    read = [code, repository.parent / "elsewhere.bin", Path("/usr/lib/other.py")]
    assert origin_of(project, read) == Origin(commit=commit)
    other.write_text("changed")
    (repository / "sub/baselines/pixel8.json").write_text("changed")
    (repository / "sub/scribble.py").write_text("nobody read it")
    assert origin_of(project, read) == Origin(commit=commit)
    code.write_text("changed")
    assert origin_of(project, read) == Origin(changed=("src/with space.py",))
    assert origin_of(project, []) == Origin(commit=commit)
    git("add", ".")
    assert origin_of(project, read).changed == ("src/with space.py", "sub/scribble.py")  # it may be in the next commit


def test_what_git_does_not_have_is_in_no_commit_or_told(project: Path, repository: Path, git: Git) -> None:
    (repository / ".gitignore").write_text("*.pt\n")
    git("add", ".")
    git("commit", "-qm", "two")
    commit = git("rev-parse", "HEAD").strip()
    weights, forgotten = repository / "weights/net.pt", repository / "forgotten.py"
    for file in (weights, forgotten):
        file.parent.mkdir(exist_ok=True)
        file.write_text("")
    head = repository / ".git/HEAD"
    assert origin_of(project, [weights, head]) == Origin(commit=commit, unknown=("weights/net.pt",))
    assert origin_of(project, [weights, forgotten]) == Origin(changed=("forgotten.py",), unknown=("weights/net.pt",))


@pytest.fixture
def submodule(repository: Path, git: Git, tmp_path: Path) -> Path:
    """Code that two folders of the repository have as a submodule, one of them not checked out."""
    library = tmp_path / "library"
    library.mkdir()
    git("init", "-q", cwd=library)
    (library / "net.py").write_text("one")
    git("add", ".", cwd=library)
    git("commit", "-qm", "one", cwd=library)
    for name in ("lib", "unused"):
        git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(library), name)
    git("submodule", "--quiet", "deinit", "--force", "unused")
    return repository / "lib"


def test_submodules_are_there_as_they_were(project: Path, submodule: Path, git: Git, cache: Cache) -> None:
    git("add", ".")
    git("commit", "-qm", "two")
    commit, code = git("rev-parse", "HEAD").strip(), submodule / "net.py"
    assert origin_of(project, [code]) == Origin(commit=commit)
    code.write_text("two")
    assert origin_of(project, [code]) == Origin(changed=("lib",))
    assert origin_of(project, []) == Origin(commit=commit)
    git("commit", "-qam", "two", cwd=submodule)
    for _ in range(2):
        with at_revision(project, "HEAD", cache) as file:
            own = file.parent.parent / "lib/net.py"
            assert own.read_text() == "one"
            require_own_code(project, "git:HEAD", [own])
            with pytest.raises(UsageError, match="imports") as raised:
                require_own_code(project, "git:HEAD", [own, code])
            assert raised.value.seen == "lib/net.py"
        assert not own.exists()
    assert [len(git("worktree", "list", cwd=place).splitlines()) for place in (submodule, submodule.parent)] == [1, 1]


def test_a_submodule_without_its_commit_says_where_to_fetch(project: Path, submodule: Path, git: Git, cache: Cache) -> None:
    git("update-index", "--cacheinfo", f"160000,{'1' * 40},lib")
    git("commit", "-qm", "two")
    with pytest.raises(UsageError) as raised, at_revision(project, "HEAD", cache):
        pass
    assert f"git -C {submodule} fetch" in raised.value.next_step
    assert len(git("worktree", "list").splitlines()) == 1
