"""A process of its own: one file to one device, by the store, with everything imported before the clock starts.

What is timed is connecting, looking at the store, the device helper if there is one to install, and the file, verified on the
device. ``python receive.py JSON`` prints the seconds.
"""

from __future__ import annotations

import sys
import time

import msgspec

from edgedeploy import registry
from edgedeploy.deploy.store import Store
from edgedeploy.domain.device import Device
from edgedeploy.domain.release import LocalFile


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What is to go where."""

    device: Device
    workdir: str
    file: LocalFile
    helper: LocalFile | None = None


def main() -> None:
    """Do what the argument asks."""
    asked = msgspec.json.decode(sys.argv[1], type=Asked)
    transport = registry.transport(asked.device.transport)
    started = time.perf_counter()
    connection = transport.connect(asked.device)
    try:
        store = Store(connection, device=asked.device.name, workdir=asked.workdir, project="bench")
        if asked.helper is not None:
            store.install_helper(asked.helper)
        store.receive(asked.file, progress=lambda _count: None)
    finally:
        connection.close()
    print(time.perf_counter() - started)


if __name__ == "__main__":
    main()
