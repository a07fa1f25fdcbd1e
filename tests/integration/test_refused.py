"""What plan says a lane refuses, the real export refuses, for every operator and reason that plan knows."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from unit.stages.planned import target

from edgedeploy import registry
from edgedeploy.domain.plan import Obstacle
from edgedeploy.domain.target import Lane, Target
from edgedeploy.errors import ExportError
from edgedeploy.exporters import coreml_refused, executorch_refused, tflite_refused
from edgedeploy.exporters.quiet import quiet_sdks
from edgedeploy.ports import ExportRequest
from edgedeploy.source import LoadedMethod, LoadedModel

quiet_sdks()
torch = pytest.importorskip("torch")
nn, F = torch.nn, torch.nn.functional

pytestmark = pytest.mark.sdk

SDKS = {"executorch": "executorch", "tflite": "litert_torch", "coreml": "coremltools"}
OPERATORS = {
    "executorch": executorch_refused.OPERATORS,
    "tflite": tflite_refused.OPERATORS,
    "coreml": coreml_refused.OPERATORS,
}
IPHONE = msgspec.structs.replace(target(), os="ios", min_os="18")
ROOT = Path(__file__).parent


@pytest.fixture(scope="module", autouse=True)
def _nothing_is_collected():
    """A hundred exports of one operator each: a fifth of the time would go into walks over the SDKs' modules."""
    gc.disable()
    yield
    gc.enable()


class Calls(nn.Module):
    """Calls one function of the inputs."""

    def __init__(self, function: Callable[..., object]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs):
        return self.function(*inputs)


ROWS, IDS, IMAGE, VOLUME = (
    torch.rand(4, 8),
    torch.zeros(4, 8, dtype=torch.int64),
    torch.rand(1, 2, 4, 4),
    torch.rand(1, 1, 4, 4, 4),
)
TABLE, EDGES, SQUARE = torch.ones(4, 6), torch.linspace(0, 1, 5), torch.eye(3) + 0.1
# One call of each operator, on the inputs behind it.
CALLS: dict[str, tuple[object, ...]] = {
    "_unique2": (torch.unique, ROWS),
    "_upsample_bicubic2d_aa": (lambda x: F.interpolate(x, size=2, mode="bicubic", antialias=True), IMAGE),
    "_upsample_bilinear2d_aa": (lambda x: F.interpolate(x, size=2, mode="bilinear", antialias=True), IMAGE),
    "acosh": (lambda x: torch.acosh(x + 2), ROWS),
    "adaptive_max_pool1d": (lambda x: F.adaptive_max_pool1d(x, 2), ROWS[None]),
    "adaptive_max_pool2d": (lambda x: F.adaptive_max_pool2d(x, 1), IMAGE),
    "argsort": (torch.argsort, ROWS),
    "argsort.stable": (lambda x: torch.argsort(x, stable=True), ROWS),
    "asinh": (torch.asinh, ROWS),
    "avg_pool3d": (lambda x: F.avg_pool3d(x, 2), VOLUME),
    "bincount": (lambda i: torch.bincount(i.flatten(), minlength=4), IDS),
    "bucketize": (lambda x: torch.bucketize(x, EDGES), ROWS),
    "col2im": (lambda x: F.fold(x, (4, 4), 2, stride=2), torch.rand(1, 8, 4)),
    "complex": (lambda x: torch.view_as_real(torch.complex(x, x)), ROWS),
    "cummax": (lambda x: torch.cummax(x, 1).values, ROWS),
    "cummin": (lambda x: torch.cummin(x, 1).values, ROWS),
    "cumprod": (lambda x: torch.cumprod(x, 1), ROWS),
    "embedding_bag": (lambda i: F.embedding_bag(i, TABLE), IDS),
    "erfinv": (torch.erfinv, ROWS / 2),
    "fft_irfft": (lambda x: torch.fft.irfft(torch.fft.rfft(x)), ROWS),
    "kthvalue": (lambda x: torch.kthvalue(x, 2, 1).values, ROWS),
    "lerp.Scalar": (lambda x: torch.lerp(x, x + 1, 0.5), ROWS),
    "linalg_cholesky": (torch.linalg.cholesky, SQUARE),
    "linalg_inv": (torch.linalg.inv, SQUARE),
    "linalg_solve": (lambda x: torch.linalg.solve(x, x), SQUARE),
    "linalg_svd": (lambda x: torch.linalg.svd(x)[1], SQUARE),
    "masked_scatter": (lambda x: x.masked_scatter(x > 0, x * 2), ROWS),
    "max_pool3d": (lambda x: F.max_pool3d(x, 2), VOLUME),
    "median": (lambda x: torch.median(x, 1).values, ROWS),
    "median.default": (torch.median, ROWS),
    "nonzero": (torch.nonzero, ROWS),
    "polar": (lambda x: torch.view_as_real(torch.polar(x, x)), ROWS),
    "quantile": (lambda x: torch.quantile(x, 0.3), ROWS),
    "scatter_add": (lambda x, i: torch.zeros(4, 8).scatter_add(0, i, x), ROWS, IDS),
    "scatter_reduce": (lambda x, i: torch.zeros(4, 8).scatter_reduce(0, i, x, "amax"), ROWS, IDS),
    "searchsorted": (lambda x: torch.searchsorted(EDGES, x), ROWS),
    "sort": (lambda x: torch.sort(x).values, ROWS),
    "sort.stable": (lambda x: torch.sort(x, stable=True).values, ROWS),
    "std_mean": (lambda x: torch.std_mean(x, 1)[0], ROWS),
    "stft": (lambda x: torch.view_as_real(torch.stft(x, 8, 4, window=torch.ones(8), return_complex=True)), torch.rand(1, 32)),
    "var_mean": (lambda x: torch.var_mean(x, 1)[0], ROWS),
    "view_as_complex": (lambda x: torch.view_as_real(torch.view_as_complex(x.view(4, 4, 2))), ROWS),
}


