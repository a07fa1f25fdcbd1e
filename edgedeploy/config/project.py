"""Finds and reads ``edgedeploy.toml``, and checks what refers to what."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from edgedeploy.config.strict import read
from edgedeploy.domain.project import BUILTIN_RECIPES, Project
from edgedeploy.errors import ConfigError, UsageError
from edgedeploy.suggest import did_you_mean

FILE_NAME = "edgedeploy.toml"


def find_project_file(start: Path) -> Path:
    """The project file given, or the nearest one in the folder ``start`` and those above it.

    Raises:
        UsageError: there is none, or ``start`` itself is not there.
    """
    try:
        start = start.expanduser().absolute()
        is_file, is_folder = start.is_file(), start.is_dir()
    except (OSError, RuntimeError) as error:  # a folder that may not be looked into; a ~ without a home
        raise UsageError("cannot be read", where=str(start), seen=str(error)) from None
    if is_file:
        return start
    if not is_folder:  # a misspelt path must not find the project of a folder above
        raise UsageError("no such file or folder", where=str(start), next_step="check the path given with --project")
    for folder in (start, *start.parents):
        candidate = folder / FILE_NAME
        if candidate.is_file():
            return candidate
    raise UsageError(
        f"no {FILE_NAME} here or in a folder above",
        where=str(start),
        next_step="run `edgedeploy init` to write one, or give its path with --project",
    )


def check_targets(project: Project, file: Path, known: Collection[str]) -> None:
    """Whether every target that a deployment names is one of ``known``.

    Raises:
        ConfigError: one is not; with the nearest name.
    """
    for index, deploy in enumerate(project.deploy):
        for target in deploy.targets:
            if target not in known:
                raise ConfigError(
                    f"unknown target {target!r}",
                    where=f"{file}: deploy[{index}].targets",
                    next_step=did_you_mean(target, known),
                )


def read_project(file: Path) -> Project:
    """Read a project file; every model and recipe a deployment names exists.

    Raises:
        ConfigError: with file and key.
    """
    project = read(file, Project)
    recipes = BUILTIN_RECIPES | project.recipes
    for index, deploy in enumerate(project.deploy):
        if deploy.model not in project.models:
            raise ConfigError(
                f"unknown model {deploy.model!r}",
                where=f"{file}: deploy[{index}].model",
                next_step=did_you_mean(deploy.model, project.models),
            )
        for recipe in deploy.recipes:
            if recipe not in recipes:
                raise ConfigError(
                    f"unknown recipe {recipe!r}",
                    where=f"{file}: deploy[{index}].recipes",
                    next_step=did_you_mean(recipe, recipes),
                )
    return project
