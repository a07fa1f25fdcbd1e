"""A new project's files, from ``templates/project``."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path

import msgspec

from edgedeploy.decoding import convert
from edgedeploy.domain.target import Name
from edgedeploy.errors import UsageError
from edgedeploy.shipped import shipped

# Where each template goes. The names of templates have no leading dots: packaging tools like to leave such files out.
# The project file comes last: when it is there, everything is.
_FILES = {
    "model.py": "model.py",
    "edgedeploy.mk": "edgedeploy.mk",
    "github/workflows/edgedeploy.yml": ".github/workflows/edgedeploy.yml",
    "lab.toml.example": "lab.toml.example",
    "edgedeploy.toml": "edgedeploy.toml",
}
_IGNORE_FILE = ".gitignore"
_PLACEHOLDER = "@PROJECT@"


def scaffold(folder: Path, *, name: str = "", force: bool = False) -> tuple[Path, ...]:
    """Write a project into ``folder`` (made when it is not there) and return the files written, sorted.

    ``name`` is the project's; by default that of the folder, made fit. A ``.gitignore`` that is there is only added to.

    Raises:
        UsageError: a file is there already and ``force`` is not given (all of them are named, nothing is written), the
            name is not a project name, or the folder cannot be written.
    """
    folder = folder.expanduser().absolute()
    name = project_name(name, folder)
    sources = shipped("templates") / "project"
    contents = {
        folder / place: (sources / template).read_text(encoding="utf-8").replace(_PLACEHOLDER, name)
        for template, place in _FILES.items()
    }
    existing = [file for file in contents if os.path.lexists(file)]
    if existing and not force:
        raise UsageError(
            "these files are there already",
            where=str(folder),
            seen=", ".join(str(file.relative_to(folder)) for file in sorted(existing)),
            next_step="choose another folder, or overwrite them with --force",
        )
    try:
        ignored = _ignore_lines(folder / _IGNORE_FILE, (sources / "gitignore").read_text(encoding="utf-8"))
        if ignored is not None:
            contents = {folder / _IGNORE_FILE: ignored, **contents}
        _write_all(contents)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            "the project cannot be written",
            where=str(folder),
            seen=str(error),
            next_step="choose a folder that you may write to",
        ) from error
    return tuple(sorted(contents))


def project_name(given: str, folder: Path) -> str:
    """The name asked for, or that of the folder in lower case with ``-`` for what names may not hold.

    Raises:
        UsageError: the name given is not allowed, or nothing of the folder's name is left.
    """
    name = given or re.sub(r"[^a-z0-9._-]+", "-", folder.name.lower()).lstrip("._-").rstrip("-")
    try:
        return convert(name, Name)
    except msgspec.ValidationError as error:
        raise UsageError(
            f"{given!r} is no project name" if given else "the folder's name makes no project name",
            where="--name" if given else str(folder),
            next_step="give --name with lower case letters, digits, '.', '_' and '-', a letter or digit first",
        ) from error


def _ignore_lines(file: Path, wanted: str) -> str | None:
    """What the ignore file is to hold; None when nothing is missing."""
    if not file.exists():
        return wanted
    present = file.read_text(encoding="utf-8")
    have = {line.strip() for line in present.splitlines()}
    missing = [line for line in wanted.splitlines() if line.strip() not in have]
    if all(line.startswith("#") for line in missing):
        return None
    separator = "" if not present or present.endswith("\n") else "\n"
    return present + separator + "\n".join(missing) + "\n"


def _write_all(contents: dict[Path, str]) -> None:
    """Write every file beside its place first; only when all are whole are they renamed, in order."""
    pending: list[tuple[Path, Path]] = []
    try:
        for place, text in contents.items():
            place.parent.mkdir(parents=True, exist_ok=True)
            # Symbolic links are followed: a .gitignore that links elsewhere stays a link.
            real = place.resolve()
            descriptor, name = tempfile.mkstemp(dir=real.parent, prefix=f".{real.name}.")
            pending.append((Path(name), real))
            with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as file:
                file.write(text)
            Path(name).chmod(real.stat().st_mode & 0o777 if real.exists() else 0o666 & ~_umask())
        while pending:
            temporary, real = pending[0]
            temporary.replace(real)
            pending.pop(0)
    finally:
        for temporary, _ in pending:
            temporary.unlink(missing_ok=True)


def _umask() -> int:
    # There is no other way to read it.
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
