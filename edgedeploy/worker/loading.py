"""Loads what ``[models.NAME] source`` names, and runs it once."""

from __future__ import annotations

import importlib
import importlib.util
import os
import random
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, TypeVar

from edgedeploy.domain.project import InputConfig
from edgedeploy.errors import ConfigError, EdgedeployError, ModelError
from edgedeploy.source import LoadedMethod, LoadedModel, MethodSource, ModelSource
from edgedeploy.suggest import did_you_mean
from edgedeploy.worker.job import SourceJob

if TYPE_CHECKING:
    from torch import Tensor, nn


T = TypeVar("T")

MAIN_METHOD = "forward"
_OTHER_CHECKPOINT = "the training diverged, or the checkpoint is damaged: load another one"


def load(job: SourceJob) -> LoadedModel:
    """The job's model, in eval mode, with golden inputs, checked by one eager forward.

    Random generators are seeded first, so that a model without trained weights is the same in every process.

    Raises:
        ConfigError: the source names something that is not there.
        ModelError: the user's code raises, or returns something else than a model.
    """
    seed()
    key = source_key(job)
    source = _source(job, key)
    for name in source.methods:
        if not name.isidentifier() or name == MAIN_METHOD:
            raise ModelError("not a name for a method", where=key, seen=repr(name), next_step="call it like a Python function")
    return LoadedModel(
        name=job.model_name,
        methods=(_method(MAIN_METHOD, source, job, key), *(_method(name, m, job, key) for name, m in source.methods.items())),
        evaluation=source.evaluation,
        user_root=job.project_root,
    )


def seed() -> None:
    """Start all global random generators anew."""
    import numpy as np
    import torch

    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 - the user's code may use the global generator
    torch.manual_seed(0)


def source_key(job: SourceJob) -> str:
    """Where in the project file the source is named, for complaints."""
    return f"{job.project_file}: models.{job.model_name}.source"


def _method(name: str, source: ModelSource | MethodSource, job: SourceJob, key: str) -> LoadedMethod:
    """One method in eval mode; its inputs fit each other, and its weights are numbers."""
    import torch

    module = source.module
    if not isinstance(module, torch.nn.Module):
        raise ModelError("`module` of the model source is not a torch.nn.Module", where=key, seen=type(module).__name__)
    if not job.model.source.endswith(".pt2"):  # an exported program is in eval mode for good, and says so by raising
        module.eval()
    for parameter in module.parameters():  # channels-last weights stop XNNPACK's passes; every format lays them out anew
        parameter.data = parameter.data.contiguous()
    require_finite(module, key)
    example = _inputs(source.example_inputs, "example_inputs", key)
    golden = _cases(source.golden_inputs, "golden_inputs", job, key) or (example,)
    calibration = _cases(source.calibration, "calibration", job, key) or golden
    fixed = source.dynamic_shapes is None
    for field, cases in (("golden_inputs", golden), ("calibration", calibration)):
        for item in cases:
            if [_kind(t, fixed=fixed) for t in item] != [_kind(t, fixed=fixed) for t in example]:
                raise ModelError(
                    f"{field} differ in shape or dtype from the example inputs",
                    where=key,
                    seen=f"{[_describe(t) for t in item]} against {[_describe(t) for t in example]}",
                    next_step="give them the same shapes, or say which dimensions vary (dynamic_shapes)" if fixed else "",
                )
    from edgedeploy.worker.eager_quantized import float_twin

    module = float_twin(module, golden, key)
    # Latency is measured on the first case, and belongs to the example's shapes.
    first_fits = all(t.shape == e.shape for t, e in zip(golden[0], example, strict=True))
    return LoadedMethod(
        name=name,
        module=module,
        example_inputs=example,
        golden_inputs=golden if first_fits else (example, *golden),
        calibration=calibration,
        dynamic_shapes=source.dynamic_shapes,
    )


def require_finite(module: nn.Module, where: str) -> None:
    """Refuse weights that are no numbers. Buffers may be infinite, as masks are.

    Raises:
        ModelError: naming the first of them.
    """
    for parameter, value in module.named_parameters():
        if not bool(value.isfinite().all()):
            raise ModelError(
                f"the weight {parameter} has NaN or infinite values",
                where=where,
                seen=f"{int((~value.isfinite()).sum())} of {value.numel()} values",
                next_step=_OTHER_CHECKPOINT,
            )
    for name, buffer in module.named_buffers():
        if bool(buffer.isnan().any()):
            raise ModelError(
                f"the buffer {name} has NaN values",
                where=where,
                seen=f"{int(buffer.isnan().sum())} of {buffer.numel()} values",
                next_step=_OTHER_CHECKPOINT,
            )


def _kind(tensor: Tensor, *, fixed: bool) -> tuple[object, ...]:
    return (tensor.dtype, tensor.shape if fixed else tensor.dim())


