"""Adapters by name. The only place that knows entry points; each adapter is imported when it is asked for.

A plug-in is a distribution with entry points in the groups below; edgedeploy's own adapters are declared the same way.
"""

from __future__ import annotations

import os
import sys
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, cast

from edgedeploy.errors import MissingToolError, UsageError
from edgedeploy.suggest import did_you_mean

if TYPE_CHECKING:
    from edgedeploy.ports import Compressor, Exporter, Probe, Runtime, Transport

Group = Literal["exporters", "transports", "runtimes", "compressors", "probes", "targets"]


class _Point(NamedTuple):
    value: str
    owner: str


@cache
def _all_points() -> dict[str, dict[str, _Point]]:
    """Entry points of every ``edgedeploy.*`` group, by group and name; the first on the path wins, as at import.

    ``importlib.metadata`` would do, and takes longer to import than everything else a listing of targets needs. The file is
    an INI with ``name = module:attribute`` lines (PyPA's entry points specification).
    """
    groups: dict[str, dict[str, _Point]] = {}
    for folder in dict.fromkeys(sys.path):
        try:
            entries = sorted(e.path for e in os.scandir(folder or ".") if e.name.endswith((".dist-info", ".egg-info")))
        except OSError:
            continue
        for entry in entries:
            try:
                with open(f"{entry}/entry_points.txt", "rb") as file:  # noqa: PTH123 - a hundred of them: Path would double the time
                    content = file.read()
            except OSError:
                continue
            if b"[edgedeploy." in content:
                _read_points(content.decode(errors="replace"), Path(entry).stem, groups)
    return groups


def _read_points(text: str, owner: str, groups: dict[str, dict[str, _Point]]) -> None:
    group = ""
    for line in map(str.strip, text.splitlines()):
        if line.startswith("["):
            group = line.strip("[]")
        elif "=" in line and group.startswith("edgedeploy.") and not line.startswith(("#", ";")):
            name, _, value = line.partition("=")
            groups.setdefault(group, {}).setdefault(name.strip(), _Point(value.strip(), owner))


def _points(group: Group) -> dict[str, _Point]:
    return _all_points().get(f"edgedeploy.{group}", {})


def origin(group: Group, name: str) -> str:
    """The distribution an adapter comes from, with its version: ``edgedeploy-0.1.0``. Empty for an unknown name."""
    point = _points(group).get(name)
    return point.owner if point else ""


def names(group: Group) -> tuple[str, ...]:
    """Names of all adapters of a group, sorted."""
    return tuple(sorted(_points(group)))


def _load(group: Group, name: str) -> object:
    point = _points(group).get(name)
    if point is None:
        raise UsageError(f"no {group[:-1]} named {name!r} is installed", next_step=did_you_mean(name, _points(group)))
    try:
        module, _, attribute = point.value.partition(":")
        loaded = import_module(module)
        return getattr(loaded, attribute) if attribute else loaded
    except Exception as error:
        raise MissingToolError(
            f"the {group[:-1]} {name!r} cannot be loaded",
            where=f"entry point {point.value} of {point.owner}",
            seen=f"{type(error).__name__}: {error}",
            next_step=f"reinstall it: pip install --force-reinstall {point.owner.partition('-')[0]}",
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
