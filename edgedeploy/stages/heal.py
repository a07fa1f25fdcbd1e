"""After a run that failed: whether bits have turned on the device's storage, and the files sent again."""

from __future__ import annotations

from collections.abc import Sequence

from edgedeploy.deploy.store import Store
from edgedeploy.domain.events import Note, Sink
from edgedeploy.errors import DeviceRunError
from edgedeploy.stages.push import Payload


def healed(store: Store, payloads: Sequence[Payload], sink: Sink, device: str) -> bool:
    """Whether files of these payloads were damaged on the device, and have been sent again.

    Raises:
        DeviceRunError: damaged is what is on the device and nowhere else.
        DeviceLostError: the device went away.
    """
    files = {file.entry.sha256: file for payload in payloads for file in payload.files()}
    damaged = store.damaged(tuple(file.entry for file in files.values()))
    if not damaged:
        return False
    here = {file.entry.sha256 for payload in payloads for file in payload.local_files()}
    for payload in payloads:
        artifact = payload.prepared.artifact
        if gone := [entry.path for entry in (*artifact.files, *artifact.input_files()) if entry.sha256 in damaged - here]:
            raise DeviceRunError(
                "what is compared with was damaged on the device",
                where=f"device {device}",
                seen=f"{', '.join(gone)} of {payload.prepared.run.label}",
                next_step="compare with another release or git:REVISION; `edgedeploy verify --all` removes what is damaged",
            )
    for sha in damaged:
        store.receive(files[sha], progress=lambda _count: None)
    names = ", ".join(sorted(files[sha].entry.path for sha in damaged))
    sink(Note(text=f"{device}: damaged on the device, sent again: {names}", level="warning"))
    return True
