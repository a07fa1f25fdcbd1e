"""Files of random content, changed versions of them, and bundles that hold one such file as their artifact."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import msgspec
from paths import HERE
from unit.stages.planned import planned, prepared, runner

from edgedeploy.bundle import BUNDLE_FILE, Bundle, write_bundle
from edgedeploy.config.targets import read_target
from edgedeploy.deploy.digest import file_sha256
from edgedeploy.domain.artifact import ARTIFACT_FILE
from edgedeploy.domain.release import FileEntry
from edgedeploy.domain.result import Verification
from edgedeploy.domain.target import Target
from edgedeploy.stages.run_result import Ready

MB = 10**6
_PIECE_BYTES = 1 << 20
_EDITS = 10


def random_file(path: Path, size_bytes: int) -> Path:
    """Content that no chunk of occurs twice, and that nothing compresses."""
    path.unlink(missing_ok=True)
    _append_random(path, size_bytes)
    return path


def inserted(old: Path, new: Path, size_bytes: int) -> Path:
    """A version with ``size_bytes`` more in its middle, everything behind them moved."""
    middle = old.stat().st_size // 2 // 8 * 8
    new.unlink(missing_ok=True)
    _append_from(old, new, 0, middle)
    _append_random(new, size_bytes)
    _append_from(old, new, middle, old.stat().st_size - middle)
    return new


def replaced(old: Path, new: Path, size_bytes: int) -> Path:
    """A version with ``size_bytes`` in its middle replaced, as one layer's weights."""
    return _overwritten(old, new, size_bytes, edits=1)


def edited(old: Path, new: Path, size_bytes: int) -> Path:
    """A version with ``size_bytes`` replaced, in several places."""
    return _overwritten(old, new, size_bytes, edits=_EDITS)


def bundle_of(file: Path, folder: Path) -> Path:
    """Write a bundle for the stand-in board with ``file``, which moves into it; the artifact's own path comes back."""
    work = folder.with_name(f"{folder.name}.work")
    made = prepared(work, planned())
    model = work / made.artifact.entry
    file.replace(model)
    entry = FileEntry(path=made.artifact.entry, sha256=file_sha256(model), size_bytes=model.stat().st_size)
    artifact = msgspec.structs.replace(made.artifact, sha256=entry.sha256, size_bytes=entry.size_bytes, files=(entry,))
    (work / ARTIFACT_FILE).write_bytes(msgspec.json.encode(artifact))
    target = target_of("bench-board")
    item = Ready(
        prepared=msgspec.structs.replace(made, artifact=artifact),
        host=Verification(),
        runner=runner(work / "runner"),
        runner_abi=target.abi,
    )
    write_bundle(folder, "bench", target, [item])
    shutil.rmtree(work)
    return artifact_of(folder)


def artifact_of(bundle: Path) -> Path:
    """The large file in a bundle."""
    (model,) = bundle.rglob("model.pte")
    return model


def for_target(bundle: Path, name: str) -> Path:
    """The same bundle for another target, beside it; its large file is the same file."""
    folder = bundle.with_name(f"{bundle.name}-{name}")
    if not folder.exists():
        shutil.copytree(bundle, folder, copy_function=os.link)
        file = folder / BUNDLE_FILE
        content = msgspec.json.decode(file.read_bytes(), type=Bundle)
        file.unlink()
        file.write_bytes(msgspec.json.encode(msgspec.structs.replace(content, target=target_of(name))))
    return folder


def target_of(name: str) -> Target:
    """A target of this benchmark."""
    return read_target(HERE / "targets" / f"{name}.toml")


def _overwritten(old: Path, new: Path, size_bytes: int, *, edits: int) -> Path:
    shutil.copyfile(old, new)
    total, piece = old.stat().st_size, size_bytes // edits
    with new.open("r+b") as sink:
        for number in range(edits):
            sink.seek((2 * number + 1) * total // (2 * edits) // 8 * 8)
            sink.write(os.urandom(piece))
    return new


def _append_random(path: Path, size_bytes: int) -> None:
    with path.open("ab") as sink:
        for start in range(0, size_bytes, _PIECE_BYTES):
            sink.write(os.urandom(min(_PIECE_BYTES, size_bytes - start)))


def _append_from(source: Path, path: Path, offset: int, size_bytes: int) -> None:
    with source.open("rb") as content, path.open("ab") as sink:
        content.seek(offset)
        while size_bytes > 0:
            piece = content.read(min(_PIECE_BYTES, size_bytes))
            sink.write(piece)
            size_bytes -= len(piece)
