"""Finds target files: those that come with edgedeploy, with plug-ins, with the user, with the project."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from edgedeploy.config.strict import read
from edgedeploy.domain.target import Soc, Target
from edgedeploy.errors import ConfigError, UsageError
from edgedeploy.suggest import did_you_mean


def target_files(folders: Sequence[Path]) -> dict[str, Path]:
    """Name to file over ``folders``; a later folder takes precedence over an earlier one."""
    return {file.stem: file for folder in folders if folder.is_dir() for file in sorted(folder.glob("*.toml"))}


def read_target(file: Path) -> Target:
    """Read and check one target file.

    Raises:
        ConfigError: with file and key; also for a fact without a source and a name that is not the file's.
    """
    target = read(file, Target)
    for key, problem in problems(target):
        raise ConfigError(problem, where=f"{file}: {key}")
    if target.name != file.stem:
        raise ConfigError(f"the name has to be that of the file, {file.stem!r}", where=f"{file}: name", seen=repr(target.name))
    return target


def find_target(name: str, files: dict[str, Path]) -> Target:
    """The target of that name.

    Raises:
        UsageError: there is none; with the nearest name.
        ConfigError: its file does not fit.
    """
    if name not in files:
        raise UsageError(f"unknown target {name!r}", next_step=did_you_mean(name, files))
    return read_target(files[name])


def problems(target: Target) -> Iterator[tuple[str, str]]:
    """Pairs of key and complaint that types alone do not find."""
    defaults = Soc()
    facts = [f"soc.{name}" for name in Soc.__struct_fields__ if getattr(target.soc, name) != getattr(defaults, name)]
    facts += sorted({f"soc.cores.{rate}" for group in target.soc.cores for rate in group.rates()})
    facts += [f"match.{name}" for name in target.match]
    if target.min_os:
        facts.append("min_os")
    if target.ethos_u:
        facts.append("ethos_u")
    for fact in facts:
        if fact not in target.sources:
            yield fact, f'a fact without a source: add "{fact}" under [sources]'
    backends = [(offer.exporter, offer.backend) for offer in target.lanes]
    if len(set(backends)) != len(backends):
        yield "lanes", "a backend is listed twice"
    if target.ethos_u is None and any(backend == "ethos-u" for _, backend in backends):
        yield "lanes", 'the backend ethos-u compiles for one NPU: add [ethos_u] with config = "ethos-u55-128", or the one it has'
    cores = sum(group.count for group in target.soc.cores)
    if cores and any(cpu >= cores for cpu in target.measure.cpus):
        yield "measure.cpus", f"names a processor beyond the {cores} that soc.cores lists"
