"""Adapters by name. The only place that knows entry points; each adapter is imported when it is asked for.

A plug-in is a distribution with entry points in the groups below; edgedeploy's own adapters are declared the same way.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Literal, cast

from edgedeploy.errors import MissingToolError, UsageError
from edgedeploy.ports import Compressor, Exporter, Probe, Runtime, Transport
from edgedeploy.suggest import did_you_mean

Group = Literal["exporters", "transports", "runtimes", "compressors", "probes", "targets"]


@cache
def _points(group: Group) -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=f"edgedeploy.{group}")}


def names(group: Group) -> tuple[str, ...]:
    """Names of all adapters of a group, sorted."""
    return tuple(sorted(_points(group)))


def _load(group: Group, name: str) -> object:
    point = _points(group).get(name)
    if point is None:
        raise UsageError(f"no {group[:-1]} named {name!r} is installed", next_step=did_you_mean(name, _points(group)))
    try:
        return point.load()
    except (ImportError, AttributeError, SyntaxError) as error:
        owner = point.dist.name if point.dist else "edgedeploy"
        raise MissingToolError(
            f"the {group[:-1]} {name!r} cannot be loaded",
            where=f"entry point {point.value} of {owner}",
            seen=f"{type(error).__name__}: {error}",
            next_step=f"reinstall it: pip install --force-reinstall {owner}",
        ) from error


def exporter(name: str) -> Exporter:
    """The exporter of that name.

    Raises:
        UsageError: there is none.
        MissingToolError: its plug-in is broken.
    """
    return cast("type[Exporter]", _load("exporters", name))()


def transport(name: str) -> Transport:
    """The transport of that name; raises as :func:`exporter` does."""
    return cast("type[Transport]", _load("transports", name))()


def runtime(name: str) -> Runtime:
    """The runtime of that name; raises as :func:`exporter` does."""
    return cast("type[Runtime]", _load("runtimes", name))()


def compressor(name: str) -> Compressor:
    """The compressor of that name; raises as :func:`exporter` does."""
    return cast("type[Compressor]", _load("compressors", name))()


def probe(os: str) -> Probe:
    """The probe for an operating system; raises as :func:`exporter` does."""
    return cast("type[Probe]", _load("probes", os))()


def target_packs() -> tuple[Path, ...]:
    """Folders of target files that plug-ins bring: an entry point names a package, whose folder holds the files."""
    folders = []
    for name in names("targets"):
        package = _load("targets", name)
        folders += [Path(folder) for folder in getattr(package, "__path__", ())]
    return tuple(folders)
