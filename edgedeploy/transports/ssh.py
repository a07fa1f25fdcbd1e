"""Boards and other machines, over SSH. The only way to this module is the registry: it imports paramiko."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import paramiko

from edgedeploy.domain.device import Device, DeviceState
from edgedeploy.errors import DeviceLostError, DeviceRunError, DeviceUnavailableError
from edgedeploy.ports import ByteProgress, Completed
from edgedeploy.shell import quote_command
from edgedeploy.transports.known_hosts import HostKey
from edgedeploy.transports.partial_file import size_of_file_to_send, whole_or_absent
from edgedeploy.transports.ssh_endpoint import Endpoint, endpoint_of
from edgedeploy.transports.ssh_exec import CommandTimeoutError, PeerSilentError, RawEnd, open_channel, run_line
from edgedeploy.transports.ssh_link import HostKeyError, Link, open_link
from edgedeploy.transports.ssh_login import LoginRefusedError, log_in
from edgedeploy.transports.storage_complaints import cannot_write
from edgedeploy.transports.tracked_command import (
    WITNESS_EXIT_CODE,
    kill_line,
    new_token,
    read_tracked,
    tracked_line,
)
