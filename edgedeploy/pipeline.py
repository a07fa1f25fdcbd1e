"""The whole way: plan, export, verify, push, measure, judge, remember. The command line is a thin skin over this."""

from __future__ import annotations

import os
import threading
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from edgedeploy import __version__
from edgedeploy.baselines import Archive, Exported, read_baselines
from edgedeploy.bundle import Bundle, check_output, describe_bundle, read_bundle, write_bundle
from edgedeploy.cache import Cache
from edgedeploy.config.project import check_targets, find_project_file, read_project
from edgedeploy.deploy.signing import Signer, signer_from
from edgedeploy.domain.device import Device
from edgedeploy.domain.events import Event, Note, Sink, ignore
from edgedeploy.domain.mode import Mode
from edgedeploy.domain.plan import PlanLine, PlanReport
from edgedeploy.domain.project import DEFAULT_PATIENCE, Patience, Project
from edgedeploy.domain.result import PushReport, RunResult
from edgedeploy.domain.target import Target
from edgedeploy.errors import EdgedeployError, UsageError
from edgedeploy.fanout import at_once
from edgedeploy.host import available_memory_bytes, host_abi, host_os
from edgedeploy.lab import Lab
from edgedeploy.places import state_folder
from edgedeploy.results.location import default_url
from edgedeploy.results.past import looked_back
from edgedeploy.revision import at_revision, require_own_code
from edgedeploy.stages.auto import settle
from edgedeploy.stages.deliver import Delivery, deliver
from edgedeploy.stages.devices import select
from edgedeploy.stages.export import files_read
from edgedeploy.stages.fleet import Fleet
from edgedeploy.stages.mode_limits import require_possible
from edgedeploy.stages.plan import PlannedRun, Selection, in_mode, is_language, plan
from edgedeploy.stages.preflight import Profiled, foresee, model_facts, one_per_form
from edgedeploy.stages.prepare import Preparation
from edgedeploy.stages.profile import cached_profile
from edgedeploy.stages.profile import profile as profile_model
from edgedeploy.stages.progress import emitter
from edgedeploy.stages.ring import Opponents
from edgedeploy.stages.run_result import Ready, error_of, failed_run, undelivered, with_artifact
from edgedeploy.stages.runner_choice import portable_runner
from edgedeploy.worker.client import Workers

if TYPE_CHECKING:
    from edgedeploy.results.store import ResultStore


