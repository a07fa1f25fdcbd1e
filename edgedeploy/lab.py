"""What there is to deploy to: the targets known here, and the devices of the lab file. Read when first asked for."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from edgedeploy import registry
from edgedeploy.config.targets import find_target, read_target, target_files
from edgedeploy.domain.device import Device
from edgedeploy.domain.target import Target
from edgedeploy.places import config_folder
from edgedeploy.shipped import shipped


class Lab:
    """Targets from edgedeploy, plug-ins, the user's configuration and the project (the later wins), and devices."""

    def __init__(self, project_root: Path | None) -> None:
        self._root = project_root

    @cached_property
    def target_files(self) -> dict[str, Path]:
        """Name to file of every target."""
        own = config_folder() / "targets"
        folders = [shipped("targets"), *registry.target_packs(), own]
        if self._root is not None:
            folders.append(self._root / "targets")
        return target_files(folders)

    @cached_property
    def targets(self) -> dict[str, Target]:
        """Every target, read and checked."""
        return {name: read_target(file) for name, file in self.target_files.items()}

    @cached_property
    def devices(self) -> tuple[Device, ...]:
        """The units of the lab file; none without one."""
        from edgedeploy.config.lab import lab_file, read_lab  # a listing of targets does without

        file = lab_file(self._root)
        return read_lab(file, self.targets) if file else ()

    def target(self, name: str) -> Target:
        """The target of that name, reading no other.

        Raises:
            UsageError: there is none; with the nearest name.
        """
        return find_target(name, self.target_files)
