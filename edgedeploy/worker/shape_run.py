"""Runs a traced model on shapes alone: nothing is computed, and what would be is counted. Imports torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException, FakeTensorMode
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind
from torch.fx import Node
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from edgedeploy.domain.profile import Access, peak_live_bytes
from edgedeploy.errors import ModelError
from edgedeploy.worker.weight_kinds import CONVOLUTIONS, folds, operator_name, stored_tensor

# Questions about tensors, and checks: no converter sees them.
_NOT_COUNTED = frozenset({"prim::device", "aten::_assert_tensor_metadata", "aten::_assert_scalar", "aten::sym_size"})
_DATA_DECIDE = (DataDependentOutputException, DynamicOutputShapeException)
# What every converter takes as one.
_WHOLE = CONVOLUTIONS | {"linear", "batch_norm"}
# Pointwise, though PyTorch does not tag it so.
_POINTWISE_TOO = frozenset({"aten::native_batch_norm", "aten::_native_batch_norm_legit_no_training"})


@dataclass(frozen=True, kw_only=True)
class Counted:
    """What one call of a method does."""

    macs: int
    primitives: int
    steps: Counter[str]
    activation_bytes: int


def count(program: ExportedProgram, inputs: tuple[Tensor, ...]) -> Counted:
    """Run ``program`` on the shapes of ``inputs``. Cost: about a millisecond per operator; no memory for values.

    Attention and recurrent layers are taken apart, as converters do, so that what they keep in between counts. Where the data
    decide (``nonzero``), it is run on copies of the values.

    Raises:
        ModelError: the program cannot be run so.
    """
    shapes = FakeTensorMode(allow_non_fake_inputs=True)
    with torch.no_grad(), shapes:
        held, given = _arguments(program, inputs, lambda tensor: shapes.from_tensor(tensor, static_shapes=True))
        try:
            return _counted(program, held, given)
        except _DATA_DECIDE:
            pass
    with torch.no_grad():
        return _counted(program, *_arguments(program, inputs, Tensor.clone))


def _counted(program: ExportedProgram, held: list[Tensor], given: list[Tensor]) -> Counted:
    recorder = _Recorder(held)
    flops = FlopCounterMode(display=False)
    try:
        with sdpa_kernel(SDPBackend.MATH), _without_fused_cpu_kernels(), flops, recorder:
            outputs = _Interpreter(program.graph_module, recorder).run(*held, *given)
    except _DATA_DECIDE:
        raise
    except Exception as error:  # whatever PyTorch's shape rules raise for an operator
        raise ModelError(
            "the traced model cannot be run on shapes alone",
            seen=f"{type(error).__name__}: {error}"[:300],
            next_step="its size is predicted all the same once it has been exported",
        ) from error
    kept = [tensor for tensor in tree_leaves(outputs) if isinstance(tensor, Tensor)]
    return Counted(
        macs=flops.get_total_flops() // 2,  # the counter counts a multiplication and an addition as two
        primitives=recorder.primitives,
        steps=recorder.steps,
        activation_bytes=recorder.peak_bytes(given, kept),
    )


def _arguments(
    program: ExportedProgram, inputs: tuple[Tensor, ...], stand_in: Callable[[Tensor], Tensor]
) -> tuple[list[Tensor], list[Tensor]]:
    """Stand-ins for weights and inputs, each in the order of the program's placeholders."""
    held: list[Tensor] = []
    given: list[Tensor] = []
    waiting = iter(inputs)
    for spec in program.graph_signature.input_specs:
        if spec.kind is InputKind.USER_INPUT:
            given.append(stand_in(next(waiting)))
        else:
            tensor = stored_tensor(program, spec)
            if tensor is None:
                raise ModelError("the model holds something else than tensors", where=str(spec.target))
            held.append(stand_in(tensor))
    return held, given


@contextmanager
def _without_fused_cpu_kernels() -> Iterator[None]:
    """This machine's own fused kernels (an LSTM in one piece) are nothing that a converter has."""
    with torch.backends.mkldnn.flags(enabled=False):
        yield


class _Interpreter(torch.fx.Interpreter):
    """Tells the recorder which operator of the program it runs."""

    def __init__(self, module: torch.fx.GraphModule, recorder: _Recorder) -> None:
        super().__init__(module)
        self._recorder = recorder

    def run_node(self, node: Node) -> object:
        self._recorder.enter(node)
        return super().run_node(node)


@dataclass
class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's __init_subclass__
    """Writes down every primitive operator with the storages it touches, which it keeps: an address is not used twice."""

    held: Sequence[Tensor]
    primitives: int = 0
    steps: Counter[str] = field(default_factory=Counter)
    accesses: list[Access] = field(default_factory=list)
    storages: dict[int, torch.UntypedStorage] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._weights = {_identity(tensor) for tensor in self.held}
        self._inside_whole = False

    def enter(self, node: Node) -> None:
        """What is dispatched from now on belongs to this operator."""
        name = operator_name(node) if node.op == "call_function" else ""
        self._inside_whole = name in _WHOLE
        if self._inside_whole:
            self.steps[f"folded_{name}" if name == "batch_norm" and folds(node) else name] += 1

    def __torch_dispatch__(
        self,
        func: torch._ops.OpOverload,
        types: Sequence[type],
        args: Sequence[object] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        result = func(*args, **(kwargs or {}))
        name = func._schema.name  # noqa: SLF001 - "aten::add", without its overload
        if name in _NOT_COUNTED:
            return result
        reads, writes = self._note((args, kwargs)), self._note(result)
        self.primitives += not func.is_view
        if not self._inside_whole:
            self.steps[name.partition("::")[2].removesuffix("_")] += len(result) if isinstance(result, list) else 1
        pointwise = torch.Tag.pointwise in func.tags or name in _POINTWISE_TOO
        self.accesses.append(Access(reads=reads, writes=tuple(s for s in writes if s not in reads), in_place=pointwise))
        return result

    def peak_bytes(self, given: Sequence[Tensor], kept: Sequence[Tensor]) -> int:
        """The most that was alive at once between ``given`` and ``kept``, without the weights."""
        start, end = self._note(given), self._note(kept)
        sizes = {identity: storage.nbytes() for identity, storage in self.storages.items() if identity not in self._weights}
        return peak_live_bytes(self.accesses, sizes, given=start, kept=end)

    def _note(self, values: object) -> tuple[int, ...]:
        tensors = [value for value in tree_leaves(values) if isinstance(value, Tensor)]
        for tensor in tensors:
            self.storages.setdefault(_identity(tensor), tensor.untyped_storage())
        return tuple(dict.fromkeys(_identity(tensor) for tensor in tensors))


def _identity(tensor: Tensor) -> int:
    """What views of one storage have in common."""
    return int(tensor.untyped_storage()._cdata)  # noqa: SLF001 - there is no public name for it
