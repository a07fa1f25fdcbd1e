"""What a user hands over: a PyTorch module and inputs for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class ModelSource:
    """What the callable named in ``edgedeploy.toml`` returns.

    Args:
        module: the model; it is put into eval mode.
        example_inputs: positional inputs of ``module.forward``; their shapes and dtypes are the exported ones.
        golden_inputs: the inputs on which every export, on the host and on the device, is compared with PyTorch; same
            shapes and dtypes as ``example_inputs``. Default: the example inputs themselves.
        calibration: real inputs that int8 lanes observe to choose scales; ten to a few hundred. Default: the golden
            inputs, which is enough to run and seldom enough to be accurate.
    """

    module: nn.Module
    example_inputs: tuple[Tensor, ...]
    golden_inputs: Sequence[tuple[Tensor, ...]] = ()
    calibration: Sequence[tuple[Tensor, ...]] = ()


@dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """A source that was loaded, put into eval mode and run once: what compressors and exporters work on.

    ``golden_inputs`` and ``calibration`` are never empty. ``user_root`` is the folder whose files count as the user's own
    code when an operator is traced back to its source line.
    """

    name: str
    module: nn.Module
    example_inputs: tuple[Tensor, ...]
    golden_inputs: tuple[tuple[Tensor, ...], ...]
    calibration: tuple[tuple[Tensor, ...], ...]
    user_root: str
