"""How close two sets of outputs are. Pure, on numpy arrays; worked in float64."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from edgedeploy.domain.measurement import Agreement
from edgedeploy.domain.recipe import Floors

Array = npt.NDArray[np.generic]


def compare(outputs: Sequence[Array], references: Sequence[Array]) -> Agreement:
    """Compare each output with its reference of the same shape; see :class:`Agreement` for the definitions.

    Raises:
        ValueError: another number of outputs, or another shape.
    """
    if [o.size for o in outputs] != [r.size for r in references]:
        raise ValueError(f"{[o.shape for o in outputs]} against {[r.shape for r in references]}")
    errors, cosines, ratios = [0.0], [1.0], []
    for output, reference in zip(outputs, references, strict=True):
        o = output.astype(np.float64).ravel()
        r = reference.astype(np.float64).ravel()
        same_oddities = np.isfinite(o) == np.isfinite(r)
        if not same_oddities.all():
            return Agreement(max_abs_error=None, cosine=None, sqnr_db=None, exact=False, finite=False)
        finite = np.isfinite(r)
        if not np.array_equal(o[~finite], r[~finite], equal_nan=True):
            return Agreement(max_abs_error=None, cosine=None, sqnr_db=None, exact=False, finite=False)
        o, r = o[finite], r[finite]
        if np.array_equal(o, r):
            continue
        errors.append(float(np.max(np.abs(r - o))))
        largest = max(float(np.max(np.abs(r))), float(np.max(np.abs(o))))
        o, r = o / largest, r / largest  # ratios do not change, and no square overflows
        noise = float(np.sum((r - o) ** 2))
        signal = float(np.sum(r**2))
        norms = float(np.linalg.norm(o) * np.linalg.norm(r))
        cosines.append(float(np.dot(o, r)) / norms if norms else 0.0)
        ratios.append(10.0 * float(np.log10(signal / noise)) if signal and noise else (np.inf if signal else -np.inf))
    sqnr_db = min(ratios) if ratios else None
    return Agreement(
        max_abs_error=max(errors),
        cosine=min(cosines),
        sqnr_db=None if sqnr_db is None else min(max(sqnr_db, -999.0), 999.0),
        exact=not ratios,
    )


def complaints(agreement: Agreement, floors: Floors) -> tuple[str, ...]:
    """What falls short of the floors, each as a sentence; empty when the agreement is accepted."""
    if not agreement.finite:
        return ("an output is NaN or infinite where PyTorch's is not",)
    if agreement.exact:
        return ()
    found = []
    if floors.min_sqnr_db is not None and (agreement.sqnr_db or 0.0) < floors.min_sqnr_db:
        found.append(f"SQNR {agreement.sqnr_db:.1f} dB is below {floors.min_sqnr_db:g} dB")
    if floors.min_cosine is not None and (agreement.cosine or 0.0) < floors.min_cosine:
        found.append(f"cosine {agreement.cosine:.5f} is below {floors.min_cosine:g}")
    if floors.max_abs_error is not None and (agreement.max_abs_error or 0.0) > floors.max_abs_error:
        found.append(f"largest error {agreement.max_abs_error:.3g} is above {floors.max_abs_error:g}")
    return tuple(found)
