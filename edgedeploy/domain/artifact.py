"""An exported model, with everything needed to push, check and measure it anywhere, without torch."""

from __future__ import annotations

from typing import Literal

import msgspec

from edgedeploy.domain.release import FileEntry
from edgedeploy.domain.target import Lane

ARTIFACT_SCHEMA = "edgedeploy.artifact/1"
ARTIFACT_FILE = "artifact.json"

Format = str
"""``pte``, ``tflite``, ``mlpackage``, or what a plug-in's exporter and runtime agree on."""
DType = Literal["float32", "float16", "float64", "int64", "int32", "int16", "int8", "uint8", "bool"]


class TensorSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One input or output as the *artifact* declares it (TFLite turns int64 inputs into int32, for example)."""

    name: str
    dtype: DType
    shape: tuple[int, ...]


class Golden(msgspec.Struct, frozen=True, kw_only=True):
    """Inputs with PyTorch's own answers.

    One file per tensor, raw little-endian in C order, ``cases`` of them back to back, in the dtype of the artifact's
    tensor. Paths are relative to the artifact's folder.
    """

    cases: int
    inputs: tuple[FileEntry, ...]
    references: tuple[FileEntry, ...]


class Artifact(msgspec.Struct, frozen=True, kw_only=True):
    """What an exporter made; stored as ``artifact.json`` beside the files it names.

    ``sha256`` identifies the content: for one file it is the file's own, for a folder the digest described in
    docs/runner-protocol.md. ``files`` are relative to the artifact's folder; ``entry`` is what a runner is given.
    ``inspection`` holds facts read back from the file (operators, delegates, deployment target), for reports.
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
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    golden: Golden
    parameters: int
    toolchain: dict[str, str]
    inspection: dict[str, str] = {}
    export_seconds: float = 0.0
    peak_export_rss_bytes: int = 0
