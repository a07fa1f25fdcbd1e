"""The zoo's table: what became of each model in each lane. Stored as ``docs/zoo.json``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec

from edgedeploy.domain.result import RunResult
from edgedeploy.stages.export import read_artifact

ROOT = Path(__file__).resolve().parents[2]
PROJECT = ROOT / "examples" / "zoo" / "edgedeploy.toml"
TABLE = ROOT / "docs" / "zoo.json"
PAGE = ROOT / "docs" / "zoo.md"

NOT_RUN = "not verified numerically"

Status = Literal["verified", "exported", "inaccurate", "refused"]
"""``verified``: it ran here, and agrees with PyTorch. ``exported``: it was written and read back, and cannot run here.

``inaccurate``: it ran, and was refused because it computes something else. ``refused``: it could not be made, or not be run.
"""
WORKS: frozenset[Status] = frozenset({"verified", "exported"})


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """Why a cell does not work, and what to do: an error of edgedeploy's. ``operator`` is empty where none is to blame."""

    kind: str
    what: str
    operator: str = ""
    where: str = ""
    seen: str = ""
    next_step: str


class Cell(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One model in one lane. Figures are None where the cell has none.

    Errors are those of the worst output over all golden inputs. ``delegated_share`` is the part of the multiply-accumulates
    that a delegate computes; ``undelegated`` counts the operators that none takes.
    """

    model: str
    exporter: str
    backend: str
    precision: str
    status: Status
    max_abs_error: float | None = None
    sqnr_db: float | None = None
    cosine: float | None = None
    size_bytes: int | None = None
    export_seconds: float | None = None
    delegated_share: float | None = None
    undelegated: dict[str, int] = {}
    note: str = ""
    problem: Problem | None = None

    @property
    def works(self) -> bool:
        """Whether there is a file that can be used."""
        return self.status in WORKS


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """A row. ``family`` is the file of examples/zoo that it is in, ``title`` what that file says of it."""

    name: str
    family: str
    title: str
    parameters: int | None


class Zoo(msgspec.Struct, frozen=True, kw_only=True):
    """The whole table, with what it was made with."""

    schema: str = "edgedeploy.zoo/1"
    date: str
    edgedeploy: str
    python: str
    machine: str
    toolchain: dict[str, str]
    models: tuple[Model, ...]
    cells: tuple[Cell, ...]


def read_zoo(file: Path = TABLE) -> Zoo:
    """The committed table."""
    return msgspec.json.decode(file.read_bytes(), type=Zoo)


def cell_of(run: RunResult) -> Cell:
    """A cell from what an export ended with."""
    problem = None
    status: Status = "exported" if run.verify.host is None else "verified"
    if run.error is not None:
        status = "inaccurate" if run.error.kind == "VerifyError" else "refused"
        problem = Problem(
            kind=run.error.kind,
            what=_public(run.error.what),
            operator=_operator(run.error.what, run.error.seen),
            where=_public(run.error.where),
            seen=_public(run.error.seen),
            next_step=_public(run.error.next_step),
        )
    agreement = run.verify.host
    artifact = read_artifact(Path(run.artifact.folder)) if run.artifact else None
    operators = artifact.operators if artifact else ()
    macs = sum(operator.macs for operator in operators)
    undelegated: dict[str, int] = {}
    for operator in operators:
        if operator.delegate is None:
            undelegated[operator.operator] = undelegated.get(operator.operator, 0) + 1
    return Cell(
        model=run.model,
        exporter=run.lane.exporter,
        backend=run.lane.backend,
        precision=run.lane.precision,
        status=status,
        max_abs_error=_rounded(agreement.max_abs_error) if agreement else None,
        sqnr_db=(999.0 if agreement.exact else _rounded(agreement.sqnr_db)) if agreement else None,
        cosine=_rounded(agreement.cosine, digits=6) if agreement else None,
        size_bytes=artifact.size_bytes if artifact else None,
        export_seconds=round(artifact.export_seconds, 1) if artifact else None,
        delegated_share=_rounded(sum(o.macs for o in operators if o.delegate is not None) / macs) if macs else None,
        undelegated=dict(sorted(undelegated.items(), key=lambda item: (-item[1], item[0]))),
        note=NOT_RUN if status == "exported" else "",
        problem=problem,
    )


def late(model: str, lanes: Sequence[tuple[str, str, str]], seconds: int) -> list[Cell]:
    """Cells of a model that took too long."""
    return [
        Cell(
            model=model,
            exporter=exporter,
            backend=backend,
            precision=precision,
            status="refused",
            problem=Problem(
                kind="TimeLimit",
                what=f"all lanes of the model together took more than {seconds} s",
                next_step=f"make zoo MODEL={model} SECONDS={4 * seconds}",
            ),
        )
        for exporter, backend, precision in lanes
    ]


def _operator(what: str, seen: str) -> str:
    found = re.search(r"cannot export operator (\S+)", what) or re.search(r"builtin opcode '(\w+)'", seen)
    return found[1].rstrip(".,:") if found else ""


def _public(text: str) -> str:
    """Without the folders of the machine it was made on."""
    text = text.replace(f"{ROOT}/", "")
    text = re.sub(r"/\S*/site-packages/", "", text)
    return re.sub(r"(?<![\w.])/(?:tmp|home|root|work|var)/\S*", "…", text)[:600]


def _rounded(value: float | None, *, digits: int = 4) -> float | None:
    return None if value is None else float(f"{value:.{digits}g}")
