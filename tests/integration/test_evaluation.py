"""The source's own metric: recorded by PyTorch, replayed from what an artifact answered, and what can be wrong with it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgedeploy.domain.artifact import TensorSpec
from edgedeploy.domain.measurement import MetricResult
from edgedeploy.domain.project import Model
from edgedeploy.domain.recipe import Floors
from edgedeploy.errors import ModelError
from edgedeploy.stages.evaluate import metric_complaint
from edgedeploy.worker.evaluating import evaluate
from edgedeploy.worker.job import Batch, EvaluateJob

pytestmark = pytest.mark.sdk

SOURCE = """\
import math, random
from dataclasses import dataclass
from typing import NamedTuple
import torch
from edgedeploy import Evaluation, ModelSource


@dataclass
class Answer:
    scores: torch.Tensor
    rest: dict


class Pair(NamedTuple):
    total: torch.Tensor
    nothing: None


class Net(torch.nn.Module):
    def forward(self, x, ids):
        return Answer(scores=x * 2, rest={"pair": Pair(x.sum(-1), None), "ids": [ids + 1]})


DATA = [(torch.full((1, 3), float(i)), torch.tensor([[i]])) for i in range(5)]


def metric(predict):
BODY


def net():
    return ModelSource(
        module=Net(), example_inputs=DATA[0], DYNAMIC
        evaluation=Evaluation(metric="mean", function=metric, higher_is_better=False),
    )
"""
INPUTS = (TensorSpec(name="x", dtype="float32", shape=(1, 3)), TensorSpec(name="ids", dtype="int32", shape=(1, 1)))
OUTPUTS = (
    TensorSpec(name="scores", dtype="float32", shape=(1, 3)),
    TensorSpec(name="total", dtype="float32", shape=(1,)),
    TensorSpec(name="ids", dtype="int32", shape=(1, 1)),
)


def artifact(folder: Path, *, error: float = 0.0) -> Callable[[tuple[Batch, ...]], None]:
    """An artifact that computes what Net does, but for ``error`` on the first output; reads and writes files as a runner does."""

    def run(batches: tuple[Batch, ...]) -> None:
        for batch in batches:
            cases, shapes = batch.golden.cases, batch.golden.input_shapes
            x = np.fromfile(folder / batch.golden.inputs[0].path, np.float32).reshape(cases, *shapes[0])
            ids = np.fromfile(folder / batch.golden.inputs[1].path, np.int32).reshape(cases, *shapes[1])
            for index, value in enumerate((x * 2 + np.float32(error), x.sum(-1), ids + 1)):
                value.tofile(folder / batch.folder / f"output_{index}.bin")

    return run


def measured(folder: Path, body: str, *, dynamic: str = "", error: float = 0.0) -> MetricResult:
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    (folder / "source.py").write_text(SOURCE.replace("BODY", lines).replace("DYNAMIC", dynamic))
    place = folder / "cases"
    place.mkdir()
    job = EvaluateJob(
        project_root=str(folder),
        project_file=str(folder / "edgedeploy.toml"),
        model_name="net",
        model=Model(source="source.py:net"),
        subject="net as a test",
        inputs=INPUTS,
        outputs=OUTPUTS,
        folder=str(place),
    )
    return evaluate(job, artifact(place, error=error), lambda _text: None).result


MEAN = "return sum(predict(*case).scores.mean() for case in DATA) / len(DATA)"


def test_the_metric_of_the_artifact_is_computed_from_its_outputs(tmp_path: Path) -> None:
    found = measured(tmp_path, MEAN, error=0.5)
    assert (found.metric, found.higher_is_better, found.calls) == ("mean", False, 5)
    assert found.reference == pytest.approx(4.0)
    assert found.value == pytest.approx(4.5)
    assert found.drop == pytest.approx(0.5)
    assert "mean rises by 0.5, from 4 to 4.5: more than 0.4" in metric_complaint(found, Floors(max_metric_drop=0.4))
    assert metric_complaint(found, Floors(max_metric_drop=0.6)) == ""
    assert metric_complaint(found, Floors()) == ""


def test_the_output_has_the_form_and_the_dtypes_that_forward_gives_it(tmp_path: Path) -> None:
    body = """\
