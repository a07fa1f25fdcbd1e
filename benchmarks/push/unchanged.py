"""A file that was touched and not changed: is anything sent, and how soon is it known?"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from bundles import artifact_of
from commands import push
from rigs import Rig
from series import Found, Way, in_turn, timed


def unchanged(rigs: Sequence[Rig], bundle: Path, rounds: int) -> Found:
    """``edgedeploy push`` of a bundle that is there, against the others' commands for the same."""
    file = artifact_of(bundle)
    found = Found()
    for rig in rigs:
        ours = f"unchanged, edgedeploy push over {rig.name}"
        sent = 0

        def again(rig: Rig = rig) -> float:
            nonlocal sent
            done = push(bundle, [rig])
            sent += done.sent_bytes
            return done.seconds

        ways: dict[str, Way] = {ours: again, **{f"unchanged, {way}": _theirs(rig, way, file) for way in rig.syncs}}
        for way in rig.syncs:
            rig.copy(way, file)
        push(bundle, [rig])
        sent = 0
        found.samples |= in_turn(rounds, ways, between=partial(_touch, file))
        found.figures |= {f"{ours}, s": min(found.samples[ours]), f"{ours}, slowest s": max(found.samples[ours])}
        found.figures[f"{ours}, bytes sent"] = sent
        ratios = [f"{found.ratio(f'{ours} over {way}', ours, f'unchanged, {way}'):.2f}× `{way}`" for way in rig.syncs]
        words = f"unchanged file over {rig.name}: {sent} bytes in {sorted(found.samples[ours])[rounds // 2]:.2f} s"
        found.words.append(", ".join([words, *ratios]))
        rig.empty()
    return found


def _touch(file: Path) -> None:
    """Give the file another time, in whole seconds too: adb compares no finer."""
    later = int(file.stat().st_mtime) + 2
    os.utime(file, (later, later))


def _theirs(rig: Rig, way: str, file: Path) -> Way:
    return lambda: timed(lambda: rig.copy(way, file))
