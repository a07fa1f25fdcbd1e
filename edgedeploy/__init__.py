"""From a PyTorch model to measured, trusted latency on your own phones and boards."""

from __future__ import annotations

from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from edgedeploy.pipeline import Pipeline as Pipeline
    from edgedeploy.source import Evaluation as Evaluation
    from edgedeploy.source import MethodSource as MethodSource
    from edgedeploy.source import ModelSource as ModelSource

__all__ = ["Evaluation", "MethodSource", "ModelSource", "Pipeline", "__version__"]

_SOURCE = ("Evaluation", "MethodSource", "ModelSource")
_HOMES = {"Pipeline": "edgedeploy.pipeline"} | dict.fromkeys(_SOURCE, "edgedeploy.source")


def __getattr__(name: str) -> object:
    """Import public names when they are used, so that ``import edgedeploy`` costs nothing."""
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'edgedeploy' has no attribute {name!r}")
