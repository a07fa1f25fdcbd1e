"""Which results a verb is about: a project's, or those of a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgedeploy.results.store import ResultStore


def open_results(project_path: Path, bundle: Path | None) -> tuple[ResultStore, str]:
    """The store, and the name of the project in it."""
    from edgedeploy.bundle import describe_bundle
    from edgedeploy.pipeline import Pipeline, bundle_results

    if bundle is not None:
        found = describe_bundle(bundle)
        return bundle_results(found), found.project
    pipeline = Pipeline.load(project_path)
    return pipeline.results(), pipeline.project.name
