"""What the verbs about deployed releases share: which devices, whose releases, how the outcome is told."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from edgedeploy.cli.options import (
    bundle_option,
    device_option,
    json_option,
    project_option,
    retry_option,
    target_option,
    wait_option,
)
from edgedeploy.domain.project import Patience
from edgedeploy.errors import UsageError

if TYPE_CHECKING:
    from edgedeploy.domain.upkeep import Finding, UpkeepReport
    from edgedeploy.stages.fleet import Fleet

    R = TypeVar("R", bound=Finding)

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, kw_only=True)
class Request:
    """What the command line said. ``project`` is where to look for one; ``bundle`` takes its place."""

    target: str | None
    devices: tuple[str, ...]
    project: Path
    bundle: Path | None
    patience: Patience
    as_json: bool

    @contextmanager
    def fleet(self, *, of_a_project: bool = True) -> Iterator[Fleet]:
        """The devices, with progress shown while they are worked on.

        Raises:
            UsageError: no target, no project; neither is needed with a bundle, and no project where none is asked for.
        """
        from edgedeploy.cli.progress import shown
        from edgedeploy.pipeline import Pipeline, bundle_fleet, lab_fleet

        with shown(quiet=self.as_json and not os.isatty(2)) as sink:
            if self.bundle is not None:
                yield bundle_fleet(self.bundle, target=self.target, devices=self.devices, patience=self.patience, sink=sink)
                return
            if self.target is None:
                raise UsageError("no target", next_step="add --target NAME; `edgedeploy targets` lists them")
            if of_a_project:
                pipeline = Pipeline.load(self.project)
                yield pipeline.fleet(self.target, devices=self.devices, patience=self.patience, sink=sink)
            else:
                root = _lab_root(self.project)
                yield lab_fleet(root, self.target, devices=self.devices, patience=self.patience, sink=sink)

    def tell(self, report: UpkeepReport[R], show: Callable[[UpkeepReport[R]], None]) -> None:
        """Print the report, and end with its exit code."""
        if self.as_json:
            import msgspec

            click.echo(msgspec.json.format(msgspec.json.encode(report)))
        else:
            show(report)
        click.get_current_context().exit(report.exit_code)


def fleet_options(bundle: str) -> Callable[[F], F]:
    """``--target``, ``--device``, ``--bundle``, ``--wait``, ``--retry-for``, ``--json``, ``--project``: one ``request``."""

    def decorate(function: F) -> F:
        @functools.wraps(function)
        def call(
            *,
            target: str | None,
            devices: tuple[str, ...],
            bundle: Path | None,
            wait_s: float,
            retry_for_s: float | None,
            as_json: bool,
            project_path: Path,
            **others: Any,
        ) -> Any:
            request = Request(
                target=target,
                devices=devices,
                project=project_path,
                bundle=bundle,
                patience=Patience.asked(wait_s=wait_s, retry_for_s=retry_for_s),
                as_json=as_json,
            )
            return function(request, **others)

        options = (
            target_option(required=False),
            device_option,
            bundle_option(bundle),
            wait_option,
            retry_option,
            json_option,
            project_option,
        )
        decorated: Any = call
        for option in reversed(options):
            decorated = option(decorated)
        return decorated  # type: ignore[no-any-return]

    return decorate


def _lab_root(project: Path) -> Path:
    """Where lab.toml is looked for: the project's folder, or where there is none, the folder itself."""
    from edgedeploy.config.project import find_project_file

    try:
        return find_project_file(project).parent
    except UsageError:
        return project
