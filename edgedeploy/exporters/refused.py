"""What several lanes refuse, from a model's profile alone. Needs no SDK."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

from edgedeploy.domain.plan import Obstacle
from edgedeploy.domain.precision import FLOAT32_ADVICE
from edgedeploy.domain.profile import ModelProfile, Weight
from edgedeploy.errors import ExportError
from edgedeploy.exporters.diagnosis import unsupported_next_step


def refused_operators(profile: ModelProfile, names: Collection[str], sdk: str) -> Iterator[Obstacle]:
    """One obstacle for each operator that is among ``names``, as a whole (``sort``) or by its overload (``median.default``)."""
    lines = {name: line for method in reversed(profile.methods) for name, line in method.lines.items()}
    for name, line in sorted(lines.items()):
        if name in names or name.partition(".")[0] in names:
            operator = f"aten.{name.removesuffix('.default')}"
            yield Obstacle(
                what=f"{sdk} cannot export operator {operator}",
                operator=operator,
                where=line,
                next_step=unsupported_next_step(sdk),
            )


def unbounded_sizes(profile: ModelProfile, what: str) -> Iterator[Obstacle]:
    """The first size that moves without an upper bound, as ``what``."""
    for method in profile.methods:
        for spec in method.inputs:
            for dim in spec.dynamic:
                if dim.high is None:
                    yield Obstacle(
                        what=what,
                        where=f"dimension {dim.dim} of {spec.name}",
                        next_step="give it in dynamic_shapes: torch.export.Dim('length', min=1, max=512)",
                    )
                    return


def refused_weights(profile: ModelProfile, dtypes: Collection[str], sdk: str) -> Iterator[Obstacle]:
    """The first weight in one of ``dtypes``."""
    weight = first_weight(profile, dtypes)
    if weight is not None:
        yield Obstacle(
            what=f"{sdk} cannot export weights in {weight.dtype}",
            where=weight.name.removeprefix("inner."),
            next_step=FLOAT32_ADVICE,
        )


def first_weight(profile: ModelProfile, dtypes: Collection[str]) -> Weight | None:
    """The first weight that an operator reads and that is in one of ``dtypes``."""
    return next((one for one in profile.weights if one.dtype in dtypes and one.kinds != ("unused",)), None)


def raised(*checks: Callable[[], object]) -> Iterator[Obstacle]:
    """What an exporter's own checks raise, as what stands in the way."""
    for check in checks:
        try:
            check()
        except ExportError as error:
            yield Obstacle(what=error.what, where=error.where, next_step=error.next_step)
