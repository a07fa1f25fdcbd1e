"""Models of PyTorch's eager-mode quantization (``QuantStub``, ``prepare``, ``convert``), as float models again.

An SDK quantizes by itself and for its own kernels; of a model that PyTorch has quantized, fully or in part, it can use
nothing. So stubs and observers come out, and int8 weights become the float numbers that they stand for. Imports torch: load
it when it is needed.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from edgedeploy.agreement import compare
from edgedeploy.errors import ModelError
from edgedeploy.exporters.eager import run_eagerly
from edgedeploy.exporters.signature import flatten_outputs
from edgedeploy.worker.quantized_functions import FloatArithmetic

# Converted networks of two to ten layers were seen at 12 to 30 dB from their twins, with random weights, the hardest case.
# At 6 dB the difference is half as large as the answer. Kernels of PyTorch's that are wrong (2.13: transposed convolutions
# and PReLU, on x86) left -7 to 11 dB.
LEAST_SQNR_DB = 6.0

_GIVE_THE_FLOAT_MODEL = "give the float model, with or without QuantStub, and calibration inputs: int8 lanes do the rest"


def float_twin(module: nn.Module, cases: Sequence[tuple[Tensor, ...]], where: str) -> nn.Module:
    """``module`` itself, unless eager-mode (or FX graph mode) quantization has touched it: then its float twin.

    ======================================  ==============================================================
    a float model with stubs                without the stubs
    ``prepare``, ``prepare_qat``            without observers and fake quantization; fused layers unfused
    ``convert``, ``quantize_dynamic``       with plain float layers that hold the dequantized weights
    ======================================  ==============================================================

    The given module is changed in place and must not be used afterwards. Twins of converted models are run on ``cases``
    and compared with the model they come from.

    Raises:
        ModelError: a part for which no float form is known (it is named), or answers that differ by more than int8's noise.
    """
    if not any(_is_of_quantization(part) for part in module.modules()):
        return module
    from edgedeploy.worker import quantized_modules  # imports much of torch.ao, which few models need

    converted = quantized_modules.is_converted(module)
    answers = _answers(module, cases, where) if converted else []
    twin = quantized_modules.as_float(module, where).eval()
    if not converted:
        return twin
    given, twin = _answers_of_twin(twin, cases, where)
    _expect_agreement(given, answers, where)
    return twin


class WithFloatArithmetic(nn.Module):
    """A model whose own ``forward`` calls quantized functions, with each of them replaced by what it stands for."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, *inputs: Tensor) -> object:
        """Run the model; the output is the model's own."""
        with FloatArithmetic():
            return self.inner(*inputs)


def _is_of_quantization(part: nn.Module) -> bool:
    return type(part).__module__.startswith(("torch.ao.nn.", "torch.ao.quantization."))


def _answers(module: nn.Module, cases: Sequence[tuple[Tensor, ...]], where: str) -> list[tuple[Tensor, ...]]:
    module.eval()
    try:
        return [flatten_outputs(output) for output in run_eagerly(module, cases)]
    except RuntimeError as error:  # PyTorch's kernels, of which not every machine has every one
        raise ModelError(
            "the quantized model does not run on its own golden inputs",
            where=where,
            seen=str(error)[:500],
            next_step=f"check their shapes; this machine may lack the engine it was converted for: {_GIVE_THE_FLOAT_MODEL}",
        ) from error


def _answers_of_twin(
    twin: nn.Module, cases: Sequence[tuple[Tensor, ...]], where: str
) -> tuple[list[tuple[Tensor, ...]], nn.Module]:
    """The twin's answers, and the twin, wrapped if its forward calls quantized functions."""
    try:
        with FloatArithmetic() as arithmetic:
            answers = [flatten_outputs(output) for output in run_eagerly(twin, cases)]
    except (RuntimeError, TypeError, NotImplementedError) as error:  # what PyTorch raises where float meets quantized
        raise ModelError(
            "the quantized model computes something for which edgedeploy knows no float form",
            where=where,
            seen=f"{type(error).__name__}: {error}"[:500],
            next_step=_GIVE_THE_FLOAT_MODEL,
        ) from error
    return answers, WithFloatArithmetic(twin) if arithmetic.replaced else twin


def _expect_agreement(given: Sequence[tuple[Tensor, ...]], wanted: Sequence[tuple[Tensor, ...]], where: str) -> None:
    for number in range(len(wanted[0])):
        outputs = torch.cat([case[number].float().flatten() for case in given])
        references = torch.cat([case[number].float().flatten() for case in wanted])
        agreement = compare([outputs.numpy()], [references.numpy()])
        shown = "NaN" if agreement.sqnr_db is None else f"{agreement.sqnr_db:.1f}"
        if not agreement.finite or (not agreement.exact and (agreement.sqnr_db or -999.0) < LEAST_SQNR_DB):
            raise ModelError(
                "the quantized model computes something else than its own weights do in float",
                where=where,
                seen=f"output {number}: SQNR {shown} dB; {LEAST_SQNR_DB:g} dB is what int8 leaves at worst",
                next_step="it was calibrated on too few inputs, or PyTorch's own kernel is wrong (transposed convolutions and"
                f" PReLU on x86 are); {_GIVE_THE_FLOAT_MODEL}",
            )
