"""What is done to a model, and what is good enough."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from edgedeploy.domain.target import Name

Positive = Annotated[float, Meta(gt=0, le=1e12)]  # the bound keeps infinity out
Decibel = Annotated[float, Meta(ge=-1000, le=1000)]


class CompressStep(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One compressor with its settings."""

    use: Name
    settings: dict[str, float | str | bool] = {}


class Floors(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The least agreement with PyTorch that is accepted, on the host and on the device. None: not asked."""

    min_sqnr_db: Decibel | None = None
    min_cosine: Annotated[float, Meta(ge=-1, le=1)] | None = None
    max_abs_error: Positive | None = None


class Recipe(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[recipes.NAME]``: compress steps in order, then a lane of this precision."""

    precision: Name
    compress: tuple[CompressStep, ...] = ()
    accept: Floors = Floors()


class Budget(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Upper bounds a run has to keep; a bound that is not given is not judged. MB is 10^6 bytes."""

    latency_p50_ms: Positive | None = None
    latency_p90_ms: Positive | None = None
    latency_p99_ms: Positive | None = None
    load_ms: Positive | None = None
    peak_rss_mb: Positive | None = None
    size_mb: Positive | None = None


# Exports of one model differ in rounding only at fp32: XNNPACK and LiteRT reach 120-130 dB on CNNs and transformers, a wrong
# operator lands below 30. Eight-bit weights and activations leave 28-49 dB on models that still work and below 10 on ruined ones
# (measured while this was written; docs/accuracy.md has the table).
DEFAULT_FLOORS = {
    "fp32": Floors(min_sqnr_db=60.0, min_cosine=0.9999),
    "int8": Floors(min_sqnr_db=15.0, min_cosine=0.98),
}


def floors_of(recipe: Recipe) -> Floors:
    """The recipe's own floors, or its precision's defaults where it says nothing at all."""
    return DEFAULT_FLOORS.get(recipe.precision, Floors()) if recipe.accept == Floors() else recipe.accept