def user_frame(error: BaseException, root: str) -> str:
    """``file:line: code`` of the innermost frame in the user's project; failing that, outside installed packages."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename.removeprefix(root).lstrip('/')}:{error.lineno}: `{(error.text or '').strip()}`"
    frames = traceback.extract_tb(error.__traceback__)
    installed = tuple(sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib"))
    own = Path(__file__).parents[1].as_posix()
    outside = [f for f in frames if not f.filename.startswith((*installed, "<", own))]
    inside = [f for f in outside if f.filename.startswith(root + os.sep)]
    for frame in (inside or outside)[-1:]:
        name = frame.filename.removeprefix(root).lstrip("/")
        return f"{name}:{frame.lineno}: `{frame.line}`"
    return ""


def call_user(what: str, function: Callable[[], T], *, root: str, where: str, next_step: str) -> T:
    """Call the user's code; whatever it raises becomes a ModelError that points at the user's line."""
    try:
        return function()
    except EdgedeployError:
        raise
    except BaseException as error:
        raise ModelError(
            what,
            where=user_frame(error, root) or where,
            seen=f"{type(error).__name__}: {error}"[:500],
            next_step=next_step,
        ) from error


def _source(job: SourceJob, key: str) -> ModelSource:
    import torch

    place, _, attribute = job.model.source.rpartition(":")
    if job.model.source.endswith(".pt2"):
        return _exported_program(Path(job.project_root) / job.model.source, key)
    module = _import(job, place, key)
    function = getattr(module, attribute, None)
    if not callable(function):
        names = [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]
        raise ConfigError(f"{place} has no callable {attribute!r}", where=key, next_step=did_you_mean(attribute, names))
    made = call_user(
        f"{attribute}() raised while making the model",
        function,
        root=job.project_root,
        where=key,
        next_step="run the function by itself in Python to see the whole traceback",
    )
    if isinstance(made, ModelSource):
        return made
    if isinstance(made, torch.nn.Module):
        if not job.model.inputs:
            raise ConfigError(
                f"{attribute}() returns a module and nothing says what its inputs are",
                where=key,
                next_step="return edgedeploy.ModelSource(module=…, example_inputs=(…,)), or add `inputs = [{ shape = […] }]`",
            )
        return ModelSource(module=made, example_inputs=tuple(_random_input(spec) for spec in job.model.inputs))
    raise ModelError(
        f"{attribute}() has to return an edgedeploy.ModelSource or a torch.nn.Module",
        where=key,
        seen=type(made).__name__,
    )


def _import(job: SourceJob, place: str, key: str) -> ModuleType:
    root = Path(job.project_root)
    sys.path.append(str(root))  # last: a project's profile.py must not take the place of Python's own
    file = root / place
    if place.endswith(".py"):
        if not file.is_file():
            raise ConfigError(f"no file {place!r}", where=key, seen=str(file))
        sys.path.append(str(file.parent))
        taken = file.stem in sys.modules or file.stem in sys.stdlib_module_names
        name = f"edgedeploy_source_{file.stem}" if taken else file.stem
        spec = importlib.util.spec_from_file_location(name, file)
        if spec is None or spec.loader is None:
            raise ConfigError(f"{place!r} cannot be imported", where=key)
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        loader = spec.loader
        run: Callable[[], object] = lambda: loader.exec_module(module)  # noqa: E731 - a thunk for call_user
    else:
        found: list[ModuleType] = []
        run = lambda: found.append(importlib.import_module(place))  # noqa: E731
    call_user(
        f"{place} cannot be imported",
        run,
        root=job.project_root,
        where=key,
        next_step="fix the import; packages the model needs have to be installed beside edgedeploy",
    )
    return module if place.endswith(".py") else found[0]


def _exported_program(file: Path, key: str) -> ModelSource:
    import torch

    if not file.is_file():
        raise ConfigError(f"no file {file.name!r}", where=key, seen=str(file))
    try:
        program = torch.export.load(file)
    except Exception as error:
        raise ModelError(
            "not an ExportedProgram that this torch can load",
            where=key,
            seen=f"{type(error).__name__}: {error}"[:300],
            next_step="save it again with torch.export.save",
        ) from error
    arguments, named = program.example_inputs or ((), {})
    if named or not arguments:
        raise ModelError("the program has no positional example inputs", where=key, seen=", ".join(named))
    return ModelSource(module=program.module(), example_inputs=tuple(arguments))


def _random_input(spec: InputConfig) -> Tensor:
    import torch

    dtype: torch.dtype = getattr(torch, spec.dtype)
    if dtype.is_floating_point:
        return torch.randn(spec.shape).to(dtype)
    return torch.randint(0, spec.below, spec.shape).to(dtype)


def _cases(values: Iterable[object], field: str, job: SourceJob, key: str) -> tuple[tuple[Tensor, ...], ...]:
    items = call_user(
        f"`{field}` of the model source cannot be read",
        lambda: list(values),
        root=job.project_root,
        where=key,
        next_step=f"make `{field}` a list of tuples of tensors",
    )
    if not items and not isinstance(values, tuple):  # an empty tuple is what a source that says nothing has
        raise ModelError(
            f"`{field}` is there, and empty",
            where=key,
            seen=type(values).__name__,
            next_step="look for why nothing was found (a wrong folder, a filter), or leave it out",
        )
    return tuple(_inputs(item, field, key) for item in items)


def _inputs(value: object, field: str, key: str) -> tuple[Tensor, ...]:
    import torch

    if not isinstance(value, tuple | list) or not all(isinstance(item, torch.Tensor) for item in value) or not value:
        parts = ", ".join(type(item).__name__ for item in value) if isinstance(value, tuple | list) else ""
        raise ModelError(
            f"`{field}` has to be a tuple of tensors",
            where=key,
            seen=type(value).__name__ + (f" of {parts}" if parts else ""),
            next_step="wrap the module in one whose forward takes tensors, one by one, and makes of them what the model takes",
        )
    for item in value:
        if not item.numel():
            raise ModelError(
                f"`{field}` has a tensor without values",
                where=key,
                seen=_describe(item),
                next_step="give every dimension a size of at least 1",
            )
    # Files and runners have C order; an exported program would remember the strides of another one.
    return tuple(item.contiguous() for item in value)


def _describe(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')}{list(tensor.shape)}"
