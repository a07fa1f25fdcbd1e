"""Core ML on iPhones, by our app (runner/ios). Neither was ever run: it needs a Mac, a phone and a certificate."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from edgedeploy.domain.artifact import Artifact, Format
from edgedeploy.domain.release import RunnerBundle
from edgedeploy.domain.target import Abi, Os
from edgedeploy.ports import RUNNER_APP, Emit


class CoremlApp:
    """Runs .mlpackage by the app that a person has built and installed once (docs/iphones.md): a release brings no program."""

    name = "coreml-app"
    formats: frozenset[Format] = frozenset({"mlpackage"})
    uses_python = False

    def runs_on(self, abi: Abi, os: Os) -> bool:
        """On iOS only."""
        return os == "ios" and abi == "ios-arm64"

    def bundle(self, abi: Abi, *, cache_dir: Path, emit: Emit) -> RunnerBundle:  # noqa: ARG002 - it is on the phone already
        """The app's name and the compute units that the target allows; no files."""
        return RunnerBundle(name=self.name, files=(), start=(RUNNER_APP, "--compute-units", "{compute_units}"))

    def requirement(self, abi: Abi, python_facts: Mapping[str, str], artifact: Artifact) -> str:  # noqa: ARG002 - needs no Python
        """It runs models call by call, not token by token. Whether it is installed is the transport's to say."""
        return "the app does not run language models" if artifact.language is not None else ""
