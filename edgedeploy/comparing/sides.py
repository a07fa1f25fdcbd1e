"""What a side of a comparison means, and who is compared with whom.

A side is the project as it is (``now``), as it was at a git revision (``git:REV``), what its baselines say (``baseline``), what a
release on the device has (``release``, ``release:N``), or a bundle's folder. A recipe, and an exporter, may follow: ``now@int8``,
``git:main@int8/tflite``.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from edgedeploy.bundle import BUNDLE_FILE
from edgedeploy.domain.events import Note, Sink
from edgedeploy.errors import UsageError
from edgedeploy.stages.deployed import Deployed
from edgedeploy.stages.plan import PlannedRun
from edgedeploy.stages.ring import Opponents
from edgedeploy.stages.run_result import Ready

_FORMS = "now, git:REVISION, baseline, release, release:NUMBER, or the folder of a bundle; @RECIPE or @RECIPE/EXPORTER may follow"
_RELEASE = re.compile(r"release(?::([1-9][0-9]{0,8}))?")
# Anything else behind an @ belongs to the revision: HEAD@{1}, @~2.
_CHOSEN = re.compile(r"[a-z0-9][a-z0-9._-]*(/[a-z0-9-]*)?")


class SideOf(msgspec.Struct, frozen=True, kw_only=True):
    """What a side of a comparison means.

    ``place`` is the revision, the release's number (empty: the current one), or the folder.
    """

    text: str
    kind: Literal["now", "git", "baseline", "release", "bundle"]
    place: str = ""
    recipe: str = ""
    exporter: str = ""

    def wants(self, run: PlannedRun) -> bool:
        """Whether a run is of the recipe and the exporter that were named."""
        return self.recipe in {"", run.recipe_name} and (not self.exporter or run.lane.is_of(self.exporter))


def parse_side(text: str) -> SideOf:
    """Read a side as the user writes it.

    Raises:
        UsageError: it is none.
    """
    rest, at, chosen = text.rpartition("@")
    if not (at and _CHOSEN.fullmatch(chosen)) or Path(text, BUNDLE_FILE).is_file():
        rest, chosen = text, ""
    recipe, _, exporter = chosen.partition("/")
    rest = rest or "now"
    if rest in {"now", "baseline"}:
        return SideOf(text=text, kind="now" if rest == "now" else "baseline", recipe=recipe, exporter=exporter)
    if rest.startswith("git:") and len(rest) > len("git:"):
        return SideOf(text=text, kind="git", place=rest.removeprefix("git:"), recipe=recipe, exporter=exporter)
    if released := _RELEASE.fullmatch(rest):
        return SideOf(text=text, kind="release", place=released[1] or "", recipe=recipe, exporter=exporter)
    if Path(rest, BUNDLE_FILE).is_file():
        return SideOf(text=text, kind="bundle", place=rest, recipe=recipe, exporter=exporter)
    raise UsageError(f"{text!r} is nothing that can be compared", next_step=f"give {_FORMS}")


def match(base: Sequence[Ready], candidate: Sequence[Ready], sides: tuple[SideOf, SideOf]) -> tuple[Opponents, ...]:
    """Who is compared with whom: two that are alone; those of the same model, recipe and lane; or the only ones of a model.

    Raises:
        UsageError: nothing fits.
    """
    if len(base) == len(candidate) == 1:
        found = [(base[0], candidate[0])]
    else:
        found = _alike(base, candidate, lambda run: run.folder) or _alike(base, candidate, lambda run: run.model_name)
    if not found:
        has = [", ".join(item.prepared.run.folder for item in side) or "nothing" for side in (base, candidate)]
        raise UsageError(
            "it is not clear what is to be compared with what",
            seen=f"{sides[0].text}: {has[0]}; {sides[1].text}: {has[1]}",
            next_step="choose one of each: --model NAME, and @RECIPE/EXPORTER behind a side",
        )
    return tuple(
        Opponents(base=one, candidate=other, base_origin=sides[0].text, candidate_origin=sides[1].text) for one, other in found
    )


def against_release(candidates: Sequence[Ready], sides: tuple[SideOf, SideOf]) -> tuple[Opponents, ...]:
    """Each candidate against what each device has in a release; of several of a model, each against its own recipe and lane."""
    base = sides[0]
    number = int(base.place) if base.place else None
    count = Counter(item.prepared.run.model_name for item in candidates)

    def deployed(item: Ready) -> Deployed:
        alone = count[item.prepared.run.model_name] == 1
        named = bool(base.recipe or base.exporter)
        return Deployed(release=number, recipe=base.recipe, exporter=base.exporter, any_lane=alone or named)

    return tuple(
        Opponents(base=deployed(item), candidate=item, base_origin=base.text, candidate_origin=sides[1].text)
        for item in candidates
    )


def require_no_release(candidate: SideOf) -> None:
    """Refuse a release as the second side.

    Raises:
        UsageError: it is one.
    """
    if candidate.kind == "release":
        raise UsageError("a release is what is compared with", next_step=f"edgedeploy compare {candidate.text} CANDIDATE")


def warn_of_same(opponents: Sequence[Opponents], sink: Sink) -> None:
    """Say of which both sides are the same file."""
    for pair in opponents:
        if isinstance(pair.base, Ready) and pair.base.prepared.artifact.sha256 == pair.candidate.prepared.artifact.sha256:
            sink(Note(text=f"{pair.candidate.prepared.run.label}: both sides are the same file", level="warning"))


def _alike(base: Sequence[Ready], candidate: Sequence[Ready], key: Callable[[PlannedRun], str]) -> list[tuple[Ready, Ready]]:
    """Those of both sides with the same key; none where one side has two of the same."""
    mine, others = ({key(item.prepared.run): item for item in side} for side in (base, candidate))
    if len(mine) < len(base) or len(others) < len(candidate):
        return []
    return [(item, others[name]) for name, item in mine.items() if name in others]
