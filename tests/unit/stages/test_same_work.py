"""Two artifacts that are compared: is it the same work, and did the same come of it?"""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from unit.stages.planned import INT8, artifact, planned
from unit.stages.test_fight import document

from edgedeploy.domain.artifact import Artifact
from edgedeploy.domain.language import Language, Prompt
from edgedeploy.domain.release import FileEntry
from edgedeploy.errors import UsageError
from edgedeploy.runners.document import GeneratedDocument, LanguageDocument, OutputFile, ProcessDocument, RunnerDocument
from edgedeploy.stages.same_work import require_same_work, same_outputs


@pytest.fixture
def net(tmp_path: Path) -> Artifact:
    return artifact(tmp_path, planned())


def changed(net: Artifact, *, method: str = "forward", shape: tuple[int, ...] = (2,), inputs: str = "") -> Artifact:
    (only,) = net.methods
    (golden,) = only.golden
    (entry,) = golden.inputs
    entry = msgspec.structs.replace(entry, sha256=inputs or entry.sha256)
    golden = msgspec.structs.replace(golden, input_shapes=(shape,), inputs=(entry,))
    return msgspec.structs.replace(net, methods=(msgspec.structs.replace(only, name=method, golden=(golden,)),))


def speaking(net: Artifact, tokens: int, sha256: str = "a" * 64) -> Artifact:
    prompt = Prompt(file=FileEntry(path="prompt", sha256=sha256, size_bytes=8), tokens=tokens, answer=(1, 2), decided=2)
    language = Language(
        architecture="a", context_length=9, prefill_tokens=9, vocabulary=9, end_tokens=(), kv_cache_bytes=9, prompts=(prompt,)
    )
    return msgspec.structs.replace(net, language=language)


def test_another_lane_does_the_same_work(net: Artifact) -> None:
    require_same_work(net, msgspec.structs.replace(net, lane=INT8, recipe="int8"))
    require_same_work(net, changed(net, inputs="e" * 64))


def test_another_method_or_other_shapes_are_refused_with_both(net: Artifact) -> None:
    several = msgspec.structs.replace(net, methods=(*changed(net, method="encode").methods, *net.methods))
    for other, seen in (
        (changed(net, shape=(1, 3)), "base: forward on 2; candidate: forward on 1×3"),
        (changed(net, shape=()), "base: forward on 2; candidate: forward on a number"),
        (several, "base: forward on 2; candidate: encode on 2"),
        (speaking(net, 7), "base: forward on 2; candidate: the answer to 7 tokens"),
    ):
        with pytest.raises(UsageError, match="different work") as raised:
            require_same_work(net, other)
        assert raised.value.seen == seen
        assert "shapes" in raised.value.next_step
    with pytest.raises(UsageError, match="different work"):
        require_same_work(speaking(net, 7), speaking(net, 8))


def gave(*digests: str | None, dtype: str = "float32") -> RunnerDocument:
    outputs = tuple(
        OutputFile(dtype=dtype, shape=(1,), file=f"output_{n}.bin", sha256=sha256)  # type: ignore[arg-type]
        for n, sha256 in enumerate(digests)
    )
    return msgspec.structs.replace(document([1], []), outputs=outputs)


def test_outputs_are_the_same_byte_for_byte_or_not(net: Artifact) -> None:
    one, other = "1" * 64, "2" * 64
    assert same_outputs(net, net, (gave(one, other), gave(one, other))) is True
    assert same_outputs(net, net, (gave(one, other), gave(other, one))) is False
    assert same_outputs(net, net, (gave(one), gave(one, dtype="int32"))) is False
    assert same_outputs(net, net, (gave(one), gave(None))) is None
    assert same_outputs(net, changed(net, inputs="e" * 64), (gave(one), gave(other))) is None


def test_of_a_language_model_it_is_the_tokens(net: Artifact) -> None:
    def said(*tokens: int) -> LanguageDocument:
        known = {name: getattr(document([1], []), name) for name in ProcessDocument.__struct_fields__}
        answer = GeneratedDocument(prompt_tokens=7, prefill_ns=1, ttft_ns=1, decode_ns=(1,) * (len(tokens) - 1), tokens=tokens)
        return LanguageDocument(**known, generation=(answer,))

    speaker = speaking(net, 7)
    assert same_outputs(speaker, speaker, (said(1, 2), said(1, 2))) is True
    assert same_outputs(speaker, speaker, (said(1, 2), said(1, 3))) is False
    assert same_outputs(speaker, speaking(net, 7, "b" * 64), (said(1, 2), said(1, 2))) is None
