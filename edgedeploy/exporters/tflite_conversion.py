"""From traced methods to a float ``.tflite`` file, and where in the user's code each of its tensors comes from.

Imports litert-torch: load it when it is needed.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import litert_torch.progress
import torch
from litert_torch import fx_infra
from litert_torch._convert import core, litert_converter
from litert_torch.backend import debuginfo
from litert_torch.fx_infra import graph_utils
from torch import Tensor
from torch.export import ExportedProgram
from torch.fx import Node

from edgedeploy.errors import ExportError
from edgedeploy.exporters.constant_folding import fold_constants
from edgedeploy.exporters.separate_outputs import separate_outputs
from edgedeploy.exporters.tflite_decompositions import DECOMPOSITIONS
from edgedeploy.exporters.tflite_rewrites import rewritten
from edgedeploy.exporters.tflite_tensor_names import with_distinct_tensor_names
from edgedeploy.exporters.tracing import Traced

_WRAPPER = re.compile(r"^inner\.?")  # tracing.FlatModule holds the user's module under this name


@dataclass(frozen=True)
class Origin:
    """Where a tensor comes from: the path of its nn.Module, PyTorch's operator, and torch.export's stack trace."""

    module: str
    operator: str
    stack_trace: str


@dataclass(frozen=True)
class Converted:
    """A float model. ``origins`` has labels as they occur in tensor names (see :func:`labels_of`), and signature outputs."""

    content: bytes
    origins: dict[str, Origin]


def convert(methods: Sequence[Traced], signatures: Sequence[str], *, spare_bool_indexing: bool) -> Converted:
    """Convert ``methods`` into one file with a signature each; weights that they share are stored once.

    ``spare_bool_indexing``: index booleans as int32, for runtimes whose GATHER_ND does not take them.

    Raises:
        ExportError: a method changes its own buffers.
    """
    litert_torch.progress.config.show_progress = False
    origins: dict[str, Origin] = {}
    prepared, declared = [], []
    for method, name in zip(methods, signatures, strict=True):
        program = _own_copy(method.program)
        separate_outputs(program)
        if spare_bool_indexing:
            _index_bools_as_int32(program)
        # What litert_torch.convert does after its own torch.export, with the trace that is there already.
        table = fx_infra.decomp.pre_convert_decomp()
        table.update(DECOMPOSITIONS)  # a plain dict, which `|` makes of it, would leave composite operators whole
        program = fx_infra.safe_run_decompositions(graph_utils.reset_from_node_meta(program), table, can_skip=False)
        _require_no_state(program)
        program = rewritten(program)
        fold_constants(program)  # of an arange in the middle of a model remains a STABLEHLO_IOTA, which LiteRT does not run
        program = core._run_convert_passes(program)  # noqa: SLF001 - the public call would trace again
        results = zip(method.outputs, _outputs(program), strict=True)
        origins |= {f"{name}_{output.name}_output": _origin(node) for output, node in results}
        prepared.append(program)
        declared.append(_Signature(name=name, flat_arg_names=[spec.name for spec in method.inputs]))
    outputs = [[spec.name for spec in method.outputs] for method in methods]
    with _labelled(origins), _with_outputs_named(prepared, outputs), torch.no_grad():
        exporter = litert_converter.exported_programs_to_flatbuffer(prepared, declared)
        return Converted(with_distinct_tensor_names(bytes(exporter.to_bytes())), origins)


@dataclass(frozen=True, kw_only=True)
class _Signature:
    """What the conversion reads of litert-torch's own ``Signature``, which numbers the inputs."""

    name: str
    flat_arg_names: list[str]


@contextmanager
def _with_outputs_named(programs: Sequence[ExportedProgram], names: Sequence[Sequence[str]]) -> Iterator[None]:
    """While this is open, outputs of ``programs`` have these names in the file: litert-torch numbers those of a tuple."""

    def output_names(program: ExportedProgram, _lowered: object) -> list[str]:
        return next(list(chosen) for one, chosen in zip(programs, names, strict=True) if one is program)

    original = litert_converter._get_output_names  # noqa: SLF001 - no public way
    litert_converter._get_output_names = output_names  # noqa: SLF001
    try:
        yield
    finally:
        litert_converter._get_output_names = original  # noqa: SLF001


