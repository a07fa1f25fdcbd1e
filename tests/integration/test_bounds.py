"""Dimensions that move: PyTorch and the export are compared at their bounds, not at the example's sizes alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edgedeploy.source import LoadedMethod, LoadedModel

if TYPE_CHECKING:
    from edgedeploy.exporters.tracing import Traced

torch = pytest.importorskip("torch")
nn = torch.nn
Dim = torch.export.Dim

pytestmark = [pytest.mark.sdk, pytest.mark.timeout(300)]


class Pooled(nn.Module):
    def forward(self, vectors, ids):
        return vectors.mean(1), ids.float().sum(-1)


def traced_with(dynamic_shapes: object) -> Traced:
    from edgedeploy.exporters.tracing import trace

    inputs = (torch.randn(2, 6, 3), torch.randint(0, 9, (2, 6)))
    method = LoadedMethod(
        name="forward",
        module=Pooled().eval(),
        example_inputs=inputs,
        golden_inputs=(inputs,),
        calibration=(inputs,),
        dynamic_shapes=dynamic_shapes,
    )
    (traced,) = trace(LoadedModel(name="pooled", methods=(method,), user_root=str(Path(__file__).parent)), "PyTorch")
    return traced


def bounds(dynamic_shapes: object) -> list[list[tuple[int, ...]]]:
    from edgedeploy.worker.bounds import inputs_at_bounds

    traced = traced_with(dynamic_shapes)
    found = inputs_at_bounds(traced)
    for case in found:
        assert set(case[1].flatten().tolist()) <= set(traced.example_inputs[1].flatten().tolist())
    return [[tuple(tensor.shape) for tensor in case] for case in found]


def test_all_that_moves_is_at_its_bound() -> None:
    batch, length = Dim("batch", min=1, max=8), Dim("length", min=2, max=100)
    both = {0: batch, 1: length}
    assert bounds((both, both)) == [[(1, 2, 3), (1, 2)], [(8, 100, 3), (8, 100)]]
    assert bounds({"vectors": {0: batch}, "ids": {0: batch}}) == [[(1, 6, 3), (1, 6)], [(8, 6, 3), (8, 6)]]
    assert bounds(None) == []


def test_a_size_that_hangs_on_another_follows_it() -> None:
    assert bounds(({1: 2 * Dim("half", min=2, max=50)}, None)) == [[(2, 4, 3), (2, 6)], [(2, 100, 3), (2, 6)]]


def test_a_bound_that_is_none_or_too_large_is_approached() -> None:
    assert bounds(({1: Dim("length")}, None)) == [[(2, 1, 3), (2, 6)], [(2, 12, 3), (2, 6)]]
    _, (large, _) = bounds(({1: Dim("length", max=10**8)}, None))
    assert 1 << 15 < large[1] <= 1 << 18


@pytest.mark.parametrize(
    ("batch", "length", "first", "second"),
    [
        ((1, 8), (2, 100), [2, 6], [8, 100]),
        ((1, 8), (2, 24), [2, 5], [8, 24]),  # 6 to 24 would be four times as much, as 2 to 8 is
        ((1, 8), (1, 6), [2, 5], [8, 6]),  # the example is the bound
        ((1, 8), (6, 7), [2, 6], [8, 7]),
    ],
)
def test_two_sizes_tell_symbols_apart(
    batch: tuple[int, int], length: tuple[int, int], first: list[int], second: list[int]
) -> None:
    from edgedeploy.exporters.moving_sizes import moving_sizes, two_sizes

    both = {0: Dim("batch", min=batch[0], max=batch[1]), 1: Dim("length", min=length[0], max=length[1])}
    moving = moving_sizes(traced_with((both, both)))
    assert moving is not None
    assert [list(sizes.values()) for sizes in two_sizes(moving)] == [first, second]
