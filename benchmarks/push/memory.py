"""How much memory does a push take, beyond the interpreter and what is imported, for a small file and for a large one?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from bundles import bundle_of, edited, random_file
from commands import forget_chunks, push
from rigs import Rig
from series import Found

BOUND_BYTES = 64 << 20


def versions(folder: Path, size_bytes: int) -> tuple[Path, Path]:
    """Bundles of a file, and of a version with 1 % changed."""
    file = bundle_of(random_file(folder / "file", size_bytes), folder / "first")
    bundle_of(edited(file, folder / "file", size_bytes // 100), folder / "second")
    return folder / "first", folder / "second"


def memory(rigs: Sequence[Rig], by_size: Mapping[str, tuple[Path, Path]]) -> Found:
    """The peak of the whole command, first push and new version, for each file."""
    found = Found()
    for rig in rigs:
        forget_chunks()
        for size, (first, second) in by_size.items():
            for kind, bundle in (("first push", first), ("1 % changed", second)):
                name = f"peak memory over {rig.name}, {size}, {kind}, MiB"
                found.figures[name] = push(bundle, [rig], peak=True).peak_bytes / (1 << 20)
                print(f"{name}: {found.figures[name]:.1f}", flush=True)
            rig.empty()
    peaks = list(found.figures.values())
    found.words.append(f"peak memory beyond the imports' {min(peaks):.0f} to {max(peaks):.0f} MiB")
    return found
