"""Which results a verb is about: a project's, or those of a bundle; and which of them its filters leave."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

import msgspec

from edgedeploy.domain.mode import Mode

if TYPE_CHECKING:
    from edgedeploy.domain.result import RunResult
    from edgedeploy.results.documents import Documents, T
    from edgedeploy.results.store import ResultStore


class Filters(msgspec.Struct, frozen=True, kw_only=True):
    """What ``history`` and ``results export`` were asked for; no model: every one."""

    project: str
    target: str | None
    models: tuple[str, ...]
    device: str | None
    mode: Mode | None = None
    limit: int


class Dated(Protocol):
    """Something of the past."""

    @property
    def created_at(self) -> str: ...  # noqa: D102
    @property
    def id(self) -> str: ...  # noqa: D102


D = TypeVar("D", bound=Dated)


def open_results(project_path: Path, bundle: Path | None) -> tuple[ResultStore, str]:
    """The store, and the name of the project in it."""
    from edgedeploy.bundle import describe_bundle
    from edgedeploy.pipeline import Pipeline, bundle_results

    if bundle is not None:
        found = describe_bundle(bundle)
        return bundle_results(found), found.project
    pipeline = Pipeline.load(project_path)
    return pipeline.results(), pipeline.project.name


def newest_runs(store: ResultStore, asked: Filters) -> tuple[RunResult, ...]:
    """Runs, newest first."""

    def of(model: str | None) -> tuple[RunResult, ...]:
        return store.runs(
            project=asked.project, model=model, target=asked.target, device=asked.device, mode=asked.mode, limit=asked.limit
        )

    return _newest(of, asked)


def newest_documents(documents: Documents[T], asked: Filters) -> tuple[T, ...]:
    """Comparisons or what was imported, newest first."""

    def of(model: str | None) -> tuple[T, ...]:
        return documents.newest(project=asked.project, model=model, target=asked.target, device=asked.device, limit=asked.limit)

    return _newest(of, asked)


def _newest(of: Callable[[str | None], Iterable[D]], asked: Filters) -> tuple[D, ...]:
    wanted: tuple[str | None, ...] = asked.models or (None,)
    found = (one for model in dict.fromkeys(wanted) for one in of(model))
    return tuple(sorted(found, key=_age, reverse=True)[: asked.limit])


def _age(one: Dated) -> tuple[str, str]:
    return one.created_at, one.id
