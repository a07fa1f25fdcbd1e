"""What is done to a model, and what is good enough."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from edgedeploy.domain.comparison import FIGURES, Figure
from edgedeploy.domain.mode import Mode
from edgedeploy.domain.target import Name

Positive = Annotated[float, Meta(gt=0, le=1e12)]  # the bound keeps infinity out
Percent = Annotated[float, Meta(ge=0, le=10_000)]
_PERCENT = 100
Decibel = Annotated[float, Meta(ge=-1000, le=1000)]


class CompressStep(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One compressor with its settings."""

    use: Name
    settings: dict[str, float | str | bool] = {}


class Floors(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The least agreement with PyTorch that is accepted, on the host and on the device. None: not asked.

    ``min_top1`` is the share of cases in which the largest value of a classifier's output is at the same place;
    ``min_same`` the share of values that are the same in outputs of integers and booleans (``argmax``, ``x > 0``), to which
    SQNR, cosine and the largest error do not apply then: without it they are judged as all others are;
    ``max_metric_drop`` how much worse the model source's own metric may become, in that metric's unit. Of a language model,
    ``min_same_tokens`` is the share of generated tokens that are PyTorch's, ``max_perplexity_increase`` by how much of itself
    perplexity may grow (0.1: from 10 to 11).
    """

    min_sqnr_db: Decibel | None = None
    min_cosine: Annotated[float, Meta(ge=-1, le=1)] | None = None
    max_abs_error: Positive | None = None
    min_top1: Annotated[float, Meta(ge=0, le=1)] | None = None
    min_same: Annotated[float, Meta(ge=0, le=1)] | None = None
    max_metric_drop: Annotated[float, Meta(ge=0, le=1e12)] | None = None
    min_same_tokens: Annotated[float, Meta(ge=0, le=1)] | None = None
    max_perplexity_increase: Annotated[float, Meta(ge=0, le=1e12)] | None = None


class Recipe(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[recipes.NAME]``: compress steps in order, then a lane of this precision."""

    precision: Name
    compress: tuple[CompressStep, ...] = ()
    accept: Floors = Floors()


class Gate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """By how many per cent a run may be worse than its baseline, both measured in turn; what is not given is not judged.

    ``tokens_per_s_percent`` is by how many per cent fewer tokens a language model may decode in a second: a bound for the mean
    time of a token.
    """

    latency_p50_percent: Percent | None = None
    latency_p90_percent: Percent | None = None
    latency_p99_percent: Percent | None = None
    latency_mean_percent: Percent | None = None
    ttft_percent: Percent | None = None
    tokens_per_s_percent: Annotated[float, Meta(ge=0, lt=100)] | None = None
    load_percent: Percent | None = None
    peak_rss_percent: Percent | None = None
    size_percent: Percent | None = None

    @property
    def asks(self) -> bool:
        """Whether anything is judged."""
        return bool(self.bounds) or self.size_percent is not None

    @property
    def size(self) -> float | None:
        """By what fraction the artifact may be larger."""
        return None if self.size_percent is None else self.size_percent / _PERCENT

    @property
    def bounds(self) -> tuple[tuple[Figure, float], ...]:
        """Each figure that is compared on the device, with what is tolerated as a fraction."""
        given = {figure: percent / _PERCENT for figure in FIGURES if (percent := getattr(self, f"{figure}_percent")) is not None}
        if self.tokens_per_s_percent is not None:
            slower = _PERCENT / (_PERCENT - self.tokens_per_s_percent) - 1
            given["latency_mean"] = min(slower, given.get("latency_mean", slower))
        return tuple((figure, given[figure]) for figure in FIGURES if figure in given)


class Budget(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Upper bounds a run has to keep; a bound that is not given is not judged. MB is 10^6 bytes.

    ``energy_mj`` is that of an inference; of a language model, that of a token after the first.

    It is for runs measured in ``mode``; of others, only the size is judged. ``throughput_per_s`` is a lower bound: inferences
    per second of all instances together.
    """

    mode: Mode = "single"
    latency_p50_ms: Positive | None = None
    latency_p90_ms: Positive | None = None
    latency_p99_ms: Positive | None = None
    load_ms: Positive | None = None
    peak_rss_mb: Positive | None = None
    size_mb: Positive | None = None
    energy_mj: Positive | None = None
    throughput_per_s: Positive | None = None

    def __post_init__(self) -> None:
        """A bound that is never judged would look like one that is kept."""
        if self.energy_mj is not None and self.mode != "single":
            raise ValueError(f'`energy_mj` is for mode = "single", and this budget is for mode = "{self.mode}"')
        if self.throughput_per_s is not None and self.mode != "throughput":
            raise ValueError(f'`throughput_per_s` is for mode = "throughput", and this budget is for mode = "{self.mode}"')
