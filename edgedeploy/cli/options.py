"""Options that several verbs share, with completion."""

from __future__ import annotations

from collections.abc import Callable
from math import isnan
from pathlib import Path
from typing import Any, TypeVar

import click

from edgedeploy.domain.mode import MODES
from edgedeploy.domain.project import FIRST_CONTACT_S, RETRY_FOR_S
from edgedeploy.errors import EdgedeployError

F = TypeVar("F", bound=Callable[..., Any])


class Number(click.FloatRange):
    """As click's; ``nan``, which is in every range of click's, is none."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number, within the range."""
        found = super().convert(value, param, ctx)
        if isnan(found):
            self.fail(f"{value!r} is not a number.", param, ctx)
        return found


def project_option(function: F) -> F:
    """``--project``."""
    return click.option(
        "--project",
        "project_path",
        type=click.Path(path_type=Path),
        default=Path(),
        metavar="PATH",
        help="The project file, or a folder in the project (default: the current one).",
    )(function)


def json_option(function: F) -> F:
    """``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of text.")(function)


def jobs_option(function: F) -> F:
    """``--jobs``."""
    return click.option(
        "--jobs",
        "-j",
        type=click.IntRange(min=1),
        default=None,
        metavar="N",
        help="Exports at once (default: 2, or 1 on one core); each may take several times the model's size in memory.",
    )(function)


def bundle_option(text: str) -> Callable[[F], F]:
    """``--bundle``."""
    return click.option("--bundle", type=click.Path(path_type=Path), metavar="FOLDER", help=text)


def _complete_target(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001
    from edgedeploy.lab import Lab

    return [name for name in Lab(Path.cwd()).target_files if name.startswith(incomplete)]


def _complete_model(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001
    from edgedeploy.config.project import find_project_file, read_project

    try:
        models = read_project(find_project_file(ctx.params.get("project_path") or Path())).models
    except EdgedeployError:
        return []
    return [name for name in models if name.startswith(incomplete)]


def _complete_device(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001
    from edgedeploy.lab import Lab

    try:
        devices = Lab(Path.cwd()).devices
    except EdgedeployError:
        return []
    return [device.name for device in devices if device.name.startswith(incomplete)]


def target_option(*, required: bool) -> Callable[[F], F]:
    """``--target``."""
    return click.option(
        "--target",
        "-t",
        required=required,
        metavar="NAME",
        shell_complete=_complete_target,
        help="The kind of device; `edgedeploy targets` lists them.",
    )


def model_option(function: F) -> F:
    """``--model``, repeatable."""
    return click.option(
        "--model",
        "-m",
        "models",
        multiple=True,
        metavar="NAME",
        shell_complete=_complete_model,
        help="Only this model; may be given several times.",
    )(function)


def _complete_recipe(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001
    from edgedeploy.domain.project import BUILTIN_RECIPES

    return [name for name in BUILTIN_RECIPES if name.startswith(incomplete)]


def precision_option(function: F) -> F:
    """``--precision``, repeatable."""
    return click.option(
        "--precision",
        "recipes",
        multiple=True,
        metavar="NAME",
        shell_complete=_complete_recipe,
        help="This precision, or recipe of the project, in place of those the deployments name; may be given several times.",
    )(function)


def exporter_option(function: F) -> F:
    """``--exporter``, repeatable."""
    return click.option(
        "--exporter",
        "exporters",
        multiple=True,
        metavar="NAME",
        help="By this exporter (executorch, or with its backend executorch-vulkan), in place of the deployments' own.",
    )(function)


def full_delegation_option(function: F) -> F:
    """``--require-full-delegation``."""
    return click.option(
        "--require-full-delegation", is_flag=True, help="Fail when an operator falls back to the runtime's plain kernels."
    )(function)


def device_option(function: F) -> F:
    """``--device``, repeatable."""
    return click.option(
        "--device",
        "-d",
        "devices",
        multiple=True,
        metavar="NAME",
        shell_complete=_complete_device,
        help="Only this unit (name in lab.toml, or ADB serial); default: every reachable unit of the target, at once.",
    )(function)


def mode_option(function: F) -> F:
    """``--mode``."""
    return click.option(
        "--mode",
        type=click.Choice(MODES),
        default=None,
        help="How to run the model while it is measured, in place of what the project says (default: single; docs/modes.md).",
    )(function)


def wait_option(function: F) -> F:
    """``--wait``."""
    return click.option(
        "--wait",
        "wait_s",
        type=Number(min=0),
        default=0,
        metavar="SECONDS",
        help="Wait so long for a device that somebody else has (default: do not wait).",
    )(function)


def retry_option(function: F) -> F:
    """``--retry-for``."""
    return click.option(
        "--retry-for",
        "retry_for_s",
        type=Number(min=0),
        metavar="SECONDS",
        help="Wait so long for a device that went away (unplugged, rebooting), until it gets something done again, and for "
        f"one that is not there yet (default: {RETRY_FOR_S:g}, and {FIRST_CONTACT_S:g} for one not there yet); 0: fail at once.",
    )(function)
