"""The Python agent as a bundle, for devices that have Python and an engine."""

from __future__ import annotations

from pathlib import Path

import edgedeploy.agent
from edgedeploy.domain.release import RunnerBundle
from edgedeploy.runners.local_file import local_file

_FILE = "edgedeploy_agent.py"


def agent_runner() -> RunnerBundle:
    """Return the agent: one file, started with the device's Python interpreter."""
    # Found as a file and not imported: it is written for the device's Python, and names engines the host may not have.
    folder = Path(edgedeploy.agent.__path__[0])
    return RunnerBundle(name="agent", files=(local_file(folder / _FILE, _FILE),), start=("{python}", "{dir}/" + _FILE))
