"""An exported model, with everything needed to push, check and measure it anywhere, without torch."""

from __future__ import annotations

from typing import Literal

import msgspec

from edgedeploy.domain.language import Language
from edgedeploy.domain.release import FileEntry
from edgedeploy.domain.target import Lane

ARTIFACT_SCHEMA = "edgedeploy.artifact/2"
ARTIFACT_FILE = "artifact.json"

Format = str
"""``pte``, ``tflite``, ``mlpackage``, or what a plug-in's exporter and runtime agree on."""
DType = Literal["float32", "float16", "float64", "int64", "int32", "int16", "int8", "uint8", "bool"]


class DynamicDim(msgspec.Struct, frozen=True, kw_only=True):
    """A dimension that may take any size from ``low`` to ``high``; None: the artifact names no bound."""

    dim: int
    low: int = 1
    high: int | None = None


class TensorSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One input or output as the *artifact* declares it (TFLite turns int64 inputs into int32, for example).

    ``shape`` is that of the example inputs; ``dynamic`` names the dimensions that may differ from it.
    """

    name: str
    dtype: DType
    shape: tuple[int, ...]
    dynamic: tuple[DynamicDim, ...] = ()


class Golden(msgspec.Struct, frozen=True, kw_only=True):
    """Inputs of one shape with PyTorch's own answers.

    One file per tensor, raw little-endian in C order, ``cases`` of them back to back, in the dtype of the artifact's
    tensor. Paths are relative to the artifact's folder; shapes are those of one case.
    """

    cases: int
    input_shapes: tuple[tuple[int, ...], ...]
    output_shapes: tuple[tuple[int, ...], ...]
    inputs: tuple[FileEntry, ...]
    references: tuple[FileEntry, ...]


class Method(msgspec.Struct, frozen=True, kw_only=True):
    """A way to call the artifact: ``forward``, or one of several that share its weights.

    ``entry`` is what the artifact itself calls it (a TFLite signature, a Core ML function). ``golden`` has one entry per
    shape of golden inputs, the example inputs' first; it is never empty.
    """

    name: str = "forward"
    entry: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    golden: tuple[Golden, ...]


class Operator(msgspec.Struct, frozen=True, kw_only=True):
    """One operator of an artifact, in the order of execution.

    ``operator`` is the name in the format's own words, ``name`` that of its node or output. ``delegate`` is what computes
    it (``XnnpackBackend``, ``CoreML``); None is a fallback to the runtime's plain kernels. ``macs`` counts
    multiply-accumulates for one call at the example shapes. ``source`` is the line of the user's Python it comes from,
    ``module`` the path of the nn.Module around it; both empty where they are not known.

    By ``call`` and ``steps`` a profile finds it again. ``call`` is the instruction of a ``.pte``, the place among the
    subgraph's operators in a ``.tflite``; None where it cannot be told. ``steps`` are the nodes it became in a delegate
    whose own graph is known (:class:`DelegateGraph`); empty elsewhere, and where the delegate fused it into another.
    """

    operator: str
    name: str = ""
    delegate: str | None = None
    macs: int = 0
    source: str = ""
    module: str = ""
    method: str = "forward"
    call: int | None = None
    steps: tuple[int, ...] = ()


class DelegateGraph(msgspec.Struct, frozen=True, kw_only=True):
    """What one call of a delegate consists of: its nodes in order, in the delegate's own words.

    There are more than operators: the delegate adds conversions of layout and type.
    """

    method: str = "forward"
    call: int
    delegate: str
    nodes: tuple[str, ...]


class Artifact(msgspec.Struct, frozen=True, kw_only=True):
    """What an exporter made; stored as ``artifact.json`` beside the files it names.

    ``sha256`` identifies the content: for one file it is the file's own, for a folder the digest described in
    docs/runner-protocol.md. ``files`` are relative to the artifact's folder; ``entry`` is what a runner is given.
    ``weight_dtypes`` are the floating types of the model's weights in PyTorch, whose answers are as coarse.
    ``metric`` names the model source's own measure, empty where it has none.
    ``operators`` say what runs where; ``inspection`` holds further facts read back from the file, for reports.
    ``language`` is there for a language model, which is run token by token.
    ``load_seconds`` were spent once for all lanes of one worker, ``export_seconds`` on this one.
    """

    schema: str = ARTIFACT_SCHEMA
    model: str
    recipe: str
    lane: Lane
    format: Format
    entry: str
    sha256: str
    size_bytes: int
    files: tuple[FileEntry, ...]
    methods: tuple[Method, ...]
    operators: tuple[Operator, ...] = ()
    delegate_graphs: tuple[DelegateGraph, ...] = ()
    language: Language | None = None
    parameters: int
    weight_dtypes: tuple[str, ...] = ()
    metric: str = ""
    toolchain: dict[str, str]
    inspection: dict[str, str] = {}
    load_seconds: float = 0.0
    export_seconds: float = 0.0
    peak_export_rss_bytes: int = 0

    def portable(self) -> Artifact:
        """What is needed to run it. Of its operators is left which delegates compute them; how it was made is not told."""
        return msgspec.structs.replace(
            self,
            operators=tuple(Operator(operator="", delegate=delegate) for delegate in sorted(self.delegates())),
            delegate_graphs=(),
            inspection={},
            load_seconds=0.0,
            export_seconds=0.0,
            peak_export_rss_bytes=0,
        )

    def calls(self) -> tuple[tuple[Method, Golden], ...]:
        """Every method with each of its golden inputs; what is measured comes first."""
        return tuple((method, golden) for method in self.methods for golden in method.golden)

    def delegates(self) -> frozenset[str]:
        """What has to be in the runtime besides its own kernels."""
        return frozenset(operator.delegate for operator in self.operators if operator.delegate is not None)

    def golden_files(self) -> tuple[FileEntry, ...]:
        """Every golden input and reference of every method; of a language model also its prompts and its text."""
        text = (self.language.text.file,) if self.language and self.language.text else ()
        answers = tuple(entry for _, golden in self.calls() for entry in (*golden.inputs, *golden.references))
        return (*answers, *self._prompts(), *text)

    def input_files(self) -> tuple[FileEntry, ...]:
        """Every golden input of every method, and every prompt: what a device needs."""
        return (*(entry for _, golden in self.calls() for entry in golden.inputs), *self._prompts())

    def _prompts(self) -> tuple[FileEntry, ...]:
        return tuple(prompt.file for prompt in self.language.prompts) if self.language else ()
