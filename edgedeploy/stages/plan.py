"""Preflight: which models go onto a target by which lanes. Nothing is converted, nothing is touched."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence
from pathlib import Path

import msgspec

from edgedeploy import registry
from edgedeploy.domain.mode import Mode
from edgedeploy.domain.precision import AUTO
from edgedeploy.domain.project import BUILTIN_RECIPES, Deploy, MeasureOverride, Model, Project
from edgedeploy.domain.recipe import Budget, Gate, Recipe
from edgedeploy.domain.target import Lane, MeasurePolicy, Target
from edgedeploy.errors import ConfigError, MissingToolError, UsageError
from edgedeploy.ports import LanguageExporter
from edgedeploy.stages.auto import candidates
from edgedeploy.suggest import did_you_mean


class PlannedRun(msgspec.Struct, frozen=True, kw_only=True):
    """One model by one recipe through one lane, and how it will be judged. The same for every unit of the target.

    ``automatic``: the recipe leaves the lane open, and this is one of the candidates.
    """

    model_name: str
    model: Model
    recipe_name: str
    recipe: Recipe
    automatic: bool = False
    lane: Lane
    budget: Budget
    gate: Gate = Gate()
    policy: MeasurePolicy

    @property
    def label(self) -> str:
        """``minilm tflite-xnnpack-int8``, with the recipe where that is not the lane's precision: for people."""
        recipe = "" if self.recipe_name == self.lane.precision else f" ({self.recipe_name})"
        return f"{self.model_name} {self.lane.id}{recipe}"

    @property
    def folder(self) -> str:
        """Where its files lie, below a release or an export folder."""
        return f"{self.model_name}/{self.recipe_name}/{self.lane.id}"


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """What of a project is wanted. Nothing given means all of it.

    ``recipes`` and ``exporters`` take the place of what the deployments say; with them, a model that is not deployed to the
    target at all can be tried there. ``mode`` takes the place of the one that they are measured in.
    """

    models: tuple[str, ...] = ()
    recipes: tuple[str, ...] = ()
    exporters: tuple[str, ...] = ()
    mode: Mode | None = None


def plan(project: Project, project_file: Path, target: Target, selection: Selection) -> tuple[PlannedRun, ...]:
    """Every run the project asks for on ``target``, in the order of the file, as far as it is selected.

    Raises:
        UsageError: an unknown model or recipe, or nothing is to be deployed to this target.
        ConfigError: a source file is missing; no lane of the target fits a recipe.
        CompressError: a compressor refuses its settings.
    """
    known = BUILTIN_RECIPES | project.recipes
    for kind, names, allowed in (("model", selection.models, project.models), ("recipe", selection.recipes, known)):
        for name in names:
            if name not in allowed:
                raise UsageError(f"unknown {kind} {name!r}", where=str(project_file), next_step=did_you_mean(name, allowed))
    runs: dict[str, PlannedRun] = {}
    for where, deploy in _deployments(project, project_file, target, selection):
        model = project.models[deploy.model]
        _check_source(model, project_file, deploy.model)
        policy = in_mode(_policy(target.measure, deploy.measure), selection.mode)
        for recipe_name in deploy.recipes:
            recipe = known[recipe_name]
            for step in recipe.compress:
                registry.compressor(step.use).check(step.settings)
            for lane in _lanes(target, recipe, deploy, where, language=is_language(model, project_file)):
                run = PlannedRun(
                    model_name=deploy.model,
                    model=model,
                    recipe_name=recipe_name,
                    recipe=msgspec.structs.replace(recipe, precision=lane.precision),
                    automatic=recipe.precision == AUTO,
                    lane=lane,
                    budget=deploy.budget,
                    gate=deploy.gate,
                    policy=policy,
                )
                if run.folder in runs:
                    raise ConfigError(f"{run.label} is deployed to {target.name} twice", where=where)
                runs[run.folder] = run
    if not runs:
        named = sorted({name for deploy in project.deploy for name in deploy.targets})
        raise UsageError(
            f"nothing is to be deployed to {target.name!r}" + (f" for {', '.join(selection.models)}" if selection.models else ""),
            where=str(project_file),
            seen=f"[[deploy]] names {', '.join(named) or 'no target'}",
            next_step=f'add "{target.name}" to the `targets` of a [[deploy]]',
        )
    return tuple(runs.values())


