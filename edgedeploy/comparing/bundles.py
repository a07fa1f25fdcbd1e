"""A bundle as a side, and two of them, or one and a release, where there is no project at all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgedeploy import __version__
from edgedeploy.bundle import describe_bundle, read_bundle
from edgedeploy.cache import Cache
from edgedeploy.comparing.keeping import kept
from edgedeploy.comparing.sides import SideOf, against_release, match, warn_of_same
from edgedeploy.domain.contest import CompareReport
from edgedeploy.domain.events import Sink, ignore
from edgedeploy.domain.project import DEFAULT_PATIENCE, Patience
from edgedeploy.errors import UsageError
from edgedeploy.pipeline import bundle_fleet, bundle_results
from edgedeploy.stages.contest import contest
from edgedeploy.stages.fight import Rules
from edgedeploy.stages.run_result import Ready


def of_bundle(side: SideOf, target: str, models: Sequence[str], cache: Cache) -> tuple[Ready, ...]:
    """What of a bundle is wanted; every file was checked.

    Raises:
        ConfigError: it is none, or was altered.
        UsageError: it was exported for another target.
    """
    bundle, ready = read_bundle(Path(side.place), cache)
    if bundle.target.name != target:
        raise UsageError(f"the bundle was exported for {bundle.target.name}, not for {target}", where=side.place)
    return tuple(
        item for item in ready if side.wants(item.prepared.run) and (not models or item.prepared.run.model_name in models)
    )


def need_no_project(sides: tuple[SideOf, SideOf]) -> bool:
    """Whether both sides say themselves what project they are of."""
    return sides[0].kind in {"bundle", "release"} and sides[1].kind == "bundle"


def compare_bundles(
    sides: tuple[SideOf, SideOf],
    rules: Rules,
    *,
    target: str,
    models: Sequence[str] = (),
    devices: Sequence[str] = (),
    patience: Patience = DEFAULT_PATIENCE,
    sink: Sink = ignore,
    cache: Cache | None = None,
) -> CompareReport:
    """Compare two sides for which :func:`need_no_project`; neither torch nor an SDK is needed.

    Raises:
        UsageError, ConfigError: the request makes no sense, or the sides have nothing in common.
        DeviceUnavailableError: no device is reachable.
    """
    cache = cache or Cache()
    results = bundle_results(describe_bundle(Path(sides[1].place)))  # opened first: minutes of work need a place to go to
    candidates = of_bundle(sides[1], target, models, cache)
    if sides[0].kind == "release":
        opponents = against_release(candidates, sides)
    else:
        opponents = match(of_bundle(sides[0], target, models, cache), candidates, sides)
    warn_of_same(opponents, sink)
    fleet = bundle_fleet(Path(sides[1].place), target=target, devices=devices, patience=patience, sink=sink)
    contests = contest(fleet, opponents, rules, cache)
    report = CompareReport(edgedeploy=__version__, project=fleet.project, target=target, comparisons=contests)
    return kept(report, "compare", results, sink)
