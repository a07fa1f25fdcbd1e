"""Whether two artifacts are asked for the same work, and whether the same came of it: other ratios say nothing."""

from __future__ import annotations

from edgedeploy.domain.artifact import Artifact
from edgedeploy.errors import UsageError
from edgedeploy.runners.document import LanguageDocument, ProcessDocument, RunnerDocument


def require_same_work(base: Artifact, candidate: Artifact) -> None:
    """Refuse two that would be run by different methods, or on inputs of different shapes.

    Raises:
        UsageError: saying what each of them would be run on.
    """
    one, other = _work(base), _work(candidate)
    if one != other:
        raise UsageError(
            "the two would do different work, and their ratio would say nothing",
            seen=f"base: {one}; candidate: {other}",
            next_step="give both the same method and example inputs of the same shapes first",
        )


def same_outputs(base: Artifact, candidate: Artifact, ran: tuple[ProcessDocument, ProcessDocument]) -> bool | None:
    """Whether both gave the same outputs, byte for byte, or the same tokens.

    None where that says nothing: their golden inputs have other values, or a runner told no digests.
    """
    if _input_digests(base) != _input_digests(candidate):
        return None
    one, other = map(_outputs, ran)
    return None if one is None or other is None else one == other


def _work(artifact: Artifact) -> str:
    if artifact.language is not None:
        return f"the answer to {artifact.language.prompts[0].tokens} tokens"
    method, golden = artifact.calls()[0]
    shapes = ", ".join("×".join(map(str, shape)) or "a number" for shape in golden.input_shapes)
    return f"{method.name} on {shapes}"


def _input_digests(artifact: Artifact) -> list[str]:
    if artifact.language is not None:
        return [artifact.language.prompts[0].file.sha256]
    return [entry.sha256 for entry in artifact.calls()[0][1].inputs]


def _outputs(document: ProcessDocument) -> object:
    """What can be compared of the outputs; None where the runner did not tell."""
    if isinstance(document, LanguageDocument):
        return document.generation[0].tokens
    told = [(output.dtype, output.sha256) for output in document.outputs] if isinstance(document, RunnerDocument) else []
    return told if told and all(sha256 for _, sha256 in told) else None