EVERYTHING = Selection()
DEFAULT_JOBS = min(2, os.cpu_count() or 1)
"""Exports at once. An SDK's lowering keeps one core busy and takes 1 to 2 GB for small models, much more for large ones."""


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """A project with the targets and devices it can use.

    Make one with :meth:`load`; every method may be called any number of times. A ``sink`` gets every event, from any thread but
    never two at once.
    """

    project: Project
    project_file: Path
    lab: Lab
    cache: Cache

    @classmethod
    def load(cls, path: str | Path = ".", *, cache: Cache | None = None) -> Pipeline:
        """Read the project at ``path``: its file, or a folder in or below it.

        Raises:
            UsageError: there is no project.
            ConfigError: a file says something that is not allowed; with file and key.
        """
        file = find_project_file(Path(path))
        project, lab = read_project(file), Lab(file.parent)
        check_targets(project, file, lab.target_files)
        return cls(project=project, project_file=file, lab=lab, cache=cache or Cache())

    def plan(
        self,
        target: str,
        *,
        selection: Selection = EVERYTHING,
        profile: bool = False,
        jobs: int = DEFAULT_JOBS,
        sink: Sink = ignore,
    ) -> PlanReport:
        """What :meth:`push` would do, and what would come of it. Converts nothing, touches no device.

        With ``profile``, models that nobody has counted yet are loaded and traced first, ``jobs`` at once: seconds each.
        Without, predictions are there for those that were.

        Raises:
            UsageError, ConfigError: the request makes no sense.
        """
        kind = self.lab.target(target)
        runs = self._runs(kind, selection)
        forms = one_per_form(runs)
        profiles = self._profiles(list(forms.values()), jobs, _one_at_a_time(sink), make=profile)
        by_form = dict(zip(forms, profiles, strict=True))
        free_bytes = available_memory_bytes()
        return PlanReport(
            edgedeploy=__version__,
            project=self.project.name,
            target=target,
            host_memory_bytes=free_bytes,
            models=model_facts(runs, by_form),
            runs=self._with_gates(runs, foresee(runs, kind, self.project_file, self.cache, by_form, free_bytes), target),
        )

    def export(
        self,
        target: str,
        *,
        selection: Selection = EVERYTHING,
        output: Path | None = None,
        require_full_delegation: bool = False,
        jobs: int = DEFAULT_JOBS,
        sink: Sink = ignore,
    ) -> PushReport:
        """Export and verify on this machine; with ``output``, write a bundle there when every run succeeded.

        Raises:
            UsageError, ConfigError: the request makes no sense.
            MissingToolError: an SDK is not installed.
        """
        kind = self.lab.target(target)
        runs = self._runs(kind, selection)
        if output is not None:
            check_output(output)  # before the minutes that exporting takes
        ready, failed = self._preparation(kind, jobs, _one_at_a_time(sink), full=require_full_delegation).of(runs)
        if output is not None and not [run for run in failed if (run.model, run.recipe) not in _automatic(runs)]:
            complete = [self._with_runner(item, kind, sink) for item in ready]
            write_bundle(output, self.project.name, kind, complete, self.signer())
        done = [undelivered(item, self.project.name, target, "exported, not deployed") for item in ready]
        return self._report(target, settle((*failed, *done), _automatic(runs)))

    def push(  # noqa: PLR0913 - keywords, each with a default
        self,
        target: str,
        *,
        selection: Selection = EVERYTHING,
        devices: Sequence[str] = (),
        measure: bool = True,
        gate: bool = True,
        require_full_delegation: bool = False,
        jobs: int = DEFAULT_JOBS,
        patience: Patience = DEFAULT_PATIENCE,
        sink: Sink = ignore,
    ) -> PushReport:
        """Export what is not cached, verify, push to the devices, measure there, judge, and keep the results.

        With ``gate``, what the project gates is also compared with its baseline on each device, in turns.
        A run or a device that fails is a result with an ``error``; the others go on. ``jobs`` exports run at once, each in a
        process of its own that may take several times the model's size in memory. Each result is kept as soon as it is there.

        Raises:
            UsageError, ConfigError: the request makes no sense, or the devices cannot be measured in the mode asked for.
            MissingToolError: an SDK or a client program is not installed.
            DeviceUnavailableError: no device is reachable, or one that was named is not.
        """
        sink = _one_at_a_time(sink)
        kind = self.lab.target(target)
        runs = self._runs(kind, selection)
        for planned in runs if measure else ():
            require_possible(planned, kind, language=is_language(planned.model, self.project_file))
        _tell_broken(self.lab, sink)
        units = _select(self.lab, kind, devices, patience, sink)
        results = self.results()  # opened first: minutes of work need a place to go to
        archive = self._archive_of_gated(runs, target, selection, jobs, sink) if gate and measure else None
        ready, failed = self._preparation(kind, jobs, sink, full=require_full_delegation).of(runs)
        opponents: dict[str, Opponents] = {}
        if archive is not None:
            opponents, ungated = self._opponents(ready, archive)
            ready = tuple(item for item in ready if item.prepared.run.folder not in ungated)
            failed = (*failed, *ungated.values())
        for run in failed:
            results.add(run)
        delivery = Delivery(
            project=self.project.name,
            target=kind,
            ready=ready,
            measured=measure,
            keep_releases=self.project.keep_releases,
            signer=self.signer(),
            patience=patience,
            opponents=opponents,
        )
        delivered = deliver(delivery, units, self.cache, sink, keep=results.add) if ready else ()
        delivered = _looked_back(delivered, results, sink)
        return self._report(target, settle((*failed, *delivered), _automatic(runs)))

    def ready(
        self, target: str, *, selection: Selection = EVERYTHING, jobs: int = DEFAULT_JOBS, sink: Sink = ignore
    ) -> tuple[tuple[Ready, ...], tuple[RunResult, ...]]:
        """Export what is not cached, and verify it: what can be deployed, and what failed.

        Raises:
            UsageError, ConfigError: the request makes no sense.
            MissingToolError: an SDK is not installed.
        """
        kind = self.lab.target(target)
        return self._preparation(kind, jobs, _one_at_a_time(sink)).of(self._runs(kind, selection))

    def exported(
        self,
        target: str,
        *,
        selection: Selection = EVERYTHING,
        name: str = "now",
        jobs: int = DEFAULT_JOBS,
        sink: Sink = ignore,
    ) -> tuple[Ready, ...]:
        """As :meth:`ready`, where nothing may fail; ``name`` is what errors call it.

        Of the candidates of an automatic recipe one is enough.

        Raises:
            UsageError, ConfigError: the request makes no sense.
            MissingToolError: an SDK that it takes is not installed.
            ExportError: something of it cannot be exported.
        """
        return _whole(self.ready(target, selection=selection, jobs=jobs, sink=sink), name)

    def exported_at(
        self,
        revision: str,
        target: str,
        *,
        selection: Selection = EVERYTHING,
        name: str = "",
        jobs: int = DEFAULT_JOBS,
        sink: Sink = ignore,
    ) -> tuple[Ready, ...]:
        """As :meth:`exported`, of the project as it was at a revision of git.

        Raises:
            UsageError: git does not know it, or it has no such project; it reads code of the work tree as it is now.
        """
        return _whole(self._ready_at(revision, target, selection, jobs, sink), name or f"git:{revision}")

    def _ready_at(self, revision: str, target: str, selection: Selection, jobs: int, sink: Sink) -> Exported:
        """As :meth:`ready`, of the project as it was."""
        with at_revision(self.project_file, revision, self.cache) as file:
            then = Pipeline.load(file, cache=self.cache)
            ready, failed = then.ready(target, selection=selection, jobs=jobs, sink=sink)
            read = {path for item in ready for path in files_read(item.prepared.run, file, self.cache)}
            require_own_code(self.project_file, revision, read)
            return ready, failed

    def archive(
        self, target: str, *, selection: Selection = EVERYTHING, jobs: int = DEFAULT_JOBS, sink: Sink = ignore
    ) -> Archive:
        """The baselines of a target, with the way to their artifacts.

        Raises:
            ConfigError: the file of baselines says something that is not allowed.
        """

        def exported_at(revision: str, models: Collection[str]) -> Exported:
            wanted = tuple(name for name in models if not selection.models or name in selection.models)
            return self._ready_at(revision, target, msgspec.structs.replace(selection, models=wanted), jobs, sink)

        return Archive(read_baselines(self.project_file, target), self.cache, exported_at, sink)

    def fleet(
        self,
        target: str,
        *,
        devices: Sequence[str] = (),
        patience: Patience = DEFAULT_PATIENCE,
        sink: Sink = ignore,
    ) -> Fleet:
        """The devices of a target with this project's releases, for :mod:`edgedeploy.stages.upkeep`.

        Raises:
            UsageError, ConfigError: the request makes no sense.
            DeviceUnavailableError: no device is reachable, or one that was named is not.
        """
        return _fleet(self.lab, self.lab.target(target), self.project.name, devices, patience, sink)

    def results(self) -> ResultStore:
        """The store of this project's results."""
        from edgedeploy.results.store import ResultStore

        url = default_url(self.project_file.parent, self.project.name, configured=self.project.results.url)
        return ResultStore.open(url)

    def signer(self) -> Signer | None:
        """Who signs what is deployed; None where nobody does.

        Raises:
            ConfigError: the key that the project names cannot be used.
        """
        reference = self.project.signing_key
        if not reference:
            return None
        return signer_from(reference, root=self.project_file.parent, where=f"{self.project_file}: signing_key")

    def _with_runner(self, item: Ready, target: Target, sink: Sink) -> Ready:
        """The same with a runner for the target, so that the pushing machine needs no compiler."""
        abi = host_abi() if target.abi == "host" else target.abi
        system = host_os() if target.os == "host" else target.os
        emit = emitter(sink, "setup", item.prepared.run.label)
        artifact = item.prepared.artifact
        runner = portable_runner(artifact, target.runtimes, abi=abi, os=system, cache_dir=self.cache.runners, emit=emit)
        return msgspec.structs.replace(item, runner=runner, runner_abi=abi)

    def _with_gates(self, runs: Sequence[PlannedRun], lines: Sequence[PlanLine], target: str) -> tuple[PlanLine, ...]:
        gated = any(run.gate.asks for run in runs)
        baselines = read_baselines(self.project_file, target).baselines if gated else ()
        known = {baseline.folder: baseline.sha256 for baseline in baselines}
        return tuple(
            msgspec.structs.replace(line, gated=True, baseline_sha256=known.get(run.folder, "")) if run.gate.asks else line
            for run, line in zip(runs, lines, strict=True)
        )

    def _archive_of_gated(
        self, runs: Sequence[PlannedRun], target: str, selection: Selection, jobs: int, sink: Sink
    ) -> Archive | None:
        """The baselines of what is gated, read before anything is exported; None where nothing is."""
        models = tuple(dict.fromkeys(run.model_name for run in runs if run.gate.asks))
        gated = msgspec.structs.replace(selection, models=models)
        return self.archive(target, selection=gated, jobs=jobs, sink=sink) if models else None

    def _opponents(self, ready: Sequence[Ready], archive: Archive) -> tuple[dict[str, Opponents], dict[str, RunResult]]:
        """By their folders: what is gated with its baseline, and what should be and cannot."""
        opponents, failed = {}, {}
        for item in ready:
            run = item.prepared.run
            if run.gate.asks:
                try:
                    opponents[run.folder] = archive.opponents(item)
                except EdgedeployError as error:
                    failed[run.folder] = with_artifact(failed_run(run, self.project.name, archive.target, "", error), item)
        return opponents, failed

    def _runs(self, target: Target, selection: Selection) -> tuple[PlannedRun, ...]:
        return plan(self.project, self.project_file, target, selection)

    def _preparation(self, target: Target, jobs: int, sink: Sink, *, full: bool = False) -> Preparation:
        return Preparation(
            project=self.project.name,
            project_file=self.project_file,
            target=target,
            cache=self.cache,
            jobs=jobs,
            sink=sink,
            full_delegation=full,
        )

    def _profiles(self, runs: Sequence[PlannedRun], jobs: int, sink: Sink, *, make: bool) -> tuple[Profiled, ...]:
        """The profile of each run's model: from the cache, or, with ``make``, counted now."""
        workers = Workers()

        def one(run: PlannedRun) -> Profiled:
            try:
                if not make:
                    return cached_profile(run, self.project_file, self.cache)
                return profile_model(run, self.project_file, self.cache, workers, sink)
            except EdgedeployError as error:
                return error

        return at_once([partial(one, run) for run in runs], limit=jobs, stop=workers.stop)

    def _report(self, target: str, runs: tuple[RunResult, ...]) -> PushReport:
        return PushReport(edgedeploy=__version__, project=self.project.name, target=target, runs=runs)


