"""What was deployed to a device once, found again in one of its releases: to be compared with what may replace it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from edgedeploy.deploy.signing import require_trust
from edgedeploy.deploy.store import Store
from edgedeploy.domain.artifact import Artifact
from edgedeploy.domain.manifest import Manifest
from edgedeploy.domain.result import Verification
from edgedeploy.errors import UsageError
from edgedeploy.stages.export import Prepared
from edgedeploy.stages.run_result import Ready

_LIST = "edgedeploy releases lists them"


class Deployed(msgspec.Struct, frozen=True, kw_only=True):
    """A release on whichever device is asked, the current one where there is no number; a recipe or an exporter may be named.

    ``any_lane``: where the release has not got the candidate's own recipe and lane, its only artifact of that model will do.
    """

    release: int | None = None
    recipe: str = ""
    exporter: str = ""
    any_lane: bool = False


def find_deployed(store: Store, project: str, wanted: Deployed, like: Ready, *, trusted: Sequence[str], device: str) -> Ready:
    """The artifact of a release that stands against ``like``: by the same recipe and lane, or the only one of that model.

    Its files are on the device and nowhere else, whole as far as their sizes tell; whoever runs it checks its digest. It is
    signed as it was there; what a bundle brought to run ``like``, signed too, runs it as well where both are of one kind.

    Raises:
        UsageError: there is no such release, or nothing in it to compare with, or it is not whole.
        SignatureError: nobody trusted vouches for it, on a device that demands it.
    """
    manifest = _manifest(store, project, wanted.release, where=f"device {device}")
    if trusted:
        require_trust(manifest, trusted, where=f"device {device}")
    folder, artifact = _match(manifest, wanted, like, where=f"device {device}")
    gone = store.missing((*artifact.files, *artifact.input_files()))
    if gone:
        raise UsageError(
            f"the {artifact.model} of that release is not whole any more",
            where=f"device {device}",
            seen=f"{len(gone)} of its files are gone",
            next_step="edgedeploy verify tells of the current release; choose another one",
        )
    run = msgspec.structs.replace(like.prepared.run, model_name=artifact.model, recipe_name=artifact.recipe, lane=artifact.lane)
    found = Ready(
        prepared=Prepared(run=run, artifact=artifact, folder="", cached=True),
        host=Verification(),
        attestations=tuple(made for made in manifest.attestations if made.place == folder),
    )
    lane, other = run.lane, like.prepared.run.lane
    if (lane.exporter, lane.backend) != (other.exporter, other.backend):
        return found
    of_the_runner = tuple(made for made in like.attestations if made.folder.startswith("runners/"))
    return msgspec.structs.replace(
        found, runner=like.runner, runner_abi=like.runner_abi, attestations=(*found.attestations, *of_the_runner)
    )


def _manifest(store: Store, project: str, number: int | None, *, where: str) -> Manifest:
    known = store.seen.projects.get(project)
    manifests = store.manifests(project) if known else {}
    chosen = number if number is not None else known.current if known else 0
    if not chosen:
        raise UsageError(
            f"nothing of {project} is deployed", where=where, next_step="push it first, or compare with git:REVISION"
        )
    if chosen not in manifests:
        seen = ", ".join(map(str, sorted(manifests))) or "none that can be read"
        raise UsageError(f"there is no release {chosen} of {project}", where=where, seen=seen, next_step=_LIST)
    return manifests[chosen]


def _match(manifest: Manifest, wanted: Deployed, like: Ready, *, where: str) -> tuple[str, Artifact]:
    run = like.prepared.run
    found = {
        folder: one
        for folder, one in manifest.artifacts.items()
        if one.model == run.model_name
        and wanted.recipe in {"", one.recipe}
        and (not wanted.exporter or one.lane.is_of(wanted.exporter))
    }
    folder = f"models/{run.folder}"
    if folder in found:
        return folder, found[folder]
    named = wanted.recipe or wanted.exporter
    if not named and any(entry.path.startswith(f"{folder}/") for entry in manifest.files):
        raise UsageError(
            f"that release does not say how {run.label} is run",
            where=where,
            seen="it was pushed by an older edgedeploy",
            next_step=f"push it again, or choose another release ({_LIST})",
        )
    if len(found) == 1 and wanted.any_lane:
        return next(iter(found.items()))
    raise UsageError(
        f"it is not clear what of that release is to be compared with {run.label}",
        where=where,
        seen=_named(manifest.artifacts) or "nothing that says how it is run",
        next_step="choose one: release@RECIPE/EXPORTER" if found else f"choose another release ({_LIST})",
    )


def _named(artifacts: Mapping[str, Artifact]) -> str:
    return ", ".join(folder.removeprefix("models/") for folder in artifacts)
