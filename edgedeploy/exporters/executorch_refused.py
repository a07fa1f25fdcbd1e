"""What ExecuTorch's lanes refuse, as far as a model's profile tells. Needs no SDK."""

from __future__ import annotations

from collections.abc import Iterator

from edgedeploy.domain.plan import Obstacle
from edgedeploy.domain.precision import FLOAT32_ADVICE
from edgedeploy.domain.profile import ModelProfile, Weight
from edgedeploy.domain.target import Lane, Target
from edgedeploy.exporters.coreml_precisions import deployment, require_precision, require_states
from edgedeploy.exporters.refused import first_weight, raised, refused_operators, unbounded_sizes

# Exported one by one, in several forms each, with torch 2.13.0 and executorch 1.5.1: not in the Core ATen set and nothing
# decomposes them, or no kernel in ExecuTorch's libraries. tests/integration/test_refused.py exports each of them.
OPERATORS = frozenset(
    {
        "adaptive_max_pool1d", "adaptive_max_pool2d", "argsort", "avg_pool3d", "bincount", "bucketize", "complex", "cummax",
        "cummin", "cumprod", "embedding_bag", "erfinv", "kthvalue", "linalg_cholesky", "linalg_inv", "linalg_solve",
        "linalg_svd", "max_pool3d", "median", "polar", "quantile", "scatter_reduce", "searchsorted", "sort", "std_mean",
        "var_mean", "view_as_complex",
    }
)  # fmt: skip
_GROUP = 32
_SMALL_WEIGHTS = {"int8-weights": 8, "int4-weights": 4}
_CONVOLUTIONS = ("conv2d", "conv_transpose2d", "convolution")


def refusals(profile: ModelProfile, lane: Lane, target: Target) -> Iterator[Obstacle]:
    """What an export by ``lane`` was seen to refuse, and finds in this model."""
    yield from unbounded_sizes(profile, "ExecuTorch needs an upper bound for a dimension that moves")
    if lane.backend == "coreml":
        yield from raised(lambda: require_precision(deployment(target.os, target.min_os), lane.precision, instead="int8-weights"))
        if profile.states:
            yield from raised(lambda: require_states(deployment(target.os, target.min_os)))
    if lane.backend in {"xnnpack", "portable"}:
        yield from refused_operators(profile, OPERATORS, "ExecuTorch")
        yield from _coarse_weights(profile, lane.precision)
        yield from _nothing_to_do(profile, lane.precision)


def _coarse_weights(profile: ModelProfile, precision: str) -> Iterator[Obstacle]:
    """Exports of bfloat16 pass or fail by what forward does with it: a linear layer in fp32 is right to 42 dB, short of 60."""
    weight = first_weight(profile, {"bfloat16"})
    if weight is not None and precision in {"fp32", "fp16"}:
        yield Obstacle(
            what=f"weights in bfloat16, in which PyTorch's own answers are too coarse to tell {precision} from a mistake",
            where=weight.name.removeprefix("inner."),
            next_step=FLOAT32_ADVICE,
            certain=False,
        )


def _nothing_to_do(profile: ModelProfile, precision: str) -> Iterator[Obstacle]:
    """Precisions that would change nothing: layers that XNNPACK has them for are not there."""
    layers = ("linear", "addmm", "embedding")
    if precision in _SMALL_WEIGHTS and not profile.computes(*layers):
        yield Obstacle(
            what=f"int{_SMALL_WEIGHTS[precision]} weights would change nothing: the model has no linear layer and no embedding",
            next_step="take precision int8 or fp16",
        )
    if precision == "int8-dynamic" and not profile.computes(*layers, *_CONVOLUTIONS):
        yield Obstacle(
            what="int8 would change nothing: the model has no linear layer and no convolution of images",
            next_step="take precision int8, or fp32",
        )
    if precision == "8da4w" and not any(map(_takes_groups, profile.weights)):
        yield Obstacle(
            what=f"8da4w would change nothing: no linear layer has a width that is a multiple of {_GROUP}",
            next_step="take precision int8",
        )


def _takes_groups(weight: Weight) -> bool:
    """Whether it may be that of a linear layer. One that is read in an unusual way is ``other``, one for nothing ``unused``."""
    matrix = len(weight.shape) == 2  # noqa: PLR2004 - rows and columns
    return matrix and weight.shape[1] % _GROUP == 0 and not {"linear", "other", "unused"}.isdisjoint(weight.kinds)
