"""What the worker makes of a source: refusals that name the mistake, and inputs in the order that files have."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgedeploy.domain.project import Model
from edgedeploy.errors import ModelError
from edgedeploy.source import LoadedModel
from edgedeploy.worker.job import SourceJob
from edgedeploy.worker.loading import load

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.sdk

_BEGINNING = """
import torch
from torch import nn
from edgedeploy import ModelSource
"""


def _load(folder: Path, lines: str) -> LoadedModel:
    (folder / "source.py").write_text(_BEGINNING + lines)
    job = SourceJob(
        project_root=str(folder),
        project_file=str(folder / "edgedeploy.toml"),
        model_name="net",
        model=Model(source="source.py:net"),
    )
    return load(job)


@pytest.mark.parametrize(
    ("lines", "what", "next_step"),
    [
        (
            (
                "def net():\n    m = nn.Linear(4, 4)\n    m.weight.data[0, 0] = float('nan')\n"
                "    return ModelSource(module=m, example_inputs=(torch.ones(1, 4),))\n"
            ),
            "the weight weight has NaN or infinite values",
            "checkpoint",
        ),
        (
            (
                "def net():\n    m = nn.BatchNorm1d(4)\n    m.running_var[0] = float('nan')\n"
                "    return ModelSource(module=m, example_inputs=(torch.ones(1, 4),))\n"
            ),
            "the buffer running_var has NaN values",
            "checkpoint",
        ),
        (
            "def net():\n    return ModelSource(module=nn.Linear(4, 4), example_inputs=(torch.ones(0, 4),))\n",
            "`example_inputs` has a tensor without values",
            "at least 1",
        ),
        (
            (
                "def net():\n    return ModelSource(module=nn.Linear(4, 4), example_inputs=(torch.ones(2, 4),),"
                " calibration=[(torch.ones(0, 4),)])\n"
            ),
            "`calibration` has a tensor without values",
            "at least 1",
        ),
        (
            "def net():\n    return ModelSource(module=nn.Linear(4, 4), example_inputs=(torch.ones(2, 4),), calibration=[])\n",
            "`calibration` is there, and empty",
            "wrong folder",
        ),
        (
            "def net():\n    return ModelSource(module=nn.Linear(4, 4), example_inputs=({'x': torch.ones(2, 4)},))\n",
            "`example_inputs` has to be a tuple of tensors",
            "wrap the module",
        ),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, lines: str, what: str, next_step: str) -> None:
    with pytest.raises(ModelError) as caught:
        _load(tmp_path, lines)
    assert caught.value.what == what
    assert next_step in caught.value.next_step


def test_a_mask_of_minus_infinity_is_no_damage(tmp_path: Path) -> None:
    lines = (
        "class Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.register_buffer('mask', torch.full((4, 4), float('-inf')).triu(1))\n"
        "    def forward(self, x):\n        return (x + self.mask).softmax(-1)\n"
        "def net():\n    return ModelSource(module=Net(), example_inputs=(torch.ones(4, 4),))\n"
    )
    assert _load(tmp_path, lines).main.golden_inputs


def test_inputs_are_laid_out_as_files_are(tmp_path: Path) -> None:
    """Exported programs remember the strides of the example, and are given plain C order."""
    lines = (
        "def net():\n    image = torch.randn(16, 16, 3, 1).permute(3, 2, 0, 1)\n"
        "    return ModelSource(module=nn.Conv2d(3, 4, 3), example_inputs=(image,), golden_inputs=[(image,)], calibration=[(image,)])\n"
    )
    main = _load(tmp_path, lines).main
    for case in (main.example_inputs, *main.golden_inputs, *main.calibration):
        assert all(tensor.is_contiguous() for tensor in case)


def test_weights_are_laid_out_as_exporters_want_them(tmp_path: Path) -> None:
    """XNNPACK's passes stop at channels-last weights, and name nothing."""
    lines = (
        "def net():\n    module = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)\n"
        "    return ModelSource(module=module, example_inputs=(torch.randn(1, 3, 8, 8),))\n"
    )
    assert all(weight.is_contiguous() for weight in _load(tmp_path, lines).main.module.parameters())
