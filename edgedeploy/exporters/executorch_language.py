"""A language model as an ExecuTorch program for XNNPACK, with a static cache. Imports the SDKs: load it when it is needed.

One method takes one token or many: its number is a dynamic dimension. A second method for one token alone would hold packed
copies of all weights (XNNPACK keeps them per method), and be one in a hundred faster. Keys and values are kept and looked up by
ExecuTorch's own operators ``llama::update_cache`` and ``llama::custom_sdpa``, whose work grows with the tokens in the cache; the
same in ATen operators copies the cache in every call (docs/adr/0005-language-models.md has the figures).
"""

from __future__ import annotations

import copy
from typing import cast

import executorch.extension.llm.custom_ops.custom_ops as _operators
import executorch.kernels.quantized as _kernels
import torch
from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
from executorch.exir import ExecutorchBackendConfig
from executorch.exir.passes import MemoryPlanningPass
from executorch.exir.passes.sym_shape_eval_pass import ConstraintBasedSymShapeEvalPass
from torch import Tensor, nn
from torchao.quantization import Int8DynamicActivationIntxWeightConfig, IntxWeightOnlyConfig, quantize_
from torchao.quantization.granularity import Granularity, PerAxis, PerGroup

from edgedeploy.domain.artifact import DynamicDim, TensorSpec
from edgedeploy.errors import ExportError
from edgedeploy.exporters.decoder import Decoder
from edgedeploy.exporters.executorch_lowering import Lowered
from edgedeploy.exporters.executorch_lowering import lower as lower_methods
from edgedeploy.exporters.tracing import FlatModule, Traced
from edgedeploy.source import LoadedLanguage, LoadedModel

# Imported for what they register: torch.ops.llama, and kernels of quantized embeddings.
_REGISTERED = (_operators, _kernels)

_GROUP = 32
_EXAMPLE_TOKENS = 3  # of one, torch.export would make a constant


class CustomAttention:
    """By the operators of ExecuTorch's language model library."""

    def begin(self, positions: Tensor, context_length: int) -> int:
        """The first position, as a number that is known when the program runs."""
        start = cast("int", positions[0].item())
        for holds in (start >= 0, start < context_length, start + positions.shape[0] <= context_length):
            torch._check(holds)  # type: ignore[no-untyped-call]  # noqa: SLF001 - tells torch.export a number's range
        return start

    def store(self, cache: Tensor, new: Tensor, step: object) -> None:
        """In place, in the cache's own memory."""
        torch.ops.llama.update_cache(new, cache, step)

    def attend(self, query: Tensor, keys: Tensor, values: Tensor, step: object, scale: float) -> Tensor:
        """Causal: each query sees the cache up to its own position."""
        found: Tensor = torch.ops.llama.custom_sdpa(query, keys, values, step, None, 0.0, True, scale)
        return found


def quantized(model: LoadedModel, precision: str) -> Decoder:
    """The model's decoder with its layers in ``precision``; its own is not changed, and what stays in float is shared.

    Linear layers: int4 weights in groups of 32 or int8 weights per channel, int8 activations whose range is chosen per
    token. Embeddings: as many bits, nothing else. An embedding that shares its weights with the last layer is stored
    twice, because XNNPACK packs the layer's.

    Raises:
        ExportError: a width that is no multiple of 32.
    """
    original = cast("Decoder", model.main.module)
    decoder = copy.deepcopy(original, {id(parameter): parameter for parameter in original.parameters()})
    decoder.attention = CustomAttention()
    if precision == "fp32":
        return decoder
    if precision == "8da4w":
        _require_groups(decoder)
        int4: torch.dtype = getattr(torch, "int4")  # noqa: B009 - it is not in torch's stubs
        _quantize(decoder, int4, PerGroup(_GROUP))
    else:
        _quantize(decoder, torch.int8, PerAxis(0))
    return decoder


def trace(decoder: Decoder, language: LoadedLanguage) -> Traced:
    """Trace a decoder for any number of tokens that one call may take."""
    tokens = torch.export.Dim("tokens", min=1, max=language.prefill_tokens)
    example = (torch.zeros(1, _EXAMPLE_TOKENS, dtype=torch.long), torch.arange(_EXAMPLE_TOKENS))
    with torch.no_grad():
        program = torch.export.export(decoder, example, dynamic_shapes=({1: tokens}, {0: tokens}), strict=False)
    high = language.prefill_tokens
    return Traced(
        name="forward",
        module=FlatModule(decoder),
        program=program,
        example_inputs=example,
        calibration=(),
        dynamic_shapes=None,
        inputs=(
            TensorSpec(name="tokens", dtype="int64", shape=(1, 1), dynamic=(DynamicDim(dim=1, low=1, high=high),)),
            TensorSpec(name="positions", dtype="int64", shape=(1,), dynamic=(DynamicDim(dim=0, low=1, high=high),)),
        ),
        outputs=(TensorSpec(name="logits", dtype="float32", shape=(1, language.vocabulary)),),
    )


def lower(traced: Traced, language: LoadedLanguage) -> Lowered:
    """Lower a traced decoder. Cost: minutes and twice the model's memory for a billion parameters."""
    config = ExecutorchBackendConfig(
        # Inputs of dynamic size come from the caller.
        memory_planning_pass=MemoryPlanningPass(alloc_graph_input=False),
        sym_shape_eval_pass=ConstraintBasedSymShapeEvalPass(),
        # Makes one operator of an embedding and what takes it apart into floats.
        do_quant_fusion_and_const_prop=True,
    )
    # One partitioner: the dynamically quantized layers' own would make a delegate of every layer, and run all passes twice.
    return lower_methods({traced.name: traced.program}, [XnnpackPartitioner()], constants=_metadata(language), config=config)


def _metadata(language: LoadedLanguage) -> dict[str, object]:
    """What ExecuTorch's own language model runners ask a program for (extension/llm/runner/constants.h)."""
    begin = {} if language.begin_token is None else {"get_bos_id": language.begin_token}
    return begin | {
        "get_eos_ids": list(language.end_tokens),
        "get_vocab_size": language.vocabulary,
        "get_max_seq_len": language.prefill_tokens,
        "get_max_context_len": language.context_length,
        "get_n_layers": language.layers,
        "enable_dynamic_shape": True,
        "use_kv_cache": True,
        "use_sdpa_with_kv_cache": True,
    }


def _quantize(decoder: Decoder, bits: torch.dtype, granularity: Granularity) -> None:
    quantize_(decoder, Int8DynamicActivationIntxWeightConfig(weight_dtype=bits, weight_granularity=granularity))
    quantize_(
        decoder,
        IntxWeightOnlyConfig(weight_dtype=bits, granularity=granularity),
        filter_fn=lambda module, _: isinstance(module, nn.Embedding),
    )


def _require_groups(decoder: Decoder) -> None:
    for name, module in decoder.named_modules():
        if isinstance(module, nn.Linear | nn.Embedding) and module.weight.shape[1] % _GROUP:
            raise ExportError(
                f"4-bit weights come in groups of {_GROUP}",
                where=name,
                seen=f"a width of {module.weight.shape[1]}",
                next_step="choose int8-dynamic",
            )
