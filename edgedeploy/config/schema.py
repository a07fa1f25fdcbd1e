"""JSON Schemas, made from the types themselves. The files in ``schemas`` are what editors are given; a test keeps them true."""

from __future__ import annotations

from pathlib import Path

import msgspec

from edgedeploy.domain.contest import CompareReport
from edgedeploy.domain.history import HistoryReport
from edgedeploy.domain.plan import PlanReport
from edgedeploy.domain.project import Lab, Project
from edgedeploy.domain.result import PushReport
from edgedeploy.domain.target import Target
from edgedeploy.domain.upkeep import Cleaned, LeaseState, Releases, RolledBack, UpkeepReport, Verified

KINDS: dict[str, type[msgspec.Struct]] = {
    "project": Project,
    "lab": Lab,
    "target": Target,
    "push": PushReport,
    "plan": PlanReport,
    "compare": CompareReport,
    "history": HistoryReport,
    "releases": UpkeepReport[Releases],
    "rollback": UpkeepReport[RolledBack],
    "verify": UpkeepReport[Verified],
    "clean": UpkeepReport[Cleaned],
    "lease": UpkeepReport[LeaseState],
}
FOLDER = Path(__file__).parent / "schemas"


def schema_of(kind: str) -> str:
    """The schema as formatted JSON, ending with a newline."""
    schema = msgspec.json.schema(KINDS[kind])
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    return msgspec.json.format(msgspec.json.encode(schema, order="sorted")).decode() + "\n"


if __name__ == "__main__":
    for name in KINDS:
        (FOLDER / f"{name}.schema.json").write_text(schema_of(name), encoding="utf-8")
