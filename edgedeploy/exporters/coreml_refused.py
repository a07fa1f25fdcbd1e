"""What Core ML's lanes refuse, as far as a model's profile tells. Needs no SDK."""

from __future__ import annotations

from collections.abc import Iterator

from edgedeploy.domain.plan import Obstacle
from edgedeploy.domain.profile import ModelProfile
from edgedeploy.domain.target import Lane, Target
from edgedeploy.exporters.coreml_precisions import deployment, require_methods, require_precision, require_states
from edgedeploy.exporters.refused import raised, refused_operators, refused_weights, unbounded_sizes

# Exported one by one, in several forms each, with torch 2.13.0 and coremltools 9.0: no translation, or one that fails.
# tests/integration/test_refused.py exports each of them.
OPERATORS = frozenset(
    {
        "_unique2", "acosh", "argsort.stable", "asinh", "bincount", "cummax", "cummin", "embedding_bag", "erfinv", "kthvalue",
        "lerp.Scalar", "linalg_cholesky", "linalg_inv", "linalg_solve", "linalg_svd", "median.default", "polar", "sort.stable",
        "view_as_complex",
    }
)  # fmt: skip


def refusals(profile: ModelProfile, lane: Lane, target: Target) -> Iterator[Obstacle]:
    """What an export by ``lane`` was seen to refuse, and finds in this model."""
    yield from raised(lambda: require_precision(deployment(target.os, target.min_os), lane.precision))
    if len(profile.methods) > 1:
        yield from raised(lambda: require_methods(deployment(target.os, target.min_os)))
    yield from _states(profile, target)
    yield from unbounded_sizes(profile, "Core ML programs need an upper bound for a dimension that moves")
    yield from refused_weights(profile, {"bfloat16"}, "coremltools")
    yield from refused_operators(profile, OPERATORS, "coremltools")


def _states(profile: ModelProfile, target: Target) -> Iterator[Obstacle]:
    if profile.states:
        yield from raised(lambda: require_states(deployment(target.os, target.min_os)))
    for state in profile.states:
        if not state.dtype.startswith("float"):
            yield Obstacle(
                what=f"Core ML states are float16, and buffer {state.name!r} is {state.dtype}",
                where=state.name,
                next_step="keep it in a float buffer, or pass it in and out as an input and an output",
            )
        elif not state.zeros:
            yield Obstacle(
                what=f"Core ML states begin as zeros, and buffer {state.name!r} does not",
                where=state.name,
                next_step="store the difference from its first value, or pass it in and out as an input and an output",
            )
