"""What our app writes that is no measurement: how the phone is, which blobs are damaged (docs/runner-protocol.md)."""

from __future__ import annotations

from typing import Literal

import msgspec

from edgedeploy.runners.document import RunnerIdentity, Sha256, SizeBytes

ThermalState = Literal["nominal", "fair", "serious", "critical", "unknown"]


class AppFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The phone as the app sees it. ``model`` is the kernel's name of it, e.g. iPhone15,4; a battery level of -1 is unknown."""

    os_version: str
    model: str
    memory_total_bytes: SizeBytes
    memory_available_bytes: SizeBytes
    storage_free_bytes: SizeBytes
    thermal_state: ThermalState
    low_power_mode: bool
    battery_percent: int = -1
    battery_charging: bool | None = None


class AppDocument(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to ``--facts``, ``--check`` and ``--remove``; ``damaged`` are the checked blobs that are another file."""

    schema: Literal["edgedeploy.runner/1"]
    runner: RunnerIdentity
    device: AppFacts
    damaged: tuple[Sha256, ...] = ()