def _whole(exported: Exported, name: str) -> tuple[Ready, ...]:
    """What was exported, where nothing failed but candidates of an automatic recipe of which there is another one."""
    ready, failed = exported
    done = [item.prepared.run for item in ready]
    settled = {(run.model_name, run.recipe_name) for run in done if run.automatic}
    for result in failed:
        if result.error is not None and (result.model, result.recipe) not in settled:
            raise error_of(result.error, name)
    return ready


def push_bundle(
    folder: Path,
    *,
    target: str | None = None,
    devices: Sequence[str] = (),
    measure: bool = True,
    mode: Mode | None = None,
    cache: Cache | None = None,
    patience: Patience = DEFAULT_PATIENCE,
    sink: Sink = ignore,
) -> PushReport:
    """Push what was exported elsewhere: no project, no torch, no SDK. Otherwise as :meth:`Pipeline.push`.

    ``mode`` takes the place of the one that its runs are measured in.

    Raises:
        UsageError: it was exported for another target than ``target``, whose devices cannot be measured in the mode asked for.
        ConfigError: not a bundle, or altered since it was written.
        DeviceUnavailableError: no device is reachable.
    """
    cache = cache or Cache()
    bundle = describe_bundle(folder)
    _require_target(bundle, target, folder)
    # Gigabytes are hashed while modules are loaded and devices answer.
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read_bundle, folder, cache)
        try:
            lab = Lab(Path.cwd())
            sink = _one_at_a_time(sink)
            _tell_broken(lab, sink)
            units = _select(lab, bundle.target, devices, patience, sink)
            own_target = _trusting_whom_we_trust(bundle.target, lab)
            results = bundle_results(bundle)
        finally:
            _, ready = reading.result()  # whatever else is wrong, a bundle that was altered is told first
    ready = tuple(_measured_in(mode, item) for item in ready)
    for item in ready if measure else ():
        require_possible(item.prepared.run, own_target, language=item.prepared.artifact.language is not None)
    if measure:
        _tell_ungated(ready, sink)
    delivery = Delivery(project=bundle.project, target=own_target, ready=ready, measured=measure, patience=patience)
    runs = _looked_back(deliver(delivery, units, cache, sink, keep=results.add), results, sink)
    return PushReport(edgedeploy=__version__, project=bundle.project, target=bundle.target.name, runs=runs)


