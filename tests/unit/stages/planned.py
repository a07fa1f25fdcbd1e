"""Runs, artifacts and devices as the stages see them; small, and made without any SDK."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from edgedeploy.deploy.digest import entries_of
from edgedeploy.domain.artifact import ARTIFACT_FILE, Artifact, Golden, Method, TensorSpec
from edgedeploy.domain.events import Event
from edgedeploy.domain.project import Model
from edgedeploy.domain.recipe import Budget, Floors, Recipe
from edgedeploy.domain.release import FileEntry, LocalFile, RunnerBundle
from edgedeploy.domain.target import Lane, LaneOffer, MeasurePolicy, Target
from edgedeploy.stages.export import Prepared
from edgedeploy.stages.plan import PlannedRun

FP32 = Lane(exporter="executorch", backend="xnnpack", precision="fp32")
INT8 = Lane(exporter="executorch", backend="xnnpack", precision="int8")
TFLITE = Lane(exporter="tflite", backend="xnnpack", precision="fp32")
SPEC = TensorSpec(name="x", dtype="float32", shape=(2,))


def target(name: str = "bench", **changes: object) -> Target:
    """A target of three lanes, reached by ``fake``."""
    made = Target(
        name=name,
        title="A bench",
        os="linux",
        abi="linux-x86_64",
        transports=("fake",),
        workdir="~/store",
        lanes=(
            LaneOffer(exporter="executorch", backend="xnnpack"),
            LaneOffer(exporter="tflite", backend="xnnpack", precisions=("fp32",)),
        ),
        runtimes=("executorch-native", "executorch-python"),
    )
    return msgspec.structs.replace(made, **changes)


def planned(
    model: str = "net",
    *,
    lane: Lane = FP32,
    budget: Budget | None = None,
    accept: Floors | None = None,
    policy: MeasurePolicy | None = None,
) -> PlannedRun:
    """A run of ``model`` by the recipe that is called as its precision."""
    return PlannedRun(
        model_name=model,
        model=Model(source="model.py:net"),
        recipe_name=lane.precision,
        recipe=Recipe(precision=lane.precision, accept=accept or Floors()),
        lane=lane,
        budget=budget or Budget(),
        policy=policy or MeasurePolicy(),
    )


def _entry(folder: Path, name: str, content: bytes) -> FileEntry:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    (entry,) = entries_of(file)
    return msgspec.structs.replace(entry, path=name)


def artifact(folder: Path, run: PlannedRun, *, content: bytes = b"program", size_bytes: int | None = None) -> Artifact:
    """An artifact with files that are really there, ``artifact.json`` too. One input, one output, one case each."""
    file = _entry(folder, "model.pte", content)
    made = Artifact(
        model=run.model_name,
        recipe=run.recipe_name,
        lane=run.lane,
        format="pte",
        entry="model.pte",
        sha256=file.sha256,
        size_bytes=file.size_bytes if size_bytes is None else size_bytes,
        files=(file,),
        methods=(
            Method(
                entry="forward",
                inputs=(SPEC,),
                outputs=(SPEC,),
                golden=(
                    Golden(
                        cases=1,
                        input_shapes=(SPEC.shape,),
                        output_shapes=(SPEC.shape,),
                        inputs=(_entry(folder, "golden/input_0.bin", bytes(8)),),
                        references=(_entry(folder, "golden/reference_0.bin", bytes([0, 0, 128, 63, 0, 0, 0, 64])),),  # 1.0, 2.0
                    ),
                ),
            ),
        ),
        parameters=1,
        toolchain={},
    )
    (folder / ARTIFACT_FILE).write_bytes(msgspec.json.encode(made))
    return made


def prepared(folder: Path, run: PlannedRun, *, content: bytes = b"program") -> Prepared:
    """A run that was exported into ``folder``."""
    return Prepared(run=run, artifact=artifact(folder, run, content=content), folder=str(folder), cached=True)


def runner(
    folder: Path, *, content: bytes = b"#!/bin/sh\n", name: str = "executorch-native", start: Sequence[str] = ()
) -> RunnerBundle:
    """A runner of one file, ``run``."""
    entry = msgspec.structs.replace(_entry(folder, "run", content), executable=True)
    files = (LocalFile(local=str(folder / "run"), entry=entry),)
    return RunnerBundle(name=name, files=files, start=tuple(start) or ("{dir}/run",))


class Heard(list[Event]):
    """A sink that remembers."""

    def __call__(self, event: Event) -> None:
        self.append(event)
