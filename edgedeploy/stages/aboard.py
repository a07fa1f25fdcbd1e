"""A connected device as the stages use it: which programs run there, where its store is, where a run lies in a release."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import cached_property

import msgspec

from edgedeploy import registry
from edgedeploy.cache import Cache
from edgedeploy.deploy.chunk_maps import ChunkMaps
from edgedeploy.deploy.digest import entries_of
from edgedeploy.deploy.store import Store
from edgedeploy.domain.device import Device
from edgedeploy.domain.events import Sink
from edgedeploy.domain.release import LocalFile, RunnerBundle
from edgedeploy.domain.target import Abi, Os, Target
from edgedeploy.errors import DeviceUnavailableError, MissingToolError, UsageError
from edgedeploy.host import host_abi, host_os
from edgedeploy.ports import Connection, Probe
from edgedeploy.runners.device_helper import device_helper
from edgedeploy.stages.execute import Placed
from edgedeploy.stages.facts import facts_of
from edgedeploy.stages.progress import emitter
from edgedeploy.stages.push import Payload
from edgedeploy.stages.reach import store_of
from edgedeploy.stages.run_result import Ready
from edgedeploy.stages.runner_choice import choose, python_facts_of


class Aboard:
    """One device, for as long as ``connection`` is open."""

    def __init__(self, *, connection: Connection, device: Device, target: Target, cache: Cache, sink: Sink) -> None:
        self.connection = connection
        self._device = device
        self._target = target
        self._cache = cache
        self._sink = sink
        self._abi: Abi = host_abi() if target.abi == "host" else target.abi
        self._os: Os = host_os() if target.os == "host" else target.os
        self._python = sys.executable if device.transport == "local" else device.python
        self.probe: Probe = registry.probe(self._os)

    def check_abi(self) -> None:
        """Whether it is of the kind that it is said to be.

        Raises:
            DeviceUnavailableError: its programs are of another kind.
        """
        facts = facts_of(self.connection, self.probe, "/")
        if facts.abi is not None and facts.abi != self._abi:
            raise DeviceUnavailableError(
                f"{self._device.name} is not a {self._target.name}: its programs are of another kind",
                seen=f"{facts.abi}, the target says {self._abi}",
                next_step="give the device the right `target` in lab.toml (a 32-bit system on a 64-bit board needs a 64-bit one)",
            )

    def store(self, project: str) -> Store:
        """Its store, looked at now."""
        return store_of(self.connection, self._device, self._target, project, ChunkMaps(self._cache.chunks))

    def device_helper(self) -> LocalFile | None:
        """The helper for it; None where it cannot be built: the device's own tools do the same, slower."""
        emit = emitter(self._sink, "setup", self._device.name)
        try:
            path = device_helper(self._abi, cache_dir=self._cache.runners, emit=emit)
        except (MissingToolError, UsageError):
            return None
        (entry,) = entries_of(path)
        return LocalFile(local=str(path), entry=entry)

    def runner_for(self, item: Ready) -> RunnerBundle:
        """What runs an artifact there.

        Raises:
            MissingToolError: nothing can.
        """
        if item.runner is not None and item.runner_abi == self._abi:
            return item.runner
        return choose(
            item.prepared.artifact,
            self._target.runtimes,
            abi=self._abi,
            os=self._os,
            python_facts=lambda: self._python_facts,
            cache_dir=self._cache.runners,
            emit=emitter(self._sink, "setup", self._device.name),
            sink=self._sink,
        )

    def placed(self, payload: Payload, release_dir: str, scratch: str) -> Placed:
        """Where a payload lies in a release on it."""
        start = tuple(word.replace("{compute_units}", self._target.compute_units) for word in payload.bundle.start)
        return Placed(
            artifact=payload.prepared.artifact,
            bundle=msgspec.structs.replace(payload.bundle, start=start),
            artifact_dir=f"{release_dir}/{payload.artifact_dir}",
            runner_dir=f"{release_dir}/{payload.runner_dir}",
            scratch=scratch,
            python=self._python,
            device=self._device.name,
        )

    @cached_property
    def _python_facts(self) -> Mapping[str, str]:
        return python_facts_of(self.connection, self._python)
