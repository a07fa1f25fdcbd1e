"""What on a device nobody needs any more. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from edgedeploy.deploy.inventory import Inventory, Project
from edgedeploy.domain.release import owner_of

KEPT_BY_CLEAN = 1
"""How many releases `edgedeploy clean` keeps by itself: the current one. The one to go back to stays, too."""


@dataclass(frozen=True, kw_only=True)
class Waste:
    """``paths`` are named from the store's root; ``releases`` are (project, number); ``freed_bytes`` is of blobs and parts."""

    paths: tuple[str, ...]
    releases: tuple[tuple[str, int], ...]
    freed_bytes: int


def waste(seen: Inventory, *, keep: dict[str, int], parts: bool, whole_project: str = "") -> Waste:
    """What may go while nobody else uses the device: releases, blobs that no release links to, scratch folders of dead runs.

    ``keep`` says for which projects, and how many of each one's releases stay, the newest; the current and the previous one stay
    always. What a push that was killed left behind goes in every project. ``parts``: transfers that were cut, too. Of
    ``whole_project`` nothing stays, wherever it is, nor the device helper where no other project has anything there.
    """
    going = sorted({whole_project, *(name for name in seen.projects if owner_of(name) == whole_project)}) if whole_project else []
    dropped = [
        (name, number)
        for name, project in sorted(seen.projects.items())
        for number in (sorted(project.releases) if name in going else _superfluous(project, keep.get(name)))
    ]
    # The links first: at no time does `current` mean a release that is gone.
    pointers = [f"projects/{place}/{name}" for place in going for name in ("current", "previous")]
    used = {
        sha
        for name, project in seen.projects.items()
        for number, blobs in project.releases.items()
        if (name, number) not in dropped
        for sha in blobs
    }
    blobs = sorted(seen.blobs.keys() - used)
    alone = not any(project.releases for name, project in seen.projects.items() if name not in going)
    cut = sorted(name for name in seen.incoming if parts or not name.endswith(".part"))
    return Waste(
        # Releases first: at no time does one link to a blob that is gone.
        paths=(
            *pointers,
            *(f"projects/{name}/releases/{number}" for name, number in dropped),
            *(f"projects/{place}" for place in going),
            *(f"blobs/{sha}" for sha in blobs),
            *(f"incoming/{name}" for name in cut),
            *(f"tools/{name}" for name in sorted(seen.tools) if whole_project and alone),
            *(f"runs/{name}" for name in sorted(seen.runs)),
            *sorted(seen.strays),
        ),
        releases=tuple(dropped),
        freed_bytes=sum(seen.blobs[sha] for sha in blobs) + (sum(seen.parts.values()) if parts else 0),
    )


def _superfluous(project: Project, keep: int | None) -> list[int]:
    """Those left behind half made; and with ``keep``, all but the newest."""
    protected = {project.current, project.previous}
    whole = sorted(project.whole, reverse=True)
    protected.update(whole if keep is None else whole[:keep])
    return sorted(project.releases.keys() - protected)
