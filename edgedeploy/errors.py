"""Every failure a user can meet, as one tree.

::

    EdgedeployError
    ├── UsageError            2   wrong command line, unknown name
    │   ├── ConfigError       2   a file says something that is not allowed
    │   └── SignatureError    2   nobody who is trusted vouches for what would be deployed
    ├── MissingToolError      3   an SDK, adb, a compiler is not installed
    ├── ModelError            4   the user's model cannot be loaded or run
    ├── CompressError         4   a compressor failed
    ├── ExportError           4   the SDK cannot convert the model
    ├── VerifyError           4   the export computes something else
    ├── DeviceError           5   a device cannot be used as it is now
    │   ├── DeviceUnavailableError  5   locked, not authorised, unknown
    │   │   └── DeviceAbsentError   5   not there, or not answering just now (CI may retry)
    │   ├── DeviceBusyError         5   somebody else has it (CI may retry)
    │   └── DeviceLostError         5   was there, and went away (CI may retry)
    │       ├── CommandTimeoutError 5   is there, and a command did not end in time
    │       └── LeaseLostError      5   somebody else has it by now
    ├── DeviceRunError        6   the device answered, and the work on it failed
    │   ├── DeviceStorageError      6   full, read-only, not executable
    │   └── RunnerError             6   the runner failed, crashed or printed nonsense
    │       └── RunnerKilledError   6   it was killed: memory ran out, or somebody did it
    └── InternalError        70   our bug

Exit codes 1 (a gate failed) and 7 (inconclusive) belong to verdicts, not to exceptions; see
:mod:`edgedeploy.domain.verdict`.
"""

from __future__ import annotations

from typing import ClassVar


class EdgedeployError(Exception):
    """What failed, where, what was seen, and what to do next.

    Args:
        what: one sentence without a full stop, e.g. ``"unknown target 'pixle8'"``.
        where: a place the user can open: ``file: key``, a device, an operator with its source line.
        seen: what was found there, verbatim (a tool's own message, a value).
        next_step: what to do now, best a command that can be pasted.
    """

    exit_code: ClassVar[int] = 70
    retryable: ClassVar[bool] = False

    def __init__(self, what: str, *, where: str = "", seen: str = "", next_step: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.seen = seen
        self.next_step = next_step

    def __str__(self) -> str:
        parts = [f"{self.where}: {self.what}" if self.where else self.what]
        if self.seen:
            parts.append(f"  seen: {self.seen}")
        if self.next_step:
            parts.append(f"  next: {self.next_step}")
        return "\n".join(parts)


class UsageError(EdgedeployError):
    """The command line or a call asks for something that does not exist."""

    exit_code = 2


class ConfigError(UsageError):
    """A configuration file says something that is not allowed."""


class SignatureError(UsageError):
    """A device demands signatures, and what would be deployed has none, or none that holds."""


class MissingToolError(EdgedeployError):
    """An SDK, a client program or a compiler is not installed."""

    exit_code = 3


class ModelError(EdgedeployError):
    """The user's model source cannot be loaded, or its forward raises."""

    exit_code = 4


class CompressError(EdgedeployError):
    """A compression step failed on this model."""

    exit_code = 4


class ExportError(EdgedeployError):
    """An SDK cannot convert the model; ``where`` holds the operator and its source line."""

    exit_code = 4


class VerifyError(EdgedeployError):
    """The exported artifact computes something else than the model."""

    exit_code = 4


class DeviceError(EdgedeployError):
    """A device cannot be used."""

    exit_code = 5


class DeviceUnavailableError(DeviceError):
    """The device is not there, not authorised, or refuses us; a retry alone does not help."""


class DeviceAbsentError(DeviceUnavailableError):
    """The device is not there, or does not answer just now: off, unplugged, starting, out of the network. A retry may help."""

    retryable = True


class DeviceBusyError(DeviceError):
    """Somebody else has taken the device; it will be free again."""

    retryable = True


class DeviceLostError(DeviceError):
    """The device went away in the middle of something; a retry may help."""

    retryable = True


class CommandTimeoutError(DeviceLostError):
    """A command did not end within its time limit, and was killed; whether the device is well is not known."""


class LeaseLostError(DeviceLostError):
    """The lease on the device expired, and somebody else took it."""


class DeviceRunError(EdgedeployError):
    """The device answered, and the work on it failed."""

    exit_code = 6


class DeviceStorageError(DeviceRunError):
    """The device's storage is full, read-only, or does not allow programs."""


class RunnerError(DeviceRunError):
    """The runner on the device failed, crashed, or printed something that is not its document."""


class RunnerKilledError(RunnerError):
    """The runner was ended by SIGKILL, which is what the kernel does when memory runs out."""


class InternalError(EdgedeployError):
    """A bug of edgedeploy's own."""