def labels_of(tensor_name: str) -> tuple[str, ...]:
    """The labels in a tensor's name, of the last operator fused into it first: ``a;;b;;1`` has ``a`` and ``b``."""
    if tensor_name.endswith("_output"):
        return (tensor_name,)
    return tuple(label for part in tensor_name.split(";") if (label := part) and not part.isdigit())


@contextmanager
def _labelled(origins: dict[str, Origin]) -> Iterator[None]:
    """While this is open, tensors are named after module and node, and ``origins`` is filled.

    litert-torch's own names hold the classes of the modules around a node, without its line, and no full path.
    """

    def label(node: Node) -> str:
        origin = _origin(node)
        name = f"{origin.module}/{node.name}".lstrip("/").replace(";", "_")
        origins[name] = origin
        return name + ";"

    original = debuginfo.build_mlir_debuginfo
    debuginfo.build_mlir_debuginfo = label
    try:
        yield
    finally:
        debuginfo.build_mlir_debuginfo = original


def _origin(node: object) -> Origin:
    if not isinstance(node, Node):
        return Origin("", "", "")
    stack = node.meta.get("nn_module_stack") or {}
    path = list(stack.values())[-1][0] if stack else ""
    return Origin(_WRAPPER.sub("", path), str(node.target), node.meta.get("stack_trace") or "")


def _outputs(program: ExportedProgram) -> list[object]:
    (results,) = (node.args[0] for node in program.graph.nodes if node.op == "output")
    return list(results[len(results) - len(program.graph_signature.user_outputs) :])


def _own_copy(program: ExportedProgram) -> ExportedProgram:
    """The program with a graph that may be changed, and the same weights: litert-torch edits what it is given."""
    return program._update(copy.deepcopy(program.graph_module), program.graph_signature)  # noqa: SLF001 - no public way


def _require_no_state(program: ExportedProgram) -> None:
    """Refuse buffers that forward changes: litert-torch drops the change without a word."""
    changed = sorted(set(program.graph_signature.buffers_to_mutate.values()))
    if changed:
        raise ExportError(
            "TFLite has no place for a model with state",
            where=_WRAPPER.sub("", changed[0]),
            seen=f"forward changes the buffers {', '.join(_WRAPPER.sub('', name) for name in changed)}"[:300],
            next_step="pass the state in and out as inputs and outputs, or choose ExecuTorch or Core ML, which keep it",
        )


def _index_bools_as_int32(program: ExportedProgram) -> None:
    """``mask[rows, columns]`` of booleans becomes the same of int32, cast back. Attention masks are built like that."""
    graph = program.graph_module.graph
    for node in list(graph.nodes):
        if node.target is not torch.ops.aten.index.Tensor:
            continue
        source = node.args[0]
        if not _is_bool(source):
            continue
        with graph.inserting_before(node):
            widened = graph.call_function(torch.ops.aten._to_copy.default, (source,), {"dtype": torch.int32})  # noqa: SLF001
        widened.meta = source.meta | {"val": source.meta["val"].to(torch.int32)}
        node.args = (widened, *node.args[1:])
        meta = dict(node.meta)
        with graph.inserting_after(node):
            narrowed = graph.call_function(torch.ops.aten._to_copy.default, (), {"dtype": torch.bool})  # noqa: SLF001
        node.replace_all_uses_with(narrowed)
        narrowed.args = (node,)
        narrowed.meta = meta
        node.meta = meta | {"val": meta["val"].to(torch.int32)}
        # A mask that is an output itself goes by its node's name in the signature.
        for spec in program.graph_signature.output_specs:
            if getattr(spec.arg, "name", None) == node.name:
                spec.arg.name = narrowed.name
    program.graph_module.recompile()


def _is_bool(node: object) -> bool:
    value = node.meta.get("val") if isinstance(node, Node) else None
    return isinstance(value, Tensor) and value.dtype is torch.bool
