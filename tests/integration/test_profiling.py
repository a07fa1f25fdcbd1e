"""A model's profile against figures worked out by hand and by another count. Needs torch, and no SDK."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from edgedeploy.domain.profile import ModelProfile
from edgedeploy.domain.project import Model
from edgedeploy.errors import ExportError
from edgedeploy.worker.client import Workers
from edgedeploy.worker.job import ProfileJob

pytestmark = pytest.mark.sdk

SOURCE = """
import torch
from torch import nn
from edgedeploy import ModelSource


def convolutions():
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 8, 3, stride=2, padding=1, groups=8), nn.Flatten(), nn.Linear(8 * 8 * 8, 10),
    )
    return ModelSource(module=net, example_inputs=(torch.randn(1, 3, 16, 16),))


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.places = nn.Embedding(50, 16), nn.Embedding(64, 16)
        self.register_buffer("order", torch.arange(64))
        self.query, self.key, self.value = nn.Linear(16, 16), nn.Linear(16, 16), nn.Linear(16, 16)
        self.norm, self.head = nn.LayerNorm(16), nn.Linear(16, 50, bias=False)
        self.head.weight = self.words.weight

    def forward(self, ids):
        x = self.norm(self.words(ids) + self.places(self.order[: ids.shape[1]]))
        parts = [layer(x).view(1, -1, 2, 8).transpose(1, 2) for layer in (self.query, self.key, self.value)]
        mixed = nn.functional.scaled_dot_product_attention(*parts)
        return self.head(mixed.transpose(1, 2).reshape(1, -1, 16))


def attention():
    return ModelSource(module=Attention(), example_inputs=(torch.randint(0, 50, (1, 12)),))


