"""Finds and reads ``edgedeploy.toml``, and checks what refers to what."""

from __future__ import annotations

from pathlib import Path

from edgedeploy.config.strict import read
from edgedeploy.domain.project import BUILTIN_RECIPES, Project
from edgedeploy.errors import ConfigError, UsageError
from edgedeploy.suggest import did_you_mean

FILE_NAME = "edgedeploy.toml"


def find_project_file(start: Path) -> Path:
    """The project file given, or the nearest one in ``start`` and the folders above it.

    Raises:
        UsageError: there is none.
    """
    start = start.expanduser().absolute()
    if start.is_file():
        return start
    for folder in (start, *start.parents):
        candidate = folder / FILE_NAME
        if candidate.is_file():
            return candidate
    raise UsageError(
        f"no {FILE_NAME} here or in a folder above",
        where=str(start),
        next_step="run `edgedeploy init` to write one, or give its path with --project",
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