def _deployments(project: Project, project_file: Path, target: Target, selection: Selection) -> list[tuple[str, Deploy]]:
    """The selected deployments, each with its place in the file."""
    wanted = [
        (f"{project_file}: deploy[{index}]", deploy)
        for index, deploy in enumerate(project.deploy)
        if target.name in deploy.targets and (not selection.models or deploy.model in selection.models)
    ]
    if not selection.recipes and not selection.exporters:
        return wanted
    # One deployment per model: the first has the budget and the policy.
    first = {deploy.model: (where, deploy) for where, deploy in reversed(wanted)}
    for name in selection.models or (() if wanted else project.models):
        first.setdefault(name, (f"{project_file}: models.{name}", Deploy(model=name, targets=(target.name,))))
    return [
        (
            where,
            msgspec.structs.replace(
                deploy,
                recipes=selection.recipes or deploy.recipes,
                exporters=selection.exporters or deploy.exporters,
            ),
        )
        for name in project.models
        if name in first
        for where, deploy in [first[name]]
    ]


def worker_groups(runs: Sequence[PlannedRun], jobs: int) -> list[list[PlannedRun]]:
    """Runs that one worker process does, one after the other: those of one model by the same compress steps.

    Where that leaves some of ``jobs`` idle, a model's runs are also parted by exporter: SDKs share nothing but the model.
    """

    def grouped(*, by_exporter: bool) -> list[list[PlannedRun]]:
        groups: dict[tuple[object, ...], list[PlannedRun]] = {}
        for run in runs:
            key = (run.model_name, msgspec.json.encode(run.recipe.compress), run.lane.exporter if by_exporter else "")
            groups.setdefault(key, []).append(run)
        return list(groups.values())

    groups = grouped(by_exporter=False)
    return groups if len(groups) >= jobs else grouped(by_exporter=True)


def lanes_of(target: Target) -> tuple[Lane, ...]:
    """Every lane a target offers, its preferred backend first.

    Raises:
        UsageError: it names an exporter that is not there.
    """
    return tuple(
        lane
        for offer in target.lanes
        for lane in registry.exporter(offer.exporter).lanes()
        if lane.backend == offer.backend and (not offer.precisions or lane.precision in offer.precisions)
    )


def missing_sdk(lane: Lane) -> MissingToolError | None:
    """What a lane's exporter needs for just this lane and is not installed, with the way to get it."""
    lacking = registry.exporter(lane.exporter).lacking(lane)
    if lacking is None:
        return None
    return MissingToolError(f"{lane.id} needs {lacking.what}", where=lane.id, next_step=lacking.how)


def require_sdks(runs: Sequence[PlannedRun]) -> None:
    """Check that every exporter's SDK is installed, without importing it.

    Raises:
        MissingToolError: naming the extra that brings it.
    """
    for name in dict.fromkeys(run.lane.exporter for run in runs):
        exporter = registry.exporter(name)
        missing = missing_distributions(name)
        if missing:
            raise MissingToolError(
                f"the SDK of the exporter {name!r} is not installed",
                seen=f"missing: {', '.join(missing)}",
                next_step=f"pip install 'edgedeploy[{exporter.extra}]', or export elsewhere and push with --bundle",
            )


def missing_distributions(exporter_name: str) -> list[str]:
    """What an exporter needs for all its lanes and is not installed."""
    return [dist for dist in registry.exporter(exporter_name).toolchain() if _version(dist) is None]