def loaded(module: object, *inputs: torch.Tensor, dynamic: object = None) -> LoadedModel:
    method = LoadedMethod(
        name="forward",
        module=module.eval(),  # type: ignore[attr-defined]
        example_inputs=inputs,
        golden_inputs=(inputs,),
        calibration=(inputs,),
        dynamic_shapes=dynamic,
    )
    return LoadedModel(name="net", methods=(method,), user_root=str(ROOT))


def foreseen(model: LoadedModel, lane: Lane, device: Target = IPHONE) -> tuple[Obstacle, ...]:
    from edgedeploy.worker.profiling import profile_of

    profile = profile_of(model, parameters=0, loaded_rss_bytes=0)
    return registry.exporter(lane.exporter).refusals(profile, lane, device)


def export(model: LoadedModel, lane: Lane, folder: Path, device: Target = IPHONE) -> None:
    request = ExportRequest(lane=lane, os=device.os, min_os=device.min_os, folder=str(folder))
    registry.exporter(lane.exporter).export(model, request, lambda _text: None)


def lane_of(exporter: str, precision: str = "fp32", backend: str = "") -> Lane:
    pytest.importorskip(SDKS[exporter])
    return Lane(exporter=exporter, backend=backend or {"coreml": "mlprogram"}.get(exporter, "xnnpack"), precision=precision)


@pytest.mark.parametrize(
    ("exporter", "operator"), [(exporter, name) for exporter in OPERATORS for name in sorted(OPERATORS[exporter])]
)
def test_an_operator_that_is_listed_is_refused(exporter: str, operator: str, tmp_path: Path) -> None:
    function, *inputs = CALLS[operator]
    lane, model = lane_of(exporter), loaded(Calls(function), *inputs)
    with pytest.raises(ExportError):
        export(model, lane, tmp_path)
    told = [one for one in foreseen(model, lane) if one.certain]
    assert any(one.operator.removeprefix("aten.").partition(".")[0] == operator.partition(".")[0] for one in told)
    assert all(one.where.startswith("test_refused.py:") and one.next_step for one in told)


