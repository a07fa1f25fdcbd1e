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

    With a ``helper``, that is sent too, as a push of so large a file does; and without it, for information.
    """
    file = local_file(path)
    found = Found()
    for rig in rigs:
        ours = f"first push {where}, edgedeploy over {rig.name}"
        ways: dict[str, Way] = {ours: lambda rig=rig: receive(rig, file, helper)}  # type: ignore[misc]
        if helper is not None:
            ways[f"{ours}, by the device's own tools"] = lambda rig=rig: receive(rig, file, None)  # type: ignore[misc]
        for way in rig.copies:
            ways[f"first push {where}, {way}"] = lambda rig=rig, way=way: timed(lambda: rig.copy(way, path))  # type: ignore[misc]
        found.samples |= in_turn(rounds, ways, between=rig.empty)
        rig.empty()
        ratios = []
        for way in rig.copies:
            ratio = found.ratio(f"throughput {where} over {rig.name} over that of {way}", f"first push {where}, {way}", ours)
            ratios.append(f"{ratio:.2f}× {way}")
            if helper is not None:
                plain = f"{ours}, by the device's own tools"
                found.ratio(f"{plain}, over that of {way}", f"first push {where}, {way}", plain)
        found.figures[f"{ours}, MB/s"] = file.entry.size_bytes / 1e6 / min(found.samples[ours])
        found.words.append(f"first push {where}: {', '.join(ratios)}")
    return found
