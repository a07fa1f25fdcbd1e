"""A traced program in the operators that coremltools knows. Imports torch and coremltools: load it when it is needed.

It stays in ATen, so that the rewritten program can be run in PyTorch and compared with the original.
"""

from __future__ import annotations

import torch
from coremltools.converters.mil.frontend.torch.torch_op_registry import _TORCH_OPS_REGISTRY as TRANSLATIONS
from torch import Tensor
from torch.export import ExportedProgram
from torch.fx import Graph, Node

from edgedeploy.errors import ExportError
from edgedeploy.exporters import coreml_operators_added as _added  # noqa: F401  importing it is its effect
from edgedeploy.exporters.coreml_decompositions import DECOMPOSITIONS
from edgedeploy.exporters.diagnosis import find_line, innermost_line, unsupported_next_step
from edgedeploy.exporters.separate_outputs import separate_outputs

aten = torch.ops.aten

# Operators that coremltools lowers better whole than in pieces, or does not know the pieces of.
_KEPT_WHOLE = frozenset(
    {
        "batch_norm",
        "col2im",
        "conv2d",
        "fft_fft",
        "fft_fftn",
        "fft_ifft",
        "fft_ifftn",
        "fft_irfft",
        "fft_irfftn",
        "fft_rfft",
        "fft_rfftn",
        "grid_sampler",
        "gru",
        "im2col",
        "layer_norm",
        "linear",
        "lstm",
        "matmul",
        "pixel_shuffle",
        "pixel_unshuffle",
        "scaled_dot_product_attention",
        "silu",
        "softplus",
        "stft",
        "upsample_bilinear2d",
        "upsample_nearest2d",
    }
)
_FROZEN = "b__frozen_param"
_WANT_DEFAULTS = ("aten.fft_", "aten.hardtanh", "aten.max_pool2d_with_indices", "aten.max_pool3d_with_indices")
_WANT_FLOATS = ("aten.hardtanh.", "aten.leaky_relu.", "aten.elu.")  # coremltools takes a number's type as it is
_SAME_VALUE = ("aten.alias.", "aten.lift_fresh_copy.", "aten.detach.")

# What to write instead of operators that people meet.
_ADVICE = {
    "_embedding_bag_forward_only": "write the bag as nn.Embedding followed by sum or mean over the bag's dimension",
    "linalg_svd": "compute the decomposition outside the model",
    "nonzero": "use a mask (torch.where) instead of a list of indices: its length depends on the data",
    "_fft_c2r": "use torch.fft.irfft on a float input's own transform, or compute it outside the model",
}


def prepared(program: ExportedProgram) -> ExportedProgram:
    """The program in the operators that coremltools knows, without assertions and aliases."""
    table = torch.export.default_decompositions()
    for operator in list(table):
        if str(operator).split(".")[1] in _KEPT_WHOLE:
            del table[operator]
    for operator, written_out in DECOMPOSITIONS.items():
        table[operator] = written_out
    rewritten: ExportedProgram = program.run_decompositions(table)
    graph = rewritten.graph_module.graph
    for node in reversed(list(graph.nodes)):
        name = str(node.target)
        if node.op != "call_function" or not name.startswith("aten."):
            continue
        if name.startswith("aten._assert") and not node.users:
            graph.erase_node(node)
        elif name.startswith(_SAME_VALUE):
            node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)
        else:
            _complete_arguments(node)
    separate_outputs(rewritten)
    _widen_bytes(graph)
    graph.eliminate_dead_code()
    rewritten.graph_module.recompile()
    for number, node in enumerate(graph.nodes):
        node.meta["debug_handle"] = number  # coremltools hands it on to what becomes of the node
    return rewritten


def require_known_operators(program: ExportedProgram, traced: ExportedProgram, user_root: str) -> None:
    """Refuse what coremltools has no translation for, all of it at once; ``traced`` is the program before the rewriting.

    Raises:
        ExportError: naming the operators, and the user's line of the first.
    """
    unknown = [node for node in program.graph.nodes if node.op == "call_function" and not _is_known(node)]
    if not unknown:
        return
    names = list(dict.fromkeys(str(node.target) for node in unknown))
    advice = next((text for name in names for operator, text in _ADVICE.items() if operator in name.split(".")), "")
    trace = unknown[0].meta.get("stack_trace")
    line = innermost_line(trace, user_root) if isinstance(trace, str) else find_line(names[0], traced, user_root)
    raise ExportError(
        f"coremltools cannot export operator {names[0]}",
        where=str(line or ""),
        seen=("unsupported: " + ", ".join(names))[:300],
        next_step=advice or unsupported_next_step("coremltools"),
    )


def frozen_index(name: str) -> int | None:
    """Which frozen parameter (an int8 weight of a quantized program) a placeholder is."""
    number = name.removeprefix(_FROZEN)
    return int(number) if name.startswith(_FROZEN) and number.isdigit() else None


def _is_known(node: Node) -> bool:
    target = node.target
    kind = str(target.name()) if isinstance(target, torch._ops.OpOverload) else getattr(target, "__name__", str(target))  # type: ignore[no-untyped-call]  # noqa: SLF001  torch's own
    return TRANSLATIONS.get_func(kind) is not None


def _complete_arguments(node: Node) -> None:
    """Write out what coremltools does not fill in for itself."""
    name = str(node.target)
    value = node.meta.get("val")
    if name in {"aten.full.default", "aten.full_like.default"}:
        # coremltools takes the tensor's type from the number's.
        number = node.args[1]
        if isinstance(number, int) and isinstance(value, Tensor) and value.dtype.is_floating_point:
            node.update_arg(1, float(number))
    elif name.startswith(_WANT_DEFAULTS) and isinstance(node.target, torch._ops.OpOverload):  # noqa: SLF001  torch's own name for the type
        parameters = node.target._schema.arguments  # noqa: SLF001  the only way to an operator's defaults
        node.args = (*node.args, *(parameter.default_value for parameter in parameters[len(node.args) :]))
    if name.startswith(_WANT_FLOATS) and isinstance(value, Tensor) and value.dtype.is_floating_point:
        node.args = tuple(float(one) if type(one) is int else one for one in node.args)


def _widen_bytes(graph: Graph) -> None:
    """Bytes come in as int32, which Core ML has; only a conversion may use them, since bytes wrap around at 256."""
    for node in graph.find_nodes(op="placeholder"):
        value = node.meta.get("val")
        if not isinstance(value, Tensor) or value.dtype != torch.uint8:
            continue
        if any(not str(user.target).startswith("aten._to_copy") for user in node.users):
            raise ExportError(
                f"Core ML has no arithmetic on bytes, and input {node.name!r} is uint8",
                where=node.name,
                seen=", ".join(sorted({str(user.target) for user in node.users})),
                next_step="begin forward with a conversion: x.float(), or x.long() for indices",
            )
        node.meta["val"] = value.to(torch.int32)
