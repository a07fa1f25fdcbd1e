"""Outputs of every shape become one flat, named, ordered tuple."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import pytest

from edgedeploy.errors import ModelError
from edgedeploy.exporters.signature import flatten_outputs, input_names, output_names, tensor_spec

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.sdk

A, B, C = torch.zeros(1), torch.ones(2), torch.full((3,), 2.0)


class Pair(NamedTuple):
    left: object
    right: object


@dataclasses.dataclass
class Answer:
    logits: object
    hidden: object = None


@pytest.mark.parametrize(
    ("output", "tensors", "names"),
    [
        (A, [A], ("output_0",)),
        ((A, B), [A, B], ("output_0", "output_1")),
        ([A, (B, C)], [A, B, C], ("output_0", "output_1", "output_2")),
        ({"z": A, "a": B}, [A, B], ("z", "a")),
        ({"x.y": A, "x y": B}, [A, B], ("x_y", "x_y_1")),
        (Pair(A, B), [A, B], ("left", "right")),
        (Answer(A), [A], ("logits",)),
        (Answer(A, (B, C)), [A, B, C], ("logits", "hidden", "hidden_1")),
        ({"out": Answer(A, B), "more": [C]}, [A, B, C], ("out_logits", "out_hidden", "more")),
        ((None, A), [A], ("output_0",)),
    ],
)
def test_flat_and_named(output: object, tensors: list[object], names: tuple[str, ...]) -> None:
    flat = flatten_outputs(output)
    assert [id(tensor) for tensor in flat] == [id(tensor) for tensor in tensors]
    assert output_names(output) == names


@pytest.mark.parametrize("output", [None, (), 3.0, (A, "text"), {"scale": 2}])
def test_what_is_no_tensor_is_refused(output: object) -> None:
    with pytest.raises(ModelError):
        flatten_outputs(output)


def test_inputs_have_the_names_of_forward() -> None:
    class Module(torch.nn.Module):
        def forward(self, input_ids, attention_mask, *rest):
            return input_ids + attention_mask

    assert input_names(Module(), 2) == ("input_ids", "attention_mask")
    assert input_names(Module(), 4) == ("input_ids", "attention_mask", "input_2", "input_3")


def test_a_dtype_that_no_runner_takes_is_refused() -> None:
    assert tensor_spec("x", torch.zeros(2, 3, dtype=torch.int64)).dtype == "int64"
    with pytest.raises(ModelError, match="bfloat16"):
        tensor_spec("x", torch.zeros(1, dtype=torch.bfloat16))
