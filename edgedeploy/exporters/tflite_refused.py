"""What TFLite's lanes refuse, as far as a model's profile tells. Needs no SDK."""

from __future__ import annotations

from collections.abc import Iterator

from edgedeploy.domain.plan import Obstacle
from edgedeploy.domain.profile import ModelProfile, Weight
from edgedeploy.domain.target import Lane
from edgedeploy.exporters.refused import refused_operators, refused_weights

# Exported one by one, in several forms each, with torch 2.13.0, litert-torch 0.10.0 and ai-edge-litert 2.3.0: no lowering,
# or one to an operator that LiteRT does not run. tests/integration/test_refused.py exports each of them.
OPERATORS = frozenset(
    {
        "_unique2", "_upsample_bicubic2d_aa", "_upsample_bilinear2d_aa", "adaptive_max_pool1d", "adaptive_max_pool2d", "argsort",
        "bincount", "bucketize", "col2im", "complex", "cummax", "cummin", "cumprod", "embedding_bag", "erfinv", "fft_irfft",
        "kthvalue", "linalg_cholesky", "linalg_inv", "linalg_solve", "linalg_svd", "masked_scatter", "median", "nonzero",
        "polar", "quantile", "scatter_add", "scatter_reduce", "searchsorted", "sort", "stft", "view_as_complex",
    }
)  # fmt: skip
_GROUP = 32
_OF_WEIGHTS = frozenset({"int8-dynamic", "int8-weights", "int4-weights", "8da4w"})
_LOOKUPS = ("embedding", "gather", "index", "index_select")
_PRODUCTS = ("matmul", "mm", "bmm", "baddbmm", "einsum", "tensordot", "inner")


def refusals(profile: ModelProfile, lane: Lane) -> Iterator[Obstacle]:
    """What an export by ``lane`` was seen to refuse, and finds in this model."""
    if profile.states:
        names = ", ".join(state.name for state in profile.states)
        yield Obstacle(
            what="TFLite has no place for a model with state",
            where=names[:300],
            next_step="pass the state in and out as inputs and outputs, or choose ExecuTorch or Core ML, which keep it",
        )
    yield from refused_weights(profile, {"bfloat16", "float64"}, "litert-torch")
    yield from refused_operators(profile, OPERATORS, "litert-torch")
    if _changes_nothing(profile, lane.precision):
        yield Obstacle(
            what=f"nothing in this model can be {lane.precision} in TFLite",
            next_step="use int8-dynamic or int8-weights" if _multiplies(profile) else "use fp32: the file would be the same",
        )


def _changes_nothing(profile: ModelProfile, precision: str) -> bool:
    if precision in _OF_WEIGHTS and not _multiplies(profile):
        return True
    # What multiplies by a constant that forward makes has no weight in the profile, and may become a linear layer.
    return precision == "8da4w" and not profile.computes(*_PRODUCTS) and not any(map(_takes_groups, profile.weights))


def _multiplies(profile: ModelProfile) -> bool:
    return any(method.macs for method in profile.methods) or profile.computes(*_LOOKUPS)


def _takes_groups(weight: Weight) -> bool:
    """Whether it may be that of a linear layer: convolutions and tables stay what they are."""
    wide = len(weight.shape) > 1 and any(size % _GROUP == 0 for size in weight.shape)
    return wide and not {"linear", "recurrent", "other"}.isdisjoint(weight.kinds)
