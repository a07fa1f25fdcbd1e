"""Why a runner was killed: what the device says about its memory, before and after. Pure."""

from __future__ import annotations

from edgedeploy.domain.measurement import DeviceFacts
from edgedeploy.errors import RunnerKilledError

_SMALLER = "try a smaller model or precision, or close other programs on the device"


def explained(error: RunnerKilledError, before: DeviceFacts, after: DeviceFacts, model_bytes: int) -> RunnerKilledError:
    """The same error, with as much certainty about memory as the device's facts give.

    The kernel counts what it ends for want of memory, in all groups of processes (``oom_kill`` of /proc/vmstat). Android's own
    killer, lmkd, sends a signal and is not counted.
    """
    seen = [error.seen]
    if before.memory_available_bytes is not None:
        seen.append(f"{before.memory_available_bytes / 1e6:.0f} MB were free before, the model has {model_bytes / 1e6:.0f} MB")
    counted = None if before.oom_kills is None or after.oom_kills is None else after.oom_kills - before.oom_kills
    if counted is not None:
        seen.append(
            f"the kernel counts {counted} {'process' if counted == 1 else 'processes'} ended for want of memory since then"
        )
    if counted:
        what, next_step = "memory ran out, and the kernel ended the runner", _SMALLER
    elif before.memory_available_bytes is not None and before.memory_available_bytes < model_bytes:
        what, next_step = "the runner was killed (SIGKILL), and the model is larger than the memory that was free", _SMALLER
    elif counted == 0 and before.os != "android":
        what, next_step = error.what, "the kernel did not end it for want of memory: something else on the device did"
    else:
        what, next_step = error.what, error.next_step
    return RunnerKilledError(what, where=error.where, seen="; ".join(seen), next_step=next_step)
