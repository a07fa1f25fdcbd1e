"""Why a stand-in cannot be had on this machine."""

from __future__ import annotations

INSTALL_COMMAND = "scripts/install-test-tools"


class StandinUnavailableError(RuntimeError):
    """A tool, a kernel feature or the network is missing; the message says which and what to do."""

    def __init__(self, what: str, *, next_step: str = f"run {INSTALL_COMMAND}") -> None:
        super().__init__(f"{what}; next: {next_step}")
        self.what = what
        self.next_step = next_step