total = 0
for x, ids in DATA:
    answer = predict(ids=ids, x=x)
    pair = answer.rest["pair"]
    assert isinstance(answer, Answer) and isinstance(pair, Pair) and pair.nothing is None
    assert answer.rest["ids"][0].dtype == torch.int64 and answer.scores.shape == (1, 3)
    total += pair.total.item() + answer.rest["ids"][0].item()
return total"""
    found = measured(tmp_path, body, error=9.0)
    assert found.reference == found.value == 3 * 10 + 15
    assert found.drop == 0


def test_inputs_of_several_shapes_are_kept_apart_and_in_order(tmp_path: Path) -> None:
    body = """\
data = [torch.randn(rows, 3) for rows in (1, 4, 1, 2, 4)]
return sum(i * predict(x, torch.zeros(1, 1, dtype=torch.int64)).scores.sum().item() for i, x in enumerate(data))"""
    dynamic = 'dynamic_shapes=({0: torch.export.Dim("rows", min=1, max=8)}, None),'
    found = measured(tmp_path, body, dynamic=dynamic)
    assert found.value == pytest.approx(found.reference)
    assert len(list((tmp_path / "cases").iterdir())) == 3


def test_outputs_that_are_nan_leave_no_number_and_are_refused_whatever_is_asked(tmp_path: Path) -> None:
    found = measured(tmp_path, MEAN, error=float("nan"))
    assert found.value is None
    assert found.drop is None
    assert "no number with the artifact's outputs" in metric_complaint(found, Floors())


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("return [predict(*DATA[0])][1].scores", "the evaluation raised with PyTorch's model"),
        ("return predict(*DATA[0]).scores.mean() / 0 * 0", "mean of PyTorch's own model is not a number"),
        ("return predict(*DATA[0]).scores", "has to return one number"),
        ("predict(*DATA[0])", "has to return one number"),
        ("return True", "has to return one number"),
        ("return 1.0", "never calls predict"),
        ("return predict(DATA[0][0]).scores.mean()", "arguments that forward does not take"),
        ("return predict(DATA[0][0], 3).scores.mean()", "predict takes the tensors that the example inputs have"),
        ("return predict(torch.ones(2, 3), DATA[0][1]).scores.mean()", "another shape or dtype"),
        ("return predict(DATA[0][0].double(), DATA[0][1]).scores.mean()", "another shape or dtype"),
        ("return predict(DATA[0][0], DATA[0][1] + 2**40).scores.mean()", "does not fit into int32"),
        ("a = predict(*DATA[1]).scores\nreturn predict(a, DATA[0][1]).scores.mean()", "does not predict on the same inputs"),
    ],
)
def test_what_is_wrong_with_an_evaluation_is_said(tmp_path: Path, body: str, words: str) -> None:
    with pytest.raises(ModelError, match=re.escape(words)):
        measured(tmp_path, body, error=1.0)


def test_an_evaluation_that_predicts_less_the_second_time_is_refused(tmp_path: Path) -> None:
    body = """\
Net.times = getattr(Net, "times", 0) + 1
return sum(predict(*case).scores.mean() for case in DATA[: 4 - Net.times])"""
    with pytest.raises(ModelError, match="not predict on the same inputs") as caught:
        measured(tmp_path, body)
    assert "2 calls of predict, 3 with PyTorch's model" in caught.value.seen


def test_global_random_numbers_are_the_same_both_times(tmp_path: Path) -> None:
    body = "case = (torch.randn(1, 3), DATA[0][1])\nreturn predict(*case).scores.mean() + random.random()"
    found = measured(tmp_path, body)
    assert found.drop == pytest.approx(0, abs=1e-6)