def _tell_ungated(ready: Sequence[Ready], sink: Sink) -> None:
    """Say whose verdict is without the gate that its project asks for."""
    labels = [item.prepared.run.label for item in ready if item.prepared.run.gate.asks]
    if labels:
        why = "a bundle has no baselines; run `edgedeploy gate` there"
        sink(Note(text=f"gated in its project, and not here: {', '.join(labels)} ({why})", level="warning"))


def bundle_fleet(
    folder: Path,
    *,
    target: str | None = None,
    devices: Sequence[str] = (),
    patience: Patience = DEFAULT_PATIENCE,
    sink: Sink = ignore,
) -> Fleet:
    """As :meth:`Pipeline.fleet`, of what was pushed from a bundle."""
    bundle = describe_bundle(folder)
    _require_target(bundle, target, folder)
    lab = Lab(Path.cwd())
    return _fleet(lab, _trusting_whom_we_trust(bundle.target, lab), bundle.project, devices, patience, sink)


def _trusting_whom_we_trust(brought: Target, lab: Lab) -> Target:
    """A bundle's target, with the signatures that this machine's own file of it demands: a bundle cannot waive those."""
    own = lab.targets.get(brought.name)
    return msgspec.structs.replace(brought, trusted_keys=own.trusted_keys) if own and own.trusted_keys else brought


