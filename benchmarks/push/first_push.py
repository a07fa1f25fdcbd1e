"""A file that the device has not got: throughput against the programs that everybody has."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from commands import local_file, receive
from rigs import Rig
from series import Found, Way, in_turn, timed

from edgedeploy.domain.release import LocalFile


def first_push(rigs: Sequence[Rig], path: Path, helper: LocalFile | None, rounds: int, *, where: str) -> Found:
    """Throughput of the store, verification on the device included, as a multiple of each of the others'.

    With a ``helper``, that is sent too, as a push of so large a file does. Then, for information, also without it, and
    against the others followed by the device's ``sha256sum``.
    """
    file = local_file(path)
    found = Found()
    for rig in rigs:
        ours = f"first push {where}, edgedeploy over {rig.name}"
        ways = {ours: _ours(rig, file, helper), **{_series(where, way): _theirs(rig, way, path) for way in rig.copies}}
        if helper is not None:
            ways[f"{ours}, by the device's own tools"] = _ours(rig, file, None)
            ways |= {f"{_series(where, way)}, sha256sum": _theirs(rig, way, path, hashed=True) for way in rig.copies}
        found.samples |= in_turn(rounds, ways, between=rig.empty)
        rig.empty()
        ratios = []
        for name in ways:
            if name != ours:
                ratio = found.ratio(f"throughput, {ours} over {name}", name, ours)
                ratios += [f"{ratio:.2f}× {way}" for way in rig.copies if name == _series(where, way)]
        found.figures[f"{ours}, MB/s"] = file.entry.size_bytes / 1e6 / min(found.samples[ours])
        found.words.append(f"throughput of a first push {where} {', '.join(ratios)}")
    return found


def _series(where: str, way: str) -> str:
    return f"first push {where}, {way}"


def _ours(rig: Rig, file: LocalFile, helper: LocalFile | None) -> Way:
    return lambda: receive(rig, file, helper)


def _theirs(rig: Rig, way: str, path: Path, *, hashed: bool = False) -> Way:
    return lambda: timed(lambda: (rig.copy_and_hash if hashed else rig.copy)(way, path))
