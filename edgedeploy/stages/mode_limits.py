"""Which modes can be measured where. What cannot is refused before anything is exported or pushed."""

from __future__ import annotations

from edgedeploy.domain.mode import Mode
from edgedeploy.domain.target import Target
from edgedeploy.errors import UsageError
from edgedeploy.host import host_os
from edgedeploy.stages.plan import PlannedRun

_ONE: frozenset[Mode] = frozenset({"single"})
_SHORT: frozenset[Mode] = frozenset({"single", "cold"})


def require_possible(run: PlannedRun, target: Target, *, language: bool) -> None:
    """Whether devices of that target can be measured in the mode of a run.

    Raises:
        UsageError: they cannot; with the modes in which they can be.
    """
    system = host_os() if target.os == "host" else target.os
    if system == "ios":
        possible, why = _ONE, "our app on an iPhone does one inference after the other, and no more"
    elif system == "macos":
        possible, why = _SHORT, "a Mac has no /proc, by which a device sees that nobody waits for its programs any more"
    elif language:
        possible, why = _SHORT, "a language model answers one prompt in a process"
    else:
        return
    if run.policy.mode not in possible:
        raise UsageError(
            f"{run.model_name} cannot be measured in mode {run.policy.mode!r} on {target.name}",
            seen=why,
            next_step=f"measure it by --mode {' or '.join(sorted(possible, reverse=True))}, or by mode in its `measure`",
        )
