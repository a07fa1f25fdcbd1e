"""What a user hands over: a PyTorch module and inputs for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar, cast

if TYPE_CHECKING:
    from torch import Tensor, nn

T = TypeVar("T")
Predict = Callable[..., object]
"""Takes what ``forward`` takes, returns what ``forward`` returns."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The user's own measure of how good a model is: accuracy, F1, word error rate, perplexity.

    Args:
        metric: its name, as reports show it.
        function: given a callable that computes like the model, returns the metric. It is called with PyTorch's model and
            with the artifact, has to give both the same inputs, and may not feed outputs back into inputs.
        higher_is_better: false for errors and perplexity.
    """

    metric: str
    function: Callable[[Predict], float]
    higher_is_better: bool = True


@dataclass(frozen=True, kw_only=True)
class MethodSource:
    """A further method of an artifact: a module that may share layers with the main one, with inputs as there."""

    module: nn.Module
    example_inputs: tuple[Tensor, ...]
    golden_inputs: Sequence[tuple[Tensor, ...]] = ()
    calibration: Sequence[tuple[Tensor, ...]] = ()
    dynamic_shapes: object = None


@dataclass(frozen=True, kw_only=True)
class ModelSource:
    """What the callable named in ``edgedeploy.toml`` returns.

    Args:
        module: the model; it is put into eval mode.
        example_inputs: positional inputs of ``module.forward``; their shapes and dtypes are the exported ones.
        golden_inputs: the inputs on which every export, on the host and on the device, is compared with PyTorch; dtypes as
            in ``example_inputs``, shapes too but for dynamic dimensions. Default: the example inputs themselves.
        calibration: real inputs that int8 lanes observe to choose scales; ten to a few hundred. Default: the golden
            inputs, which is enough to run and seldom enough to be accurate.
        dynamic_shapes: as ``torch.export.export`` takes it, one entry per positional input:
            ``({0: torch.export.Dim("batch", min=1, max=8)},)``. Default: all shapes are fixed.
        methods: further methods of the same artifact by name, where the format has them.
        evaluation: how good the model is by its own measure; judged by ``accept = { max_metric_drop = … }``.
    """

    module: nn.Module
    example_inputs: tuple[Tensor, ...]
    golden_inputs: Sequence[tuple[Tensor, ...]] = ()
    calibration: Sequence[tuple[Tensor, ...]] = ()
    dynamic_shapes: object = None
    methods: Mapping[str, MethodSource] = field(default_factory=dict)
    evaluation: Evaluation | None = None


@dataclass(frozen=True, kw_only=True)
class LoadedMethod:
    """One method of a model. ``golden_inputs`` and ``calibration`` are never empty."""

    name: str
    module: nn.Module
    example_inputs: tuple[Tensor, ...]
    golden_inputs: tuple[tuple[Tensor, ...], ...]
    calibration: tuple[tuple[Tensor, ...], ...]
    dynamic_shapes: object = None


@dataclass(frozen=True, kw_only=True)
class LoadedLanguage:
    """What is known of a language model besides its module: an :class:`edgedeploy.exporters.decoder.Decoder`.

    ``prompts`` are token numbers, the first one to be measured, each to be answered by ``generate_tokens``; ``text`` is
    empty where perplexity is not asked for.
    """

    architecture: str
    vocabulary: int
    end_tokens: tuple[int, ...]
    begin_token: int | None
    layers: int
    kv_heads: int
    head_size: int
    context_length: int
    prefill_tokens: int
    prompts: tuple[tuple[int, ...], ...]
    generate_tokens: int
    text: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """A source that was loaded, put into eval mode and run once: what compressors and exporters work on.

    ``methods`` has the main one first, called ``forward``. ``user_root`` is the folder whose files count as the user's own
    code when an operator is traced back to its source line.
    """

    name: str
    methods: tuple[LoadedMethod, ...]
    user_root: str
    evaluation: Evaluation | None = None
    language: LoadedLanguage | None = None
    shared: dict[str, object] = field(default_factory=dict, compare=False, repr=False)

    @property
    def main(self) -> LoadedMethod:
        """The first method."""
        return self.methods[0]

    def once(self, key: str, make: Callable[[], T]) -> T:
        """The result of ``make``, made once for all lanes of one worker: a trace, say. It may not be changed."""
        if key not in self.shared:
            self.shared[key] = make()
        return cast("T", self.shared[key])