def lab_fleet(
    root: Path, target: str, *, devices: Sequence[str] = (), patience: Patience = DEFAULT_PATIENCE, sink: Sink = ignore
) -> Fleet:
    """The devices of a target that the lab and target files at ``root`` know; of no project."""
    lab = Lab(root)
    return _fleet(lab, lab.target(target), "", devices, patience, sink)


def bundle_results(bundle: Bundle) -> ResultStore:
    """The store of what was pushed from bundles of one project, wherever they lay."""
    from edgedeploy.results.store import ResultStore

    return ResultStore.open(default_url(state_folder() / "bundles", bundle.project))


def _looked_back(runs: tuple[RunResult, ...], results: ResultStore, sink: Sink) -> tuple[RunResult, ...]:
    """Runs with what the history says of them. It only warns: where it cannot be read, the results are told all the same."""
    try:
        return looked_back(runs, results)
    except EdgedeployError as error:
        sink(Note(text=f"not compared with the runs before: {error}", level="warning"))
        return runs


def _fleet(lab: Lab, target: Target, project: str, devices: Sequence[str], patience: Patience, sink: Sink) -> Fleet:
    sink = _one_at_a_time(sink)
    _tell_broken(lab, sink)
    units = _select(lab, target, devices, patience, sink)
    return Fleet(target=target, project=project, devices=units, patience=patience, sink=sink)


def _select(lab: Lab, target: Target, devices: Sequence[str], patience: Patience, sink: Sink) -> tuple[Device, ...]:
    targets = {**lab.targets, target.name: target}
    return select(target, devices, lab.devices, targets, for_s=patience.first_contact_s, sink=sink)


def _require_target(bundle: Bundle, target: str | None, folder: Path) -> None:
    if target not in {None, bundle.target.name}:
        raise UsageError(f"the bundle was exported for {bundle.target.name}, not for {target}", where=str(folder))


def _measured_in(mode: Mode | None, item: Ready) -> Ready:
    run = item.prepared.run
    measured = msgspec.structs.replace(run, policy=in_mode(run.policy, mode))
    return msgspec.structs.replace(item, prepared=msgspec.structs.replace(item.prepared, run=measured))


def _automatic(runs: Sequence[PlannedRun]) -> set[tuple[str, str]]:
    return {(run.model_name, run.recipe_name) for run in runs if run.automatic}


def _tell_broken(lab: Lab, sink: Sink) -> None:
    """Say which target files are not used; the one that was asked for is not among them."""
    for error in lab.broken:
        sink(Note(text=f"{error.where}: {error.what}; this target is left out", level="warning"))


def _one_at_a_time(sink: Sink) -> Sink:
    """A sink that several devices' threads can call."""
    lock = threading.Lock()

    def locked(event: Event) -> None:
        with lock:
            sink(event)

    return locked