def toolchain_versions(lane: Lane) -> dict[str, str]:
    """Installed versions of the distributions that decide a lane's result."""
    exporter = registry.exporter(lane.exporter)
    return {dist: _version(dist) or "" for dist in (*exporter.toolchain(), *exporter.compilers(lane))}


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _check_source(model: Model, project_file: Path, name: str) -> None:
    place, _, attribute = model.source.rpartition(":")
    file = model.source if model.source.endswith(".pt2") else place
    where = f"{project_file}: models.{name}.source"
    if is_language(model, project_file):
        _check_language(model, project_file, name)
        return
    if model.language is not None:
        raise ConfigError(
            "`language` is for the folder of a Hugging Face model",
            where=f"{project_file}: models.{name}.language",
            seen=f"no config.json in {model.source!r}",
            next_step="give that folder as the source, or leave `language` out",
        )
    if not model.source.endswith(".pt2") and not (place and attribute.isidentifier()):
        raise ConfigError(
            "not a model source",
            where=where,
            seen=repr(model.source),
            next_step='write "file.py:callable", "package.module:callable", a .pt2 file, or the folder of a language model',
        )
    if file.endswith((".py", ".pt2")) and not (project_file.parent / file).is_file():
        raise ConfigError(
            f"no file {file!r}",
            where=where,
            seen=str(project_file.parent / file),
            next_step="paths are relative to the project file",
        )
    for extra in model.files:
        if not (project_file.parent / extra).is_file():
            raise ConfigError(f"no file {extra!r}", where=f"{project_file}: models.{name}.files")


def is_language(model: Model, project_file: Path) -> bool:
    """Whether the source is a Hugging Face folder."""
    return (project_file.parent / model.source / "config.json").is_file()


def _takes_language(lane: Lane) -> bool:
    exporter = registry.exporter(lane.exporter)
    return isinstance(exporter, LanguageExporter) and lane in exporter.language_lanes()


def _check_language(model: Model, project_file: Path, name: str) -> None:
    text = model.language.perplexity_text if model.language else ""
    if text and not (project_file.parent / text).is_file():
        raise ConfigError(f"no file {text!r}", where=f"{project_file}: models.{name}.language.perplexity_text")


def _lanes(target: Target, recipe: Recipe, deploy: Deploy, where: str, *, language: bool) -> list[Lane]:
    offered = [lane for lane in lanes_of(target) if not language or _takes_language(lane)]
    if recipe.precision == AUTO:
        named = [lane for lane in offered if not deploy.exporters or _names(deploy.exporters, lane)]
        return list(candidates([lane for lane in named if missing_sdk(lane) is None]))
    fitting = [lane for lane in offered if lane.precision == recipe.precision]
    if not deploy.exporters:
        if not fitting:
            raise ConfigError(
                f"{target.name} has no lane of precision {recipe.precision!r}",
                where=f"{where}.recipes",
                next_step=did_you_mean(recipe.precision, {lane.precision for lane in offered}),
            )
        return fitting[:1]
    chosen = []
    for exporter in deploy.exporters:
        lane = next((lane for lane in fitting if _names((exporter,), lane)), None)
        if lane is None:
            raise ConfigError(
                f"{target.name} has no lane {exporter!r} of precision {recipe.precision!r}",
                where=f"{where}.exporters",
                next_step=f"its lanes: {', '.join(lane.id for lane in offered)}",
            )
        chosen.append(lane)
    return chosen


def _names(exporters: Sequence[str], lane: Lane) -> bool:
    return any(map(lane.is_of, exporters))


def in_mode(policy: MeasurePolicy, mode: Mode | None) -> MeasurePolicy:
    """The same policy in another mode; None: in its own."""
    return policy if mode is None else msgspec.structs.replace(policy, mode=mode)


def _policy(policy: MeasurePolicy, override: MeasureOverride) -> MeasurePolicy:
    changes = {name: value for name in override.__struct_fields__ if (value := getattr(override, name)) is not None}
    return msgspec.structs.replace(policy, **changes)