class Keeps(nn.Module):
    def __init__(self, start: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("seen", start)

    def forward(self, x):
        self.seen.add_(1)
        return x * 2 + self.seen


class Narrow(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 8).bfloat16()

    def forward(self, x):
        return self.layer(x.bfloat16()).float()


ZEROS, LENGTH = torch.zeros(8), torch.export.Dim("length", min=2)
# What is not about an operator: exporter, precision, backend, least system, module, what plan and export both begin with.
REASONS = [
    ("tflite", "fp32", "", "18", lambda: Keeps(ZEROS), "TFLite has no place for a model with state"),
    ("tflite", "fp32", "", "18", Narrow, "litert-torch cannot export weights in bfloat16"),
    ("tflite", "8da4w", "", "18", lambda: nn.Conv2d(32, 32, 1), "nothing in this model can be 8da4w in TFLite"),
    ("tflite", "8da4w", "", "18", lambda: nn.Linear(8, 20), "nothing in this model can be 8da4w in TFLite"),
    ("tflite", "int8-dynamic", "", "18", nn.ReLU, "nothing in this model can be int8-dynamic in TFLite"),
    ("tflite", "int4-weights", "", "18", lambda: nn.LayerNorm(8), "nothing in this model can be int4-weights in TFLite"),
    ("coreml", "fp32", "", "17", lambda: Keeps(ZEROS), "a model with state needs iOS 18 or newer"),
    ("coreml", "fp32", "", "18", lambda: Keeps(ZEROS.long()), "Core ML states are float16, and buffer 'seen' is int64"),
    ("coreml", "fp32", "", "18", lambda: Keeps(ZEROS + 1), "Core ML states begin as zeros, and buffer 'seen' does not"),
    ("coreml", "int4-weights", "", "17", nn.ReLU, "Core ML at int4-weights needs iOS 18 or newer"),
    ("coreml", "fp16", "", "18", Narrow, "coremltools cannot export weights in bfloat16"),
    ("coreml", "fp32", "", "18", "moving", "Core ML programs need an upper bound for a dimension that moves"),
    ("executorch", "fp32", "", "18", "moving", "ExecuTorch needs an upper bound for a dimension that moves"),
    ("executorch", "8da4w", "", "18", lambda: nn.Linear(8, 32), "8da4w would change nothing"),
    ("executorch", "int8-weights", "", "18", lambda: nn.Conv1d(4, 8, 1), "int8 weights would change nothing"),
    ("executorch", "int4-weights", "", "18", nn.ReLU, "int4 weights would change nothing"),
    ("executorch", "int8-dynamic", "", "18", lambda: nn.Conv1d(4, 8, 1), "int8 would change nothing"),
    ("executorch", "fp32", "coreml", "17", lambda: Keeps(ZEROS), "a model with state needs iOS 18 or newer"),
    ("executorch", "int4-weights", "coreml", "17", nn.ReLU, "Core ML at int4-weights needs iOS 18 or newer"),
]


@pytest.mark.parametrize(("exporter", "precision", "backend", "min_os", "make", "what"), REASONS)
def test_a_reason_is_given_before_and_by_the_export(
    exporter: str, precision: str, backend: str, min_os: str, make: object, what: str, tmp_path: Path
) -> None:
    lane, device = lane_of(exporter, precision, backend), msgspec.structs.replace(IPHONE, min_os=min_os)
    moving = make == "moving"
    module = nn.ReLU() if moving else make()  # type: ignore[operator]
    inputs = torch.rand(1, 32, 1, 1) if isinstance(module, nn.Conv2d) else torch.rand(4, 8)
    model = loaded(module, inputs, dynamic=({0: LENGTH},) if moving else None)
    told = foreseen(model, lane, device)  # before the export, which may change a buffer
    with pytest.raises(ExportError) as caught:
        export(model, lane, tmp_path, device)
    assert caught.value.what.startswith(what)
    assert [one.what.startswith(what) and one.certain for one in told] == [True]
    assert told[0].next_step


def test_bfloat16_is_doubtful_in_float_lanes_of_executorch() -> None:
    (told,) = foreseen(loaded(Narrow(), torch.rand(4, 8)), lane_of("executorch"))
    assert not told.certain
    assert ".float()" in told.next_step


def test_what_constants_alone_decide_is_no_refusal(tmp_path: Path) -> None:
    model = loaded(Calls(lambda x: x + torch.cumprod(torch.arange(8.0), 0)), ROWS)
    assert foreseen(model, lane_of("tflite")) == ()
    export(model, lane_of("tflite"), tmp_path)
