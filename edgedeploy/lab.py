"""What there is to deploy to: the targets known here, and the devices of the lab file. Read when first asked for."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from edgedeploy import registry
from edgedeploy.config.targets import find_target, read_target, target_files
from edgedeploy.domain.device import Device
from edgedeploy.domain.target import Target
from edgedeploy.errors import ConfigError
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

    @property
    def targets(self) -> dict[str, Target]:
        """Every target whose file fits."""
        return self._read[0]

    @property
    def broken(self) -> tuple[ConfigError, ...]:
        """What is wrong with the files that do not fit: they are nobody's trouble but that of those who ask for them."""
        return tuple(self._read[1].values())

    @cached_property
    def _read(self) -> tuple[dict[str, Target], dict[str, ConfigError]]:
        good: dict[str, Target] = {}
        broken: dict[str, ConfigError] = {}
        for name, file in self.target_files.items():
            try:
                good[name] = read_target(file)
            except ConfigError as error:
                broken[name] = error
        return good, broken

    @cached_property
    def devices(self) -> tuple[Device, ...]:
        """The units of the lab file, without those of a broken target; none without a file."""
        from edgedeploy.config.lab import lab_file, read_lab  # a listing of targets does without

        file = lab_file(self._root)
        return read_lab(file, self.targets, broken=self._read[1]) if file else ()

    def target(self, name: str) -> Target:
        """The target of that name, reading no other.

        Raises:
            UsageError: there is none; with the nearest name.
        """
        return find_target(name, self.target_files)