class Counter(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(4, 6, batch_first=True)
        self.register_buffer("seen", torch.zeros(5))

    def forward(self, x):
        self.seen.add_(1)
        return self.lstm(x)[0] + self.seen.sum()


def recurrent():
    return ModelSource(module=Counter(), example_inputs=(torch.randn(1, 7, 4),))


def flexible():
    net = nn.Sequential(nn.Linear(4, 6), nn.ReLU())
    batch = torch.export.Dim("batch", min=1, max=8)
    return ModelSource(module=net, example_inputs=(torch.randn(3, 4),), dynamic_shapes=({0: batch},))


class Sorting(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(4))

    def forward(self, x):
        largest = x.sort(descending=True).values
        x.flip(0)
        return largest * self.scale.cumsum(0)


def sorting():
    return ModelSource(module=Sorting(), example_inputs=(torch.randn(3, 4),))


class DataSized(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.register_buffer("seen", torch.zeros(4))

    def forward(self, x):
        self.seen.add_(1)
        return torch.nonzero(self.layer(x) + self.seen)


def data_sized():
    return ModelSource(module=DataSized(), example_inputs=(torch.randn(2, 4),))


class Branching(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x


def branching():
    return ModelSource(module=Branching(), example_inputs=(torch.ones(3),))
"""


@pytest.fixture(scope="module")
def profiles(tmp_path_factory: pytest.TempPathFactory) -> object:
    folder = tmp_path_factory.mktemp("profiles")
    (folder / "model.py").write_text(SOURCE)
    known: dict[str, ModelProfile] = {}

    def profile(name: str) -> ModelProfile:
        if name not in known:
            job = ProfileJob(
                project_root=str(folder),
                project_file=str(folder / "edgedeploy.toml"),
                model_name=name,
                model=Model(source=f"model.py:{name}"),
                compress=(),
            )
            answer = Workers().profile(job, log=Path(folder, "log.txt"), emit=lambda _text: None)
            assert str(folder / "model.py") in answer.dependencies.files
            known[name] = answer.profile
        return known[name]

    return profile


def kinds(profile: ModelProfile) -> dict[str, tuple[str, ...]]:
    return {weight.name.removeprefix("inner."): weight.kinds for weight in profile.weights}


def test_convolutions(profiles) -> None:
    found = profiles("convolutions")
    first = 8 * 3 * 9 * 16 * 16
    depthwise = 8 * 1 * 9 * 8 * 8
    linear = 512 * 10
    assert found.macs == first + depthwise + linear
    assert found.parameters == 8 * 27 + 16 + (8 * 9 + 8) + 5120 + 10
    assert kinds(found) == {
        "0.weight": ("conv",),
        "1.weight": ("folded",),
        "1.bias": ("bias",),  # becomes that of the convolution, which has none
        "1.running_mean": ("folded",),
        "1.running_var": ("folded",),
        "1.num_batches_tracked": ("unused",),
        "3.weight": ("conv",),
        "3.bias": ("bias",),
        "5.weight": ("linear",),
        "5.bias": ("bias",),
    }
    assert {"conv2d", "batch_norm", "linear"} <= found.operators
    (method,) = found.methods
    # The first convolution's input and output together are the most: what follows works in place or is smaller.
    assert method.activation_bytes == 4 * (3 * 16 * 16 + 8 * 16 * 16)
    assert (method.input_bytes, method.output_bytes) == (4 * 3 * 16 * 16, 40)
    assert found.loaded_rss_bytes > 50_000_000
    # Layers are one step each, whatever PyTorch makes of them; BatchNorm's are none where it folds.
    assert method.steps == {"conv2d": 2, "folded_batch_norm": 1, "relu": 1, "view": 1, "linear": 1}
    assert {weight.name for weight in found.weights if weight.before_relu} == {"inner.0.weight"}


def test_attention_embeddings_and_a_shared_table(profiles) -> None:
    found = profiles("attention")
    projections = 3 * 12 * 16 * 16
    products = 2 * 2 * 12 * 12 * 8  # two products, two heads
    head = 12 * 16 * 50
    assert found.macs == projections + products + head
    names = kinds(found)
    assert set(names["words.weight"] if "words.weight" in names else names["head.weight"]) == {"embedding", "linear"}
    assert names["places.weight"] == names["order"] == ("lookup",)
    looked_up = {weight.name: weight.looked_up for weight in found.weights if weight.kinds == ("lookup",)}
    assert looked_up == {"inner.places.weight": 12 * 16, "inner.order": 0}
    assert names["norm.weight"] == ("norm",)
    assert sum(weight.elements for weight in found.weights if weight.floating) == found.parameters


def test_a_recurrent_layer_and_what_a_call_leaves_behind(profiles) -> None:
    found = profiles("recurrent")
    assert found.macs == 7 * 4 * (4 * 6 + 6 * 6)  # steps × gates × (input and hidden products)
    assert found.state_bytes == 5 * 4
    assert [(state.name, state.dtype, state.zeros) for state in found.states] == [("seen", "float32", True)]
    assert "seen" not in kinds(found)
    assert [kind for name, (kind,) in kinds(found).items() if "weight" in name] == ["recurrent", "recurrent"]
    (method,) = found.methods
    assert method.steps["addmm"] >= 7  # one per step: the layer is written out


def test_equal_weights_are_told_by_what_they_hold(profiles) -> None:
    digests = {weight.name: weight.digest for weight in profiles("attention").weights}
    assert digests["inner.query.weight"] != digests["inner.key.weight"]
    assert not any(weight.zeros for weight in profiles("attention").weights if weight.kinds == ("linear",))
    # LayerNorm begins with a shift of zeros.
    assert [weight.name for weight in profiles("attention").weights if weight.zeros] == ["inner.norm.bias"]


def test_dynamic_shapes_are_counted_at_the_example_s(profiles) -> None:
    found = profiles("flexible")
    assert found.macs == 3 * 4 * 6
    (spec,) = found.methods[0].inputs
    assert (spec.shape, [(dim.dim, dim.low, dim.high) for dim in spec.dynamic]) == ((3, 4), [(0, 1, 8)])


def test_operators_that_compute_from_the_inputs_have_a_line_and_others_are_left_out(profiles) -> None:
    lines = profiles("sorting").methods[0].lines
    assert {name: line.partition(": ")[2] for name, line in lines.items()} == {
        "sort.default": "`largest = x.sort(descending=True).values`",
        "mul.Tensor": "`return largest * self.scale.cumsum(0)`",
    }
    assert all(line.startswith("model.py:") for line in lines.values())


def test_sizes_that_data_decide_are_counted_on_the_example(profiles) -> None:
    found = profiles("data_sized")
    assert found.macs == 2 * 4 * 4
    assert "nonzero.default" in found.methods[0].lines
    assert [state.name for state in found.states] == ["seen"]


def test_a_model_that_cannot_be_traced_is_refused_with_its_line(profiles) -> None:
    with pytest.raises(ExportError) as caught:
        profiles("branching")
    assert "x.sum() > 0" in str(caught.value)


def test_another_count_agrees(profiles) -> None:
    """The same multiply-accumulates from the shapes of the operators that the exported graph names."""
    import torch
    from torch import nn

    namespace: dict[str, object] = {}
    exec(SOURCE, namespace)
    for name in ("convolutions", "attention"):
        source = namespace[name]()
        seen = []

        def hook(layer: nn.Module, given: tuple, output: torch.Tensor, seen: list = seen) -> None:
            if isinstance(layer, nn.Linear):
                seen.append(output.numel() * layer.in_features)
            elif isinstance(layer, nn.Conv2d):
                seen.append(output.numel() * math.prod(layer.weight.shape[1:]))

        for layer in source.module.modules():
            layer.register_forward_hook(hook)
        source.module.eval()(*source.example_inputs)
        by_attention = 2 * 2 * 12 * 12 * 8 if name == "attention" else 0
        assert profiles(name).macs == sum(seen) + by_attention
