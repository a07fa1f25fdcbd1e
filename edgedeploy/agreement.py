"""How close two sets of outputs are. Pure, on numpy arrays; worked in float64."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import ceil, inf
from typing import TYPE_CHECKING

from edgedeploy.domain.measurement import Agreement, LanguageAgreement, OutputAgreement
from edgedeploy.domain.recipe import Floors

if TYPE_CHECKING:  # a push that measures nothing does without NumPy
    import numpy as np
    import numpy.typing as npt

    Array = npt.NDArray[np.generic]

_LIMIT_DB = 999.0  # what an infinite ratio is written as: JSON has no infinity
_CLASSIFIER_DIMS = 3  # cases, rows, classes


def compare(outputs: Sequence[Array], references: Sequence[Array], names: Sequence[str] = ()) -> Agreement:
    """Compare each output with its reference of the same shape, ``(cases, *shape)``; see :class:`OutputAgreement`.

    Raises:
        ValueError: another number of outputs, or another shape.
    """
    if [o.size for o in outputs] != [r.size for r in references]:
        raise ValueError(f"{[o.shape for o in outputs]} against {[r.shape for r in references]}")
    names = names or [f"output_{index}" for index in range(len(outputs))]
    return _worst(_one(name, o, r) for name, o, r in zip(names, outputs, references, strict=True))


def merged(parts: Sequence[Agreement]) -> Agreement:
    """One agreement over several sets of cases; outputs of the same name become one."""
    by_name: dict[str, list[OutputAgreement]] = {}
    for part in parts:
        for output in part.outputs:
            by_name.setdefault(output.name, []).append(output)
    return _worst(_joined(name, outputs) for name, outputs in by_name.items())


def complaints(agreement: Agreement, floors: Floors) -> tuple[str, ...]:
    """What falls short of the floors, each as a sentence that names the output; empty when the agreement is accepted."""
    decided = all(output.differing is not None for output in agreement.outputs)
    found = []
    for output in agreement.outputs:
        prefix = f"{output.name}: " if len(agreement.outputs) > 1 else ""
        if output.differing is None or floors.min_same is None:
            judged = _complaints(output, floors)
        else:
            judged = _decision_complaints(output.differing, output.values, floors.min_same, alone=decided)
        found += [f"{prefix}{text}" for text in judged]
    return (*found, *(_language_complaints(agreement.language, floors) if agreement.language else ()))


def same_tokens(answers: Sequence[Sequence[int]], references: Sequence[Sequence[int]]) -> LanguageAgreement:
    """How far each answer is the reference, which may be shorter; see :class:`LanguageAgreement`."""
    same = 0
    for answer, reference in zip(answers, references, strict=True):
        for token, expected in zip(answer, reference, strict=False):
            if token != expected:
                break
            same += 1
    return LanguageAgreement(tokens=sum(map(len, references)), same=same)


def _language_complaints(language: LanguageAgreement, floors: Floors) -> list[str]:
    found = []
    if floors.min_same_tokens is not None and language.same < floors.min_same_tokens * language.tokens:
        found.append(
            f"{language.same} of {language.tokens} generated tokens are PyTorch's, below {floors.min_same_tokens:.0%} of them"
        )
    grown = language.perplexity
    bound = floors.max_perplexity_increase
    if grown is not None and bound is not None and not grown.increase <= bound:
        found.append(
            f"perplexity {grown.artifact:.2f} against PyTorch's {grown.pytorch:.2f} is {grown.increase:+.1%}, above {bound:+.1%}"
        )
    return found


def _decision_complaints(differing: int, values: int, least: float, *, alone: bool) -> list[str]:
    """Where noise is judged by another output, one decision of a few may be another: two candidates were nearly equal."""
    allowed = round((1 - least) * values, 9)
    if differing <= (allowed if alone else ceil(allowed)):
        return []
    return [f"{values - differing} of {values} values are PyTorch's, below {least:.0%} of them"]


def _complaints(output: OutputAgreement, floors: Floors) -> list[str]:
    if not output.finite:
        return ["the output is NaN or infinite where PyTorch's is not"]
    found: list[str] = []
    if floors.min_top1 is not None and output.top1 is not None and output.top1 < floors.min_top1:
        found.append(f"top-1 agreement {output.top1:.3f} is below {floors.min_top1:g}")
    if output.exact:
        return found
    if floors.min_sqnr_db is not None and (output.sqnr_db or 0.0) < floors.min_sqnr_db:
        found.append(f"SQNR {output.sqnr_db:.1f} dB is below {floors.min_sqnr_db:g} dB")
    if floors.min_cosine is not None and (output.cosine or 0.0) < floors.min_cosine:
        found.append(f"cosine {output.cosine:.5f} is below {floors.min_cosine:g}")
    if floors.max_abs_error is not None and (output.max_abs_error or 0.0) > floors.max_abs_error:
        found.append(f"largest error {output.max_abs_error:.3g} is above {floors.max_abs_error:g}")
    return found


def _one(name: str, output: Array, reference: Array) -> OutputAgreement:
    import numpy as np

    o = output.astype(np.float64).ravel()
    r = reference.astype(np.float64).ravel()
    cases = len(reference) if reference.ndim else 1
    finite = np.isfinite(r)
    if not np.array_equal(np.isfinite(o), finite) or not np.array_equal(o[~finite], r[~finite], equal_nan=True):
        return OutputAgreement(name=name, max_abs_error=None, cosine=None, sqnr_db=None, exact=False, finite=False, cases=cases)
    top1 = _top1(output.reshape(reference.shape), reference)
    o, r = o[finite], r[finite]
    differing = None if np.issubdtype(reference.dtype, np.floating) else int(np.sum(o != r))
    if np.array_equal(o, r):
        return OutputAgreement(
            name=name,
            max_abs_error=0.0,
            cosine=1.0,
            sqnr_db=None,
            exact=True,
            top1=top1,
            cases=cases,
            values=reference.size,
            differing=differing,
        )
    largest_error = float(np.max(np.abs(r - o)))
    largest = max(float(np.max(np.abs(r))), float(np.max(np.abs(o))))
    o, r = o / largest, r / largest  # ratios do not change, and no square overflows
    noise = float(np.sum((r - o) ** 2))
    signal = float(np.sum(r**2))
    norms = float(np.linalg.norm(o) * np.linalg.norm(r))
    ratio = 10.0 * float(np.log10(signal / noise)) if signal and noise else (inf if signal else -inf)
    return OutputAgreement(
        name=name,
        max_abs_error=largest_error,
        cosine=float(np.dot(o, r)) / norms if norms else 0.0,
        sqnr_db=min(max(ratio, -_LIMIT_DB), _LIMIT_DB),
        exact=False,
        top1=top1,
        cases=cases,
        values=reference.size,
        differing=differing,
    )


def _top1(output: Array, reference: Array) -> float | None:
    import numpy as np

    if reference.ndim != _CLASSIFIER_DIMS or reference.shape[-1] < 2 or not np.issubdtype(reference.dtype, np.floating):  # noqa: PLR2004 - one class is none
        return None
    return float(np.mean(np.argmax(output, axis=-1) == np.argmax(reference, axis=-1)))


def _joined(name: str, outputs: Sequence[OutputAgreement]) -> OutputAgreement:
    cases = sum(output.cases for output in outputs)
    tops = [(output.top1, output.cases) for output in outputs if output.top1 is not None]
    worst = _worst(outputs)
    return OutputAgreement(
        name=name,
        max_abs_error=worst.max_abs_error,
        cosine=worst.cosine,
        sqnr_db=worst.sqnr_db,
        exact=worst.exact,
        finite=worst.finite,
        top1=sum(top * count for top, count in tops) / sum(count for _, count in tops) if tops else None,
        cases=cases,
        values=sum(output.values for output in outputs),
        differing=sum(counts) if (counts := [o.differing for o in outputs if o.differing is not None]) else None,
    )


def _worst(outputs: Iterable[OutputAgreement]) -> Agreement:
    every = tuple(outputs)
    noisy = [output for output in every if output.differing is None] or every
    tops = [output.top1 for output in every if output.top1 is not None]
    top1 = min(tops) if tops else None
    if not all(output.finite for output in every):
        return Agreement(max_abs_error=None, cosine=None, sqnr_db=None, exact=False, finite=False, top1=top1, outputs=every)
    return Agreement(
        max_abs_error=max((output.max_abs_error or 0.0 for output in noisy), default=0.0),
        cosine=min((1.0 if output.cosine is None else output.cosine for output in noisy), default=1.0),
        sqnr_db=min((output.sqnr_db for output in noisy if output.sqnr_db is not None), default=None),
        exact=all(output.exact for output in every),
        top1=top1,
        outputs=every,
    )
