"""A new version of a file of which a part is new: what is sent, and how long that takes against sending it whole."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bundles import bundle_of, inserted, random_file, replaced
from commands import forget_chunks, push
from rigs import Rig
from series import Found, in_turn


class Versions:
    """Bundles of a file and of two new versions of it: with something inserted, and with something replaced."""

    def __init__(self, folder: Path, size_bytes: int, new_bytes: int) -> None:
        self.new_bytes = new_bytes
        self.size_bytes = size_bytes
        self.old = folder / "old"
        file = bundle_of(random_file(folder / "file", size_bytes), self.old)
        self.new = {"inserted": folder / "inserted", "replaced": folder / "replaced"}
        for make, place in zip((inserted, replaced), self.new.values(), strict=True):
            bundle_of(make(file, folder / "file", new_bytes), place)

    @property
    def allowed_bytes(self) -> int:
        """The most that may be sent: what is new, 1 % of it, and 1 MiB."""
        return self.new_bytes + self.new_bytes // 100 + (1 << 20)


def changes(rigs: Sequence[Rig], versions: Versions, rounds: int, *, where: str) -> Found:
    """Whole commands: the new version to a device that has the old one, and to a device that has nothing."""
    found = Found()
    for rig in rigs:
        for kind, bundle in versions.new.items():
            name = f"{versions.new_bytes / 1e6:g} MB of {versions.size_bytes / 1e6:g} {kind}, over {rig.name} {where}"
            sent = []

            def onto_old(rig: Rig = rig, bundle: Path = bundle, sent: list[int] = sent) -> float:
                push(versions.old, [rig])
                done = push(bundle, [rig])
                sent.append(done.sent_bytes)
                return done.seconds

            def onto_nothing(rig: Rig = rig, bundle: Path = bundle) -> float:
                return push(bundle, [rig]).seconds

            def fresh(rig: Rig = rig) -> None:
                rig.empty()
                forget_chunks()

            found.samples |= in_turn(rounds, {f"{name}, changes": onto_old, f"{name}, whole": onto_nothing}, between=fresh)
            rig.empty()
            ratio = found.ratio(f"{name}, time over that of the whole", f"{name}, changes", f"{name}, whole")
            found.figures |= {f"{name}, bytes sent, round {number}": count for number, count in enumerate(sent, 1)}
            found.figures[f"{name}, bytes allowed"] = versions.allowed_bytes
            # Where the link is quicker than the device, a whole file is sent as soon as that was measured.
            counts = " to ".join(f"{count / 1e6:.2f}" for count in dict.fromkeys((min(sent), max(sent))))
            found.words.append(f"{name}: {counts} MB sent, {ratio:.2f}× the time of the whole file")
    return found
